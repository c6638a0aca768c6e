//! Turns changes of the cluster into decisions, and carries them out. One task owns all that is known.

use std::sync::Arc;
use std::time::{Duration, Instant};

use corten_api::{ApiError, Key, Reason};
use corten_client::health::Health;
use corten_client::{CancellationToken, Client, Pulse, TakeOver, args::ConnectError, lease};
use tokio::sync::mpsc;
use tracing::{debug, info, warn};

use crate::bind::{Outcome, Room, Try, Write, Writer};
use crate::cluster::Cluster;
use crate::config::Config;
use crate::configuration::{Configuration, ConfigurationError};
use crate::core::{Core, Waited};
use crate::cycle::Decision;
use crate::metrics::{Attempt, Metrics};
use crate::pod::PodInfo;
use crate::queue::Incoming;

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
    #[error(transparent)]
    Configuration(#[from] ConfigurationError),
    #[error("cannot compete for the leader lease")]
    Lease(#[source] std::io::Error),
}

/// Runs until `stop`: watches, and schedules while it leads. A term begins once all that the leader before us placed is
/// known: a node would get too much.
pub async fn run(config: Config, stop: CancellationToken) -> Result<(), SchedulerError> {
    let configuration = match &config.config {
        Some(path) => Configuration::read(path)?,
        None => Configuration::named(&config.scheduler_name),
    };
    let client = config.client.connect()?;
    let instance = Instance::begin(&client, configuration, &stop);
    let health = Health::new();
    instance.tell(&health);
    if let Some(address) = config.client.metrics_address {
        health.serve(address, &stop).await.map_err(SchedulerError::Health)?;
    }
    if let Err(err) = sd_notify::notify(&[sd_notify::NotifyState::Ready]) {
        warn!(%err, "systemd could not be told that we are ready");
    }
    lease::lead(&client, &lease(), &config.identity(), &stop, move |client, leading| instance.lead(client, leading))
        .await
        .map_err(SchedulerError::Lease)
}

/// The Lease that decides which instance leads.
pub fn lease() -> Key {
    Key::new("kube-system", "kube-scheduler")
}

/// What an instance knows and does, but for who leads. Cheap to clone.
#[derive(Clone)]
pub struct Instance {
    cluster: Arc<Cluster>,
    configuration: Arc<Configuration>,
    takeover: TakeOver,
    pulses: Pulses,
    metrics: Metrics,
}

impl Instance {
    /// Watches the cluster until `stop`.
    pub fn begin(client: &Client, configuration: Configuration, stop: &CancellationToken) -> Self {
        let (cluster, configuration) = (Arc::new(Cluster::watch(client, stop)), Arc::new(configuration));
        let (takeover, pulses, metrics) = (TakeOver::default(), Pulses::start(), Metrics::default());
        Self { cluster, configuration, takeover, pulses, metrics }
    }

    fn tell(&self, health: &Health) {
        let (seen, begins) = (Arc::clone(&self.cluster), self.takeover.clone());
        health.ready_when("caches", move || {
            begins.check()?;
            if seen.is_synced() { Ok(()) } else { Err("the cluster is not known yet".into()) }
        });
        self.pulses.tell(health, &self.cluster);
        health.metrics(|registry| self.metrics.register(registry));
    }

    /// One term of leadership: what the leader before has placed is known before anything is decided.
    pub fn lead(&self, client: Client, leading: CancellationToken) -> impl Future<Output = ()> + Send + use<> {
        let Self { cluster, configuration, takeover, pulses, metrics } = self.clone();
        let scheduler = Scheduler::new(&client, &cluster, &configuration, &pulses, &metrics);
        async move {
            let catch_up = |revision| cluster.catch_up(revision);
            let caught_up = takeover.begin(&client, catch_up, |revision| cluster.lagging(revision));
            // Where it fails, the lease is given up for another.
            if let Some(Ok(())) = leading.run_until_cancelled(caught_up).await {
                let _end_with_this_future = (cluster.lead(), TermEnd(metrics));
                scheduler.run(leading).await;
            }
        }
    }
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

    fn tell(&self, health: &Health, cluster: &Arc<Cluster>) {
        let (turns, cluster) = (self.turns.clone(), Arc::clone(cluster));
        health.live_when("scheduling", move || {
            turns.check(tokio::time::Instant::now(), cluster.waiting_since()).map_err(|hang| hang.to_string())
        });
        let writes = self.writes.clone();
        health.live_when("writes", move || {
            writes.check(tokio::time::Instant::now(), None).map_err(|hang| hang.to_string())
        });
    }
}

/// Whoever leads next has the pods that wait. Also when the term's future is dropped where it stands because the lease was lost.
struct TermEnd(Metrics);

impl Drop for TermEnd {
    fn drop(&mut self) {
        self.0.note_queue(Default::default(), Incoming::default());
    }
}

struct Scheduler {
    cluster: Arc<Cluster>,
    writer: Writer,
    outcomes: mpsc::Receiver<Outcome>,
    core: Core,
    turns: Pulse,
    metrics: Metrics,
}

impl Scheduler {
    fn new(
        client: &Client,
        cluster: &Arc<Cluster>,
        configuration: &Configuration,
        pulses: &Pulses,
        metrics: &Metrics,
    ) -> Self {
        let (writer, outcomes) = Writer::new(client, pulses.writes.clone());
        let (cluster, turns) = (Arc::clone(cluster), pulses.turns.clone());
        let core = Core::new(configuration.profiles.clone(), configuration.backoff);
        Self { cluster, writer, outcomes, core, turns, metrics: metrics.clone() }
    }

    async fn run(mut self, leading: CancellationToken) {
        while !leading.is_cancelled() {
            let decided = self.turn().await;
            self.metrics.note_queue(self.core.waiting(), self.core.take_incoming());
            if !decided {
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
        // One for each turn: outcomes are taken in between.
        if let Some(waited) = self.core.next_waited(Instant::now()) {
            self.finish(waited).await;
            return true;
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
            () = self.cluster.changed() => {}
            Some(outcome) = self.outcomes.recv() => self.settle(outcome),
            () = tick => {}
        }
    }

    fn take_changes(&mut self) {
        let now = Instant::now();
        self.cluster.take_changes(&mut self.core, now);
        self.core.wake(now);
    }

    async fn schedule(&mut self, key: &Key) {
        let Some(place) = self.writer.place().await else { return };
        let pod = self.cluster.pod(key);
        let begun = Instant::now();
        let decision = self.core.decide(key, pod.as_deref(), begun);
        let Some((pod, decision)) = pod.zip(decision) else { return };
        let took = begun.elapsed();
        self.metrics.decided(took);
        match decision {
            Decision::Place { node } => {
                let of = self.try_of(&pod, begun);
                match self.core.volumes_to_bind(key, &pod.uid) {
                    Some(plan) => self.writer.bind_volumes(place, &pod, plan, of),
                    None => self.writer.bind(place, &pod, node, of),
                }
            }
            Decision::Nominate { node, victims, demoted, why, .. } => {
                info!(pod = %key, node, victims = victims.len(), "makes room");
                self.metrics.tried(&pod.class.scheduler, Attempt::Unschedulable, took);
                self.metrics.preempted(Some(victims.len()));
                self.writer.preempt(place, &pod, Room { node, victims, demoted, why });
            }
            Decision::Refuse { why, denominate, tried_preemption, .. } => {
                debug!(pod = %key, why, "no node will do");
                self.metrics.tried(&pod.class.scheduler, Attempt::Unschedulable, took);
                if tried_preemption {
                    self.metrics.preempted(None);
                }
                self.writer.refuse(place, &pod, &why, denominate);
            }
        }
    }

    fn try_of(&self, pod: &PodInfo, begun: Instant) -> Try {
        let (number, first) = self.core.tries(&pod.key, &pod.uid).unwrap_or((1, begun));
        Try { scheduler: pod.class.scheduler.clone(), begun, number, first }
    }

    /// The claims of a pod have their volumes, or will not have them on its node.
    async fn finish(&mut self, Waited { key, uid, node, begun, result }: Waited) {
        let Some(place) = self.writer.place().await else { return };
        // What happened to the pod otherwise is on its way to the core.
        let Some(pod) = self.cluster.pod(&key).filter(|pod| pod.uid == uid) else { return };
        match result {
            Ok(()) => {
                let of = self.try_of(&pod, begun);
                self.writer.bind(place, &pod, node, of);
            }
            Err(why) => {
                let err = ApiError::new(Reason::InternalError, why);
                info!(pod = %key, node, %err, "its claims get no volumes");
                let now = Instant::now();
                self.metrics.tried(&pod.class.scheduler, Attempt::Error, now - begun);
                self.core.settled(&key, &uid, Err(&err), now);
                self.writer.refuse_volumes(place, &pod, err);
            }
        }
    }

    fn settle(&mut self, Outcome { key, uid, of, result }: Outcome) {
        if let Err(err) = &result {
            let what = match of {
                Write::Placement(_) => "the placement failed",
                Write::Volumes(..) => "the volumes of its claims could not be bound",
                Write::Preemption => "no room could be made",
            };
            info!(pod = %key, %err, "{what}");
        }
        let now = Instant::now();
        match of {
            Write::Placement(of) => {
                let came = if result.is_ok() { Attempt::Scheduled } else { Attempt::Error };
                self.metrics.tried(&of.scheduler, came, now - of.begun);
                if result.is_ok() {
                    self.metrics.placed(of.number, now - of.first);
                }
                self.core.settled(&key, &uid, result.as_ref().copied(), now);
            }
            Write::Volumes(_, written) if result.is_ok() => self.core.volumes_written(&key, &uid, written, now),
            Write::Volumes(of, _) => {
                self.metrics.tried(&of.scheduler, Attempt::Error, now - of.begun);
                self.core.settled(&key, &uid, result.as_ref().copied(), now);
            }
            Write::Preemption => self.core.preempted(&key, &uid, result.is_ok(), now),
        }
    }
}
