//! Deletes, disowns and finalizes what was decided on.

use corten_api::k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, Preconditions};
use corten_api::{ApiError, Reason};
use corten_client::{Next, Patch};
use serde_json::json;

use super::Controller;
use super::decide::{Action, Dependent, ORPHAN, Policy};
use crate::kinds::SeenMeta;
use crate::monitors::ObjectId;

impl Controller {
    pub(super) async fn apply(&self, id: &ObjectId, object: &SeenMeta, action: Action) -> Result<Next, ApiError> {
        let kind = self.monitors.kind(id.kind);
        let client = &self.context.client;
        let done = match action {
            Action::Keep => Ok(()),
            Action::Delete(policy) => {
                tracing::debug!(kind = kind.kind(), object = %id.key, ?policy, "its owners are gone: it goes too");
                kind.delete(client, &id.key, &options(object, policy)).await
            }
            Action::Disown(uids) => self.disown(id, &object.uid, &uids).await,
            Action::OrphanDependents(dependents) => self.orphan(id, object, &dependents).await,
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
        let kind = self.monitors.kind(id.kind);
        match kind.patch(&self.context.client, &id.key, Patch::Strategic(patch)).await {
            // Another object of its name by now.
            Err(err) if err.is(Reason::Conflict) => Ok(()),
            other => other,
        }
    }

    async fn orphan(&self, id: &ObjectId, object: &SeenMeta, dependents: &[Dependent]) -> Result<(), ApiError> {
        for dependent in dependents {
            match self.disown(&dependent.id, &dependent.uid, std::slice::from_ref(&object.uid)).await {
                Err(err) if err.is(Reason::NotFound) => {}
                other => other?,
            }
        }
        self.remove_finalizer(id, object, ORPHAN).await
    }

    async fn remove_finalizer(&self, id: &ObjectId, object: &SeenMeta, finalizer: &str) -> Result<(), ApiError> {
        let left: Vec<&String> = object.finalizers.iter().filter(|f| *f != finalizer).collect();
        // The list is replaced whole, so it must still be the one that was decided on.
        let metadata = json!({"uid": object.uid, "resourceVersion": object.revision.to_string(), "finalizers": left});
        let kind = self.monitors.kind(id.kind);
        kind.patch(&self.context.client, &id.key, Patch::Merge(json!({"metadata": metadata}))).await
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
