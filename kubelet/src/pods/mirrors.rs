//! Static pods and their mirrors: what runs because of a file, and how the API is shown it.

use std::collections::HashMap;
use std::sync::Arc;

use corten_api::{Key, Object as _};
use k8s_openapi::api::core::v1::Pod;

use super::{Manager, tell};
use crate::pod::size::{Share, Wish};
use crate::pod::worker::{Beginning, Handle, Msg};
use crate::static_pods;

impl Manager {
    pub(super) async fn static_pods(&mut self, pods: Vec<Pod>) {
        let wanted: HashMap<Key, Arc<Pod>> = pods.into_iter().map(|p| (p.key(), Arc::new(p))).collect();
        let before = std::mem::replace(&mut self.statics, wanted);
        for (key, old) in before {
            if self.statics.get(&key).is_none_or(|new| new.uid() != old.uid()) {
                if let Some(handle) = self.table.get(old.uid()) {
                    tell(&handle, Msg::Removed { grace: None }).await;
                }
                if let Some(mirror) = self.api.get(&key) {
                    self.place.statuses.saw(old.uid(), mirror);
                }
            }
        }
        let all: Vec<_> = self.statics.values().cloned().collect();
        for pod in all {
            // One that replaces a pod which still ends waits for it: they share names and ports.
            let same_name = |h: &Handle| {
                let have = h.shared.pod.read();
                have.key() == pod.key() && have.uid() != pod.uid()
            };
            if self.table.get(pod.uid()).is_none() && !self.table.handles().iter().any(same_name) {
                self.begin_static(pod);
            }
        }
    }

    pub(super) fn begin_static(&mut self, pod: Arc<Pod>) {
        let found = self.found.remove(pod.uid());
        let key = pod.key();
        match self.api.get(&key) {
            Some(mirror) => self.place.statuses.saw(pod.uid(), mirror),
            None => self.make_mirror(&pod),
        }
        let beginning = found.map_or(Beginning::New, |f| Beginning::Found(f.pod));
        let share = Share { generation: pod.metadata.generation, wish: Wish::Granted };
        self.start_worker(pod, share, beginning);
    }

    fn make_mirror(&self, pod: &Arc<Pod>) {
        let (place, pod) = (Arc::clone(&self.place), Arc::downgrade(pod));
        tokio::spawn(async move { static_pods::make_mirror(&place, pod).await });
    }

    pub(super) async fn mirror_seen(&mut self, key: &Key, mirror: &Arc<Pod>) {
        let Some(pod) = self.statics.get(key).cloned() else {
            // Its file is gone: so is the mirror.
            self.place.statuses.saw(mirror.uid(), mirror);
            self.place.statuses.finalize(mirror.uid());
            return;
        };
        let hash = mirror.annotation(corten_api::pod::MIRROR_ANNOTATION);
        if hash != pod.annotation(static_pods::HASH_ANNOTATION) || mirror.is_deleting() {
            self.place.statuses.saw(mirror.uid(), mirror);
            self.place.statuses.finalize(mirror.uid());
            return;
        }
        self.place.statuses.saw(pod.uid(), mirror);
        if let Some(handle) = self.table.get(pod.uid()) {
            tell(&handle, Msg::Republish).await;
        }
    }

    /// Somebody deleted the mirror; the static pod does not care, and gets a new one.
    pub(super) async fn mirror_gone(&mut self, key: &Key) {
        if let Some(pod) = self.statics.get(key).cloned() {
            self.place.statuses.forget(pod.uid());
            self.make_mirror(&pod);
        }
    }
}
