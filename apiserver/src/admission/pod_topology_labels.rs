//! A pod has the zone and the region of its node as labels of its own, so that what runs in it can be told them.
//!
//! A pod gets its node by a Binding, whose labels go to the pod, or is made with one.
//! <https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#podtopologylabels>

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Binding, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;

use super::{AdmissionRequest, Refusal};
use crate::request::Verb;

const COPIED: &[&str] = &["topology.kubernetes.io/region", "topology.kubernetes.io/zone"];

/// All that is wanted of a node, which has much more.
#[derive(Deserialize)]
struct Labelled {
    metadata: ObjectMeta,
}

pub(super) fn admit(request: &mut AdmissionRequest<'_>) -> Result<(), Refusal> {
    if request.verb != Verb::Create || !request.is("", "pods") {
        return Ok(());
    }
    let node = match request.target.subresource.as_str() {
        "" => request.object::<Pod>().and_then(corten_api::pod::node_name),
        "binding" => request.object::<Binding>().and_then(node_bound_to),
        _ => None,
    };
    let Some(labels) = node.map(|node| labels_of(request, node)).filter(|labels| !labels.is_empty()) else {
        return Ok(());
    };
    if let Some(object) = &mut request.object {
        object.meta_mut().labels.get_or_insert_default().extend(labels);
    }
    Ok(())
}

fn node_bound_to(binding: &Binding) -> Option<&str> {
    let is_node = binding.target.kind.as_deref() == Some("Node");
    binding.target.name.as_deref().filter(|_| is_node)
}

/// Nothing for a node that is not there.
fn labels_of(request: &AdmissionRequest<'_>, node: &str) -> BTreeMap<String, String> {
    let node: Option<Labelled> = request.find("", "nodes", "", node);
    let mut labels = node.and_then(|node| node.metadata.labels).unwrap_or_default();
    labels.retain(|key, _| COPIED.contains(&key.as_str()));
    labels
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::admission::testing::{Write, written};
    use crate::view::testing::Cluster;

    #[test]
    fn the_place_of_a_node_is_written_on_its_pods() {
        let labels = json!({"topology.kubernetes.io/zone": "z", "topology.kubernetes.io/region": "r", "own": "1"});
        let world = Cluster::of(&[
            ("nodes//n", json!({"metadata": {"name": "n", "labels": labels}, "spec": {"podCIDR": "10.0.0.0/24"}})),
            ("nodes//bare", json!({"metadata": {"name": "bare"}})),
        ]);
        let (zone, region) = ("topology.kubernetes.io/zone", "topology.kubernetes.io/region");
        let both = json!({"app": "a", zone: "z", region: "r"});
        let pod = |node: &str| json!({"metadata": {"labels": {"app": "a", zone: "mine"}}, "spec": {"nodeName": node, "containers": []}});
        let cases = [
            ("on its node already", pod("n"), both.clone()),
            ("no node yet", pod(""), json!({"app": "a", zone: "mine"})),
            ("a node without labels", pod("bare"), json!({"app": "a", zone: "mine"})),
            ("a node that is not there", pod("gone"), json!({"app": "a", zone: "mine"})),
        ];
        for (why, new, expected) in cases {
            let write = Write { verb: Verb::Create, target: "/pods a/p", new, old: Value::Null };
            let pod = written::<Pod>(admit, &world, write).unwrap();
            assert_eq!(json!(pod.metadata.labels), expected, "{why}");
        }
        let binding = |kind: &str| json!({"metadata": {"name": "p"}, "target": {"kind": kind, "name": "n"}});
        let cases = [("Node", json!({zone: "z", region: "r"})), ("", Value::Null)];
        for (kind, expected) in cases {
            let write = Write { verb: Verb::Create, target: "/pods/binding a/p", new: binding(kind), old: Value::Null };
            let binding = written::<Binding>(admit, &world, write).unwrap();
            assert_eq!(json!(binding.metadata.labels), expected, "{kind}");
        }
        let write = Write { verb: Verb::Update, target: "/pods a/p", new: pod("n"), old: pod("n") };
        let kept = written::<Pod>(admit, &world, write).unwrap();
        assert_eq!(json!(kept.metadata.labels), json!({"app": "a", zone: "mine"}), "only as it is made");
    }
}
