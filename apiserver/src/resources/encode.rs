//! An object as bytes: for the store, and for who asks.

use bytes::Bytes;
use corten_api::ApiError;

use super::Resources;
use super::place::Place;
use crate::registry::{AnyObject, Conversion, Kind, LocalConversion};

/// An object's JSON as it is served, but for the revision.
pub(super) fn json_of(object: &mut dyn AnyObject) -> Result<Bytes, ApiError> {
    // The store's revision is the object's version: it does not stand in the value.
    object.meta_mut().resource_version = None;
    Ok(object.to_json().map_err(ApiError::internal)?.into())
}

/// An object as its writer is told of it, and as it is stored.
pub(super) struct Encoded {
    /// As it is served, but for the revision. Of one that is stored in another version what will be read: not all that its writer said
    /// may be kept there.
    pub(super) json: Bytes,
    pub(super) value: Bytes,
}

impl Encoded {
    /// Of a kind of this server's own, which no webhook converts.
    pub(super) fn builtin<K: Kind>(object: &mut K) -> Result<Self, ApiError> {
        Self::local(object, K::conversion().as_ref())
    }

    fn local(object: &mut dyn AnyObject, conversion: Option<&LocalConversion>) -> Result<Self, ApiError> {
        let json = json_of(object)?;
        let Some(conversion) = conversion else { return Ok(Self { value: json.clone(), json }) };
        let value: Bytes = (conversion.to_stored)(&json).map_err(ApiError::internal)?.into();
        if value == json {
            return Ok(Self { json, value });
        }
        Ok(Self { json: (conversion.from_stored)(&value).map_err(ApiError::internal)?.into(), value })
    }
}

impl Resources {
    /// Of any kind. A webhook that converts it may take its time: nothing is to be held for it.
    pub(super) async fn encoded(&self, place: &Place<'_>, object: &mut dyn AnyObject) -> Result<Encoded, ApiError> {
        let webhook = match place.resource.conversion() {
            None => return Encoded::local(object, None),
            Some(Conversion::Local(conversion)) => return Encoded::local(object, Some(conversion)),
            Some(Conversion::Webhook(webhook)) => webhook,
        };
        let (json, served) = (json_of(object)?, place.resource.api_version());
        if served == webhook.stored() {
            return Ok(Encoded { value: json.clone(), json });
        }
        let (converter, nothing) = (self.converter(webhook), || ApiError::internal("a conversion gives nothing"));
        let stored = converter.converted(vec![json], webhook.stored(), true).await?;
        let value = Bytes::from(stored.into_iter().next().ok_or_else(nothing)?);
        let read = converter.converted(vec![value.clone()], &served, false).await?;
        Ok(Encoded { json: read.into_iter().next().ok_or_else(nothing)?.into(), value })
    }
}
