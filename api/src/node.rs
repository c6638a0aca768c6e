//! What can be read from a Node: readiness, addresses, and which taints a pod tolerates.

pub mod selector;

use k8s_openapi::api::core::v1::{Node, Taint, Toleration};

use crate::conditions;

pub const CONTROL_PLANE_LABEL: &str = "node-role.kubernetes.io/control-plane";
pub const HOSTNAME_LABEL: &str = "kubernetes.io/hostname";
pub const NOT_READY_TAINT: &str = "node.kubernetes.io/not-ready";
pub const UNREACHABLE_TAINT: &str = "node.kubernetes.io/unreachable";
pub const UNSCHEDULABLE_TAINT: &str = "node.kubernetes.io/unschedulable";
pub const DISK_PRESSURE_TAINT: &str = "node.kubernetes.io/disk-pressure";
pub const MEMORY_PRESSURE_TAINT: &str = "node.kubernetes.io/memory-pressure";
pub const PID_PRESSURE_TAINT: &str = "node.kubernetes.io/pid-pressure";
pub const NETWORK_UNAVAILABLE_TAINT: &str = "node.kubernetes.io/network-unavailable";
/// Where node Leases live.
pub const LEASE_NAMESPACE: &str = "kube-node-lease";

pub fn is_ready(node: &Node) -> bool {
    conditions::is_true(node.status.as_ref().and_then(|s| s.conditions.as_ref()), "Ready")
}

/// The node's address of a type: `InternalIP`, `Hostname`, …
pub fn address<'a>(node: &'a Node, kind: &str) -> Option<&'a str> {
    let addresses = node.status.as_ref()?.addresses.as_ref()?;
    addresses.iter().find(|a| a.type_ == kind).map(|a| a.address.as_str())
}

pub fn taints(node: &Node) -> &[Taint] {
    node.spec.as_ref().and_then(|s| s.taints.as_deref()).unwrap_or_default()
}

/// Whether one toleration covers one taint.
/// <https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/>
pub fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let effect = toleration.effect.as_deref().unwrap_or_default();
    let key = toleration.key.as_deref().unwrap_or_default();
    if !effect.is_empty() && effect != taint.effect || !key.is_empty() && key != taint.key {
        return false;
    }
    match toleration.operator.as_deref().unwrap_or_default() {
        "Exists" => true,
        // An empty key with Equal is invalid; validation refuses it.
        "" | "Equal" => {
            !key.is_empty()
                && toleration.value.as_deref().unwrap_or_default() == taint.value.as_deref().unwrap_or_default()
        }
        _ => false,
    }
}

/// The first taint with one of `effects` that nothing tolerates.
pub fn untolerated<'a>(taints: &'a [Taint], tolerations: &[Toleration], effects: &[&str]) -> Option<&'a Taint> {
    taints
        .iter()
        .filter(|t| effects.contains(&t.effect.as_str()))
        .find(|taint| !tolerations.iter().any(|t| tolerates(t, taint)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taint(key: &str, effect: &str) -> Taint {
        Taint { key: key.into(), value: None, effect: effect.into(), time_added: None }
    }

    #[test]
    fn a_node_says_whether_it_is_ready_and_where_it_is() {
        let node = |ready: &str| -> Node {
            let status = serde_json::json!({
                "conditions": [{"type": "MemoryPressure", "status": "True"}, {"type": "Ready", "status": ready}],
                "addresses": [{"type": "Hostname", "address": "n1"}, {"type": "InternalIP", "address": "10.0.0.1"}],
            });
            serde_json::from_value(serde_json::json!({"status": status})).unwrap()
        };
        assert!(is_ready(&node("True")) && !is_ready(&node("Unknown")) && !is_ready(&Node::default()));
        assert_eq!(address(&node("True"), "InternalIP"), Some("10.0.0.1"));
        assert_eq!(address(&node("True"), "ExternalIP"), None);
        assert_eq!(address(&Node::default(), "InternalIP"), None);
    }

    #[test]
    fn the_first_taint_that_counts_and_is_not_tolerated_is_named() {
        let node = Node {
            spec: Some(k8s_openapi::api::core::v1::NodeSpec {
                taints: Some(vec![
                    taint("soft", "PreferNoSchedule"),
                    taint("a", "NoSchedule"),
                    taint("b", "NoExecute"),
                ]),
                ..Default::default()
            }),
            ..Node::default()
        };
        let tolerating = |keys: &[&str]| -> Vec<Toleration> {
            let one = |key: &&str| Toleration {
                key: Some((*key).into()),
                operator: Some("Exists".into()),
                ..Toleration::default()
            };
            keys.iter().map(one).collect()
        };
        let hard = ["NoSchedule", "NoExecute"];
        for (why, keys, effects, expected) in [
            ("nothing is tolerated", &[][..], &hard[..], Some("a")),
            ("the first is", &["a"], &hard, Some("b")),
            ("the first is, among others", &["x", "a"], &hard, Some("b")),
            ("all are", &["b", "a"], &hard, None),
            ("what is asked about is tolerated", &["b"], &["NoExecute"], None),
            ("the soft one counts where it is asked about", &["a", "b"], &["PreferNoSchedule"], Some("soft")),
        ] {
            let found = untolerated(taints(&node), &tolerating(keys), effects);
            assert_eq!(found.map(|t| t.key.as_str()), expected, "{why}");
        }
        assert_eq!(taints(&Node::default()), []);
    }

    #[test]
    fn toleration_table() {
        let taint = Taint { key: "k".into(), value: Some("v".into()), effect: "NoSchedule".into(), time_added: None };
        let tol = |key: &str, op: &str, value: &str, effect: &str| Toleration {
            key: Some(key.into()),
            operator: Some(op.into()),
            value: Some(value.into()),
            effect: Some(effect.into()),
            toleration_seconds: None,
        };
        let cases = [
            ("same", tol("k", "Equal", "v", "NoSchedule"), true),
            ("other value", tol("k", "Equal", "w", "NoSchedule"), false),
            ("no effect named: all effects", tol("k", "", "v", ""), true),
            ("exists", tol("k", "Exists", "", "NoSchedule"), true),
            ("exists, another key", tol("l", "Exists", "", "NoSchedule"), false),
            ("equal without a key", tol("", "Equal", "v", "NoSchedule"), false),
            ("an operator that is none", tol("k", "Like", "v", "NoSchedule"), false),
            ("everything", tol("", "Exists", "", ""), true),
            ("other effect", tol("k", "Exists", "", "NoExecute"), false),
        ];
        for (why, toleration, expected) in cases {
            assert_eq!(tolerates(&toleration, &taint), expected, "{why}");
        }
    }
}
