//! Who owns what: adoption of orphans that match a selector, and release of what no longer does.

pub mod decide;

use corten_api::k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use corten_api::{ApiError, Key, Object, Reason};
use corten_client::{Client, Patch};
use serde_json::json;

/// An object that is to be adopted or released: the copy that the decision was made on.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    pub key: Key,
    pub uid: String,
}

/// Asks the apiserver, not the cache: an owner that has gone, or that comes again under its name, must not adopt.
pub async fn may_adopt<O: Object>(client: &Client, owner: &O) -> Result<bool, ApiError> {
    match client.get::<O>(&owner.key()).await {
        Ok(live) => Ok(live.uid() == owner.uid() && !live.is_deleting()),
        Err(err) if err.is(Reason::NotFound) => Ok(false),
        Err(err) => Err(err),
    }
}

/// Adds `owner` to the object's owners. Returns the revision at which it stands.
pub async fn adopt<K: Object>(client: &Client, target: &Target, owner: OwnerReference) -> Result<i64, ApiError> {
    // The uid makes the patch fail if the object was replaced meanwhile by another of its name.
    let patch = json!({"metadata": {"uid": target.uid, "ownerReferences": [owner]}});
    Ok(client.patch::<K>(&target.key, "", Patch::Strategic(patch)).await?.revision())
}

/// Takes the owner with `owner_uid` from the object's owners. `None`: the object has gone, which is as good.
pub async fn release<K: Object>(client: &Client, target: &Target, owner_uid: &str) -> Result<Option<i64>, ApiError> {
    let patch = json!({"metadata": {
        "uid": target.uid,
        "ownerReferences": [{"$patch": "delete", "uid": owner_uid}],
    }});
    match client.patch::<K>(&target.key, "", Patch::Strategic(patch)).await {
        Ok(object) => Ok(Some(object.revision())),
        // Invalid: the owner reference was not there any more.
        Err(err) if err.is(Reason::NotFound) || err.is(Reason::Invalid) || err.is(Reason::Conflict) => Ok(None),
        Err(err) => Err(err),
    }
}

/// Does what [`decide::claim`] decided; returns the highest revision that was written.
pub async fn apply<O: Object, K: Object>(
    client: &Client,
    owner: &O,
    claim: &decide::Claim<Target>,
) -> Result<i64, ApiError> {
    let mut revision = 0;
    for target in &claim.release {
        revision = revision.max(release::<K>(client, target, owner.uid()).await?.unwrap_or(0));
    }
    if claim.adopt.is_empty() || !may_adopt(client, owner).await? {
        return Ok(revision);
    }
    for target in &claim.adopt {
        match adopt::<K>(client, target, owner.controller_reference()).await {
            Ok(at) => revision = revision.max(at),
            // Gone, or replaced: the watch tells.
            Err(err) if err.is(Reason::NotFound) || err.is(Reason::Conflict) => {}
            Err(err) => return Err(err),
        }
    }
    Ok(revision)
}
