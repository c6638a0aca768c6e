//! 5,000 nodes under virtual time: what a takeover, a silence of all and their return cost.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use corten_api::k8s_openapi::api::core::v1::{Node, NodeCondition, NodeSpec, NodeStatus};
use corten_api::k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use corten_api::{Key, Object, conditions, node};
use corten_client::{CancellationToken, Change, Next, WorkQueue, run_workers};
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::decide::{Decision, is_eviction};
use super::nodes::Nodes;

const NODES: u64 = 5_000;
const WORKERS: usize = 5;
const RENEW_EVERY: Duration = Duration::from_secs(10);

/// The cluster, and what was asked of it.
struct Cluster {
    nodes: Nodes,
    queue: WorkQueue<Key>,
    objects: Mutex<BTreeMap<Key, Arc<Node>>>,
    began: Instant,
    silent: AtomicBool,
    syncs: AtomicU64,
    writes: AtomicU64,
}

impl Cluster {
    /// A new term of a leader that finds all nodes there.
    fn taken_over() -> Arc<Self> {
        let queue = WorkQueue::new();
        let cluster = Arc::new(Self {
            nodes: Nodes::new(queue.clone(), corten_client::Cache::default()),
            queue,
            objects: Mutex::default(),
            began: Instant::now(),
            silent: AtomicBool::new(false),
            syncs: AtomicU64::new(0),
            writes: AtomicU64::new(0),
        });
        for n in 0..NODES {
            cluster.put(ready_node(n, cluster.now()));
        }
        cluster
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_second(1_000_000).unwrap() + SignedDuration::try_from(self.began.elapsed()).unwrap()
    }

    fn put(&self, node: Node) {
        let (key, new) = (node.key(), Arc::new(node));
        let old = self.objects.lock().insert(key.clone(), Arc::clone(&new));
        self.nodes.on_node(&Change::Set { key: &key, old: old.as_ref(), new: &new });
    }

    async fn sync(&self, key: Key) -> Result<Next, std::convert::Infallible> {
        self.syncs.fetch_add(1, Ordering::Relaxed);
        let Some(node) = self.objects.lock().get(&key).cloned() else { return Ok(Next::Done) };
        let (decision, _) = self.nodes.decide(&node, self.now());
        self.nodes.note_readiness(&node);
        tokio::time::sleep(Duration::from_millis(2)).await;
        let wake = decision.wake_after;
        self.write(&node, decision);
        Ok(wake.map_or(Next::Done, Next::After))
    }

    fn write(&self, node: &Node, decision: Decision) {
        let mut node = node.clone();
        if let Some(list) = decision.conditions {
            node.status.get_or_insert_default().conditions = Some(list);
        } else if let Some(taints) = decision.taints {
            if decision.begins_eviction {
                self.nodes.eviction_began(node.name());
            }
            node.spec.get_or_insert_default().taints = Some(taints);
        } else {
            return;
        }
        self.writes.fetch_add(1, Ordering::Relaxed);
        self.put(node);
    }

    /// What kubelets do: renew their leases, and say that they are ready if it is not known.
    async fn kubelets(&self) {
        loop {
            if !self.silent.load(Ordering::Relaxed) {
                let nodes: Vec<Arc<Node>> = self.objects.lock().values().cloned().collect();
                for node in nodes {
                    self.nodes.on_lease(node.name(), Some(self.now()));
                    if !node::is_ready(&node) {
                        let mut back = Node::clone(&node);
                        back.status = ready_node(0, self.now()).status;
                        self.put(back);
                    }
                }
            }
            tokio::time::sleep(RENEW_EVERY).await;
        }
    }

    fn count(&self, what: impl Fn(&Node) -> bool) -> u64 {
        self.objects.lock().values().filter(|node| what(node)).count() as u64
    }

    /// Lets so much time pass; returns adds, syncs and writes in it, by node.
    async fn pass(&self, secs: u64) -> (f64, f64, f64) {
        let counts = || (self.queue.adds(), self.syncs.load(Ordering::Relaxed), self.writes.load(Ordering::Relaxed));
        let before = counts();
        tokio::time::sleep(Duration::from_secs(secs)).await;
        let after = counts();
        let by_node = |after: u64, before: u64| (after - before) as f64 / NODES as f64;
        (by_node(after.0, before.0), by_node(after.1, before.1), by_node(after.2, before.2))
    }
}

fn ready_node(n: u64, now: Timestamp) -> Node {
    let condition = |kind: &str, status: &str| NodeCondition {
        type_: kind.into(),
        status: status.into(),
        last_heartbeat_time: Some(Time(now)),
        ..NodeCondition::default()
    };
    let list = ["MemoryPressure", "DiskPressure", "PIDPressure"].map(|kind| condition(kind, "False"));
    let conditions = list.into_iter().chain([condition("Ready", "True")]).collect();
    Node {
        metadata: ObjectMeta { name: Some(format!("node-{n}")), ..ObjectMeta::default() },
        spec: Some(NodeSpec::default()),
        status: Some(NodeStatus { conditions: Some(conditions), ..NodeStatus::default() }),
    }
}

fn is_unknown(node: &Node) -> bool {
    let list = node.status.as_ref().and_then(|s| s.conditions.as_ref());
    conditions::find(list, "Ready").is_some_and(|ready| ready.status == "Unknown")
}

#[tokio::test(start_paused = true)]
async fn five_thousand_nodes_are_taken_over_fall_silent_and_come_back_at_a_constant_cost_each() {
    let cluster = Cluster::taken_over();
    assert!(cluster.queue.adds() <= NODES, "{} adds at the takeover", cluster.queue.adds());
    let stop = CancellationToken::new();
    let (kubelets, worked, queue) = (Arc::clone(&cluster), Arc::clone(&cluster), cluster.queue.clone());
    let own = stop.clone();
    tokio::spawn(async move { own.run_until_cancelled(kubelets.kubelets()).await });
    let own = stop.clone();
    tokio::spawn(async move {
        run_workers("nodelifecycle", &queue, WORKERS, &own, move |key| {
            let cluster = Arc::clone(&worked);
            async move { cluster.sync(key).await }
        })
        .await;
    });
    let (adds, syncs, writes) = cluster.pass(120).await;
    assert!(adds <= 6.0 && syncs <= 6.0 && writes == 0.0, "quiet: {adds} adds, {syncs} syncs, {writes} writes");

    cluster.silent.store(true, Ordering::Relaxed);
    let (adds, syncs, writes) = cluster.pass(300).await;
    assert_eq!(cluster.count(is_unknown), NODES);
    assert!(adds <= 8.0 && syncs <= 8.0 && writes <= 2.1, "silent: {adds} adds, {syncs} syncs, {writes} writes");
    let left = cluster.count(|node| node::taints(node).iter().any(is_eviction));
    assert!(left <= 100, "pods begin to leave {left} nodes although all are lost");

    cluster.silent.store(false, Ordering::Relaxed);
    let (adds, syncs, writes) = cluster.pass(300).await;
    let clean = |node: &Node| node::is_ready(node) && node::taints(node).is_empty();
    assert_eq!(cluster.count(clean), NODES);
    assert!(adds <= 14.0 && syncs <= 14.0 && writes <= 1.1, "back: {adds} adds, {syncs} syncs, {writes} writes");
    stop.cancel();
}
