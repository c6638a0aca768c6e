//! EndpointSlices: for each Service with a selector, the pods behind it in slices of at most a hundred.

pub mod decide;
pub mod topology;
pub mod zones;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use corten_api::k8s_openapi::api::core::v1::{Node, Service};
use corten_api::k8s_openapi::api::discovery::v1::EndpointSlice;
use corten_api::{ApiError, Key, Object, Reason};
use corten_client::{Change, Next};
use futures::future::join_all;
use parking_lot::Mutex;

use crate::caches::selected_by;
use crate::children::{Children, Owner};
use crate::context::{Context, is_terminating_namespace};
use crate::controller::{Controller, Loop, Setup, maps};
use crate::intents::{Answer, Ask};
use crate::pods::SeenPod;
use decide::{Action, MANAGED_BY_LABEL, MANAGER, Observed, SERVICE_LABEL};
use topology::Outcomes;
use zones::{Ratios, ZoneCpu};

const ZONE_LABEL: &str = "topology.kubernetes.io/zone";

pub fn controller(setup: &Setup) -> Loop {
    let services = setup.caches.of::<Service>();
    let nodes = setup.caches.of::<Node>();
    let (missing, hinted) = (Missing::default(), Hinted::default());
    let (waiting, shares) = (missing.clone(), hinted.clone());
    Controller::new(setup)
        .reconciles(&services)
        .watches(&setup.caches.of::<SeenPod>(), maps::selectors(&services))
        .watches(&setup.caches.of::<EndpointSlice>(), |change| service_of(change, MANAGER))
        .watches(&nodes, move |change| match change {
            Change::Set { key, old: None, .. } => waiting.waiting_for(&key.name),
            _ => Vec::new(),
        })
        .source(move |owner, queue| {
            // Nobody has told of nodes that went before this term.
            shares.begin();
            let (shares, queue) = (shares.clone(), queue.clone());
            nodes
                .owned_by(owner)
                .subscribe(move |change| shares.outdated_by(change).into_iter().for_each(|key| queue.add(key)));
        })
        .run(move |context, key| {
            let memory = Memory { missing: missing.clone(), hinted: hinted.clone() };
            async move { sync(&context, &context.under_way.of("endpointslice"), &memory, &key).await }
        })
}

/// The Service that a slice by this manager belongs to.
pub(crate) fn service_of(change: &Change<'_, EndpointSlice>, manager: &str) -> Option<Key> {
    let slice = match change {
        Change::Set { new, .. } => new,
        Change::Removed { old, .. } => old,
        Change::Synced => return None,
    };
    let ours = slice.label(MANAGED_BY_LABEL) == Some(manager);
    slice.label(SERVICE_LABEL).filter(|_| ours).map(|name| Key::new(slice.namespace(), name))
}

/// What is under way of the slices of each Service: a whole slice, so that it can be made again.
pub(crate) type Slices = Children<EndpointSlice>;

/// The nodes that Services were last found to lack: pods name them, but they are not there. As long as all nodes are there it is
/// empty, so that a node that comes costs nothing.
#[derive(Clone, Default)]
struct Missing {
    by_service: Arc<Mutex<BTreeMap<Key, BTreeSet<String>>>>,
}

impl Missing {
    fn set(&self, service: &Key, nodes: BTreeSet<String>) {
        let mut by_service = self.by_service.lock();
        if nodes.is_empty() {
            by_service.remove(service);
        } else {
            by_service.insert(service.clone(), nodes);
        }
    }
    fn waiting_for(&self, node: &str) -> Vec<Key> {
        let by_service = self.by_service.lock();
        by_service.iter().filter(|(_, nodes)| nodes.contains(node)).map(|(service, _)| service.clone()).collect()
    }
}

/// What zones have, and what became of the Services that ask for hints by it.
#[derive(Clone, Default)]
struct Hinted {
    zones: Arc<Mutex<ZoneCpu>>,
    /// By address type.
    by_service: Arc<Mutex<BTreeMap<Key, Outcomes>>>,
}

impl Hinted {
    fn begin(&self) {
        *self.zones.lock() = ZoneCpu::default();
    }

    fn ratios(&self) -> Option<Ratios> {
        self.zones.lock().ratios()
    }

    /// Returns what was known of the Service before.
    fn set(&self, service: &Key, outcomes: Outcomes) -> Outcomes {
        let mut by_service = self.by_service.lock();
        let before = match outcomes.is_empty() {
            true => by_service.remove(service),
            false => by_service.insert(service.clone(), outcomes),
        };
        before.unwrap_or_default()
    }

    /// Costs nothing unless the node shares in otherwise than before; then, a look at the Services with hints.
    fn outdated_by(&self, change: &Change<'_, Node>) -> Vec<Key> {
        let ratios = {
            let mut zones = self.zones.lock();
            let changed = match change {
                Change::Set { key, new, .. } => zones.set(&key.name, Some(new)),
                Change::Removed { key, .. } => zones.set(&key.name, None),
                Change::Synced => false,
            };
            if !changed {
                return Vec::new();
            }
            zones.ratios()
        };
        let by_service = self.by_service.lock();
        let outdated = |outcomes: &Outcomes| outcomes.values().any(|outcome| outcome.is_outdated(ratios.as_ref()));
        by_service.iter().filter(|(_, outcomes)| outdated(outcomes)).map(|(service, _)| service.clone()).collect()
    }
}

/// What is known of Services from the last look at them.
struct Memory {
    missing: Missing,
    hinted: Hinted,
}

async fn sync(context: &Context, under_way: &Slices, memory: &Memory, key: &Key) -> Result<Next, ApiError> {
    let (missing, hinted) = (&memory.missing, &memory.hinted);
    // Of a Service that is gone, the garbage collector takes the slices: they name it as their owner.
    let Some(service) = context.caches.of::<Service>().get(key).filter(|s| !s.is_deleting()) else {
        under_way.forget(key);
        missing.set(key, BTreeSet::new());
        hinted.set(key, BTreeMap::new());
        return Ok(Next::Done);
    };
    let owner = Owner::of(&*service);
    settle(context, under_way, &owner).await?;
    let Some(selector) = selected_by(&context.caches.of::<Service>(), key) else { return Ok(Next::Done) };
    let pods = context.caches.of::<SeenPod>().selected(&key.namespace, &selector);
    let mut slices = context.caches.of::<EndpointSlice>().in_namespace(&key.namespace);
    slices.retain(|s| {
        s.label(SERVICE_LABEL) == Some(service.name()) && s.label(MANAGED_BY_LABEL) == Some(MANAGER) && !s.is_deleting()
    });
    // Noted before the nodes are looked at: one that comes in between asks for another look.
    let named: BTreeSet<&String> = pods.iter().filter_map(|p| p.node.as_ref()).collect();
    let is_gone = |name: &&&String| context.caches.of::<Node>().get(&Key::cluster(name.as_str())).is_none();
    missing.set(key, named.iter().filter(is_gone).map(|&name| name.clone()).collect());
    let nodes = zones(context, &named);
    let mut actions = decide::decide(&Observed { service: &service, pods: &pods, slices: &slices, nodes: &nodes });
    let (ratios, mut outcomes) = (hinted.ratios(), BTreeMap::new());
    let is_auto = topology::is_auto(&service);
    if is_auto {
        (actions, outcomes) = topology::hint(&slices, ratios.as_ref(), actions);
    }
    let next = apply(context, under_way, &owner, actions).await?;
    for (kind, reason, message) in topology::told(&hinted.set(key, outcomes.clone()), &outcomes) {
        context.recorder.event(&service.reference(), kind, reason, message);
    }
    // Nodes that changed meanwhile were held against what was known of this Service before.
    Ok(if is_auto && hinted.ratios() != ratios { Next::After(Duration::ZERO) } else { next })
}

/// Those of these nodes that are there, and their zones.
fn zones(context: &Context, names: &BTreeSet<&String>) -> BTreeMap<String, Option<String>> {
    let zone = |name: &&String| {
        let node = context.caches.of::<Node>().get(&Key::cluster(name.as_str()))?;
        Some(((*name).clone(), node.label(ZONE_LABEL).map(str::to_owned)))
    };
    names.iter().filter_map(zone).collect()
}

/// Settles what was asked for the slices of `owner` before, as a decision that does not know it makes slices twice.
pub(crate) async fn settle(context: &Context, under_way: &Slices, owner: &Owner) -> Result<(), ApiError> {
    under_way.settle(context, owner, &context.caches.of::<EndpointSlice>(), named).await
}

/// Writes what was decided for the slices of one owner. What is new comes before what is old goes.
pub(crate) async fn apply(
    context: &Context,
    under_way: &Slices,
    owner: &Owner,
    actions: Vec<Action>,
) -> Result<Next, ApiError> {
    let (mut create, mut update, mut delete) = (Vec::new(), Vec::new(), Vec::new());
    for action in actions {
        match action {
            Action::Create(slice) => create.push(slice),
            Action::Update(slice) => update.push(slice),
            Action::Delete { key, uid } => delete.push(Ask::Delete { name: key.name, uid }),
        }
    }
    let names = under_way.fresh_names(owner, &context.caches.of::<EndpointSlice>(), create.len());
    let create = names.into_iter().zip(create).map(|(name, what)| Ask::Create { name, what }).collect();
    match write(context, under_way, owner, create, update, delete).await {
        Ok(()) => Ok(Next::Done),
        Err(err) if is_terminating_namespace(&err) => Ok(Next::Done),
        // The Service or a slice went or changed under us; what came instead asks for the next look.
        Err(err) if err.is(Reason::NotFound) && context.caches.of::<Service>().get(&owner.key).is_none() => {
            Ok(Next::Done)
        }
        Err(err) => Err(err),
    }
}

async fn write(
    context: &Context,
    under_way: &Slices,
    owner: &Owner,
    create: Vec<Ask<EndpointSlice>>,
    update: Vec<EndpointSlice>,
    delete: Vec<Ask<EndpointSlice>>,
) -> Result<(), ApiError> {
    for sent in under_way.send(context, owner, create, named).await {
        check(sent.answer)?;
    }
    let updates = update.iter().map(|slice| context.width.send(|| context.prompt.update(slice)));
    let mut failed = None;
    for updated in join_all(updates).await {
        match updated {
            Ok(slice) => under_way.saw(owner, slice.revision()),
            Err(err) => failed = Some(err),
        }
    }
    failed.map_or(Ok(()), Err)?;
    for sent in under_way.send(context, owner, delete, named).await {
        check(sent.answer)?;
    }
    Ok(())
}

fn check(answer: Answer) -> Result<(), ApiError> {
    match answer {
        Answer::Done { .. } | Answer::Gone => Ok(()),
        Answer::Refused(err) | Answer::Doubtful(err) => Err(err),
    }
}

fn named(name: &str, slice: &EndpointSlice) -> EndpointSlice {
    let mut slice = slice.clone();
    slice.metadata.name = Some(name.to_owned());
    slice
}
