//! The proxy put together: flags, watches, the worker, cluster DNS.

use std::io;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use corten_api::networks;
use corten_client::health::Health;
use corten_client::pulse::Hang;
use corten_client::{CancellationToken, Change, Client, ConnectError, Pulse, Recorder, Watch, WorkQueue};
use ipnet::Ipv4Net;
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use parking_lot::RwLock;
use tokio::task::{JoinError, JoinHandle};
use tokio::time::Instant;
use tracing::{info, warn};

use crate::directory::Directory;
use crate::dns::forward::Forwarder;
use crate::dns::server::{self, DnsError, Handler};
use crate::dns::{link, zone::Zone};
use crate::listeners;
use crate::metrics::Metrics;
use crate::nft::NftError;
use crate::routes::apply::NetError;
use crate::routes::events;
use crate::routes::switches::{self, SwitchError};
use crate::view::{Node, PodPorts, Service, Slice};
use crate::worker::{BATCH_TAKES_MAX, CHECK_EVERY, Settings, Work, Worker};

/// A link that comes or goes makes many changes at once.
const GATHER: Duration = Duration::from_millis(300);
/// So long the pods are waited for once all else is known. Rules that are written before take an earlier run's hostPorts
/// away; but an identity that may not watch this node's pods never gets them, and Services and names must not wait for it.
const PODS_WAIT: Duration = Duration::from_secs(10);
/// Who says what the proxy has to say of Services.
const EVENT_SOURCE: &str = "kube-proxy";
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// corten-proxy: Services, routes between nodes, and cluster DNS, on one node.
#[derive(Debug, clap::Parser)]
#[command(name = "corten-proxy", version)]
pub struct ProxyArgs {
    #[command(flatten)]
    pub client: corten_client::Args,
    /// The name this node is registered under.
    #[arg(long)]
    pub node_name: String,
    /// The addresses of all pods of the cluster.
    #[arg(long, default_value = networks::CLUSTER_CIDR)]
    pub cluster_cidr: Ipv4Net,
    /// The address that pods ask for names; answered on every node by its proxy.
    #[arg(long, default_value = networks::CLUSTER_DNS)]
    pub cluster_dns: Ipv4Addr,
    /// The domain that the cluster's names are in.
    #[arg(long, default_value = networks::CLUSTER_DOMAIN)]
    pub cluster_domain: String,
}

#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    #[error("the flags do not fit together")]
    Connect(#[from] ConnectError),
    #[error("--cluster-domain is no domain name")]
    Domain(#[source] hickory_proto::ProtoError),
    #[error(transparent)]
    Switch(#[from] SwitchError),
    #[error("rtnetlink cannot be opened")]
    Netlink(#[source] io::Error),
    #[error("{0}")]
    Network(#[from] NetError),
    #[error("the Service rules cannot be set up")]
    Rules(#[from] NftError),
    #[error("cluster DNS cannot be served")]
    Dns(#[from] DnsError),
    #[error("{path} cannot be read")]
    File { path: &'static str, source: io::Error },
    #[error("the worker that writes rules and routes ended by itself")]
    Worker(#[source] JoinError),
    #[error("--metrics-address cannot be listened on")]
    Metrics(#[source] io::Error),
}

/// Runs until `stop`. What was written to the kernel stays there, so that traffic goes on while the proxy restarts.
pub async fn run(args: ProxyArgs, stop: CancellationToken) -> Result<(), ProxyError> {
    let client = args.client.connect()?;
    let cidr = args.cluster_cidr.trunc();
    let zone = Zone::new(&args.cluster_domain, cidr).map_err(ProxyError::Domain)?;
    let forwarder = Forwarder::from_file(Path::new(RESOLV_CONF), args.cluster_dns)
        .map_err(|source| ProxyError::File { path: RESOLV_CONF, source })?;
    raise_file_limit();
    let bridge_sees_ip = switches::set()?;
    if !bridge_sees_ip {
        warn!("br_netfilter is not loaded: pods of one node see the node's address on Service traffic among them");
    }
    let (connection, network, _) = rtnetlink::new_connection().map_err(ProxyError::Netlink)?;
    tokio::spawn(connection);
    link::ensure(&network, args.cluster_dns).await?;

    let health = Health::new();
    let metrics = Metrics::default();
    health.metrics(|registry| metrics.register(registry));
    let directory = Arc::new(RwLock::new(Directory::default()));
    let queue = WorkQueue::new();
    let watched = Watched::start(&client, &args.node_name, &directory, &queue, &stop);
    {
        let watched = watched.clone();
        health.ready_when("watches", move || watched.check());
    }
    if let Some(address) = args.client.metrics_address {
        health.serve(address, &stop).await.map_err(ProxyError::Metrics)?;
    }
    // Until all is known, rules and names of an earlier run are better than those of half a cluster.
    match stop.run_until_cancelled(watched.synced()).await {
        None => return Ok(()),
        Some(Pods::Known) => {}
        Some(Pods::Missing) => {
            warn!("this node's pods are not known: Services and DNS are served, hostPorts once they are");
        }
    }
    let settings = Settings {
        node_name: args.node_name,
        cluster_cidr: cidr,
        cluster_dns: args.cluster_dns,
        bridge_sees_ip,
        drop_invalid: !switches::is_tcp_liberal(),
    };
    let recorder = Recorder::new(&client, EVENT_SOURCE, &settings.node_name);
    let worker = Worker::new(settings, Arc::clone(&directory), network, metrics, recorder)?;
    queue.add(Work::Everything);
    let told = queue.clone();
    events::watch(&stop, move || told.add_after(Work::Network, GATHER)).map_err(ProxyError::Netlink)?;
    tokio::spawn(now_and_then(CHECK_EVERY, Work::Everything, queue.clone(), stop.clone()));
    tokio::spawn(now_and_then(listeners::LOOK_EVERY, Work::Listeners, queue.clone(), stop.clone()));
    let (pulse, moves) = pulse(&queue);
    health.live_when("rules", move || moves().map_err(|hang| hang.to_string()));
    let working = tokio::spawn(worker.run(queue, pulse, stop.clone()));
    let listening = server::listen(args.cluster_dns, None).await?;
    if let Err(err) = sd_notify::notify(&[sd_notify::NotifyState::Ready]) {
        warn!(%err, "systemd could not be told that we are ready");
    }
    info!(dns = %args.cluster_dns, "serving");
    both(working, listening.serve(Handler { zone, directory, forwarder }, &stop)).await
}

/// The pulse of the worker that begins now, and the question whether it hangs. While the cluster was not known yet, changes
/// waited for good reason.
fn pulse(queue: &WorkQueue<Work>) -> (Pulse, impl Fn() -> Result<(), Hang> + Send + Sync + 'static) {
    let pulse = Pulse::new(BATCH_TAKES_MAX, Instant::now());
    let (of_worker, queue) = (pulse.clone(), queue.clone());
    let check = move || {
        let now = Instant::now();
        of_worker.check(now, queue.waiting_since(now))
    };
    (pulse, check)
}

/// Every question that is passed on and every TCP client of DNS has a socket: more together than a soft limit of 1024.
fn raise_file_limit() {
    let raised =
        getrlimit(Resource::RLIMIT_NOFILE).and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(err) = raised {
        warn!(%err, "the limit of open files stays as it is");
    }
}

/// Runs until both have ended, or one of them failed: names without rules are no service, nor are rules that stand still.
async fn both(
    mut working: JoinHandle<()>,
    serving: impl Future<Output = Result<(), DnsError>>,
) -> Result<(), ProxyError> {
    tokio::pin!(serving);
    tokio::select! {
        served = &mut serving => {
            served?;
            working.await.map_err(ProxyError::Worker)
        }
        worked = &mut working => {
            worked.map_err(ProxyError::Worker)?;
            Ok(serving.await?)
        }
    }
}

async fn now_and_then(every: Duration, work: Work, queue: WorkQueue<Work>, stop: CancellationToken) {
    while stop.run_until_cancelled(tokio::time::sleep(every)).await.is_some() {
        queue.add(work.clone());
    }
}

/// The watches that keep the directory.
#[derive(Clone)]
struct Watched {
    services: corten_client::Cache<Service>,
    slices: corten_client::Cache<Option<Slice>>,
    nodes: corten_client::Cache<Node>,
    pods: corten_client::Cache<Option<PodPorts>>,
}

impl Watched {
    fn start(
        client: &Client,
        node: &str,
        directory: &Arc<RwLock<Directory>>,
        queue: &WorkQueue<Work>,
        stop: &CancellationToken,
    ) -> Self {
        let parts = || (Arc::clone(directory), queue.clone());
        let (d, q) = parts();
        let services = Watch::<core::Service>::all(client).start_reduced(
            stop,
            |object| Service::from_api(&object),
            move |change| service_changed(&d, &q, change),
        );
        let (d, q) = parts();
        let name = node.to_owned();
        let slices = Watch::<EndpointSlice>::all(client).start_reduced(
            stop,
            move |object| Slice::from_api(&object, &name),
            move |change| slice_changed(&d, &q, change),
        );
        let (d, q) = parts();
        let nodes = Watch::<core::Node>::all(client).start_reduced(
            stop,
            |object| Node::from_api(&object),
            move |change| node_changed(&d, &q, change),
        );
        let (d, q) = parts();
        let pods = Watch::<core::Pod>::all(client).fields(&format!("spec.nodeName={node}")).start_reduced(
            stop,
            |object| PodPorts::from_api(&object),
            move |change| pod_changed(&d, &q, change),
        );
        Self { services, slices, nodes, pods }
    }
    async fn synced(&self) -> Pods {
        let needed = async { tokio::join!(self.services.synced(), self.slices.synced(), self.nodes.synced()) };
        enough(needed, self.pods.synced()).await
    }
    fn check(&self) -> Result<(), String> {
        let kinds = [
            ("Services", self.services.is_synced()),
            ("EndpointSlices", self.slices.is_synced()),
            ("Nodes", self.nodes.is_synced()),
            ("Pods", self.pods.is_synced()),
        ];
        match kinds.iter().find(|(_, synced)| !synced) {
            Some((kind, _)) => Err(format!("not all {kind} are known yet")),
            None => Ok(()),
        }
    }
}

/// What is known of this node's pods when serving begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pods {
    Known,
    Missing,
}

/// Returns once what Services and DNS need is known, and the pods are or have had their time.
async fn enough<T>(needed: impl Future<Output = T>, pods: impl Future<Output = ()>) -> Pods {
    needed.await;
    match tokio::time::timeout(PODS_WAIT, pods).await {
        Ok(()) => Pods::Known,
        Err(_) => Pods::Missing,
    }
}

fn service_changed(directory: &RwLock<Directory>, queue: &WorkQueue<Work>, change: Change<'_, Service>) {
    match change {
        Change::Set { old: Some(old), new, .. } if old == new => {}
        Change::Set { key, new, .. } => {
            directory.write().set_service(Arc::clone(new));
            queue.add(Work::service(key));
        }
        Change::Removed { key, .. } => {
            directory.write().remove_service(key);
            queue.add(Work::service(key));
        }
        Change::Synced => {}
    }
}

fn slice_changed(directory: &RwLock<Directory>, queue: &WorkQueue<Work>, change: Change<'_, Option<Slice>>) {
    let concerned = match change {
        Change::Set { old: Some(old), new, .. } if old == new => return,
        Change::Set { key, new, .. } => directory.write().set_slice(key, new.as_ref().clone().map(Arc::new)),
        Change::Removed { key, .. } => directory.write().set_slice(key, None),
        Change::Synced => return,
    };
    concerned.iter().for_each(|service| queue.add(Work::service(service)));
}

fn node_changed(directory: &RwLock<Directory>, queue: &WorkQueue<Work>, change: Change<'_, Node>) {
    match change {
        // Heartbeats and conditions are nothing to us.
        Change::Set { old: Some(old), new, .. } if old == new => {}
        Change::Set { key, new, .. } => {
            directory.write().set_node(Arc::clone(new));
            queue.add(Work::Node(key.name.clone()));
        }
        Change::Removed { key, .. } => {
            directory.write().remove_node(&key.name);
            queue.add(Work::Node(key.name.clone()));
        }
        Change::Synced => {}
    }
}

fn pod_changed(directory: &RwLock<Directory>, queue: &WorkQueue<Work>, change: Change<'_, Option<PodPorts>>) {
    match change {
        Change::Set { old, new, .. } if old.map_or(new.is_none(), |old| old == new) => {}
        Change::Set { key, new, .. } => {
            directory.write().set_pod(key, new.as_ref().clone().map(Arc::new));
            queue.add(Work::pod(key));
        }
        Change::Removed { key, .. } => {
            directory.write().set_pod(key, None);
            queue.add(Work::pod(key));
        }
        Change::Synced => {}
    }
}

#[cfg(test)]
mod tests {
    use corten_api::Key;

    use super::*;

    #[tokio::test]
    async fn a_nodes_change_asks_for_that_node_and_for_nothing_else() {
        let (directory, queue) = (RwLock::new(Directory::default()), WorkQueue::new());
        let (key, node) = (Key::cluster("n7"), Arc::new(Node { name: "n7".into(), ..Node::default() }));
        let set = |old| Change::Set { key: &key, old, new: &node };
        node_changed(&directory, &queue, set(None));
        node_changed(&directory, &queue, set(Some(&node)));
        assert_eq!(queue.next().await, Work::Node("n7".into()));
        queue.done(&Work::Node("n7".into()));
        assert!(queue.is_empty(), "a heartbeat asks for nothing");
        assert!(directory.read().node("n7").is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn services_and_dns_do_not_wait_for_pods_that_may_not_be_watched() {
        let after = |secs| tokio::time::sleep(Duration::from_secs(secs));
        let never = 1 << 20;
        let cases = [
            ("all at once", 0, 0, Pods::Known, 0),
            ("the pods a little later: an earlier run's hostPorts stay", 1, 4, Pods::Known, 4),
            ("no right to watch pods", 1, never, Pods::Missing, 11),
            ("an apiserver that comes late", 60, never, Pods::Missing, 70),
        ];
        for (why, needed, pods, expected, secs) in cases {
            let began = tokio::time::Instant::now();
            assert_eq!(enough(after(needed), after(pods)).await, expected, "{why}");
            assert_eq!(began.elapsed().as_secs(), secs, "{why}");
        }
        let nothing = enough(std::future::pending::<()>(), after(0));
        assert!(
            tokio::time::timeout(Duration::from_secs(3600), nothing).await.is_err(),
            "half a cluster is not served"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_that_does_not_end_and_changes_that_nobody_takes_up_are_hangs() {
        let (queue, after) = (WorkQueue::new(), |secs| tokio::time::advance(Duration::from_secs(secs)));
        queue.add(Work::Everything);
        // The cluster was not known for a long time.
        after(3600).await;
        let pulse = pulse(&queue);
        let hangs = || (pulse.1)().err().map(|hang| hang.to_string()[..10].to_owned());
        assert_eq!(hangs(), None);
        after(121).await;
        assert_eq!(hangs().as_deref(), Some("work waits"));
        let batch = pulse.0.begin(Instant::now());
        assert_eq!(queue.next().await, Work::Everything);
        assert_eq!(hangs(), None);
        after(121).await;
        assert_eq!(hangs().as_deref(), Some("work that "));
        drop(batch);
        queue.done(&Work::Everything);
        after(3600).await;
        assert_eq!(hangs(), None, "nothing changes");
    }

    #[tokio::test]
    async fn a_worker_that_fails_ends_the_proxy() {
        let working = tokio::spawn(async { panic!("a bug") });
        let ended = tokio::time::timeout(Duration::from_secs(5), both(working, std::future::pending())).await;
        assert!(matches!(ended, Ok(Err(ProxyError::Worker(_)))));
    }
}
