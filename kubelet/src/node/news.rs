//! What of a node's change is worth an event, in upstream's reasons and words. Pure.

use k8s_openapi::api::core::v1::{Node, NodeStatus};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct News {
    pub(super) warning: bool,
    pub(super) reason: &'static str,
    pub(super) message: String,
}

/// Condition, and the reasons while it is False and while it is True.
const PRESSURES: [(&str, &str, &str); 3] = [
    ("MemoryPressure", "NodeHasSufficientMemory", "NodeHasInsufficientMemory"),
    ("DiskPressure", "NodeHasNoDiskPressure", "NodeHasDiskPressure"),
    ("PIDPressure", "NodeHasSufficientPID", "NodeHasInsufficientPID"),
];

/// From the status on the API to the one that replaces it. `first`: this kubelet has said nothing of the node yet.
pub(super) fn of_status(name: &str, first: bool, old: Option<&NodeStatus>, new: &NodeStatus) -> Vec<News> {
    let holds = |status: Option<&NodeStatus>, kind: &str| {
        let condition = corten_api::conditions::find(status.and_then(|s| s.conditions.as_ref()), kind);
        condition.map(|c| c.status == "True")
    };
    let mut news = Vec::new();
    let boot_id = |s: &NodeStatus| s.node_info.as_ref().map(|i| i.boot_id.clone()).filter(|id| !id.is_empty());
    if let (Some(before), Some(now)) = (old.and_then(boot_id), boot_id(new))
        && before != now
    {
        let message = format!("Node {name} has been rebooted, boot id: {now}");
        news.push(News { warning: true, reason: "Rebooted", message });
    }
    for (kind, relieved, pressed) in PRESSURES {
        let now = holds(Some(new), kind);
        if first || holds(old, kind) != now {
            news.push(state(name, if now == Some(true) { pressed } else { relieved }));
        }
    }
    let ready = holds(Some(new), "Ready") == Some(true);
    // A node that has just been made and is not Ready yet has lost nothing.
    if holds(old, "Ready").unwrap_or(false) != ready {
        news.push(state(name, if ready { "NodeReady" } else { "NodeNotReady" }));
    }
    news
}

/// A cordon came or went since `before`; nothing is said of the first look.
pub(super) fn of_cordon(name: &str, before: Option<bool>, node: &Node) -> Option<News> {
    let cordoned = is_cordoned(node);
    let changed = before.is_some_and(|before| before != cordoned);
    changed.then(|| state(name, if cordoned { "NodeNotSchedulable" } else { "NodeSchedulable" }))
}

pub(super) fn is_cordoned(node: &Node) -> bool {
    node.spec.as_ref().is_some_and(|s| s.unschedulable == Some(true))
}

pub(super) fn starting() -> News {
    News { warning: false, reason: "Starting", message: "Starting kubelet.".into() }
}

/// Whether the pods together are held to what the node has to give.
pub(super) fn of_limits(enforced: &Result<(), String>) -> News {
    match enforced {
        Ok(()) => News {
            warning: false,
            reason: "NodeAllocatableEnforced",
            message: "Updated Node Allocatable limit across pods".into(),
        },
        Err(why) => News {
            warning: true,
            reason: "FailedNodeAllocatableEnforcement",
            message: format!("Failed to update Node Allocatable Limits: {why}"),
        },
    }
}

fn state(name: &str, reason: &'static str) -> News {
    News { warning: false, reason, message: format!("Node {name} status is now: {reason}") }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{NodeCondition, NodeSpec, NodeSystemInfo};

    use super::*;

    fn status(ready: bool, memory_pressed: bool, boot_id: &str) -> NodeStatus {
        let condition = |kind: &str, holds: bool| NodeCondition {
            type_: kind.into(),
            status: if holds { "True" } else { "False" }.into(),
            ..Default::default()
        };
        NodeStatus {
            conditions: Some(vec![
                condition("MemoryPressure", memory_pressed),
                condition("DiskPressure", false),
                condition("PIDPressure", false),
                condition("Ready", ready),
            ]),
            node_info: Some(NodeSystemInfo { boot_id: boot_id.into(), ..Default::default() }),
            ..Default::default()
        }
    }

    #[test]
    fn news_table() {
        let fine = ["NodeHasSufficientMemory", "NodeHasNoDiskPressure", "NodeHasSufficientPID"];
        type Case = (&'static str, bool, Option<NodeStatus>, NodeStatus, Vec<&'static str>);
        let cases: [Case; 7] = [
            ("a new node", true, None, status(false, false, "b"), fine.to_vec()),
            ("nothing new", false, Some(status(true, false, "b")), status(true, false, "b"), vec![]),
            ("it is Ready", false, Some(status(false, false, "b")), status(true, false, "b"), vec!["NodeReady"]),
            (
                "it is not any more",
                false,
                Some(status(true, false, "b")),
                status(false, false, "b"),
                vec!["NodeNotReady"],
            ),
            (
                "memory is short",
                false,
                Some(status(true, false, "b")),
                status(true, true, "b"),
                vec!["NodeHasInsufficientMemory"],
            ),
            (
                "a new kubelet says how it is",
                true,
                Some(status(true, false, "b")),
                status(true, false, "b"),
                fine.to_vec(),
            ),
            ("a reboot", false, Some(status(true, false, "a")), status(true, false, "b"), vec!["Rebooted"]),
        ];
        for (why, first, old, new, expected) in cases {
            let got: Vec<_> = of_status("n1", first, old.as_ref(), &new).into_iter().map(|n| n.reason).collect();
            assert_eq!(got, expected, "{why}");
        }
        let ready = of_status("n1", false, None, &status(true, false, "b")).pop().unwrap();
        assert_eq!(ready.message, "Node n1 status is now: NodeReady");
    }

    #[test]
    fn a_cordon_is_told_when_it_comes_and_goes() {
        let node = |cordoned| Node {
            spec: Some(NodeSpec { unschedulable: Some(cordoned), ..Default::default() }),
            ..Default::default()
        };
        let cases = [
            (None, true, None),
            (Some(false), true, Some("NodeNotSchedulable")),
            (Some(true), true, None),
            (Some(true), false, Some("NodeSchedulable")),
        ];
        for (before, now, expected) in cases {
            assert_eq!(of_cordon("n1", before, &node(now)).map(|n| n.reason), expected, "{before:?} {now}");
        }
    }
}
