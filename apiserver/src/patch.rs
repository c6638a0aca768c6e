//! Patches: the object as it is and a patch give the object as it should be. Pure.
//!
//! Types: <https://kubernetes.io/docs/reference/using-api/api-concepts/#patch-and-apply>. What comes out is no deeper than
//! a body may be, whatever the patch does on its way: all that comes after may follow it to its ends.

mod json;
mod order;
mod strategic;

pub use self::json::MAX_OPERATIONS;
use corten_api::{ApiError, Reason};
use serde_json::Value;

use crate::decode::{self, DecodeError};
use crate::registry::ApiResource;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// RFC 6902
    Json,
    /// RFC 7386
    Merge,
    Strategic,
    /// Server-side apply: no change of an object, but what its author wants of it.
    Apply,
}

/// The operations of a JSON patch: read within the bounds of a body, and counted.
#[derive(Debug)]
pub struct Operations(json_patch::Patch);

impl Operations {
    pub fn read(patch: &[u8]) -> Result<Self, ApiError> {
        json::read(body(patch)?).map(Self)
    }
    pub fn is_empty(&self) -> bool {
        self.0.0.is_empty()
    }
    pub fn apply(&self, mut object: Value) -> Result<Value, ApiError> {
        json::apply(&mut object, &self.0)?;
        Ok(object)
    }
}

/// Applies a patch to an object's JSON.
pub fn apply(kind: Kind, resource: &ApiResource, mut object: Value, patch: &[u8]) -> Result<Value, ApiError> {
    match kind {
        Kind::Json => return Operations::read(patch)?.apply(object),
        Kind::Merge => json_patch::merge(&mut object, &merge_body(patch)?),
        Kind::Strategic if resource.is_custom() => return Err(no_strategic()),
        Kind::Strategic => strategic::merge(resource.shape(), &mut object, merge_body(patch)?)?,
        Kind::Apply => return Err(ApiError::internal("an apply is no patch of an object")),
    }
    Ok(object)
}

/// An object after a JSON patch; `None`: one of the patch's tests has failed, and nothing is to change. The error: why it cannot be
/// done.
pub fn apply_operations(object: &Value, operations: Value) -> Result<Option<Value>, String> {
    let patch = json::read(operations).map_err(|err| err.message().to_owned())?;
    let mut object = object.clone();
    match json::apply_each(&mut object, &patch) {
        Ok(()) => Ok(Some(object)),
        Err(json::Undone::TestFailed(_)) => Ok(None),
        Err(json::Undone::Failed(why)) => Err(why),
    }
}

/// Custom kinds have no strategies.
fn no_strategic() -> ApiError {
    ApiError::new(
        Reason::UnsupportedMediaType,
        "the body of the request was in an unknown format - accepted media types include: \
         application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml",
    )
}

fn body(patch: &[u8]) -> Result<Value, ApiError> {
    decode::value(patch).map_err(|err| match err {
        DecodeError::TooLarge => err.into(),
        err => ApiError::bad_request(format!("error decoding patch: {err}")),
    })
}

fn merge_body(patch: &[u8]) -> Result<Value, ApiError> {
    let body = body(patch)?;
    if body.is_object() {
        Ok(body)
    } else {
        Err(ApiError::bad_request("error decoding patch: a merge patch is a JSON object"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_that_is_no_patch_is_refused() {
        assert!(merge_body(b"[1]").is_err() && merge_body(b"{").is_err());
        assert!(Operations::read(b"{}").is_err());
    }

    #[test]
    fn a_patch_of_a_million_small_objects_is_too_large() {
        let patch = format!("[{}{{}}]", r#"{"":0},"#.repeat(400_000));
        assert_eq!(Operations::read(patch.as_bytes()).unwrap_err().code(), 413);
    }
}
