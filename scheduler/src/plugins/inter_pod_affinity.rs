//! Keeps pods near others, or apart from them, by what either says of the other.
//!
//! <https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/#inter-pod-affinity-and-anti-affinity>

mod hints;
mod scoring;

use std::sync::Arc;

use crate::framework::Hint;
use crate::framework::{Cycle, Filter, Other, Plugin, Refusal, Scorer};
use crate::pod::PodClass;
use crate::pod::terms::{PodSelector, Term};
use crate::snapshot::counts::{Counted, TermKind};
use crate::snapshot::event::Event;
use crate::snapshot::topology::{NO_DOMAIN, Topology};
use crate::snapshot::{NodeId, NodeInfo, Snapshot};

#[derive(Debug)]
pub struct InterPodAffinity {
    /// What it counts that a pod there requires pods like this one near it.
    pub hard_pod_affinity_weight: i64,
    /// A pod without preferences of its own is not scored by those of others.
    pub ignore_preferred_terms_of_existing_pods: bool,
}

impl Default for InterPodAffinity {
    fn default() -> Self {
        Self { hard_pod_affinity_weight: 1, ignore_preferred_terms_of_existing_pods: false }
    }
}

impl Plugin for InterPodAffinity {
    fn name(&self) -> &'static str {
        "InterPodAffinity"
    }
    fn is_local(&self) -> bool {
        false
    }
    fn prepare(&self, snapshot: &mut Snapshot, class: &Arc<PodClass>) {
        let affinity = &class.affinity;
        if !affinity.required.is_empty() {
            snapshot.register_count(all_of(&affinity.required));
        }
        for term in affinity.anti.iter().chain(affinity.preferred.iter().map(|(_, term)| term)) {
            snapshot.register_count(one(&term.pods));
        }
        let own = affinity.required.iter().chain(&affinity.anti).chain(affinity.preferred.iter().map(|(_, t)| t));
        let about = snapshot.counts().terms_about(class, snapshot.namespace_labels(&class.namespace));
        let nominated = snapshot.nominations.classes().flat_map(|class| class.affinity.anti.iter());
        let keys = own.chain(about.map(|(owned, _)| &owned.term)).chain(nominated).map(|term| &term.topology_key);
        let mut new: Vec<String> = keys.filter(|key| snapshot.topologies().get(key).is_none()).cloned().collect();
        new.dedup();
        new.iter().for_each(|key| snapshot.register_topology(key));
    }
    fn filter<'a>(&'a self, cycle: &Cycle<'a>) -> Option<Box<dyn Filter + 'a>> {
        let near = Near::new(cycle);
        let has_terms = !near.required.is_empty() || !near.anti.is_empty() || !near.existing.is_empty();
        has_terms.then(|| Box::new(near) as Box<dyn Filter + 'a>)
    }
    fn scorer<'a>(&'a self, cycle: &Cycle<'a>, _: &[NodeId]) -> Option<Box<dyn Scorer + 'a>> {
        if self.ignore_preferred_terms_of_existing_pods && cycle.class.affinity.preferred.is_empty() {
            return None;
        }
        let scorer = scoring::Preferring::new(cycle, self.hard_pod_affinity_weight);
        (!scorer.is_empty()).then(|| Box::new(scorer) as Box<dyn Scorer + 'a>)
    }
    fn hint(&self, snapshot: &Snapshot, class: &PodClass, event: &Event) -> Hint {
        hints::hint(snapshot, class, event)
    }
}

fn one(pods: &PodSelector) -> Counted {
    Counted { selectors: vec![pods.clone()], living: false }
}

/// Pods that all terms are about: only they satisfy any.
fn all_of(terms: &[Term]) -> Counted {
    Counted { selectors: terms.iter().map(|t| t.pods.clone()).collect(), living: false }
}

/// Whether a pod of this class is one that the term is about.
fn is_about(snapshot: &Snapshot, term: &Term, class: &PodClass) -> bool {
    term.pods.matches(&class.namespace, snapshot.namespace_labels(&class.namespace), &class.labels)
}

/// A term with the pods of each domain that count for it.
#[derive(Clone)]
struct Domains<'a> {
    term: &'a Term,
    topology: &'a Topology,
    pods: Vec<i64>,
}

impl<'a> Domains<'a> {
    fn new(cycle: &Cycle<'a>, term: &'a Term, counted: &Counted) -> Option<Self> {
        let topology = cycle.snapshot.topologies().get(&term.topology_key)?;
        let pods = topology.sum(cycle.snapshot.counts().by_node(counted).unwrap_or_default());
        Some(Self { term, topology, pods })
    }
    fn change(&mut self, node: NodeId, by: i64) {
        let domain = self.topology.domain(node);
        if domain != NO_DOMAIN {
            self.pods[domain as usize] += by;
        }
    }
    /// Pods in the node's domain; `None`: it is in none.
    fn here(&self, node: NodeId) -> Option<i64> {
        let domain = self.topology.domain(node);
        (domain != NO_DOMAIN).then(|| self.pods[domain as usize])
    }
}

#[derive(Clone)]
struct Near<'a> {
    snapshot: &'a Snapshot,
    class: &'a PodClass,
    required: Vec<Domains<'a>>,
    /// The first of pods that require each other has nobody to go to.
    satisfies_itself: bool,
    anti: Vec<Domains<'a>>,
    /// Where pods are that do not want this one near, by label key.
    existing: Vec<(&'a str, &'a Topology, Vec<i64>)>,
}

impl<'a> Near<'a> {
    fn new(cycle: &Cycle<'a>) -> Self {
        let (snapshot, class) = (cycle.snapshot, &**cycle.class);
        let all = all_of(&class.affinity.required);
        let required = class.affinity.required.iter().filter_map(|t| Domains::new(cycle, t, &all)).collect();
        let anti = class.affinity.anti.iter().filter_map(|t| Domains::new(cycle, t, &one(&t.pods))).collect();
        let satisfies_itself = class.affinity.required.iter().all(|t| is_about(snapshot, t, class));
        let mut near = Self { snapshot, class, required, satisfies_itself, anti, existing: Vec::new() };
        let about = snapshot.counts().terms_about(class, snapshot.namespace_labels(&class.namespace));
        for (owned, pods) in about.filter(|(owned, _)| owned.kind == TermKind::RequiredAnti) {
            let Some((_, topology, domains)) = near.existing(&owned.term.topology_key) else { continue };
            for (node, count) in pods {
                domains[topology.domain(*node) as usize] += i64::from(*count);
            }
        }
        near.existing.iter_mut().for_each(|(_, _, pods)| pods[NO_DOMAIN as usize] = 0);
        near
    }

    fn existing(&mut self, key: &'a str) -> Option<&mut (&'a str, &'a Topology, Vec<i64>)> {
        if let Some(at) = self.existing.iter().position(|(k, ..)| *k == key) {
            return self.existing.get_mut(at);
        }
        let topology = self.snapshot.topologies().get(key)?;
        self.existing.push((key, topology, vec![0; topology.len()]));
        self.existing.last_mut()
    }

    fn change(&mut self, other: &PodClass, node: NodeId, by: i64) {
        let snapshot = self.snapshot;
        if self.required.iter().all(|d| is_about(snapshot, d.term, other)) {
            self.required.iter_mut().for_each(|d| d.change(node, by));
        }
        for domains in self.anti.iter_mut().filter(|d| is_about(snapshot, d.term, other)) {
            domains.change(node, by);
        }
        for term in other.affinity.anti.iter().filter(|t| is_about(snapshot, t, self.class)) {
            let known = self.existing.iter_mut().find(|(key, ..)| *key == term.topology_key);
            match known {
                Some((_, topology, pods)) => {
                    let domain = topology.domain(node);
                    if domain != NO_DOMAIN {
                        pods[domain as usize] += by;
                    }
                }
                None => {
                    // The first that minds: a pod that is nominated, and not there yet.
                    let Some((key, topology)) = snapshot.topologies().get_with_key(&term.topology_key) else {
                        continue;
                    };
                    let mut pods = vec![0; topology.len()];
                    pods[topology.domain(node) as usize] += by;
                    pods[NO_DOMAIN as usize] = 0;
                    self.existing.push((key, topology, pods));
                }
            }
        }
    }

    fn satisfies_affinity(&self, node: NodeId) -> bool {
        let mut are_near = true;
        for domains in &self.required {
            match domains.here(node) {
                None => return false,
                Some(pods) => are_near &= pods > 0,
            }
        }
        are_near || self.satisfies_itself && self.required.iter().all(|d| d.pods.iter().all(|pods| *pods == 0))
    }
}

impl Filter for Near<'_> {
    fn check(&self, node: &NodeInfo) -> Result<(), Refusal> {
        if !self.satisfies_affinity(node.id) {
            return Err(Refusal::unresolvable("node(s) didn't match pod affinity rules"));
        }
        if self.anti.iter().any(|d| d.here(node.id).is_some_and(|pods| pods > 0)) {
            return Err(Refusal::resolvable("node(s) didn't match pod anti-affinity rules"));
        }
        let is_minded = |(_, topology, pods): &(&str, &Topology, Vec<i64>)| pods[topology.domain(node.id) as usize] > 0;
        if self.existing.iter().any(is_minded) {
            return Err(Refusal::resolvable("node(s) didn't satisfy existing pods anti-affinity rules"));
        }
        Ok(())
    }
    fn add(&mut self, other: Other<'_>, node: NodeId) {
        self.change(other.class, node, 1);
    }
    fn remove(&mut self, other: Other<'_>, node: NodeId) {
        self.change(other.class, node, -1);
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
