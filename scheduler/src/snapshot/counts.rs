//! How many pods of a kind each node has: those that a selector matches, and those that have an affinity term. Kept as pods
//! come and go, so that no decision has to look at all pods.

use std::collections::HashMap;
use std::sync::Arc;

use corten_api::selector::Labels;

use super::node::NodeId;
use crate::pod::PodClass;
use crate::pod::terms::{PodSelector, Term};

/// Counts that are kept, over all nodes; beyond it all are forgotten, and counted anew as they are asked for.
const CELLS_MAX: usize = 8_000_000;

/// Which pods are counted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Counted {
    /// All of these match.
    pub selectors: Vec<PodSelector>,
    /// Those that are deleted do not count.
    pub living: bool,
}

impl Counted {
    fn matches(&self, class: &PodClass, namespaces: &Namespaces) -> bool {
        let labels = namespaces.get(&class.namespace);
        self.selectors.iter().all(|s| s.matches(&class.namespace, labels, &class.labels))
    }
}

/// The labels of each namespace.
pub type Namespaces = HashMap<String, Labels>;

/// A term that pods here have, and that may concern a pod that comes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OwnedTerm {
    pub term: Term,
    pub kind: TermKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TermKind {
    Required,
    RequiredAnti,
    /// With its weight: negative where its pods prefer to be apart.
    Preferred(i64),
}

#[derive(Debug)]
struct Owned {
    term: OwnedTerm,
    /// Pods that have it, by node.
    pods: HashMap<NodeId, u32>,
}

/// Everything that is counted of placed pods.
#[derive(Debug, Default)]
pub struct Counts {
    tallies: HashMap<Arc<Counted>, Vec<u32>>,
    owned: HashMap<Arc<OwnedTerm>, usize>,
    terms: Vec<Option<Owned>>,
    free_terms: Vec<usize>,
    /// Terms about pods of one namespace, by it; and the others.
    by_namespace: HashMap<String, Vec<usize>>,
    of_any_namespace: Vec<usize>,
}

/// What a pod's class means for the counts. Found once for all pods of the class that are placed.
#[derive(Clone, Debug, Default)]
pub struct ClassCounts {
    tallies: Vec<Arc<Counted>>,
    owned: Vec<usize>,
}

impl Counts {
    /// Counts by node, if they are kept.
    pub fn by_node(&self, counted: &Counted) -> Option<&[u32]> {
        self.tallies.get(counted).map(Vec::as_slice)
    }

    /// The terms of pods here that concern a pod of this class, with how many have it on which node.
    pub fn terms_about<'a>(
        &'a self,
        class: &'a PodClass,
        namespace_labels: Option<&'a Labels>,
    ) -> impl Iterator<Item = (&'a OwnedTerm, &'a HashMap<NodeId, u32>)> {
        let named = self.by_namespace.get(&class.namespace).into_iter().flatten();
        let candidates = named.chain(&self.of_any_namespace).filter_map(move |at| self.terms[*at].as_ref());
        candidates
            .filter(move |o| o.term.term.pods.matches(&class.namespace, namespace_labels, &class.labels))
            .map(|o| (&o.term, &o.pods))
    }

    pub(super) fn has(&self, counted: &Counted) -> bool {
        self.tallies.contains_key(counted)
    }
    /// Begins to count; what is there already is for the caller to add.
    pub(super) fn begin(&mut self, counted: Counted) -> Arc<Counted> {
        let counted = Arc::new(counted);
        self.tallies.insert(Arc::clone(&counted), Vec::new());
        counted
    }
    /// Whether a class has to be told of this count, and if so, tells it.
    pub(super) fn tell(
        of: &mut ClassCounts,
        class: &PodClass,
        counted: &Arc<Counted>,
        namespaces: &Namespaces,
    ) -> bool {
        let matches = counted.matches(class, namespaces);
        if matches {
            of.tallies.push(Arc::clone(counted));
        }
        matches
    }
    pub(super) fn bump(&mut self, counted: &Counted, node: NodeId, by: i32) {
        if let Some(counts) = self.tallies.get_mut(counted) {
            counts.resize(counts.len().max(node.at() + 1), 0);
            counts[node.at()] = counts[node.at()].saturating_add_signed(by);
        }
    }

    /// What a class that is new here counts for.
    pub(super) fn enter(&mut self, class: &PodClass, namespaces: &Namespaces) -> ClassCounts {
        let tallies = self.tallies.keys().filter(|c| c.matches(class, namespaces)).cloned().collect();
        let owned = owned_terms(class).map(|term| self.own(term)).collect();
        ClassCounts { tallies, owned }
    }

    fn own(&mut self, term: OwnedTerm) -> usize {
        if let Some(known) = self.owned.get(&term) {
            return *known;
        }
        let entry = Some(Owned { term: term.clone(), pods: HashMap::new() });
        let at = match self.free_terms.pop() {
            Some(at) => {
                self.terms[at] = entry;
                at
            }
            None => {
                self.terms.push(entry);
                self.terms.len() - 1
            }
        };
        for namespace in term.term.pods.named_namespaces().into_iter().flatten() {
            self.by_namespace.entry(namespace.clone()).or_default().push(at);
        }
        if term.term.pods.named_namespaces().is_none() {
            self.of_any_namespace.push(at);
        }
        self.owned.insert(Arc::new(term), at);
        at
    }

    /// A class of which nobody is here any more: terms that none but it had go with it.
    pub(super) fn leave(&mut self, counts: &ClassCounts) {
        for at in &counts.owned {
            let Some(owned) = self.terms[*at].take_if(|owned| owned.pods.is_empty()) else { continue };
            for namespace in owned.term.term.pods.named_namespaces().into_iter().flatten() {
                if let Some(list) = self.by_namespace.get_mut(namespace) {
                    list.retain(|other| other != at);
                    if list.is_empty() {
                        self.by_namespace.remove(namespace);
                    }
                }
            }
            self.of_any_namespace.retain(|other| other != at);
            self.owned.remove(&owned.term);
            self.free_terms.push(*at);
        }
    }

    /// A pod comes (1) or goes (-1).
    pub(super) fn count(&mut self, of: &ClassCounts, node: NodeId, deleting: bool, by: i32) {
        for counted in of.tallies.iter().filter(|c| !(c.living && deleting)) {
            self.bump(counted, node, by);
        }
        for at in &of.owned {
            let Some(owned) = &mut self.terms[*at] else { continue };
            let pods = owned.pods.entry(node).or_default();
            *pods = pods.saturating_add_signed(by);
            if *pods == 0 {
                owned.pods.remove(&node);
            }
        }
    }

    /// Forgets the counts that `which` names.
    pub(super) fn forget(&mut self, which: impl Fn(&Counted) -> bool) {
        self.tallies.retain(|counted, _| !which(counted));
    }
    pub(super) fn are_too_many(&self, nodes: usize) -> bool {
        self.tallies.len() * nodes.max(1) > CELLS_MAX
    }
    pub(super) fn is_counting(&self) -> bool {
        !self.tallies.is_empty()
    }
}

impl ClassCounts {
    pub(super) fn forget(&mut self, which: impl Fn(&Counted) -> bool) {
        self.tallies.retain(|counted| !which(counted));
    }
}

/// The terms by which pods of a class concern those that come after them.
fn owned_terms(class: &PodClass) -> impl Iterator<Item = OwnedTerm> {
    let of = |kind: TermKind| move |term: &Term| OwnedTerm { term: term.clone(), kind };
    let affinity = &class.affinity;
    let required = affinity.required.iter().map(of(TermKind::Required));
    let anti = affinity.anti.iter().map(of(TermKind::RequiredAnti));
    let preferred = affinity.preferred.iter();
    required
        .chain(anti)
        .chain(preferred.map(|(weight, term)| OwnedTerm { term: term.clone(), kind: TermKind::Preferred(*weight) }))
}
