//! An object in the version that a webhook or a policy wants, and what its patch makes of it.

use std::sync::Arc;

use corten_api::ApiError;
use serde_json::Value;
use serde_json::value::RawValue;

use super::asking::Asking;
use super::question::Json;
use crate::decode::MAX_BODY_BYTES;
use crate::patch::Operations;
use crate::registry::{AnyObject, ApiResource};

/// The texts of one object, each made when it is first wanted.
#[derive(Default)]
pub(super) struct Texts(Vec<Text>);

struct Text {
    of: Arc<ApiResource>,
    json: Json,
    /// The same, as conditions look at it.
    value: Option<Value>,
}

impl Texts {
    /// In the version of `resource`.
    pub(super) async fn of(
        &mut self,
        asking: &Asking<'_>,
        object: &dyn AnyObject,
        resource: &Arc<ApiResource>,
    ) -> Result<&RawValue, ApiError> {
        Ok(&self.text(asking, object, resource).await?.json)
    }
    pub(super) async fn value(
        &mut self,
        asking: &Asking<'_>,
        object: &dyn AnyObject,
        resource: &Arc<ApiResource>,
    ) -> Result<&Value, ApiError> {
        let Text { json, value, .. } = self.text(asking, object, resource).await?;
        match value {
            Some(value) => Ok(value),
            None => Ok(value.insert(serde_json::from_str(json.get()).map_err(ApiError::internal)?)),
        }
    }
    async fn text(
        &mut self,
        asking: &Asking<'_>,
        object: &dyn AnyObject,
        resource: &Arc<ApiResource>,
    ) -> Result<&mut Text, ApiError> {
        let at = match self.0.iter().position(|text| Arc::ptr_eq(&text.of, resource)) {
            Some(at) => at,
            None => {
                let json = object.to_json().map_err(ApiError::internal)?;
                let json = raw(converted(asking, json, asking.resource, resource).await?)?;
                self.0.push(Text { of: resource.clone(), json, value: None });
                self.0.len() - 1
            }
        };
        Ok(&mut self.0[at])
    }
    /// The object is another now.
    pub(super) fn forget(&mut self) {
        self.0.clear();
    }
    /// One that was made before.
    pub(super) fn get(&self, resource: &Arc<ApiResource>) -> Option<&RawValue> {
        self.0.iter().find(|text| Arc::ptr_eq(&text.of, resource)).map(|text| &*text.json)
    }
}

fn raw(json: Vec<u8>) -> Result<Json, ApiError> {
    let text = String::from_utf8(json).map_err(ApiError::internal)?;
    RawValue::from_string(text).map_err(ApiError::internal)
}

/// What is no object of the resource's kind (a Scale) is the same in all versions.
async fn converted(
    asking: &Asking<'_>,
    json: Vec<u8>,
    from: &ApiResource,
    to: &ApiResource,
) -> Result<Vec<u8>, ApiError> {
    let is_same = (from.group(), from.version()) == (to.group(), to.version());
    if is_same || asking.decode.is_some() {
        return Ok(json);
    }
    asking.convert.convert(json, from, to).await
}

/// The object after the patch, read and defaulted as one that comes from a client; as the request has it, whichever version the
/// webhook saw.
pub(super) async fn patched(
    asking: &Asking<'_>,
    resource: &ApiResource,
    json: &RawValue,
    operations: &Operations,
) -> Result<Box<dyn AnyObject>, ApiError> {
    let value: Value = serde_json::from_str(json.get()).map_err(ApiError::internal)?;
    let value = operations.apply(value).map_err(|err| ApiError::internal(err.message()))?;
    replaced(asking, resource, &value, Reading::Lenient).await
}

/// What becomes of fields that nobody knows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// They are dropped.
    Lenient,
    /// They are an error; those of custom kinds are dropped.
    Strict,
}

/// An object that stands in the place of another, as if a client had sent it in this version.
pub(super) async fn replaced(
    asking: &Asking<'_>,
    resource: &ApiResource,
    value: &Value,
    reading: Reading,
) -> Result<Box<dyn AnyObject>, ApiError> {
    let json = serde_json::to_vec(value).map_err(ApiError::internal)?;
    if json.len() > MAX_BODY_BYTES {
        return Err(ApiError::internal(format!("what was made of the object is larger than {MAX_BODY_BYTES} bytes")));
    }
    if let Some(decode) = asking.decode {
        return decode(&json).map_err(|err| ApiError::internal(err.message()));
    }
    if reading == Reading::Strict && !resource.is_custom() {
        let findings = resource.normal(&json).map_err(ApiError::internal)?.findings;
        if !findings.is_empty() {
            return Err(ApiError::internal(format!("strict decoding error: {}", findings.join(", "))));
        }
    }
    let seen = read(resource, &json)?;
    if (resource.group(), resource.version()) == (asking.resource.group(), asking.resource.version()) {
        return Ok(seen);
    }
    let json = seen.to_json().map_err(ApiError::internal)?;
    read(asking.resource, &converted(asking, json, resource, asking.resource).await?)
}

fn read(resource: &ApiResource, json: &[u8]) -> Result<Box<dyn AnyObject>, ApiError> {
    let mut object = resource.decode(json).map_err(ApiError::internal)?;
    resource.rules().fill_defaults(&mut *object);
    Ok(object)
}
