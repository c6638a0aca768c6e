//! Turns changes of the cluster into decisions, and carries them out. One task owns all that is known.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use corten_api::Key;
use corten_client::health::Health;
use corten_client::{Cache, CancellationToken, Client, Recorder, Watch, args::ConnectError, lease};
use k8s_openapi::api::core::v1::{Node, Pod};
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};
use tracing::{debug, info, warn};

use crate::bind::{Outcome, Writer};
use crate::config::Config;
use crate::core::Core;
use crate::cycle::Decision;
use crate::pod::PodInfo;
use crate::snapshot::Helps;

#[derive(Debug, thiserror::Error)]
pub enum SchedulerError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("cannot listen on --metrics-address: choose another, or end what holds it")]
    Health(#[source] std::io::Error),
    #[error("cannot compete for the leader lease")]
    Lease(#[source] std::io::Error),
}

/// Runs until `stop`: watches and schedules while it leads. A term begins with a state read anew, which has all that
/// the leader before us placed: a watch of before may be behind, and a node would get too much.
pub async fn run(config: Config, stop: CancellationToken) -> Result<(), SchedulerError> {
    let client = config.client.connect()?;
    let term: Term = Arc::default();
    let health = Health::new();
    let seen = Arc::clone(&term);
    health.ready_when("caches", move || match seen.lock().as_ref() {
        Some(cluster) if !cluster.is_synced() => Err("we lead, and do not know the cluster yet".into()),
        _ => Ok(()),
    });
    if let Some(address) = config.client.metrics_address {
        health.serve(address, &stop).await.map_err(SchedulerError::Health)?;
    }
    if let Err(err) = sd_notify::notify(&[sd_notify::NotifyState::Ready]) {
        warn!(%err, "systemd could not be told that we are ready");
    }
    let lease = Key::new("kube-system", "kube-scheduler");
    let scheduler_name = config.scheduler_name.clone();
    lease::lead(&client, &lease, &config.identity(), &stop, move |client, leading| {
        let cluster = Arc::new(Cluster::watch(&client, &leading));
        *term.lock() = Some(Arc::clone(&cluster));
        let (scheduler, term) = (Scheduler::new(&client, &cluster, &scheduler_name), Arc::clone(&term));
        async move {
            let _ends_with_this_future = TermEnd(term);
            scheduler.run(leading).await;
        }
    })
    .await
    .map_err(SchedulerError::Lease)
}

/// What the present leader watches.
type Term = Arc<Mutex<Option<Arc<Cluster>>>>;

/// Lets go of a term's caches, also when the term's future is dropped where it stands because the lease was lost.
struct TermEnd(Term);

impl Drop for TermEnd {
    fn drop(&mut self) {
        self.0.lock().take();
    }
}

/// What is watched, and which of it changed since the scheduler looked last. Bounded by what exists.
#[derive(Debug)]
struct Cluster {
    pods: Cache<PodInfo>,
    nodes: Cache<Node>,
    changes: Arc<Changes>,
}

#[derive(Debug, Default)]
struct Changes {
    dirty: Mutex<Dirty>,
    notify: Notify,
}

#[derive(Debug, Default)]
struct Dirty {
    pods: HashSet<Key>,
    nodes: HashSet<Key>,
}

impl Changes {
    fn mark(&self, change: impl FnOnce(&mut Dirty)) {
        change(&mut self.dirty.lock());
        self.notify.notify_one();
    }
}

impl Cluster {
    fn watch(client: &Client, stop: &CancellationToken) -> Self {
        let changes = Arc::new(Changes::default());
        let (of_pods, of_nodes) = (Arc::clone(&changes), Arc::clone(&changes));
        let pods = Watch::<Pod>::all(client).start_reduced(stop, PodInfo::of, move |change| {
            of_pods.mark(|dirty| dirty.pods.extend(change.key().cloned()));
        });
        let nodes = Watch::<Node>::all(client).start_reduced(stop, without_bulk, move |change| {
            of_nodes.mark(|dirty| dirty.nodes.extend(change.key().cloned()));
        });
        Self { pods, nodes, changes }
    }
    fn is_synced(&self) -> bool {
        self.pods.is_synced() && self.nodes.is_synced()
    }
}

/// A Node without what no filter looks at: it is kept for as long as the node lives.
fn without_bulk(mut node: Node) -> Node {
    node.metadata.managed_fields = None;
    node.metadata.annotations = None;
    if let Some(status) = &mut node.status {
        status.images = None;
        status.conditions = None;
        status.node_info = None;
    }
    node
}

struct Scheduler {
    cluster: Arc<Cluster>,
    writer: Writer,
    outcomes: mpsc::Receiver<Outcome>,
    core: Core,
}

impl Scheduler {
    fn new(client: &Client, cluster: &Arc<Cluster>, name: &str) -> Self {
        let (writer, outcomes) = Writer::new(client, Recorder::new(client, name, ""));
        Self { cluster: Arc::clone(cluster), writer, outcomes, core: Core::new(name) }
    }

    async fn run(mut self, leading: CancellationToken) {
        let synced = async { tokio::join!(self.cluster.pods.synced(), self.cluster.nodes.synced()) };
        if leading.run_until_cancelled(synced).await.is_none() {
            return;
        }
        while !leading.is_cancelled() {
            self.take_changes();
            while let Ok(outcome) = self.outcomes.try_recv() {
                self.settle(outcome);
            }
            match self.core.next(Instant::now()) {
                Some(key) => self.schedule(&key).await,
                None => self.wait(&leading).await,
            }
        }
        self.writer.finish().await;
    }

    async fn wait(&mut self, leading: &CancellationToken) {
        let timer = self.core.next_timer();
        let tick = async {
            match timer {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = leading.cancelled() => {}
            () = self.cluster.changes.notify.notified() => {}
            Some(outcome) = self.outcomes.recv() => self.settle(outcome),
            () = tick => {}
        }
    }

    fn take_changes(&mut self) {
        let dirty = std::mem::take(&mut *self.cluster.changes.dirty.lock());
        let now = Instant::now();
        let mut helps = Helps::NOTHING;
        for key in dirty.nodes {
            helps = helps.and(self.core.node_changed(&key.name, self.cluster.nodes.get(&key).as_deref()));
        }
        for key in dirty.pods {
            helps = helps.and(self.core.pod_changed(&key, self.cluster.pods.get(&key).as_deref(), now));
        }
        self.core.helped(helps, now);
    }

    async fn schedule(&mut self, key: &Key) {
        let Some(place) = self.writer.place().await else { return };
        let pod = self.cluster.pods.get(key);
        let decision = self.core.decide(key, pod.as_deref(), Instant::now());
        match pod.zip(decision) {
            None => {}
            Some((pod, Decision::Place { node })) => self.writer.bind(place, &pod, node),
            Some((pod, Decision::Refuse { why, .. })) => {
                debug!(pod = %key, why, "no node will do");
                self.writer.refuse(place, &pod, &why);
            }
        }
    }

    fn settle(&mut self, Outcome { key, uid, result }: Outcome) {
        if let Err(err) = &result {
            info!(pod = %key, %err, "the placement failed");
        }
        self.core.settled(&key, &uid, result.as_ref().copied(), Instant::now());
    }
}
