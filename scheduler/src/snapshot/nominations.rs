//! Pods that wait for their place: room was made for them on a node, and pods that are no more urgent leave it to them.

use std::collections::HashMap;
use std::sync::Arc;

use corten_api::Key;

use crate::pod::PodClass;

/// Bounded by the pods that wait.
#[derive(Debug, Default)]
pub struct Nominations {
    by_pod: HashMap<Key, Nomination>,
    by_node: HashMap<String, Vec<Key>>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Nomination {
    pub uid: String,
    pub node: String,
    pub class: Arc<PodClass>,
}

impl Nominations {
    pub fn get(&self, pod: &Key) -> Option<&Nomination> {
        self.by_pod.get(pod)
    }
    /// The nodes that somebody is nominated for.
    pub fn nodes(&self) -> impl Iterator<Item = &str> {
        self.by_node.keys().map(String::as_str)
    }
    /// Of everybody who is nominated.
    pub fn classes(&self) -> impl Iterator<Item = &Arc<PodClass>> {
        self.by_pod.values().map(|nomination| &nomination.class)
    }
    /// Who is nominated for a node, in the order in which they were.
    pub fn of_node(&self, node: &str) -> impl Iterator<Item = (&Key, &Nomination)> {
        let keys = self.by_node.get(node).into_iter().flatten();
        keys.filter_map(move |key| Some((key, self.by_pod.get(key)?)))
    }
    pub fn set(&mut self, pod: &Key, nomination: Nomination) {
        self.remove(pod);
        self.by_node.entry(nomination.node.clone()).or_default().push(pod.clone());
        self.by_pod.insert(pod.clone(), nomination);
    }
    pub fn remove(&mut self, pod: &Key) -> Option<Nomination> {
        let gone = self.by_pod.remove(pod)?;
        if let Some(keys) = self.by_node.get_mut(&gone.node) {
            keys.retain(|key| key != pod);
            if keys.is_empty() {
                self.by_node.remove(&gone.node);
            }
        }
        Some(gone)
    }
}
