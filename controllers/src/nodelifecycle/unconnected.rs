//! Looks at nodes that no apiserver knows as connected. A leader that has just taken over missed the hints of before: the
//! machine that died may have been its predecessor's.
//!
//! All of them count as suspected from the beginning, so that none is looked at while they are too many: then it is more
//! likely an apiserver that was restarted. Who connects meanwhile, or is heard of, is let be.

pub mod decide;

use std::sync::Arc;
use std::time::Duration;

use corten_api::k8s_openapi::api::core::v1::Node;
use corten_api::{Key, node};
use corten_client::nodes::Told;
use corten_client::{CancellationToken, Next, WorkQueue, run_workers};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tracing::info;

use super::nodes::Nodes;
use super::probe::{Declined, Prober};
use super::reach;
use decide::Connections;

/// Looks under way at a time. Fewer than [`Prober`] has places: a node that is lost now must find one.
const WIDTH: usize = 16;
/// What each look takes at least: those at 5,000 nodes that answer are spread over a minute.
const PACE: Duration = Duration::from_millis(200);
/// Until a node is looked at again for which there was no place, or too many were suspected. It ends when the node is
/// heard of, or its lease is old.
const AGAIN_AFTER: Duration = Duration::from_secs(2);

/// Where the newest state of a node is found.
pub type Find = Arc<dyn Fn(&str) -> Option<Arc<Node>> + Send + Sync>;

pub struct Unconnected {
    connections: Mutex<Connections>,
    /// Something was told since.
    told: Notify,
    nodes: Arc<Nodes>,
    prober: Prober,
    find: Find,
    /// Nodes that have to be looked at.
    queue: WorkQueue<Key>,
}

impl Unconnected {
    /// At a takeover. `apiservers`: how many there are.
    pub fn new(apiservers: usize, nodes: Arc<Nodes>, prober: Prober, find: Find) -> Arc<Self> {
        let connections = Mutex::new(Connections::new(apiservers, Instant::now()));
        Arc::new(Self { connections, told: Notify::new(), nodes, prober, find, queue: WorkQueue::new() })
    }

    /// What an apiserver tells. A node that it has lost is looked at now, if there is a place.
    pub fn on_told(&self, apiserver: usize, told: Told<'_>) {
        match told {
            Told::Connected(names) => {
                self.connections.lock().connected(apiserver, names);
                names.iter().for_each(|name| self.nodes.unsuspect(name));
            }
            Told::Lost(names) => {
                self.connections.lock().lost(apiserver, names);
                let found = names.iter().filter_map(|name| (self.find)(name));
                found.for_each(|node| self.prober.look_at(&node));
            }
            Told::Complete => self.connections.lock().complete(apiserver, Instant::now()),
            Told::Ended => self.connections.lock().ended(apiserver, Instant::now()),
        }
        self.told.notify_one();
    }

    /// Until the end of the term.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let worker = Arc::clone(&self);
        let work = run_workers("nodelifecycle-unconnected", &self.queue, WIDTH, &stop, move |key| {
            let worker = Arc::clone(&worker);
            async move { Ok::<_, std::convert::Infallible>(worker.sync(&key).await) }
        });
        let decide = stop.run_until_cancelled(async {
            loop {
                self.wait_until_due().await;
                self.suspect_unconnected();
            }
        });
        tokio::join!(work, decide);
    }

    async fn wait_until_due(&self) {
        loop {
            let due = self.connections.lock().due();
            match due {
                Some(due) if due <= Instant::now() => return,
                Some(due) => tokio::select! { () = self.told.notified() => {}, () = sleep_until(due) => {} },
                None => self.told.notified().await,
            }
        }
    }

    /// Costs as much as there are nodes, once at a takeover and when an apiserver's stream has ended.
    fn suspect_unconnected(&self) {
        let unconnected: Vec<String> = {
            let mut connections = self.connections.lock();
            connections.looked();
            self.nodes.ready_names().into_iter().filter(|name| !connections.is_connected(name)).collect()
        };
        // The silence of others would mean nothing, and so does that they are not connected.
        let known = |name: &String| (self.find)(name).is_some_and(|node| reach::answered(&node).is_some());
        let suspects: Vec<String> = unconnected.into_iter().filter(known).collect();
        if !suspects.is_empty() {
            info!(nodes = suspects.len(), "no apiserver knows them as connected: looking whether they answer");
        }
        // All before the first is looked at: how many there are decides whether any is.
        suspects.iter().for_each(|name| self.nodes.mark_suspected(name));
        suspects.into_iter().for_each(|name| self.queue.add(Key::cluster(name)));
    }

    async fn sync(&self, key: &Key) -> Next {
        let node = (self.find)(&key.name).filter(|node| node::is_ready(node));
        let Some(node) = node.filter(|_| self.nodes.is_suspected(&key.name)) else { return Next::Done };
        if self.connections.lock().is_connected(&key.name) {
            self.nodes.unsuspect(&key.name);
            return Next::Done;
        }
        let over = Instant::now() + PACE;
        match self.prober.look(&node, "no apiserver knows it as connected").await {
            Ok(_) => {
                sleep_until(over).await;
                Next::Done
            }
            Err(Declined::NeedsNone) => Next::Done,
            Err(Declined::TooMany) => Next::After(AGAIN_AFTER),
        }
    }
}

#[cfg(test)]
mod tests;
