//! Endpoints that users write for Services without a selector, shown as EndpointSlices: proxies read only these.

pub mod decide;

use corten_api::k8s_openapi::api::core::v1::{Endpoints, Service};
use corten_api::{ApiError, Key, Object};
use corten_client::{Next, WorkQueue, run_workers};

use crate::children::Owner;
use crate::context::Context;
use crate::endpointslice::decide::{MANAGED_BY_LABEL, SERVICE_LABEL};
use crate::endpointslice::{Slices, apply, service_of, settle};
use crate::replicas::QueueChanges;
use decide::{MANAGER, Observed, decide};

const WORKERS: usize = 2;

/// Its queue holds the names that Endpoints and their Services share.
pub async fn run(context: Context) {
    let queue = WorkQueue::new();
    let own = queue.clone();
    context.caches.services.subscribe(move |change| own.extend_from(change));
    let own = queue.clone();
    context.caches.endpoints.subscribe(move |change| own.extend_from(change));
    let own = queue.clone();
    context.caches.endpoint_slices.subscribe(move |change| {
        if let Some(key) = service_of(change, MANAGER) {
            own.add(key);
        }
    });
    let stop = context.stop.clone();
    let slices = context.under_way.of_endpoints.clone();
    run_workers("endpointslicemirroring", &queue, WORKERS, &stop, move |key| {
        let (context, slices) = (context.clone(), slices.clone());
        async move { sync(&context, &slices, &key).await }
    })
    .await;
}

async fn sync(context: &Context, under_way: &Slices, key: &Key) -> Result<Next, ApiError> {
    let of = |endpoints: Option<&Endpoints>| match endpoints {
        Some(endpoints) => Owner::of(endpoints),
        // Nothing is made for Endpoints that are gone, only deleted.
        None => Owner { key: key.clone(), uid: String::new(), deleting: true },
    };
    let owner = of(context.caches.endpoints.get(key).as_deref());
    settle(context, under_way, &owner).await?;
    let service = context.caches.services.get(key);
    let endpoints = context.caches.endpoints.get(key);
    let (service, endpoints): (Option<&Service>, Option<&Endpoints>) = (service.as_deref(), endpoints.as_deref());
    let mut slices = context.caches.endpoint_slices.in_namespace(&key.namespace);
    slices.retain(|s| {
        s.label(SERVICE_LABEL) == Some(&key.name) && s.label(MANAGED_BY_LABEL) == Some(MANAGER) && !s.is_deleting()
    });
    apply(context, under_way, &of(endpoints), decide(&Observed { service, endpoints, slices: &slices })).await
}
