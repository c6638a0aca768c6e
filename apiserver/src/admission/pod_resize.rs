//! A pod is not resized to more than its node could ever give.
//!
//! Words: <https://kubernetes.io/docs/tasks/configure-pod-container/resize-container-resources/>.

use corten_api::pod::{amounts, node_name, requests};
use k8s_openapi::api::core::v1::{Node, Pod};

use super::{AdmissionRequest, Refusal};
use crate::registry::Part;
use crate::request::Verb;

const OS_LABEL: &str = "kubernetes.io/os";

pub(super) fn admit(request: &mut AdmissionRequest<'_>) -> Result<(), Refusal> {
    let is_resize = Part::of(&request.target.subresource) == Some(Part::Resize);
    if request.verb != Verb::Update || !request.is("", "pods") || !is_resize {
        return Ok(());
    }
    let (Some(new), Some(old)) = (request.object::<Pod>(), request.old::<Pod>()) else { return Ok(()) };
    let Some(name) = node_name(new).filter(|_| new.spec != old.spec) else { return Ok(()) };
    let Some(node) = request.find::<Node>("", "nodes", "", name) else {
        return Err(request.forbidden(format!("node {name:?} not found")));
    };
    judge(new, &node).map_err(|why| request.forbidden(why))
}

fn judge(pod: &Pod, node: &Node) -> Result<(), String> {
    let allocatable = amounts(node.status.as_ref().and_then(|status| status.allocatable.as_ref()));
    let asked = pod.spec.as_ref().map(requests).unwrap_or_default();
    let of = |list: &corten_api::pod::Amounts, name: &str| list.get(name).copied().unwrap_or(0);
    let short: Vec<String> = ["cpu", "memory"]
        .into_iter()
        .map(|name| (name, of(&asked, name), of(&allocatable, name)))
        .filter(|(_, asked, allocatable)| asked > allocatable)
        .map(|(name, asked, allocatable)| format!("{name}, requested: {asked}, allocatable: {allocatable}"))
        .collect();
    if !short.is_empty() {
        return Err(format!("Node didn't have enough allocatable resources: {}", short.join("; ")));
    }
    let os = node.metadata.labels.as_ref().and_then(|labels| labels.get(OS_LABEL)).map_or("", String::as_str);
    if os == "linux" {
        return Ok(());
    }
    let name = node.metadata.name.as_deref().unwrap_or_default();
    Err(format!("pod resize is only supported on linux nodes, node {name:?} is {os:?}"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::admission::testing::{Write, ask};
    use crate::view::testing::Cluster;

    #[test]
    fn a_pod_asks_for_no_more_than_its_node_has() {
        let node = |os: &str| {
            json!({"metadata": {"name": "n1", "labels": {OS_LABEL: os}},
                "status": {"allocatable": {"cpu": "2", "memory": "1Gi"}}})
        };
        let world = Cluster::of(&[("nodes//n1", node("linux")), ("nodes//n2", node("windows"))]);
        let pod = |node: &str, cpu: &str, memory: &str| -> Value {
            let requests = json!({"cpu": cpu, "memory": memory});
            json!({"metadata": {"name": "p"},
                "spec": {"nodeName": node, "containers": [{"name": "a", "resources": {"requests": requests}}]}})
        };
        let small = pod("n1", "1", "1Gi");
        let nobodys = pod("", "100", "1Gi");
        for (why, target, new, expected) in [
            ("it fits", "/pods/resize", pod("n1", "2", "1Gi"), ""),
            (
                "too much",
                "/pods/resize",
                pod("n1", "3", "2Gi"),
                "Node didn't have enough allocatable resources: cpu, requested: 3000, allocatable: 2000; memory, requested: 2147483648, allocatable: 1073741824",
            ),
            ("unbound", "/pods/resize", nobodys, ""),
            ("another subresource", "/pods/status", pod("n1", "3", "2Gi"), ""),
            ("no node", "/pods/resize", pod("n3", "1", "1"), r#"node "n3" not found"#),
            (
                "another system",
                "/pods/resize",
                pod("n2", "1", "1"),
                r#"pod resize is only supported on linux nodes, node "n1" is "windows""#,
            ),
        ] {
            let write = Write { verb: Verb::Update, target: &format!("{target} ns/p"), new, old: small.clone() };
            let said = ask::<Pod>(admit, &world, write).err().map(|err| err.message().to_owned());
            let expected = (!expected.is_empty()).then(|| format!("pods \"p\" is forbidden: {expected}"));
            assert_eq!(said, expected, "{why}");
        }
    }
}
