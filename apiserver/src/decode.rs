//! Bodies become JSON here, with bounds: media type, size, nesting; what is malformed is refused in upstream's words.
//!
//! The typed decoding is the write path's (`registry::Entry::decode`); [`wrong_type`] words its errors.

pub mod protobuf;
pub mod scan;
pub mod typed;
pub mod wrong_type;
mod yaml;

use bytes::Bytes;
use corten_api::{ApiError, Reason};

use crate::bounded_text::bounded;
pub use wrong_type::{of_kind, wrong_type};

/// Upstream's limit for a request body.
pub const MAX_BODY_BYTES: usize = 3 * 1024 * 1024;
/// Objects and arrays within each other. Real objects stay under 30; the bound keeps recursive decoders off the
/// stack's end.
pub const MAX_NESTING: usize = 100;
/// Of a path in a message: long enough to find a field by.
const PATH_BYTES_MAX: usize = 256;

/// A body as JSON, and what one pass over it found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Body {
    pub json: Bytes,
    /// Paths of keys that stand more than once in their object.
    pub duplicates: Vec<String>,
    /// At the top; empty if absent.
    pub api_version: String,
    pub kind: String,
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

/// Reads a whole body.
pub fn decode(format: Format, bytes: Bytes) -> Result<Body, ApiError> {
    match format {
        Format::Json => {
            let found = scan::scan(&bytes).map_err(|err| ApiError::bad_request(err.to_string()))?;
            Ok(Body { json: bytes, duplicates: found.duplicates, api_version: found.api_version, kind: found.kind })
        }
        Format::Yaml => {
            let (json, duplicate) = yaml::to_json(&bytes)?;
            let found = scan::scan(&json).map_err(|err| ApiError::bad_request(err.to_string()))?;
            let duplicates = duplicate.map(path_text).into_iter().collect();
            Ok(Body { json: json.into(), duplicates, api_version: found.api_version, kind: found.kind })
        }
        Format::Protobuf => {
            let found = protobuf::decode(&bytes)?;
            let (api_version, kind) = (found.api_version, found.kind);
            Ok(Body { json: found.json.into(), duplicates: Vec::new(), api_version, kind })
        }
    }
}

/// Whether the body is of the kind that the request's path asks for. A body that names none is taken as it.
pub fn check_kind(body: &Body, group: &str, version: &str, kind: &str) -> Result<(), ApiError> {
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
    use super::*;

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
        let cases = [
            (
                "kind: Pod\napiVersion: v1\nx: {a: [1, true, null, \"1\"]}\n",
                r#"{"kind":"Pod","apiVersion":"v1","x":{"a":[1,true,null,"1"]}}"#,
                0,
            ),
            ("a: 1\nb:\n  c: 1\n  c: 2\n", r#"{"a":1,"b":{"c":2}}"#, 1),
        ];
        for (yaml, json, duplicates) in cases {
            let body = decode(Format::Yaml, Bytes::from(yaml)).unwrap();
            let (have, want): (serde_json::Value, serde_json::Value) =
                (serde_json::from_slice(&body.json).unwrap(), serde_json::from_str(json).unwrap());
            assert_eq!((have, body.duplicates.len()), (want, duplicates), "{yaml}");
        }
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
        let body = |api_version: &str, kind: &str| Body {
            api_version: api_version.into(),
            kind: kind.into(),
            ..Body::default()
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
