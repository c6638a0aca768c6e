//! Watches on the ConfigMaps and Secrets that are in volumes of this node's pods, and on no others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use corten_api::Object as _;
use k8s_openapi::api::core::v1::Pod;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::debug;

use super::News;
use crate::cluster::Cluster;
use crate::sources::{SourceRef, in_volumes};

/// Watches at a time. What is beyond is brought up to date with every comparison.
const WATCHES_MAX: usize = 256;

type Place = (String, SourceRef);

/// The watches that run; one ends when it is taken out.
pub(super) struct Watched {
    news: mpsc::WeakSender<News>,
    running: BTreeMap<Place, DropGuard>,
}

impl Watched {
    pub(super) fn new(news: &mpsc::Sender<News>) -> Self {
        Self { news: news.downgrade(), running: BTreeMap::new() }
    }

    /// Watches exactly what these pods have in volumes.
    pub(super) fn follow(&mut self, pods: &[Arc<Pod>], cluster: &dyn Cluster) {
        let of = |pod: &Arc<Pod>| {
            let namespace = pod.namespace().to_owned();
            in_volumes(pod).into_iter().map(move |source| (namespace.clone(), source))
        };
        let wanted: BTreeSet<Place> = pods.iter().flat_map(of).take(WATCHES_MAX).collect();
        self.running.retain(|place, _| wanted.contains(place));
        for place in wanted {
            if !self.running.contains_key(&place) {
                let guard = self.start(&place, cluster);
                self.running.insert(place, guard);
            }
        }
    }

    /// Whether the pod has something in volumes that there was no watch left for.
    pub(super) fn misses(&self, pod: &Pod) -> bool {
        let is_watched = |source| self.running.contains_key(&(pod.namespace().to_owned(), source));
        self.running.len() >= WATCHES_MAX && !in_volumes(pod).into_iter().all(is_watched)
    }

    fn start(&self, (namespace, source): &Place, cluster: &dyn Cluster) -> DropGuard {
        let stop = CancellationToken::new();
        let (news, waits) = (self.news.clone(), Arc::new(AtomicBool::new(false)));
        let (in_namespace, reference) = (namespace.clone(), source.clone());
        let changed = move || {
            let told = News::SourceChanged { namespace: in_namespace.clone(), reference: reference.clone() };
            let Some(news) = news.upgrade() else { return };
            // Much is going on, and nobody would tell of it again: one news for each watch waits until there is room.
            if let Err(TrySendError::Full(told)) = news.try_send(told)
                && !waits.swap(true, Ordering::Relaxed)
            {
                debug!("a changed source waits for the manager");
                let waits = Arc::clone(&waits);
                tokio::spawn(async move {
                    let room = news.reserve().await;
                    waits.store(false, Ordering::Relaxed);
                    // The manager is gone: nobody needs to know.
                    let _ = room.map(|room| room.send(told));
                });
            }
        };
        cluster.watch_source(namespace, source, &stop, Box::new(changed));
        stop.drop_guard()
    }
}
