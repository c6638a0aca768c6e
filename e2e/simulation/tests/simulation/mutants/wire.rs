//! Bugs in what programs ask for: messages are changed on their way.

use axum::body::Body;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use bytes::{BufMut, Bytes, BytesMut};
use corten_proto::api::{DeleteRequest, Object, PatchRequest, Resource, WriteRequest};
use http_body_util::BodyExt;
use prost::Message;
use serde_json::{Value, json};

use super::Mutant;

const FENCE: &str = "corten-fence-bin";
/// Of a frame: whether it is compressed, and its length.
const HEAD_BYTES: usize = 5;

/// A write on its way.
struct Asked<'a> {
    verb: &'a str,
    author: &'a str,
    resource: Resource,
    body: Value,
}

pub(super) async fn answer(mutant: Mutant, author: &str, mut request: Request, next: Next) -> Response {
    if mutant == Mutant::FencesAreDropped {
        request.headers_mut().remove(FENCE);
    }
    let path = request.uri().path().to_owned();
    let verb = path.strip_prefix("/corten.api.v1.Resources/").unwrap_or_default();
    if !matches!(verb, "Create" | "Update" | "Patch" | "Delete") {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    let frame = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let message = frame.slice(HEAD_BYTES.min(frame.len())..);
    let Some((resource, json)) = opened(verb, &message) else {
        return next.run(Request::from_parts(parts, Body::from(frame))).await;
    };
    let body = serde_json::from_slice(&json).unwrap_or(Value::Null);
    let mut asked = Asked { verb, author, resource, body };
    if mutant == Mutant::JobStatusIsLost && asked.is("jobs") && asked.resource.subresource == "status" {
        return unwritten(&asked);
    }
    if mutant == Mutant::PodsAreCreatedTwice && asked.is_tenth_pod() {
        let mut again = asked.body.clone();
        again["metadata"]["name"] = json!(format!("{}2", again["metadata"]["name"].as_str().unwrap_or_default()));
        let twice = Request::from_parts(parts.clone(), Body::from(sealed(verb, &message, &again)));
        let _first = next.clone().run(twice).await;
    }
    let before = asked.body.clone();
    asked.change(mutant);
    let frame = if asked.body == before { frame } else { sealed(verb, &message, &asked.body) };
    next.run(Request::from_parts(parts, Body::from(frame))).await
}

fn opened(verb: &str, message: &Bytes) -> Option<(Resource, Bytes)> {
    match verb {
        "Patch" => PatchRequest::decode(message.clone()).ok().and_then(|m| Some((m.resource?, m.json))),
        "Delete" => DeleteRequest::decode(message.clone()).ok().and_then(|m| Some((m.resource?, m.options_json))),
        _ => WriteRequest::decode(message.clone()).ok().and_then(|m| Some((m.resource?, m.json))),
    }
}

/// The message with another body, as a frame.
fn sealed(verb: &str, message: &Bytes, body: &Value) -> Bytes {
    let (json, message) = (Bytes::from(body.to_string()), message.clone());
    let message = match verb {
        "Patch" => PatchRequest { json, ..PatchRequest::decode(message).unwrap() }.encode_to_vec(),
        "Delete" => DeleteRequest { options_json: json, ..DeleteRequest::decode(message).unwrap() }.encode_to_vec(),
        _ => WriteRequest { json, ..WriteRequest::decode(message).unwrap() }.encode_to_vec(),
    };
    framed(&message)
}

fn framed(message: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(HEAD_BYTES + message.len());
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).unwrap());
    frame.put_slice(message);
    frame.freeze()
}

/// As if it had been written.
fn unwritten(asked: &Asked<'_>) -> Response {
    let revision = asked.body["metadata"]["resourceVersion"].as_str().and_then(|text| text.parse().ok()).unwrap_or(1);
    let Resource { namespace, name, .. } = asked.resource.clone();
    let object = Object { namespace, name, revision, json: asked.body.to_string().into() };
    let mut trailers = http::HeaderMap::new();
    trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
    let frames = [
        Ok::<_, std::convert::Infallible>(http_body::Frame::data(framed(&object.encode_to_vec()))),
        Ok(http_body::Frame::trailers(trailers)),
    ];
    let body = http_body_util::StreamBody::new(futures::stream::iter(frames));
    let response = http::Response::builder().header("content-type", "application/grpc");
    response.body(Body::new(body)).unwrap()
}

impl Asked<'_> {
    fn is(&self, plural: &str) -> bool {
        self.resource.plural == plural
    }
    fn by_controllers(&self) -> bool {
        self.author.starts_with("controllers")
    }
    fn is_tenth_pod(&self) -> bool {
        let name = self.body["metadata"]["name"].as_str().unwrap_or_default();
        self.verb == "Create"
            && self.is("pods")
            && self.resource.subresource.is_empty()
            && self.by_controllers()
            && name.bytes().map(usize::from).sum::<usize>().is_multiple_of(10)
    }

    fn change(&mut self, mutant: Mutant) {
        let (creates, deletes) = (self.verb == "Create", self.verb == "Delete");
        let of_controllers = self.by_controllers();
        let is_status = self.resource.subresource == "status";
        match mutant {
            Mutant::OwnersAreDropped if creates && self.is("pods") => {
                remove(&mut self.body, "/metadata", "ownerReferences");
            }
            Mutant::JobPodsAreNotHeld if creates && self.is("pods") => {
                remove(&mut self.body, "/metadata", "finalizers");
            }
            Mutant::OrphansGo if deletes && self.body["propagationPolicy"] == "Orphan" => {
                self.body["propagationPolicy"] = json!("Background");
            }
            Mutant::GraceIsSkipped if deletes && self.is("pods") && of_controllers => {
                self.body["gracePeriodSeconds"] = json!(0);
            }
            Mutant::RevisionsAreDropped if self.verb == "Update" => {
                remove(&mut self.body, "/metadata", "resourceVersion");
            }
            Mutant::BudgetsAllowMore if self.is("poddisruptionbudgets") && is_status => {
                grow(&mut self.body, "/status/disruptionsAllowed", 1);
            }
            Mutant::SurgeIsExceeded if self.is("replicasets") && !is_status && of_controllers => {
                grow(&mut self.body, "/spec/replicas", 1);
            }
            Mutant::ShrinksToNothing if self.is("replicasets") && !is_status && of_controllers && !creates => {
                if let Some(replicas) = self.body.pointer_mut("/spec/replicas") {
                    *replicas = json!(0);
                }
            }
            Mutant::JobsCountOneMore if self.is("jobs") && is_status => {
                grow(&mut self.body, "/status/succeeded", 1);
            }
            Mutant::UncountedIsForgotten if self.is("jobs") && is_status => {
                remove(&mut self.body, "/status", "uncountedTerminatedPods");
            }
            _ => {}
        }
    }
}

fn remove(body: &mut Value, path: &str, field: &str) {
    if let Some(Value::Object(object)) = body.pointer_mut(path) {
        object.remove(field);
    }
}

fn grow(body: &mut Value, path: &str, by: i64) {
    if let Some(number) = body.pointer_mut(path)
        && let Some(was) = number.as_i64()
    {
        *number = json!(was + by);
    }
}
