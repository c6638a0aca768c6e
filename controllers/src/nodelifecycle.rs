//! Nodes: those that fall silent become Unknown, are tainted, and their pods leave.

pub mod apply;
pub mod decide;
pub mod evict;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use corten_api::k8s_openapi::api::coordination::v1::Lease;
use corten_api::k8s_openapi::api::core::v1::Node;
use corten_api::node::LEASE_NAMESPACE;
use corten_api::{ApiError, Key, Object, conditions, node};
use corten_client::{Change, EventType, Next, Watch, WorkQueue, run_workers};
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;

use crate::context::Context;
use crate::pods::SeenPod;
use decide::Observed;

const WORKERS: usize = 5;
/// Lost nodes whose pods begin to leave, one after the other: a fault of the network shows itself in between.
const EVICTION_EVERY: Duration = Duration::from_secs(10);

/// What is remembered of a node between looks.
#[derive(Clone, Debug)]
struct Heard {
    /// The newest heartbeats that we know of, to see when they change.
    lease: Option<Timestamp>,
    status: Option<Timestamp>,
    /// When one of them last changed. Not a time of day: a clock that is set anew must not lose all nodes.
    at: Instant,
    /// Whether it was ready at our last look.
    was_ready: Option<bool>,
}

impl Heard {
    fn first() -> Self {
        Self { lease: None, status: None, at: Instant::now(), was_ready: None }
    }
}

struct Controller {
    context: Context,
    queue: WorkQueue<Key>,
    heard: Arc<Mutex<HashMap<String, Heard>>>,
    /// When the next lost node's pods may begin to leave.
    next_eviction: Mutex<Instant>,
}

/// Its queue holds nodes.
pub async fn run(context: Context) {
    let queue = WorkQueue::new();
    let heard: Arc<Mutex<HashMap<String, Heard>>> = Arc::default();
    let leases = watch_leases(&context, &heard);
    if context.stop.run_until_cancelled(leases.synced()).await.is_none() {
        return;
    }
    let controller = Arc::new(Controller {
        context: context.clone(),
        queue: queue.clone(),
        heard,
        next_eviction: Mutex::new(Instant::now()),
    });
    let told = Arc::clone(&controller);
    context.caches.nodes.subscribe(move |change| told.on_node(change));
    let told = Arc::clone(&controller);
    context.caches.pods.subscribe(move |change| told.on_pod(change));
    run_workers("nodelifecycle", &queue, WORKERS, &context.stop, move |key| {
        let controller = Arc::clone(&controller);
        async move { controller.sync(&key).await }
    })
    .await;
}

/// A renewed Lease is only noted down: the node is looked at when its grace would be over.
fn watch_leases(context: &Context, heard: &Arc<Mutex<HashMap<String, Heard>>>) -> corten_client::Cache<()> {
    let heard = Arc::clone(heard);
    let note = move |lease: Lease| {
        let renewed = lease.spec.as_ref().and_then(|s| s.renew_time.as_ref()).map(|t| t.0);
        let mut heard = heard.lock();
        let entry = heard.entry(lease.name().to_owned()).or_insert_with(Heard::first);
        if entry.lease != renewed {
            (entry.lease, entry.at) = (renewed, Instant::now());
        }
    };
    Watch::<Lease>::all(&context.client).namespace(LEASE_NAMESPACE).start_reduced(&context.stop, note, |_| {})
}

impl Controller {
    fn on_node(&self, change: &Change<'_, Node>) {
        match change {
            Change::Set { key, old, new } => {
                if old.is_none() {
                    let message = format!("Node {} event: Registered Node {} in Controller", key.name, key.name);
                    self.context.recorder.event(&new.reference(), EventType::Normal, "RegisteredNode", message);
                }
                // One that is back may mean that those lost are really lost, or the other way round.
                if old.is_none_or(|old| node::is_ready(old) != node::is_ready(new)) {
                    self.context.caches.nodes.list().iter().for_each(|n| self.queue.add(n.key()));
                }
                self.note_status(new);
                self.queue.add((*key).clone());
            }
            Change::Removed { key, old } => {
                self.heard.lock().remove(&key.name);
                let message = format!("Node {} event: Removing Node {} from Controller", key.name, key.name);
                self.context.recorder.event(&old.reference(), EventType::Normal, "RemovingNode", message);
            }
            Change::Synced => {}
        }
    }

    fn note_status(&self, node: &Node) {
        let list = node.status.as_ref().and_then(|s| s.conditions.as_ref());
        let beat = conditions::find(list, "Ready").and_then(|c| c.last_heartbeat_time.as_ref()).map(|t| t.0);
        let mut heard = self.heard.lock();
        let entry = heard.entry(node.name().to_owned()).or_insert_with(Heard::first);
        if entry.status != beat {
            (entry.status, entry.at) = (beat, Instant::now());
        }
    }

    /// A pod that comes to a node that pods have to leave may have to leave at once.
    fn on_pod(&self, change: &Change<'_, SeenPod>) {
        let Change::Set { old, new, .. } = change else { return };
        let came = new.node.as_ref().filter(|n| old.is_none_or(|old| old.node.as_ref() != Some(n)));
        if let Some(name) = came {
            self.queue.add(Key::cluster(name.as_str()));
        }
    }

    async fn sync(&self, key: &Key) -> Result<Next, ApiError> {
        let Some(node) = self.context.caches.nodes.get(key) else { return Ok(Next::Done) };
        let now = Timestamp::now();
        let heard = self.heard.lock().entry(key.name.clone()).or_insert_with(Heard::first).clone();
        let evict_from = self.next_eviction().map(|at| time_of(at, now));
        let seen = Observed { now, node: &node, heard: time_of(heard.at, now), evict_from };
        let decision = decide::decide(&seen);
        self.apply(&node, decision, heard.was_ready).await
    }

    fn next_eviction(&self) -> Option<Instant> {
        let nodes = self.context.caches.nodes.list();
        let ready = nodes.iter().filter(|n| node::is_ready(n)).count();
        (!decide::is_disrupted(ready, nodes.len() - ready)).then(|| *self.next_eviction.lock())
    }
}

/// The time of day that `at` was or will be, if the clock has shown the right time ever since: it is `now`.
fn time_of(at: Instant, now: Timestamp) -> Timestamp {
    let (ahead, ago) = (at.saturating_duration_since(Instant::now()), at.elapsed());
    let signed = |d: Duration| SignedDuration::try_from(d).unwrap_or(SignedDuration::MAX);
    now.saturating_add(signed(ahead).saturating_sub(signed(ago))).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_heard_does_not_age_with_the_clock_of_the_day() {
        let heard = Instant::now() - Duration::from_secs(5);
        for now in [Timestamp::UNIX_EPOCH, Timestamp::from_second(2_000_000_000).unwrap()] {
            assert_eq!(now.duration_since(time_of(heard, now)).as_secs(), 5);
        }
    }
}
