//! Flags, leadership, and the list of controllers that a leader runs.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use corten_api::{Key, networks};
use corten_client::{Args, CancellationToken, Client, ConnectError, Recorder, health::Health, lease};
use ipnet::IpNet;
use parking_lot::Mutex;
use tracing::info;

use crate::caches::Caches;
use crate::context::Context;
use crate::monitors::Monitors;
use crate::nodeipam::networks::{Networks, SizeError};
use crate::replicas;
use crate::supervise::{Controller, Down, Running, supervise};

/// Upstream's name, so that tools that look for the leader find it.
const LEASE_NAMESPACE: &str = "kube-system";
const LEASE_NAME: &str = "kube-controller-manager";
/// As upstream.
const NODE_MASK_V4: u8 = 24;
const NODE_MASK_V6: u8 = 64;
const EVENT_SOURCE: &str = "kube-controller-manager";

#[derive(Clone, Debug, clap::Parser)]
#[command(name = "corten-controllers", version, about = "Keeps the cluster as its objects say")]
pub struct Flags {
    #[command(flatten)]
    pub client: Args,
    /// Who we are in the leader lease. Default: the host's name.
    #[arg(long)]
    pub identity: Option<String>,
    /// Nodes get their podCIDRs out of this network.
    #[arg(long, default_value = networks::CLUSTER_CIDR)]
    pub cluster_cidr: IpNet,
    /// The prefix length of each node's podCIDR: with 24 a /16 has room for 256 nodes. Default: 24, or 64 for IPv6.
    #[arg(long)]
    pub node_cidr_mask_size: Option<u8>,
    /// The CA that pods find in the ConfigMap kube-root-ca.crt of their namespace (PEM).
    #[arg(long)]
    pub root_ca_file: PathBuf,
}

#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("cannot connect to the cluster")]
    Connect(#[from] ConnectError),
    #[error("cannot read --root-ca-file {}: check the path and that we may read it", path.display())]
    RootCa {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot listen on --metrics-address {address}: is it taken?")]
    Metrics {
        address: std::net::SocketAddr,
        #[source]
        source: io::Error,
    },
    #[error(transparent)]
    Networks(#[from] SizeError),
    #[error("cannot compete for the leader lease")]
    Lease(#[source] io::Error),
    #[error("cannot find the host's name: give --identity")]
    NoIdentity(#[source] io::Error),
}

/// What the flags come to, checked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What nodes get their podCIDRs from.
    pub networks: Networks,
    pub root_ca: String,
}

/// Competes for the lease until `stop`, and runs all controllers while it leads.
pub async fn run(flags: Flags, stop: CancellationToken) -> Result<(), RunError> {
    let client = flags.client.connect()?;
    let settings = settings(&flags)?;
    let identity = match &flags.identity {
        Some(given) => given.clone(),
        None => std::fs::read_to_string("/proc/sys/kernel/hostname").map_err(RunError::NoIdentity)?.trim().to_owned(),
    };
    let term: Term = Arc::default();
    let health = Health::new();
    let seen = Arc::clone(&term);
    health.ready_when("caches", move || match seen.lock().as_ref() {
        Some(caches) if !caches.is_synced() => Err("we lead, and do not know the cluster yet".into()),
        _ => Ok(()),
    });
    let down = Down::default();
    let checked = down.clone();
    health.live_when("controllers", move || checked.check());
    if let Some(address) = flags.client.metrics_address {
        let served = health.serve(address, &stop).await;
        served.map_err(|source| RunError::Metrics { address, source })?;
    }
    let lease = Key::new(LEASE_NAMESPACE, LEASE_NAME);
    let recorder = Recorder::new(&client, EVENT_SOURCE, "");
    lease::lead(&client, &lease, &identity, &stop, move |client, leading| {
        let caches = Caches::start(&client, &leading);
        *term.lock() = Some(caches.clone());
        let (recorder, settings) = (recorder.clone(), settings.clone());
        let (term, down) = (Arc::clone(&term), down.clone());
        async move {
            let _ends_with_this_future = TermEnd(term, down.clone());
            lead(client, recorder, settings, caches, down, leading).await;
        }
    })
    .await
    .map_err(RunError::Lease)
}

fn settings(flags: &Flags) -> Result<Settings, RunError> {
    let default = if flags.cluster_cidr.addr().is_ipv4() { NODE_MASK_V4 } else { NODE_MASK_V6 };
    let networks = Networks::of(flags.cluster_cidr, flags.node_cidr_mask_size.unwrap_or(default))?;
    let path = flags.root_ca_file.clone();
    let root_ca = std::fs::read_to_string(&path).map_err(|source| RunError::RootCa { path, source })?;
    Ok(Settings { networks, root_ca })
}

/// The caches of the present term, if we lead.
type Term = Arc<Mutex<Option<Caches>>>;

/// Lets go of a term's caches and of what was down in it, also when its future is dropped where it stands because the lease was lost.
struct TermEnd(Term, Down);

impl Drop for TermEnd {
    fn drop(&mut self) {
        self.0.lock().take();
        self.1.clear();
    }
}

/// One term of leadership. Caches live no longer than that: one who waits costs next to nothing.
async fn lead(
    client: Client,
    recorder: Recorder,
    settings: Settings,
    caches: Caches,
    down: Down,
    leading: CancellationToken,
) {
    let stop = leading.child_token();
    let monitors = Monitors::start(&client, &stop, &caches);
    if stop.run_until_cancelled(caches.synced()).await.is_none() {
        return;
    }
    info!(pods = caches.pods.len(), nodes = caches.nodes.len(), "caches are complete; controllers start");
    let context = Context::new(client, recorder, caches, stop.clone());
    supervise(controllers(&context, &settings, &monitors), &stop, &down).await;
}

/// The table of contents.
fn controllers(context: &Context, settings: &Settings, monitors: &Monitors) -> Vec<Controller> {
    let make = |name: &'static str, run: fn(Context) -> Running| of(name, context, run);
    let (root_ca, networks) = (settings.root_ca.clone(), settings.networks.clone());
    let (of_namespaces, of_garbage) = (monitors.clone(), monitors.clone());
    vec![
        make("replicaset", |context| Box::pin(replicas::owners::run_replica_sets(context))),
        make("replicationcontroller", |context| Box::pin(replicas::owners::run_replication_controllers(context))),
        make("deployment", |context| Box::pin(crate::deployment::run(context))),
        make("endpointslice", |context| Box::pin(crate::endpointslice::run(context))),
        make("endpoints", |context| Box::pin(crate::endpoints::run(context))),
        make("endpointslicemirroring", |context| Box::pin(crate::endpointslicemirroring::run(context))),
        make("serviceaccount", |context| Box::pin(crate::serviceaccount::run(context))),
        of("rootca", context, move |context| Box::pin(crate::rootca::run(context, root_ca.clone()))),
        of("nodeipam", context, move |context| Box::pin(crate::nodeipam::run(context, networks.clone()))),
        make("nodelifecycle", |context| Box::pin(crate::nodelifecycle::run(context))),
        of("namespace", context, move |context| {
            let monitors = of_namespaces.owned_by(&context.stop);
            Box::pin(crate::namespace::run(context, monitors))
        }),
        of("garbagecollector", context, move |context| {
            let monitors = of_garbage.owned_by(&context.stop);
            Box::pin(crate::garbagecollector::run(context, monitors))
        }),
        make("clusterroleaggregation", |context| Box::pin(crate::clusterroleaggregation::run(context))),
        make("podgc", |context| Box::pin(crate::podgc::run(context))),
    ]
}

/// Each start of a controller has a context of its own, and hears of changes only while it runs.
fn of(name: &'static str, context: &Context, run: impl Fn(Context) -> Running + Send + Sync + 'static) -> Controller {
    let context = context.clone();
    let start = move |own: CancellationToken| {
        let caches = context.caches.owned_by(&own);
        run(Context { caches, stop: own, ..context.clone() })
    };
    Controller { name, start: Box::new(start) }
}
