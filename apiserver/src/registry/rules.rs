//! A kind's rules with its type erased.

use std::marker::PhantomData;

use corten_api::Problems;

use crate::decode::{DecodeError, Normal};

use super::{AnyObject, Cell, Kind, Strategy, WriteContext};

/// `spec.replicas` and its surroundings, for the scale subresource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScaleView {
    /// `None`: it is nowhere said, which only a custom kind allows.
    pub spec_replicas: Option<i32>,
    pub status_replicas: i32,
    pub selector: String,
}

/// What can be done with the objects of one kind. Objects given to it must be of that kind: anything else is a bug of the
/// caller, and reads as "nothing to say" (no problems, no change), never as a panic.
pub trait Rules: Send + Sync + 'static {
    /// `json` is in its normal form (`decode::normal`).
    fn decode(&self, json: &str) -> Result<Box<dyn AnyObject>, serde_json::Error>;
    /// What is kept of a text whose type and metadata have been read.
    fn pruned(&self, body: Normal) -> Result<Normal, DecodeError> {
        Ok(body)
    }
    /// What is stored of a custom kind, as it would be stored today; `None`: it is that already, or it cannot be read.
    fn mended(&self, _stored: &[u8]) -> Option<Vec<u8>> {
        None
    }
    /// Whether what is stored is of another version than objects are stored in now.
    fn is_of_other_version(&self, _stored: &[u8]) -> bool {
        false
    }
    fn fill_defaults(&self, object: &mut dyn AnyObject);
    fn prepare(&self, write: Strategy<'_, dyn AnyObject>, object: &mut dyn AnyObject, context: &WriteContext<'_>);
    fn spec_changed(&self, object: &dyn AnyObject, old: &dyn AnyObject) -> bool;
    fn validate(&self, write: Strategy<'_, dyn AnyObject>, object: &dyn AnyObject, problems: &mut Problems);
    /// Whether validating one object, however small, may keep a thread busy for long.
    fn is_costly(&self) -> bool {
        false
    }
    fn warnings(&self, object: &dyn AnyObject, old: Option<&dyn AnyObject>) -> Vec<String>;
    fn deletion_grace_secs(&self, object: &dyn AnyObject, asked: Option<i64>) -> Option<i64>;
    fn holds_deletion(&self, object: &dyn AnyObject) -> bool;
    fn mark_deleting(&self, object: &mut dyn AnyObject);
    fn row(&self, object: &dyn AnyObject, now_secs: i64) -> Vec<Cell>;
    fn scale(&self, object: &dyn AnyObject) -> Option<ScaleView>;
    fn set_replicas(&self, object: &mut dyn AnyObject, replicas: i32);
    /// Where the number stands that the scale subresource changes.
    fn replicas_path(&self) -> Vec<String> {
        vec!["spec".into(), "replicas".into()]
    }
    /// The kind's JSON schema and those it refers to, as `schemars` gives them.
    fn schema(&self, generator: &mut schemars::SchemaGenerator) -> schemars::Schema;
}

/// The rules of a typed kind.
pub(super) struct Typed<K>(PhantomData<fn() -> K>);

impl<K> Default for Typed<K> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

fn typed<K: 'static>(object: &dyn AnyObject) -> Option<&K> {
    object.as_any().downcast_ref()
}
fn typed_mut<K: 'static>(object: &mut dyn AnyObject) -> Option<&mut K> {
    object.as_any_mut().downcast_mut()
}

impl<K: Kind> Rules for Typed<K> {
    fn decode(&self, json: &str) -> Result<Box<dyn AnyObject>, serde_json::Error> {
        Ok(Box::new(K::from_json(json.as_bytes())?))
    }
    fn fill_defaults(&self, object: &mut dyn AnyObject) {
        if let Some(object) = typed_mut::<K>(object) {
            object.fill_defaults();
        }
    }
    fn prepare(&self, write: Strategy<'_, dyn AnyObject>, object: &mut dyn AnyObject, context: &WriteContext<'_>) {
        if let (Some(object), Some(write)) = (typed_mut::<K>(object), write.typed::<K>()) {
            write.prepare(object, context);
        }
    }
    fn spec_changed(&self, object: &dyn AnyObject, old: &dyn AnyObject) -> bool {
        matches!((typed::<K>(object), typed(old)), (Some(object), Some(old)) if object.spec_changed(old))
    }
    fn validate(&self, write: Strategy<'_, dyn AnyObject>, object: &dyn AnyObject, problems: &mut Problems) {
        if let (Some(object), Some(write)) = (typed::<K>(object), write.typed::<K>()) {
            write.validate(object, problems);
        }
    }
    fn is_costly(&self) -> bool {
        K::IS_COSTLY
    }
    fn warnings(&self, object: &dyn AnyObject, old: Option<&dyn AnyObject>) -> Vec<String> {
        typed::<K>(object).map(|object| object.warnings(old.and_then(typed))).unwrap_or_default()
    }
    fn deletion_grace_secs(&self, object: &dyn AnyObject, asked: Option<i64>) -> Option<i64> {
        typed::<K>(object)?.deletion_grace_secs(asked)
    }
    fn holds_deletion(&self, object: &dyn AnyObject) -> bool {
        typed::<K>(object).is_some_and(Kind::holds_deletion)
    }
    fn mark_deleting(&self, object: &mut dyn AnyObject) {
        if let Some(object) = typed_mut::<K>(object) {
            object.mark_deleting();
        }
    }
    fn row(&self, object: &dyn AnyObject, now_secs: i64) -> Vec<Cell> {
        typed::<K>(object).map(|o| o.row(now_secs)).unwrap_or_default()
    }
    fn scale(&self, object: &dyn AnyObject) -> Option<ScaleView> {
        let (access, object) = (K::scale()?, typed::<K>(object)?);
        Some(ScaleView {
            spec_replicas: Some((access.spec_replicas)(object)),
            status_replicas: (access.status_replicas)(object),
            selector: (access.selector)(object),
        })
    }
    fn set_replicas(&self, object: &mut dyn AnyObject, replicas: i32) {
        if let (Some(access), Some(object)) = (K::scale(), typed_mut::<K>(object)) {
            (access.set_spec_replicas)(object, replicas);
        }
    }
    fn schema(&self, generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        generator.subschema_for::<K>()
    }
}
