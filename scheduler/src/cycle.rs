//! One decision: a pod and the snapshot in; a placement, or every node's refusal, out. Pure.

use std::collections::BTreeMap;

use crate::filters::{Asked, Filter, Reason};
use crate::pod::PodInfo;
use crate::scores::Scorer;
use crate::snapshot::{Helps, NodeInfo, Snapshot};

/// The scheduler's rules: what may be, and what is best.
#[derive(Debug)]
pub struct Profile {
    pub filters: Vec<Box<dyn Filter>>,
    pub scorers: Vec<(i64, Box<dyn Scorer>)>,
}

impl Default for Profile {
    fn default() -> Self {
        Self { filters: crate::filters::all(), scorers: crate::scores::all() }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    Place {
        node: String,
    },
    /// No node will do. `why` is for the user; `retry_on` is what could change it.
    Refuse {
        why: String,
        retry_on: Helps,
    },
}

/// Decides. `tie` chooses between equally good nodes; give each decision another number.
pub fn decide(profile: &Profile, snapshot: &mut Snapshot, pod: &PodInfo, tie: usize) -> Decision {
    if let Some(unserved) = pod.wants.as_deref().map(|w| &w.unserved).filter(|list| !list.is_empty()) {
        let why = format!("0/{} nodes are available: {}.", snapshot.nodes().count(), unserved.join(", "));
        // Nothing in the cluster can change it, only its owner can.
        return Decision::Refuse { why, retry_on: Helps::NOTHING };
    }
    let asked = Asked { pod, amounts: snapshot.by_column(&pod.takes.requests) };
    let filters: Vec<&dyn Filter> =
        profile.filters.iter().map(AsRef::as_ref).filter(|f: &&dyn Filter| f.applies(&asked)).collect();
    let mut possible: Vec<&NodeInfo> = Vec::new();
    let mut refusals: Vec<Vec<Reason>> = Vec::new();
    for node in snapshot.nodes() {
        let refused = filters.iter().map(|f| f.check(&asked, node, snapshot)).find(|reasons| !reasons.is_empty());
        match refused {
            None => possible.push(node),
            Some(reasons) => refusals.push(reasons),
        }
    }
    match best(profile, &asked, &possible, tie) {
        Some(node) => Decision::Place { node: node.name.clone() },
        None => Decision::Refuse { why: explain(&refusals), retry_on: retry_on(&refusals) },
    }
}

fn best<'a>(profile: &Profile, asked: &Asked<'_>, nodes: &[&'a NodeInfo], tie: usize) -> Option<&'a NodeInfo> {
    if nodes.len() < 2 {
        return nodes.first().copied();
    }
    let mut totals = vec![0; nodes.len()];
    for (weight, scorer) in &profile.scorers {
        for (total, score) in totals.iter_mut().zip(scorer.score(asked, nodes)) {
            *total += weight * score;
        }
    }
    let top = totals.iter().max()?;
    let winners: Vec<&NodeInfo> = nodes.iter().zip(&totals).filter(|(_, t)| *t == top).map(|(n, _)| *n).collect();
    winners.get(tie % winners.len().max(1)).copied()
}

/// `0/3 nodes are available: 1 node(s) were unschedulable, 2 Insufficient cpu.`
fn explain(refusals: &[Vec<Reason>]) -> String {
    if refusals.is_empty() {
        return "no nodes available to schedule pods".into();
    }
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for reason in refusals.iter().flatten() {
        *counts.entry(&reason.text).or_default() += 1;
    }
    let mut parts: Vec<String> = counts.iter().map(|(text, n)| format!("{n} {text}")).collect();
    parts.sort();
    format!("0/{} nodes are available: {}.", refusals.len(), parts.join(", "))
}

fn retry_on(refusals: &[Vec<Reason>]) -> Helps {
    // A new node can always help.
    refusals.iter().flatten().fold(Helps::NODE_ADDED, |all, reason| all.and(reason.retry_on))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::{HostPort, Wants};
    use crate::snapshot::tests::{node, pod};
    use k8s_openapi::api::core::v1::Node;
    use serde_json::json;

    fn cluster(nodes: Vec<Node>) -> Snapshot {
        let mut snapshot = Snapshot::new();
        for node in &nodes {
            snapshot.set_node(node);
        }
        snapshot
    }
    fn with(mut node: Node, spec: serde_json::Value) -> Node {
        node.spec = serde_json::from_value(spec).unwrap();
        node
    }
    fn wanting(mut pod: PodInfo, wants: Wants) -> PodInfo {
        pod.wants = Some(Box::new(wants));
        pod
    }
    fn decide_one(snapshot: &mut Snapshot, pod: &PodInfo) -> Decision {
        decide(&Profile::default(), snapshot, pod, 0)
    }

    #[test]
    fn refusals_are_counted_in_words() {
        let tainted = json!({"taints": [{"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}]});
        let mut snapshot = cluster(vec![
            with(node("m1", "8", "8Gi"), tainted),
            node("n1", "1", "8Gi"),
            node("n2", "1", "8Gi"),
            with(node("n3", "8", "8Gi"), json!({"unschedulable": true})),
        ]);
        let Decision::Refuse { why, retry_on } = decide_one(&mut snapshot, &pod("a", "", 2000)) else { panic!() };
        assert_eq!(
            why,
            "0/4 nodes are available: 1 node(s) had untolerated taint {node-role.kubernetes.io/control-plane: }, \
             1 node(s) were unschedulable, 2 Insufficient cpu."
        );
        assert!(retry_on.meets(Helps::POD_GONE) && retry_on.meets(Helps::NODE_UNTAINTED));
        assert!(!retry_on.meets(Helps::NODE_LABELLED));
    }

    #[test]
    fn placement_table() {
        let placed = |node: &str| Decision::Place { node: node.into() };
        let two = || cluster(vec![node("n1", "4", "8Gi"), node("n2", "4", "8Gi")]);
        let mut busy = two();
        busy.set_pod(&pod("x", "n1", 3000));
        assert_eq!(decide_one(&mut busy, &pod("a", "", 500)), placed("n2"), "the emptier node");

        let mut family = two();
        let sibling = |name: &str, node: &str| {
            let mut pod = pod(name, node, 10);
            pod.takes.family = "rs".into();
            pod
        };
        family.set_pod(&sibling("x", "n2"));
        family.set_pod(&pod("y", "n1", 300));
        assert_eq!(decide_one(&mut family, &sibling("a", "")), placed("n1"), "away from its siblings");

        let mut ports = two();
        let port = HostPort { ip: String::new(), protocol: "TCP".into(), port: 80 };
        let mut holder = pod("x", "n1", 10);
        holder.takes.host_ports = vec![port.clone()];
        let mut other = pod("a", "", 10);
        other.takes.host_ports = vec![port];
        ports.set_pod(&holder);
        assert_eq!(decide_one(&mut ports, &other), placed("n2"), "where the port is free");

        let wants = Wants { node_selector: vec![("kubernetes.io/hostname".into(), "n2".into())], ..Wants::default() };
        assert_eq!(decide_one(&mut two(), &wanting(pod("a", "", 10), wants)), placed("n2"), "where its selector says");
    }

    #[test]
    fn a_demand_that_nobody_can_see_to_is_never_ignored() {
        let wants = Wants { unserved: vec!["required pod anti-affinity is …".into()], ..Wants::default() };
        let decision = decide_one(&mut cluster(vec![node("n1", "4", "8Gi")]), &wanting(pod("a", "", 10), wants));
        let why = "0/1 nodes are available: required pod anti-affinity is ….".to_owned();
        assert_eq!(decision, Decision::Refuse { why, retry_on: Helps::NOTHING });
    }

    #[test]
    fn equals_take_turns() {
        let mut snapshot = cluster(vec![node("n1", "4", "8Gi"), node("n2", "4", "8Gi")]);
        let chosen: Vec<Decision> =
            (0..2).map(|tie| decide(&Profile::default(), &mut snapshot, &pod("a", "", 10), tie)).collect();
        assert_ne!(chosen[0], chosen[1]);
    }

    #[test]
    fn no_nodes_at_all() {
        let Decision::Refuse { why, .. } = decide_one(&mut Snapshot::new(), &pod("a", "", 10)) else { panic!() };
        assert_eq!(why, "no nodes available to schedule pods");
    }
}
