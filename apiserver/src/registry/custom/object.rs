//! An object of a custom kind: metadata with a type, and all else as JSON.

use std::any::Any;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Map, Value};

use crate::registry::AnyObject;
use crate::registry::structural::fill::TooLarge;

/// What an object says that it is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Type {
    pub api_version: String,
    pub kind: String,
}

#[derive(Clone, Debug)]
pub struct CustomObject {
    pub(super) of: Arc<Type>,
    pub(super) meta: ObjectMeta,
    /// Without type and metadata.
    pub(super) body: Map<String, Value>,
    /// Why it has not got all its defaults: it is not written then.
    pub(super) unfilled: Option<Arc<TooLarge>>,
}

impl CustomObject {
    pub(super) fn read(of: &Arc<Type>, json: &str) -> Result<Self, serde_json::Error> {
        let mut body: Map<String, Value> = serde_json::from_str(json)?;
        let meta = body.remove("metadata").filter(|meta| !meta.is_null());
        let meta = meta.map(serde_json::from_value).transpose()?.unwrap_or_default();
        body.remove("apiVersion");
        body.remove("kind");
        Ok(Self { of: of.clone(), meta, body, unfilled: None })
    }
    /// All of it as a schema looks at it. `with_meta`: whether it says something of metadata.
    pub(super) fn whole(&self, with_meta: bool) -> Result<Value, serde_json::Error> {
        let meta = if with_meta { serde_json::to_value(&self.meta)? } else { Value::Object(Map::new()) };
        let mut whole = self.body.clone();
        whole.insert("apiVersion".into(), self.of.api_version.as_str().into());
        whole.insert("kind".into(), self.of.kind.as_str().into());
        whole.insert("metadata".into(), meta);
        Ok(Value::Object(whole))
    }
}

impl Serialize for CustomObject {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.body.len() + 3))?;
        map.serialize_entry("apiVersion", &self.of.api_version)?;
        map.serialize_entry("kind", &self.of.kind)?;
        map.serialize_entry("metadata", &self.meta)?;
        for (name, value) in &self.body {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl AnyObject for CustomObject {
    fn meta(&self) -> &ObjectMeta {
        &self.meta
    }
    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.meta
    }
    fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(self)
    }
    fn to_value(&self) -> Result<Value, serde_json::Error> {
        self.whole(true)
    }
    fn boxed_clone(&self) -> Box<dyn AnyObject> {
        Box::new(self.clone())
    }
    fn same_as(&self, other: &dyn AnyObject) -> bool {
        let other = other.as_any().downcast_ref::<Self>();
        other.is_some_and(|other| self.meta == other.meta && self.body == other.body && self.of == other.of)
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
}
