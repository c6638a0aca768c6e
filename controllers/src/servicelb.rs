//! Services of type LoadBalancer that no cloud balances: they are reached at addresses of a pool, or at the nodes' own.

pub mod decide;
pub mod given;
pub mod ledger;
pub mod pace;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use corten_api::k8s_openapi::api::core::v1::{Node, Service};
use corten_api::k8s_openapi::api::discovery::v1::EndpointSlice;
use corten_api::{ApiError, Key, Object, Reason, Scope};
use corten_client::{Change, IndexBy, Next, WorkQueue};
use parking_lot::Mutex;
use tokio::time::Instant;
use tracing::info;

use crate::balancers::Rules;
use crate::caches::Shared;
use crate::context::Context;
use crate::controller::{Controller, Loop, Setup};
use crate::endpointslice::decide::SERVICE_LABEL;
use decide::{Action, Holders, Nodes, Observed, Said, TakenPort, Target};
use given::Given;
use ledger::Ledger;
use pace::{Pace, Told};

/// Nodes come and go together: what they change is written once.
const GATHER: Duration = Duration::from_secs(1);

pub fn controller(setup: &Setup) -> Loop {
    let (services, nodes) = (setup.caches.of::<Service>(), setup.caches.of::<Node>());
    let rules = Arc::new(setup.settings.balancers.clone());
    let described = Controller::new(setup);
    let balancers = Balancers::new(&rules, described.queue());
    let (all, of_slices, of_pool) = (services.clone(), services.clone(), services.clone());
    let with_addresses = nodes.clone();
    let (kept, holding, slices_rules) = (balancers.clone(), balancers.clone(), Arc::clone(&rules));
    described
        // First, so that who looks at a Service that changed finds the pool as it is since.
        .source(move |owner, queue| {
            *holding.ledger.lock() = Ledger::new(&holding.rules.pool);
            let (ledger, queue) = (Arc::clone(&holding.ledger), queue.clone());
            let (taken, told) = (Arc::clone(&ledger), queue.clone());
            with_addresses.owned_by(owner).subscribe(move |change| {
                let Some((name, addresses)) = changed_addresses(change) else { return };
                let concerned = taken.lock().follow_node(name, addresses);
                concerned.into_iter().for_each(|key| told.add(key));
            });
            of_pool.owned_by(owner).subscribe(move |change| {
                let concerned = ledger.lock().follow(change);
                concerned.into_iter().for_each(|key| queue.add(key));
            });
        })
        .watches(&services, concerned(&services, &balancers))
        .watches_after(&setup.caches.of::<EndpointSlice>(), GATHER, move |change| {
            local_service_of(&of_slices, &slices_rules, change)
        })
        .source(move |owner, queue| {
            // Nobody has told of nodes and Services that went before this term.
            kept.targets.begin();
            kept.ports.changed();
            let has_begun = Arc::new(AtomicBool::new(false));
            let (kept, queue, all, begun) = (kept.clone(), queue.clone(), all.clone(), Arc::clone(&has_begun));
            nodes.owned_by(owner).subscribe(move |change| {
                // All Services wait to be looked at when a term begins, after the nodes that are there.
                let Some((was, is)) = kept.targets.follow(change).filter(|_| begun.load(Ordering::SeqCst)) else {
                    return;
                };
                let mut touched = balanced(&all, &kept.rules);
                touched.retain(|service| decide::is_touched(service, was.as_ref(), is.as_ref()));
                for service in touched {
                    queue.add_after(service.key(), GATHER);
                }
            });
            has_begun.store(true, Ordering::SeqCst);
        })
        .run(move |context, key| {
            let balancers = balancers.clone();
            async move { sync(&context, &balancers, &key).await }
        })
}

/// A node, and its addresses of whatever kind. `None`: they are as they were, as at a heartbeat.
fn changed_addresses<'a>(change: &Change<'a, Node>) -> Option<(&'a str, BTreeSet<IpAddr>)> {
    match change {
        Change::Set { key, old, new } => {
            let is = decide::own_addresses(new);
            let is_same = old.is_some_and(|old| decide::own_addresses(old) == is);
            (!is_same).then_some((key.name.as_str(), is))
        }
        Change::Removed { key, .. } => Some((key.name.as_str(), BTreeSet::new())),
        Change::Synced => None,
    }
}

/// Finds the Services of type LoadBalancer by their ports, and all of them by "".
struct ByPort;

impl IndexBy<Service> for ByPort {
    const SCOPE: Scope = Scope::Cluster;

    fn values(service: &Service) -> Vec<Cow<'_, str>> {
        let type_ = service.spec.as_ref().and_then(|spec| spec.type_.as_deref());
        if type_ != Some("LoadBalancer") {
            return Vec::new();
        }
        decide::ports(service).map(|port| Cow::from(place(&port))).chain([Cow::from("")]).collect()
    }
}

fn place((protocol, port): &TakenPort) -> String {
    format!("{protocol}/{port}")
}

/// Those that the nodes balance at their own addresses.
fn balanced(services: &Shared<Service>, rules: &Rules) -> Vec<Arc<Service>> {
    let mut all = services.everywhere::<ByPort>("");
    all.retain(|service| decide::is_at_nodes(service, rules));
    all
}

/// A Service that is or was balanced, and the younger ones that have a port with it in common: they lose it, or get it.
fn concerned(
    services: &Shared<Service>,
    balancers: &Balancers,
) -> impl Fn(&Change<'_, Service>) -> BTreeSet<Key> + use<> {
    let (services, ports, rules) = (services.clone(), Arc::clone(&balancers.ports), Arc::clone(&balancers.rules));
    move |change| {
        let (key, old, new) = match *change {
            Change::Set { key, old, new } => (key, old, Some(new)),
            Change::Removed { key, old } => (key, Some(old), None),
            Change::Synced => return BTreeSet::new(),
        };
        let names = [decide::FINALIZER, decide::FORMER_FINALIZER];
        let has_finalizer =
            |service: &Service| service.metadata.finalizers.iter().flatten().any(|f| names.contains(&f.as_str()));
        let mut found = BTreeSet::new();
        let is_ours = |service: &&Arc<Service>| decide::source(service, &rules).is_some();
        found.extend([old, new].into_iter().flatten().find(is_ours).map(|_| key.clone()));
        let (was, is) = (old.and_then(|old| claim(old, &rules)), new.and_then(|new| claim(new, &rules)));
        found.extend(new.filter(|new| has_finalizer(new)).map(|_| key.clone()));
        if was == is {
            return found;
        }
        if was.map(|claim| claim.holds) != is.map(|claim| claim.holds) {
            ports.changed();
        }
        for service in [old, new].into_iter().flatten() {
            for port in decide::ports(service) {
                let others = services.everywhere::<ByPort>(&place(&port)).into_iter();
                found.extend(others.filter(|other| decide::age(other) > decide::age(service)).map(|other| other.key()));
            }
        }
        found
    }
}

/// What other Services go by.
#[derive(PartialEq)]
struct Claim {
    /// The ports that it has on the nodes, or would have; whether others give it addresses; and who it is.
    holds: (Vec<TakenPort>, bool, String),
    has_address: bool,
}

/// `None`: it is not at the nodes.
fn claim(service: &Service, rules: &Rules) -> Option<Claim> {
    if service.is_deleting() || !decide::is_at_nodes(service, rules) {
        return None;
    }
    let balancer = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let has_address = balancer.is_some_and(|balancer| balancer.ingress.is_some());
    let is_others = decide::is_written_by_others(service);
    Some(Claim { holds: (decide::ports(service).collect(), is_others, service.uid().to_owned()), has_address })
}

/// The Service of a slice, if it matters to it where its endpoints are.
fn local_service_of(services: &Shared<Service>, rules: &Rules, change: &Change<'_, EndpointSlice>) -> Option<Key> {
    let slice = match change {
        Change::Set { new, .. } => new,
        Change::Removed { old, .. } => old,
        Change::Synced => return None,
    };
    let key = Key::new(slice.namespace(), slice.label(SERVICE_LABEL)?);
    let service = services.get(&key)?;
    (decide::is_local(&service) && decide::is_at_nodes(&service, rules)).then_some(key)
}

/// What is known besides the caches. Cheap to clone; clones share it.
#[derive(Clone)]
struct Balancers {
    rules: Arc<Rules>,
    targets: Targets,
    ports: Arc<Ports>,
    ledger: Arc<Mutex<Ledger>>,
    /// For who waits for what another lets go of.
    queue: WorkQueue<Key>,
    pace: Arc<Mutex<Pace>>,
    told: Arc<Mutex<Told>>,
}

impl Balancers {
    fn new(rules: &Arc<Rules>, queue: WorkQueue<Key>) -> Self {
        let (targets, ports, rules) = (Targets::default(), Arc::default(), Arc::clone(rules));
        Self { rules, targets, ports, ledger: Arc::default(), queue, pace: Arc::default(), told: Arc::default() }
    }

    /// What the Service has or gets of the pool from now on. `None`: nothing, and nobody keeps anything for it.
    fn given(&self, service: &Service) -> Option<Given> {
        let is_pooled = decide::source(service, &self.rules) == Some(decide::From::Pool) && !service.is_deleting();
        if !is_pooled || decide::is_others(service, &self.targets.get(), &self.rules) {
            self.pool(|ledger| ((), ledger.forget(&service.key())));
            return None;
        }
        Some(self.pool(|ledger| ledger.give(service)))
    }

    /// It shows what it was given.
    fn settle(&self, service: &Service) {
        self.pool(|ledger| ((), ledger.settle(service)));
    }

    /// Who is woken is looked at, and so is who waits for what they did not want.
    fn pool<T>(&self, change: impl FnOnce(&mut Ledger) -> (T, Vec<Key>)) -> T {
        let mut ledger = self.ledger.lock();
        let (found, woken) = change(&mut ledger);
        woken.into_iter().chain(ledger.next_waiting()).for_each(|key| self.queue.add(key));
        found
    }
}

/// Who has each port, made anew only after Services have come, gone, or asked for other ports.
#[derive(Default)]
struct Ports {
    changes: AtomicU64,
    /// And after which change.
    known: Mutex<Option<(u64, Arc<Holders>)>>,
}

impl Ports {
    fn changed(&self) {
        self.changes.fetch_add(1, Ordering::SeqCst);
    }

    fn holders(&self, all: impl FnOnce() -> Vec<Arc<Service>>) -> Arc<Holders> {
        let mut known = self.known.lock();
        // Before the look: a change meanwhile makes what is found old.
        let now = self.changes.load(Ordering::SeqCst);
        if let Some((at, holders)) = &*known
            && *at == now
        {
            return Arc::clone(holders);
        }
        let holders = Arc::new(Holders::of(&all()));
        *known = Some((now, Arc::clone(&holders)));
        holders
    }
}

/// The nodes that take traffic of load balancers, with their addresses, kept as nodes change.
#[derive(Clone, Default)]
struct Targets {
    nodes: Arc<Mutex<Arc<Nodes>>>,
}

impl Targets {
    fn begin(&self) {
        *self.nodes.lock() = Arc::default();
    }

    fn get(&self) -> Arc<Nodes> {
        Arc::clone(&self.nodes.lock())
    }

    /// What a node was and is, if that is not the same. A heartbeat costs a look.
    fn follow(&self, change: &Change<'_, Node>) -> Option<(Option<Target>, Option<Target>)> {
        let (name, is) = match change {
            Change::Set { key, new, .. } => (&key.name, decide::target(new)),
            Change::Removed { key, .. } => (&key.name, None),
            Change::Synced => return None,
        };
        let mut nodes = self.nodes.lock();
        if nodes.get(name) == is.as_ref() {
            return None;
        }
        let nodes = Arc::make_mut(&mut nodes);
        let was = match &is {
            Some(target) => nodes.insert(name.clone(), target.clone()),
            None => nodes.remove(name),
        };
        Some((was, is))
    }
}

/// Finds the slices of a Service.
struct ByService;

impl IndexBy<EndpointSlice> for ByService {
    fn values(slice: &EndpointSlice) -> Vec<Cow<'_, str>> {
        slice.label(SERVICE_LABEL).map(Into::into).into_iter().collect()
    }
}

/// The nodes on which the Service has ready endpoints.
fn local_nodes(context: &Context, key: &Key) -> BTreeSet<String> {
    let slices = context.caches.of::<EndpointSlice>().with::<ByService>(&key.namespace, &key.name);
    let endpoints = slices.iter().flat_map(|slice| slice.endpoints.iter().flatten());
    // "nil should be interpreted as true"
    let ready = endpoints.filter(|e| e.conditions.as_ref().and_then(|conditions| conditions.ready) != Some(false));
    ready.filter_map(|endpoint| endpoint.node_name.clone()).collect()
}

async fn sync(context: &Context, balancers: &Balancers, key: &Key) -> Result<Next, ApiError> {
    let (services, rules) = (context.caches.of::<Service>(), &*balancers.rules);
    let Some(service) = services.get(key) else {
        balancers.told.lock().forget(key);
        balancers.pool(|ledger| ((), ledger.forget(key)));
        return Ok(Next::Done);
    };
    let (mut taken, mut local) = (None, BTreeSet::new());
    if decide::is_at_nodes(&service, rules) {
        taken = balancers.ports.holders(|| balanced(&services, rules)).taken_from(&service);
        local = local_nodes(context, key);
    }
    let action = decide::decide(&Observed {
        service: &service,
        rules,
        nodes: &balancers.targets.get(),
        local: decide::is_local(&service).then_some(&local),
        taken: taken.as_ref(),
        given: balancers.given(&service).as_ref(),
    });
    if !matches!(action, Action::Leave(_) | Action::Wait(_)) {
        balancers.told.lock().forget(key);
    }
    match action {
        Action::Keep => balancers.settle(&service),
        Action::Leave(said) | Action::Wait(said) => {
            balancers.settle(&service);
            if balancers.told.lock().is_new(key, service.uid(), &said.message) {
                tell(context, &service, vec![said]);
            }
        }
        Action::Ensure { service: changed, before, after } => {
            if let Some(wait) = balancers.pace.lock().wait(key, Instant::now()) {
                return Ok(Next::After(wait));
            }
            tell(context, &service, before);
            if let Some(revision) = write(context, &changed).await? {
                balancers.pace.lock().note(key, Instant::now());
                info!(service = %key, "its load balancer");
                tell(context, &service, after);
                context.caught_up(&services, revision).await;
            }
            // The listeners may be a moment behind the cache: the change itself asks for the look that settles it.
        }
        Action::CleanUp { service: changed, before, after } => {
            tell(context, &service, before);
            if write(context, &changed).await?.is_some() {
                info!(service = %key, "its load balancer is gone");
                tell(context, &service, after);
                // It may be gone by that.
                let is_written = |seen: &Service| seen.uid() != service.uid() || seen.revision() > service.revision();
                context.seen_gone(&services, key, is_written).await;
            }
        }
    }
    Ok(Next::Done)
}

/// Finalizer and addresses in one write, only if the Service is as it was seen. `None`: it is gone.
async fn write(context: &Context, service: &Service) -> Result<Option<i64>, ApiError> {
    match context.client.update_status(service).await {
        Ok(written) => Ok(Some(written.revision())),
        Err(err) if err.is(Reason::NotFound) => Ok(None),
        Err(err) => Err(err),
    }
}

fn tell(context: &Context, service: &Service, said: Vec<Said>) {
    for Said { kind, reason, message } in said {
        context.recorder.event(&service.reference(), kind, reason, message);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn who_has_each_port_is_found_once_after_each_change() {
        let (ports, looks) = (Ports::default(), Cell::new(0));
        let look = |meanwhile: bool| {
            ports.holders(|| {
                looks.set(looks.get() + 1);
                if meanwhile {
                    ports.changed();
                }
                Vec::new()
            });
            looks.get()
        };
        assert_eq!([look(false), look(false), look(false)], [1, 1, 1]);
        ports.changed();
        assert_eq!([look(true), look(false), look(false)], [2, 3, 3], "a change during a look makes it old");
    }

    #[test]
    fn a_node_is_told_of_where_it_is_another_target() {
        let node = |ready: &str| -> Arc<Node> {
            let value = serde_json::json!({
                "metadata": {"name": "n1"},
                "status": {
                    "conditions": [{"type": "Ready", "status": ready}],
                    "addresses": [{"type": "InternalIP", "address": "10.1.0.1"}],
                },
            });
            Arc::new(serde_json::from_value(value).unwrap())
        };
        let (targets, key) = (Targets::default(), Key::cluster("n1"));
        // why, what is seen of the node, whether that is told
        let cases = [("new", "True", true), ("a heartbeat", "True", false), ("not ready", "False", true)];
        for (why, ready, expected) in cases {
            let told = targets.follow(&Change::Set { key: &key, old: None, new: &node(ready) });
            assert_eq!(told.is_some(), expected, "{why}");
        }
        let told = targets.follow(&Change::Removed { key: &key, old: &node("False") });
        assert!(told.is_some_and(|(was, is)| was.is_some() && is.is_none()));
        assert!(targets.get().is_empty());
    }
}
