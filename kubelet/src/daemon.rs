//! Where the parts are put together: ports, node, pods, server. Read this to see who knows whom.

use std::net::SocketAddr;
use std::sync::Arc;

use corten_api::volumes::DIRECTORIES;
use corten_client::{CancellationToken, Change, Watch};
use k8s_openapi::api::core::v1::Pod;
use tokio::sync::{Semaphore, mpsc};
use tracing::info;

use crate::cgroup::{CgroupError, Hierarchy, PodLimits, cpu_shares, pods_path};
use crate::cluster::Cluster;
use crate::cluster::api::ApiCluster;
use crate::config::Config;
use crate::directories::{Directories, Used, given};
use crate::files::ClusterDns;
use crate::images::Images;
use crate::images::containerd::ContainerdImages;
use crate::network::bridge::BridgeNetwork;
use crate::network::{NetworkError, PodNetwork};
use crate::node::{Identity, Machine, NodeAgent, NodeHealth, OwnNode};
use crate::node_facts::NodeFacts;
use crate::place::{Facts, Place, STARTS_AT_ONCE};
use crate::pod::confinement::Kernel;
use crate::pods::{self, News, PodSources, Table};
use crate::resolv_conf::NodeFile;
use crate::runtime::containerd::{Config as RuntimeConfig, Containerd};
use crate::runtime::{Runtime, RuntimeError};
use crate::server::{self, Server, ServerError};
use crate::sources::Remembered;
use crate::status_writer::StatusWriter;
use crate::{node, static_pods};

/// Changes of pods that wait for the manager; then the watch waits.
const POD_CHANGES: usize = 1024;

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Connect(#[from] corten_client::ConnectError),
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    #[error("the pod network cannot be used")]
    Network(#[from] NetworkError),
    #[error("cannot make {path}")]
    Directory {
        path: String,
        #[source]
        source: std::io::Error,
    },
    #[error("the kubelet's server cannot start")]
    Server(#[from] ServerError),
    #[error("cannot serve on --metrics-address")]
    Metrics(#[source] std::io::Error),
    #[error("cannot find our own program, which writes the containers' logs")]
    OwnProgram(#[source] std::io::Error),
}

/// Runs the node agent until `stop`. What runs in containers goes on running after it.
pub async fn run(config: Config, stop: CancellationToken) -> Result<(), StartError> {
    let client = config.client.connect()?;
    for dir in [&config.root_dir, &config.log_dir] {
        std::fs::create_dir_all(dir)
            .map_err(|source| StartError::Directory { path: dir.display().to_string(), source })?;
    }
    let containerd = Containerd::new(RuntimeConfig {
        socket: config.containerd.clone(),
        state_dir: config.root_dir.join("runtime"),
        logger: std::env::current_exe().map_err(StartError::OwnProgram)?,
    })?;
    let images: Arc<dyn Images> = Arc::new(ContainerdImages::new(&containerd, config.registry_mirror.clone()));
    let runtime: Arc<dyn Runtime> = Arc::new(containerd);
    let network: Arc<dyn PodNetwork> = Arc::new(BridgeNetwork::new("/run/corten/netns".as_ref())?);
    let machine = Machine::read(&config.root_dir);
    let cluster: Arc<dyn Cluster> = Arc::new(ApiCluster::new(&client, &config.node_name, &stop));
    let hierarchy = Hierarchy::detect()?;
    let statuses = StatusWriter::new();
    statuses.start(&cluster, &stop);
    let own_node = OwnNode::watch(&client, &config.node_name, &stop);
    let facts = facts(&config, &machine);
    let place = Arc::new(Place {
        node: newest_node(&config, &own_node, &facts),
        facts,
        runtime: Arc::clone(&runtime),
        images: Arc::clone(&images),
        network: Arc::clone(&network),
        cgroups: Some(Arc::new(hierarchy.clone())),
        directories: Directories::new(DIRECTORIES, &config.node_name, &cluster, &stop),
        cluster,
        sources: Remembered::default(),
        statuses,
        starts: Semaphore::new(STARTS_AT_ONCE),
    });
    keep_directories(&place);
    let table = Table::default();
    let server = tokio::spawn(server::serve(server_of(&config, &place, &table, hierarchy.clone()), stop.clone()));
    let health = Arc::new(NodeHealth::default());
    if let Some(address) = config.client.metrics_address {
        serve_health(address, &health, &table, &stop).await?;
    }
    let agent = NodeAgent {
        client: client.clone(),
        identity: identity(&config),
        machine,
        runtime,
        images,
        network,
        cluster: Arc::clone(&place.cluster),
        root_dir: config.root_dir.clone(),
        eviction_hard: config.eviction_hard,
        limits: hold_pods_to(&place.facts, &hierarchy),
        health,
    };
    node::start(agent, own_node, &stop);
    let sources = if config.static_pod_dir.is_some() { PodSources::ApiAndFiles } else { PodSources::Api };
    let (news, manager) = pods::start(&place, &table, sources, &stop);
    if let Some(dir) = &config.static_pod_dir {
        static_pods::start(dir.clone(), config.node_name.clone(), news.clone(), &stop);
    }
    watch_pods(&client, &config.node_name, news, &stop);
    info!(node = config.node_name, "the kubelet has started");
    let ended = tokio::select! {
        // The server ends before `stop` only when it could not begin.
        ended = server => ended.map(|ended| ended.map_err(StartError::from)),
        // Without it no pod is looked after. What runs goes on, and the kubelet that is started next takes it over.
        ended = manager => ended.map(Ok),
    };
    ended.unwrap_or_else(|panicked| std::panic::resume_unwind(panicked.into_panic()))
}

/// Removes directories of volumes that nobody uses any more: `place` knows who does.
fn keep_directories(place: &Arc<Place>) {
    let of_pods = Arc::downgrade(place);
    place.directories.start(Box::new(move |used| {
        // Containers go on when the kubelet ends.
        of_pods.upgrade().is_none_or(|place| match used {
            Used::Claim(key, uid) => place.sources.has_claim(key, uid),
            Used::Volume(name) => place.sources.has_volume(name),
            Used::Mount(name) => given::is_given(&place.pods_dir(), name),
        })
    }));
}

/// The newest Node, for whoever asks.
fn newest_node(config: &Config, own: &OwnNode, facts: &Facts) -> Box<dyn Fn() -> NodeFacts + Send + Sync> {
    let (config, cache, allocatable) = (config.clone(), own.cache.clone(), facts.allocatable.clone());
    Box::new(move || {
        let node = cache.list().into_iter().next();
        NodeFacts::of(node.as_deref(), &config.node_name, &allocatable, &config.allowed_unsafe_sysctls)
    })
}

/// `--metrics-address`: whether pods are looked after, whether the node is well, and the metrics that every component has.
async fn serve_health(
    address: SocketAddr,
    node: &Arc<NodeHealth>,
    table: &Table,
    stop: &CancellationToken,
) -> Result<(), StartError> {
    let (of_node, of_runtime, table) = (Arc::clone(node), Arc::clone(node), table.clone());
    let served = corten_client::health::Health::new();
    served.live_when("syncloop", move || server::is_moving(&table));
    served.live_when("runtime", move || of_runtime.runtime());
    served.ready_when("node", move || of_node.check());
    served.serve(address, stop).await.map_err(StartError::Metrics)
}

/// The pods together may use what the node has to give, and weigh as much against what else runs on it.
fn hold_pods_to(facts: &Facts, hierarchy: &Hierarchy) -> Result<(), String> {
    let amount = |name: &str| facts.allocatable.get(name).copied();
    let limits = PodLimits {
        cpu_shares: amount("cpu").map(cpu_shares),
        memory_limit_bytes: amount("memory").filter(|bytes| *bytes > 0),
        ..PodLimits::default()
    };
    let path = pods_path(&facts.cgroup_root);
    let done = hierarchy.ensure(&path).and_then(|()| hierarchy.set_limits(&path, &limits));
    done.map_err(|err| corten_api::error::with_causes(&err))
}

fn server_of(config: &Config, place: &Place, table: &Table, hierarchy: Hierarchy) -> Server {
    Server {
        node_name: config.node_name.clone(),
        listen: config.listen,
        cert_file: config.server_cert_file.clone(),
        key_file: config.server_key_file.clone(),
        client_ca_file: config.client_ca_file.clone(),
        pods: Arc::new(table.clone()),
        runtime: Arc::clone(&place.runtime),
        hierarchy,
        cgroup_root: config.cgroup_root.clone(),
        rates: server::Rates::default(),
        credentials: server::Credentials::default(),
    }
}

fn facts(config: &Config, machine: &Machine) -> Facts {
    Facts {
        node_name: config.node_name.clone(),
        node_hostname: machine.hostname.clone(),
        addresses: vec![config.node_ip],
        root_dir: config.root_dir.clone(),
        log_dir: config.log_dir.clone(),
        cgroup_root: config.cgroup_root.clone(),
        dns: ClusterDns { server: config.cluster_dns, domain: config.cluster_domain.clone() },
        resolv_conf: NodeFile(Some(config.resolv_conf.clone()).filter(|path| !path.as_os_str().is_empty())),
        allocatable: machine.capacity.clone(),
        kernel: Kernel::look(),
    }
}

fn identity(config: &Config) -> Identity {
    Identity {
        name: config.node_name.clone(),
        addresses: vec![config.node_ip],
        labels: config.labels(),
        taints: config.register_with_taint.clone(),
        port: config.listen.port(),
    }
}

/// The pods of this node, from the API to the manager. The callback only enqueues; a task does the waiting.
fn watch_pods(client: &corten_client::Client, node_name: &str, news: mpsc::Sender<News>, stop: &CancellationToken) {
    let (tx, mut rx) = mpsc::channel::<News>(POD_CHANGES);
    let resync = Arc::new(tokio::sync::Notify::new());
    let overflow = Arc::clone(&resync);
    let cache = Watch::<Pod>::all(client).fields(&format!("spec.nodeName={node_name}")).start(stop, move |change| {
        let told = match change {
            Change::Set { key, new, .. } => News::Api { key: key.clone(), pod: Some(Arc::clone(new)) },
            Change::Removed { key, .. } => News::Api { key: key.clone(), pod: None },
            Change::Synced => News::ApiSynced,
        };
        if tx.try_send(told).is_err() {
            // Rather than wait here: the manager is told of all of them, from the cache.
            overflow.notify_one();
        }
    });
    let stop = stop.clone();
    tokio::spawn(async move {
        let forward = async {
            loop {
                tokio::select! {
                    Some(told) = rx.recv() => if news.send(told).await.is_err() { return },
                    () = resync.notified() => {
                        // What waits is older than the cache; told after it, it would bring back what is gone.
                        while rx.try_recv().is_ok() {}
                        cache.synced().await;
                        for told in [News::ApiAll(cache.entries()), News::ApiSynced] {
                            if news.send(told).await.is_err() {
                                return;
                            }
                        }
                    }
                }
            }
        };
        stop.run_until_cancelled(forward).await;
    });
}
