//! What a pod is given as a whole: no less than its containers ask for, and no less than one of them may take.
//!
//! <https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/#pod-level-resource-specification>

use corten_api::quantity::{Format, Quantity};
use corten_api::{Problems, pod};
use k8s_openapi::api::core::v1::{PodSpec, ResourceRequirements};

use super::{os, resources};
use crate::registry::path::Path;
use crate::registry::quantities::Wires;
use crate::registry::resource_names;

pub(super) fn validate(spec: &PodSpec, spec_at: &Path<'_>, problems: &mut Problems) {
    let Some(whole) = &spec.resources else { return };
    let at = spec_at.field("resources");
    if spec.os.as_ref().is_some_and(|os| os.name == os::WINDOWS) {
        return problems.forbidden(at, "may not be set for a windows pod");
    }
    if whole.claims.is_some() {
        problems.forbidden(at.field("claims"), "claims may not be set for Resources at pod-level");
    }
    resources::validate(whole, resource_names::of_pods, &at, problems);
    at_least_all(spec, whole, &at, problems);
    at_least_each(spec, whole, &at, problems);
}

fn at_least_all(spec: &PodSpec, whole: &ResourceRequirements, at: &Path<'_>, problems: &mut Problems) {
    let (requests, limits) = pod::of_containers(spec);
    let is_huge = |name: &str| resource_names::is_huge_pages(name);
    let sides = [("requests", &whole.requests, requests), ("limits", &whole.limits, limits)];
    for (side, given, mut taken) in sides {
        // Of limits only those count together that cannot be promised twice.
        taken.retain(|name, _| side == "requests" || is_huge(name));
        let given_amounts = pod::amounts(given.as_ref());
        let list = at.field(side);
        for (name, amount) in taken {
            if given_amounts.get(&name).is_none_or(|given| amount <= *given) {
                continue;
            }
            let sum = if name == resource_names::CPU {
                Quantity::from_millis(amount)
            } else {
                Quantity::from_units(amount, Format::BinarySi)
            };
            let why = format!("must be greater than or equal to aggregate container {side} of {}", sum.to_wire().0);
            problems.invalid(list.key(&name), given.as_ref().and_then(|list| list.get(&name)), &why);
        }
    }
}

fn at_least_each(spec: &PodSpec, whole: &ResourceRequirements, at: &Path<'_>, problems: &mut Problems) {
    let none = Wires::new();
    let given = whole.limits.as_ref().unwrap_or(&none);
    let list = at.field("containers");
    for (i, container) in spec.containers.iter().enumerate() {
        let at = list.index(i);
        for (name, limit) in container.resources.iter().filter_map(|r| r.limits.as_ref()).flatten() {
            let Some(of_pod) = given.get(name) else { continue };
            let (Ok(own), Ok(most)) = (Quantity::from_wire(limit), Quantity::from_wire(of_pod)) else { continue };
            if own > most {
                let why = format!("must be less than or equal to pod limits of {}", of_pod.0);
                problems.invalid(at.key(name).field("limits"), &limit.0, &why);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::tests::check;

    #[test]
    fn a_pod_as_a_whole_has_no_less_than_its_containers() {
        let of = |whole: Value, container: Value| {
            let containers = [("a", container), ("b", json!({"requests": {"cpu": "500m"}}))];
            let containers = containers.map(|(name, own)| json!({"name": name, "image": "x", "resources": own}));
            json!({ "containers": containers, "resources": whole })
        };
        let none = json!({});
        check(vec![
            (of(json!({}), json!({"limits": {"x.com/gpu": "1"}})), ""),
            (of(json!({"requests": {"cpu": "1500m"}, "limits": {"cpu": "2"}}), json!({"requests": {"cpu": "1"}})), ""),
            (
                of(json!({"limits": {"x.com/gpu": "1"}}), none.clone()),
                r#"spec.resources.limits[x.com/gpu]: Unsupported value: "x.com/gpu": supported values: "cpu", "hugepages-", "memory""#,
            ),
            (
                of(json!({"limits": {"ephemeral-storage": "1Gi"}}), none.clone()),
                r#"spec.resources.limits[ephemeral-storage]: Unsupported value: "ephemeral-storage": supported values: "cpu", "hugepages-", "memory""#,
            ),
            (
                of(json!({"claims": [], "limits": {"cpu": "1"}}), none.clone()),
                "spec.resources.claims: Forbidden: claims may not be set for Resources at pod-level",
            ),
            (
                of(json!({"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}), none),
                r#"spec.resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1"#,
            ),
            (
                of(json!({"requests": {"cpu": "1"}}), json!({"requests": {"cpu": "1"}})),
                r#"spec.resources.requests[cpu]: Invalid value: "1": must be greater than or equal to aggregate container requests of 1500m"#,
            ),
            (
                of(
                    json!({"limits": {"memory": "1Gi"}}),
                    json!({"limits": {"memory": "2Gi"}, "requests": {"memory": "1Gi"}}),
                ),
                r#"spec.resources.containers[0][memory].limits: Invalid value: "2Gi": must be less than or equal to pod limits of 1Gi"#,
            ),
            (
                of(
                    json!({"limits": {"cpu": "1", "hugepages-2Mi": "2Mi"}, "requests": {"hugepages-2Mi": "2Mi"}}),
                    json!({"limits": {"cpu": "1", "hugepages-2Mi": "2Mi"}, "requests": {"cpu": "1m"}}),
                ),
                "",
            ),
        ]);
    }
}
