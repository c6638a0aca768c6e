//! Fences: what a leader writes is committed only while it leads.
//!
//! With each change of a Lease's holder or transitions a key of the apiserver's own is written in the same transaction. It
//! is not written when the lease is renewed, so its revision stands for one leadership. A write that names a fence (the
//! lease, the holder, the transitions) has that revision among the conditions of its own transaction: once another has
//! taken the lease, nothing of the leader before it is committed any more, however late it arrives.
//! See "fencing" in <https://martin.kleppmann.com/2016/02/08/how-to-do-distributed-locking.html>.

use bytes::Bytes;
use corten_api::ApiError;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Serialize};

use super::Resources;
use crate::cache::{FENCES, ROOT};
use crate::registry::{AnyObject, clock};
use crate::storage::Write;

/// The holder of a lease, and its transitions.
pub(super) type Leader = (String, i32);

/// The leadership that a write is part of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fence {
    pub namespace: String,
    pub name: String,
    pub holder: String,
    pub transitions: i32,
}

/// Who leads, as the fence's key holds it. It looks like an object, as all that the cache reads does.
#[derive(Serialize, Deserialize)]
struct Stored {
    metadata: ObjectMeta,
    holder: String,
    transitions: i32,
}

fn store_key(short: &str) -> String {
    format!("{ROOT}{FENCES}/{short}")
}

/// Whether a key of the store is a fence's.
pub(super) fn is_fence(key: &str) -> bool {
    key.strip_prefix(ROOT).and_then(|key| key.strip_prefix(FENCES)).is_some_and(|rest| rest.starts_with('/'))
}

/// Who leads by a Lease. One without transitions is no lock but a heartbeat, as nodes write it: nobody is fenced by it.
fn leader(object: &dyn AnyObject) -> Option<Leader> {
    let spec = object.as_any().downcast_ref::<Lease>()?.spec.as_ref()?;
    Some((spec.holder_identity.clone().unwrap_or_default(), spec.lease_transitions?))
}

fn short_key(meta: &ObjectMeta) -> String {
    format!("{}/{}", meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default())
}

impl Fence {
    fn short_key(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// The refusal of a write whose author does not lead any more. It does not say who does: not everybody who may write may
    /// read leases.
    pub(super) fn lost(&self) -> ApiError {
        let Self { holder, transitions, .. } = self;
        let why =
            format!("the write belongs to the leadership of {holder:?} (transition {transitions}), which is over");
        ApiError::lease_lost(&self.name, &why)
    }
}

impl Resources {
    /// The condition under which `fence`'s holder may write: that it leads, now and when the write is committed.
    pub(super) async fn condition_of(&self, fence: &Fence) -> Result<Write, ApiError> {
        match self.held(fence) {
            Ok(condition) => Ok(condition),
            // The lease may have been taken a moment ago, through another apiserver.
            Err(_) => {
                self.inner.cache.catch_up().await?;
                self.held(fence)
            }
        }
    }

    fn held(&self, fence: &Fence) -> Result<Write, ApiError> {
        match self.stored_fence(&fence.short_key())? {
            Some((stored, expected)) if stored == (fence.holder.clone(), fence.transitions) => {
                Ok(Write::Expect { key: store_key(&fence.short_key()), expected })
            }
            _ => Err(fence.lost()),
        }
    }

    /// Who leads, as the cache has it, and the revision of that.
    fn stored_fence(&self, short: &str) -> Result<Option<(Leader, i64)>, ApiError> {
        let Some(item) = self.inner.cache.kind(FENCES).and_then(|fences| fences.get(short)) else { return Ok(None) };
        let stored: Stored = serde_json::from_slice(&item.object()).map_err(ApiError::internal)?;
        Ok(Some(((stored.holder, stored.transitions), item.revision)))
    }

    /// What has to be written with a Lease, so that its fence says who leads. Nothing for all other kinds.
    pub(super) fn fence_with(
        &self,
        old: Option<&dyn AnyObject>,
        new: Option<&dyn AnyObject>,
    ) -> Result<Option<Write>, ApiError> {
        let (before, after) = (old.and_then(leader), new.and_then(leader));
        if before.is_none() && after.is_none() {
            return Ok(None);
        }
        let Some(short) = new.or(old).map(|lease| short_key(lease.meta())) else { return Ok(None) };
        let stored = self.stored_fence(&short)?;
        let is_right = before == after && stored.as_ref().map(|(leader, _)| leader) == after.as_ref();
        let key = store_key(&short);
        Ok(match (after, stored) {
            _ if is_right => None,
            (Some(leader), Some((_, expected))) => {
                Some(Write::Update { key, value: value(&short, leader)?, expected, ttl_secs: None })
            }
            (Some(leader), None) => Some(Write::Create { key, value: value(&short, leader)?, ttl_secs: None }),
            (None, Some((_, expected))) => Some(Write::Delete { key, expected }),
            (None, None) => None,
        })
    }
}

fn value(short: &str, (holder, transitions): Leader) -> Result<Bytes, ApiError> {
    let (namespace, name) = short.split_once('/').unwrap_or(("", short));
    let metadata = ObjectMeta {
        namespace: Some(namespace.to_owned()),
        name: Some(name.to_owned()),
        uid: Some(uuid::Uuid::new_v4().to_string()),
        creation_timestamp: Some(clock::now()),
        ..ObjectMeta::default()
    };
    Ok(serde_json::to_vec(&Stored { metadata, holder, transitions }).map_err(ApiError::internal)?.into())
}
