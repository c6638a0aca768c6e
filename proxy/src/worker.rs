//! Turns what changed into edits of the kernel: the one task that owns the ledger, the rules and the routes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use corten_api::Key;
use corten_api::error::with_causes;
use corten_client::{CancellationToken, Pulse, Recorder, WorkQueue};
use ipnet::Ipv4Net;
use parking_lot::RwLock;
use tokio::task::block_in_place;
use tracing::{debug, info, warn};

use crate::conntrack;
use crate::directory::Directory;
use crate::dns::link;
use crate::health_check::HealthChecks;
use crate::listeners::{self, Listeners};
use crate::metrics::Metrics;
use crate::nft::NftError;
use crate::nft::dump::RememberedClient;
use crate::nft::kernel::Kernel;
use crate::nft::socket::NetfilterSocket;
use crate::nodes::{Consequences, Nodes};
use crate::refused::{self, Refused};
use crate::routes::apply::{self as network, NetError};
use crate::routes::desired as routes;
use crate::routes::switches;
use crate::ruleset::diff::{Flow, StaleFlow};
use crate::ruleset::elements::{self, Elements, KeyBytes, Map, Slot};
use crate::ruleset::ledger::{Change, Ledger};
use crate::ruleset::refusals::Refusals;
use crate::ruleset::{End, Front, Owner, Place, desired, diff};

/// The whole state is compared with the kernel this often, whatever happens.
pub const CHECK_EVERY: Duration = Duration::from_secs(300);
/// A batch in the kernel takes no longer, nor the wait until it is begun: 10,000 Services are written in a tenth of a second.
pub const BATCH_TAKES_MAX: Duration = Duration::from_secs(120);
/// Changes that wait are done together, up to so many.
const BATCH_MAX: usize = 1024;

/// What may have changed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Work {
    Owner(Owner),
    /// A Node, by its name.
    Node(String),
    /// This node's links, addresses or routes.
    Network,
    /// The programs of this machine that listen.
    Listeners,
    /// The kernel's own state: everything is compared.
    Everything,
}

impl Work {
    pub fn service(key: &Key) -> Self {
        Self::Owner(Owner::Service(key.clone()))
    }
    pub fn pod(key: &Key) -> Self {
        Self::Owner(Owner::Pod(key.clone()))
    }
    /// Whose claims are to be looked at again.
    fn owner(&self) -> Option<Owner> {
        match self {
            Self::Owner(owner) => Some(owner.clone()),
            Self::Node(name) => Some(Owner::Node(name.clone())),
            Self::Listeners => Some(Owner::This),
            Self::Network | Self::Everything => None,
        }
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
    pub drop_invalid: bool,
}

pub struct Worker {
    pub settings: Settings,
    pub directory: Arc<RwLock<Directory>>,
    pub network: rtnetlink::Handle,
    pub metrics: Metrics,
    kernel: Kernel,
    flows: NetfilterSocket,
    ledger: Ledger,
    refusals: Refusals,
    place: Option<Place>,
    listeners: Listeners,
    nodes: Nodes,
    /// The networks of this node's links, when they were last looked at.
    links: Vec<Ipv4Net>,
    /// Each node is told of once.
    unreachable: BTreeSet<String>,
    health_checks: HealthChecks,
    recorder: Recorder,
    refused: Refused,
}

impl Worker {
    pub fn new(
        settings: Settings,
        directory: Arc<RwLock<Directory>>,
        network: rtnetlink::Handle,
        metrics: Metrics,
        recorder: Recorder,
    ) -> Result<Self, NftError> {
        let (kernel, flows) = (Kernel::open()?, NetfilterSocket::open()?);
        Ok(Self {
            settings,
            directory,
            network,
            metrics,
            kernel,
            flows,
            ledger: Ledger::default(),
            refusals: Refusals::default(),
            place: None,
            listeners: Listeners::default(),
            nodes: Nodes::default(),
            links: Vec::new(),
            unreachable: BTreeSet::new(),
            health_checks: HealthChecks::default(),
            recorder,
            refused: Refused::default(),
        })
    }

    /// Works until `stop`. What fails comes again, as a full comparison, with backoff. `pulse` is that of the batches.
    pub async fn run(mut self, queue: WorkQueue<Work>, pulse: Pulse, stop: CancellationToken) {
        while let Some(first) = stop.run_until_cancelled(queue.next()).await {
            let _under_way = pulse.begin(tokio::time::Instant::now());
            let mut batch = vec![first];
            while batch.len() < BATCH_MAX && !queue.is_empty() {
                batch.push(queue.next().await);
            }
            let worked = self.work(&batch).await;
            self.health_checks.set_well(worked.is_ok());
            match worked {
                Ok(()) => queue.forget(&Work::Everything),
                Err(err) => {
                    warn!(err = with_causes(&err), "will try again");
                    queue.add_failed(Work::Everything);
                }
            }
            for work in &batch {
                queue.done(work);
            }
        }
    }

    async fn work(&mut self, batch: &[Work]) -> Result<(), SyncError> {
        let own = Work::Node(self.settings.node_name.clone());
        if batch.contains(&Work::Everything) || batch.contains(&own) && self.has_moved(&self.links) {
            return self.everything().await;
        }
        if batch.contains(&Work::Network) || self.place.is_none() {
            self.network_changed().await?;
        }
        if batch.contains(&Work::Listeners) {
            self.look_for_listeners();
        }
        let started = Instant::now();
        let routes = self.nodes_changed(batch);
        let owners: Vec<Owner> = batch.iter().filter_map(Work::owner).collect();
        let changes = self.learn(owners.iter());
        self.tell_of_refusals(&owners, &changes);
        let mut edits = diff::edits(&changes);
        edits.extend(self.nodes_turned());
        if !edits.is_empty() {
            if let Err(err) = block_in_place(|| self.kernel.apply(&edits)) {
                // The ledger is ahead of the kernel now; only a full comparison tells by how much.
                self.place = None;
                return Err(err.into());
            }
            self.metrics.edited(edits.len(), self.ledger.len(), started.elapsed());
            debug!(fronts = changes.len(), edits = edits.len(), took = ?started.elapsed(), "rules changed");
            block_in_place(|| self.forget(&changes))?;
        }
        for edit in routes {
            info!(?edit, "route");
            network::apply(&self.network, edit).await?;
        }
        Ok(())
    }

    /// What changed nodes change in routes.
    fn nodes_changed(&mut self, batch: &[Work]) -> Vec<routes::Edit> {
        let mut all = Vec::new();
        let names = batch.iter().filter_map(|work| if let Work::Node(name) = work { Some(name) } else { None });
        for name in names {
            let node = self.directory.read().node(name).cloned();
            if *name == self.settings.node_name {
                self.nodes.set(name, node);
                continue;
            }
            let Consequences { routes, unreachable } = self.nodes.change(name, node, &self.links);
            all.extend(routes);
            if !unreachable {
                self.unreachable.remove(name);
            } else if self.unreachable.insert(name.clone()) {
                warn!(node = name, "this node shares no link with ours: its pods cannot be reached");
            }
        }
        all
    }

    /// Addresses that became a node's or ceased to be one: by a node's change, or by a Service's that has a better right.
    fn nodes_turned(&mut self) -> Vec<diff::Edit> {
        let turned = self.ledger.take_turned();
        let Some(place) = self.place.as_mut() else { return Vec::new() };
        let edit = |(address, is_node)| {
            let slot = elements::node(address);
            // This node's own are there whatever it says of itself.
            if place.addresses.contains(&address) {
                None
            } else if is_node {
                place.nodes.insert(address).then_some(diff::Edit::Add(slot, elements::Value::Member))
            } else {
                place.nodes.remove(&address).then_some(diff::Edit::Remove(slot))
            }
        };
        turned.into_iter().filter_map(edit).collect()
    }

    /// Takes in what these owners want now.
    fn learn<'a>(&mut self, owners: impl Iterator<Item = &'a Owner>) -> Vec<Change> {
        let Some(place) = &self.place else { return Vec::new() };
        let directory = self.directory.read();
        let mut changes = Vec::new();
        for owner in owners {
            let claims = match owner {
                Owner::Service(key) => {
                    let service = directory.service(key).map(|service| (service, directory.slices_of(key)));
                    let asked = service.as_ref().and_then(|(s, slices)| desired::health_check(s, slices));
                    self.health_checks.set(key, asked);
                    let claims = service.as_ref().map(|(s, slices)| desired::service(s, slices, place));
                    let too_large = claims.as_ref().and_then(|claims| claims.too_large);
                    if self.refused.note(key, too_large.is_some())
                        && let Some(((service, _), elements)) = service.zip(too_large)
                    {
                        refused::tell(&self.recorder, service, elements);
                    }
                    claims
                }
                Owner::Pod(key) => directory.pod(key).map(|pod| desired::host_ports(pod, place)),
                Owner::Node(name) if *name == self.settings.node_name => {
                    directory.node(name).map(|node| desired::own_node(node, place))
                }
                Owner::Node(name) => directory.node(name).map(|node| desired::node(node, place)),
                Owner::This => Some(desired::this(place, &self.listeners.all())),
            };
            changes.extend(self.ledger.set(owner, claims.unwrap_or_default()));
        }
        self.metrics.refused(self.refused.len());
        changes
    }

    /// Where that cannot be seen, what was seen last counts.
    fn look_for_listeners(&mut self) {
        match block_in_place(listeners::look) {
            Ok(found) => self.listeners.found(found, Instant::now()),
            Err(err) => warn!(%err, "cannot see which programs of this machine listen"),
        }
    }

    /// Says once what the owners claim and others have, and what others lost to them.
    fn tell_of_refusals(&mut self, owners: &[Owner], changes: &[Change]) {
        let displaced = changes.iter().flat_map(|change| self.ledger.refused_at(&change.front));
        let concerned: BTreeSet<&Owner> = owners.iter().chain(displaced).collect();
        // Who listens on a NodePort or where a daemon does is no news.
        let concerned = concerned.into_iter().filter(|owner| **owner != Owner::This);
        for owner in concerned {
            for refusal in self.refusals.news(owner, self.ledger.refusals(owner)) {
                let Front { address, protocol, port } = refusal.front;
                let (at, protocol) = (format!("{address}:{port}"), protocol.lower());
                warn!(at, protocol, ?owner, holder = ?refusal.holder, "a port is not served: somebody has it already");
            }
        }
    }

    /// Routes come back; what depends on the node's own addresses, too, if these are others now.
    async fn network_changed(&mut self) -> Result<(), SyncError> {
        let networks = network::own_networks(&self.network, link::LINK).await?;
        if self.has_moved(&networks) {
            return self.everything().await;
        }
        self.links = networks;
        self.lead_routes().await
    }

    /// Compares all there is: links, routes, base rules, every element.
    async fn everything(&mut self) -> Result<(), SyncError> {
        let started = Instant::now();
        self.links = network::own_networks(&self.network, link::LINK).await?;
        self.nodes = Nodes::new(self.directory.read().nodes().cloned());
        self.look_for_listeners();
        let (addresses, pod_cidr) = self.here(&self.links);
        let zone = self.zone();
        self.place = Some(Place {
            nodes: addresses.clone(),
            addresses,
            zone,
            pod_cidr,
            cluster_dns: self.settings.cluster_dns,
            cluster_cidr: self.settings.cluster_cidr,
            bridge_sees_ip: self.settings.bridge_sees_ip,
            drop_invalid: self.settings.drop_invalid,
        });
        let owners: Vec<Owner> = {
            let directory = self.directory.read();
            let known = directory.services().map(|s| Owner::Service(s.key.clone()));
            let known = known.chain(directory.pods().map(|p| Owner::Pod(p.key.clone())));
            let known = known.chain(directory.nodes().map(|n| Owner::Node(n.name.clone())));
            known.chain([Owner::This]).chain(self.ledger.owners().cloned()).collect()
        };
        self.learn(owners.iter());
        self.nodes_turned();
        if let Some(place) = &mut self.place {
            place.nodes.extend(self.ledger.nodes());
        }
        self.tell_of_refusals(&owners, &[]);
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
        block_in_place(|| {
            conntrack::forget(&mut self.flows, None, |flow| diff::is_stale(flow, ledger.get(&flow.front)))
        })?;
        self.lead_routes().await
    }

    /// This node's own addresses, and those of its pods.
    fn here(&self, networks: &[Ipv4Net]) -> (BTreeSet<Ipv4Addr>, Option<Ipv4Net>) {
        let directory = self.directory.read();
        let this = directory.node(&self.settings.node_name);
        let listed = this.into_iter().flat_map(|n| n.addresses.iter().copied());
        (networks.iter().map(Ipv4Net::addr).chain(listed).collect(), this.and_then(|n| n.pod_cidr))
    }

    /// Whether the rules were made for other addresses of this node than it has, or another zone.
    fn has_moved(&self, networks: &[Ipv4Net]) -> bool {
        let (addresses, pod_cidr) = self.here(networks);
        let zone = self.zone();
        self.place
            .as_ref()
            .is_none_or(|place| place.addresses != addresses || place.pod_cidr != pod_cidr || place.zone != zone)
    }
    fn zone(&self) -> Option<String> {
        self.directory.read().node(&self.settings.node_name).and_then(|node| node.zone.clone())
    }

    fn reconcile(&mut self) -> Result<crate::nft::kernel::Mended, NftError> {
        let Some(place) = self.place.clone() else { return Ok(Default::default()) };
        let found = self.kernel.prepare(&place);
        if found.is_err() {
            self.place = None;
        }
        let found = found?;
        self.ledger.adopt(&found.elements);
        let mut want: Elements = elements::of_place(&place);
        let mut sticky: BTreeMap<KeyBytes, Vec<End>> = BTreeMap::new();
        for (front, rules) in self.ledger.iter() {
            want.extend(elements::of_front(front, rules));
            if rules.affinity_secs.is_some() {
                let ends = diff::ends(Some(rules)).into_iter().collect();
                sticky.insert(Slot::front(Map::Remember, front).key, ends);
            }
        }
        let mended = self.kernel.mend(&found, &want);
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

    /// What was noted about ends that are no longer there: UDP flows, and clients of sticky fronts. Looks at nothing where no
    /// end has left.
    fn forget(&mut self, changes: &[Change]) -> Result<(), NftError> {
        let stale: BTreeSet<StaleFlow> = diff::stale_flows(changes).into_iter().collect();
        if !stale.is_empty() {
            let fronts: BTreeSet<Front> = stale.iter().map(|flow| flow.front).collect();
            let fronts: Vec<Front> = fronts.into_iter().collect();
            let is_stale = |flow: &Flow| stale.contains(&StaleFlow { front: flow.front, end: flow.end });
            let forgotten = conntrack::forget(&mut self.flows, Some(&fronts), is_stale)?;
            debug!(?forgotten, "UDP flows forgotten");
        }
        let gone = diff::stale_clients(changes);
        if !gone.is_empty() {
            let gone: BTreeMap<KeyBytes, _> =
                gone.iter().map(|(front, ends)| (Slot::front(Map::Remember, front).key, ends)).collect();
            self.kernel.forget_clients(|client| {
                let ends = remembered_front(client).and_then(|front| gone.get(&front));
                ends.is_some_and(|ends| ends.iter().any(|end| client.end == Some(elements::Value::To(*end))))
            })?;
        }
        Ok(())
    }

    async fn lead_routes(&mut self) -> Result<(), SyncError> {
        if let Err(err) = switches::let_loopback_through(network::POD_BRIDGE) {
            warn!(%err, "hostPorts on 127.0.0.1 are not reached: /proc/sys/net must be writable");
        }
        let nodes = self.nodes.iter().map(Arc::as_ref);
        let wanted = routes::desired(&self.settings.node_name, nodes, &self.links);
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
