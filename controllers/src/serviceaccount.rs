//! The ServiceAccount `default` in every namespace: no pod is admitted before it is there.

pub mod decide;

use corten_api::k8s_openapi::api::core::v1::ServiceAccount;
use corten_api::k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use corten_api::{ApiError, Key, Object, Reason};
use corten_client::{Next, WorkQueue, run_workers};

use crate::context::{Context, is_terminating_namespace};
use crate::replicas::QueueChanges;
use decide::{Observed, is_missing};

const WORKERS: usize = 2;
const NAME: &str = "default";

/// Its queue holds namespaces.
pub async fn run(context: Context) {
    let queue = WorkQueue::new();
    let own = queue.clone();
    context.caches.namespaces.subscribe(move |change| own.extend_from(change));
    let own = queue.clone();
    context.caches.service_accounts.subscribe(move |change| {
        if let Some(key) = change.key().filter(|key| key.name == NAME) {
            own.add(Key::cluster(key.namespace.as_str()));
        }
    });
    let stop = context.stop.clone();
    run_workers("serviceaccount", &queue, WORKERS, &stop, move |key| {
        let context = context.clone();
        async move { sync(&context, &key).await }
    })
    .await;
}

async fn sync(context: &Context, namespace: &Key) -> Result<Next, ApiError> {
    let key = Key::new(namespace.name.as_str(), NAME);
    let seen = Observed {
        namespace: context.caches.namespaces.get(namespace).map(|n| n.is_deleting()),
        has_account: context.caches.service_accounts.get(&key).is_some(),
    };
    if !is_missing(seen) {
        return Ok(Next::Done);
    }
    let metadata = ObjectMeta { name: Some(key.name), namespace: Some(key.namespace), ..ObjectMeta::default() };
    match context.client.create(&ServiceAccount { metadata, ..ServiceAccount::default() }).await {
        Ok(made) => context.caught_up(&context.caches.service_accounts, made.revision()).await,
        Err(err) if err.is(Reason::AlreadyExists) || is_terminating_namespace(&err) => {}
        // The namespace went meanwhile.
        Err(err) if err.is(Reason::NotFound) => {}
        Err(err) => return Err(err),
    }
    Ok(Next::Done)
}
