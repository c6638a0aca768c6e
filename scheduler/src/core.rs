//! What the scheduler knows and has decided, without I/O and clock: changes and outcomes in, decisions out.

mod volumes;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use corten_api::selector::{Labels, Selector};
use corten_api::{ApiError, Key};
use corten_client::panics;
use k8s_openapi::api::core::v1::Node;

use crate::cycle::view::Views;
use crate::cycle::{self, Decision};
use crate::framework::Hint;
use crate::pod::PodInfo;
use crate::profile::{Profile, Profiles};
use crate::queue::{Backoff, Incoming, Queue, Sizes};
use crate::snapshot::event::{AssignedPod, Event};
use crate::snapshot::nominations::Nomination;
use crate::snapshot::volumes::{Class, Limits};
use crate::snapshot::{Budget, Snapshot};
use volumes::Binding;
pub use volumes::{BIND_MAX, Waited};

/// What panics are counted under.
pub(crate) const PANICS: &str = "scheduler";

#[derive(Debug)]
pub struct Core {
    /// By `schedulerName`, in its order; a profile's place here is its number.
    profiles: Vec<(String, Profile)>,
    snapshot: Snapshot,
    views: Views,
    queue: Queue,
    /// What happened since pods were last woken.
    events: Vec<Event>,
    /// The nomination that the cluster shows of a pod, if any, with the pod's uid.
    shown: HashMap<Key, (String, String)>,
    /// Pods of ours that are not to be looked at yet.
    gated: HashSet<Key>,
    /// Pods that were given a node, and whose claims are to get volumes there.
    binding: Binding,
    /// Counts decisions, so that equally good nodes take turns.
    decided: usize,
}

impl Core {
    /// Pods that name one of the profiles are ours.
    pub fn new(profiles: Profiles, backoff: Backoff) -> Self {
        Self {
            profiles: profiles.into_iter().collect(),
            snapshot: Snapshot::new(),
            views: Views::default(),
            queue: Queue::new(backoff),
            events: Vec::new(),
            shown: HashMap::new(),
            gated: HashSet::new(),
            binding: Binding::default(),
            decided: 0,
        }
    }
    /// With the default profile alone, under this name.
    pub fn named(name: &str) -> Self {
        Self::new([(name.to_owned(), Profile::default())].into(), Backoff::default())
    }

    /// Takes in a node as it is now, or that it is gone.
    pub fn node_changed(&mut self, name: &str, node: Option<&Node>) {
        let event = match node {
            Some(node) => self.snapshot.set_node(node),
            None => {
                self.binding.touch_node(name);
                self.snapshot.remove_node(name)
            }
        };
        self.events.extend(event);
    }

    /// As `node_changed`, for a pod.
    pub fn pod_changed(&mut self, key: &Key, pod: Option<&PodInfo>, now: Instant) {
        let events = match pod {
            Some(pod) => self.snapshot.set_pod(pod),
            None => self.snapshot.remove_pod(key),
        };
        self.events.extend(events);
        if pod.is_some_and(|pod| self.is_gated(pod)) {
            self.gated.insert(key.clone());
        } else {
            self.gated.remove(key);
        }
        match pod.filter(|pod| self.profile_to_place(pod).is_some()) {
            None => {
                self.queue.remove(key);
                self.shown.remove(key);
                self.denominate(key);
                self.break_promise(key, None);
            }
            Some(pod) => {
                self.break_promise(key, Some(&pod.uid));
                // One that is being bound keeps its place in the queue: the binding may fail.
                self.note_nomination(pod);
                self.queue.set(pod, now);
            }
        }
    }

    /// A namespace's labels; `None`: it is gone.
    pub fn namespace_changed(&mut self, name: &str, labels: Option<&Labels>) {
        self.events.extend(self.snapshot.set_namespace(name, labels.cloned()));
    }
    pub fn budget_changed(&mut self, key: &Key, budget: Option<&Budget>) {
        match budget {
            Some(budget) => drop(self.snapshot.budgets.insert(key.clone(), budget.clone())),
            None => drop(self.snapshot.budgets.remove(key)),
        }
    }
    pub fn storage_class_changed(&mut self, name: &str, class: Option<&Class>) {
        self.events.extend(self.snapshot.volumes.set_class(name, class));
    }
    /// How many volumes of each driver a node can have; `None`: nobody says.
    pub fn volume_limits_changed(&mut self, node: &str, limits: Option<&Limits>) {
        self.events.extend(self.snapshot.volumes.set_limits(node, limits));
    }
    /// A Service's selector; `None`: it has none, or is gone.
    pub fn service_changed(&mut self, key: &Key, selector: Option<&Labels>) {
        self.snapshot.workloads.set_service(key, selector.cloned());
    }
    /// The selector of what controls pods: `kind` is such as `ReplicaSet`.
    pub fn controller_changed(&mut self, kind: &str, key: &Key, selector: Option<&Selector>) {
        self.snapshot.workloads.set_controller(kind, key, selector.cloned());
    }

    /// Pods that what happened could help come again.
    pub fn wake(&mut self, now: Instant) {
        let events = std::mem::take(&mut self.events);
        let (profiles, snapshot) = (&self.profiles, &self.snapshot);
        self.queue.wake(
            &events,
            |class, plugin, event| {
                let profile = profiles.iter().find(|(name, _)| *name == class.scheduler);
                let plugin = profile.and_then(|(_, profile)| profile.plugins.get(plugin));
                plugin.is_some_and(|enabled| enabled.plugin.hint(snapshot, class, event) == Hint::Queue)
            },
            now,
        );
    }
    /// The pod to decide on next.
    pub fn next(&mut self, now: Instant) -> Option<Key> {
        self.queue.pop(now)
    }
    /// When to ask `next` again though nothing happened.
    pub fn next_timer(&self) -> Option<Instant> {
        self.queue.next_timer().into_iter().chain(self.binding.next_timer()).min()
    }

    /// Decides on a pod, as it is now, that `next` named. A placement counts on its node from now on, until the pod shows
    /// it or `settled` takes it back; a nomination holds until the pod is placed or no room can be made. `None`: it needs no
    /// node any more, or is another by now, which comes in its turn.
    pub fn decide(&mut self, key: &Key, pod: Option<&PodInfo>, now: Instant) -> Option<Decision> {
        let known = pod.filter(|pod| self.queue.is_taken(key, &pod.uid));
        let Some((pod, number)) = known.and_then(|pod| Some((pod, self.profile_to_place(pod)?))) else {
            // It changed since the queue heard of it: the pod of before must not stand in the way of this one.
            self.pod_changed(key, pod, now);
            return None;
        };
        self.queue.set(pod, now);
        // A placement that the apiserver confirmed, and that the cluster has not shown for long: it is lost.
        let events = self.snapshot.forget(key, &pod.uid);
        self.events.extend(events);
        self.decided = self.decided.wrapping_add(1);
        let (profile, snapshot, tie) = ((number, &self.profiles[number].1), &mut self.snapshot, self.decided);
        let views = &mut self.views;
        // A fault in one plugin over one pod must not end the scheduling of all others. A cycle changes nothing in the
        // snapshot but what it keeps counted, and views begin anew after a fault.
        let decision = match panics::catch(PANICS, || cycle::decide(profile, snapshot, views, pod, tie)) {
            Ok(decision) => decision,
            Err(panicked) => {
                tracing::error!(pod = %key, %panicked, "a bug: the decision on this pod is tried again later");
                self.views = Views::default();
                self.queue.failed(key, now);
                return None;
            }
        };
        self.take_in(pod, &decision, now);
        Some(decision)
    }

    fn take_in(&mut self, pod: &PodInfo, decision: &Decision, now: Instant) {
        let key = &pod.key;
        match decision {
            Decision::Place { node } => {
                let is_elsewhere = self.snapshot.nominations.get(key).is_some_and(|n| n.node != *node);
                if is_elsewhere {
                    self.denominate(key);
                }
                self.snapshot.nominations.remove(key);
                let events = self.snapshot.assume(pod, node);
                self.events.extend(events);
                self.promise_volumes(pod, node, now);
            }
            Decision::Nominate { node, demoted, rejected_by, .. } => {
                demoted.iter().for_each(|other| self.denominate(&other.key));
                let (uid, class) = (pod.uid.clone(), Arc::clone(&pod.class));
                self.nominate(key, Nomination { uid, node: node.clone(), class });
                self.queue.preempting(key, *rejected_by, now);
            }
            Decision::Refuse { rejected_by, denominate, .. } => {
                if *denominate {
                    self.denominate(key);
                }
                self.queue.refused(key, *rejected_by, now);
            }
        }
    }

    /// What came of the placement of the pod with this uid. There may be another of its name by now.
    pub fn settled(&mut self, key: &Key, uid: &str, result: Result<(), &ApiError>, now: Instant) {
        let is_queued = self.queue.is_taken(key, uid);
        self.settle_volumes(key, uid);
        match result {
            // The assumption stands until the watch shows the pod bound.
            Ok(()) if is_queued => self.queue.bound(key, now),
            Ok(()) => {}
            Err(_) => {
                let events = self.snapshot.forget(key, uid);
                self.events.extend(events);
                self.renominate(key, uid);
                // Whatever the error says of the pod: it is gone when the watch shows that it is.
                if is_queued {
                    self.queue.failed(key, now);
                }
                self.wake(now);
            }
        }
    }

    /// All victims of a nominated pod are told to go, or one could not be.
    pub fn preempted(&mut self, key: &Key, uid: &str, is_done: bool, now: Instant) {
        if self.queue.has(key, uid) {
            self.queue.preempted(key, is_done, now);
        }
    }

    /// The number of its profile, if it is ours to find a node for now.
    fn profile_to_place(&self, pod: &PodInfo) -> Option<usize> {
        let number = self.profiles.iter().position(|(name, _)| *name == pod.class.scheduler)?;
        (pod.is_pending() && self.profiles[number].1.pre_enqueue(&pod.class).is_ok()).then_some(number)
    }

    fn is_gated(&self, pod: &PodInfo) -> bool {
        let profile = self.profiles.iter().find(|(name, _)| *name == pod.class.scheduler);
        pod.is_pending() && profile.is_some_and(|(_, profile)| profile.pre_enqueue(&pod.class).is_err())
    }

    /// How many pods wait, by the part of the queue; and those that are not to be looked at yet.
    pub fn waiting(&self) -> (Sizes, usize) {
        (self.queue.sizes(), self.gated.len())
    }
    /// Who came into which part of the queue since this was asked before.
    pub fn take_incoming(&mut self) -> Incoming {
        self.queue.take_incoming()
    }
    /// How often the pod with this uid was tried, and when for the first time.
    pub fn tries(&self, key: &Key, uid: &str) -> Option<(u32, Instant)> {
        self.queue.tries(key, uid)
    }

    /// The cluster shows another nomination than before: another leader's, or another program's. Our own are known here
    /// before they are shown.
    fn note_nomination(&mut self, pod: &PodInfo) {
        match self.snapshot.nominations.get(&pod.key).cloned() {
            Some(known) if known.uid != pod.uid => self.denominate(&pod.key),
            Some(known) if known.class != pod.class => {
                self.snapshot.nominations.set(&pod.key, Nomination { class: Arc::clone(&pod.class), ..known });
            }
            _ => {}
        }
        let before = self.shown.get(&pod.key).filter(|(uid, _)| *uid == pod.uid).map(|(_, node)| node.as_str());
        let now = pod.nominated();
        if before == now {
            return;
        }
        match now {
            Some(node) => {
                self.shown.insert(pod.key.clone(), (pod.uid.clone(), node.into()));
                let known = self.snapshot.nominations.get(&pod.key);
                // One that is being bound has its room: see `renominate`.
                let is_assumed = self.snapshot.is_assumed(&pod.key, &pod.uid);
                if !is_assumed && known.is_none_or(|known| known.node != node || known.uid != pod.uid) {
                    let (uid, class) = (pod.uid.clone(), Arc::clone(&pod.class));
                    self.nominate(&pod.key, Nomination { uid, node: node.into(), class });
                }
            }
            None => {
                self.shown.remove(&pod.key);
                self.denominate(&pod.key);
            }
        }
    }

    /// A placement did not come about: the pod is nominated still for what the cluster shows.
    fn renominate(&mut self, key: &Key, uid: &str) {
        let shown = self.shown.get(key).filter(|(of, _)| of == uid);
        if let Some(((_, node), class)) = shown.zip(self.queue.class(key, uid)) {
            let nomination = Nomination { uid: uid.into(), node: node.clone(), class: Arc::clone(class) };
            self.nominate(key, nomination);
        }
    }

    fn nominate(&mut self, key: &Key, nomination: Nomination) {
        if self.snapshot.nominations.get(key).is_some_and(|known| known.node != nomination.node) {
            self.denominate(key);
        }
        self.snapshot.nominations.set(key, nomination);
    }

    /// No room is kept for the pod any more: others may have it.
    fn denominate(&mut self, key: &Key) {
        let Some(gone) = self.snapshot.nominations.remove(key) else { return };
        if let Some(node) = self.snapshot.node_named(&gone.node) {
            let left = AssignedPod { class: gone.class, node: Arc::clone(&node.spec) };
            self.events.push(Event::PodRemoved(left));
        }
    }
}

#[cfg(test)]
mod tests;
