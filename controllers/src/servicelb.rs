//! Services of type LoadBalancer that no cloud balances: they are reached at the nodes' own addresses.

pub mod decide;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use corten_api::k8s_openapi::api::core::v1::{Node, Service};
use corten_api::k8s_openapi::api::discovery::v1::EndpointSlice;
use corten_api::{ApiError, Key, Object, Reason, Scope};
use corten_client::{Change, IndexBy, Next};
use parking_lot::Mutex;
use tracing::info;

use crate::balancers::Classless;
use crate::caches::Shared;
use crate::context::Context;
use crate::controller::{Controller, Loop, Setup};
use crate::endpointslice::decide::SERVICE_LABEL;
use decide::{Action, Observed, Said, TakenPort};

/// Nodes come and go together: what they change is written once.
const GATHER: Duration = Duration::from_secs(1);

pub fn controller(setup: &Setup) -> Loop {
    let (services, nodes) = (setup.caches.of::<Service>(), setup.caches.of::<Node>());
    let (classless, targets) = (setup.settings.classless, Targets::default());
    let (all, of_slices) = (services.clone(), services.clone());
    let kept = targets.clone();
    Controller::new(setup)
        .watches(&services, concerned(&services, classless))
        .watches_after(&setup.caches.of::<EndpointSlice>(), GATHER, move |change| {
            local_service_of(&of_slices, classless, change)
        })
        .source(move |owner, queue| {
            // Nobody has told of nodes that went before this term.
            kept.begin();
            let (kept, queue, all) = (kept.clone(), queue.clone(), all.clone());
            nodes.owned_by(owner).subscribe(move |change| {
                if kept.follow(change) {
                    for service in balanced(&all, classless) {
                        queue.add_after(service.key(), GATHER);
                    }
                }
            });
        })
        .run(move |context, key| {
            let targets = targets.clone();
            async move { sync(&context, classless, &targets, &key).await }
        })
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

fn balanced(services: &Shared<Service>, classless: Classless) -> Vec<Arc<Service>> {
    let mut all = services.everywhere::<ByPort>("");
    all.retain(|service| decide::is_ours(service, classless));
    all
}

/// A Service that is or was balanced, and the younger ones that have a port with it in common: they lose it, or get it.
fn concerned(
    services: &Shared<Service>,
    classless: Classless,
) -> impl Fn(&Change<'_, Service>) -> BTreeSet<Key> + use<> {
    let services = services.clone();
    move |change| {
        let (key, old, new) = match *change {
            Change::Set { key, old, new } => (key, old, Some(new)),
            Change::Removed { key, old } => (key, Some(old), None),
            Change::Synced => return BTreeSet::new(),
        };
        let has_finalizer =
            |service: &Service| service.metadata.finalizers.iter().flatten().any(|f| f == decide::FINALIZER);
        let mut found = BTreeSet::new();
        let (was, is) = (old.and_then(|old| claim(old, classless)), new.and_then(|new| claim(new, classless)));
        if was.is_some() || is.is_some() {
            found.insert(key.clone());
        }
        found.extend(new.filter(|new| has_finalizer(new)).map(|_| key.clone()));
        if was == is {
            return found;
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

/// The ports that a Service has on the nodes, or would have, and whether it has an address. `None`: it is not ours.
fn claim(service: &Service, classless: Classless) -> Option<(Vec<TakenPort>, bool)> {
    if service.is_deleting() || !decide::is_ours(service, classless) {
        return None;
    }
    let balancer = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    Some((decide::ports(service).collect(), balancer.is_some_and(|balancer| balancer.ingress.is_some())))
}

/// The Service of a slice, if it matters to it where its endpoints are.
fn local_service_of(
    services: &Shared<Service>,
    classless: Classless,
    change: &Change<'_, EndpointSlice>,
) -> Option<Key> {
    let slice = match change {
        Change::Set { new, .. } => new,
        Change::Removed { old, .. } => old,
        Change::Synced => return None,
    };
    let key = Key::new(slice.namespace(), slice.label(SERVICE_LABEL)?);
    let service = services.get(&key)?;
    (decide::is_local(&service) && decide::is_ours(&service, classless)).then_some(key)
}

/// By node's name.
type Addresses = BTreeMap<String, Vec<String>>;

/// The nodes that take traffic of load balancers, with their addresses, kept as nodes change.
#[derive(Clone, Default)]
struct Targets {
    nodes: Arc<Mutex<Arc<Addresses>>>,
}

impl Targets {
    fn begin(&self) {
        *self.nodes.lock() = Arc::default();
    }

    fn get(&self) -> Arc<Addresses> {
        Arc::clone(&self.nodes.lock())
    }

    /// Whether traffic goes to other addresses now. A heartbeat costs a look.
    fn follow(&self, change: &Change<'_, Node>) -> bool {
        let (name, addresses) = match change {
            Change::Set { key, new, .. } => (&key.name, decide::addresses(new)),
            Change::Removed { key, .. } => (&key.name, None),
            Change::Synced => return false,
        };
        let mut nodes = self.nodes.lock();
        if nodes.get(name) == addresses.as_ref() {
            return false;
        }
        let nodes = Arc::make_mut(&mut nodes);
        match addresses {
            Some(addresses) => nodes.insert(name.clone(), addresses),
            None => nodes.remove(name),
        };
        true
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

async fn sync(context: &Context, classless: Classless, targets: &Targets, key: &Key) -> Result<Next, ApiError> {
    let services = context.caches.of::<Service>();
    let Some(service) = services.get(key) else { return Ok(Next::Done) };
    let (mut taken, mut local) = (None, BTreeSet::new());
    if decide::is_ours(&service, classless) {
        taken = decide::taken(&service, &balanced(&services, classless));
        local = local_nodes(context, key);
    }
    let action = decide::decide(&Observed {
        service: &service,
        classless,
        nodes: &targets.get(),
        local: decide::is_local(&service).then_some(&local),
        taken: taken.as_ref(),
    });
    match action {
        Action::Keep => {}
        Action::Ensure { service: changed, before, after } => {
            tell(context, &service, before);
            if let Some(revision) = write(context, &changed).await? {
                info!(service = %key, "its load balancer");
                tell(context, &service, after);
                context.caught_up(&services, revision).await;
            }
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
