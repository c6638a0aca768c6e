//! What a pod asks for and may have as a whole, exactly: as LimitRanges bound it, and as quotas count it.
//!
//! [`corten_api::pod`] has the same in plain numbers, for who needs no formats. The rule is the same:
//! <https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/#resource-sharing-within-containers>

use std::collections::HashMap;

use corten_api::pod::sums;
use k8s_openapi::api::core::v1::{Container, ContainerStatus, Pod, ResourceRequirements};

use crate::registry::quantities::{List, Wires, add, parsed, raise};
use crate::registry::resource_names::{CPU, MEMORY, is_huge_pages};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Requests,
    Limits,
}

impl Side {
    pub(super) fn of(self, resources: Option<&ResourceRequirements>) -> Option<&Wires> {
        let resources = resources?;
        match self {
            Self::Requests => resources.requests.as_ref(),
            Self::Limits => resources.limits.as_ref(),
        }
    }
}

/// What is written in the spec, without what the pod costs beyond its containers.
pub(super) fn of_spec(pod: &Pod, side: Side) -> List {
    together(pod, side, &|container| parsed(side.of(container.resources.as_ref())))
}

/// With what the containers still have while they are resized, and with the pod's overhead.
pub(super) fn in_fact(pod: &Pod, side: Side) -> List {
    let statuses = pod.status.iter().flat_map(|s| [&s.container_statuses, &s.init_container_statuses]);
    let statuses: HashMap<&str, &ContainerStatus> =
        statuses.flatten().flatten().map(|status| (status.name.as_str(), status)).collect();
    let infeasible = is_resize_infeasible(pod);
    let mut sum = together(pod, side, &|container| {
        let asked = parsed(side.of(container.resources.as_ref()));
        match statuses.get(container.name.as_str()) {
            Some(status) if status.resources.is_some() => has(status, asked, side, infeasible),
            _ => asked,
        }
    });
    let mut overhead = parsed(pod.spec.as_ref().and_then(|spec| spec.overhead.as_ref()));
    if side == Side::Limits {
        // What has no limit gets none from the overhead.
        overhead.retain(|name, _| sum.get(name).is_some_and(|limit| !limit.is_zero()));
    }
    add(&mut sum, &overhead);
    sum
}

/// The larger of what a container asks for and what its node gave it; the latter alone, where it cannot get the former.
fn has(status: &ContainerStatus, asked: List, side: Side, infeasible: bool) -> List {
    let mut sum = if infeasible { List::new() } else { asked };
    raise(&mut sum, &parsed(side.of(status.resources.as_ref())));
    if side == Side::Requests {
        raise(&mut sum, &parsed(status.allocated_resources.as_ref()));
    }
    sum
}

fn is_resize_infeasible(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    let pending = corten_api::conditions::find(conditions, "PodResizePending");
    pending.is_some_and(|condition| condition.reason.as_deref() == Some("Infeasible"))
}

/// `of`: what counts for a container that stays; an init container that ends has what its spec says.
fn together(pod: &Pod, side: Side, of: &dyn Fn(&Container) -> List) -> List {
    let Some(spec) = &pod.spec else { return List::new() };
    let mut sum = sums::of_containers(spec, of, |init| parsed(side.of(init.resources.as_ref())));
    // Amounts for the pod as a whole, where given, stand for the sum of the containers'.
    for (name, amount) in parsed(side.of(spec.resources.as_ref())) {
        if is_of_whole_pods(&name) {
            sum.insert(name, amount);
        }
    }
    sum
}

/// Whether a pod can be given it as a whole.
fn is_of_whole_pods(name: &str) -> bool {
    name == CPU || name == MEMORY || is_huge_pages(name)
}

/// Whether anything is given to the pod as a whole.
pub(super) fn is_given_as_a_whole(pod: &Pod) -> bool {
    let whole = pod.spec.as_ref().and_then(|spec| spec.resources.as_ref());
    let sides = [Side::Requests, Side::Limits].into_iter().filter_map(|side| side.of(whole));
    sides.flatten().any(|(name, _)| is_of_whole_pods(name))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::registry::quantities::text;

    fn pod(spec: Value, status: Value) -> Pod {
        serde_json::from_value(json!({"spec": spec, "status": status})).unwrap()
    }
    fn container(name: &str, cpu: &str) -> Value {
        json!({"name": name, "resources": {"requests": {"cpu": cpu}, "limits": {"cpu": cpu}}})
    }

    #[test]
    fn the_larger_of_what_runs_and_of_any_init_container() {
        let mut sidecar = container("s", "200m");
        sidecar["restartPolicy"] = json!("Always");
        let spec = json!({"containers": [container("a", "100m"), container("b", "100m")],
            "initContainers": [container("early", "300m"), sidecar, container("late", "1")],
            "overhead": {"cpu": "50m", "memory": "1Mi"}});
        let pod = pod(spec, json!({}));
        assert_eq!(text(&of_spec(&pod, Side::Requests)), "cpu=1200m");
        assert_eq!(text(&in_fact(&pod, Side::Requests)), "cpu=1250m,memory=1Mi");
        assert_eq!(text(&in_fact(&pod, Side::Limits)), "cpu=1250m", "what has no limit gets none");
    }

    #[test]
    fn what_the_pod_is_given_as_a_whole_stands_for_the_sum() {
        let spec = json!({"containers": [container("a", "1")],
            "resources": {"requests": {"cpu": "3", "memory": "1Gi", "x.com/y": "1"}}});
        let pod = pod(spec, json!({}));
        assert!(is_given_as_a_whole(&pod));
        assert_eq!(text(&of_spec(&pod, Side::Requests)), "cpu=3,memory=1Gi");
        assert_eq!(text(&of_spec(&pod, Side::Limits)), "cpu=1");
        let plain = super::Pod::default();
        assert!(!is_given_as_a_whole(&plain) && of_spec(&plain, Side::Requests).is_empty());
    }

    #[test]
    fn a_container_counts_as_what_it_still_has() {
        let spec = json!({"containers": [container("a", "1")]});
        let has = json!([{"name": "a", "image": "", "imageID": "", "ready": true, "restartCount": 0,
            "resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "3"}}, "allocatedResources": {"cpu": "2500m"}}]);
        let infeasible = json!([{"type": "PodResizePending", "status": "True", "reason": "Infeasible"}]);
        let cases = [
            ("it has more", "1", json!([]), "2500m", "3"),
            ("it asks for more", "4", json!([]), "4", "4"),
            ("it cannot get more", "4", infeasible, "2500m", "3"),
        ];
        for (why, asks, conditions, requests, limits) in cases {
            let mut spec = spec.clone();
            spec["containers"][0] = container("a", asks);
            let pod = pod(spec, json!({"containerStatuses": has, "conditions": conditions}));
            let sums = (text(&in_fact(&pod, Side::Requests)), text(&in_fact(&pod, Side::Limits)));
            assert_eq!(sums, (format!("cpu={requests}"), format!("cpu={limits}")), "{why}");
            assert_eq!(text(&of_spec(&pod, Side::Requests)), format!("cpu={asks}"), "{why}");
        }
    }
}
