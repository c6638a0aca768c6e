//! Whether the bounds of a LimitRange fit each other.
//!
//! <https://kubernetes.io/docs/concepts/policy/limit-range/>

use std::collections::{BTreeSet, HashSet};

use corten_api::quantity::{Format, Quantity};
use corten_api::{Problems, names};
use k8s_openapi::api::core::v1::LimitRangeItem;

use crate::registry::path::Path;
use crate::registry::quantities::{List, Ratio, Wires, parsed, well_formed};
use crate::registry::{check, resource_names};

pub const POD: &str = "Pod";
pub const CONTAINER: &str = "Container";
pub const CLAIM: &str = "PersistentVolumeClaim";

pub(super) fn limits(limits: &[LimitRangeItem], problems: &mut Problems) {
    let list = Path::root("spec.limits");
    let mut types = HashSet::new();
    for (i, item) in limits.iter().enumerate() {
        let at = list.index(i);
        type_name(&item.type_, &at.field("type"), problems);
        if !types.insert(item.type_.as_str()) {
            problems.duplicate(at.field("type"), &item.type_);
        }
        one(item, &at, problems);
    }
}

fn type_name(name: &str, at: &Path<'_>, problems: &mut Problems) {
    if !names::is_qualified_name(name) {
        check::qualified_name(problems, at, name);
    } else if !name.contains('/') && ![POD, CONTAINER, CLAIM].contains(&name) {
        problems.invalid(at, name, "must be a standard limit type or fully qualified");
    }
}

fn one(item: &LimitRangeItem, at: &Path<'_>, problems: &mut Problems) {
    for (field, list) in
        [("max", &item.max), ("min", &item.min), ("maxLimitRequestRatio", &item.max_limit_request_ratio)]
    {
        resources(&item.type_, list.as_ref(), &at.field(field), problems);
    }
    for (field, list) in [("default", &item.default), ("defaultRequest", &item.default_request)] {
        let at = at.field(field);
        if item.type_ != POD {
            resources(&item.type_, list.as_ref(), &at, problems);
        } else if list.as_ref().is_some_and(|list| !list.is_empty()) {
            problems.forbidden(at, "may not be specified when `type` is 'Pod'");
        }
    }
    let of_storage = |list: &Option<Wires>| list.as_ref().is_some_and(|l| l.contains_key(resource_names::STORAGE));
    if item.type_ == CLAIM && !of_storage(&item.min) && !of_storage(&item.max) {
        let why = "either minimum or maximum storage value is required, but neither was provided";
        problems.required(at.field("limits"), why);
    }
    let bounds = Bounds::of(item);
    for name in bounds.names() {
        bounds.fit(name, at, problems);
    }
}

fn resources(kind: &str, list: Option<&Wires>, at: &Path<'_>, problems: &mut Problems) {
    for (name, wire) in list.into_iter().flatten() {
        let at = at.key(name);
        match kind {
            POD | CONTAINER => resource_names::of_containers(problems, &at, name),
            _ => {
                resource_names::any(problems, &at, name);
            }
        }
        well_formed(problems, &at, wire);
    }
}

/// An item's lists as they are compared. Pods have no defaults.
struct Bounds {
    min: List,
    max: List,
    default: List,
    default_request: List,
    ratio: List,
}

impl Bounds {
    fn of(item: &LimitRangeItem) -> Self {
        let defaults = |list: &Option<Wires>| parsed(list.as_ref().filter(|_| item.type_ != POD));
        Self {
            min: parsed(item.min.as_ref()),
            max: parsed(item.max.as_ref()),
            default: defaults(&item.default),
            default_request: defaults(&item.default_request),
            ratio: parsed(item.max_limit_request_ratio.as_ref()),
        }
    }
    fn names(&self) -> BTreeSet<&String> {
        let lists = [&self.min, &self.max, &self.default, &self.default_request, &self.ratio];
        lists.into_iter().flat_map(List::keys).collect()
    }
    /// `min ≤ defaultRequest ≤ default ≤ max`, and a ratio that the bounds leave room for.
    fn fit(&self, name: &str, at: &Path<'_>, problems: &mut Problems) {
        let in_min = ("min", "min value", self.min.get(name));
        let in_max = ("max", "max value", self.max.get(name));
        let in_default = ("default", "default value", self.default.get(name));
        let in_request = ("defaultRequest", "default request value", self.default_request.get(name));
        let limit = ("default", "default limit value", self.default.get(name));
        for (low, high, field) in [
            (in_min, in_max, "min"),
            (in_min, in_request, "defaultRequest"),
            (in_request, in_max, "defaultRequest"),
            (in_request, limit, "defaultRequest"),
            (in_min, in_default, "default"),
            (in_default, in_max, "default"),
        ] {
            let ((_, low_word, Some(low_is)), (_, high_word, Some(high_is))) = (low, high) else { continue };
            if low_is > high_is {
                let why = format!("{low_word} {low_is} is greater than {high_word} {high_is}");
                let shown = if field == low.0 { low_is } else { high_is };
                problems.invalid(at.field(field).key(name), shown.to_wire(), &why);
            }
        }
        self.fit_ratio(name, at, problems);
        if let (Some(default), Some(request)) = (self.default.get(name), self.default_request.get(name))
            && !resource_names::may_be_overcommitted(name)
            && !default.is_as_much_as(*request)
        {
            let why = format!("default value {default} must equal to defaultRequest value {request} in {name}");
            problems.invalid(at.field("defaultRequest").key(name), request.to_wire(), &why);
        }
    }
    fn fit_ratio(&self, name: &str, at: &Path<'_>, problems: &mut Problems) {
        let Some(ratio) = self.ratio.get(name) else { return };
        let list = at.field("maxLimitRequestRatio");
        let at = list.key(name);
        if *ratio < Quantity::from_units(1, Format::DecimalSi) {
            problems.invalid(at, ratio.to_wire(), &format!("ratio {ratio} is less than 1"));
        }
        let (Some(min), Some(max)) = (self.min.get(name), self.max.get(name)) else { return };
        if let Some(room) = Ratio::of(*max, *min)
            && room.against(*ratio).is_lt()
        {
            problems.invalid(at, ratio.to_wire(), &format!("ratio {ratio} is greater than max/min = {room}"));
        }
    }
}
