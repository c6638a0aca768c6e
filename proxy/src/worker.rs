//! Turns what changed into edits of the kernel: the one task that owns the ledger, the rules and the routes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use corten_api::Key;
use corten_client::{CancellationToken, WorkQueue};
use ipnet::Ipv4Net;
use parking_lot::RwLock;
use tokio::task::block_in_place;
use tracing::{debug, info, warn};

use crate::conntrack;
use crate::directory::Directory;
use crate::dns::link;
use crate::metrics::Metrics;
use crate::nft::NftError;
use crate::nft::dump::RememberedClient;
use crate::nft::kernel::Kernel;
use crate::nft::socket::NetfilterSocket;
use crate::routes::apply::{self as network, NetError};
use crate::routes::desired as routes;
use crate::ruleset::diff::{Flow, StaleFlow};
use crate::ruleset::elements::{self, Elements, KeyBytes, Map, Slot};
use crate::ruleset::ledger::{Change, Ledger};
use crate::ruleset::{End, Owner, Place, desired, diff};

/// The whole state is compared with the kernel this often, whatever happens.
pub const CHECK_EVERY: Duration = Duration::from_secs(300);
/// Changes that wait are done together, up to so many.
const BATCH_MAX: usize = 1024;

/// What may have changed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Work {
    Owner(Owner),
    /// This node's links, addresses or routes.
    Network,
    /// Nodes, or the kernel's own state: everything is compared.
    Everything,
}

impl Work {
    pub fn service(key: &Key) -> Self {
        Self::Owner(Owner::Service(key.clone()))
    }
    pub fn pod(key: &Key) -> Self {
        Self::Owner(Owner::Pod(key.clone()))
    }
}

#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    #[error("the Service rules could not be written")]
    Rules(#[from] NftError),
    #[error("the pod network's routes could not be written")]
    Network(#[from] NetError),
}

/// What never changes while the proxy runs.
#[derive(Clone, Debug)]
pub struct Settings {
    pub node_name: String,
    pub cluster_cidr: Ipv4Net,
    pub cluster_dns: Ipv4Addr,
    pub bridge_sees_ip: bool,
}

pub struct Worker {
    pub settings: Settings,
    pub directory: Arc<RwLock<Directory>>,
    pub network: rtnetlink::Handle,
    pub metrics: Metrics,
    kernel: Kernel,
    flows: NetfilterSocket,
    ledger: Ledger,
    place: Option<Place>,
    /// Said once for each set of nodes.
    unreachable: Vec<String>,
}

impl Worker {
    pub fn new(
        settings: Settings,
        directory: Arc<RwLock<Directory>>,
        network: rtnetlink::Handle,
        metrics: Metrics,
    ) -> Result<Self, NftError> {
        let (kernel, flows) = (Kernel::open()?, NetfilterSocket::open()?);
        let (ledger, unreachable) = (Ledger::default(), Vec::new());
        Ok(Self { settings, directory, network, metrics, kernel, flows, ledger, place: None, unreachable })
    }

    /// Works until `stop`. What fails comes again, as a full comparison, with backoff.
    pub async fn run(mut self, queue: WorkQueue<Work>, stop: CancellationToken) {
        while let Some(first) = stop.run_until_cancelled(queue.next()).await {
            let mut batch = vec![first];
            while batch.len() < BATCH_MAX && !queue.is_empty() {
                batch.push(queue.next().await);
            }
            match self.work(&batch).await {
                Ok(()) => queue.forget(&Work::Everything),
                Err(err) => {
                    let cause = std::error::Error::source(&err).map(ToString::to_string).unwrap_or_default();
                    warn!(%err, cause, "will try again");
                    queue.add_failed(Work::Everything);
                }
            }
            for work in &batch {
                queue.done(work);
            }
        }
    }

    async fn work(&mut self, batch: &[Work]) -> Result<(), SyncError> {
        if batch.contains(&Work::Everything) || self.place.is_none() {
            return self.everything().await;
        }
        if batch.contains(&Work::Network) {
            self.network_changed().await?;
        }
        let started = Instant::now();
        let owners = batch.iter().filter_map(|w| if let Work::Owner(owner) = w { Some(owner) } else { None });
        let changes = self.learn(owners);
        let edits = diff::edits(&changes);
        if edits.is_empty() {
            return Ok(());
        }
        if let Err(err) = block_in_place(|| self.kernel.apply(&edits)) {
            // The ledger is ahead of the kernel now; only a full comparison tells by how much.
            self.place = None;
            return Err(err.into());
        }
        self.metrics.edited(edits.len(), self.ledger.len(), started.elapsed());
        debug!(fronts = changes.len(), edits = edits.len(), took = ?started.elapsed(), "rules changed");
        Ok(block_in_place(|| self.forget(&changes))?)
    }

    /// Takes in what these owners want now.
    fn learn<'a>(&mut self, owners: impl Iterator<Item = &'a Owner>) -> Vec<Change> {
        let Some(place) = &self.place else { return Vec::new() };
        let directory = self.directory.read();
        let mut changes = Vec::new();
        for owner in owners {
            let fronts = match owner {
                Owner::Service(key) => {
                    let service = directory.service(key);
                    service.map(|s| desired::service(s, &directory.slices_of(key), place))
                }
                Owner::Pod(key) => directory.pod(key).map(|pod| desired::host_ports(pod, place)),
            };
            changes.extend(self.ledger.set(owner, fronts.unwrap_or_default()));
        }
        changes
    }

    /// Routes come back; what depends on the node's own addresses, too, if these are others now.
    async fn network_changed(&mut self) -> Result<(), SyncError> {
        let networks = network::own_networks(&self.network, link::LINK).await?;
        if self.place.as_ref() != Some(&self.place_among(&networks)) {
            return self.everything().await;
        }
        self.lead_routes(&networks).await
    }

    /// Compares all there is: links, routes, base rules, every element.
    async fn everything(&mut self) -> Result<(), SyncError> {
        let started = Instant::now();
        let networks = network::own_networks(&self.network, link::LINK).await?;
        self.place = Some(self.place_among(&networks));
        let owners: Vec<Owner> = {
            let directory = self.directory.read();
            let known = directory.services().map(|s| Owner::Service(s.key.clone()));
            let known = known.chain(directory.pods().map(|p| Owner::Pod(p.key.clone())));
            known.chain(self.ledger.owners().cloned()).collect()
        };
        self.learn(owners.iter());
        let mended = block_in_place(|| self.reconcile())?;
        self.metrics.checked(mended, self.ledger.len(), started.elapsed());
        let took = started.elapsed();
        info!(
            fronts = self.ledger.len(),
            added = mended.added,
            replaced = mended.replaced,
            removed = mended.removed,
            ?took,
            "rules compared"
        );
        // Whatever changed while nobody looked: flows may be older than this run.
        let ledger = &self.ledger;
        block_in_place(|| conntrack::forget(&mut self.flows, |flow| diff::is_stale(flow, ledger.get(&flow.front))))?;
        self.lead_routes(&networks).await
    }

    fn place_among(&self, networks: &[Ipv4Net]) -> Place {
        let directory = self.directory.read();
        let this = directory.node(&self.settings.node_name);
        let listed = this.into_iter().flat_map(|n| n.addresses.iter().copied());
        Place {
            addresses: networks.iter().map(Ipv4Net::addr).chain(listed).collect(),
            pod_cidr: this.and_then(|n| n.pod_cidr),
            nodes: directory.nodes().flat_map(|n| n.addresses.iter().copied()).collect(),
            cluster_dns: self.settings.cluster_dns,
            cluster_cidr: self.settings.cluster_cidr,
            bridge_sees_ip: self.settings.bridge_sees_ip,
        }
    }

    fn reconcile(&mut self) -> Result<crate::nft::kernel::Mended, NftError> {
        let Some(place) = &self.place else { return Ok(Default::default()) };
        let mut want: Elements = elements::of_place(place);
        let mut sticky: BTreeMap<KeyBytes, Vec<End>> = BTreeMap::new();
        for (front, rules) in self.ledger.iter() {
            want.extend(elements::of_front(front, rules));
            if rules.affinity_secs.is_some() {
                let ends = diff::ends(Some(rules)).into_iter().collect();
                sticky.insert(Slot::front(Map::Remember, front).key, ends);
            }
        }
        let mended = self.kernel.reconcile(place, &want);
        if mended.is_err() {
            self.place = None;
        }
        let mended = mended?;
        // What was remembered before a restart may be about fronts and ends that are gone.
        self.kernel.forget_clients(|client| {
            let ends = remembered_front(client).and_then(|front| sticky.get(&front));
            !ends.is_some_and(|ends| ends.iter().any(|end| client.end == Some(elements::Value::To(*end))))
        })?;
        Ok(mended)
    }

    /// What was noted about ends that are no longer there: UDP flows, and clients of sticky fronts.
    fn forget(&mut self, changes: &[Change]) -> Result<(), NftError> {
        let stale: BTreeSet<StaleFlow> = diff::stale_flows(changes).into_iter().collect();
        if !stale.is_empty() {
            let is_stale = |flow: &Flow| stale.contains(&StaleFlow { front: flow.front, end: flow.end });
            let forgotten = conntrack::forget(&mut self.flows, is_stale)?;
            debug!(forgotten, "UDP flows forgotten");
        }
        let was_sticky = |c: &&Change| c.before.as_ref().is_some_and(|r| r.affinity_secs.is_some());
        let of = |c: &Change| (Slot::front(Map::Remember, &c.front).key, diff::ends(c.after.as_ref()));
        let sticky: BTreeMap<KeyBytes, _> = changes.iter().filter(was_sticky).map(of).collect();
        if !sticky.is_empty() {
            self.kernel.forget_clients(|client| {
                let ends = remembered_front(client).and_then(|front| sticky.get(&front));
                ends.is_some_and(|ends| !ends.iter().any(|end| client.end == Some(elements::Value::To(*end))))
            })?;
        }
        Ok(())
    }

    async fn lead_routes(&mut self, links: &[Ipv4Net]) -> Result<(), SyncError> {
        let wanted = {
            let directory = self.directory.read();
            routes::desired(&self.settings.node_name, directory.nodes().map(Arc::as_ref), links)
        };
        if wanted.unreachable != self.unreachable {
            if !wanted.unreachable.is_empty() {
                warn!(nodes = ?wanted.unreachable, "these nodes share no link with this one: their pods cannot be reached");
            }
            self.unreachable = wanted.unreachable;
        }
        for edit in routes::diff(&network::ours(&self.network).await?, &wanted.routes) {
            info!(?edit, "route");
            network::apply(&self.network, edit).await?;
        }
        Ok(())
    }
}

/// The front that a remembered client asked for: its key is the client's address, then the front.
fn remembered_front(client: &RememberedClient) -> Option<KeyBytes> {
    KeyBytes::new(client.key.get(4..)?)
}
