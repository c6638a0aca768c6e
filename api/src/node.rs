//! What can be read from a Node: readiness, addresses, and which taints a pod tolerates.

use k8s_openapi::api::core::v1::{Node, Taint, Toleration};

use crate::conditions;

pub const CONTROL_PLANE_LABEL: &str = "node-role.kubernetes.io/control-plane";
pub const HOSTNAME_LABEL: &str = "kubernetes.io/hostname";
pub const NOT_READY_TAINT: &str = "node.kubernetes.io/not-ready";
pub const UNREACHABLE_TAINT: &str = "node.kubernetes.io/unreachable";
pub const UNSCHEDULABLE_TAINT: &str = "node.kubernetes.io/unschedulable";
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
            ("everything", tol("", "Exists", "", ""), true),
            ("other effect", tol("k", "Exists", "", "NoExecute"), false),
        ];
        for (why, toleration, expected) in cases {
            assert_eq!(tolerates(&toleration, &taint), expected, "{why}");
        }
    }
}
