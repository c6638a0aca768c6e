//! Nodes: those that fall silent become Unknown, are tainted, and their pods leave.

pub mod apply;
pub mod decide;
pub mod evict;
pub mod nodes;
pub mod probe;
pub mod reach;
#[cfg(test)]
mod simulation;
pub mod unconnected;
pub mod zones;

use std::collections::HashSet;
use std::sync::Arc;

use corten_api::k8s_openapi::api::coordination::v1::Lease;
use corten_api::k8s_openapi::api::core::v1::Node;
use corten_api::node::LEASE_NAMESPACE;
use corten_api::{ApiError, Key, Object};
use corten_client::nodes::watch_connections;
use corten_client::{Cache, Change, EventType, Next, Watch, WorkQueue, run_workers};
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;

use crate::context::Context;
use nodes::Nodes;
use probe::Prober;
use unconnected::Unconnected;

const WORKERS: usize = 5;
/// Nodes that were there for longer when a term began were told of by the leader before.
const TOLD_WITHIN: SignedDuration = SignedDuration::from_mins(1);

struct Controller {
    context: Context,
    nodes: Arc<Nodes>,
    /// From when on a node must have been created to be told of.
    told_from: Timestamp,
    /// Nodes that came and were not told of yet: events are written at the pace of looks, not of changes.
    came: Mutex<HashSet<String>>,
}

/// Its queue holds nodes.
pub async fn run(context: Context) {
    let queue = WorkQueue::new();
    let nodes = Arc::new(Nodes::new(queue.clone()));
    let leases = watch_leases(&context, &nodes);
    if context.stop.run_until_cancelled(leases.synced()).await.is_none() {
        return;
    }
    let now = Timestamp::now();
    let told_from = now.saturating_sub(TOLD_WITHIN).unwrap_or(now);
    let controller = Arc::new(Controller { context: context.clone(), nodes, told_from, came: Mutex::default() });
    let told = Arc::clone(&controller);
    context.caches.nodes.subscribe(move |change| told.on_node(change));
    let unconnected = watch_unconnected(&context, &controller.nodes);
    let told = Arc::clone(&controller.nodes);
    context.caches.pods.subscribe(move |change| told.on_pod(change));
    let work = run_workers("nodelifecycle", &queue, WORKERS, &context.stop, move |key| {
        let controller = Arc::clone(&controller);
        async move { controller.sync(&key).await }
    });
    tokio::join!(work, unconnected.run(context.stop.clone()), reach::run(context.clone(), probe::tcp()));
}

/// Hears from all apiservers which nodes are connected to them.
fn watch_unconnected(context: &Context, nodes: &Arc<Nodes>) -> Arc<Unconnected> {
    let (prober, seen) = (Prober::new(Arc::clone(nodes), probe::tcp()), context.caches.nodes.clone());
    let find = Arc::new(move |name: &str| seen.get(&Key::cluster(name)));
    let unconnected = Unconnected::new(context.client.apiservers(), Arc::clone(nodes), prober, find);
    let told = Arc::clone(&unconnected);
    watch_connections(&context.client, &context.stop, move |apiserver, what| told.on_told(apiserver, what));
    unconnected
}

fn watch_leases(context: &Context, nodes: &Arc<Nodes>) -> Cache<()> {
    let (renewed, removed) = (Arc::clone(nodes), Arc::clone(nodes));
    let note = move |lease: Lease| {
        let at = lease.spec.as_ref().and_then(|s| s.renew_time.as_ref()).map(|t| t.0);
        renewed.on_lease(lease.name(), at);
    };
    let watch = Watch::<Lease>::all(&context.client).namespace(LEASE_NAMESPACE);
    watch.start_reduced(&context.stop, note, move |change| {
        if let Change::Removed { key, .. } = change {
            removed.on_lease_removed(&key.name);
        }
    })
}

impl Controller {
    fn on_node(&self, change: &Change<'_, Node>) {
        match change {
            Change::Set { key, old: None, new } if new.created().is_some_and(|t| t.0 >= self.told_from) => {
                self.came.lock().insert(key.name.clone());
            }
            Change::Removed { key, old } => {
                self.came.lock().remove(&key.name);
                let message = format!("Node {} event: Removing Node {} from Controller", key.name, key.name);
                self.context.recorder.event(&old.reference(), EventType::Normal, "RemovingNode", message);
            }
            Change::Set { .. } | Change::Synced => {}
        }
        self.nodes.on_node(change);
    }

    async fn sync(&self, key: &Key) -> Result<Next, ApiError> {
        let Some(node) = self.context.caches.nodes.get(key) else { return Ok(Next::Done) };
        if self.came.lock().remove(&key.name) {
            let message = format!("Node {} event: Registered Node {} in Controller", key.name, key.name);
            self.context.recorder.event(&node.reference(), EventType::Normal, "RegisteredNode", message);
        }
        let (decision, was_ready) = self.nodes.decide(&node, Timestamp::now());
        self.apply(&node, decision, was_ready).await
    }
}
