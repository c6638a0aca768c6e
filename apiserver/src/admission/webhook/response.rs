//! What a webhook answers, and what of it counts. Pure.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use corten_api::ApiError;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use serde::Deserialize;

use super::api_version;
use crate::webhook::ReviewVersion;

/// An answer that is one.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Answer {
    pub(super) is_allowed: bool,
    /// JSON patch; empty: nothing is to be changed.
    pub(super) patch: Vec<u8>,
    /// Why it is refused.
    pub(super) status: Option<Status>,
    pub(super) warnings: Vec<String>,
    pub(super) audit_annotations: BTreeMap<String, String>,
}

/// Why an answer is none.
#[derive(Debug, PartialEq, thiserror::Error)]
pub(super) enum ResponseError {
    /// As upstream counts it, the call has failed.
    #[error("failed to call webhook: {0}")]
    Unreadable(String),
    #[error("received invalid webhook response: {0}")]
    Invalid(String),
    #[error("unsupported patch type {0:?}")]
    PatchType(String),
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Review {
    api_version: Option<String>,
    kind: Option<String>,
    response: Option<Response>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Response {
    uid: Option<String>,
    allowed: Option<bool>,
    status: Option<Status>,
    patch: Option<String>,
    patch_type: Option<String>,
    audit_annotations: Option<BTreeMap<String, String>>,
    warnings: Option<Vec<String>>,
}

/// `uid`: of the question.
pub(super) fn read(body: &[u8], version: ReviewVersion, uid: &str, is_mutating: bool) -> Result<Answer, ResponseError> {
    let unreadable = |err: &dyn std::fmt::Display| ResponseError::Unreadable(err.to_string());
    let review: Review = serde_json::from_slice(body)
        .map_err(|err| unreadable(&format!("couldn't get version/kind; json parse error: {err}")))?;
    let (said_version, kind) = (review.api_version.unwrap_or_default(), review.kind.unwrap_or_default());
    let invalid = |why: String| Err(ResponseError::Invalid(why));
    let Some(response) = review.response else { return invalid("webhook response was absent".into()) };
    if version == ReviewVersion::V1 {
        let answered = response.uid.unwrap_or_default();
        if answered != uid {
            return invalid(format!("expected response.uid={uid:?}, got {answered:?}"));
        }
        if (said_version.as_str(), kind.as_str()) != (api_version(version), "AdmissionReview") {
            let expected = format!("{}, Kind=AdmissionReview", api_version(version));
            let got = if said_version.contains('/') { said_version } else { format!("/{said_version}") };
            return invalid(format!("expected webhook response of {expected}, got {got}, Kind={kind}"));
        }
    }
    let patch = response.patch.unwrap_or_default();
    let patch = STANDARD.decode(patch).map_err(|err| unreadable(&format!("illegal base64 data in patch: {err}")))?;
    let patch = judged(patch, response.patch_type.as_deref(), version, is_mutating)?;
    Ok(Answer {
        is_allowed: response.allowed.unwrap_or(false),
        patch,
        status: response.status,
        warnings: response.warnings.unwrap_or_default(),
        audit_annotations: response.audit_annotations.unwrap_or_default(),
    })
}

/// The patch that counts. In the first version nobody looked whether patch and type stand together.
fn judged(
    patch: Vec<u8>,
    kind: Option<&str>,
    version: ReviewVersion,
    is_mutating: bool,
) -> Result<Vec<u8>, ResponseError> {
    let invalid = |why: &str| Err(ResponseError::Invalid(why.into()));
    match (version, is_mutating, kind) {
        (ReviewVersion::V1Beta1, true, _) => Ok(patch),
        (ReviewVersion::V1Beta1, false, _) => Ok(Vec::new()),
        (ReviewVersion::V1, false, _) if !patch.is_empty() => {
            invalid("validating webhook may not return response.patch")
        }
        (ReviewVersion::V1, false, Some(_)) => invalid("validating webhook may not return response.patchType"),
        (ReviewVersion::V1, true, None) if !patch.is_empty() => {
            invalid("webhook returned response.patch but not response.patchType")
        }
        (ReviewVersion::V1, _, None) => Ok(patch),
        (ReviewVersion::V1, true, Some(_)) if patch.is_empty() => {
            invalid("webhook returned response.patchType but not response.patch")
        }
        (ReviewVersion::V1, true, Some("")) => invalid("webhook returned invalid response.patchType of \"\""),
        (ReviewVersion::V1, true, Some("JSONPatch")) => Ok(patch),
        (ReviewVersion::V1, true, Some(other)) => Err(ResponseError::PatchType(other.into())),
    }
}

/// The refusal of one that says no, from its own words.
pub(super) fn denial(webhook: &str, status: Option<Status>) -> ApiError {
    let mut status = status.unwrap_or_default();
    // A refusal is no success, whatever its status says.
    status.code = Some(status.code.unwrap_or(0).max(400));
    if matches!(status.status.as_deref(), None | Some("" | "Success")) {
        status.status = Some("Failure".into());
    }
    let said = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let why = said(&status.message).or_else(|| said(&status.reason));
    let denied = format!("admission webhook {webhook:?} denied the request");
    status.message =
        Some(why.map_or_else(|| format!("{denied} without explanation"), |why| format!("{denied}: {why}")));
    ApiError::from_status(status)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const UID: &str = "u-1";

    fn answered(version: ReviewVersion, is_mutating: bool, response: Value) -> Result<Answer, String> {
        let review =
            json!({"apiVersion": api_version(version), "kind": "AdmissionReview", "response": response}).to_string();
        read(review.as_bytes(), version, UID, is_mutating).map_err(|err| err.to_string())
    }

    #[test]
    fn what_is_no_answer_is_told_in_upstreams_words() {
        let invalid = |why: &str| format!("received invalid webhook response: {why}");
        let patch = STANDARD.encode("[]");
        let cases = [
            (
                "another's uid",
                true,
                json!({"uid": "u-2", "allowed": true}),
                invalid(r#"expected response.uid="u-1", got "u-2""#),
            ),
            ("no uid", false, json!({"allowed": true}), invalid(r#"expected response.uid="u-1", got """#)),
            ("nothing", false, json!(null), invalid("webhook response was absent")),
            (
                "a patch of no type",
                true,
                json!({"uid": UID, "patch": patch}),
                invalid("webhook returned response.patch but not response.patchType"),
            ),
            (
                "a type of no patch",
                true,
                json!({"uid": UID, "patchType": "JSONPatch"}),
                invalid("webhook returned response.patchType but not response.patch"),
            ),
            (
                "an empty type",
                true,
                json!({"uid": UID, "patch": patch, "patchType": ""}),
                invalid(r#"webhook returned invalid response.patchType of """#),
            ),
            (
                "another type",
                true,
                json!({"uid": UID, "patch": patch, "patchType": "Merge"}),
                r#"unsupported patch type "Merge""#.into(),
            ),
            (
                "a judge that changes",
                false,
                json!({"uid": UID, "patch": patch}),
                invalid("validating webhook may not return response.patch"),
            ),
            (
                "a judge that would change",
                false,
                json!({"uid": UID, "patchType": "JSONPatch"}),
                invalid("validating webhook may not return response.patchType"),
            ),
        ];
        for (why, is_mutating, response, expected) in cases {
            assert_eq!(answered(ReviewVersion::V1, is_mutating, response).unwrap_err(), expected, "{why}");
        }
        let garbage = read(b"<html>", ReviewVersion::V1, UID, true).unwrap_err().to_string();
        assert!(
            garbage.starts_with("failed to call webhook: couldn't get version/kind; json parse error: "),
            "{garbage}"
        );
        let other = json!({"apiVersion": "v1", "kind": "Pod", "response": {"uid": UID}}).to_string();
        assert_eq!(
            read(other.as_bytes(), ReviewVersion::V1, UID, true).unwrap_err().to_string(),
            invalid("expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got /v1, Kind=Pod")
        );
    }

    #[test]
    fn what_is_an_answer_is_read_whole() {
        let response = json!({"uid": UID, "allowed": true, "patch": STANDARD.encode("[1]"), "patchType": "JSONPatch",
            "warnings": ["w"], "auditAnnotations": {"a": "b"}, "status": {"message": "m"}});
        let answer = answered(ReviewVersion::V1, true, response).unwrap();
        assert_eq!((answer.is_allowed, &*answer.patch, &*answer.warnings), (true, &b"[1]"[..], &["w".to_owned()][..]));
        assert_eq!(answer.audit_annotations["a"], "b");
        assert!(!answered(ReviewVersion::V1, false, json!({"uid": UID})).unwrap().is_allowed);
        // The first version was not looked at so closely.
        let beta = json!({"allowed": true, "patch": STANDARD.encode("[1]")});
        assert_eq!(answered(ReviewVersion::V1Beta1, true, beta.clone()).unwrap().patch, b"[1]");
        assert_eq!(answered(ReviewVersion::V1Beta1, false, beta).unwrap().patch, b"");
    }

    #[test]
    fn a_refusal_is_one_whatever_its_status_says() {
        let said = |status: Value| {
            let denied = denial("a.b.c", serde_json::from_value(status).unwrap());
            format!("{} {:?} {}", denied.code(), denied.status().status.as_deref().unwrap(), denied.message())
        };
        let denied = r#"admission webhook "a.b.c" denied the request"#;
        let cases = [
            (json!(null), format!("400 \"Failure\" {denied} without explanation")),
            (json!({"message": "no"}), format!("400 \"Failure\" {denied}: no")),
            (json!({"reason": "Bad", "code": 200, "status": "Success"}), format!("400 \"Failure\" {denied}: Bad")),
            (json!({"message": "no", "reason": "Bad", "code": 418}), format!("418 \"Failure\" {denied}: no")),
        ];
        for (status, expected) in cases {
            assert_eq!(said(status), expected);
        }
    }
}
