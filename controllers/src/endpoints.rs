//! Endpoints: the older form of EndpointSlices, one object for each Service with a selector.

pub mod decide;

use corten_api::k8s_openapi::api::core::v1::{Endpoints, Service};
use corten_api::{ApiError, Key, Object, Reason};
use corten_client::Next;

use crate::caches::selected_by;
use crate::context::{Context, is_terminating_namespace};
use crate::controller::{Controller, Loop, Setup, maps};
use crate::pods::SeenPod;
use decide::{Action, Observed};

pub fn controller(setup: &Setup) -> Loop {
    let services = setup.caches.of::<Service>();
    Controller::new(setup)
        .reconciles(&services)
        // Endpoints have the name of their Service.
        .watches(&setup.caches.of::<Endpoints>(), maps::own)
        .watches(&setup.caches.of::<SeenPod>(), maps::selectors(&services))
        .run(|context, key| async move { sync(&context, &key).await })
}

async fn sync(context: &Context, key: &Key) -> Result<Next, ApiError> {
    let service = context.caches.of::<Service>().get(key);
    let existing = context.caches.of::<Endpoints>().get(key);
    let selector = selected_by(&context.caches.of::<Service>(), key);
    let pods = selector.map(|selector| context.caches.of::<SeenPod>().selected(&key.namespace, &selector));
    let pods = pods.unwrap_or_default();
    let service: Option<&Service> = service.as_deref();
    let action = decide::decide(&Observed { service, pods: &pods, existing: existing.as_deref() });
    let written = match action {
        Action::Keep => return Ok(Next::Done),
        Action::Create(endpoints) => context.client.create(&endpoints).await,
        Action::Update(endpoints) => context.client.update(&endpoints).await,
        Action::Delete { uid } => {
            context.delete::<Endpoints>(key, &uid).await?;
            let gone = |e: &Endpoints| e.uid() != uid || e.is_deleting();
            context.seen_gone(&context.caches.of::<Endpoints>(), key, gone).await;
            return Ok(Next::Done);
        }
    };
    match written {
        Ok(endpoints) => context.caught_up(&context.caches.of::<Endpoints>(), endpoints.revision()).await,
        Err(err) if is_terminating_namespace(&err) => {}
        // The namespace went meanwhile.
        Err(err) if err.is(Reason::NotFound) && context.caches.of::<Service>().get(key).is_none() => {}
        Err(err) => return Err(err),
    }
    Ok(Next::Done)
}
