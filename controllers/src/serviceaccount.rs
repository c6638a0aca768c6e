//! The ServiceAccount `default` in every namespace: no pod is admitted before it is there.

pub mod decide;

use corten_api::k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use corten_api::k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use corten_api::{ApiError, Key, Object, Reason};
use corten_client::Next;

use crate::context::{Context, is_terminating_namespace};
use crate::controller::{Controller, Loop, Setup, maps};
use decide::{Observed, is_missing};

const WORKERS: usize = 2;
const NAME: &str = "default";

/// Its items are namespaces.
pub fn controller(setup: &Setup) -> Loop {
    Controller::new(setup)
        .workers(WORKERS)
        .reconciles(&setup.caches.of::<Namespace>())
        .watches(&setup.caches.of::<ServiceAccount>(), |change| {
            maps::namespace(change).filter(|_| change.key().is_some_and(|key| key.name == NAME))
        })
        .run(|context, namespace| async move { sync(&context, &namespace).await })
}

async fn sync(context: &Context, namespace: &Key) -> Result<Next, ApiError> {
    let key = Key::new(namespace.name.as_str(), NAME);
    let seen = Observed {
        namespace: context.caches.of::<Namespace>().get(namespace).map(|n| n.is_deleting()),
        has_account: context.caches.of::<ServiceAccount>().get(&key).is_some(),
    };
    if !is_missing(seen) {
        return Ok(Next::Done);
    }
    let metadata = ObjectMeta { name: Some(key.name), namespace: Some(key.namespace), ..ObjectMeta::default() };
    match context.client.create(&ServiceAccount { metadata, ..ServiceAccount::default() }).await {
        Ok(made) => context.caught_up(&context.caches.of::<ServiceAccount>(), made.revision()).await,
        Err(err) if err.is(Reason::AlreadyExists) || is_terminating_namespace(&err) => {}
        // The namespace went meanwhile.
        Err(err) if err.is(Reason::NotFound) => {}
        Err(err) => return Err(err),
    }
    Ok(Next::Done)
}
