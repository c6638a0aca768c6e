//! Which nodes a pod may go to. Each filter refuses with upstream's words, and says what could change its mind.

mod affinity;
mod fit;
mod ports;
mod taints;
mod unschedulable;

use std::fmt;

pub use affinity::term_matches;

use crate::pod::PodInfo;
use crate::snapshot::{Helps, NodeInfo, Snapshot};

/// A pod on its way through a cycle.
#[derive(Debug)]
pub struct Asked<'a> {
    pub pod: &'a PodInfo,
    /// Its requests by column of the snapshot.
    pub amounts: Vec<(usize, i64)>,
}

/// Why a node was refused, and which change of the cluster could make it acceptable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    pub text: String,
    pub retry_on: Helps,
}

/// Answers for one pod and one node, from the snapshot alone: no I/O, no clock.
pub trait Filter: Send + Sync + fmt::Debug {
    /// False: this filter has nothing to say about the pod, on any node.
    fn applies(&self, _asked: &Asked<'_>) -> bool {
        true
    }
    /// Every reason there is against this node; none: it passes.
    fn check(&self, asked: &Asked<'_>, node: &NodeInfo, snapshot: &Snapshot) -> Vec<Reason>;
}

/// In the order of cost; this list and [`crate::scores::all`] are the scheduler's table of contents.
pub fn all() -> Vec<Box<dyn Filter>> {
    vec![
        Box::new(unschedulable::NodeUnschedulable),
        Box::new(taints::TaintToleration),
        Box::new(affinity::NodeAffinity),
        Box::new(ports::NodePorts),
        Box::new(fit::Fit),
    ]
}

fn refuse(text: impl Into<String>, retry_on: Helps) -> Vec<Reason> {
    vec![Reason { text: text.into(), retry_on }]
}

#[cfg(test)]
mod tests;
