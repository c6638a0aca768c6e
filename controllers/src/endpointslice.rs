//! EndpointSlices: for each Service with a selector, the pods behind it in slices of at most a hundred.

pub mod decide;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use corten_api::k8s_openapi::api::discovery::v1::EndpointSlice;
use corten_api::{ApiError, Key, Object, Reason};
use corten_client::{Change, Next, WorkQueue, run_workers};

use crate::backends;
use crate::context::{Context, is_terminating_namespace};
use crate::pods::SeenPod;
use crate::replicas::QueueChanges;
use decide::{Action, MANAGED_BY_LABEL, MANAGER, Observed, SERVICE_LABEL};

const WORKERS: usize = 5;
const ZONE_LABEL: &str = "topology.kubernetes.io/zone";

pub async fn run(context: Context) {
    let queue = WorkQueue::new();
    let own = queue.clone();
    context.caches.services.subscribe(move |change| own.extend_from(change));
    let (pods_queue, services) = (queue.clone(), context.caches.services.clone());
    context.caches.pods.subscribe(move |change| {
        for key in backends::concerned(change, &services) {
            pods_queue.add(key);
        }
    });
    let slices_queue = queue.clone();
    context.caches.endpoint_slices.subscribe(move |change| {
        if let Some(key) = service_of(change, MANAGER) {
            slices_queue.add(key);
        }
    });
    let stop = context.stop.clone();
    run_workers("endpointslice", &queue, WORKERS, &stop, move |key| {
        let context = context.clone();
        async move { sync(&context, &key).await }
    })
    .await;
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

async fn sync(context: &Context, key: &Key) -> Result<Next, ApiError> {
    // Of a Service that is gone, the garbage collector takes the slices: they name it as their owner.
    let Some(service) = context.caches.services.get(key).filter(|s| !s.is_deleting()) else { return Ok(Next::Done) };
    let Some(selector) = backends::selector(&service) else { return Ok(Next::Done) };
    let mut pods = context.caches.pods.in_namespace(&key.namespace);
    pods.retain(|pod| selector.matches(&pod.labels));
    let mut slices = context.caches.endpoint_slices.in_namespace(&key.namespace);
    slices.retain(|s| {
        s.label(SERVICE_LABEL) == Some(service.name()) && s.label(MANAGED_BY_LABEL) == Some(MANAGER) && !s.is_deleting()
    });
    let zones = zones(context, &pods);
    let actions = decide::decide(&Observed { service: &service, pods: &pods, slices: &slices, zones: &zones });
    apply(context, key, actions).await
}

/// The zones of the nodes that these pods are on.
fn zones(context: &Context, pods: &[Arc<SeenPod>]) -> BTreeMap<String, String> {
    let nodes: BTreeSet<&String> = pods.iter().filter_map(|p| p.node.as_ref()).collect();
    let zone = |name: &String| {
        let node = context.caches.nodes.get(&Key::cluster(name.as_str()))?;
        Some((name.clone(), node.label(ZONE_LABEL)?.to_owned()))
    };
    nodes.into_iter().filter_map(zone).collect()
}

/// Writes what was decided for the slices of one Service.
pub(crate) async fn apply(context: &Context, service: &Key, actions: Vec<Action>) -> Result<Next, ApiError> {
    let mut revision = 0;
    for action in actions {
        let written = match action {
            Action::Create(slice) => context.client.create(&slice).await,
            Action::Update(slice) => context.client.update(&slice).await,
            Action::Delete { key, uid } => {
                context.delete::<EndpointSlice>(&key, &uid).await?;
                let gone = |s: &EndpointSlice| s.uid() != uid || s.is_deleting();
                context.seen_gone(&context.caches.endpoint_slices, &key, gone).await;
                continue;
            }
        };
        match written {
            Ok(slice) => revision = revision.max(slice.revision()),
            Err(err) if is_terminating_namespace(&err) => return Ok(Next::Done),
            // The Service or a slice went or changed under us; what came instead asks for the next look.
            Err(err) if err.is(Reason::NotFound) && context.caches.services.get(service).is_none() => {
                return Ok(Next::Done);
            }
            Err(err) => return Err(err),
        }
    }
    context.caught_up(&context.caches.endpoint_slices, revision).await;
    Ok(Next::Done)
}
