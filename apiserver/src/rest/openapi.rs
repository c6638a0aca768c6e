//! /openapi/v2 and /openapi/v3: the packed documents, as clients take them.

pub mod protobuf;

use std::sync::Arc;

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
    Protobuf(Result<Document, String>),
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
        "v2" if old => documents.old_v2(encoded).cloned().map(Found::Protobuf),
        "v2" => documents.v2().cloned().map(Found::Document),
        "v3" => Some(Found::Index(documents.v3_index())),
        other => documents.v3(other.strip_prefix("v3/")?).cloned().map(Found::Document),
    });
    match found.await {
        Ok(found) => found.map(|found| show(found, headers)),
        Err(err) => Some(Err(ApiError::internal(err))),
    }
}

fn encoded(plain: &[u8]) -> Result<Vec<u8>, String> {
    protobuf::encode(plain).map_err(|err| err.to_string())
}

fn show(found: Found, headers: &HeaderMap) -> Result<Response<Body>, ApiError> {
    let may_be_json = !headers.contains_key(ACCEPT) || accepts_json(headers);
    let (document, content_type) = match found {
        Found::Protobuf(document) => {
            (document.map_err(ApiError::internal)?, HeaderValue::from_static(protobuf::CONTENT_TYPE))
        }
        Found::Index(_) | Found::Document(_) if !may_be_json => {
            return Err(ApiError::new(Reason::NotAcceptable, "OpenAPI documents are served as application/json only"));
        }
        Found::Index(json) => return Ok(respond::json(StatusCode::OK, json)),
        Found::Document(document) => (document, respond::JSON),
    };
    let etag = HeaderValue::try_from(format!("\"{}\"", document.hash)).map_err(ApiError::internal)?;
    let mut response = if headers.get(IF_NONE_MATCH).is_some_and(|have| *have == etag) {
        respond::with_type(StatusCode::NOT_MODIFIED, content_type, Body::empty())
    } else if gzip::accepts_gzip(headers) {
        let mut response = respond::with_type(StatusCode::OK, content_type, Body::whole(document.gzipped));
        response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        response
    } else {
        let plain = document.plain().map_err(ApiError::internal)?;
        respond::with_type(StatusCode::OK, content_type, Body::whole(plain))
    };
    response.headers_mut().insert(ETAG, etag);
    response.headers_mut().insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    Ok(response)
}

fn accepts_json(headers: &HeaderMap) -> bool {
    accept::ranges(headers).any(|r| matches!(r.media, "application/json" | "application/*" | "*/*"))
}
