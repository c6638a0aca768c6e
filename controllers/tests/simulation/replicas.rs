//! The ReplicaSet controller, one small step at a time. As many items are under way as there are ReplicaSets.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use corten_api::k8s_openapi::api::apps::v1::ReplicaSet;
use corten_api::k8s_openapi::api::core::v1::Pod;
use corten_api::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use corten_api::{Key, Object};
use corten_client::seeds::Chance;
use corten_controllers::adopt::decide::claim;
use corten_controllers::intents::{Answer, Ask, Intents, Phase};
use corten_controllers::pods::{Labels, SeenPod};
use corten_controllers::replicas::apply::pod_of;
use corten_controllers::replicas::decide::{Counts, Observed, Scale, decide};
use corten_controllers::replicas::{ReplicaOwner, candidate};

use crate::children::{Maker, send};
use crate::store::{Ids, Luck, Store, Table, View};

enum Write {
    Child { ask: Ask<()>, again: bool },
    Status(Counts),
}

/// A ReplicaSet that a worker has in hand.
struct Item {
    set: Arc<ReplicaSet>,
    plan: VecDeque<Write>,
}

pub(crate) struct Controller {
    pub(crate) sets: View<ReplicaSet>,
    pub(crate) pods: View<Pod>,
    in_hand: BTreeMap<Key, Item>,
    /// By owner: its uid, and what was asked for it.
    open: BTreeMap<Key, (String, Intents<()>)>,
    /// The revision of a ReplicaSet that it has to have seen before it looks at it again.
    awaits: BTreeMap<Key, i64>,
    names: u64,
    /// Its fence.
    term: u64,
}

impl Controller {
    pub(crate) fn new(store: &Store) -> Self {
        Self {
            sets: View::listed(&store.sets),
            pods: View::listed(&store.pods),
            in_hand: BTreeMap::new(),
            open: BTreeMap::new(),
            awaits: BTreeMap::new(),
            names: 0,
            term: store.term,
        }
    }

    /// Another leader's names are others.
    pub(crate) fn names_begin_at(&mut self, first: u64) {
        self.names = first;
    }

    pub(crate) fn step(&mut self, store: &mut Store, chance: &mut Chance, faults: usize) {
        let mut keys: Vec<Key> = self.sets.objects.keys().chain(self.in_hand.keys()).cloned().collect();
        keys.dedup();
        let Some(key) = chance.pick(&keys).cloned() else { return };
        let Some(mut item) = self.in_hand.remove(&key) else {
            if let Some(item) = self.look(&key, store) {
                self.in_hand.insert(key, item);
            }
            return;
        };
        // A batch goes out at once: its writes are done in any order.
        let asks = item.plan.iter().take_while(|write| matches!(write, Write::Child { .. })).count();
        let Some(write) = item.plan.remove(chance.below(asks)) else { return };
        let luck = Luck::draw(chance, faults);
        let goes_on = self.write(store, chance, &item.set, write, luck);
        if luck == Luck::Crash {
            let names = self.names;
            *self = Self::new(store);
            self.names = names;
            return;
        }
        if !goes_on && chance.percent(50) {
            // What was not sent yet is not sent.
            item.plan.retain(|write| matches!(write, Write::Status(_)));
        }
        if !item.plan.is_empty() {
            self.in_hand.insert(key, item);
        }
    }

    fn look(&mut self, key: &Key, store: &Store) -> Option<Item> {
        let Some(set) = self.sets.objects.get(key).cloned() else {
            self.open.remove(key);
            return None;
        };
        if !self.sets.has_reached(&store.sets, self.awaits.get(key).copied().unwrap_or(0)) {
            return None;
        }
        let reached = self.pods.reached(&store.pods);
        let pods = &self.pods.objects;
        let shows = |name: &str, uid: &str| {
            let shown = pods.get(&Key::new("default", name));
            shown.is_some_and(|pod| pod.uid() == uid && !pod.is_deleting())
        };
        let (uid, open) = self.open.entry(key.clone()).or_default();
        if uid != set.uid() {
            (*uid, *open) = (set.uid().to_owned(), Intents::default());
        }
        if set.is_deleting() {
            open.drop_creates();
        }
        let plan = match open.phase(reached, shows) {
            Phase::AskAgain(asks) => asks.into_iter().map(|ask| Write::Child { ask, again: true }).collect(),
            Phase::Await => return None,
            Phase::Decide => {
                open.forget_seen();
                self.plan_for(&set, store)
            }
        };
        Some(Item { set, plan })
    }

    fn plan_for(&mut self, set: &Arc<ReplicaSet>, store: &Store) -> VecDeque<Write> {
        let pods: Vec<Arc<SeenPod>> =
            self.pods.objects.values().map(|p| Arc::new(SeenPod::of(Pod::clone(p)))).collect();
        let selector = set.selector().unwrap().into();
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
        let child = |ask| Write::Child { ask, again: false };
        let mut plan: VecDeque<Write> = match decision.scale {
            Scale::Keep => VecDeque::new(),
            Scale::Create(count) => {
                let first = self.names + 1;
                self.names += count as u64;
                let name = |n: u64| format!("{}-{n}", set.name());
                (first..=self.names).map(|n| child(Ask::Create { name: name(n), what: () })).collect()
            }
            Scale::Delete(pods) => {
                let ask = |p: &Arc<SeenPod>| child(Ask::Delete { name: p.key.name.clone(), uid: p.uid.clone() });
                pods.iter().map(ask).collect()
            }
        };
        if set.counts() != decision.counts {
            plan.push_back(Write::Status(decision.counts));
        }
        plan
    }

    /// False: it failed, as far as the controller knows.
    fn write(&mut self, store: &mut Store, chance: &mut Chance, set: &ReplicaSet, write: Write, luck: Luck) -> bool {
        match write {
            _ if self.term != store.term => false,
            Write::Child { ask, again } => {
                let delete = |pods: &mut Table<Pod>, ids: &mut Ids, key: &Key| {
                    let (uid, now) = (pods.live[key].uid().to_owned(), ids.now);
                    let deletion = |pod: &mut Pod| pod.metadata.deletion_timestamp = Some(Time(now));
                    pods.edit(ids, (key, &uid), false, deletion).unwrap()
                };
                let make = |name: &str, (): &()| pod_of(set, name);
                let maker = Maker { owner_uid: set.uid(), make: &make, delete: &delete };
                let (_, open) = self.open.get_mut(&set.key()).unwrap();
                let answer = send(open, (&mut store.pods, &mut store.ids), (&ask, again), (luck, chance), &maker);
                matches!(answer, Answer::Done { .. } | Answer::Gone)
            }
            Write::Status(_) if luck == Luck::Failed => false,
            Write::Status(counts) => {
                let newer = store.sets.get(&set.key()).is_ok_and(|live| live.revision() != set.revision());
                let now = Time(store.ids.now);
                let status = |set: &mut ReplicaSet| set.set_status(counts, None, &now);
                if !newer
                    && let Ok(revision) = store.sets.edit(&mut store.ids, (&set.key(), set.uid()), false, status)
                    && luck == Luck::Answered
                {
                    self.awaits.insert(set.key(), revision);
                }
                true
            }
        }
    }
}
