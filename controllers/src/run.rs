//! Flags, leadership, and the list of controllers that a leader runs.

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use corten_api::Key;
use corten_client::{Args, CancellationToken, Client, ConnectError, Recorder, health::Health, lease};
use ipnet::IpNet;
use parking_lot::Mutex;
use tokio::task::JoinSet;
use tracing::{error, info};

use crate::caches::Caches;
use crate::context::Context;
use crate::monitors::Monitors;
use crate::nodeipam::networks::{Networks, SizeError};
use crate::replicas;

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
    #[arg(long, default_value = "10.244.0.0/16")]
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
    if let Some(address) = flags.client.metrics_address {
        let served = health.serve(address, &stop).await;
        served.map_err(|source| RunError::Metrics { address, source })?;
    }
    let lease = Key::new(LEASE_NAMESPACE, LEASE_NAME);
    let recorder = Recorder::new(&client, EVENT_SOURCE, "");
    let of_work = client.clone();
    lease::lead(&client, &lease, &identity, &stop, move |leading| {
        let client = of_work.clone();
        let caches = Caches::start(&client, &leading);
        *term.lock() = Some(caches.clone());
        let (recorder, settings, term) = (recorder.clone(), settings.clone(), Arc::clone(&term));
        async move {
            let _ends_with_this_future = TermEnd(term);
            lead(client, recorder, settings, caches, leading).await;
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

/// Lets go of a term's caches, also when its future is dropped where it stands because the lease was lost.
struct TermEnd(Term);

impl Drop for TermEnd {
    fn drop(&mut self) {
        self.0.lock().take();
    }
}

/// One term of leadership. Caches live no longer than that: one who waits costs next to nothing.
async fn lead(client: Client, recorder: Recorder, settings: Settings, caches: Caches, leading: CancellationToken) {
    let stop = leading.child_token();
    let monitors = Monitors::start(&client, &stop, &caches);
    if stop.run_until_cancelled(caches.synced()).await.is_none() {
        return;
    }
    info!(pods = caches.pods.len(), nodes = caches.nodes.len(), "caches are complete; controllers start");
    let context = Context { client, recorder, caches, stop: stop.clone() };
    let mut running = JoinSet::new();
    for controller in controllers(&context, &settings, &monitors) {
        running.spawn(controller);
    }
    supervise(running, &stop).await;
}

/// Returns once all have ended. When one does before `stop`, all are stopped: half a set of controllers is worse than a
/// term that begins anew.
async fn supervise(mut running: JoinSet<()>, stop: &CancellationToken) {
    while let Some(ended) = running.join_next().await {
        if !stop.is_cancelled() {
            error!(cause = ?ended.err(), "a controller ended by itself; all begin anew");
            stop.cancel();
        }
    }
}

type Running = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The table of contents.
fn controllers(context: &Context, settings: &Settings, monitors: &Monitors) -> Vec<Running> {
    vec![
        Box::pin(replicas::owners::run_replica_sets(context.clone())),
        Box::pin(replicas::owners::run_replication_controllers(context.clone())),
        Box::pin(crate::deployment::run(context.clone())),
        Box::pin(crate::endpointslice::run(context.clone())),
        Box::pin(crate::endpoints::run(context.clone())),
        Box::pin(crate::endpointslicemirroring::run(context.clone())),
        Box::pin(crate::serviceaccount::run(context.clone())),
        Box::pin(crate::rootca::run(context.clone(), settings.root_ca.clone())),
        Box::pin(crate::nodeipam::run(context.clone(), settings.networks.clone())),
        Box::pin(crate::nodelifecycle::run(context.clone())),
        Box::pin(crate::namespace::run(context.clone(), monitors.clone())),
        Box::pin(crate::garbagecollector::run(context.clone(), monitors.clone())),
        Box::pin(crate::podgc::run(context.clone())),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_controller_that_ends_by_itself_ends_the_term() {
        let stop = CancellationToken::new();
        let mut running = JoinSet::new();
        running.spawn(stop.clone().cancelled_owned());
        running.spawn(std::future::ready(()));
        let ended = tokio::time::timeout(std::time::Duration::from_secs(5), supervise(running, &stop)).await;
        assert!(ended.is_ok() && stop.is_cancelled());
    }
}
