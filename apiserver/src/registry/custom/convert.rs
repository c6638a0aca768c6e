//! Between the version that is stored and another: only `apiVersion` changes, and each has what its own schema knows.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::object::Type;
use crate::registry::Conversion;
use crate::registry::structural::{Structural, fill, prune};

/// A version and its schema.
type Version = (Arc<Type>, Arc<Structural>);

pub(super) fn conversion(served: Version, stored: Version) -> Conversion {
    Conversion {
        from_stored: Arc::new(move |json| converted(json, &served, false)),
        to_stored: Arc::new(move |json| converted(json, &stored, true)),
    }
}

/// `with_defaults`: what is stored has those of the version that is stored. Who reads sees these, and none of the version that he
/// reads in, as upstream has it.
fn converted(json: &[u8], (of, schema): &Version, with_defaults: bool) -> Result<Vec<u8>, serde_json::Error> {
    let mut object: Map<String, Value> = serde_json::from_slice(json)?;
    object.insert("apiVersion".into(), of.api_version.as_str().into());
    prune::prune(&mut object, schema);
    if with_defaults {
        fill::fill(&mut object, schema, fill::WRITE_BYTES_MAX)
            .map_err(<serde_json::Error as serde::ser::Error>::custom)?;
    }
    serde_json::to_vec(&object)
}

/// What was stored, as it would be stored and read today; `None`: it is that already, or no object. One that defaults would make
/// much of gets none.
pub(super) fn mended(stored: &[u8], of: &Type, schema: &Structural) -> Option<Vec<u8>> {
    let (mut object, mut is_changed) = pruned(stored, of, schema)?;
    match fill::fill(&mut object, schema, fill::READ_BYTES_MAX) {
        Ok(is_filled) => is_changed |= is_filled,
        // Some are filled in by now.
        Err(_) => (object, is_changed) = pruned(stored, of, schema)?,
    }
    if is_changed { serde_json::to_vec(&object).ok() } else { None }
}

/// Tells whether anything has changed, too.
fn pruned(stored: &[u8], of: &Type, schema: &Structural) -> Option<(Map<String, Value>, bool)> {
    let mut object: Map<String, Value> = serde_json::from_slice(stored).ok()?;
    let is_of_version = object.get("apiVersion").and_then(Value::as_str) == Some(&of.api_version);
    if !is_of_version {
        object.insert("apiVersion".into(), of.api_version.as_str().into());
    }
    let is_pruned = !prune::prune(&mut object, schema).is_empty();
    Some((object, is_pruned || !is_of_version))
}
