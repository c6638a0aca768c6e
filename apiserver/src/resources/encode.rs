//! An object as bytes: for the store, and for who asks.

use bytes::Bytes;
use corten_api::ApiError;

use super::Resources;
use super::place::Place;
use crate::registry::{AnyObject, Conversion};

/// An object's JSON as it is served, but for the revision.
pub(super) fn json_of(object: &mut dyn AnyObject) -> Result<Bytes, ApiError> {
    // The store's revision is the object's version: it does not stand in the value.
    object.meta_mut().resource_version = None;
    Ok(object.to_json().map_err(ApiError::internal)?.into())
}

/// An object's JSON as it is served (but for the revision), and as it is stored; of a kind that no webhook converts. Of one that is
/// stored in another version what will be read: not all that its writer said may be kept there.
pub(super) fn encoded(place: &Place<'_>, object: &mut dyn AnyObject) -> Result<(Bytes, Bytes), ApiError> {
    let json = json_of(object)?;
    let conversion = match place.resource.conversion() {
        None => return Ok((json.clone(), json)),
        Some(Conversion::Local(conversion)) => conversion,
        Some(Conversion::Webhook(webhook)) => {
            return Err(ApiError::internal(format!("a webhook of {} was not asked", webhook.definition())));
        }
    };
    let value: Bytes = (conversion.to_stored)(&json).map_err(ApiError::internal)?.into();
    if value == json {
        return Ok((json, value));
    }
    Ok(((conversion.from_stored)(&value).map_err(ApiError::internal)?.into(), value))
}

impl Resources {
    /// What [`encoded`] cannot give: a webhook converts. `None`: none does. It may take its time.
    pub(super) async fn encoded_by_webhook(
        &self,
        place: &Place<'_>,
        object: &mut dyn AnyObject,
    ) -> Result<Option<(Bytes, Bytes)>, ApiError> {
        if !matches!(place.resource.conversion(), Some(Conversion::Webhook(_))) {
            return Ok(None);
        }
        let json = json_of(object)?;
        let value = self.to_store(place, &json).await?;
        Ok(Some((json, value)))
    }
}
