//! What is remembered of attachments in a term, beside the caches. All of it may be lost: then something is told again, or a
//! node that is silent has its six minutes anew.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use corten_api::Object;
use corten_api::k8s_openapi::api::storage::v1::VolumeAttachment;
use corten_client::Change;
use parking_lot::Mutex;
use tokio::sync::{Mutex as Turn, OwnedMutexGuard};
use tokio::time::Instant;

use super::Place;
use super::volume::{Volume, is_attached, volume_name};

/// Bounded by the attachments that there are and are wanted.
#[derive(Debug, Default)]
pub struct Memory(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Since when something is attached for nobody, by attachment.
    idle: HashMap<String, Instant>,
    /// Attachments that are about to go, and who wants so: no node's status may say that they are there. Two persistent volumes
    /// may be one, with one attachment.
    leaving: HashMap<String, BTreeSet<Place>>,
    /// Which node is about to get a volume that only one may have, and that no attachment shows yet.
    claimed: HashMap<Volume, String>,
    /// What nobody knows of whether it was made. Its claim is held.
    doubted: HashMap<Place, Volume>,
    /// Who has a node to himself, or waits for it.
    turns: HashMap<String, Arc<Turn<()>>>,
    /// Attachments that are done since a moment ago, and not told of.
    fresh: HashSet<String>,
    /// Why something is not attached, as its pods were told.
    told: HashMap<Place, String>,
}

impl Memory {
    pub fn clear(&self) {
        *self.0.lock() = State::default();
    }

    /// What an attacher has done, and what is gone.
    pub fn note(&self, change: &Change<'_, VolumeAttachment>) {
        match change {
            Change::Set { old: Some(old), new, .. } if is_attached(new) && !is_attached(old) => {
                self.0.lock().fresh.insert(new.name().to_owned());
            }
            Change::Removed { old, .. } => {
                let mut state = self.0.lock();
                state.leaving.remove(old.name());
                state.fresh.remove(old.name());
                state.idle.remove(old.name());
                if let Some(place) = place(old) {
                    state.told.remove(&place);
                }
            }
            _ => {}
        }
    }

    /// For how long it has been idle, if it is.
    pub fn idle(&self, attachment: &str, is_idle: bool, now: Instant) -> Duration {
        let mut state = self.0.lock();
        if !is_idle {
            state.idle.remove(attachment);
            return Duration::ZERO;
        }
        now.saturating_duration_since(*state.idle.entry(attachment.to_owned()).or_insert(now))
    }

    /// Nobody else says what is attached to the node, or detaches it, while this is held. Bounded by who does so.
    pub async fn turn(&self, node: &str) -> OwnedMutexGuard<()> {
        let turn = {
            let mut state = self.0.lock();
            state.turns.retain(|_, turn| Arc::strong_count(turn) > 1);
            Arc::clone(state.turns.entry(node.to_owned()).or_default())
        };
        turn.lock_owned().await
    }

    pub fn leave(&self, attachment: &str, place: &Place) {
        self.0.lock().leaving.entry(attachment.to_owned()).or_default().insert(place.clone());
    }

    /// It is to stay, as far as this place goes. Returns whether it was about to go, and who still wants so.
    pub fn stay(&self, attachment: &str, place: &Place) -> (bool, Vec<Place>) {
        let mut state = self.0.lock();
        let Some(all) = state.leaving.get_mut(attachment) else { return (false, Vec::new()) };
        let was_leaving = all.remove(place);
        let others: Vec<Place> = all.iter().cloned().collect();
        if others.is_empty() {
            state.leaving.remove(attachment);
        }
        (was_leaving, others)
    }

    pub fn is_leaving(&self, attachment: &str) -> bool {
        self.0.lock().leaving.contains_key(attachment)
    }

    /// Whether this node may have the volume: no other is about to get it.
    pub fn claim(&self, volume: &Volume, node: &str) -> bool {
        *self.0.lock().claimed.entry(volume.clone()).or_insert_with(|| node.to_owned()) == *node
    }

    pub fn release(&self, volume: &Volume, node: &str) {
        let mut state = self.0.lock();
        if state.claimed.get(volume).is_some_and(|by| by == node) {
            state.claimed.remove(volume);
        }
    }

    /// Nobody knows whether it is attached there: no other node may have it until somebody does.
    pub fn doubt(&self, place: &Place, volume: &Volume) {
        self.0.lock().doubted.insert(place.clone(), volume.clone());
    }

    pub fn doubted(&self, place: &Place) -> Option<Volume> {
        self.0.lock().doubted.get(place).cloned()
    }

    pub fn settle(&self, place: &Place, volume: &Volume) {
        self.0.lock().doubted.remove(place);
        self.release(volume, &place.node);
    }

    /// Whether it was attached since it was last asked.
    pub fn is_new(&self, attachment: &str) -> bool {
        self.0.lock().fresh.remove(attachment)
    }

    pub fn is_untold(&self, place: &Place, why: &str) -> bool {
        self.0.lock().told.insert(place.clone(), why.to_owned()).is_none_or(|before| before != why)
    }

    pub fn forget_told(&self, place: &Place) {
        self.0.lock().told.remove(place);
    }
}

pub fn place(attachment: &VolumeAttachment) -> Option<Place> {
    let volume = volume_name(attachment)?.to_owned();
    Some(Place { node: attachment.spec.node_name.clone(), volume })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_for_one_node_is_claimed_by_one_at_a_time() {
        let (memory, volume) = (Memory::default(), Volume { driver: "d".into(), handle: "h".into() });
        assert!(memory.claim(&volume, "n1") && memory.claim(&volume, "n1"));
        assert!(!memory.claim(&volume, "n2"));
        memory.release(&volume, "n2");
        assert!(!memory.claim(&volume, "n2"), "who has no claim lets go of none");
        memory.release(&volume, "n1");
        assert!(memory.claim(&volume, "n2"));
    }

    fn place(volume: &str) -> Place {
        Place { node: "n".into(), volume: volume.into() }
    }

    #[test]
    fn what_nobody_knows_of_is_claimed_until_somebody_does() {
        let (memory, volume) = (Memory::default(), Volume { driver: "d".into(), handle: "h".into() });
        assert!(memory.claim(&volume, "n"));
        memory.doubt(&place("pv"), &volume);
        assert_eq!((memory.doubted(&place("pv")), memory.doubted(&place("pv2"))), (Some(volume.clone()), None));
        assert!(!memory.claim(&volume, "n2"));
        memory.settle(&place("pv"), &volume);
        assert_eq!(memory.doubted(&place("pv")), None);
        assert!(memory.claim(&volume, "n2"));
    }

    #[test]
    fn idleness_begins_anew_with_each_use() {
        let (memory, began) = (Memory::default(), Instant::now());
        let secs = Duration::from_secs;
        let cases = [(true, 0, 0), (true, 10, 10), (false, 20, 0), (true, 30, 0), (true, 45, 15)];
        for (is_idle, at, expected) in cases {
            assert_eq!(memory.idle("csi-1", is_idle, began + secs(at)), secs(expected), "at {at} s");
        }
    }

    #[test]
    fn of_two_persistent_volumes_that_are_one_each_takes_back_what_it_said_itself() {
        let memory = Memory::default();
        let (a, b) = (place("a"), place("b"));
        assert_eq!(memory.stay("csi-1", &a), (false, vec![]));
        memory.leave("csi-1", &a);
        assert_eq!(memory.stay("csi-1", &b), (false, vec![a.clone()]));
        assert!(memory.is_leaving("csi-1"), "a has not looked again");
        memory.leave("csi-1", &b);
        assert_eq!(memory.stay("csi-1", &a), (true, vec![b.clone()]));
        assert_eq!(memory.stay("csi-1", &b), (true, vec![]));
        assert!(!memory.is_leaving("csi-1"));
    }

    #[tokio::test]
    async fn one_at_a_time_has_a_node() {
        let memory = Memory::default();
        let first = memory.turn("n").await;
        let mut second = std::pin::pin!(memory.turn("n"));
        assert!(tokio::time::timeout(Duration::ZERO, second.as_mut()).await.is_err());
        let other = memory.turn("n2").await;
        drop((first, other));
        let second = second.await;
        assert_eq!(memory.0.lock().turns.len(), 2);
        drop(second);
        drop(memory.turn("n3").await);
        assert_eq!(memory.0.lock().turns.len(), 1, "who is done with a node is forgotten");
    }

    #[test]
    fn why_something_is_not_attached_is_told_once() {
        let (memory, place) = (Memory::default(), Place { node: "n".into(), volume: "pv".into() });
        for (why, expected) in [("a", true), ("a", false), ("b", true), ("a", true)] {
            assert_eq!(memory.is_untold(&place, why), expected, "{why}");
        }
        memory.forget_told(&place);
        assert!(memory.is_untold(&place, "a"));
    }
}
