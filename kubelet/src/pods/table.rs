//! Which pods have a worker: what the server reads and the manager writes.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use corten_client::pulse::{Beat, Hang, Pulse};
use k8s_openapi::api::core::v1::Pod;
use parking_lot::RwLock;
use tokio::time::Instant;

use super::COMPARE_EVERY;
use crate::pod::worker::Handle;
use crate::server::{PodView, Pods};
use crate::static_pods;

/// A turn of the manager takes no longer, nor the wait for one. Upstream allows its loop two of its periods as well.
const TURN_MAX: Duration = COMPARE_EVERY.saturating_mul(2);

/// Read access for the server, write access for the manager.
#[derive(Clone)]
pub struct Table {
    /// By uid.
    pub(super) workers: Arc<RwLock<HashMap<String, Handle>>>,
    /// The manager's.
    pulse: Pulse,
    /// When the manager is to compare all with the runtime next. It always has that to do, if nothing else.
    compares_at: Arc<RwLock<Option<Instant>>>,
}

impl Default for Table {
    fn default() -> Self {
        let pulse = Pulse::new(TURN_MAX, Instant::now());
        Self { workers: Arc::default(), pulse, compares_at: Arc::default() }
    }
}

impl Table {
    /// The manager takes something up, and has done so when this is dropped.
    pub(super) fn begin_turn(&self) -> Beat {
        self.pulse.begin(Instant::now())
    }
    pub(super) fn compares_at(&self, at: Instant) {
        *self.compares_at.write() = Some(at);
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
    fn is_moving(&self) -> Result<(), Hang> {
        self.pulse.check(Instant::now(), *self.compares_at.read())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_manager_that_stands_still_is_told_from_one_that_has_nothing_to_do() {
        let table = Table::default();
        let advance = |secs| tokio::time::advance(Duration::from_secs(secs));
        let turn = table.begin_turn();
        advance(120).await;
        assert_eq!(table.is_moving(), Ok(()));
        advance(1).await;
        let is_under_way = matches!(table.is_moving(), Err(Hang::UnderWay { .. }));
        assert!(is_under_way, "it waits for the runtime, say");
        drop(turn);
        table.compares_at(Instant::now() + COMPARE_EVERY);
        advance(60 + 120).await;
        assert_eq!(table.is_moving(), Ok(()));
        advance(1).await;
        assert!(matches!(table.is_moving(), Err(Hang::NotTakenUp { .. })), "it should have compared long ago");
        drop(table.begin_turn());
        assert_eq!(table.is_moving(), Ok(()));
    }
}
