//! What the pods of each node refer to by name, kept as they change: what a node may read is a look-up. Upstream's node
//! authorizer keeps such a graph, too.

use std::collections::HashMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::PodSpec;
use serde::Deserialize;

use super::Item;
use crate::registry::pod::references::{self, Source};

/// The references of one pod, each once. Shared by the pods of a node that refer to the same.
pub(super) type References = Vec<Reference>;

/// Something that a pod refers to, by its `namespace/name`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Reference {
    source: Source,
    key: Arc<str>,
}

/// By node; a pod without one refers to nothing here, and is not kept.
#[derive(Debug, Default)]
pub(super) struct Graph {
    nodes: HashMap<Arc<str>, HashMap<Reference, usize>>,
    /// The node of each pod, and what it refers to: its going needs no second reading.
    pods: HashMap<Box<str>, (Arc<str>, References)>,
}

/// What a pod refers to. Costs one reading of its spec: not to be done under a lock.
pub(super) fn references_of(pod: &Item) -> Result<References, serde_json::Error> {
    #[derive(Deserialize)]
    struct Specified {
        spec: Option<PodSpec>,
    }
    let Specified { spec } = serde_json::from_slice(&pod.object())?;
    let mut found = References::new();
    if let Some(spec) = &spec {
        let namespace = pod.namespace();
        references::each(pod.name(), spec, |source, name| {
            found.push(Reference { source, key: format!("{namespace}/{name}").into() });
        });
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

impl Graph {
    /// Whether a pod on this node refers to `name` in `namespace`. Costs the same whatever pods there are.
    pub(super) fn refers(&self, node: &str, source: Source, namespace: &str, name: &str) -> bool {
        let Some(references) = self.nodes.get(node) else { return false };
        references.contains_key(&Reference { source, key: format!("{namespace}/{name}").into() })
    }
    /// The pod of this key is so now. `node`: empty for none.
    pub(super) fn put(&mut self, pod: &str, node: &str, references: References) {
        self.remove(pod);
        if node.is_empty() || references.is_empty() {
            return;
        }
        let node = self.nodes.get_key_value(node).map_or_else(|| Arc::from(node), |(known, _)| known.clone());
        let counts = self.nodes.entry(node.clone()).or_default();
        for reference in &references {
            *counts.entry(reference.clone()).or_default() += 1;
        }
        self.pods.insert(pod.into(), (node, references));
    }
    pub(super) fn remove(&mut self, pod: &str) {
        let Some((node, references)) = self.pods.remove(pod) else { return };
        let Some(counts) = self.nodes.get_mut(&node) else { return };
        for reference in &references {
            if let Some(count) = counts.get_mut(reference) {
                *count -= 1;
                if *count == 0 {
                    counts.remove(reference);
                }
            }
        }
        if counts.is_empty() {
            self.nodes.remove(&node);
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.nodes.is_empty() && self.pods.is_empty()
    }
}
