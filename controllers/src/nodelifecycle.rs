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
use corten_client::{Cache, Change, EventType, Next, Recorder, Watch};
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;

use crate::context::Context;
use crate::controller::{Controller, Loop, Setup, maps};
use crate::pods::SeenPod;
use nodes::Nodes;
use probe::Prober;
use unconnected::Unconnected;

/// A node that is older when it is first seen in a term was told of by the leader before.
const TOLD_WITHIN: SignedDuration = SignedDuration::from_mins(1);

struct NodeLifecycle {
    context: Context,
    nodes: Arc<Nodes>,
    came: Came,
}

/// Nodes that came and were not told of yet: events are written at the pace of looks, not of changes.
#[derive(Clone, Default)]
struct Came(Arc<Mutex<HashSet<String>>>);

/// Its items are nodes.
pub fn controller(setup: &Setup) -> Loop {
    let (of_nodes, of_pods) = (setup.caches.of::<Node>(), setup.caches.of::<SeenPod>());
    let (came, recorder) = (Came::default(), setup.recorder.clone());
    let noted = came.clone();
    let this = Controller::new(setup).watches(&of_nodes, move |change| {
        noted.note(change, &recorder);
        maps::own(change)
    });
    let nodes = Arc::new(Nodes::new(this.queue(), Cache::clone(&of_pods)));
    watch_leases(setup, &nodes);
    let (told, podded) = (Arc::clone(&nodes), Arc::clone(&nodes));
    of_nodes.subscribe(move |change| told.on_node(change));
    let of_term = Arc::clone(&nodes);
    this.watches(&of_pods, move |change| podded.left_by(change))
        .beside(move |context| {
            let unconnected = watch_unconnected(&context, &of_term);
            async move { unconnected.run(context.stop.clone()).await }
        })
        .run(move |context, key| {
            let this = NodeLifecycle { context, nodes: Arc::clone(&nodes), came: came.clone() };
            async move { this.sync(&key).await }
        })
}

/// Hears from all apiservers which nodes are connected to them.
fn watch_unconnected(context: &Context, nodes: &Arc<Nodes>) -> Arc<Unconnected> {
    let (prober, seen) = (Prober::new(Arc::clone(nodes), probe::tcp()), context.caches.of::<Node>());
    let find = Arc::new(move |name: &str| seen.get(&Key::cluster(name)));
    let unconnected = Unconnected::new(context.client.apiservers(), Arc::clone(nodes), prober, find);
    let told = Arc::clone(&unconnected);
    watch_connections(&context.client, &context.stop, move |apiserver, what| told.on_told(apiserver, what));
    unconnected
}

fn watch_leases(setup: &Setup, nodes: &Arc<Nodes>) {
    let (renewed, removed) = (Arc::clone(nodes), Arc::clone(nodes));
    let note = move |lease: Lease| {
        let at = lease.spec.as_ref().and_then(|s| s.renew_time.as_ref()).map(|t| t.0);
        renewed.on_lease(lease.name(), at);
    };
    let leases = setup.caches.own(|client| Watch::<Lease>::all(client).namespace(LEASE_NAMESPACE), note);
    leases.subscribe(move |change| {
        if let Change::Removed { key, .. } = change {
            removed.on_lease_removed(&key.name);
        }
    });
}

impl Came {
    fn note(&self, change: &Change<'_, Node>, recorder: &Recorder) {
        match change {
            Change::Set { key, old: None, new } => {
                let now = Timestamp::now();
                let told_from = now.saturating_sub(TOLD_WITHIN).unwrap_or(now);
                if new.created().is_some_and(|t| t.0 >= told_from) {
                    self.0.lock().insert(key.name.clone());
                }
            }
            Change::Removed { key, old } => {
                self.0.lock().remove(&key.name);
                let message = format!("Node {} event: Removing Node {} from Controller", key.name, key.name);
                recorder.event(&old.reference(), EventType::Normal, "RemovingNode", message);
            }
            Change::Set { .. } | Change::Synced => {}
        }
    }
}

impl NodeLifecycle {
    async fn sync(&self, key: &Key) -> Result<Next, ApiError> {
        let Some(node) = self.context.caches.of::<Node>().get(key) else { return Ok(Next::Done) };
        if self.came.0.lock().remove(&key.name) {
            let message = format!("Node {} event: Registered Node {} in Controller", key.name, key.name);
            self.context.recorder.event(&node.reference(), EventType::Normal, "RegisteredNode", message);
        }
        let (decision, was_ready) = self.nodes.decide(&node, Timestamp::now());
        self.apply(&node, decision, was_ready).await
    }
}
