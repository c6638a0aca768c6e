//! An object with its type erased: what the read and write paths handle.

use std::any::Any;

use corten_api::Object;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// An object of some kind. Its kind's [`ApiResource`](super::ApiResource) knows what to do with it.
pub trait AnyObject: Send + Sync + 'static {
    fn meta(&self) -> &ObjectMeta;
    fn meta_mut(&mut self) -> &mut ObjectMeta;
    /// Compact JSON, `apiVersion` and `kind` first.
    fn to_json(&self) -> Result<Vec<u8>, serde_json::Error>;
    /// The same as [`to_json`](Self::to_json) says, as a value.
    fn to_value(&self) -> Result<serde_json::Value, serde_json::Error>;
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
        corten_api::Json::to_json(self)
    }
    fn to_value(&self) -> Result<serde_json::Value, serde_json::Error> {
        serde_json::to_value(self)
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
