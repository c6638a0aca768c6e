//! Responses: objects, Status errors, warnings.

use bytes::Bytes;
use corten_api::{ApiError, Reason};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};

use super::body::Body;
use crate::decode;
use crate::encode::protobuf::{self, EncodeError};

pub const JSON: HeaderValue = HeaderValue::from_static("application/json");
pub const YAML: HeaderValue = HeaderValue::from_static("application/yaml");
pub const PROTOBUF: HeaderValue = HeaderValue::from_static(decode::protobuf::MEDIA);
pub const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const PRIVATE: HeaderValue = HeaderValue::from_static("no-cache, private");
const WARNING: HeaderName = HeaderName::from_static("warning");
/// Warnings of one response, and bytes of each: headers must stay small for clients to take them.
const MAX_WARNINGS: usize = 50;
const MAX_WARNING_BYTES: usize = 256;

pub fn with_type(code: StatusCode, content_type: HeaderValue, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = code;
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response.headers_mut().insert(CACHE_CONTROL, PRIVATE);
    response
}
pub fn json(code: StatusCode, bytes: impl Into<Bytes>) -> Response<Body> {
    with_type(code, JSON, Body::whole(bytes))
}
pub fn text(code: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    with_type(code, TEXT, Body::whole(text))
}
/// A value of ours as JSON.
pub fn value(code: StatusCode, value: &impl serde::Serialize) -> Response<Body> {
    match serde_json::to_vec(value) {
        Ok(bytes) => json(code, bytes),
        Err(err) => error(&ApiError::internal(err)),
    }
}

/// The JSON that [`encoded`] has to go through. Lists are in protobuf already, and tables stay as they are.
pub fn left_to_encode(prefers_protobuf: bool, response: &Response<Body>) -> Option<&Bytes> {
    match response.body() {
        Body::Whole(Some(json)) if prefers_protobuf && response.headers().get(CONTENT_TYPE) == Some(&JSON) => {
            Some(json)
        }
        _ => None,
    }
}

/// What is JSON so far as the client asked for it (`prefers_protobuf`): in protobuf, if the kind has a message. Who reads protobuf
/// looks at the content type, and finds there that some are JSON: tables, measurements.
pub fn encoded(prefers_protobuf: bool, mut response: Response<Body>) -> Response<Body> {
    let Some(json) = left_to_encode(prefers_protobuf, &response) else { return response };
    match protobuf::object(json) {
        Ok(bytes) => {
            *response.body_mut() = Body::whole(bytes);
            response.headers_mut().insert(CONTENT_TYPE, PROTOBUF);
        }
        Err(EncodeError::UnknownKind { .. }) => {}
        Err(err) => tracing::warn!(err = &err as &dyn std::error::Error, "answered in JSON and not in protobuf"),
    }
    response
}

/// A failed request, as a `Status`.
pub fn error(err: &ApiError) -> Response<Body> {
    let code = StatusCode::from_u16(err.code()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = json(code, status_json(err));
    if let Some(secs) = err.status().details.as_ref().and_then(|d| d.retry_after_seconds) {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(secs));
    }
    response
}

/// `{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure",…}`.
pub fn status_json(err: &ApiError) -> Vec<u8> {
    serde_json::to_vec(err.status()).unwrap_or_else(|_| {
        br#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","reason":"InternalError","code":500}"#
            .to_vec()
    })
}

/// `Warning: 299 - "text"`, one header for each.
pub fn add_warnings(response: &mut Response<Body>, warnings: &[String]) {
    for text in warnings.iter().take(MAX_WARNINGS) {
        let mut quoted = String::with_capacity(text.len() + 8);
        quoted.push_str("299 - \"");
        for c in text.chars().map(|c| if c.is_control() { ' ' } else { c }) {
            if quoted.len() >= MAX_WARNING_BYTES {
                break;
            }
            if matches!(c, '"' | '\\') {
                quoted.push('\\');
            }
            quoted.push(c);
        }
        quoted.push('"');
        if let Ok(header) = HeaderValue::from_bytes(quoted.as_bytes()) {
            response.headers_mut().append(WARNING, header);
        }
    }
}

/// A request that took too long. What it was to write may be written.
pub fn timed_out() -> ApiError {
    ApiError::new(Reason::Timeout, "Timeout: request did not complete within the allotted timeout")
}
/// The 404 of a path that leads nowhere.
pub fn no_such_path() -> ApiError {
    ApiError::no_such_path()
}
pub fn method_not_allowed() -> ApiError {
    ApiError::method_not_allowed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_quoted_headers() {
        let mut response = text(StatusCode::OK, "");
        add_warnings(&mut response, &["unknown field \"spec.foo\"".into(), "a\nb".into()]);
        let have: Vec<_> = response.headers().get_all(WARNING).iter().map(|v| v.to_str().unwrap()).collect();
        assert_eq!(have, [r#"299 - "unknown field \"spec.foo\"""#, r#"299 - "a b""#]);
    }

    #[test]
    fn only_whole_json_is_left_to_encode_for_who_prefers_protobuf() {
        let bytes = || Bytes::from_static(b"{}");
        let cases = [
            ("an object", true, JSON, Body::whole(bytes()), true),
            ("for who prefers JSON", false, JSON, Body::whole(bytes()), false),
            ("a list, which is in protobuf already", true, PROTOBUF, Body::joined(bytes(), vec![], bytes()), false),
            ("a table", true, JSON, Body::joined(bytes(), vec![], bytes()), false),
            ("text", true, HeaderValue::from_static("text/plain"), Body::whole(bytes()), false),
        ];
        for (why, prefers_protobuf, content_type, body, expected) in cases {
            let response = with_type(StatusCode::OK, content_type, body);
            assert_eq!(left_to_encode(prefers_protobuf, &response).is_some(), expected, "{why}");
        }
    }

    #[test]
    fn errors_are_statuses() {
        let response = error(&ApiError::too_many_requests("slow down", 1));
        assert_eq!((response.status().as_u16(), &response.headers()[RETRY_AFTER]), (429, &HeaderValue::from(1)));
        let json: serde_json::Value = serde_json::from_slice(&status_json(&no_such_path())).unwrap();
        assert_eq!(
            (json["kind"].as_str(), json["apiVersion"].as_str(), json["code"].as_i64()),
            (Some("Status"), Some("v1"), Some(404))
        );
    }
}
