//! What a webhook is asked: an AdmissionReview. Pure.

use serde::Serialize;
use serde_json::value::RawValue;

use super::api_version;
use crate::admission::asking::Asking;
use crate::admission::question::{Request, question};
use crate::registry::ApiResource;
use crate::webhook::ReviewVersion;

#[derive(Serialize)]
struct Review<'a> {
    kind: &'static str,
    #[serde(rename = "apiVersion")]
    api_version: &'static str,
    request: Request<'a>,
}

/// `as_resource`: in which version the objects are.
pub(super) fn text(
    version: ReviewVersion,
    uid: &str,
    asking: &Asking<'_>,
    as_resource: &ApiResource,
    objects: (Option<&RawValue>, Option<&RawValue>),
) -> Result<Vec<u8>, serde_json::Error> {
    let request = question(uid, asking, as_resource, objects);
    serde_json::to_vec(&Review { kind: "AdmissionReview", api_version: api_version(version), request })
}
