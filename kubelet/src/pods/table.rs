//! Which pods have a worker: what the server reads and the manager writes.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use parking_lot::RwLock;

use crate::pod::worker::Handle;
use crate::server::{PodView, Pods};
use crate::static_pods;

/// Read access for the server, write access for the manager.
#[derive(Clone, Default)]
pub struct Table {
    /// By uid.
    pub(super) workers: Arc<RwLock<HashMap<String, Handle>>>,
    /// When the manager was last seen at work.
    seen: Arc<RwLock<Option<Instant>>>,
}

impl Table {
    pub(super) fn beat(&self) {
        *self.seen.write() = Some(Instant::now());
    }
    pub(super) fn get(&self, uid: &str) -> Option<Handle> {
        self.workers.read().get(uid).cloned()
    }
    pub(super) fn handles(&self) -> Vec<Handle> {
        self.workers.read().values().cloned().collect()
    }
    /// Pods that hold a share of the node.
    pub fn active(&self) -> Vec<Arc<Pod>> {
        let active = |h: &&Handle| !h.shared.over.load(std::sync::atomic::Ordering::Relaxed);
        self.workers.read().values().filter(active).map(|h| Arc::clone(&h.shared.pod.read())).collect()
    }
}

impl Pods for Table {
    fn find(&self, namespace: &str, name: &str, uid: &str) -> Option<PodView> {
        let views = self.workers.read();
        // Of two by one name the newer is the one that is meant; a uid says which. Whoever asks knows a static pod by
        // its mirror, which has a uid of its own.
        let is_meant = |handle: &&Handle| {
            let view = handle.shared.view.read();
            view.namespace == namespace
                && view.name == name
                && (uid.is_empty() || view.uid == uid || static_pods::is_static(&handle.shared.pod.read()))
        };
        let mut found: Vec<PodView> =
            views.values().filter(is_meant).map(|handle| handle.shared.view.read().clone()).collect();
        found.sort_by_key(|v| v.containers.iter().any(|c| c.current.as_ref().is_some_and(|i| i.running)));
        found.pop()
    }
    fn idle_for(&self) -> Option<Duration> {
        self.seen.read().map(|at| at.elapsed())
    }
    fn all(&self) -> Vec<PodView> {
        self.workers.read().values().map(|h| h.shared.view.read().clone()).collect()
    }
    fn pod_list_json(&self) -> Vec<u8> {
        let pods: Vec<Arc<Pod>> = self.workers.read().values().map(|h| Arc::clone(&h.shared.pod.read())).collect();
        let items: Vec<&Pod> = pods.iter().map(Arc::as_ref).collect();
        let list = serde_json::json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items});
        list.to_string().into_bytes()
    }
}
