//! A kind with its type erased: what the read and write paths handle.

use std::any::Any;
use std::marker::PhantomData;

use corten_api::{Object, Problems, Scope};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{Cell, Column, Conversion, Field, Kind, NameRule};
use crate::decode::typed::{self, DecodeError};
use crate::schema::{self, Shape};

/// An object of some kind. Its kind's [`Entry`] knows what to do with it.
pub trait AnyObject: Send + Sync + 'static {
    fn meta(&self) -> &ObjectMeta;
    fn meta_mut(&mut self) -> &mut ObjectMeta;
    /// Compact JSON, `apiVersion` and `kind` first.
    fn to_json(&self) -> Result<Vec<u8>, serde_json::Error>;
    fn boxed_clone(&self) -> Box<dyn AnyObject>;
    fn same_as(&self, other: &dyn AnyObject) -> bool;
    fn as_any(&self) -> &dyn Any;
    fn as_any_mut(&mut self) -> &mut dyn Any;
}

impl<K: Object> AnyObject for K {
    fn meta(&self) -> &ObjectMeta {
        self.metadata()
    }
    fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.metadata_mut()
    }
    fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(self)
    }
    fn boxed_clone(&self) -> Box<dyn AnyObject> {
        Box::new(self.clone())
    }
    fn same_as(&self, other: &dyn AnyObject) -> bool {
        other.as_any().downcast_ref::<K>() == Some(self)
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
}

/// `spec.replicas` and its surroundings, for the scale subresource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScaleView {
    pub spec_replicas: i32,
    pub status_replicas: i32,
    pub selector: String,
}

/// [`Kind`] without its type. Objects given to an entry must be of its kind: anything else is a bug of the caller,
/// and reads as "nothing to say" (no problems, no change), never as a panic.
pub trait Entry: Send + Sync + 'static {
    fn group(&self) -> &'static str;
    fn version(&self) -> &'static str;
    fn kind(&self) -> &'static str;
    fn plural(&self) -> &'static str;
    fn singular(&self) -> &'static str;
    fn short_names(&self) -> &'static [&'static str];
    fn categories(&self) -> &'static [&'static str];
    fn scope(&self) -> Scope;
    fn store_prefix(&self) -> &'static str;
    fn subresources(&self) -> &'static [&'static str];
    fn fields(&self) -> &'static [Field];
    fn has_generation(&self) -> bool;
    fn ttl_secs(&self) -> Option<u32>;
    fn create_on_update(&self) -> bool;
    fn unconditional_update(&self) -> bool;
    fn name_rule(&self) -> NameRule;
    fn has_delete_collection(&self) -> bool;
    fn columns(&self) -> &'static [Column];
    fn conversion(&self) -> Option<Conversion>;
    /// The kind's type in the schema.
    fn shape(&self) -> Option<Shape<'_>>;

    /// `unknown` is called with the path of every field that the kind does not have (`spec.containers[0].imagee`), once
    /// the whole is known to decode. Numbers are taken where quantities are meant.
    fn decode(&self, json: &[u8], unknown: &mut dyn FnMut(String)) -> Result<Box<dyn AnyObject>, DecodeError>;
    fn fill_defaults(&self, object: &mut dyn AnyObject);
    fn prepare_create(&self, object: &mut dyn AnyObject);
    fn prepare_update(&self, object: &mut dyn AnyObject, old: &dyn AnyObject);
    fn prepare_status(&self, object: &mut dyn AnyObject, old: &dyn AnyObject);
    fn spec_changed(&self, object: &dyn AnyObject, old: &dyn AnyObject) -> bool;
    fn validate(&self, object: &dyn AnyObject, problems: &mut Problems);
    fn validate_update(&self, object: &dyn AnyObject, old: &dyn AnyObject, problems: &mut Problems);
    fn validate_status(&self, object: &dyn AnyObject, old: &dyn AnyObject, problems: &mut Problems);
    fn deletion_grace_secs(&self, object: &dyn AnyObject, asked: Option<i64>) -> Option<i64>;
    fn holds_deletion(&self, object: &dyn AnyObject) -> bool;
    fn mark_deleting(&self, object: &mut dyn AnyObject);
    fn prepare_finalize(&self, object: &mut dyn AnyObject, old: &dyn AnyObject);
    fn row(&self, object: &dyn AnyObject, now_secs: i64) -> Vec<Cell>;
    fn scale(&self, object: &dyn AnyObject) -> Option<ScaleView>;
    fn set_replicas(&self, object: &mut dyn AnyObject, replicas: i32);
    /// The kind's JSON schema and those it refers to, as `schemars` gives them.
    fn schema(&self, generator: &mut schemars::SchemaGenerator) -> schemars::Schema;
}

/// The entry of a typed kind.
pub fn of<K: Kind>() -> Box<dyn Entry> {
    Box::new(Typed::<K>(PhantomData))
}

struct Typed<K>(PhantomData<fn() -> K>);

fn typed<K: 'static>(object: &dyn AnyObject) -> Option<&K> {
    object.as_any().downcast_ref()
}
fn typed_mut<K: 'static>(object: &mut dyn AnyObject) -> Option<&mut K> {
    object.as_any_mut().downcast_mut()
}

impl<K: Kind> Entry for Typed<K> {
    fn group(&self) -> &'static str {
        K::GROUP
    }
    fn version(&self) -> &'static str {
        K::VERSION
    }
    fn kind(&self) -> &'static str {
        K::KIND
    }
    fn plural(&self) -> &'static str {
        K::URL_PATH_SEGMENT
    }
    fn singular(&self) -> &'static str {
        K::SINGULAR
    }
    fn short_names(&self) -> &'static [&'static str] {
        K::SHORT_NAMES
    }
    fn categories(&self) -> &'static [&'static str] {
        K::CATEGORIES
    }
    fn scope(&self) -> Scope {
        <K as Object>::SCOPE
    }
    fn store_prefix(&self) -> &'static str {
        K::STORE_PREFIX
    }
    fn subresources(&self) -> &'static [&'static str] {
        K::SUBRESOURCES
    }
    fn fields(&self) -> &'static [Field] {
        K::FIELDS
    }
    fn has_generation(&self) -> bool {
        K::HAS_GENERATION
    }
    fn ttl_secs(&self) -> Option<u32> {
        K::TTL_SECS
    }
    fn create_on_update(&self) -> bool {
        K::CREATE_ON_UPDATE
    }
    fn unconditional_update(&self) -> bool {
        K::UNCONDITIONAL_UPDATE
    }
    fn name_rule(&self) -> NameRule {
        K::NAME_RULE
    }
    fn has_delete_collection(&self) -> bool {
        K::DELETE_COLLECTION
    }
    fn columns(&self) -> &'static [Column] {
        K::columns()
    }
    fn conversion(&self) -> Option<Conversion> {
        K::conversion()
    }
    fn shape(&self) -> Option<Shape<'_>> {
        schema::builtin().kind(K::API_VERSION, K::KIND)
    }
    fn decode(&self, json: &[u8], unknown: &mut dyn FnMut(String)) -> Result<Box<dyn AnyObject>, DecodeError> {
        let mut fields = Vec::new();
        let object: K = typed::decode(json, &mut fields)?;
        fields.into_iter().for_each(unknown);
        Ok(Box::new(object))
    }
    fn fill_defaults(&self, object: &mut dyn AnyObject) {
        if let Some(object) = typed_mut::<K>(object) {
            object.fill_defaults();
        }
    }
    fn prepare_create(&self, object: &mut dyn AnyObject) {
        if let Some(object) = typed_mut::<K>(object) {
            object.prepare_create();
        }
    }
    fn prepare_update(&self, object: &mut dyn AnyObject, old: &dyn AnyObject) {
        if let (Some(object), Some(old)) = (typed_mut::<K>(object), typed(old)) {
            object.prepare_update(old);
        }
    }
    fn prepare_status(&self, object: &mut dyn AnyObject, old: &dyn AnyObject) {
        if let (Some(object), Some(old)) = (typed_mut::<K>(object), typed(old)) {
            object.prepare_status(old);
        }
    }
    fn spec_changed(&self, object: &dyn AnyObject, old: &dyn AnyObject) -> bool {
        matches!((typed::<K>(object), typed(old)), (Some(object), Some(old)) if object.spec_changed(old))
    }
    fn validate(&self, object: &dyn AnyObject, problems: &mut Problems) {
        if let Some(object) = typed::<K>(object) {
            object.validate(problems);
        }
    }
    fn validate_update(&self, object: &dyn AnyObject, old: &dyn AnyObject, problems: &mut Problems) {
        if let (Some(object), Some(old)) = (typed::<K>(object), typed(old)) {
            object.validate_update(old, problems);
        }
    }
    fn validate_status(&self, object: &dyn AnyObject, old: &dyn AnyObject, problems: &mut Problems) {
        if let (Some(object), Some(old)) = (typed::<K>(object), typed(old)) {
            object.validate_status(old, problems);
        }
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
    fn prepare_finalize(&self, object: &mut dyn AnyObject, old: &dyn AnyObject) {
        if let (Some(object), Some(old)) = (typed_mut::<K>(object), typed(old)) {
            object.prepare_finalize(old);
        }
    }
    fn row(&self, object: &dyn AnyObject, now_secs: i64) -> Vec<Cell> {
        typed::<K>(object).map(|o| o.row(now_secs)).unwrap_or_default()
    }
    fn scale(&self, object: &dyn AnyObject) -> Option<ScaleView> {
        let (access, object) = (K::scale()?, typed::<K>(object)?);
        Some(ScaleView {
            spec_replicas: (access.spec_replicas)(object),
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

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;

    use super::*;

    #[test]
    fn decoding_takes_numbers_as_quantities_and_names_unknown_fields() {
        let decode = |json: &str| {
            let mut unknown = Vec::new();
            let object = of::<Pod>().decode(json.as_bytes(), &mut |path| unknown.push(path))?;
            let pod = object.as_any().downcast_ref::<Pod>().cloned().unwrap_or_default();
            Ok::<_, DecodeError>((pod, unknown))
        };
        let (pod, unknown) =
            decode(r#"{"spec":{"containers":[{"name":"a","imagee":"x","resources":{"limits":{"cpu":2}}}],"odd":1}}"#)
                .unwrap();
        let limits = pod.spec.unwrap().containers[0].resources.clone().unwrap().limits.unwrap();
        assert_eq!(limits["cpu"].0, "2");
        assert_eq!(unknown, ["spec.containers[0].imagee", "spec.odd"]);
        assert!(decode(r#"{"spec":{"hostNetwork":"yes"}}"#).is_err());
        assert!(decode(r#"{"spec":{}} x"#).is_err());
    }
}
