//! What pods request of a resource, for a target in percent of it. Pure.

use std::collections::BTreeMap;

use corten_api::Object as _;
use corten_api::k8s_openapi::api::core::v1::{Container, Pod, ResourceRequirements};
use corten_api::pod::is_sidecar;
use corten_api::quantity::Quantity;

/// By pod, in thousandths. `container`: of the one with this name; "": of the pod, which is what it requests itself, else what
/// its containers do. `Err` says what is missing.
pub fn of_pods(pods: &[Pod], container: &str, resource: &str) -> Result<BTreeMap<String, i64>, String> {
    pods.iter().map(|pod| Ok((pod.name().to_owned(), of_pod(pod, container, resource)?))).collect()
}

fn of_pod(pod: &Pod, container: &str, resource: &str) -> Result<i64, String> {
    let name = pod.name();
    let Some(spec) = &pod.spec else { return Err(format!("container {container} not found in Pod {name}")) };
    let whole = spec.resources.as_ref().filter(|resources| has_requests(resources) && container.is_empty());
    let containers = || {
        let sidecars = spec.init_containers.iter().flatten().filter(|container| is_sidecar(container));
        spec.containers.iter().chain(sidecars)
    };
    let of_container = |container: &Container| {
        let missing = || format!("missing request for {resource} in container {} of Pod {name}", container.name);
        container.resources.as_ref().and_then(|of| millis(of, resource)).ok_or_else(missing)
    };
    if !container.is_empty() {
        let found = containers().find(|one| one.name == container);
        return found.map_or_else(|| Err(format!("container {container} not found in Pod {name}")), of_container);
    }
    // What the pod does not request as a whole is what its containers do.
    if let Some(requested) = whole.and_then(|resources| millis(resources, resource)) {
        return Ok(requested);
    }
    let sum = containers().map(of_container).try_fold(0_i64, |sum, of| Ok(sum.saturating_add(of?)));
    match whole {
        Some(_) => sum.map_err(|_: String| format!("missing pod-level request for {resource} in Pod {name}")),
        None => sum,
    }
}

fn has_requests(resources: &ResourceRequirements) -> bool {
    resources.requests.as_ref().is_some_and(|requests| !requests.is_empty())
}

fn millis(resources: &ResourceRequirements, resource: &str) -> Option<i64> {
    let quantity = resources.requests.as_ref()?.get(resource)?;
    Quantity::from_wire(quantity).ok().map(Quantity::millis)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn requests_table() {
        let cpu = |cpu: &str| json!({"requests": {"cpu": cpu}});
        let container = |name: &str, resources: Value| json!({"name": name, "resources": resources});
        let two = json!([container("a", cpu("100m")), container("b", cpu("1"))]);
        let sidecar = json!([{"name": "s", "restartPolicy": "Always", "resources": cpu("50m")}, {"name": "i"}]);
        let cases = [
            ("both", json!({"containers": two}), "", Ok(1100)),
            ("one of them", json!({"containers": two}), "b", Ok(1000)),
            ("with a sidecar, not with what ends", json!({"containers": two, "initContainers": sidecar}), "", Ok(1150)),
            ("the pod's own", json!({"containers": two, "resources": cpu("3")}), "", Ok(3000)),
            ("a container's, whatever the pod's own", json!({"containers": two, "resources": cpu("3")}), "a", Ok(100)),
            (
                "none",
                json!({"containers": [container("a", json!({}))]}),
                "",
                Err("missing request for cpu in container a of Pod p"),
            ),
            ("no such container", json!({"containers": two}), "x", Err("container x not found in Pod p")),
            (
                "the pod's own, of something else",
                json!({"containers": [{"name": "a"}], "resources": {"requests": {"memory": "1Gi"}}}),
                "",
                Err("missing pod-level request for cpu in Pod p"),
            ),
        ];
        for (why, spec, container, expected) in cases {
            let pod: Pod = serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": spec})).unwrap();
            let got = of_pods(&[pod], container, "cpu").map(|by_pod| by_pod["p"]);
            assert_eq!(got, expected.map_err(str::to_owned), "{why}");
        }
    }
}
