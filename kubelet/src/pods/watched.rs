//! Watches on the ConfigMaps and Secrets that are in volumes of this node's pods, and on no others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use corten_api::Object as _;
use k8s_openapi::api::core::v1::Pod;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::debug;

use super::News;
use crate::cluster::Cluster;
use crate::sources::{SourceRef, in_volumes};

/// Watches at a time. What is beyond is brought up to date by the workers' own refresh.
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

    fn start(&self, (namespace, source): &Place, cluster: &dyn Cluster) -> DropGuard {
        let stop = CancellationToken::new();
        let news = self.news.clone();
        let (in_namespace, reference) = (namespace.clone(), source.clone());
        let changed = move || {
            let told = News::SourceChanged { namespace: in_namespace.clone(), reference: reference.clone() };
            // Too much is going on: the workers' refresh will see the change.
            if let Some(news) = news.upgrade()
                && let Err(err) = news.try_send(told)
            {
                debug!(%err, "a changed source waits for the next refresh");
            }
        };
        cluster.watch_source(namespace, source, &stop, Box::new(changed));
        stop.drop_guard()
    }
}
