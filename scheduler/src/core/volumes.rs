//! Pods that were given a node and wait until their claims have volumes there: what is promised to them, how far that has
//! come, and for how long. A pod that waits is an entry here, and nothing else.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use corten_api::Key;

use super::Core;
use crate::framework::Plugin as _;
use crate::plugins::volume_binding::VolumeBinding;
use crate::pod::PodInfo;
use crate::profile::Profile;
use crate::snapshot::Snapshot;
use crate::snapshot::event::Event;
use crate::snapshot::volumes::matching::{Plan, Wants};
use crate::snapshot::volumes::progress::{self, Written};
use crate::snapshot::volumes::{Claim, Volume};

/// A pod whose claims are not bound by then is decided on again, as upstream's `bindTimeoutSeconds` has it.
pub const BIND_MAX: Duration = Duration::from_secs(600);

/// Bounded by the pods that were given a node and are not bound.
#[derive(Debug, Default)]
pub(super) struct Binding {
    pods: HashMap<Key, Promised>,
    by_claim: HashMap<Key, BTreeSet<Key>>,
    by_volume: HashMap<String, BTreeSet<Key>>,
    /// To be looked at: something changed that concerns them.
    dirty: BTreeSet<Key>,
    timers: BTreeSet<(Instant, Key)>,
}

#[derive(Debug)]
struct Promised {
    uid: String,
    begun: Instant,
    plan: Arc<Plan>,
    state: State,
}

#[derive(Debug)]
enum State {
    /// The cluster is being told.
    Writing,
    Waiting {
        written: Written,
        until: Instant,
    },
    /// All claims are bound, or the pod was told of as one that failed.
    Done,
}

/// A pod whose wait is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waited {
    pub key: Key,
    pub uid: String,
    pub node: String,
    /// When it was decided on.
    pub begun: Instant,
    /// Why it will not have its volumes there.
    pub result: Result<(), String>,
}

impl Binding {
    fn insert(&mut self, key: &Key, promised: Promised) {
        for claim in promised.plan.claims() {
            self.by_claim.entry(claim.key.clone()).or_default().insert(key.clone());
        }
        for (_, volume) in &promised.plan.bindings {
            self.by_volume.entry(volume.clone()).or_default().insert(key.clone());
        }
        self.pods.insert(key.clone(), promised);
    }

    fn remove(&mut self, key: &Key) {
        let Some(gone) = self.pods.remove(key) else { return };
        if let State::Waiting { until, .. } = gone.state {
            self.timers.remove(&(until, key.clone()));
        }
        self.dirty.remove(key);
        for claim in gone.plan.claims() {
            unlist(&mut self.by_claim, &claim.key, key);
        }
        for (_, volume) in &gone.plan.bindings {
            unlist(&mut self.by_volume, volume, key);
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        let lists = self.by_claim.is_empty() && self.by_volume.is_empty();
        lists && self.pods.is_empty() && self.dirty.is_empty() && self.timers.is_empty()
    }
    fn has(&self, key: &Key, uid: &str) -> bool {
        self.pods.get(key).is_some_and(|promised| promised.uid == uid)
    }
    pub(super) fn touch_claim(&mut self, claim: &Key) {
        self.dirty.extend(self.by_claim.get(claim).into_iter().flatten().cloned());
    }
    pub(super) fn touch_volume(&mut self, name: &str, volume: Option<&Volume>) {
        self.dirty.extend(self.by_volume.get(name).into_iter().flatten().cloned());
        if let Some((claim, _)) = volume.and_then(|volume| volume.offer.claim.as_ref()) {
            self.touch_claim(claim);
        }
    }
    /// It costs a look at all that wait, once for each node that goes.
    pub(super) fn touch_node(&mut self, name: &str) {
        let there = self.pods.iter().filter(|(_, promised)| promised.plan.node == name);
        self.dirty.extend(there.map(|(key, _)| key.clone()));
    }
    pub(super) fn next_timer(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Ends a pod's wait if that is over.
    fn look(&mut self, key: &Key, snapshot: &Snapshot, now: Instant) -> Option<Waited> {
        let promised = self.pods.get_mut(key)?;
        let State::Waiting { written, until } = &promised.state else { return None };
        let (until, plan) = (*until, &promised.plan);
        let node = snapshot.node_named(&plan.node).map(|node| &*node.spec);
        let result = match progress::check(&snapshot.volumes, plan, written, node) {
            Ok(true) => Ok(()),
            Ok(false) if now < until => return None,
            Ok(false) => Err("context deadline exceeded".to_owned()),
            Err(why) => Err(why),
        };
        promised.state = State::Done;
        self.timers.remove(&(until, key.clone()));
        let (uid, node, begun) = (promised.uid.clone(), promised.plan.node.clone(), promised.begun);
        let result = result.map_err(|why| format!("binding volumes: {why}"));
        Some(Waited { key: key.clone(), uid, node, begun, result })
    }
}

fn unlist<K: Clone + Eq + std::hash::Hash>(lists: &mut HashMap<K, BTreeSet<Key>>, of: &K, key: &Key) {
    if let Some(keys) = lists.get_mut(of) {
        keys.remove(key);
        if keys.is_empty() {
            lists.remove(of);
        }
    }
}

impl Core {
    pub fn claim_changed(&mut self, key: &Key, claim: Option<&Claim>) {
        self.events.extend(self.snapshot.volumes.set_claim(key, claim));
        self.binding.touch_claim(key);
    }
    pub fn volume_changed(&mut self, name: &str, volume: Option<&Volume>) {
        self.events.extend(self.snapshot.volumes.set_volume(name, volume));
        self.binding.touch_volume(name, volume);
    }

    /// The pod goes to this node: what its claims get there is nobody else's from now on.
    pub(super) fn promise_volumes(&mut self, pod: &PodInfo, node: &str, now: Instant) {
        self.break_promise(&pod.key, None);
        let profile = self.profiles.iter().find(|(name, _)| *name == pod.class.scheduler);
        let binds = |(_, profile): &(String, Profile)| {
            profile.plugins.iter().any(|enabled| enabled.filters && enabled.plugin.name() == VolumeBinding.name())
        };
        let Some(node) = self.snapshot.node_named(node).filter(|_| profile.is_some_and(binds)) else { return };
        let plan = Wants::of(&self.snapshot.volumes, &pod.class).plan(&node.spec);
        let Some(plan) = plan.filter(|plan| !plan.is_empty()).map(Arc::new) else { return };
        self.snapshot.volumes.assumed.insert(&pod.key, &plan);
        let promised = Promised { uid: pod.uid.clone(), begun: now, plan, state: State::Writing };
        self.binding.insert(&pod.key, promised);
    }

    /// The pod does not wait any more, whatever became of it; `but`: not the one with this uid. Others may have what it was promised
    /// and the cluster does not show as given.
    pub(super) fn break_promise(&mut self, key: &Key, but: Option<&str>) {
        if but.is_some_and(|uid| self.binding.has(key, uid)) {
            return;
        }
        self.binding.remove(key);
        if let Some(plan) = self.snapshot.volumes.assumed.remove(key) {
            let volumes = &self.snapshot.volumes;
            self.events.extend(plan.bindings.iter().map(|(_, volume)| volumes.changed(volume, None)));
            self.events.extend(plan.claims().map(|claim| Event::ClaimChanged(claim.key.clone())));
        }
    }
    pub(super) fn settle_volumes(&mut self, key: &Key, uid: &str) {
        if self.binding.has(key, uid) {
            self.break_promise(key, None);
        }
    }

    /// What is to be done for the claims of a pod that was just given a node, before it is bound.
    pub fn volumes_to_bind(&self, key: &Key, uid: &str) -> Option<Arc<Plan>> {
        self.binding.pods.get(key).filter(|promised| promised.uid == uid).map(|promised| Arc::clone(&promised.plan))
    }

    /// The cluster was told of what `volumes_to_bind` said.
    pub fn volumes_written(&mut self, key: &Key, uid: &str, written: Written, now: Instant) {
        let Some(promised) = self.binding.pods.get_mut(key).filter(|promised| promised.uid == uid) else { return };
        let until = now + BIND_MAX;
        promised.state = State::Waiting { written, until };
        self.binding.timers.insert((until, key.clone()));
        self.binding.dirty.insert(key.clone());
    }

    /// A pod whose wait is over. One that will not have its volumes waits for `settled` to take it back.
    pub fn next_waited(&mut self, now: Instant) -> Option<Waited> {
        loop {
            let late = self.binding.timers.first().filter(|(at, _)| *at <= now).map(|(_, key)| key.clone());
            let key = self.binding.dirty.pop_first().or(late)?;
            if let Some(waited) = self.binding.look(&key, &self.snapshot, now) {
                return Some(waited);
            }
        }
    }
}
