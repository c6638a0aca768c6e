//! The pods that have a node, or are assumed to have one: counting them in and out.

use std::collections::{BTreeMap, HashMap, btree_map, hash_map};
use std::sync::Arc;

use corten_api::Key;

use super::counts::ClassCounts;
use super::event::{AssignedPod, Event};
use super::node::{NodeId, PodId};
use super::{PODS, Snapshot};
use crate::pod::{PodClass, PodInfo};

/// A pod that counts on its node.
#[derive(Clone, Debug)]
pub struct PlacedPod {
    pub key: Key,
    pub uid: String,
    pub class: Arc<PodClass>,
    pub node: NodeId,
    /// Decided by us, not seen in the cluster yet.
    pub assumed: bool,
    pub deleting: bool,
    pub preempted: bool,
    pub started_secs: i64,
}

#[derive(Debug, Default)]
pub(super) struct PlacedPods {
    list: Vec<Option<PlacedPod>>,
    free: Vec<PodId>,
    by_key: HashMap<Key, PodId>,
    /// Pods of each priority.
    priorities: BTreeMap<i32, usize>,
    /// Pods that use each claim.
    claims: HashMap<Key, usize>,
}

/// What is known of a class while pods of it are placed.
#[derive(Debug, Default)]
pub(super) struct ClassEntry {
    pods: usize,
    amounts: Vec<(usize, i64)>,
    pub(super) counts: ClassCounts,
}

impl PlacedPods {
    #[expect(clippy::expect_used, reason = "an id is given back when its pod leaves its node's list")]
    pub(super) fn get(&self, id: PodId) -> &PlacedPod {
        self.list[id.0 as usize].as_ref().expect("a placed pod")
    }
    pub(super) fn iter(&self) -> impl Iterator<Item = &PlacedPod> {
        self.list.iter().flatten()
    }
    fn named(&self, key: &Key) -> Option<&PlacedPod> {
        self.by_key.get(key).map(|id| self.get(*id))
    }
    fn insert(&mut self, pod: PlacedPod) -> PodId {
        let key = pod.key.clone();
        *self.priorities.entry(pod.class.priority).or_default() += 1;
        for claim in pod.class.claim_keys() {
            *self.claims.entry(claim).or_default() += 1;
        }
        let id = match self.free.pop() {
            Some(id) => {
                self.list[id.0 as usize] = Some(pod);
                id
            }
            None => {
                self.list.push(Some(pod));
                PodId(u32::try_from(self.list.len() - 1).unwrap_or(u32::MAX))
            }
        };
        self.by_key.insert(key, id);
        id
    }
    fn remove(&mut self, key: &Key) -> Option<(PodId, PlacedPod)> {
        let id = self.by_key.remove(key)?;
        let pod = self.list[id.0 as usize].take()?;
        self.free.push(id);
        if let btree_map::Entry::Occupied(mut of) = self.priorities.entry(pod.class.priority) {
            *of.get_mut() -= 1;
            if *of.get() == 0 {
                of.remove();
            }
        }
        for claim in pod.class.claim_keys() {
            if let hash_map::Entry::Occupied(mut users) = self.claims.entry(claim) {
                *users.get_mut() -= 1;
                if *users.get() == 0 {
                    users.remove();
                }
            }
        }
        Some((id, pod))
    }
}

impl Snapshot {
    /// Takes in a pod as the cluster shows it; says what happened.
    pub fn set_pod(&mut self, pod: &PodInfo) -> Vec<Event> {
        let node = pod.node.as_ref().filter(|_| !pod.terminal);
        let placed = self.pods.named(&pod.key);
        match (node, placed) {
            // What we assumed stands until the cluster shows the pod bound, or bind says that it failed.
            (None, Some(p)) if p.assumed && p.uid == pod.uid && !pod.terminal => Vec::new(),
            (Some(node), Some(p)) if p.uid == pod.uid && self.node(p.node).name() == node => self.refresh(pod),
            (Some(node), _) => {
                let mut events = self.remove_pod(&pod.key);
                events.extend(self.count(pod, node, false));
                events
            }
            (None, _) => self.remove_pod(&pod.key),
        }
    }

    /// A placed pod that stays where it is.
    fn refresh(&mut self, pod: &PodInfo) -> Vec<Event> {
        let Some(id) = self.pods.by_key.get(&pod.key).copied() else { return Vec::new() };
        let Some(known) = self.pods.list[id.0 as usize].as_mut() else { return Vec::new() };
        (known.assumed, known.preempted, known.started_secs) = (false, pod.preempted, pod.started_secs);
        if known.class == pod.class && known.deleting == pod.deleting {
            return Vec::new();
        }
        let node = known.node;
        let node = self.node(node).name().to_owned();
        let mut old = self.uncount(&pod.key);
        let new = self.count(pod, &node, false);
        match (old.pop(), new) {
            (Some(Event::PodRemoved(old)), Some(Event::PodAdded(new))) => vec![Event::PodUpdated { old, new }],
            (old, new) => old.into_iter().chain(new).collect(),
        }
    }

    /// Counts a pod on the node that we have just chosen for it.
    pub fn assume(&mut self, pod: &PodInfo, node: &str) -> Vec<Event> {
        let mut events = self.remove_pod(&pod.key);
        events.extend(self.count(pod, node, true));
        events
    }

    /// Takes an assumption back; what the cluster has shown since stays.
    pub fn forget(&mut self, key: &Key, uid: &str) -> Vec<Event> {
        if self.is_assumed(key, uid) { self.remove_pod(key) } else { Vec::new() }
    }

    pub fn is_assumed(&self, key: &Key, uid: &str) -> bool {
        self.pods.named(key).is_some_and(|p| p.assumed && p.uid == uid)
    }

    /// The priority of the least urgent pod that has a node.
    pub fn lowest_priority(&self) -> Option<i32> {
        self.pods.priorities.keys().next().copied()
    }

    /// How many pods that have a node use a claim.
    pub fn users_of_claim(&self, claim: &Key) -> usize {
        self.pods.claims.get(claim).copied().unwrap_or(0)
    }

    pub fn remove_pod(&mut self, key: &Key) -> Vec<Event> {
        let node = self.pods.named(key).map(|p| p.node);
        let events = self.uncount(key);
        node.into_iter().for_each(|node| self.free_if_unused(node));
        events
    }

    /// What is taken of a node by a pod of a placed class, by column.
    pub fn amounts_of(&self, class: &PodClass) -> &[(usize, i64)] {
        self.classes.get(class).map(|entry| entry.amounts.as_slice()).unwrap_or_default()
    }

    fn count(&mut self, pod: &PodInfo, node: &str, assumed: bool) -> Option<Event> {
        let node = self.id_of(node);
        let class = self.enter(&pod.class);
        let placed = PlacedPod {
            key: pod.key.clone(),
            uid: pod.uid.clone(),
            class: Arc::clone(&class),
            node,
            assumed,
            deleting: pod.deleting,
            preempted: pod.preempted,
            started_secs: pod.started_secs,
        };
        let id = self.pods.insert(placed);
        let entry = self.classes.get(&class)?;
        self.nodes[node.at()].add(id, &class.ask, &entry.amounts);
        self.counts.count(&entry.counts, node, pod.deleting, 1);
        self.note_change(node);
        Some(Event::PodAdded(self.assigned(class, node)))
    }

    fn uncount(&mut self, key: &Key) -> Vec<Event> {
        let Some((id, pod)) = self.pods.remove(key) else { return Vec::new() };
        let Some(entry) = self.classes.get_mut(&pod.class) else { return Vec::new() };
        self.nodes[pod.node.at()].remove(id, &pod.class.ask, &entry.amounts);
        self.counts.count(&entry.counts, pod.node, pod.deleting, -1);
        entry.pods -= 1;
        if entry.pods == 0 {
            self.counts.leave(&entry.counts);
            self.classes.remove(&pod.class);
        }
        self.note_change(pod.node);
        vec![Event::PodRemoved(self.assigned(pod.class, pod.node))]
    }

    fn assigned(&self, class: Arc<PodClass>, node: NodeId) -> AssignedPod {
        AssignedPod { class, node: Arc::clone(&self.node(node).spec) }
    }

    /// One pod more of this class. All pods of a class share the class that is kept here.
    fn enter(&mut self, class: &Arc<PodClass>) -> Arc<PodClass> {
        if let Some((known, _)) = self.classes.get_key_value(class) {
            let known = Arc::clone(known);
            if let Some(entry) = self.classes.get_mut(class) {
                entry.pods += 1;
            }
            return known;
        }
        let mut amounts = vec![(PODS, 1)];
        for (name, amount) in &class.ask.requests {
            amounts.push((self.register_column(name), *amount));
        }
        let counts = self.counts.enter(class, &self.namespaces);
        self.classes.insert(Arc::clone(class), ClassEntry { pods: 1, amounts, counts });
        Arc::clone(class)
    }
}
