//! Turns changes of the cluster into decisions, and carries them out. One task owns all that is known.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use corten_api::Key;
use corten_client::health::Health;
use corten_client::{Cache, CancellationToken, Client, Pulse, Recorder, Watch, args::ConnectError, lease};
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

/// From the first change that waits to the end of the decisions on it: a turn takes in all changes there are and decides on
/// one pod.
const TURN_MAX: Duration = Duration::from_secs(60);
/// A placement, or the word on a pod why it has no node, with all tries of it.
const WRITE_MAX: Duration = Duration::from_secs(120);

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
    let pulses = Pulses::start();
    pulses.tell(&health, &term);
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
        let scheduler = Scheduler::new(&client, &cluster, &scheduler_name, &pulses);
        let term = Arc::clone(&term);
        async move {
            let _ends_with_this_future = TermEnd(term);
            scheduler.run(leading).await;
        }
    })
    .await
    .map_err(SchedulerError::Lease)
}

/// What is known of the scheduler's moving on, over all its terms.
#[derive(Clone, Debug)]
struct Pulses {
    turns: Pulse,
    writes: Pulse,
}

impl Pulses {
    fn start() -> Self {
        let now = tokio::time::Instant::now();
        Self { turns: Pulse::new(TURN_MAX, now), writes: Pulse::new(WRITE_MAX, now) }
    }

    fn tell(&self, health: &Health, term: &Term) {
        let (turns, term) = (self.turns.clone(), Arc::clone(term));
        health.live_when("scheduling", move || {
            let waiting = term.lock().as_ref().and_then(|cluster| cluster.changes.waiting_since());
            turns.check(tokio::time::Instant::now(), waiting).map_err(|hang| hang.to_string())
        });
        let writes = self.writes.clone();
        health.live_when("writes", move || {
            writes.check(tokio::time::Instant::now(), None).map_err(|hang| hang.to_string())
        });
    }
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
    /// Whether changes were ever taken in. Until the cluster is known they wait for good reason.
    begun: bool,
    /// When the first of these changes came, since the scheduler has begun.
    since: Option<tokio::time::Instant>,
}

impl Changes {
    fn mark(&self, change: impl FnOnce(&mut Dirty)) {
        let mut dirty = self.dirty.lock();
        change(&mut dirty);
        if dirty.begun {
            dirty.since.get_or_insert_with(tokio::time::Instant::now);
        }
        drop(dirty);
        self.notify.notify_one();
    }
    fn take(&self) -> Dirty {
        std::mem::replace(&mut *self.dirty.lock(), Dirty { begun: true, ..Dirty::default() })
    }
    fn waiting_since(&self) -> Option<tokio::time::Instant> {
        self.dirty.lock().since
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
    turns: Pulse,
}

impl Scheduler {
    fn new(client: &Client, cluster: &Arc<Cluster>, name: &str, pulses: &Pulses) -> Self {
        let (writer, outcomes) = Writer::new(client, Recorder::new(client, name, ""), pulses.writes.clone());
        let (cluster, turns) = (Arc::clone(cluster), pulses.turns.clone());
        Self { cluster, writer, outcomes, core: Core::new(name), turns }
    }

    async fn run(mut self, leading: CancellationToken) {
        let synced = async { tokio::join!(self.cluster.pods.synced(), self.cluster.nodes.synced()) };
        if leading.run_until_cancelled(synced).await.is_none() {
            return;
        }
        while !leading.is_cancelled() {
            if !self.turn().await {
                self.wait(&leading).await;
            }
        }
        self.writer.finish().await;
    }

    /// Takes in what has changed and decides on one pod; false: none wants a node now.
    async fn turn(&mut self) -> bool {
        let _under_way = self.turns.begin(tokio::time::Instant::now());
        self.take_changes();
        while let Ok(outcome) = self.outcomes.try_recv() {
            self.settle(outcome);
        }
        let Some(key) = self.core.next(Instant::now()) else { return false };
        self.schedule(&key).await;
        true
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
        let dirty = self.cluster.changes.take();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn changes_wait_since_the_first_of_them_once_the_scheduler_has_begun() {
        let (changes, start) = (Changes::default(), tokio::time::Instant::now());
        let turn = || tokio::time::advance(Duration::from_secs(1));
        let mark = |name| changes.mark(|dirty| dirty.pods.extend([Key::new("default", name)]));
        mark("a");
        assert_eq!(changes.waiting_since(), None, "the cluster is not known yet");
        turn().await;
        assert_eq!(changes.take().pods.len(), 1);
        assert_eq!(changes.waiting_since(), None);
        turn().await;
        mark("b");
        turn().await;
        mark("c");
        assert_eq!(changes.waiting_since(), Some(start + Duration::from_secs(2)));
        assert_eq!(changes.take().pods.len(), 2);
        assert_eq!(changes.waiting_since(), None, "all are taken up");
    }
}
