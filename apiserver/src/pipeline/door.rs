//! What differs between the doors: how a head is read, how a refusal is worded, where an answer's code stands.

pub(super) mod grpc;
mod rest;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, Request, Response};
use hyper::body::Incoming;

pub(crate) use self::grpc::MESSAGE_BYTES_MAX;
use super::Answer;
use crate::decode::MAX_BODY_BYTES;
use crate::registry::Registry;
use crate::request_info::{Door, RequestInfo};
use crate::rest::accept;
use crate::rest::body::Body;
use crate::rest::receive::{Arriving, Unread};
use crate::rest::respond;
use corten_api::ApiError;

/// By which a request is known, to its client and in the audit's events.
const AUDIT_ID: HeaderName = HeaderName::from_static("audit-id");

fn of(headers: &HeaderMap) -> Door {
    let is_grpc = headers.get(CONTENT_TYPE).is_some_and(|v| v.as_bytes().starts_with(b"application/grpc"));
    if is_grpc { Door::Grpc } else { Door::Rest { prefers_protobuf: accept::prefers_protobuf(headers) } }
}

/// A request as it comes in, and by which door.
pub(super) fn opened(request: Request<Incoming>) -> (Door, Request<Unread>) {
    let (parts, incoming) = request.into_parts();
    let door = of(&parts.headers);
    let max = match door {
        Door::Rest { .. } => MAX_BODY_BYTES,
        Door::Grpc => MESSAGE_BYTES_MAX,
    };
    let body = Unread::new(Arriving::new(&parts.headers, incoming, max));
    let mut request = Request::from_parts(parts, body);
    request.extensions_mut().insert(door);
    (door, request)
}

/// What the head says. It looks at nothing else.
pub(super) fn info(request: &Request<Unread>, registry: &Registry) -> RequestInfo {
    let door = request.extensions().get::<Door>().copied().unwrap_or_else(|| of(request.headers()));
    match door {
        Door::Rest { .. } => rest::info(door, request, registry),
        Door::Grpc => grpc::info(request),
    }
}

pub(super) fn refusal(door: Door, why: &ApiError) -> Response<Body> {
    match door {
        Door::Rest { prefers_protobuf } => rest::refusal(prefers_protobuf, why),
        Door::Grpc => grpc::refusal(why),
    }
}

/// HTTP's code of an answer: a call's as REST would have it.
pub(super) fn code(door: Door, answer: &Answer) -> u16 {
    match (answer, door) {
        (Err(why), _) => why.code(),
        (Ok(response), Door::Rest { .. }) => response.status().as_u16(),
        (Ok(response), Door::Grpc) => grpc::code(response),
    }
}

/// The answer as its client reads it, with what he is told of his request.
pub(super) fn word(info: &RequestInfo, answer: Answer) -> Response<Body> {
    let is_refused = answer.is_err();
    let mut response = answer.unwrap_or_else(|why| refusal(info.door, &why));
    if let Some(sorted) = info.sorted() {
        sorted.tell(response.headers_mut());
    }
    // Our own programs do not ask for it: it would be a tenth of a lease's answer.
    if let Door::Rest { .. } = info.door {
        if let Some(id) = info.id.header() {
            response.headers_mut().entry(AUDIT_ID).or_insert(id);
        }
        if let Some(text) = info.asked().and_then(|asked| asked.resource.as_ref()?.deprecation()) {
            respond::add_warnings(&mut response, &[text.to_owned()]);
        }
        if is_refused {
            respond::add_warnings(&mut response, &info.told.warnings());
        }
    }
    response
}
