//! What calls may cost, and how large their results may be, by what is known of their arguments.

use std::sync::Arc;

use super::actual::CHECK;
use super::{Estimate, REGEX, TRAVERSAL};
use crate::ast::Literal;
use crate::library;
use crate::types::Type;

/// The pattern that a format's cost is estimated by.
const FORMAT_REGEX: f64 = 128.0;

/// An argument.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// From a variable to it, if it is a part of one.
    pub(crate) path: Vec<Arc<str>>,
    pub(crate) of: Type,
    pub(crate) literal: Option<Literal>,
    pub(crate) size: Option<Estimate>,
}

impl Node {
    fn size(&self) -> Estimate {
        self.size.unwrap_or(Estimate::UNKNOWN)
    }
    fn text(&self) -> Estimate {
        self.size().scaled(TRAVERSAL)
    }
    fn int(&self, otherwise: u64) -> u64 {
        match &self.literal {
            Some(Literal::Int(n)) => u64::try_from(*n).unwrap_or(0),
            _ => otherwise,
        }
    }
}

/// What a call costs beyond its arguments, and the size of its result if it has one.
pub(crate) type Called = (Estimate, Option<Estimate>);

/// A selector: its text, and a list and an object for every two characters.
pub(super) fn selector_cost(length: Estimate) -> Estimate {
    Estimate::fixed(10).plus(length.scaled(TRAVERSAL)).plus(length.scaled(0.5).scaled(50.0))
}

/// None if this says nothing of it. `items` is the size of the items of a list.
pub(super) fn call(
    function: &str,
    id: &str,
    target: Option<&Node>,
    args: &[Node],
    items: &dyn Fn(&Node) -> Option<(Type, Estimate)>,
) -> Option<Called> {
    if let Some(called) = lists(id, target, args).or_else(|| texts(function, target, args, items)) {
        return Some(called);
    }
    let function = if library::summed(function).is_some() { "sum" } else { function };
    let one = Estimate::fixed(1);
    let plain = |cost: Estimate| Some((cost, None));
    match (function, target, args) {
        ("check", ..) => plain(Estimate::fixed(CHECK)),
        ("fieldSelector" | "labelSelector", _, [selector]) => plain(selector_cost(selector.size())),
        ("isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf", Some(target), _) => match items(target) {
            Some((Type::String | Type::Bytes, size)) => plain(target.size().times(one.plus(size.scaled(TRAVERSAL)))),
            Some(_) => plain(target.size()),
            None => plain(target.text()),
        },
        ("ip", ..) if id == "cidr_ip" => plain(one),
        ("cidr" | "isIP" | "isCIDR" | "ip" | "quantity" | "isQuantity" | "semver" | "isSemver", _, [of, ..]) => {
            plain(of.text())
        }
        ("ip.isCanonical", _, [of, ..]) => plain(of.size().scaled(2.0 * TRAVERSAL)),
        ("containsIP" | "containsCIDR", _, [other, ..]) => {
            let bytes = Estimate::new(4, 16);
            let mut cost = bytes.plus(bytes).scaled(TRAVERSAL);
            if function == "containsCIDR" {
                cost = cost.plus(bytes.scaled(TRAVERSAL)).plus(one);
            }
            if id.ends_with("_string") {
                cost = cost.plus(other.text());
            }
            plain(cost)
        }
        ("validate", _, [of, ..]) => plain(of.text().scaled(FORMAT_REGEX * REGEX)),
        ("_==_", _, [a, b]) if a.of == b.of => match &a.of {
            Type::Opaque(name, _) => match &**name {
                "kubernetes.NamedFormat" => plain(Estimate::new(1, 64).scaled(TRAVERSAL)),
                "kubernetes.URL" => {
                    let max = b.size.map_or(1, |size| size.max);
                    plain(Estimate::new(1, max).scaled(TRAVERSAL))
                }
                "optional_type" => None,
                _ => plain(one),
            },
            _ => None,
        },
        _ => None,
    }
}

fn texts(
    function: &str,
    target: Option<&Node>,
    args: &[Node],
    items: &dyn Fn(&Node) -> Option<(Type, Estimate)>,
) -> Option<Called> {
    match (function, target, args) {
        ("url" | "jsonpatch.escapeKey", _, [of]) => Some((of.text(), Some(of.size()))),
        ("lowerAscii" | "upperAscii" | "substring" | "trim", Some(of), _) => Some((of.text(), Some(of.size()))),
        ("replace", Some(of), [old, new, ..]) => {
            Some((of.size().scaled(2.0 * TRAVERSAL), Some(replaced(of.size(), old.size(), new.size()))))
        }
        ("split", Some(of), _) => {
            let most = args.get(1).and_then(|most| match most.literal {
                Some(Literal::Int(n)) => Some(n.cast_unsigned()),
                _ => None,
            });
            let parts = Estimate::new(0, most.unwrap_or(of.size().max));
            Some((of.size().scaled(2.0 * TRAVERSAL), Some(parts)))
        }
        ("join", Some(list), _) => {
            let count = list.size();
            let mut size = items(list).map_or(Estimate::fixed(0), |(_, item)| count.times(item));
            if let Some(separator) = args.first() {
                let gaps = Estimate::new(count.min.saturating_sub(1), count.max.saturating_sub(1));
                size = size.plus(separator.size().times(gaps));
            }
            Some((size.scaled(TRAVERSAL), Some(size)))
        }
        ("find" | "findAll", Some(of), [pattern, ..]) => {
            let text = of.size().plus(Estimate::fixed(1)).scaled(TRAVERSAL);
            let cost = text.times(pattern.size().scaled(REGEX));
            Some((cost, Some(Estimate::new(0, of.size().max))))
        }
        _ => None,
    }
}

/// How long a text can be after its parts were replaced.
fn replaced(of: Estimate, old: Estimate, new: Estimate) -> Estimate {
    let parts = |of: u64, each: u64| (of as f64 / each as f64).ceil() as u64;
    let (most, kept_most) = if old.min == 0 {
        (of.max.saturating_add(1), of.max)
    } else if new.max <= old.min {
        (0, of.max)
    } else {
        (parts(of.max, old.min), 0)
    };
    let (least, kept_least) = if old.max == 0 {
        (of.min.saturating_add(1), of.min)
    } else if old.max <= new.min {
        (0, of.min)
    } else {
        (parts(of.min, old.max), 0)
    };
    Estimate::new(least, most).times(new).plus(Estimate::new(kept_least, kept_most))
}

/// Calls of the libraries of lists and sets, which go by their overloads.
fn lists(id: &str, target: Option<&Node>, args: &[Node]) -> Option<Called> {
    let made = |factor: f64, size: Estimate| {
        let cost = size.scaled(factor).plus(Estimate::fixed(1)).plus(Estimate::fixed(10));
        Some((cost, Some(size)))
    };
    let compared = |of: &Node, id: &str| {
        let factor = if id.starts_with("list_string") || id.starts_with("list_bytes") { 2.0 + TRAVERSAL } else { 2.0 };
        made(factor, of.size().times(of.size()))
    };
    match (id, target, args) {
        ("list_slice", Some(of), [from, to]) => {
            let (from, to) = (from.int(0), to.int(of.size().max));
            made(1.0, Estimate::fixed(to.saturating_sub(from)))
        }
        ("lists_range", None, [count]) => made(1.0, Estimate::fixed(count.int(u64::MAX))),
        ("list_reverse", Some(of), []) => made(1.0, of.size()),
        ("list_flatten", Some(of), []) => made(1.0, of.size()),
        ("list_flatten_int", Some(of), [depth]) => made(depth.int(u64::MAX) as f64, of.size()),
        ("list_distinct", Some(of), []) => made(2.0, of.size().times(of.size())),
        (id, Some(of), []) if id.ends_with("_sort") => compared(of, id),
        (id, Some(_), [keys]) if id.ends_with("_sortByAssociatedKeys") => compared(keys, id),
        ("list_sets_contains_list" | "list_sets_intersects_list", _, [a, b]) => {
            Some((a.size().times(b.size()).plus(Estimate::fixed(1)), None))
        }
        ("list_sets_equivalent_list", _, [a, b]) => {
            Some((a.size().times(b.size()).scaled(2.0).plus(Estimate::fixed(1)), None))
        }
        _ => None,
    }
}

/// The standard functions. `sizes` are those of the arguments.
pub(super) fn standard(id: &str, target: Option<&Node>, args: &[Node]) -> Called {
    let one = Estimate::fixed(1);
    match (id, target, args) {
        ("string_format", Some(of), _) => (of.text(), None),
        ("string_to_bytes", _, [of]) => {
            let size = of.size();
            (of.text(), Some(Estimate::new(size.min, size.max.saturating_mul(4))))
        }
        ("bytes_to_string", _, [of]) => {
            let size = of.size();
            (of.text(), Some(Estimate::new(size.min / 4, size.max)))
        }
        ("strings_quote", _, [of]) => {
            let size = of.size();
            (of.text(), Some(Estimate::new(size.min.saturating_add(2), size.max.saturating_mul(2).saturating_add(2))))
        }
        ("starts_with_string" | "ends_with_string", _, [part]) => (part.text(), None),
        ("in_list", _, [_, list]) => (list.size(), None),
        ("matches_string", Some(of), [pattern]) => {
            let text = of.size().plus(one).scaled(TRAVERSAL);
            (text.times(pattern.size().scaled(REGEX)), None)
        }
        ("contains_string", Some(of), [part]) => (of.text().times(part.text()), None),
        ("add_list", _, [a, b]) => (one, Some(a.size().plus(b.size()))),
        ("add_string" | "add_bytes", _, [a, b]) => {
            let size = a.size().plus(b.size());
            (size.scaled(TRAVERSAL), Some(size))
        }
        (id, _, [a, b]) if is_comparison(id) => {
            let most = a.size().max.min(b.size().max);
            (Estimate::new(u64::from(most > 0), most).scaled(TRAVERSAL), None)
        }
        _ => (one, None),
    }
}

fn is_comparison(id: &str) -> bool {
    let is_ordered = ["less_", "less_equals_", "greater_", "greater_equals_"]
        .iter()
        .any(|order| matches!(id.strip_prefix(order), Some("string" | "bytes")));
    is_ordered || id == "equals" || id == "not_equals"
}
