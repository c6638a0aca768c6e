//! This node on the API: its registration, its status, its Lease, and what the API says back (podCIDR, labels, taints).

pub mod eviction;
mod facts;
mod lease;
mod news;
mod status;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use corten_api::error::with_causes;
use corten_api::{ApiError, Key, Reason};
use corten_client::{Cache, CancellationToken, Client, Watch};
use futures::StreamExt as _;
use futures::stream::BoxStream;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, NodeSpec, ObjectReference, Taint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tracing::{debug, info, warn};

pub use facts::Machine;
use news::News;
use status::Seen;

use crate::cluster::Cluster;
use crate::images::{ImageInfo, Images};
use crate::network::PodNetwork;
use crate::runtime::{Event, Runtime};

/// The status is written this often even if nothing changed; changes are written at once.
const STATUS_EVERY: Duration = Duration::from_secs(300);
/// How often we look whether something changed.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// The same while the node is not Ready, each time twice as long: what makes it Ready is told, but for a network that others
/// make.
const LOOK_SOON: Duration = Duration::from_millis(100);
/// The runtime's answer to a question about itself takes no longer.
const RUNTIME_ANSWER_MAX: Duration = Duration::from_secs(5);
const RETRY: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(2);

/// What the command line says of the node.
#[derive(Clone, Debug)]
pub struct Identity {
    pub name: String,
    pub addresses: Vec<IpAddr>,
    pub labels: BTreeMap<String, String>,
    pub taints: Vec<Taint>,
    pub port: u16,
}

pub struct NodeAgent {
    pub client: Client,
    pub identity: Identity,
    pub machine: Machine,
    pub runtime: Arc<dyn Runtime>,
    pub images: Arc<dyn Images>,
    pub network: Arc<dyn PodNetwork>,
    pub cluster: Arc<dyn Cluster>,
    pub root_dir: std::path::PathBuf,
    /// Below which the node is under pressure.
    pub eviction_hard: eviction::EvictionHard,
    /// Whether the pods together are held to what the node has to give, or why not.
    pub limits: Result<(), String>,
    /// What readiness is answered from.
    pub health: Arc<NodeHealth>,
}

/// How the node was when it was last looked at; `Err` says what is wrong.
#[derive(Debug)]
pub struct NodeHealth {
    runtime: Mutex<Result<(), String>>,
    network: Mutex<Result<(), String>>,
}

impl Default for NodeHealth {
    fn default() -> Self {
        let unknown = || Mutex::new(Err("the node was not looked at yet".into()));
        Self { runtime: unknown(), network: unknown() }
    }
}

impl NodeHealth {
    /// The node is fit for pods.
    pub fn check(&self) -> Result<(), String> {
        self.runtime().and_then(|()| self.network.lock().clone())
    }
    pub fn runtime(&self) -> Result<(), String> {
        self.runtime.lock().clone()
    }
    fn note(&self, seen: &Seen) {
        let fine = |result: Result<(), &String>| result.map_err(String::clone);
        *self.runtime.lock() = fine(seen.runtime.as_ref().map(drop));
        *self.network.lock() = fine(seen.network.as_ref().map(drop));
    }
}

/// What is remembered from one look to the next.
#[derive(Default)]
struct Before {
    written_at: Option<tokio::time::Instant>,
    /// This kubelet has said how the node is.
    told: bool,
    cordoned: Option<bool>,
    /// Why the podCIDR cannot be used, as it was last logged.
    cidr_trouble: Option<String>,
}

/// Starts everything about the node.
pub fn start(agent: NodeAgent, own: OwnNode, stop: &CancellationToken) {
    lease::start(agent.client.clone(), agent.identity.name.clone(), stop);
    let token = stop.clone();
    tokio::spawn(async move { token.run_until_cancelled_owned(agent.run(own.cache, own.changed)).await });
}

/// This kubelet's own Node, as the API has it.
pub struct OwnNode {
    pub cache: Cache<Node>,
    changed: Arc<Notify>,
}

impl OwnNode {
    pub fn watch(client: &Client, name: &str, stop: &CancellationToken) -> Self {
        let changed = Arc::new(Notify::new());
        let seen = Arc::clone(&changed);
        let fields = format!("metadata.name={name}");
        let cache = Watch::<Node>::all(client).fields(&fields).start(stop, move |_| seen.notify_one());
        Self { cache, changed }
    }
}

impl NodeAgent {
    async fn run(self, cache: Cache<Node>, changed: Arc<Notify>) {
        let mut before = Before::default();
        let (mut wait, mut soon) = (RETRY, LOOK_SOON);
        let mut events = self.runtime.events();
        self.say(&[news::starting()]);
        loop {
            match self.bring_up_to_date(&cache, &mut before).await {
                Ok(()) => {
                    wait = RETRY;
                    let ready = cache.get(&self.key()).is_some_and(|n| corten_api::node::is_ready(&n));
                    let pause = if ready { LOOK_EVERY } else { soon };
                    soon = if ready { LOOK_SOON } else { (soon * 2).min(LOOK_EVERY) };
                    tokio::select! {
                        () = changed.notified() => {}
                        () = resynced(&mut events) => {}
                        () = tokio::time::sleep(pause) => {}
                    }
                }
                Err(err) => {
                    debug!(%err, "the node's status waits to be written");
                    tokio::select! { () = changed.notified() => {}, () = tokio::time::sleep(wait) => {} }
                    wait = (wait * 2).min(RETRY_MAX);
                }
            }
        }
    }

    fn key(&self) -> Key {
        Key::cluster(self.identity.name.as_str())
    }

    /// Events about the node; upstream's kubelet has its name for a uid, and `kubectl describe` looks for that.
    fn say(&self, news: &[News]) {
        let name = Some(self.identity.name.clone());
        let about = ObjectReference { kind: Some("Node".into()), name: name.clone(), uid: name, ..Default::default() };
        news.iter().for_each(|n| self.cluster.event(&about, n.warning, n.reason, &n.message));
    }

    /// Registers the node if it is not there, takes its podCIDR, and writes its status if that says anything new.
    async fn bring_up_to_date(&self, cache: &Cache<Node>, before: &mut Before) -> Result<(), ApiError> {
        let node = match cache.get(&self.key()) {
            Some(node) => Node::clone(&node),
            None => self.register().await?,
        };
        self.take_pod_cidr(&node, before).await;
        let cordon = news::of_cordon(&self.identity.name, before.cordoned, &node);
        before.cordoned = Some(news::is_cordoned(&node));
        self.say(cordon.as_slice());
        let seen = self.look().await;
        let now = Timestamp::now();
        let wanted = status::of(&self.identity, &self.machine, &seen, node.status.as_ref(), now);
        let mut next = node.clone();
        self.keep_labels(&mut next);
        if next.metadata.labels != node.metadata.labels {
            next = self.client.update(&next).await?;
        }
        let stale = before.written_at.is_none_or(|at| at.elapsed() >= STATUS_EVERY);
        if !stale && !status::differs(node.status.as_ref(), &wanted) {
            return Ok(());
        }
        let news = news::of_status(&self.identity.name, !before.told, node.status.as_ref(), &wanted);
        next.status = Some(wanted);
        self.client.update_status(&next).await?;
        before.written_at = Some(tokio::time::Instant::now());
        self.say(&news);
        if !std::mem::replace(&mut before.told, true) {
            self.say(&[news::of_limits(&self.limits)]);
        }
        if news.iter().any(|n| n.reason == "NodeReady") {
            info!(node = self.identity.name, "the node is Ready");
        }
        Ok(())
    }

    async fn register(&self) -> Result<Node, ApiError> {
        let mut node = Node {
            metadata: ObjectMeta { name: Some(self.identity.name.clone()), ..Default::default() },
            spec: Some(NodeSpec {
                taints: (!self.identity.taints.is_empty()).then(|| self.identity.taints.clone()),
                ..Default::default()
            }),
            status: None,
        };
        self.keep_labels(&mut node);
        let seen = self.look().await;
        node.status = Some(status::of(&self.identity, &self.machine, &seen, None, Timestamp::now()));
        match self.client.create(&node).await {
            Ok(created) => {
                info!(node = self.identity.name, "registered the node");
                Ok(created)
            }
            Err(err) if err.is(Reason::AlreadyExists) => self.client.get(&self.key()).await,
            Err(err) => Err(err),
        }
    }

    /// The labels that say what the node is; others are left alone.
    fn keep_labels(&self, node: &mut Node) {
        let arch = self.machine.architecture.as_str();
        let own = [
            ("kubernetes.io/hostname", self.identity.name.as_str()),
            ("kubernetes.io/os", "linux"),
            ("kubernetes.io/arch", arch),
            ("beta.kubernetes.io/os", "linux"),
            ("beta.kubernetes.io/arch", arch),
        ];
        let labels = node.metadata.labels.get_or_insert_default();
        labels.extend(own.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())));
        labels.extend(self.identity.labels.clone());
    }

    async fn take_pod_cidr(&self, node: &Node, before: &mut Before) {
        let spec = node.spec.as_ref();
        let Some(text) = spec.and_then(|s| s.pod_cidr.as_deref()).filter(|c| !c.is_empty()) else { return };
        let taken = match text.parse() {
            Ok(cidr) => self.network.set_pod_cidr(cidr).await.map_err(|err| with_causes(&err)),
            Err(err) => Err(format!("it is not a CIDR: {err}")),
        };
        // Looked at many times a second while the node is not Ready: said once.
        if let Err(why) = &taken
            && before.cidr_trouble.as_ref() != Some(why)
        {
            warn!(why, cidr = text, "cannot use the node's podCIDR");
        }
        before.cidr_trouble = taken.err();
    }

    /// `None`: what was known of them stands.
    async fn list_images(&self) -> Option<Vec<ImageInfo>> {
        match tokio::time::timeout(RUNTIME_ANSWER_MAX, self.images.list()).await {
            Ok(Ok(images)) => Some(images),
            Ok(Err(err)) => {
                debug!(%err, "cannot list the node's images");
                None
            }
            Err(_) => {
                debug!("listing the node's images takes too long");
                None
            }
        }
    }

    async fn look(&self) -> Seen {
        // A runtime that hangs is as good as none, and must not hold up what the node says of itself.
        let hangs = |_| Err(format!("it gives no answer within {}s", RUNTIME_ANSWER_MAX.as_secs()));
        let version = async { self.runtime.version().await.map_err(|err| with_causes(&err)) };
        let version = tokio::time::timeout(RUNTIME_ANSWER_MAX, version).await.unwrap_or_else(hangs);
        let images = match &version {
            Ok(_) => self.list_images().await,
            Err(_) => None,
        };
        let seen = Seen {
            runtime: version.map(|v| format!("{}://{}", v.name, v.version)),
            network: self.network.ready().await.map_err(|err| err.to_string()),
            images,
            pressure: facts::Pressure::read(&self.root_dir, &self.eviction_hard),
        };
        self.health.note(&seen);
        seen
    }
}

/// The runtime was away and is back, as far as we know.
async fn resynced(events: &mut BoxStream<'static, Event>) {
    while let Some(event) = events.next().await {
        if matches!(event, Event::Resync) {
            return;
        }
    }
    std::future::pending().await
}
