//! What containers ask for: names of resources, amounts, and that none asks for more than its limit.

use std::collections::{BTreeMap, HashSet};

use corten_api::Problems;
use corten_api::names;
use corten_api::quantity::Quantity;
use k8s_openapi::api::core::v1::{ContainerResizePolicy, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Wire;

use crate::registry::check;
use crate::registry::path::Path;

const STANDARD: &[&str] = &["cpu", "memory", "ephemeral-storage"];
const NOT_STANDARD: &str = "must be a standard resource type or fully qualified";

type List = BTreeMap<String, Wire>;

/// `at` is the path of the requirements.
pub(super) fn validate(resources: &ResourceRequirements, at: &Path<'_>, problems: &mut Problems) {
    let none = List::new();
    let (limits, requests) = (resources.limits.as_ref().unwrap_or(&none), resources.requests.as_ref().unwrap_or(&none));
    let (limits_at, requests_at) = (at.field("limits"), at.field("requests"));
    for (name, quantity) in limits {
        one(name, quantity, &limits_at, problems);
    }
    for (name, quantity) in requests {
        one(name, quantity, &requests_at, problems);
        within_limit(name, quantity, limits.get(name), at, problems);
    }
    let huge = limits.keys().chain(requests.keys()).any(|name| is_huge(name));
    let plain = |list: &List| list.contains_key("cpu") || list.contains_key("memory");
    if huge && !plain(limits) && !plain(requests) {
        problems.forbidden(at, "HugePages require cpu or memory");
    }
}

fn is_huge(name: &str) -> bool {
    name.starts_with("hugepages-")
}
/// Resources of devices and the like, which are counted and not shared.
fn is_extended(name: &str) -> bool {
    name.contains('/') && !name.starts_with("kubernetes.io/")
}

fn one(name: &str, wire: &Wire, list: &Path<'_>, problems: &mut Problems) {
    let at = list.key(name);
    if !names::is_qualified_name(name) {
        check::qualified_name(problems, &at, name);
    } else if !name.contains('/') && !STANDARD.contains(&name) && !is_huge(name) {
        problems.invalid(at, name, NOT_STANDARD);
    }
    let Some(quantity) = parsed(wire, &at, problems) else { return };
    if quantity.is_negative() {
        problems.invalid(at, &wire.0, check::NEGATIVE);
    }
    if is_extended(name) && !quantity.is_whole() {
        problems.invalid(at, &wire.0, "must be an integer");
    }
}

fn parsed(wire: &Wire, at: &Path<'_>, problems: &mut Problems) -> Option<Quantity> {
    Quantity::from_wire(wire).map_err(|err| problems.invalid(at, &wire.0, &err.to_string())).ok()
}

fn within_limit(name: &str, request: &Wire, limit: Option<&Wire>, at: &Path<'_>, problems: &mut Problems) {
    let shared = !is_extended(name) && !is_huge(name);
    let Some(limit) = limit else {
        if !shared {
            problems.required(at.field("limits"), "Limit must be set for non overcommitable resources");
        }
        return;
    };
    let (Ok(asked), Ok(allowed)) = (Quantity::from_wire(request), Quantity::from_wire(limit)) else { return };
    if shared && asked > allowed {
        let why = format!("must be less than or equal to {name} limit of {}", limit.0);
        problems.invalid(at.field("requests"), &request.0, &why);
    } else if !shared && asked.partial_cmp(&allowed) != Some(std::cmp::Ordering::Equal) {
        let why = format!("must be equal to {name} limit of {}", limit.0);
        problems.invalid(at.field("requests"), &request.0, &why);
    }
}

/// What a pod costs beyond its containers.
pub(super) fn overhead(overhead: Option<&List>, at: &Path<'_>, problems: &mut Problems) {
    for (name, quantity) in overhead.into_iter().flatten() {
        one(name, quantity, at, problems);
    }
}

pub(super) fn resize_policies(policies: &[ContainerResizePolicy], at: &Path<'_>, problems: &mut Problems) {
    let list = at.field("resizePolicy");
    let mut seen = HashSet::new();
    for (i, policy) in policies.iter().enumerate() {
        let at = list.index(i);
        let known = ["NotRequired", "RestartContainer"];
        check::word(problems, &at.field("resourceName"), Some(&policy.resource_name), &["cpu", "memory"]);
        check::word(problems, &at.field("restartPolicy"), Some(&policy.restart_policy), &known);
        if !seen.insert(&policy.resource_name) {
            problems.duplicate(at, &policy.resource_name);
        }
    }
}
