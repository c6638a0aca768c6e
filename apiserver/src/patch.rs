//! Patches: the object as it is and a patch give the object as it should be. Pure.
//!
//! Types: <https://kubernetes.io/docs/reference/using-api/api-concepts/#patch-and-apply>.

pub mod lists;
mod strategic;

use corten_api::{ApiError, Reason};
use json_patch::PatchOperation;
use serde_json::Value;

use crate::registry::Entry;

/// Operations in one JSON patch.
const JSON_PATCH_OPS_MAX: usize = 10_000;
/// Bytes that the `copy` operations of one JSON patch may make: a few of them doubling each other would fill memory.
const JSON_PATCH_COPIED_BYTES_MAX: usize = 3 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// RFC 6902
    Json,
    /// RFC 7386
    Merge,
    Strategic,
}

/// Applies a patch to an object's JSON.
pub fn apply(kind: Kind, entry: &dyn Entry, current: &Value, patch: &[u8]) -> Result<Value, ApiError> {
    let mut object = current.clone();
    match kind {
        Kind::Json => apply_json(&mut object, patch)?,
        Kind::Merge => json_patch::merge(&mut object, &merge_body(patch)?),
        Kind::Strategic => strategic::merge(entry.kind(), &mut object, merge_body(patch)?).map_err(bad)?,
    }
    Ok(object)
}

fn bad(why: impl std::fmt::Display) -> ApiError {
    ApiError::bad_request(why.to_string())
}

fn merge_body(patch: &[u8]) -> Result<Value, ApiError> {
    let body: Value = serde_json::from_slice(patch).map_err(|err| bad(format!("error decoding patch: {err}")))?;
    if body.is_object() { Ok(body) } else { Err(bad("error decoding patch: a merge patch is a JSON object")) }
}

fn apply_json(object: &mut Value, patch: &[u8]) -> Result<(), ApiError> {
    let ops: json_patch::Patch =
        serde_json::from_slice(patch).map_err(|err| bad(format!("error decoding patch: {err}")))?;
    if ops.0.len() > JSON_PATCH_OPS_MAX {
        let why =
            format!("The allowed maximum operations in a JSON patch is {JSON_PATCH_OPS_MAX}, got {}", ops.0.len());
        return Err(ApiError::new(Reason::RequestEntityTooLarge, why));
    }
    let mut copied = 0;
    for op in ops.0 {
        if let PatchOperation::Copy(copy) = &op {
            copied += copy.from.resolve(object).map_or(0, |v| v.to_string().len());
            if copied > JSON_PATCH_COPIED_BYTES_MAX {
                let why =
                    format!("the copy operations of the patch make more than {JSON_PATCH_COPIED_BYTES_MAX} bytes");
                return Err(ApiError::new(Reason::RequestEntityTooLarge, why));
            }
        }
        json_patch::patch(object, std::slice::from_ref(&op)).map_err(|err| {
            ApiError::new(
                Reason::Invalid,
                format!("the server rejected our request due to an error in our request: {err}"),
            )
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_json_patch_cannot_fill_memory() {
        let mut object = json!({"a": ["x".repeat(1000)]});
        let doubling: Vec<Value> = (0..40).map(|_| json!({"op": "copy", "from": "/a", "path": "/a/-"})).collect();
        let err = apply_json(&mut object, json!(doubling).to_string().as_bytes()).unwrap_err();
        assert_eq!(err.reason(), Reason::RequestEntityTooLarge);
    }

    #[test]
    fn a_failed_test_is_invalid() {
        let mut object = json!({"a": 1});
        let patch = br#"[{"op":"test","path":"/a","value":2},{"op":"replace","path":"/a","value":3}]"#;
        assert_eq!(apply_json(&mut object, patch).unwrap_err().reason(), Reason::Invalid);
        assert_eq!(object, json!({"a": 1}));
    }

    #[test]
    fn a_patch_that_is_no_patch_is_refused() {
        assert!(merge_body(b"[1]").is_err() && merge_body(b"{").is_err());
        assert!(apply_json(&mut json!({}), b"{}").is_err());
    }
}
