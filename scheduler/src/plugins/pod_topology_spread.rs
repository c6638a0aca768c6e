//! Spreads pods over domains of nodes: zones, nodes. A constraint is kept (`DoNotSchedule`) or preferred (`ScheduleAnyway`);
//! a pod that has none of its own is spread with those of its Service and controller.
//!
//! <https://kubernetes.io/docs/concepts/scheduling-eviction/topology-spread-constraints/>

mod hints;
mod scoring;

use std::borrow::Cow;
use std::sync::Arc;

use corten_api::node::HOSTNAME_LABEL;
use corten_api::selector::Labels;
use k8s_openapi::api::core::v1::TopologySpreadConstraint;

use crate::framework::Hint;
use crate::framework::{Cycle, Filter, Inclusion, Other, Plugin, Refusal, Scorer};
use crate::pod::PodClass;
use crate::pod::terms::SpreadConstraint;
use crate::snapshot::counts::Counted;
use crate::snapshot::event::Event;
use crate::snapshot::topology::{NO_DOMAIN, Topology};
use crate::snapshot::{NodeId, NodeInfo, Snapshot};

pub const ZONE_LABEL: &str = "topology.kubernetes.io/zone";

#[derive(Debug)]
pub struct PodTopologySpread {
    /// For pods without constraints of their own; without selectors.
    pub defaults: Vec<TopologySpreadConstraint>,
    /// Whether the defaults are the scheduler's own: then nodes that lack a label are not left out.
    pub system_defaulted: bool,
}

impl Default for PodTopologySpread {
    fn default() -> Self {
        let prefer = |max_skew, topology_key: &str| TopologySpreadConstraint {
            max_skew,
            topology_key: topology_key.into(),
            when_unsatisfiable: "ScheduleAnyway".into(),
            ..TopologySpreadConstraint::default()
        };
        Self { defaults: vec![prefer(3, HOSTNAME_LABEL), prefer(5, ZONE_LABEL)], system_defaulted: true }
    }
}

impl Plugin for PodTopologySpread {
    fn name(&self) -> &'static str {
        "PodTopologySpread"
    }
    fn is_local(&self) -> bool {
        false
    }
    fn prepare(&self, snapshot: &mut Snapshot, class: &Arc<PodClass>) {
        if class.spread.is_empty() && !self.defaults.is_empty() {
            snapshot.workloads.learn(class);
        }
        let constraints = self.constraints(snapshot, class).into_owned();
        for constraint in constraints {
            snapshot.register_topology(&constraint.topology_key);
            // A selector of everything counts no pods.
            if !constraint.pods.is_everything() {
                snapshot.register_count(counted(&constraint));
            }
        }
    }
    fn filter<'a>(&'a self, cycle: &Cycle<'a>) -> Option<Box<dyn Filter + 'a>> {
        let constraints: Vec<SpreadConstraint> =
            self.constraints(cycle.snapshot, cycle.class).iter().filter(|c| c.hard).cloned().collect();
        if constraints.is_empty() {
            return None;
        }
        Some(Box::new(Spread::new(cycle, constraints)))
    }
    fn scorer<'a>(&'a self, cycle: &Cycle<'a>, nodes: &[NodeId]) -> Option<Box<dyn Scorer + 'a>> {
        let constraints: Vec<SpreadConstraint> =
            self.constraints(cycle.snapshot, cycle.class).iter().filter(|c| !c.hard).cloned().collect();
        let requires_all = !cycle.class.spread.is_empty() || !self.system_defaulted;
        (!constraints.is_empty())
            .then(|| Box::new(scoring::Siblings::new(cycle, nodes, constraints, requires_all)) as Box<dyn Scorer + 'a>)
    }
    fn hint(&self, snapshot: &Snapshot, class: &PodClass, event: &Event) -> Hint {
        let is_unknown = class.spread.is_empty() && snapshot.workloads.siblings(class).is_none();
        if is_unknown && !self.defaults.is_empty() {
            // It was refused with siblings that are not known any more.
            return Hint::Queue;
        }
        let constraints = self.constraints(snapshot, class);
        let hard: Vec<&SpreadConstraint> = constraints.iter().filter(|c| c.hard).collect();
        hints::hint(&hard, class, event)
    }
}

impl PodTopologySpread {
    /// The pod's own, or the defaults with the selector of its Service and controller.
    fn constraints<'a>(&self, snapshot: &Snapshot, class: &'a PodClass) -> Cow<'a, [SpreadConstraint]> {
        if !class.spread.is_empty() || self.defaults.is_empty() {
            return Cow::Borrowed(&class.spread);
        }
        let Some(siblings) = snapshot.workloads.siblings(class) else { return Cow::Borrowed(&[]) };
        let of = |c: &TopologySpreadConstraint| SpreadConstraint::with_selector(c, &class.namespace, siblings.clone());
        Cow::Owned(self.defaults.iter().map(of).collect())
    }
}

fn counted(constraint: &SpreadConstraint) -> Counted {
    Counted { selectors: vec![constraint.pods.clone()], living: true }
}

/// Matching pods by node; empty: none anywhere.
fn by_node<'a>(snapshot: &'a Snapshot, constraint: &SpreadConstraint) -> &'a [u32] {
    snapshot.counts().by_node(&counted(constraint)).unwrap_or_default()
}

/// Whether the node counts for the constraint, as its policies want.
fn is_included(constraint: &SpreadConstraint, inclusion: &Inclusion, node: usize) -> bool {
    let holds = |list: &[bool]| list.get(node).copied().unwrap_or(false);
    (!constraint.honors_affinity || holds(&inclusion.affine))
        && (!constraint.honors_taints || holds(&inclusion.tolerated))
}

/// The constraints that must be kept, with the pods of each domain.
#[derive(Clone)]
struct Spread<'a> {
    namespace: &'a str,
    inclusion: &'a Inclusion,
    constraints: Vec<Domains<'a>>,
}

#[derive(Clone)]
struct Domains<'a> {
    constraint: SpreadConstraint,
    topology: &'a Topology,
    /// By domain; `None`: it has no node that counts.
    pods: Vec<Option<i64>>,
    /// The fewest of any domain.
    fewest: i64,
    count: usize,
    matches_itself: bool,
}

impl<'a> Spread<'a> {
    fn new(cycle: &Cycle<'a>, constraints: Vec<SpreadConstraint>) -> Self {
        let labels = &cycle.class.labels;
        let read = |constraint: SpreadConstraint| {
            let topology = cycle.snapshot.topologies().get(&constraint.topology_key)?;
            let pods = vec![None; topology.len()];
            let matches_itself = constraint.pods.matches_labels(labels);
            Some(Domains { constraint, topology, pods, fewest: 0, count: 0, matches_itself })
        };
        let domains = constraints.into_iter().filter_map(read).collect();
        let mut spread = Self { namespace: &cycle.class.namespace, inclusion: cycle.inclusion, constraints: domains };
        spread.count(cycle.snapshot);
        spread
    }

    fn count(&mut self, snapshot: &Snapshot) {
        let topologies: Vec<&Topology> = self.constraints.iter().map(|d| d.topology).collect();
        for domains in &mut self.constraints {
            let counts = by_node(snapshot, &domains.constraint);
            for at in 0..snapshot.id_end() {
                let node = NodeId(at as u32);
                // A node that lacks one of the labels counts for none of the constraints.
                let is_in_all = topologies.iter().all(|t| t.domain(node) != NO_DOMAIN);
                if is_in_all && is_included(&domains.constraint, self.inclusion, at) {
                    let pods = i64::from(counts.get(at).copied().unwrap_or(0));
                    *domains.pods[domains.topology.domain(node) as usize].get_or_insert(0) += pods;
                }
            }
            domains.count = domains.pods.iter().flatten().count();
            domains.find_fewest();
        }
    }

    fn change(&mut self, other: Other<'_>, node: NodeId, by: i64) {
        if other.deleting || other.class.namespace != self.namespace {
            return;
        }
        if self.constraints.iter().any(|d| d.topology.domain(node) == NO_DOMAIN) {
            return;
        }
        for domains in &mut self.constraints {
            if is_included(&domains.constraint, self.inclusion, node.at()) {
                domains.change(&other.class.labels, node, by);
            }
        }
    }
}

impl Domains<'_> {
    fn find_fewest(&mut self) {
        // No domain at all: nothing to be level with.
        self.fewest = self.pods.iter().flatten().copied().min().unwrap_or(i64::from(i32::MAX));
    }

    fn change(&mut self, labels: &Labels, node: NodeId, by: i64) {
        if self.constraint.pods.is_everything() || !self.constraint.pods.matches_labels(labels) {
            return;
        }
        let pods = self.pods[self.topology.domain(node) as usize].get_or_insert(0);
        let was_fewest = *pods == self.fewest;
        *pods += by;
        if *pods < self.fewest {
            self.fewest = *pods;
        } else if was_fewest {
            self.find_fewest();
        }
    }

    fn check(&self, node: NodeId) -> Result<(), Refusal> {
        let domain = self.topology.domain(node);
        if domain == NO_DOMAIN {
            let text = "node(s) didn't match pod topology spread constraints (missing required label)";
            return Err(Refusal::unresolvable(text));
        }
        let fewest = if self.count < self.constraint.min_domains { 0 } else { self.fewest };
        let here = self.pods[domain as usize].unwrap_or(0) + i64::from(self.matches_itself);
        if here - fewest > self.constraint.max_skew {
            return Err(Refusal::resolvable("node(s) didn't match pod topology spread constraints"));
        }
        Ok(())
    }
}

impl Filter for Spread<'_> {
    fn check(&self, node: &NodeInfo) -> Result<(), Refusal> {
        self.constraints.iter().try_for_each(|domains| domains.check(node.id))
    }
    fn add(&mut self, other: Other<'_>, node: NodeId) {
        self.change(other, node, 1);
    }
    fn remove(&mut self, other: Other<'_>, node: NodeId) {
        self.change(other, node, -1);
    }
    fn fork<'b>(&self) -> Box<dyn Filter + 'b>
    where
        Self: 'b,
    {
        Box::new(self.clone())
    }
}

#[cfg(test)]
mod tests;
