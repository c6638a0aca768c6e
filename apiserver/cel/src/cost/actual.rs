//! What a call has cost.

use super::calls::selector_cost;
use super::{Estimate, REGEX, TRAVERSAL, scaled};
use crate::error::EvalError;
use crate::opaque::Opaque;
use crate::run::Run;
use crate::value::Value;

/// One authorization check: two of them fit into a call.
pub(super) const CHECK: u64 = 350_000;

/// Refuses a call whose arguments alone tell that it costs too much, before it is done.
pub(crate) fn check_before(function: &str, args: &[Value<'_>], run: &Run<'_>) -> Result<(), EvalError> {
    let least = match (function, args) {
        ("lists.range", [Value::Int(count)]) => u64::try_from(*count).unwrap_or(0),
        _ => actual(function, args, &Value::Null),
    };
    run.check(least)
}

fn size(value: &Value<'_>) -> u64 {
    match value {
        Value::Optional(Some(inner)) => size(inner),
        other => other.size().map_or(1, |size| size as u64),
    }
}

fn text(args: &[Value<'_>], index: usize, factor: f64) -> u64 {
    args.get(index).map_or(1, |value| scaled(size(value), factor))
}

/// The receiver, if there is one, is the first argument.
pub(crate) fn actual(function: &str, args: &[Value<'_>], result: &Value<'_>) -> u64 {
    match (function, args) {
        ("check", _) => CHECK,
        ("fieldSelector" | "labelSelector", [_, selector]) => selector_cost(Estimate::fixed(size(selector))).max,
        ("isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf", [first, ..]) => traversal(first),
        ("slice" | "reverse" | "lists.range", _) => list_call(1.0, size(result)),
        ("flatten", [list]) => list_call(1.0, size(list)),
        ("flatten", [list, Value::Int(depth)]) => list_call(*depth as f64, size(list)),
        ("distinct" | "sort", [Value::List(_)]) => self_compare(&args[0]),
        ("@sortByAssociatedKeys", [_, keys]) => self_compare(keys),
        ("sets.contains" | "sets.intersects", [a, b]) => 1 + size(a).saturating_mul(size(b)),
        ("sets.equivalent", [a, b]) => 1 + size(a).saturating_mul(size(b)).saturating_mul(2),
        (
            "url"
            | "lowerAscii"
            | "upperAscii"
            | "substring"
            | "trim"
            | "jsonpatch.escapeKey"
            | "cidr"
            | "isIP"
            | "isCIDR"
            | "quantity"
            | "isQuantity"
            | "semver"
            | "isSemver",
            _,
        ) => text(args, 0, TRAVERSAL),
        ("ip", [Value::String(_)]) => text(args, 0, TRAVERSAL),
        ("replace" | "split" | "ip.isCanonical", _) => text(args, 0, 2.0 * TRAVERSAL),
        ("join", _) => scaled(size(result), 2.0 * TRAVERSAL),
        ("find" | "findAll" | "matches", [of, pattern, ..]) => regex_cost(size(of), size(pattern)),
        ("validate", [Value::Opaque(Opaque::Format(format)), of]) => regex_cost(size(of), format.regex_size),
        ("containsIP" | "containsCIDR", [network, other]) => {
            let mut cost = scaled(2 * size(network), TRAVERSAL);
            if function == "containsCIDR" {
                cost += scaled(size(network), TRAVERSAL) + 1;
            }
            if let Value::String(_) = other {
                cost += scaled(size(other), TRAVERSAL);
            }
            cost
        }
        ("_==_", [Value::Opaque(_), _]) => 1,
        ("_==_" | "_!=_", [a, b]) => scaled(size(a).min(size(b)), TRAVERSAL),
        ("_<_" | "_<=_" | "_>_" | "_>=_", [Value::String(_) | Value::Bytes(_), b]) => {
            scaled(size(&args[0]).min(size(b)), TRAVERSAL)
        }
        ("startsWith" | "endsWith" | "strings.quote" | "format", [Value::String(_), ..]) => text(args, 0, TRAVERSAL),
        ("bytes", [Value::String(_)]) | ("string", [Value::Bytes(_)]) => text(args, 0, TRAVERSAL),
        ("@in", [_, Value::List(list)]) => list.len() as u64,
        ("_+_", [Value::String(_) | Value::Bytes(_), b]) => scaled(size(&args[0]) + size(b), TRAVERSAL),
        ("contains", [of, part]) => scaled(size(of), TRAVERSAL).saturating_mul(scaled(size(part), TRAVERSAL)),
        _ => 1,
    }
}

fn regex_cost(of: u64, pattern: u64) -> u64 {
    scaled(of.saturating_add(1), TRAVERSAL).saturating_mul(scaled(pattern, REGEX))
}

fn list_call(factor: f64, size: u64) -> u64 {
    ((size as f64 * factor) as u64).saturating_add(1 + 10)
}

fn self_compare(list: &Value<'_>) -> u64 {
    let Value::List(items) = list else { return 1 };
    let is_text = matches!(items.get(0), Some(Ok(Value::String(_) | Value::Bytes(_))));
    let size = items.len() as u64;
    list_call(if is_text { 2.0 + TRAVERSAL } else { 2.0 }, size.saturating_mul(size))
}

/// All of it once, as a tree.
fn traversal(value: &Value<'_>) -> u64 {
    match value {
        Value::String(text) => (text.len() as f64 * TRAVERSAL) as u64,
        Value::Bytes(bytes) => (bytes.len() as f64 * TRAVERSAL) as u64,
        Value::List(list) => list.iter().map(|item| item.map_or(1, |item| traversal(&item))).sum(),
        Value::Map(map) => {
            let entry = |key: Value<'_>| {
                let value = map.get(&key).and_then(Result::ok);
                traversal(&key) + value.map_or(1, |value| traversal(&value))
            };
            map.keys().into_iter().map(entry).sum()
        }
        _ => 1,
    }
}
