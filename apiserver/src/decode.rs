//! Bodies become objects here, with bounds: media type, size, nesting; what is malformed is refused in upstream's words.
//!
//! [`decode`] makes JSON of what came. [`normal`] then walks the JSON along its type once, and gives what a Go server would
//! keep of it; typed objects are made of that alone.

mod findings;
mod normal;
mod path;
pub mod protobuf;
mod text;
mod value;
mod walk;
mod yaml;

use bytes::Bytes;
use corten_api::{ApiError, Reason};

use crate::bounded_text::bounded;
pub use normal::{DecodeError, Normal, normal, object};
pub use text::SyntaxError;

/// Upstream's limit for a request body.
pub const MAX_BODY_BYTES: usize = 3 * 1024 * 1024;
/// Objects and arrays within each other. Real objects stay under 30; the bound keeps recursive decoders off the
/// stack's end.
pub const MAX_NESTING: usize = 100;
/// Of a path in a message: long enough to find a field by.
const PATH_BYTES_MAX: usize = 256;

/// What the lists and maps of one body may hold. An object that fits into the store stays far below.
pub const MAX_HELD_BYTES: usize = 64 * 1024 * 1024;

/// A body as JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Body {
    pub json: Bytes,
    /// What strict decoding objects to and the JSON does not show: keys that YAML had twice.
    pub findings: Vec<String>,
}

/// The media types of bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Json,
    Yaml,
    Protobuf,
}

/// From `Content-Type`; none means JSON.
pub fn format_of(content_type: Option<&str>) -> Result<Format, ApiError> {
    let media = content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    match media.to_ascii_lowercase().as_str() {
        "" | "*/*" | "application/json" => Ok(Format::Json),
        "application/yaml" => Ok(Format::Yaml),
        protobuf::MEDIA => Ok(Format::Protobuf),
        _ => Err(ApiError::new(
            Reason::UnsupportedMediaType,
            "the body of the request was in an unknown format - accepted media types include: application/json, \
             application/yaml, application/vnd.kubernetes.protobuf",
        )),
    }
}

/// Makes JSON of a body. JSON itself is not looked at: who reads it refuses what is malformed.
pub fn decode(format: Format, bytes: Bytes) -> Result<Body, ApiError> {
    let (json, findings) = match format {
        Format::Json => (bytes, Vec::new()),
        // Most who apply send JSON, which is YAML, and need no parser on a thread of its own. What is wrong with it is told as of
        // YAML.
        Format::Yaml if is_good_json(&bytes) => (bytes, Vec::new()),
        Format::Yaml => {
            let (json, duplicate) = yaml::to_json(&bytes)?;
            (json.into(), duplicate.into_iter().collect())
        }
        Format::Protobuf => (protobuf::decode(&bytes)?.into(), Vec::new()),
    };
    Ok(Body { json, findings })
}

/// Whether it is an object in JSON in which no key stands twice.
fn is_good_json(bytes: &[u8]) -> bool {
    bytes.trim_ascii_start().starts_with(b"{") && duplicates(bytes).is_ok_and(|found| found.is_empty())
}

/// Any JSON, within [`MAX_HELD_BYTES`].
pub fn value(json: &[u8]) -> Result<serde_json::Value, DecodeError> {
    value::Budget::default().value(json)
}

/// What strict decoding objects to in JSON without a type: keys that stand twice. Refuses what is malformed or too deep.
pub fn duplicates(json: &[u8]) -> Result<Vec<String>, SyntaxError> {
    walk::duplicates(json)
}

/// Whether the body is of the kind that the request's path asks for. A body that names none is taken as it.
pub fn check_kind(body: &Normal, group: &str, version: &str, kind: &str) -> Result<(), ApiError> {
    let expected = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    if !body.api_version.is_empty() && body.api_version != expected {
        return Err(ApiError::bad_request(format!(
            "the API version in the data ({}) does not match the expected API version ({expected})",
            body.api_version
        )));
    }
    if !body.kind.is_empty() && body.kind != kind {
        return Err(ApiError::bad_request(format!(
            "{} in version {expected:?} cannot be handled as a {kind}: no kind {:?} is served here",
            body.kind, body.kind
        )));
    }
    Ok(())
}

fn path_text(path: impl std::fmt::Display) -> String {
    bounded(path, PATH_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::schema::builtin;

    #[test]
    fn media_types() {
        for (given, expected) in [
            (None, Some(Format::Json)),
            (Some("application/json; charset=utf-8"), Some(Format::Json)),
            (Some("application/YAML"), Some(Format::Yaml)),
            (Some("application/vnd.kubernetes.protobuf"), Some(Format::Protobuf)),
            (Some("application/cbor"), None),
            (Some("text/plain"), None),
        ] {
            assert_eq!(format_of(given).ok(), expected, "{given:?}");
        }
        assert_eq!(format_of(Some("text/plain")).unwrap_err().code(), 415);
    }

    #[test]
    fn yaml_is_json_in_the_end() {
        let cases: [(&str, &str, &[String]); 2] = [
            (
                "kind: Pod\napiVersion: v1\nx: {a: [1, true, null, \"1\"]}\n",
                r#"{"kind":"Pod","apiVersion":"v1","x":{"a":[1,true,null,"1"]}}"#,
                &[],
            ),
            (
                "a: 1\nb:\n  c: 1\n  c: 2\n",
                r#"{"a":1,"b":{"c":2}}"#,
                &["yaml: unmarshal errors:\n  line 4: key \"c\" already set in map".to_owned()],
            ),
        ];
        for (yaml, json, findings) in cases {
            let body = decode(Format::Yaml, Bytes::from(yaml)).unwrap();
            let (have, want): (serde_json::Value, serde_json::Value) =
                (serde_json::from_slice(&body.json).unwrap(), serde_json::from_str(json).unwrap());
            assert_eq!((have, body.findings.as_slice()), (want, findings), "{yaml}");
        }
    }

    #[test]
    fn json_that_comes_as_yaml_is_taken_as_it_is_and_what_is_wrong_with_it_is_told_as_of_yaml() {
        for (text, as_it_is) in [
            (" {\"a\" : [1.50, null, \"\\ud83d\\ude00\"]}\n", true),
            ("{a: 1}", false),
            ("[1, 2]", false),
            ("{\"a\": 1} # one", false),
        ] {
            let body = decode(Format::Yaml, Bytes::from(text)).unwrap();
            assert_eq!((body.json == text, body.findings.is_empty()), (as_it_is, true), "{text}");
        }
        let twice = decode(Format::Yaml, Bytes::from("{\"a\":1,\n\"a\":2}")).unwrap();
        assert_eq!(twice.findings, ["yaml: unmarshal errors:\n  line 2: key \"a\" already set in map"]);
        assert_eq!(decode(Format::Yaml, Bytes::from("{\"a\":")).unwrap_err().code(), 400);
    }

    #[test]
    fn bad_yaml_is_a_bad_request() {
        let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e]\ng: [*f,*f,*f,*f,*f,*f,*f,*f]\n";
        let deep = "[".repeat(500);
        for yaml in ["a: [1,", "a: b: c: d", "a: 1\n---\nb: 2\n", "\u{1}", bomb, &deep] {
            let err = decode(Format::Yaml, Bytes::copy_from_slice(yaml.as_bytes())).unwrap_err();
            assert_eq!(err.code(), 400, "{yaml}");
        }
    }

    #[test]
    fn a_body_of_another_kind_is_refused() {
        let deployment = builtin().kind("apps/v1", "Deployment");
        let body = |api_version: &str, kind: &str| {
            normal(deployment, json!({"apiVersion": api_version, "kind": kind}).to_string().as_bytes()).unwrap()
        };
        for (api_version, kind, fits) in [
            ("apps/v1", "Deployment", true),
            ("", "", true),
            ("v1", "Deployment", false),
            ("apps/v1", "ReplicaSet", false),
            ("apps/v1beta1", "Deployment", false),
        ] {
            assert_eq!(
                check_kind(&body(api_version, kind), "apps", "v1", "Deployment").is_ok(),
                fits,
                "{api_version} {kind}"
            );
        }
    }
}
