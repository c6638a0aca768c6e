//! What a webhook is asked, a ConversionReview, and what it answers. Pure.

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::TOLD_BYTES_MAX;
use crate::bounded_text::bounded;
use crate::webhook::ReviewVersion;

const KIND: &str = "ConversionReview";

/// What the reviews are called that a webhook is sent.
fn api_version(version: ReviewVersion) -> &'static str {
    match version {
        ReviewVersion::V1 => "apiextensions.k8s.io/v1",
        ReviewVersion::V1Beta1 => "apiextensions.k8s.io/v1beta1",
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Question<'a> {
    kind: &'static str,
    api_version: &'static str,
    request: Request<'a>,
}

#[derive(Serialize)]
struct Request<'a> {
    uid: &'a str,
    #[serde(rename = "desiredAPIVersion")]
    desired_api_version: &'a str,
    objects: &'a [&'a RawValue],
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
    converted_objects: Option<Vec<Box<RawValue>>>,
    result: Option<Status>,
}

/// Why an answer is none.
#[derive(Debug, PartialEq, thiserror::Error)]
pub(super) enum ReviewError {
    #[error("{0}")]
    Unreadable(String),
    #[error("{0}")]
    Malformed(String),
}

/// `to`: the version that the objects are wanted in.
pub(super) fn text(
    version: ReviewVersion,
    uid: &str,
    to: &str,
    objects: &[&RawValue],
) -> Result<Vec<u8>, serde_json::Error> {
    let request = Request { uid, desired_api_version: to, objects };
    serde_json::to_vec(&Question { kind: KIND, api_version: api_version(version), request })
}

/// The objects that it gives, whatever they are. `uid`: of the question.
pub(super) fn read(body: &[u8], version: ReviewVersion, uid: &str) -> Result<Vec<Box<RawValue>>, ReviewError> {
    let unreadable = |why: fmt::Arguments<'_>| ReviewError::Unreadable(bounded(why, TOLD_BYTES_MAX));
    if body.is_empty() {
        return Err(unreadable(format_args!("0-length response with status code: 200 and content type: ")));
    }
    let review: Review = serde_json::from_slice(body)
        .map_err(|err| unreadable(format_args!("couldn't get version/kind; json parse error: {err}")))?;
    let malformed = |why: fmt::Arguments<'_>| Err(ReviewError::Malformed(bounded(why, TOLD_BYTES_MAX)));
    // In the first version nobody looked at these.
    if version == ReviewVersion::V1 {
        let said = (review.api_version.unwrap_or_default(), review.kind.unwrap_or_default());
        let wanted = (api_version(version), KIND);
        if (said.0.as_str(), said.1.as_str()) != wanted {
            let (expected, got) = (type_name(wanted.0, wanted.1), type_name(&said.0, &said.1));
            return malformed(format_args!("expected webhook response of {expected}, got {got}"));
        }
    }
    let Some(response) = review.response else { return malformed(format_args!("no response provided")) };
    let answered = response.uid.unwrap_or_default();
    if version == ReviewVersion::V1 && answered != uid {
        return malformed(format_args!("expected response.uid={uid:?}, got {answered:?}"));
    }
    let result = response.result.unwrap_or_default();
    let status = result.status.unwrap_or_default();
    if status != "Success" {
        return match result.message.filter(|message| !message.is_empty()) {
            Some(message) => malformed(format_args!("{message}")),
            None => malformed(format_args!("response.result.status was '{status}', not 'Success'")),
        };
    }
    Ok(response.converted_objects.unwrap_or_default())
}

/// A type as Go writes it: `example.com/v1, Kind=Tab`.
pub(super) fn type_name(api_version: &str, kind: &str) -> String {
    let slash = if api_version.contains('/') { "" } else { "/" };
    format!("{slash}{api_version}, Kind={kind}")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn answered(version: ReviewVersion, review: Value) -> Result<usize, String> {
        let read = read(review.to_string().as_bytes(), version, "u-1");
        read.map(|objects| objects.len()).map_err(|err| err.to_string())
    }

    #[test]
    fn what_is_asked_says_what_is_wanted() {
        let object: &RawValue = serde_json::from_str(r#"{"a": 1}"#).unwrap();
        let text = text(ReviewVersion::V1Beta1, "u-1", "example.com/v2", &[object]).unwrap();
        let expected = json!({"kind": "ConversionReview", "apiVersion": "apiextensions.k8s.io/v1beta1",
            "request": {"uid": "u-1", "desiredAPIVersion": "example.com/v2", "objects": [{"a": 1}]}});
        assert_eq!(serde_json::from_slice::<Value>(&text).unwrap(), expected);
    }

    #[test]
    fn what_is_no_answer_is_told_in_upstreams_words() {
        let of = |response: Value| json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview", "response": response});
        let good = json!({"uid": "u-1", "result": {"status": "Success"}, "convertedObjects": [{}, 1]});
        let with = |field: &str, value: Value| {
            let mut response = good.clone();
            response[field] = value;
            of(response)
        };
        let expected = "expected webhook response of apiextensions.k8s.io/v1, Kind=ConversionReview, got";
        for (why, review, v1, v1beta1) in [
            ("good", of(good.clone()), Ok(2), Ok(2)),
            ("nothing converted", with("convertedObjects", json!(null)), Ok(0), Ok(0)),
            (
                "another's answer",
                with("uid", json!("u-2")),
                Err(r#"expected response.uid="u-1", got "u-2""#.to_owned()),
                Ok(2),
            ),
            (
                "another kind",
                json!({"apiVersion": "v1", "kind": "Pod", "response": good}),
                Err(format!("{expected} /v1, Kind=Pod")),
                Ok(2),
            ),
            ("no kind", json!({ "response": good }), Err(format!("{expected} /, Kind=")), Ok(2)),
            (
                "no response",
                of(json!(null)),
                Err("no response provided".to_owned()),
                Err("no response provided".to_owned()),
            ),
            (
                "a refusal",
                with("result", json!({"status": "Failure", "message": "no"})),
                Err("no".to_owned()),
                Err("no".to_owned()),
            ),
            (
                "no result",
                with("result", json!(null)),
                Err("response.result.status was '', not 'Success'".to_owned()),
                Err("response.result.status was '', not 'Success'".to_owned()),
            ),
        ] {
            assert_eq!(answered(ReviewVersion::V1, review.clone()), v1, "{why}");
            assert_eq!(answered(ReviewVersion::V1Beta1, review), v1beta1, "{why}");
        }
        let long = of(json!({"uid": "u-1", "result": {"status": "Failure", "message": "x".repeat(1 << 20)}}));
        let told = answered(ReviewVersion::V1, long).unwrap_err();
        assert_eq!(told, format!("{}...", "x".repeat(TOLD_BYTES_MAX)));
        let garbage = read(b"<html>", ReviewVersion::V1, "u-1").unwrap_err();
        assert!(matches!(&garbage, ReviewError::Unreadable(why) if why.starts_with("couldn't get version/kind; json")));
        let empty = read(b"", ReviewVersion::V1, "u-1").unwrap_err().to_string();
        assert_eq!(empty, "0-length response with status code: 200 and content type: ");
    }
}
