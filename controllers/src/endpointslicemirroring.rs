//! Endpoints that users write for Services without a selector, shown as EndpointSlices: proxies read only these.

pub mod decide;

use corten_api::k8s_openapi::api::core::v1::{Endpoints, Service};
use corten_api::k8s_openapi::api::discovery::v1::EndpointSlice;
use corten_api::{ApiError, Key, Object};
use corten_client::Next;

use crate::children::Owner;
use crate::context::Context;
use crate::controller::{Controller, Loop, Setup, maps};
use crate::endpointslice::decide::{MANAGED_BY_LABEL, SERVICE_LABEL};
use crate::endpointslice::{Slices, apply, service_of, settle};
use decide::{MANAGER, Observed, decide};

const WORKERS: usize = 2;

/// Its items are the names that Endpoints and their Services share.
pub fn controller(setup: &Setup) -> Loop {
    Controller::new(setup)
        .workers(WORKERS)
        .reconciles(&setup.caches.of::<Service>())
        .watches(&setup.caches.of::<Endpoints>(), maps::own)
        .watches(&setup.caches.of::<EndpointSlice>(), |change| service_of(change, MANAGER))
        .run(|context, key| async move { sync(&context, &context.under_way.of("endpointslicemirroring"), &key).await })
}

async fn sync(context: &Context, under_way: &Slices, key: &Key) -> Result<Next, ApiError> {
    let of = |endpoints: Option<&Endpoints>| match endpoints {
        Some(endpoints) => Owner::of(endpoints),
        // Nothing is made for Endpoints that are gone, only deleted.
        None => Owner { key: key.clone(), uid: String::new(), generation: 0, deleting: true },
    };
    let owner = of(context.caches.of::<Endpoints>().get(key).as_deref());
    settle(context, under_way, &owner).await?;
    let service = context.caches.of::<Service>().get(key);
    let endpoints = context.caches.of::<Endpoints>().get(key);
    let (service, endpoints): (Option<&Service>, Option<&Endpoints>) = (service.as_deref(), endpoints.as_deref());
    let mut slices = context.caches.of::<EndpointSlice>().in_namespace(&key.namespace);
    slices.retain(|s| {
        s.label(SERVICE_LABEL) == Some(&key.name) && s.label(MANAGED_BY_LABEL) == Some(MANAGER) && !s.is_deleting()
    });
    let next =
        apply(context, under_way, &of(endpoints), decide(&Observed { service, endpoints, slices: &slices })).await?;
    if endpoints.is_none() && slices.is_empty() {
        // Nobody else tells that they are gone.
        under_way.forget(key);
    }
    Ok(next)
}
