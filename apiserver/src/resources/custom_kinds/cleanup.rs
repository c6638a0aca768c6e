//! Ends a kind: its objects are deleted as anybody would delete them, and when the last one is gone its definition may go.

use std::sync::Arc;

use corten_api::{ApiError, Object, Reason};
use futures::StreamExt;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, ObjectMeta};

use super::{Definition, is_builtin, step};
use crate::cache::Item;
use crate::registry::clock;
use crate::registry::custom::store_prefix;
use crate::request::Target;
use crate::resources::{Authorized, Resources, WriteOptions};

/// Deletes under way at one time.
const CONCURRENCY: usize = 16;

impl Resources {
    /// Whether something is to be looked at again at once.
    pub(super) async fn clean(&self, definition: &Definition) -> Result<bool, ApiError> {
        let crd = &*definition.crd;
        if is_builtin(self.registry(), crd) {
            let why = "instances overlap with built-in resources in storage";
            let done = step::ended(crd, "OverlappingBuiltInResource", why, &clock::now());
            self.write_definition(definition, done).await?;
            return Ok(true);
        }
        let Some(kind) = self.inner.cache.kind(&store_prefix(crd)) else { return Ok(false) };
        let snapshot = kind.snapshot(self.inner.cache.revision());
        if snapshot.items.is_empty() {
            let done = step::ended(crd, "InstanceDeletionCompleted", "removed all instances", &clock::now());
            self.write_definition(definition, done).await?;
            return Ok(true);
        }
        let resource = self.registry().find_any_version(&crd.spec.group, &crd.spec.names.plural);
        let Some(resource) = resource else { return Ok(false) };
        // Who is deleted already waits for its finalizers.
        let left: Vec<Arc<Item>> =
            snapshot.items.iter().map(|row| row.0.clone()).filter(|item| !is_deleting(item)).collect();
        let one = |item: Arc<Item>| {
            let target = Target {
                group: resource.group().into(),
                version: resource.version().into(),
                resource: resource.plural().into(),
                namespace: item.namespace().into(),
                name: item.name().into(),
                ..Target::default()
            };
            async move {
                match self.delete(&Authorized::own(target), DeleteOptions::default(), WriteOptions::default()).await {
                    Err(err) if err.is(Reason::NotFound) => Ok(()),
                    deleted => deleted.map(drop),
                }
            }
        };
        let done: Vec<Result<(), ApiError>> =
            futures::stream::iter(left).map(one).buffer_unordered(CONCURRENCY).collect().await;
        for err in done.iter().filter_map(|done| done.as_ref().err()).take(1) {
            tracing::warn!(%err, "objects of {} could not be deleted; again soon", crd.name());
        }
        Ok(!done.is_empty() && done.iter().all(Result::is_ok))
    }
}

fn is_deleting(item: &Item) -> bool {
    #[derive(serde::Deserialize)]
    struct Named {
        metadata: ObjectMeta,
    }
    serde_json::from_slice::<Named>(&item.object()).is_ok_and(|named| named.metadata.deletion_timestamp.is_some())
}
