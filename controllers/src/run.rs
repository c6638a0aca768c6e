//! Flags, leadership, and the list of controllers that a leader runs.

use std::io;
use std::path::PathBuf;

use corten_api::{Key, networks};
use corten_client::{Args, CancellationToken, Client, ConnectError, Recorder, health::Health, lease};
use ipnet::IpNet;

use crate::balancers::ranges::{AddressRange, Ranges};
use crate::balancers::{Classless, Rules};
use crate::caches::Caches;
use crate::certificates::flags::{Signing, SigningArgs, SigningError};
use crate::controller::{Settings, Setup};
use crate::monitors::Monitors;
use crate::networks::{Networks, SizeError};
use crate::standby::{Named, Standby};
use crate::supervise::Down;
use crate::{
    attachdetach, bootstrapsigner, clusterroleaggregation, cronjob, csrapproving, csrcleaner, csrsigning, daemonset,
    deployment, disruption, endpoints, endpointslice, endpointslicemirroring, ephemeral, garbagecollector,
    horizontalpodautoscaler, job, localdirectory, namespace, nodeipam, nodelifecycle, persistentvolume, podgc,
    pvcprotection, pvprotection, replicas, rootca, serviceaccount, servicelb, sources, statefulset,
    storageversionmigration, tokencleaner, ttlafterfinished,
};

/// Upstream's name, so that tools that look for the leader find it.
const LEASE_NAMESPACE: &str = "kube-system";
const LEASE_NAME: &str = "kube-controller-manager";
/// As upstream.
const NODE_MASK_V4: u8 = 24;
const NODE_MASK_V6: u8 = 64;

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
    /// Services of type LoadBalancer without a loadBalancerClass are somebody else's, as a cloud's: by default the nodes
    /// balance them at their own addresses, as they do those of the class corten.io/node-address.
    #[arg(long)]
    pub leave_load_balancers_without_class: bool,
    /// Services of type LoadBalancer each get one of these addresses, which nothing else may have, instead of the nodes' own:
    /// those without a loadBalancerClass, and those of the class corten.io/address-pool. Networks (192.0.2.16/28) and ranges
    /// (192.0.2.10-192.0.2.20), separated by commas. The network around must send what is for them to nodes.
    #[arg(long, value_delimiter = ',')]
    pub load_balancer_addresses: Vec<AddressRange>,
    /// Volumes that a node still uses are not detached from it because it has not been ready for six minutes: only the taint
    /// node.kubernetes.io/out-of-service lets go of them then.
    #[arg(long)]
    pub disable_force_detach_on_timeout: bool,
    #[command(flatten)]
    pub signing: SigningArgs,
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
    #[error(
        "--load-balancer-addresses {}-{} has addresses of --cluster-cidr {cluster}, which pods get: choose others",
        pool.first, pool.last
    )]
    PoolOfPods { pool: AddressRange, cluster: IpNet },
    #[error(transparent)]
    Networks(#[from] SizeError),
    #[error(transparent)]
    Signing(#[from] SigningError),
    #[error("cannot compete for the leader lease")]
    Lease(#[source] io::Error),
    #[error("cannot find the host's name: give --identity")]
    NoIdentity(#[source] io::Error),
}

/// What an instance knows and does, but for who leads: all controllers, on what they watch from now on until `stop`.
pub fn begin(client: &Client, settings: Settings, stop: &CancellationToken) -> Standby {
    let recorder = Recorder::new(client, sources::PROGRAM, "");
    let (caches, monitors) = (Caches::new(client, stop), Monitors::new(stop));
    let (client, stop) = (client.clone(), stop.clone());
    Standby::begin(Setup { name: "", caches, monitors, client, recorder, settings, stop }, CONTROLLERS)
}

/// The Lease that decides which instance leads.
pub fn lease() -> Key {
    Key::new(LEASE_NAMESPACE, LEASE_NAME)
}

/// Knows the cluster, and competes for the lease until `stop`; runs all controllers while it leads.
pub async fn run(flags: Flags, stop: CancellationToken) -> Result<(), RunError> {
    let client = flags.client.connect()?;
    let settings = settings(&flags)?;
    let identity = match &flags.identity {
        Some(given) => given.clone(),
        None => std::fs::read_to_string("/proc/sys/kernel/hostname").map_err(RunError::NoIdentity)?.trim().to_owned(),
    };
    let standby = begin(&client, settings, &stop);
    let (health, down) = (Health::new(), Down::default());
    let (known, checked) = (standby.clone(), down.clone());
    health.ready_when("caches", move || known.check());
    health.live_when("controllers", move || checked.check());
    if let Some(address) = flags.client.metrics_address {
        let served = health.serve(address, &stop).await;
        served.map_err(|source| RunError::Metrics { address, source })?;
    }
    lease::lead(&client, &lease(), &identity, &stop, move |client, leading| {
        let (standby, down) = (standby.clone(), down.clone());
        async move {
            let _ends_with_this_future = TermEnd(down.clone());
            standby.lead(client, down, leading).await;
        }
    })
    .await
    .map_err(RunError::Lease)
}

fn settings(flags: &Flags) -> Result<Settings, RunError> {
    let default = if flags.cluster_cidr.addr().is_ipv4() { NODE_MASK_V4 } else { NODE_MASK_V6 };
    let networks = Networks::of(flags.cluster_cidr, flags.node_cidr_mask_size.unwrap_or(default))?;
    let cluster = flags.cluster_cidr.trunc();
    if let Some(pool) = flags.load_balancer_addresses.iter().find(|range| range.intersects(&cluster)) {
        return Err(RunError::PoolOfPods { pool: *pool, cluster });
    }
    let path = flags.root_ca_file.clone();
    let root_ca = std::fs::read_to_string(&path).map_err(|source| RunError::RootCa { path, source })?;
    let signing = Signing::of(&flags.signing)?;
    signing.check()?;
    let classless = if flags.leave_load_balancers_without_class { Classless::Others } else { Classless::Ours };
    let balancers = Rules { classless, pool: Ranges::of(&flags.load_balancer_addresses) };
    let force_detach_on_timeout = !flags.disable_force_detach_on_timeout;
    Ok(Settings { networks, root_ca, signing, balancers, force_detach_on_timeout })
}

/// Lets go of what was down in a term, also when its future is dropped where it stands because the lease was lost.
struct TermEnd(Down);

impl Drop for TermEnd {
    fn drop(&mut self) {
        self.0.clear();
    }
}

/// The table of contents.
const CONTROLLERS: &[Named] = &[
    ("replicaset", replicas::owners::replica_sets),
    ("replicationcontroller", replicas::owners::replication_controllers),
    ("deployment", deployment::controller),
    ("statefulset", statefulset::controller),
    ("daemonset", daemonset::controller),
    ("endpointslice", endpointslice::controller),
    ("endpoints", endpoints::controller),
    ("endpointslicemirroring", endpointslicemirroring::controller),
    ("service-lb", servicelb::controller),
    ("serviceaccount", serviceaccount::controller),
    ("rootca", rootca::controller),
    ("nodeipam", nodeipam::controller),
    ("nodelifecycle", nodelifecycle::controller),
    ("nodelifecycle-reach", nodelifecycle::reach::controller),
    ("namespace", namespace::controller),
    ("garbagecollector", garbagecollector::controller),
    ("clusterroleaggregation", clusterroleaggregation::controller),
    ("podgc", podgc::controller),
    ("horizontalpodautoscaler", horizontalpodautoscaler::controller),
    ("job", job::controller),
    ("job-orphans", job::orphans::controller),
    ("cronjob", cronjob::controller),
    ("ttlafterfinished", ttlafterfinished::controller),
    ("disruption", disruption::controller),
    ("disruption-stale-pods", disruption::stale_pods),
    ("csrapproving", csrapproving::controller),
    ("csrsigning", csrsigning::controller),
    ("csrcleaner", csrcleaner::controller),
    ("bootstrapsigner", bootstrapsigner::controller),
    ("tokencleaner", tokencleaner::controller),
    ("persistentvolume-claims", persistentvolume::claims),
    ("persistentvolume-volumes", persistentvolume::volumes),
    ("pvcprotection", pvcprotection::controller),
    ("pvprotection", pvprotection::controller),
    ("ephemeral", ephemeral::controller),
    ("attachdetach", attachdetach::controller),
    ("storage-version-migrator", storageversionmigration::controller),
    ("localdirectory-claims", localdirectory::claims),
    ("localdirectory-volumes", localdirectory::volumes),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_in_the_names_of_controllers_that_there_are() {
        for (name, source) in sources::SOURCES {
            assert!(CONTROLLERS.iter().any(|(controller, _)| controller == name), "{name}");
            assert_eq!(sources::of(name), *source);
        }
        assert_eq!(sources::of("serviceaccount"), sources::PROGRAM);
    }

    #[test]
    fn a_pool_of_what_pods_get_is_refused() {
        use clap::Parser;
        for (pool, is_refused) in [("10.244.7.0/28", true), ("192.0.2.0/28,10.0.0.0/8", true), ("192.0.2.0/28", false)]
        {
            let files =
                ["--ca-file=/nowhere", "--cert-file=/nowhere", "--key-file=/nowhere", "--root-ca-file=/nowhere"];
            let given = ["corten-controllers", "--apiserver=https://127.0.0.1:6443", "--load-balancer-addresses", pool];
            let flags = Flags::try_parse_from(given.into_iter().chain(files)).unwrap();
            let found = settings(&flags).err();
            assert_eq!(matches!(found, Some(RunError::PoolOfPods { .. })), is_refused, "{pool}: {found:?}");
        }
    }
}
