//! What a plugin is: it says which nodes a pod may go to, which is best, and what could change its mind.
//!
//! A decision asks each plugin of the pod's profile for a [`Filter`] and a [`Scorer`]: what the plugin found out about the pod
//! once, before it looks at any node. Plugins have no state of their own: all that they know is in the [`Snapshot`], so a
//! decision is a function of the snapshot and the pod. The names are kube-scheduler's.
//! <https://kubernetes.io/docs/concepts/scheduling-eviction/scheduling-framework/>

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use crate::pod::PodClass;
use crate::snapshot::event::Event;
use crate::snapshot::{NodeId, NodeInfo, Snapshot};

/// The best that one scorer can say of a node.
pub const MAX_NODE_SCORE: i64 = 100;

/// A decision on its way: pods of one class are alike to all plugins.
#[derive(Clone, Copy, Debug)]
pub struct Cycle<'a> {
    pub snapshot: &'a Snapshot,
    pub class: &'a Arc<PodClass>,
    /// Which nodes the pod's own node affinity and tolerations allow.
    pub inclusion: &'a Inclusion,
}

/// By node id. Spreading counts domains of those nodes alone that a pod could be on.
#[derive(Clone, Debug, Default)]
pub struct Inclusion {
    pub affine: Vec<bool>,
    pub tolerated: Vec<bool>,
}

/// Why a pod cannot go to a node, in words that follow the number of such nodes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Refusal {
    pub reason: Cow<'static, str>,
    /// Most nodes are refused for one reason alone.
    pub others: Vec<Cow<'static, str>>,
    /// Whether it could go there if other pods were gone.
    pub resolvable: bool,
}

impl Refusal {
    pub fn resolvable(reason: impl Into<Cow<'static, str>>) -> Self {
        Self { reason: reason.into(), others: Vec::new(), resolvable: true }
    }
    pub fn unresolvable(reason: impl Into<Cow<'static, str>>) -> Self {
        Self { reason: reason.into(), others: Vec::new(), resolvable: false }
    }
    pub fn reasons(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.reason).chain(&self.others).map(AsRef::as_ref)
    }
}

pub trait Plugin: Send + Sync + fmt::Debug {
    /// As upstream names it, and as a configuration file does.
    fn name(&self) -> &'static str;

    /// Whether what it says of a node follows from that node and the pod's `ask` alone. That is kept for all pods that ask
    /// the same, until the node changes.
    fn is_local(&self) -> bool {
        true
    }
    /// Why pods of this class are not to be looked at yet.
    fn pre_enqueue(&self, _class: &PodClass) -> Result<(), String> {
        Ok(())
    }
    /// Why the pod can go nowhere, whatever the node, in words that follow `0/3 nodes are available: `.
    fn pre_filter(&self, _cycle: &Cycle<'_>) -> Result<(), String> {
        Ok(())
    }
    /// The names of the nodes that the pod may go to, where it may go to no others: only those are looked at.
    fn nodes<'a>(&self, _cycle: &Cycle<'a>) -> Option<&'a [String]> {
        None
    }
    /// Asks the snapshot to keep what `filter` and `scorer` will want to know about pods of this class.
    fn prepare(&self, _snapshot: &mut Snapshot, _class: &Arc<PodClass>) {}

    /// `None`: it refuses no node to the pod.
    fn filter<'a>(&'a self, _cycle: &Cycle<'a>) -> Option<Box<dyn Filter + 'a>> {
        None
    }
    /// `nodes`: those that passed all filters; a local plugin must not look at them. `None`: all nodes are alike to it.
    fn scorer<'a>(&'a self, _cycle: &Cycle<'a>, _nodes: &[NodeId]) -> Option<Box<dyn Scorer + 'a>> {
        None
    }
    /// A local plugin's scores hold as long as this stays the same.
    fn scores_hold_for(&self, _cycle: &Cycle<'_>) -> u64 {
        0
    }
    /// Whether an event could help a pod that this plugin has refused everywhere.
    fn hint(&self, _snapshot: &Snapshot, _class: &PodClass, _event: &Event) -> Hint {
        Hint::Skip
    }
}

/// A pod that is thought of as coming or going.
#[derive(Clone, Copy, Debug)]
pub struct Other<'a> {
    pub class: &'a PodClass,
    pub deleting: bool,
}

/// What a plugin found out about one pod. Answers for one node after the other.
pub trait Filter: Send {
    fn check(&self, node: &NodeInfo) -> Result<(), Refusal>;
    /// What if this pod came to the node? `check` sees what it takes in the `NodeInfo` that it is given; this is for what is
    /// known of nodes together.
    fn add(&mut self, _other: Other<'_>, _node: NodeId) {}
    /// What if it were gone?
    fn remove(&mut self, _other: Other<'_>, _node: NodeId) {}
    fn fork<'a>(&self) -> Box<dyn Filter + 'a>
    where
        Self: 'a;
}

pub trait Scorer: Send {
    fn score(&self, node: &NodeInfo) -> i64;
    /// Brings the scores of all nodes to 0..=[`MAX_NODE_SCORE`].
    fn normalize(&self) -> Normalize {
        Normalize::No
    }
}

/// What an event means for a pod that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hint {
    /// It may be schedulable now.
    Queue,
    /// It is as unschedulable as before.
    Skip,
}

impl Hint {
    pub fn when(it_helps: bool) -> Self {
        if it_helps { Self::Queue } else { Self::Skip }
    }
}

/// How scores become comparable with those of other plugins.
#[derive(Clone, Debug, PartialEq)]
pub enum Normalize {
    /// They are already.
    No,
    /// By the largest, which is the best.
    Largest,
    /// By the largest, which is the worst.
    LargestIsWorst,
    /// Between the smallest and the largest.
    Range,
    /// The sum of the smallest and the largest less each one, by the largest. Nodes in this list are no candidates.
    Spread(Vec<NodeId>),
}

impl Normalize {
    /// `nodes` and `scores` go together.
    pub fn apply(&self, nodes: &[NodeId], scores: &mut [i64]) {
        let max = scores.iter().copied().max().unwrap_or(0);
        match self {
            Self::No => {}
            Self::Largest if max == 0 => {}
            Self::Largest => scores.iter_mut().for_each(|s| *s = MAX_NODE_SCORE * *s / max),
            Self::LargestIsWorst if max == 0 => scores.fill(MAX_NODE_SCORE),
            Self::LargestIsWorst => scores.iter_mut().for_each(|s| *s = MAX_NODE_SCORE - MAX_NODE_SCORE * *s / max),
            Self::Range => {
                let min = scores.iter().copied().min().unwrap_or(0);
                let scale = |s: i64| if max > min { MAX_NODE_SCORE * (s - min) / (max - min) } else { 0 };
                scores.iter_mut().for_each(|s| *s = scale(*s));
            }
            Self::Spread(ignored) => spread(ignored, nodes, scores),
        }
    }
}

fn spread(ignored: &[NodeId], nodes: &[NodeId], scores: &mut [i64]) {
    let is_ignored = |node: &NodeId| ignored.binary_search(node).is_ok();
    let (mut min, mut max) = (i64::MAX, 0);
    for (_, score) in nodes.iter().zip(&*scores).filter(|(node, _)| !is_ignored(node)) {
        (min, max) = (min.min(*score), max.max(*score));
    }
    for (node, score) in nodes.iter().zip(scores.iter_mut()) {
        *score = match max {
            _ if is_ignored(node) => 0,
            0 => MAX_NODE_SCORE,
            _ => MAX_NODE_SCORE * (max + min - *score) / max,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalized_table() {
        let ids: Vec<NodeId> = (0..3).map(NodeId).collect();
        let cases = [
            ("as they are", Normalize::No, [0, 1, 4], [0, 1, 4]),
            ("largest best", Normalize::Largest, [0, 1, 4], [0, 25, 100]),
            ("nothing anywhere, and the largest would be best", Normalize::Largest, [0; 3], [0; 3]),
            ("smallest best", Normalize::LargestIsWorst, [0, 1, 4], [100, 75, 0]),
            ("nothing anywhere, and the smallest is best", Normalize::LargestIsWorst, [0; 3], [100; 3]),
            ("between the ends", Normalize::Range, [-4, 0, 4], [0, 50, 100]),
            ("all alike", Normalize::Range, [7; 3], [0; 3]),
            ("the fewest siblings", Normalize::Spread(vec![]), [1, 2, 4], [100, 75, 25]),
            ("no siblings", Normalize::Spread(vec![]), [0; 3], [100; 3]),
            ("one is in no domain", Normalize::Spread(vec![NodeId(0)]), [0, 2, 4], [0, 100, 50]),
        ];
        for (why, how, mut scores, expected) in cases {
            how.apply(&ids, &mut scores);
            assert_eq!(scores, expected, "{why}");
        }
        Normalize::Range.apply(&[], &mut []);
    }
}
