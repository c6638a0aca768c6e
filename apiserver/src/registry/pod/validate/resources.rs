//! What containers ask for: names of resources, amounts, and that none asks for more than its limit.

use std::collections::HashSet;

use corten_api::Problems;
use corten_api::quantity::Quantity;
use k8s_openapi::api::core::v1::{ContainerResizePolicy, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Wire;

use crate::registry::path::Path;
use crate::registry::quantities::{self, Wires};
use crate::registry::resource_names::{is_huge_pages, is_whole, may_be_overcommitted};
use crate::registry::{check, resource_names};

/// Tells whether a resource can be had there.
pub(super) type NameRule = fn(&mut Problems, &Path<'_>, &str);

/// `at` is the path of the requirements.
pub(super) fn validate(resources: &ResourceRequirements, names: NameRule, at: &Path<'_>, problems: &mut Problems) {
    let none = Wires::new();
    let (limits, requests) = (resources.limits.as_ref().unwrap_or(&none), resources.requests.as_ref().unwrap_or(&none));
    let (limits_at, requests_at) = (at.field("limits"), at.field("requests"));
    for (name, quantity) in limits {
        one(name, quantity, names, &limits_at, problems);
    }
    for (name, quantity) in requests {
        one(name, quantity, names, &requests_at, problems);
        within_limit(name, quantity, limits.get(name), at, problems);
    }
    let huge = limits.keys().chain(requests.keys()).any(|name| is_huge_pages(name));
    let plain = |list: &Wires| list.contains_key("cpu") || list.contains_key("memory");
    if huge && !plain(limits) && !plain(requests) {
        problems.forbidden(at, "HugePages require cpu or memory");
    }
}

fn one(name: &str, wire: &Wire, names: NameRule, list: &Path<'_>, problems: &mut Problems) {
    let at = list.key(name);
    names(problems, &at, name);
    let Some(quantity) = quantities::well_formed(problems, &at, wire) else { return };
    quantities::not_negative(problems, &at, quantity);
    if is_whole(name) {
        quantities::whole(problems, &at, quantity);
    }
}

fn within_limit(name: &str, request: &Wire, limit: Option<&Wire>, at: &Path<'_>, problems: &mut Problems) {
    let shared = may_be_overcommitted(name);
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
pub(super) fn overhead(overhead: Option<&Wires>, at: &Path<'_>, problems: &mut Problems) {
    for (name, quantity) in overhead.into_iter().flatten() {
        one(name, quantity, resource_names::of_containers, at, problems);
    }
}

/// `restarts`: whether the pod's containers may begin anew.
pub(super) fn resize_policies(
    policies: &[ContainerResizePolicy],
    restarts: bool,
    at: &Path<'_>,
    problems: &mut Problems,
) {
    let list = at.field("resizePolicy");
    let mut seen = HashSet::new();
    for (i, policy) in policies.iter().enumerate() {
        let at = list.index(i);
        let known = ["NotRequired", "RestartContainer"];
        check::word(problems, &at.field("resourceName"), Some(&policy.resource_name), &["cpu", "memory"]);
        check::word(problems, &at.field("restartPolicy"), Some(&policy.restart_policy), &known);
        if !restarts && policy.restart_policy != "NotRequired" {
            let why = "must be 'NotRequired' when `restartPolicy` is 'Never'";
            problems.invalid(list, &policy.restart_policy, why);
        }
        if !seen.insert(&policy.resource_name) {
            problems.duplicate(at, &policy.resource_name);
        }
    }
}
