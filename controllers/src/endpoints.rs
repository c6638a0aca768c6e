//! Endpoints: the older form of EndpointSlices, one object for each Service with a selector.

pub mod decide;

use corten_api::k8s_openapi::api::core::v1::{Endpoints, Service};
use corten_api::{ApiError, Key, Object, Reason};
use corten_client::{Next, WorkQueue, run_workers};

use crate::backends;
use crate::context::{Context, is_terminating_namespace};
use crate::replicas::QueueChanges;
use decide::{Action, Observed};

const WORKERS: usize = 5;

pub async fn run(context: Context) {
    let queue = WorkQueue::new();
    let own = queue.clone();
    context.caches.services.subscribe(move |change| own.extend_from(change));
    // Endpoints have the name of their Service.
    let own = queue.clone();
    context.caches.endpoints.subscribe(move |change| own.extend_from(change));
    let (pods_queue, services) = (queue.clone(), context.caches.services.clone());
    context.caches.pods.subscribe(move |change| {
        for key in backends::concerned(change, &services) {
            pods_queue.add(key);
        }
    });
    let stop = context.stop.clone();
    run_workers("endpoints", &queue, WORKERS, &stop, move |key| {
        let context = context.clone();
        async move { sync(&context, &key).await }
    })
    .await;
}

async fn sync(context: &Context, key: &Key) -> Result<Next, ApiError> {
    let service = context.caches.services.get(key);
    let existing = context.caches.endpoints.get(key);
    let mut pods = Vec::new();
    if let Some(selector) = service.as_deref().and_then(backends::selector) {
        pods = context.caches.pods.in_namespace(&key.namespace);
        pods.retain(|pod| selector.matches(&pod.labels));
    }
    let service: Option<&Service> = service.as_deref();
    let action = decide::decide(&Observed { service, pods: &pods, existing: existing.as_deref() });
    let written = match action {
        Action::Keep => return Ok(Next::Done),
        Action::Create(endpoints) => context.client.create(&endpoints).await,
        Action::Update(endpoints) => context.client.update(&endpoints).await,
        Action::Delete { uid } => {
            context.delete::<Endpoints>(key, &uid).await?;
            let gone = |e: &Endpoints| e.uid() != uid || e.is_deleting();
            context.seen_gone(&context.caches.endpoints, key, gone).await;
            return Ok(Next::Done);
        }
    };
    match written {
        Ok(endpoints) => context.caught_up(&context.caches.endpoints, endpoints.revision()).await,
        Err(err) if is_terminating_namespace(&err) => {}
        // The namespace went meanwhile.
        Err(err) if err.is(Reason::NotFound) && context.caches.services.get(key).is_none() => {}
        Err(err) => return Err(err),
    }
    Ok(Next::Done)
}
