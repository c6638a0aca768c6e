//! An object as bytes: for the store, and for who asks.

use bytes::Bytes;
use corten_api::ApiError;

use super::place::Place;
use crate::registry::AnyObject;

/// An object's JSON as it is served (but for the revision), and as it is stored. Of one that is stored in another version what will be
/// read: not all that its writer said may be kept there.
pub(super) fn encoded(place: &Place<'_>, object: &mut dyn AnyObject) -> Result<(Bytes, Bytes), ApiError> {
    // The store's revision is the object's version: it does not stand in the value.
    object.meta_mut().resource_version = None;
    let json: Bytes = object.to_json().map_err(ApiError::internal)?.into();
    let Some(conversion) = place.resource.conversion() else { return Ok((json.clone(), json)) };
    let value: Bytes = (conversion.to_stored)(&json).map_err(ApiError::internal)?.into();
    if value == json {
        return Ok((json, value));
    }
    Ok(((conversion.from_stored)(&value).map_err(ApiError::internal)?.into(), value))
}
