//! Which pods nobody else will ever clean up.

use std::collections::BTreeSet;
use std::sync::Arc;

use corten_api::conditions;
use corten_api::k8s_openapi::api::core::v1::Node;
use jiff::{SignedDuration, Timestamp};

use crate::pods::SeenPod;

/// Ended pods that are kept for their logs and exit codes. Of those beyond the evicted go first, then the oldest.
pub const TERMINATED_MAX: usize = 12_500;
/// A node that is gone may come back under its name within this time.
pub const QUARANTINE: SignedDuration = SignedDuration::from_secs(40);

/// The taint by which an administrator says that a node is shut down.
pub const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";

/// Everything the decision may look at.
#[derive(Clone, Debug)]
pub struct Observed<'a> {
    pub pods: &'a [Arc<SeenPod>],
    pub terminated_max: usize,
    /// Nodes that pods name, but that have not been there for the whole quarantine.
    pub gone_nodes: &'a BTreeSet<String>,
    /// Nodes that are NotReady and that somebody has declared shut down.
    pub out_of_service: &'a BTreeSet<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Its node is gone: no kubelet will ever report that it has ended.
    Orphaned,
    /// It is being deleted, and somebody vouches that its node is shut down: nothing of it runs there any more, and its
    /// volumes may go elsewhere.
    OutOfService,
    /// It is being deleted and never had a node: no kubelet will ever confirm it.
    Unscheduled,
    /// There are too many ended ones.
    Terminated,
}

pub fn decide(seen: &Observed<'_>) -> Vec<(Arc<SeenPod>, Why)> {
    let mut doomed: Vec<(Arc<SeenPod>, Why)> = Vec::new();
    let mut ended: Vec<&Arc<SeenPod>> = Vec::new();
    for pod in seen.pods.iter().filter(|pod| !is_done(pod)) {
        match &pod.node {
            Some(node) if seen.gone_nodes.contains(node) => doomed.push((Arc::clone(pod), Why::Orphaned)),
            Some(node) if pod.deleting.is_some() && seen.out_of_service.contains(node) => {
                doomed.push((Arc::clone(pod), Why::OutOfService));
            }
            None if pod.deleting.is_some() => doomed.push((Arc::clone(pod), Why::Unscheduled)),
            _ if pod.is_terminal() && pod.deleting.is_none() => ended.push(pod),
            _ => {}
        }
    }
    ended.sort_by_key(|pod| (!pod.evicted, pod.created, pod.key.clone()));
    let surplus = ended.len().saturating_sub(seen.terminated_max);
    doomed.extend(ended.into_iter().take(surplus).map(|pod| (Arc::clone(pod), Why::Terminated)));
    doomed
}

/// All that can be done for the pod is done: it is deleted without grace, and only its finalizers hold it.
fn is_done(pod: &SeenPod) -> bool {
    let at_once = pod.deleting.is_some() && pod.deletion_grace_secs.unwrap_or(0) == 0;
    at_once && !pod.finalizers.is_empty() && pod.is_terminal()
}

/// Whether a node is NotReady and tainted as shut down: a taint alone may be one that somebody forgot.
pub fn is_out_of_service(node: &Node) -> bool {
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_ref());
    let list = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    let is_ready = conditions::find(list, "Ready").is_some_and(|ready| ready.status == "True");
    !is_ready && taints.into_iter().flatten().any(|taint| taint.key == OUT_OF_SERVICE)
}

/// The nodes that have been gone for the whole quarantine, and when the next one will have been.
pub fn settled(
    gone_since: impl Iterator<Item = (String, Timestamp)>,
    now: Timestamp,
) -> (BTreeSet<String>, Option<Timestamp>) {
    let mut settled = BTreeSet::new();
    let mut next: Option<Timestamp> = None;
    for (node, since) in gone_since {
        let due = since.saturating_add(QUARANTINE).unwrap_or(Timestamp::MAX);
        if due <= now {
            settled.insert(node);
        } else {
            next = Some(next.map_or(due, |next| next.min(due)));
        }
    }
    (settled, next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pods::Phase;
    use corten_api::Key;

    #[test]
    fn doom_table() {
        let pod = |name: &str| SeenPod { key: Key::new("ns", name), node: Some("n1".into()), ..SeenPod::default() };
        let at = |secs| Timestamp::from_second(secs).ok();
        let ended = |name: &str, created| SeenPod { phase: Phase::Succeeded, created: at(created), ..pod(name) };
        let cases = [
            ("running on a node that is there", vec![pod("a")], ""),
            ("its node is gone", vec![SeenPod { node: Some("gone".into()), ..pod("a") }], "a Orphaned"),
            (
                "deleted before it got a node",
                vec![SeenPod { node: None, deleting: at(1), ..pod("a") }],
                "a Unscheduled",
            ),
            ("waits for a node", vec![SeenPod { node: None, ..pod("a") }], ""),
            (
                "only a finalizer holds it: once is enough",
                vec![SeenPod {
                    node: Some("gone".into()),
                    deleting: at(1),
                    deletion_grace_secs: Some(0),
                    finalizers: vec!["f".into()],
                    ..ended("a", 1)
                }],
                "",
            ),
            (
                "deleted with a grace that nobody ends",
                vec![SeenPod { node: None, deleting: at(1), deletion_grace_secs: Some(30), ..pod("a") }],
                "a Unscheduled",
            ),
            ("its kubelet will end it", vec![SeenPod { deleting: at(1), ..pod("a") }], ""),
            (
                "deleted without grace before it got a node: it has to be Failed, though a finalizer holds it",
                vec![SeenPod { node: None, deleting: at(1), finalizers: vec!["f".into()], ..pod("a") }],
                "a Unscheduled",
            ),
            (
                "the same, and it is Failed",
                vec![SeenPod { node: None, deleting: at(1), finalizers: vec!["f".into()], ..ended("a", 1) }],
                "",
            ),
            (
                "deleted on a node that is out of service",
                vec![SeenPod { node: Some("off".into()), deleting: at(1), ..pod("a") }],
                "a OutOfService",
            ),
            ("nobody deletes it there", vec![SeenPod { node: Some("off".into()), ..pod("a") }], ""),
            (
                "a finalizer holds one that runs on a node that is gone",
                vec![SeenPod { node: Some("gone".into()), deleting: at(1), finalizers: vec!["f".into()], ..pod("a") }],
                "a Orphaned",
            ),
            (
                "ended on a node that is gone, and nothing holds it",
                vec![SeenPod { node: Some("gone".into()), deleting: at(1), ..ended("a", 1) }],
                "a Orphaned",
            ),
            (
                "ended there with a finalizer, but nobody deleted it",
                vec![SeenPod { node: Some("gone".into()), finalizers: vec!["f".into()], ..ended("a", 1) }],
                "a Orphaned",
            ),
            (
                "those that are deleted already are not among the too many",
                vec![ended("a", 1), ended("b", 2), SeenPod { deleting: at(3), ..ended("c", 3) }],
                "",
            ),
            ("those that run are not among them either", vec![ended("a", 1), ended("b", 2), pod("c")], ""),
            ("ended, few enough", vec![ended("a", 1), ended("b", 2)], ""),
            (
                "too many ended: an evicted one goes before the oldest",
                vec![ended("a", 1), ended("b", 2), SeenPod { phase: Phase::Failed, evicted: true, ..ended("c", 3) }],
                "c Terminated",
            ),
            ("too many ended: the oldest goes", vec![ended("c", 3), ended("a", 1), ended("b", 2)], "a Terminated"),
        ];
        let (gone_nodes, out_of_service) = (["gone".to_owned()].into(), ["off".to_owned()].into());
        for (why, pods, expected) in cases {
            let pods: Vec<_> = pods.into_iter().map(Arc::new).collect();
            let seen =
                Observed { pods: &pods, terminated_max: 2, gone_nodes: &gone_nodes, out_of_service: &out_of_service };
            let got = decide(&seen);
            let lines: Vec<String> = got.iter().map(|(pod, why)| format!("{} {why:?}", pod.key.name)).collect();
            assert_eq!(lines.join(", "), expected, "{why}");
        }
    }

    #[test]
    fn a_node_is_out_of_service_only_while_it_is_not_ready() {
        use corten_api::k8s_openapi::api::core::v1::{NodeCondition, NodeSpec, NodeStatus, Taint};
        let node = |taint: &str, ready: Option<&str>| {
            let condition = |status: &str| NodeCondition {
                type_: "Ready".into(),
                status: status.into(),
                ..NodeCondition::default()
            };
            let taints = Some(vec![Taint { key: taint.into(), effect: "NoExecute".into(), ..Taint::default() }]);
            let conditions = ready.map(|status| vec![condition(status)]);
            Node {
                spec: Some(NodeSpec { taints, ..NodeSpec::default() }),
                status: Some(NodeStatus { conditions, ..NodeStatus::default() }),
                ..Node::default()
            }
        };
        for (why, node, expected) in [
            ("tainted, and silent", node(OUT_OF_SERVICE, Some("Unknown")), true),
            ("tainted, and it says that it is not ready", node(OUT_OF_SERVICE, Some("False")), true),
            ("tainted, and nobody has ever heard of it", node(OUT_OF_SERVICE, None), true),
            ("tainted, but it is there", node(OUT_OF_SERVICE, Some("True")), false),
            ("silent only", node("node.kubernetes.io/unreachable", Some("Unknown")), false),
        ] {
            assert_eq!(is_out_of_service(&node), expected, "{why}");
        }
    }

    #[test]
    fn a_node_is_gone_only_after_its_quarantine() {
        let at = |secs| Timestamp::from_second(secs).unwrap();
        let gone = [("a".to_owned(), at(100)), ("b".to_owned(), at(130))];
        let (settled, next) = settled(gone.into_iter(), at(140));
        assert_eq!((settled.into_iter().collect::<Vec<_>>(), next), (vec!["a".to_owned()], Some(at(170))));
        let later = ["c", "b", "d"].into_iter().zip([150, 130, 140]).map(|(name, since)| (name.to_owned(), at(since)));
        assert_eq!(super::settled(later, at(160)), (BTreeSet::new(), Some(at(170))), "the next of several");
    }
}
