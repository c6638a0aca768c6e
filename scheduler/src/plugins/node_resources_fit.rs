//! What the pod asks must be free: cpu, memory, pods, extended resources. Prefers nodes by how much of them would be used.

pub mod strategy;

use std::borrow::Cow;

use crate::framework::Hint;
use crate::framework::{Cycle, Filter, Plugin, Refusal, Scorer};
use crate::pod::PodClass;
use crate::snapshot::event::{AssignedPod, Event};
use crate::snapshot::{NodeId, NodeInfo, NodeSpec, PODS, Snapshot};
use strategy::{Resources, Strategy};

#[derive(Debug, Default)]
pub struct NodeResourcesFit {
    /// Extended resources that others see to.
    pub ignored_resources: Vec<String>,
    /// The part of their names before the `/`.
    pub ignored_resource_groups: Vec<String>,
    pub strategy: Strategy,
}

impl Plugin for NodeResourcesFit {
    fn name(&self) -> &'static str {
        "NodeResourcesFit"
    }
    fn filter<'a>(&'a self, cycle: &Cycle<'a>) -> Option<Box<dyn Filter + 'a>> {
        let requests = cycle.class.ask.requests.iter().filter(|(name, _)| !self.ignores(name));
        let requests = requests.map(|(name, amount)| (cycle.snapshot.column(name), *amount, name.as_str())).collect();
        Some(Box::new(Fit { requests }))
    }
    fn scorer<'a>(&'a self, cycle: &Cycle<'a>, _: &[NodeId]) -> Option<Box<dyn Scorer + 'a>> {
        let resources = Resources::non_zero(&self.strategy.resources, cycle);
        Some(Box::new(Allocated { strategy: &self.strategy, resources }))
    }
    fn hint(&self, snapshot: &Snapshot, class: &PodClass, event: &Event) -> Hint {
        match event {
            Event::NodeAdded(node) => Hint::when(self.could_hold(snapshot, node, class)),
            Event::NodeUpdated { old, new } => {
                let grew = |column: usize| new.allocatable(column) > old.allocatable(column);
                let requested = class.ask.requests.keys().filter_map(|name| snapshot.column(name));
                let helps = requested.chain([PODS]).any(grew) && self.could_hold(snapshot, new, class);
                Hint::when(helps)
            }
            Event::PodRemoved(_) => Hint::Queue,
            Event::PodUpdated { old, new } => Hint::when(shrank(old, new, class)),
            _ => Hint::Skip,
        }
    }
}

impl NodeResourcesFit {
    fn ignores(&self, name: &str) -> bool {
        let Some((group, _)) = name.split_once('/') else { return false };
        self.ignored_resources.iter().any(|r| r == name) || self.ignored_resource_groups.iter().any(|g| g == group)
    }

    /// Whether a pod of this class would fit if it were alone there.
    fn could_hold(&self, snapshot: &Snapshot, node: &NodeSpec, class: &PodClass) -> bool {
        let has = |name: &str| snapshot.column(name).map_or(0, |column| node.allocatable(column));
        let mut requests = class.ask.requests.iter().filter(|(name, _)| !self.ignores(name));
        node.allocatable(PODS) > 0 && requests.all(|(name, amount)| *amount <= has(name))
    }
}

/// Whether a pod gives back something that one of this class asks.
fn shrank(old: &AssignedPod, new: &AssignedPod, class: &PodClass) -> bool {
    let takes = |pod: &AssignedPod, name: &str| pod.class.ask.requests.get(name).copied().unwrap_or(0);
    class.ask.requests.keys().any(|name| takes(new, name) < takes(old, name))
}

/// What is asked, by column where any node or pod has ever had it.
#[derive(Clone)]
struct Fit<'a> {
    requests: Vec<(Option<usize>, i64, &'a str)>,
}

impl Filter for Fit<'_> {
    fn check(&self, node: &NodeInfo) -> Result<(), Refusal> {
        let free = |column: Option<usize>| column.map_or(0, |column| node.free(column));
        let fits = node.free(PODS) >= 1 && self.requests.iter().all(|(column, amount, _)| *amount <= free(*column));
        if fits {
            return Ok(());
        }
        let has = |column: Option<usize>| column.map_or(0, |column| node.spec.allocatable(column));
        let mut reasons = Vec::new();
        if node.free(PODS) < 1 {
            reasons.push(Cow::Borrowed("Too many pods"));
        }
        let mut resolvable = true;
        for (column, amount, name) in self.requests.iter().filter(|(column, amount, _)| *amount > free(*column)) {
            reasons.push(Cow::Owned(format!("Insufficient {name}")));
            // Nobody's going gives a node more than it has.
            resolvable &= *amount <= has(*column);
        }
        Err(Refusal { reason: reasons.remove(0), others: reasons, resolvable })
    }
    fn fork<'a>(&self) -> Box<dyn Filter + 'a>
    where
        Self: 'a,
    {
        Box::new(self.clone())
    }
}

struct Allocated<'a> {
    strategy: &'a Strategy,
    resources: Resources,
}

impl Scorer for Allocated<'_> {
    fn score(&self, node: &NodeInfo) -> i64 {
        self.strategy.score(self.resources.used(node))
    }
}
