//! Deletes, disowns and finalizes what was decided on.

use std::time::Duration;

use corten_api::k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, OwnerReference, Preconditions};
use corten_api::{ApiError, Reason};
use corten_client::{Next, Patch};
use futures::future::join_all;
use serde_json::json;

use super::Collector;
use super::decide::{Action, ORPHAN, Policy};
use crate::metadata::SeenMeta;
use crate::monitors::ObjectId;

/// Until more of an object's owners are asked for.
const LOOK_ON: Duration = Duration::from_secs(1);

impl Collector {
    pub(super) async fn apply(&self, id: &ObjectId, object: &SeenMeta, action: Action) -> Result<Next, ApiError> {
        let done = match action {
            Action::Keep => Ok(()),
            Action::Delete(policy) => {
                tracing::debug!(kind = ?self.monitors.resource(id.kind), object = %id.key, ?policy, "its owners are gone: it goes too");
                let options = options(object, policy);
                let objects = self.objects(id.kind, &self.context.prompt)?;
                self.context.width.send(|| objects.delete(&id.key, &options)).await.map(drop)
            }
            Action::Disown(uids) => self.disown(id, &object.uid, &uids).await,
            Action::Loosen => self.loosen(id, object).await,
            Action::OrphanDependents => self.orphan(id, object).await,
            Action::LookOn => return Ok(Next::After(LOOK_ON)),
            Action::AwaitCaches => {
                self.wait_for_caches(id);
                Ok(())
            }
            Action::Await(dependents) => {
                dependents.into_iter().for_each(|dependent| self.queue.add(dependent));
                Ok(())
            }
            Action::RemoveFinalizer(finalizer) => self.remove_finalizer(id, object, finalizer).await,
        };
        match done {
            // Gone: the watch tells.
            Err(err) if err.is(Reason::NotFound) => Ok(Next::Done),
            other => other.map(|()| Next::Done),
        }
    }

    async fn disown(&self, id: &ObjectId, uid: &str, owner_uids: &[String]) -> Result<(), ApiError> {
        let gone: Vec<_> = owner_uids.iter().map(|owner| json!({"$patch": "delete", "uid": owner})).collect();
        let patch = json!({"metadata": {"uid": uid, "ownerReferences": gone}});
        let objects = self.objects(id.kind, &self.context.prompt)?;
        let send = || objects.patch(&id.key, Patch::Strategic(patch.clone()));
        match self.context.width.send(send).await {
            // Another object of its name by now.
            Err(err) if err.is(Reason::Conflict) => Ok(()),
            other => other.map(drop),
        }
    }

    async fn loosen(&self, id: &ObjectId, object: &SeenMeta) -> Result<(), ApiError> {
        let loose = |owner: &OwnerReference| json!({"uid": owner.uid, "blockOwnerDeletion": false});
        let loose: Vec<_> = object.owners.iter().map(loose).collect();
        let patch = json!({"metadata": {"uid": object.uid, "ownerReferences": loose}});
        self.objects(id.kind, &self.context.client)?.patch(&id.key, Patch::Strategic(patch)).await.map(drop)
    }

    async fn orphan(&self, id: &ObjectId, object: &SeenMeta) -> Result<(), ApiError> {
        let owner = std::slice::from_ref(&object.uid);
        let dependents = self.live_dependents(object).await?;
        let disown = |(dependent, uid): &(ObjectId, String)| {
            let (dependent, uid) = (dependent.clone(), uid.clone());
            async move { self.disown(&dependent, &uid, owner).await }
        };
        for disowned in join_all(dependents.iter().map(disown)).await {
            match disowned {
                Err(err) if err.is(Reason::NotFound) => {}
                other => other?,
            }
        }
        self.remove_finalizer(id, object, ORPHAN).await
    }

    /// All that name the object as an owner, with their uids, as the apiserver knows them.
    async fn live_dependents(&self, object: &SeenMeta) -> Result<Vec<(ObjectId, String)>, ApiError> {
        let mut found = Vec::new();
        for kind in self.monitors.ids() {
            let listed = match self.objects(kind, &self.context.client)?.list(&object.key.namespace).await {
                // A kind that this apiserver does not serve has no objects.
                Err(err) if err.is(Reason::NotFound) => continue,
                other => other?,
            };
            let listed = listed.items.iter().map(|object| SeenMeta::of(&object.metadata));
            let owned = listed.filter(|meta| meta.owners.iter().any(|o| o.uid == object.uid));
            found.extend(owned.map(|meta| (ObjectId { kind, key: meta.key }, meta.uid)));
        }
        Ok(found)
    }

    async fn remove_finalizer(&self, id: &ObjectId, object: &SeenMeta, finalizer: &str) -> Result<(), ApiError> {
        let left: Vec<&String> = object.finalizers.iter().filter(|f| *f != finalizer).collect();
        // The list is replaced whole, so it must still be the one that was decided on.
        let metadata = json!({"uid": object.uid, "resourceVersion": object.revision.to_string(), "finalizers": left});
        let patch = Patch::Merge(json!({"metadata": metadata}));
        self.objects(id.kind, &self.context.client)?.patch(&id.key, patch).await.map(drop)
    }
}

/// Only this object, and only as it was seen: one that got an owner meanwhile stays.
fn options(object: &SeenMeta, policy: Policy) -> DeleteOptions {
    let policy = match policy {
        Policy::Background => "Background",
        Policy::Foreground => "Foreground",
        Policy::Orphan => "Orphan",
    };
    DeleteOptions {
        preconditions: Some(Preconditions {
            uid: Some(object.uid.clone()),
            resource_version: Some(object.revision.to_string()),
        }),
        propagation_policy: Some(policy.into()),
        ..DeleteOptions::default()
    }
}
