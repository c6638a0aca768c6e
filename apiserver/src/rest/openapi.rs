//! /openapi/v2 and /openapi/v3: the packed documents, as clients take them.

pub mod protobuf;

use std::sync::Arc;

use bytes::Bytes;
use corten_api::{ApiError, Reason};
use http::header::{ACCEPT, CONTENT_ENCODING, ETAG, HeaderMap, HeaderValue, IF_NONE_MATCH, VARY};
use http::{Response, StatusCode};

use super::body::Body;
use super::{accept, gzip, respond};
use crate::openapi::{Document, Documents};

/// What a path leads to.
enum Found {
    Index(Vec<u8>),
    Document(Document),
    Protobuf(Result<Vec<u8>, String>),
}

/// `None` for paths that are not OpenAPI's, or lead nowhere.
pub async fn serve(
    documents: &Arc<Documents>,
    path: &str,
    headers: &HeaderMap,
) -> Option<Result<Response<Body>, ApiError>> {
    let below = path.strip_prefix("/openapi/")?.to_owned();
    let documents = documents.current();
    let old = accept::ranges(headers).any(|r| r.media == protobuf::MEDIA) && !accepts_json(headers);
    // Making the documents takes a while when it is the first time.
    let found = tokio::task::spawn_blocking(move || match below.as_str() {
        "v2" if old => documents.v2().map(|v2| Found::Protobuf(packed(v2))),
        "v2" => documents.v2().cloned().map(Found::Document),
        "v3" => Some(Found::Index(documents.v3_index())),
        other => documents.v3(other.strip_prefix("v3/")?).cloned().map(Found::Document),
    });
    match found.await {
        Ok(found) => found.map(|found| show(found, headers)),
        Err(err) => Some(Err(ApiError::internal(err))),
    }
}

/// Made anew for each that asks: clients keep it, and few are that old.
fn packed(v2: &Document) -> Result<Vec<u8>, String> {
    let plain = v2.plain().map_err(|err| err.to_string())?;
    protobuf::encode(&plain).map_err(|err| err.to_string())
}

fn show(found: Found, headers: &HeaderMap) -> Result<Response<Body>, ApiError> {
    if let Found::Protobuf(bytes) = found {
        let content_type = HeaderValue::from_static(protobuf::CONTENT_TYPE);
        let body = Body::whole(bytes.map_err(ApiError::internal)?);
        return Ok(gzip::compress(headers, respond::with_type(StatusCode::OK, content_type, body)));
    }
    if headers.contains_key(ACCEPT) && !accepts_json(headers) {
        return Err(ApiError::new(Reason::NotAcceptable, "OpenAPI documents are served as application/json only"));
    }
    let document = match found {
        Found::Index(json) => return Ok(respond::json(StatusCode::OK, json)),
        Found::Document(document) => document,
        Found::Protobuf(_) => return Err(ApiError::internal("answered above")),
    };
    let etag = HeaderValue::try_from(format!("\"{}\"", document.hash)).map_err(ApiError::internal)?;
    let mut response = if headers.get(IF_NONE_MATCH).is_some_and(|have| *have == etag) {
        respond::with_type(StatusCode::NOT_MODIFIED, respond::JSON, Body::empty())
    } else if gzip::accepts_gzip(headers) {
        let mut response = respond::json(StatusCode::OK, document.gzipped);
        response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        response
    } else {
        respond::json(StatusCode::OK, Bytes::from(document.plain().map_err(ApiError::internal)?))
    };
    response.headers_mut().insert(ETAG, etag);
    response.headers_mut().insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    Ok(response)
}

fn accepts_json(headers: &HeaderMap) -> bool {
    accept::ranges(headers).any(|r| matches!(r.media, "application/json" | "application/*" | "*/*"))
}
