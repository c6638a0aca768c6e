//! ResourceQuota, the half that commits: `status.used` is what the objects of the namespace take, at every revision.
//!
//! A write of a counted object puts the new `status.used` of each quota that it changes into its own transaction, on
//! condition that the quota is as it was ([`charge`]). That is not enough: a quota that this server has not heard of yet would
//! be passed by, and so would one that is being counted. So each namespace that has quotas has a guard, a key of ours that
//! changes with each change of its quotas that is no charge ([`guard`]), and every write that may count has the guard's
//! revision among its conditions, or that there is none.
//!
//! Who makes or deletes a quota, or changes what it allows, first writes into the guard that it counts. From then on nothing
//! that counts is committed in the namespace; once the cache has come so far, what it shows stays so. In one more
//! transaction go the quota, all statuses counted anew, and the guard as it is when nobody counts ([`settle`]). Others wait
//! that long, some milliseconds. If the server dies in between, whoever has waited too long counts in its place.
//!
//! With time alone a pod may cease to be counted: one that should have been gone for its grace. So that sums stay sums, the
//! guard says as of when all is counted, and only counting anew brings that forward: [`keep`] looks every few minutes
//! whether it would change anything.
//!
//! Several writes do not share one transaction: they would share a revision, and who watches their kind and is cut off between
//! two of them could not resume. What is charged in one server to one namespace is committed in turn ([`Turns`](super::turns::Turns)), each from
//! the quotas as the one before has left them.

mod charge;
mod count;
mod guard;
mod keep;
mod settle;

use std::collections::BTreeMap;
use std::time::Duration;

pub(super) use charge::Charger;
use corten_api::ApiError;
use k8s_openapi::api::core::v1::ResourceQuota;
pub(super) use keep::run as keep;
pub(super) use settle::{Change, Settled};
use tokio::sync::OwnedMutexGuard;

use super::turns::Patience;
use crate::registry::AnyObject;

const PLURAL: &str = "resourcequotas";

/// Who charges. One waits as long as upstream's does.
pub(super) const PATIENCE: Patience = Patience {
    waiting_max: 1024,
    wait_max: Duration::from_secs(10),
    refusal: "too many writes wait for the resource quotas of the namespace, please try again",
};

/// Quotas by name, with their resourceVersions: newer than the cache's, or older.
pub(super) type Latest = BTreeMap<String, ResourceQuota>;
/// The right to charge.
type Turn = OwnedMutexGuard<Latest>;

/// What the namespace must be counted anew for; `None`: the write is no such.
pub(super) fn change_of(old: Option<&dyn AnyObject>, new: Option<&dyn AnyObject>) -> Option<Change> {
    let (old, new) = (old.and_then(quota), new.and_then(quota));
    match (old, new) {
        (None, Some(new)) => Some(Change::Make(Box::new(new.clone()))),
        (Some(old), None) => Some(Change::Remove { old: Box::new(old.clone()) }),
        (Some(old), Some(new)) if old.spec != new.spec => {
            Some(Change::Put { new: Box::new(new.clone()), old: Box::new(old.clone()) })
        }
        (Some(_), Some(_)) | (None, None) => None,
    }
}

fn quota(object: &dyn AnyObject) -> Option<&ResourceQuota> {
    object.as_any().downcast_ref()
}

fn name(quota: &ResourceQuota) -> &str {
    quota.metadata.name.as_deref().unwrap_or_default()
}

/// What a quota's write is to be conditioned on.
fn revision(quota: &ResourceQuota) -> Result<i64, ApiError> {
    let version = quota.metadata.resource_version.as_deref().and_then(|version| version.parse().ok());
    version.ok_or_else(|| ApiError::internal(format!("quota {:?} has no resourceVersion", name(quota))))
}
