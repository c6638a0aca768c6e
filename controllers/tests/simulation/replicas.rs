//! The ReplicaSet controller, one small step at a time.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use corten_api::k8s_openapi::api::apps::v1::ReplicaSet;
use corten_api::k8s_openapi::api::core::v1::Pod;
use corten_api::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use corten_api::{Key, Object};
use corten_controllers::adopt::decide::claim;
use corten_controllers::pods::{Labels, SeenPod};
use corten_controllers::replicas::apply::pod_of;
use corten_controllers::replicas::decide::{Counts, Observed, Scale, decide};
use corten_controllers::replicas::{ReplicaOwner, candidate};

use crate::store::{Chance, Luck, Store, View};

enum Write {
    Create(Arc<ReplicaSet>),
    Delete(Key, String),
    Status(Arc<ReplicaSet>, Counts),
}

pub(crate) struct Controller {
    pub(crate) sets: View<ReplicaSet>,
    pub(crate) pods: View<Pod>,
    plan: VecDeque<Write>,
    /// What it has to have seen before it goes on: a revision of pods, one of ReplicaSets.
    awaits: (i64, i64),
}

impl Controller {
    pub(crate) fn new(store: &Store) -> Self {
        let (sets, pods) = (View::listed(&store.sets), View::listed(&store.pods));
        Self { sets, pods, plan: VecDeque::new(), awaits: (0, 0) }
    }

    pub(crate) fn step(&mut self, store: &mut Store, chance: &mut Chance, faults: usize) {
        if !self.pods.has_reached(&store.pods, self.awaits.0) || !self.sets.has_reached(&store.sets, self.awaits.1) {
            return;
        }
        // What is awaited is awaited between phases: a batch of creations goes out at once.
        let Some(write) = self.plan.pop_front() else {
            let sets = self.sets.list();
            if let Some(set) = chance.pick(&sets) {
                self.plan = self.plan_for(set, store);
            }
            return;
        };
        match Luck::draw(chance, faults) {
            Luck::Answered => self.write(store, write),
            Luck::Failed => self.plan.clear(),
            Luck::Unanswered => {
                self.write(store, write);
                // Before it decides again it waits for all that was written until now.
                self.awaits.0 = store.ids.revision;
                self.plan.clear();
            }
            Luck::Crash => {
                self.write(store, write);
                *self = Self::new(store);
            }
        }
    }

    fn plan_for(&self, set: &Arc<ReplicaSet>, store: &Store) -> VecDeque<Write> {
        let pods: Vec<Arc<SeenPod>> =
            self.pods.objects.values().map(|p| Arc::new(SeenPod::of(Pod::clone(p)))).collect();
        let selector = set.selector().unwrap();
        let claim = claim(set.uid(), set.is_deleting(), &selector, pods.iter().map(candidate));
        assert!(claim.is_settled(), "nobody changes labels here");
        let decision = decide(&Observed {
            now: store.ids.now,
            wanted: set.wanted(),
            generation: set.metadata.generation.unwrap_or(0),
            deleting: set.is_deleting(),
            min_ready_secs: set.min_ready_secs(),
            template_labels: &Labels::new(),
            pods: &claim.owned,
            neighbours: &BTreeMap::new(),
        });
        let mut plan: VecDeque<Write> = match decision.scale {
            Scale::Keep => VecDeque::new(),
            Scale::Create(count) => (0..count).map(|_| Write::Create(Arc::clone(set))).collect(),
            Scale::Delete(pods) => pods.iter().map(|p| Write::Delete(p.key.clone(), p.uid.clone())).collect(),
        };
        if set.counts() != decision.counts {
            plan.push_back(Write::Status(Arc::clone(set), decision.counts));
        }
        plan
    }

    fn write(&mut self, store: &mut Store, write: Write) {
        match write {
            Write::Create(set) => {
                let created = store.pods.create(&mut store.ids, pod_of(&*set).unwrap());
                self.awaits.0 = self.awaits.0.max(created.unwrap());
            }
            Write::Delete(key, uid) => {
                let now = store.ids.now;
                let deletion = |pod: &mut Pod| pod.metadata.deletion_timestamp = Some(Time(now));
                if let Ok(revision) = store.pods.edit(&mut store.ids, (&key, &uid), false, deletion) {
                    self.awaits.0 = self.awaits.0.max(revision);
                }
            }
            Write::Status(seen, counts) => {
                let newer = store.sets.get(&seen.key()).is_ok_and(|live| live.revision() != seen.revision());
                let now = Time(store.ids.now);
                let status = |set: &mut ReplicaSet| set.set_status(counts, None, &now);
                if !newer
                    && let Ok(revision) = store.sets.edit(&mut store.ids, (&seen.key(), seen.uid()), false, status)
                {
                    self.awaits.1 = self.awaits.1.max(revision);
                }
            }
        }
    }
}
