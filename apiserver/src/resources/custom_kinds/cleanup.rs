//! Ends a kind: its objects are deleted as anybody would delete them, and when the last one is gone its definition may go.
//!
//! Each definition that is to go has a task of its own: one whose objects wait for their finalizers holds up no other, nor a
//! server that starts. It deletes in batches, waits for changes of this kind alone, and longer each time that there are none.
//!
//! Where a webhook converts, which may be gone for good, each object is deleted in the version that it is stored in, and stays in it while
//! it waits for its finalizers: nobody is asked, and what it says is there for who lets it go.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use corten_api::selector::Selector;
use corten_api::{ApiError, Object, Reason};
use futures::StreamExt;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::DeleteOptions;
use tokio::time::sleep;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::own::is_builtin;
use super::{Definition, is_going, step};
use crate::cache::{FieldTerms, Filter, Item, ROOT, api_error};
use crate::registry::apiextensions::customresourcedefinition::{CLEANUP, STORE_PREFIX};
use crate::registry::custom::{CustomKind, store_prefix, version_said};
use crate::registry::{ApiResource, Conversion, clock};
use crate::request::Target;
use crate::resources::{Authorized, Resources, WatchFrom, WatchOptions, WatchStream, Weak, WriteOptions};
use crate::storage::Write;

/// Deletes under way at one time.
const CONCURRENCY: usize = 16;
/// Objects that are deleted between two looks at the definition.
const BATCH_MAX: usize = 256;
/// Objects that go one after the other are looked at together.
const TOGETHER: Duration = Duration::from_millis(50);
/// Nothing has changed: looked at again, first so soon, then less and less often.
const WAIT_MIN: Duration = Duration::from_millis(100);
const WAIT_MAX: Duration = Duration::from_secs(5);

/// Who cleans, by the uid of the definition. Each ends when it is dropped.
#[derive(Debug, Default)]
pub(super) struct Cleaners(HashMap<String, DropGuard>);

impl Cleaners {
    /// One for each of these that has none; others are not needed any more.
    pub(super) fn set(&mut self, going: &[Arc<Definition>], resources: &Weak) {
        let uid = |definition: &Definition| definition.crd.metadata.uid.clone().unwrap_or_default();
        self.0.retain(|cleaned, _| going.iter().any(|definition| uid(definition) == *cleaned));
        for definition in going {
            self.0.entry(uid(definition)).or_insert_with(|| {
                let stop = CancellationToken::new();
                let cleaner = Cleaner {
                    resources: resources.clone(),
                    name: definition.crd.name().to_owned(),
                    uid: uid(definition),
                    after: String::new(),
                    changes: None,
                };
                tokio::spawn(stop.clone().run_until_cancelled_owned(cleaner.run()));
                stop.drop_guard()
            });
        }
    }
}

/// What one turn has come to.
enum Turn {
    /// The definition may go, or has gone.
    Done,
    /// More is to be deleted.
    More,
    /// All that is left waits for its finalizers, or for a server that can read it.
    Waiting(Option<Target>),
}

struct Cleaner {
    resources: Weak,
    name: String,
    uid: String,
    /// The key of the last object that was looked at in this round.
    after: String,
    changes: Option<WatchStream>,
}

impl Cleaner {
    async fn run(mut self) {
        let mut wait = WAIT_MIN;
        loop {
            let turn = {
                let Some(resources) = self.resources.upgrade() else { return };
                resources.clean(&self.name, &self.uid, &mut self.after).await
            };
            match turn {
                Ok(Turn::Done) => return,
                Ok(Turn::More) => {
                    wait = WAIT_MIN;
                    tokio::task::yield_now().await;
                    continue;
                }
                // What changes from now on is told of; what has changed before is seen by one more look.
                Ok(Turn::Waiting(Some(of))) if self.changes.is_none() => {
                    let Some(resources) = self.resources.upgrade() else { return };
                    let options = WatchOptions { from: WatchFrom::Now, metadata_only: true, ..WatchOptions::default() };
                    match resources.watch(&Authorized::own(of), options).await {
                        Ok(changes) => {
                            self.changes = Some(changes);
                            continue;
                        }
                        Err(err) => tracing::debug!(%err, "{} is looked at now and then", self.name),
                    }
                }
                Ok(Turn::Waiting(_)) => {}
                Err(err) => tracing::warn!(%err, "objects of {} could not be deleted; again soon", self.name),
            }
            if self.has_changed_within(wait).await {
                wait = WAIT_MIN;
                sleep(TOGETHER).await;
            } else {
                wait = (wait * 2).min(WAIT_MAX);
            }
        }
    }

    async fn has_changed_within(&mut self, wait: Duration) -> bool {
        let Some(changes) = &mut self.changes else {
            sleep(wait).await;
            return false;
        };
        match tokio::time::timeout(wait, changes.next()).await {
            Err(_) => false,
            Ok(Some(Ok(_))) => true,
            Ok(Some(Err(_)) | None) => {
                self.changes = None;
                sleep(wait).await;
                false
            }
        }
    }
}

impl Resources {
    /// One turn. `after`: how far the round has come.
    async fn clean(&self, name: &str, uid: &str, after: &mut String) -> Result<Turn, ApiError> {
        self.inner.cache.catch_up().await?;
        let Some((definition, crd)) = self.going(name, uid)? else { return Ok(Turn::Done) };
        if is_builtin(self.registry(), &crd) {
            let why = "instances overlap with built-in resources in storage";
            return self.let_go(&definition, &crd, "OverlappingBuiltInResource", why).await;
        }
        let prefix = store_prefix(&crd);
        let (group, plural) = (&crd.spec.group, &crd.spec.names.plural);
        let stored = crd.spec.versions.iter().find(|version| version.storage);
        let resource = stored.and_then(|stored| self.registry().find(group, &stored.name, plural));
        let resource = resource.or_else(|| self.registry().find_any_version(group, plural));
        let (Some(kind), Some(resource)) = (self.inner.cache.kind(&prefix), resource) else {
            return self.end_unserved(&definition, &crd).await;
        };
        let snapshot = kind.snapshot(self.inner.cache.revision());
        if snapshot.items.is_empty() {
            return self.end_unserved(&definition, &crd).await;
        }
        let target = Target {
            group: resource.group().into(),
            version: resource.version().into(),
            resource: resource.plural().into(),
            ..Target::default()
        };
        let all = Filter::new("", Selector::everything(), FieldTerms::default());
        // Who is deleted already waits for its finalizers.
        let left = all.select(&snapshot, after).filter(|item| !item.is_deleting()).take(BATCH_MAX);
        let batch: Vec<Arc<Item>> = left.cloned().collect();
        let Some(last) = batch.last() else {
            let is_whole = after.is_empty();
            after.clear();
            return Ok(if is_whole { Turn::Waiting(Some(target)) } else { Turn::More });
        };
        last.key().clone_into(after);
        let as_stored = as_stored(&crd, &resource, &batch)?;
        let one = |item: Arc<Item>| {
            let resource = version_said(&crd, &item.object()).and_then(|version| as_stored.get(&version)).cloned();
            let target = Target { namespace: item.namespace().into(), name: item.name().into(), ..target.clone() };
            async move {
                let may = Authorized::own(target);
                let deleted = match resource {
                    Some(resource) => self.delete_as(resource, &may).await,
                    None => self.delete(&may, DeleteOptions::default(), WriteOptions::default()).await,
                };
                match deleted {
                    Err(err) if err.is(Reason::NotFound) => Ok(()),
                    deleted => deleted.map(drop),
                }
            }
        };
        let mut deletes = futures::stream::iter(batch).map(one).buffer_unordered(CONCURRENCY);
        let mut failed = None;
        while let Some(deleted) = deletes.next().await {
            failed = failed.or(deleted.err());
        }
        failed.map_or(Ok(Turn::More), Err)
    }

    /// The definition as the cache has it, if it still waits for its objects.
    fn going(&self, name: &str, uid: &str) -> Result<Option<(Definition, CustomResourceDefinition)>, ApiError> {
        let Some(item) = self.inner.cache.kind(STORE_PREFIX).and_then(|kind| kind.get(name)) else { return Ok(None) };
        let crd: CustomResourceDefinition = serde_json::from_slice(&item.object()).map_err(ApiError::internal)?;
        let is_held = crd.metadata.finalizers.iter().flatten().any(|finalizer| finalizer == CLEANUP);
        if crd.metadata.uid.as_deref() != Some(uid) || !is_going(&crd) || !is_held {
            return Ok(None);
        }
        let definition = Definition::of(crd.clone(), item.revision).map_err(ApiError::internal)?;
        Ok(Some((definition, crd)))
    }

    /// Of a kind of which nothing can be read: what the store has of it goes, and the definition once that is nothing. The store is
    /// asked itself: the cache leaves out what it cannot read. No object is made any more, as creates expect that the definition
    /// has not been deleted ([`Resources::while_defined`]).
    async fn end_unserved(&self, definition: &Definition, crd: &CustomResourceDefinition) -> Result<Turn, ApiError> {
        let storage = self.inner.cache.storage();
        let listed =
            storage.list(&format!("{ROOT}{}/", store_prefix(crd)), None).await.map_err(|err| api_error(&err))?;
        if listed.items.is_empty() {
            return self.let_go(definition, crd, "InstanceDeletionCompleted", "removed all instances").await;
        }
        let mut is_held = false;
        for stored in listed.items.into_iter().take(BATCH_MAX) {
            if is_object(&stored.value) {
                // Served a moment ago, or to be served in a moment.
                is_held = true;
                continue;
            }
            tracing::warn!(key = stored.key, "what is stored here is no object, and goes with its definition");
            let delete = Write::Delete { key: stored.key, expected: stored.revision };
            storage.commit(vec![delete]).await.map_err(|err| api_error(&err))?;
        }
        Ok(if is_held { Turn::Waiting(None) } else { Turn::More })
    }

    async fn let_go(
        &self,
        definition: &Definition,
        crd: &CustomResourceDefinition,
        reason: &'static str,
        why: &str,
    ) -> Result<Turn, ApiError> {
        self.write_definition(definition, &step::ended(crd, reason, why, &clock::now())).await?;
        // If somebody was quicker, the next turn sees what is left to do.
        Ok(Turn::More)
    }
}

/// The kind in each version that some of these objects are stored in, if a webhook converts between them.
fn as_stored(
    crd: &CustomResourceDefinition,
    resource: &ApiResource,
    batch: &[Arc<Item>],
) -> Result<HashMap<String, Arc<ApiResource>>, ApiError> {
    let mut as_stored = HashMap::new();
    if !matches!(resource.conversion(), Some(Conversion::Webhook(_))) {
        return Ok(as_stored);
    }
    for version in batch.iter().filter_map(|item| version_said(crd, &item.object())) {
        if let Entry::Vacant(unknown) = as_stored.entry(version) {
            let kind = CustomKind::unread_in(crd, unknown.key()).map_err(ApiError::internal)?;
            unknown.insert(kind.stored);
        }
    }
    Ok(as_stored)
}

/// Whether it has metadata, so that somebody may hold it by a finalizer.
fn is_object(stored: &[u8]) -> bool {
    #[derive(serde::Deserialize)]
    struct Named {
        metadata: serde_json::Map<String, serde_json::Value>,
    }
    serde_json::from_slice::<Named>(stored).is_ok_and(|named| !named.metadata.is_empty())
}
