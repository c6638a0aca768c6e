//! One worker per pod: feeds the state machine with what happens, and carries out what it orders.
//!
//! The worker never waits for an order: each runs in a task of its own and answers with a message. So a delete is seen
//! at once, whatever is under way.

mod finish;
mod launch;
mod prepare;
mod probing;
mod resize;
mod supervise;
mod view;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use corten_api::Object as _;
use corten_client::panics;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use parking_lot::{Mutex, RwLock};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::backoff::between;
use super::container;
use super::model::*;
use super::plan::Plan;
use super::size::Share;
use super::status::{resources, status_of};
use super::step::{FoundPod, Machine, RESIZE_COMPLETED, Unseen};
use crate::images::ImageHandle;
use crate::place::Place;
use crate::runtime;
use crate::server::PodView;
use crate::volumes::Paths;

pub use supervise::WORKER;

/// By container and number: one is sent until it arrives, however often it is ordered.
type Signals = Arc<Mutex<BTreeSet<(String, u32)>>>;

/// Messages that wait for one worker.
pub const WORKER_QUEUE: usize = 64;
/// How often volumes with a limit are measured, how long what could not be brought up to date waits for the next try, and how
/// long a token is kept at least.
const REFRESH: Duration = Duration::from_secs(60);

/// What a worker is told.
pub enum Msg {
    /// The pod changed on the API, or its file did, or what the node gives it.
    Pod {
        /// With the resources that the node gives it.
        pod: Arc<Pod>,
        share: Share,
    },
    /// It is gone from the API, or its file is.
    Removed {
        grace: Option<Duration>,
    },
    Runtime(runtime::Event),
    /// What the runtime really holds, for a comparison; it was asked at that time.
    Found {
        found: FoundPod,
        asked_at: Instant,
    },
    /// The API's copy may say something else than we do.
    Republish,
    /// A piece of the worker's own work panicked.
    Panicked {
        why: String,
    },
    /// A ConfigMap or Secret that the pod refers to may have changed.
    SourcesChanged,
    Answer(Answer),
}

/// What came of an order.
pub enum Answer {
    Event(Event),
    Prepared {
        paths: Paths,
        fresh: Fresh,
    },
    Image {
        container: String,
        handle: ImageHandle,
        message: String,
    },
    /// What is wrong with what the pod keeps, if anything: it is then evicted.
    Refreshed {
        too_much: Option<String>,
        /// `None`: the volumes were only looked at.
        fresh: Option<Fresh>,
    },
}

/// How long what is in the volumes goes on being right, if nothing they are made from changes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Fresh {
    /// No apiserver could say what should be in them now.
    pub outdated: bool,
    /// When a token in them is to be replaced.
    pub renew_at: Option<Timestamp>,
}

/// A running worker, as the others see it.
#[derive(Clone)]
pub struct Handle {
    pub tx: mpsc::Sender<Msg>,
    pub shared: Arc<Shared>,
}

/// What a worker lets others read.
pub struct Shared {
    /// The pod as last told, with its status as last worked out.
    pub pod: RwLock<Arc<Pod>>,
    pub view: RwLock<PodView>,
    /// Nothing of it will run again: it takes no more resources of the node.
    pub over: std::sync::atomic::AtomicBool,
}

/// What was found of the pod when the worker started.
pub enum Beginning {
    New,
    Found(FoundPod),
}

pub struct Worker {
    place: Arc<Place>,
    /// With the resources that the node gives it, whatever it asks for.
    pod: Arc<Pod>,
    share: Share,
    machine: Machine,
    tx: mpsc::Sender<Msg>,
    rx: mpsc::Receiver<Msg>,
    shared: Arc<Shared>,
    paths: Paths,
    images: BTreeMap<String, ImageHandle>,
    /// Signals that ask running containers to end, by container.
    stop_signals: BTreeMap<String, u32>,
    probes: probing::Probes,
    /// When we heard that a sandbox or container is up, by its id. What was taken over is not in it.
    heard_at: HashMap<String, Instant>,
    refreshing: bool,
    /// Held by whoever writes below the pod's directory: a refresh must not make anew what is being removed.
    disk: Arc<tokio::sync::Mutex<()>>,
    /// What volumes are made from may have changed since.
    stale: bool,
    next_refresh: Option<tokio::time::Instant>,
    /// When a token in a volume is to be replaced.
    renew_at: Option<tokio::time::Instant>,
    /// The API or a file has let go of the pod, with this grace.
    removed: Option<Option<Duration>>,
    /// Ends the orders that are under way when the worker begins anew.
    orders: CancellationToken,
    /// Signals that are on their way to a container.
    signals: Signals,
}

/// Starts a worker as one of `workers`: its task ends when the pod is gone.
pub fn start(
    place: &Arc<Place>,
    pod: Arc<Pod>,
    share: Share,
    beginning: Beginning,
    workers: &mut JoinSet<()>,
) -> (Handle, tokio::task::Id) {
    let (tx, rx) = mpsc::channel(WORKER_QUEUE);
    let now = Timestamp::now();
    let found = match beginning {
        Beginning::New => FoundPod::default(),
        Beginning::Found(found) => found,
    };
    // A pod that cannot even be planned must not take the manager with it: it is tried again like one that fails later.
    let planned =
        panics::catch(supervise::WORKER, || Machine::recover(Plan::of(&pod), &found, pod.status.as_ref(), now));
    let (machine, failed) = match planned {
        Ok(machine) => (machine, None),
        Err(panicked) => (Machine::new(Plan::of(&Pod::default()), now), Some(panicked.to_string())),
    };
    let shared = Arc::new(Shared {
        pod: RwLock::new(Arc::clone(&pod)),
        view: RwLock::new(view::empty(&pod)),
        over: std::sync::atomic::AtomicBool::new(false),
    });
    let handle = Handle { tx: tx.clone(), shared: Arc::clone(&shared) };
    let stop_signals = found.containers.iter().map(|c| (c.name.clone(), c.stop_signal)).collect();
    let worker = Worker {
        place: Arc::clone(place),
        pod,
        share,
        machine,
        tx,
        rx,
        shared,
        paths: Paths::new(),
        images: BTreeMap::new(),
        stop_signals,
        probes: probing::Probes::default(),
        heard_at: HashMap::new(),
        refreshing: false,
        disk: Arc::default(),
        stale: false,
        next_refresh: None,
        renew_at: None,
        removed: None,
        orders: CancellationToken::new(),
        signals: Signals::default(),
    };
    let task = workers.spawn(supervise::run(worker, failed));
    (handle, task.id())
}

impl Worker {
    /// Until the pod is gone. `Err` is why it must begin anew.
    async fn run(&mut self) -> Result<(), String> {
        self.read_last_words().await;
        self.look(Event::Looked);
        if let Some(grace) = self.removed {
            self.look(Event::DeleteRequested { grace: grace.unwrap_or(self.machine.plan.grace) });
        } else if self.pod.is_deleting() {
            self.look(Event::DeleteRequested { grace: deletion_grace(&self.pod, &self.machine.plan) });
        }
        while self.machine.stage != Stage::Gone {
            let now = Timestamp::now();
            let timer = self.machine.wake_at(now).map(|at| tokio::time::Instant::now() + between(now, at));
            let refresh = self.next_refresh;
            tokio::select! {
                message = self.rx.recv() => match message {
                    Some(Msg::Panicked { why }) => return Err(why),
                    Some(message) => self.take(message).await,
                    None => return Ok(()),
                },
                () = until(timer) => self.look(Event::Looked),
                () = until(refresh), if !self.refreshing => self.refresh(),
            }
        }
        debug!(pod = %self.pod.key(), "the pod is gone");
        Ok(())
    }

    /// One event through the machine, and all that follows from it.
    fn look(&mut self, event: Event) {
        let orders = self.machine.on(event, Timestamp::now());
        for order in orders {
            self.carry_out(order);
        }
        self.watch_probes();
        self.publish();
    }

    async fn take(&mut self, message: Msg) {
        match message {
            Msg::Pod { pod, share } => self.pod_changed(pod, share),
            Msg::Removed { grace } => {
                self.removed = Some(grace);
                let grace = grace.unwrap_or(self.machine.plan.grace);
                self.look(Event::DeleteRequested { grace });
            }
            Msg::Runtime(event) => self.runtime_event(event),
            Msg::Found { found, asked_at } => self.compare(found, asked_at).await,
            Msg::Republish => self.publish(),
            // `run` takes it.
            Msg::Panicked { .. } => {}
            Msg::SourcesChanged => self.sources_changed(),
            Msg::Answer(Answer::Event(event)) => {
                self.note_time(&event);
                self.look(event);
            }
            Msg::Answer(Answer::Prepared { paths, fresh }) => {
                self.paths = paths;
                self.look(Event::Prepared);
                self.refreshed(Some(fresh));
            }
            Msg::Answer(Answer::Image { container, handle, message }) => {
                let (image, image_id) = (handle.name.clone(), handle.repo_digest.clone());
                self.images.insert(container.clone(), handle);
                self.look(Event::ImageReady { container, image, image_id, message });
            }
            Msg::Answer(Answer::Refreshed { too_much, fresh }) => {
                self.refreshing = false;
                self.refreshed(fresh);
                if let Some(message) = too_much {
                    // Its own limits, so no DisruptionTarget: upstream has that for pods that make room for others, and a Job may
                    // try those again without counting.
                    let fate = Fate { reason: "Evicted".into(), message };
                    self.look(Event::Evicted { fate, grace: Duration::ZERO });
                }
            }
        }
    }

    fn pod_changed(&mut self, pod: Arc<Pod>, share: Share) {
        let spec_changed = self.pod.spec != pod.spec;
        let meta_changed = self.pod.metadata.labels != pod.metadata.labels
            || self.pod.metadata.annotations != pod.metadata.annotations;
        self.pod = pod;
        self.share = share;
        if spec_changed {
            self.look(Event::Planned(Box::new(Plan::of(&self.pod))));
        }
        if self.pod.is_deleting() {
            let grace = deletion_grace(&self.pod, &self.machine.plan);
            self.look(Event::DeleteRequested { grace });
        } else {
            self.publish();
        }
        if meta_changed {
            self.sources_changed();
        }
    }

    fn runtime_event(&mut self, event: runtime::Event) {
        match event {
            runtime::Event::ContainerExited { container_id, exit, .. } => {
                self.container_exited(container_id, &exit);
            }
            runtime::Event::SandboxExited { sandbox_id, .. } => self.look(Event::SandboxExited { id: sandbox_id }),
            runtime::Event::Resync => {}
        }
    }

    fn note_time(&mut self, event: &Event) {
        let id = match event {
            Event::SandboxUp(up) => &up.id,
            Event::Started { id, .. } => id,
            _ => return,
        };
        debug!(pod = %self.pod.key(), id, "is up");
        self.heard_at.insert(id.clone(), Instant::now());
    }

    /// The safety net: what the runtime holds against what the machine believes.
    async fn compare(&mut self, found: FoundPod, asked_at: Instant) {
        let knew_before = |id: &str| self.heard_at.get(id).is_none_or(|at| *at < asked_at);
        let differences = self.machine.compare(&found, knew_before);
        for Unseen { name, id, attempt, ended } in differences.ended {
            let ended = match ended {
                Some(mut ended) => {
                    ended.message = finish::message(&self.place, &self.pod, &name, attempt, ended.exit_code).await;
                    ended
                }
                None => {
                    warn!(pod = %self.pod.key(), container = name, "the runtime has lost a container that ran");
                    finish::lost(&id)
                }
            };
            self.look(Event::Exited { id, ended });
        }
        for id in differences.strays {
            warn!(pod = %self.pod.key(), container = id, "a container runs that should not; killing it");
            self.signal(id, container::SIGKILL);
        }
        if let Some(id) = differences.lost_sandbox {
            self.look(Event::SandboxExited { id });
        }
        let machine = &self.machine;
        let is_up = |id: &String| {
            machine.sandbox.done().is_some_and(|up| up.id == *id)
                || machine.containers.iter().any(|c| c.running_id() == Some(id))
        };
        self.heard_at.retain(|id, _| is_up(id));
        self.look(Event::Looked);
    }

    /// Of containers that ended while no kubelet ran, only the files know the termination message.
    async fn read_last_words(&mut self) {
        for c in &mut self.machine.containers {
            if let Now::Exited { ended, .. } = &mut c.now
                && ended.message.is_empty()
                && !ended.id.is_empty()
            {
                ended.message =
                    finish::message(&self.place, &self.pod, &c.want.name, c.restarts, ended.exit_code).await;
            }
        }
    }

    /// The name and attempt of a container that runs or is being started.
    fn known_as(&self, id: &str) -> Option<(String, u32)> {
        let is_it = |c: &&Ctr| match &c.now {
            Now::Running { id: have, .. } | Now::Starting { id: Some(have) } => have == id,
            _ => false,
        };
        self.machine.containers.iter().find(is_it).map(|c| (c.want.name.clone(), c.restarts))
    }

    fn carry_out(&mut self, order: Order) {
        debug!(pod = %self.pod.key(), ?order, "order");
        match order {
            Order::Prepare { fresh } => self.prepare(fresh),
            Order::MakeSandbox { attempt } => self.make_sandbox(attempt),
            Order::EnsureImage { container } => self.ensure_image(container),
            Order::Start { container, attempt } => self.launch(container, attempt),
            Order::PreStop { container, id, within } => self.pre_stop(container, id, within),
            Order::Terminate { container, id } => {
                let signal = self.stop_signals.get(&container).copied().unwrap_or(container::SIGTERM);
                self.signal(id, signal);
            }
            Order::Kill { id } => self.signal(id, container::SIGKILL),
            Order::Resize { steps } => self.resize(steps),
            Order::Quiet => self.quiet(),
            Order::Clear => self.clear(),
            Order::Finalize => self.place.statuses.finalize(self.pod.uid()),
            Order::Tell(tell) => self.tell(&tell),
        }
    }

    pub(super) fn tell(&self, tell: &Tell) {
        let mut about = self.pod.reference();
        about.field_path = tell.container.as_ref().map(|name| container::field_path(&self.pod, name));
        let message = match tell.reason {
            RESIZE_COMPLETED => resize::completed(&self.pod),
            _ => tell.message.clone(),
        };
        self.place.cluster.event(&about, tell.warning, tell.reason, &message);
    }

    /// Says what the pod is now: to the API, and to whoever looks at the view.
    fn publish(&mut self) {
        let known = self.place.statuses.known(self.pod.uid());
        let base = known.as_ref().unwrap_or(&self.pod);
        let now = Timestamp::now();
        let mut status = status_of(&self.machine, base, &self.place.facts.addresses, now);
        resources::add(&mut status, &self.machine, &self.pod, &self.share, now);
        *self.shared.view.write() = view::of(&self.machine, &self.pod, &self.place);
        self.shared.over.store(self.machine.is_over(), std::sync::atomic::Ordering::Relaxed);
        let before = self.shared.pod.read().status.clone();
        if before.as_ref() == Some(&status) && base.status.as_ref() == Some(&status) {
            return;
        }
        let mut pod = Pod::clone(&self.pod);
        pod.status = Some(status.clone());
        *self.shared.pod.write() = Arc::new(pod);
        self.place.statuses.report(self.pod.uid(), status);
    }

    /// Runs an order in a task of its own; its answer comes back as a message.
    fn spawn(&self, work: impl Future<Output = Answer> + Send + 'static) {
        let tx = self.tx.clone();
        self.beside(async move {
            let answer = work.await;
            // The worker ended meanwhile: nobody needs the answer.
            let _ = tx.send(Msg::Answer(answer)).await;
        });
    }

    /// Runs something in a task of its own until the worker begins anew; a panic in it is the worker's.
    pub(super) fn beside(&self, work: impl Future<Output = ()> + Send + 'static) {
        let (tx, orders) = (self.tx.clone(), self.orders.clone());
        tokio::spawn(async move { orders.run_until_cancelled(supervise::contained(&tx, work)).await });
    }
}

async fn until(at: Option<tokio::time::Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// How long a deleted pod may take.
fn deletion_grace(pod: &Pod, plan: &Plan) -> Duration {
    pod.metadata.deletion_grace_period_seconds.map_or(plan.grace, super::plan::seconds)
}
