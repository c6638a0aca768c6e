//! What a DaemonSet does next: on which nodes it makes pods, which pods go, and what it reports.
//!
//! First each node has what it should have: one pod. Only when that is so, pods of older templates are replaced
//! (`rolling.rs`).
//!
//! <https://kubernetes.io/docs/concepts/workloads/controllers/daemonset/>

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use corten_api::Object;
use corten_api::k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet, DaemonSetStatus};
use corten_api::k8s_openapi::api::core::v1::Node;
use jiff::Timestamp;

use super::placement::{self, Fit, GENERATION_LABEL, Placement};
use super::rolling::{self, Bounds, Pod, Rollout, Steps};
use super::status;
use crate::history::{self, HASH_MAX, Present, REVISION_LABEL, Step};
use crate::pods::{Phase, SeenPod};

/// The most pods one decision creates or deletes; the next watch event brings the rest.
pub const BURST_PODS: usize = 250;
const REVISION_BASE_MAX: usize = 253 - HASH_MAX;

/// Everything the decision may look at.
#[derive(Clone, Debug)]
pub struct Observed {
    pub now: Timestamp,
    pub set: Arc<DaemonSet>,
    /// Its history, oldest first.
    pub revisions: Vec<Arc<ControllerRevision>>,
    pub nodes: Vec<Arc<Node>>,
    /// The pods that it owns, ended and terminating ones among them.
    pub pods: Vec<Arc<SeenPod>>,
    /// Nodes whose failed pods are left until then.
    pub backoff: BTreeMap<String, Timestamp>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decision {
    /// Comes first: nothing else is decided together with it.
    pub history: Option<Step>,
    /// The hash of the present revision, which new pods are labelled with.
    pub hash: String,
    /// Pods of a revision that is the same as the present one: they get its label.
    pub relabel: Vec<Arc<SeenPod>>,
    /// Nodes that a pod is made for.
    pub create: Vec<String>,
    pub delete: Vec<Arc<SeenPod>>,
    /// Pods among these that have ended.
    pub ended: Vec<Arc<SeenPod>>,
    /// `None`: it is as it should be.
    pub status: Option<Box<DaemonSetStatus>>,
    pub surplus: Vec<Arc<ControllerRevision>>,
    /// When a pod becomes available, or a failed one is replaced, without any event to say so.
    pub wake_after: Option<Duration>,
}

pub fn decide(seen: &Observed) -> Decision {
    let set = &seen.set;
    if set.is_deleting() {
        // Its history may be gone already, without which nothing can be said of its pods.
        return Decision::default();
    }
    let first = |step| Decision { history: Some(step), ..Decision::default() };
    let present = match history::present(&seen.revisions, &set.spec.template) {
        Present::Is(present) => present,
        Present::Again { revision, number } => return first(Step::Renumber { revision, number }),
        Present::Missing { number } => return first(Step::Create(Box::new(new_revision(set, number)))),
    };
    View::of(seen, &present).decide()
}

fn new_revision(set: &DaemonSet, number: i64) -> ControllerRevision {
    let collisions = set.status.as_ref().and_then(|s| s.collision_count).unwrap_or(0);
    let (template, base_max) = (&set.spec.template, REVISION_BASE_MAX);
    history::New { template, collisions, number, hash_label: REVISION_LABEL, base_max }.of(set)
}

/// What pods that are made from a revision are labelled with.
pub fn hash_of(revision: &ControllerRevision) -> &str {
    revision.label(REVISION_LABEL).unwrap_or(revision.name())
}

/// The observed state, sorted.
struct View<'a> {
    seen: &'a Observed,
    present: &'a ControllerRevision,
    generation: Option<String>,
    fits: BTreeMap<&'a str, Fit>,
    /// By node: the pods that are there or go there, oldest first. Those that ended and go are nobody's concern any more.
    pods: BTreeMap<&'a str, Vec<&'a Arc<SeenPod>>>,
}

impl<'a> View<'a> {
    fn of(seen: &'a Observed, present: &'a ControllerRevision) -> Self {
        let placement = Placement::of(&seen.set);
        let fits = seen.nodes.iter().map(|node| (node.name(), placement.fit(node))).collect();
        let mut pods: BTreeMap<&str, Vec<&Arc<SeenPod>>> = BTreeMap::new();
        for pod in seen.pods.iter().filter(|pod| !(pod.is_terminal() && pod.deleting.is_some())) {
            if let Some(node) = placement::node_of(pod) {
                pods.entry(node).or_default().push(pod);
            }
        }
        for on_node in pods.values_mut() {
            // Times of creation are whole seconds: of two pods made in one, the one that serves is the older.
            on_node.sort_by_key(|pod| (pod.node.is_none(), pod.created, !pod.is_ready(), pod.key.name.clone()));
        }
        let generation = placement::generation(&seen.set).map(|generation| generation.to_string());
        Self { seen, present, generation, fits, pods }
    }

    fn decide(&self) -> Decision {
        let (hash, duplicates) = (hash_of(self.present).to_owned(), self.duplicates());
        if !duplicates.is_empty() {
            // Their pods are of the present template, and are known by its label from then on.
            let relabel = self.of_revisions(&duplicates);
            return Decision { hash, relabel, surplus: duplicates, ..Decision::default() };
        }
        let status = status::changed(&self.seen.set, &self.counts());
        let mut decision = Decision { hash, status, ..Decision::default() };
        let mut waits: Vec<Timestamp> = self.seen.pods.iter().filter_map(|pod| self.available_at(pod)).collect();
        for (node, fit) in &self.fits {
            self.keep_one(node, *fit, &mut decision, &mut waits);
        }
        decision.delete.extend(self.aimed_at_nothing());
        if status::is_rolling(&self.seen.set) && decision.create.is_empty() && decision.delete.is_empty() {
            self.roll(&mut decision);
        }
        decision.create.truncate(BURST_PODS);
        decision.delete.truncate(BURST_PODS);
        let deleted: BTreeSet<&str> = decision.delete.iter().map(|pod| pod.uid.as_str()).collect();
        decision.ended.retain(|pod| deleted.contains(pod.uid.as_str()));
        decision.surplus = self.surplus();
        let next = waits.into_iter().filter(|at| *at > self.seen.now).min();
        decision.wake_after = next.and_then(|at| Duration::try_from(at.duration_since(self.seen.now)).ok());
        decision
    }

    /// What this node lacks and has too much of.
    fn keep_one(&self, node: &str, fit: Fit, decision: &mut Decision, waits: &mut Vec<Timestamp>) {
        let Some(pods) = self.pods.get(node) else {
            if fit.should_run {
                decision.create.push(node.to_owned());
            }
            return;
        };
        let staying = pods.iter().filter(|pod| pod.deleting.is_none());
        if !fit.may_stay {
            decision.delete.extend(staying.map(|pod| Arc::clone(pod)));
            return;
        }
        let (ended, running): (Vec<&Arc<SeenPod>>, Vec<_>) = staying.copied().partition(|pod| pod.is_terminal());
        for pod in ended {
            let until = self.seen.backoff.get(node).copied().filter(|until| *until > self.seen.now);
            if let Some(until) = until.filter(|_| pod.phase == Phase::Failed) {
                waits.push(until);
                continue;
            }
            decision.ended.push(Arc::clone(pod));
            decision.delete.push(Arc::clone(pod));
        }
        if !self.surges() {
            decision.delete.extend(running.into_iter().skip(1).cloned());
        } else if running.is_empty() && fit.should_run {
            decision.create.push(node.to_owned());
        } else {
            decision.delete.extend(self.beside(&running));
        }
    }

    /// Those that go of pods beside each other on a node, where an update makes the new pod first: the old one stays for as
    /// long as it serves and the new one does not.
    fn beside(&self, running: &[&Arc<SeenPod>]) -> Vec<Arc<SeenPod>> {
        let (hash, mut running) = (hash_of(self.present), running.to_vec());
        // Of two of a kind the one that serves stays: an update that was followed by another left them.
        running.sort_by_key(|pod| !self.is_available(pod));
        let (new, old): (Vec<&Arc<SeenPod>>, Vec<_>) =
            running.into_iter().partition(|pod| history::of_pod(&pod.labels) == hash);
        let too_many = new.iter().skip(1).chain(old.iter().skip(1));
        let mut gone: Vec<Arc<SeenPod>> = too_many.map(|pod| Arc::clone(pod)).collect();
        if let (Some(new), Some(old)) = (new.first(), old.first())
            && (!old.is_ready() || self.is_available(new))
        {
            gone.push(Arc::clone(old));
        }
        gone
    }

    /// Pods that wait for a node which is not there: nobody else would take them away.
    fn aimed_at_nothing(&self) -> Vec<Arc<SeenPod>> {
        let waiting = self.seen.pods.iter().filter(|pod| pod.node.is_none() && pod.deleting.is_none());
        let lost = waiting.filter(|pod| pod.aimed_at.as_deref().is_some_and(|node| !self.fits.contains_key(node)));
        lost.cloned().collect()
    }

    fn roll(&self, decision: &mut Decision) {
        let nodes = self.fits.iter().filter(|(_, fit)| fit.should_run).map(|(node, _)| *node);
        let nodes: BTreeSet<&str> = nodes.chain(self.pods.keys().copied()).collect();
        let pod = |pod: &&Arc<SeenPod>| Pod {
            updated: self.is_updated(pod),
            available: self.is_available(pod),
            name: pod.key.name.clone(),
        };
        let on_node = |node: &str| rolling::OnNode {
            name: node.to_owned(),
            should_run: self.fits.get(node).is_some_and(|fit| fit.should_run),
            pods: self.pods.get(node).into_iter().flatten().filter(|p| p.deleting.is_none()).map(pod).collect(),
        };
        let rollout = Rollout { bounds: self.bounds(), nodes: nodes.into_iter().map(on_node).collect() };
        let Steps { create, delete } = rollout.next();
        let delete: BTreeSet<String> = delete.into_iter().collect();
        decision.create = create;
        decision.delete = self.seen.pods.iter().filter(|pod| delete.contains(&pod.key.name)).cloned().collect();
    }

    fn bounds(&self) -> Bounds {
        let desired = self.fits.values().filter(|fit| fit.should_run).count();
        status::bounds(&self.seen.set, desired)
    }
    fn surges(&self) -> bool {
        status::bounds(&self.seen.set, 1).surge > 0
    }

    fn is_updated(&self, pod: &SeenPod) -> bool {
        let generation = pod.labels.get(GENERATION_LABEL);
        history::of_pod(&pod.labels) == hash_of(self.present)
            || generation.is_some() && generation == self.generation.as_ref()
    }
    fn available_at(&self, pod: &SeenPod) -> Option<Timestamp> {
        pod.available_at(self.seen.set.spec.min_ready_seconds.unwrap_or(0))
    }
    fn is_available(&self, pod: &SeenPod) -> bool {
        self.available_at(pod).is_some_and(|at| at <= self.seen.now)
    }

    fn counts(&self) -> status::Counts {
        let mut counts = status::Counts::default();
        for (node, fit) in &self.fits {
            let first = self.pods.get(node).and_then(|pods| pods.first());
            counts.desired += i32::from(fit.should_run);
            let Some(pod) = first else { continue };
            if !fit.should_run {
                counts.misscheduled += 1;
                continue;
            }
            counts.current += 1;
            counts.ready += i32::from(pod.is_ready());
            counts.available += i32::from(self.is_available(pod));
            counts.updated += i32::from(self.is_updated(pod));
        }
        counts
    }

    /// Other revisions with the present template: orphans that were adopted, say.
    fn duplicates(&self) -> Vec<Arc<ControllerRevision>> {
        let others = self.seen.revisions.iter().filter(|r| r.name() != self.present.name() && !r.is_deleting());
        others.filter(|revision| history::is_of(revision, &self.seen.set.spec.template)).cloned().collect()
    }

    fn of_revisions(&self, revisions: &[Arc<ControllerRevision>]) -> Vec<Arc<SeenPod>> {
        let of = |pod: &&Arc<SeenPod>| revisions.iter().any(|r| hash_of(r) == history::of_pod(&pod.labels));
        self.seen.pods.iter().filter(of).cloned().collect()
    }

    fn surplus(&self) -> Vec<Arc<ControllerRevision>> {
        let template = &self.seen.set.spec.template;
        let old = self.seen.revisions.iter().filter(|revision| !history::is_of(revision, template));
        let old: Vec<_> = old.cloned().collect();
        let hashes: BTreeSet<&str> = self.seen.pods.iter().map(|pod| history::of_pod(&pod.labels)).collect();
        let live = old.iter().filter(|revision| hashes.contains(hash_of(revision)));
        let live = live.map(|revision| revision.name().to_owned()).collect();
        history::surplus(&old, self.seen.set.spec.revision_history_limit.unwrap_or(-1), &live, true)
    }
}

#[cfg(test)]
mod tests;
