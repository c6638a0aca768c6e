//! This node on the API: its registration, its status, its Lease, and what the API says back (podCIDR, labels, taints).

mod facts;
mod lease;
mod status;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use corten_api::{ApiError, Key, Reason};
use corten_client::{Cache, CancellationToken, Client, Watch};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, NodeSpec, Taint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use tokio::sync::Notify;
use tracing::{debug, info, warn};

pub use facts::Machine;
use status::Seen;

use crate::images::Images;
use crate::network::PodNetwork;
use crate::runtime::Runtime;

/// The status is written this often even if nothing changed; changes are written at once.
const STATUS_EVERY: Duration = Duration::from_secs(300);
/// How often we look whether something changed.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// The same while the node is not Ready.
const LOOK_SOON: Duration = Duration::from_millis(100);
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
    pub root_dir: std::path::PathBuf,
}

/// Starts everything about the node; returns a read handle to the Node as the API has it.
pub fn start(agent: NodeAgent, stop: &CancellationToken) -> Cache<Node> {
    let changed = Arc::new(Notify::new());
    let seen = Arc::clone(&changed);
    let name = agent.identity.name.clone();
    let cache = Watch::<Node>::all(&agent.client)
        .fields(&format!("metadata.name={name}"))
        .start(stop, move |_| seen.notify_one());
    lease::start(agent.client.clone(), name, stop);
    let (own, token) = (cache.clone(), stop.clone());
    tokio::spawn(async move { token.run_until_cancelled_owned(agent.run(own, changed)).await });
    cache
}

impl NodeAgent {
    async fn run(self, cache: Cache<Node>, changed: Arc<Notify>) {
        let mut written_at: Option<tokio::time::Instant> = None;
        let mut wait = RETRY;
        loop {
            match self.bring_up_to_date(&cache, written_at).await {
                Ok(wrote) => {
                    wait = RETRY;
                    if wrote {
                        written_at = Some(tokio::time::Instant::now());
                    }
                    let ready = cache.get(&self.key()).is_some_and(|n| corten_api::node::is_ready(&n));
                    let pause = if ready { LOOK_EVERY } else { LOOK_SOON };
                    tokio::select! { () = changed.notified() => {}, () = tokio::time::sleep(pause) => {} }
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

    /// Registers the node if it is not there, takes its podCIDR, and writes its status if that says anything new.
    async fn bring_up_to_date(
        &self,
        cache: &Cache<Node>,
        written_at: Option<tokio::time::Instant>,
    ) -> Result<bool, ApiError> {
        let node = match cache.get(&self.key()) {
            Some(node) => Node::clone(&node),
            None => self.register().await?,
        };
        self.take_pod_cidr(&node).await;
        let seen = self.look().await;
        let now = Timestamp::now();
        let wanted = status::of(&self.identity, &self.machine, &seen, node.status.as_ref(), now);
        let mut next = node.clone();
        self.keep_labels(&mut next);
        if next.metadata.labels != node.metadata.labels {
            next = self.client.update(&next).await?;
        }
        let stale = written_at.is_none_or(|at| at.elapsed() >= STATUS_EVERY);
        if !stale && !status::differs(node.status.as_ref(), &wanted) {
            return Ok(false);
        }
        let was_ready = corten_api::node::is_ready(&node);
        next.status = Some(wanted);
        let written = self.client.update_status(&next).await?;
        if !was_ready && corten_api::node::is_ready(&written) {
            info!(node = self.identity.name, "the node is Ready");
        }
        Ok(true)
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

    async fn take_pod_cidr(&self, node: &Node) {
        let spec = node.spec.as_ref();
        let Some(text) = spec.and_then(|s| s.pod_cidr.as_deref()).filter(|c| !c.is_empty()) else { return };
        match text.parse() {
            Ok(cidr) => {
                if let Err(err) = self.network.set_pod_cidr(cidr).await {
                    warn!(%err, cidr = text, "cannot use the node's podCIDR");
                }
            }
            Err(err) => warn!(%err, cidr = text, "the node's podCIDR is not a CIDR"),
        }
    }

    async fn look(&self) -> Seen {
        let version = self.runtime.version().await;
        let images = self.images.list().await.unwrap_or_default();
        Seen {
            runtime: version.map(|v| format!("{}://{}", v.name, v.version)).map_err(|err| err.to_string()),
            network: self.network.ready().await.map_err(|err| err.to_string()),
            images,
            pressure: facts::Pressure::read(&self.root_dir),
        }
    }
}

/// What admission needs of the newest Node.
pub fn facts_of(node: Option<&Node>, name: &str, fallback: &BTreeMap<String, i64>) -> crate::pods::NodeFacts {
    crate::pods::NodeFacts {
        name: name.to_owned(),
        labels: node.and_then(|n| n.metadata.labels.clone()).unwrap_or_default(),
        taints: node.map(|n| corten_api::node::taints(n).to_vec()).unwrap_or_default(),
        allocatable: fallback.clone(),
    }
}
