//! gRPC's door: calls wait for their turn as REST's requests do, before their messages are received, and are counted with them.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use corten_api::ApiError;
use corten_api::selector::FieldSelector;
use corten_proto::status;
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use tower::ServiceExt;

use super::Server;
use super::message::{self, Beginning};
use crate::authz::Attributes;
use crate::flowcontrol::work::{self, Walk};
use crate::grpc::{Admitted, MESSAGE_BYTES_MAX};
use crate::registry::ApiResource;
use crate::request::{Target, User, Verb};
use crate::rest::aside::{LARGE_BODY_BYTES, aside};
use crate::rest::body::Body;
use crate::rest::receive::Arriving;
use crate::rest::{REQUEST_TIMEOUT, respond};

const RESOURCES: &str = "/corten.api.v1.Resources/";

/// What the service is given: one message that has come, or what a client goes on sending.
enum Message {
    Whole(Option<Bytes>),
    Stream(Incoming),
}

impl http_body::Body for Message {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Stream(incoming) => Pin::new(incoming).poll_frame(cx),
        }
    }
    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_none(),
            Self::Stream(incoming) => incoming.is_end_stream(),
        }
    }
    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64)),
            Self::Stream(incoming) => incoming.size_hint(),
        }
    }
}

/// What the methods of `Resources` with one message do. All others last, and let in what comes in them by themselves.
fn verb_of(path: &str) -> Option<Verb> {
    Some(match path.strip_prefix(RESOURCES)? {
        "Get" => Verb::Get,
        "List" => Verb::List,
        "Watch" => Verb::Watch,
        "Create" => Verb::Create,
        "Update" => Verb::Update,
        "Patch" => Verb::Patch,
        "Delete" => Verb::Delete,
        _ => return None,
    })
}

fn refused(err: &ApiError) -> Response<Body> {
    let refusal = status::to_grpc(err.code(), err.message(), respond::status_json(err));
    refusal.into_http::<tonic::body::Body>().map(Body::Grpc)
}

/// HTTP's code for what a call was answered with: a refusal's own, as REST would have it.
fn code_of(response: &Response<Body>) -> u16 {
    let refusal = tonic::Status::from_header_map(response.headers()).filter(|status| status.code() != tonic::Code::Ok);
    let Some(refusal) = refusal else { return response.status().as_u16() };
    let told = serde_json::from_slice::<Status>(status::of_grpc(&refusal)).ok().and_then(|status| status.code);
    // What tonic refuses (no protobuf, say) has no Status of ours, and is its caller's fault or a failure of ours: REST would not
    // know either.
    told.and_then(|code| u16::try_from(code).ok()).unwrap_or(500)
}

impl Server {
    pub(super) async fn answer_grpc(
        &self,
        caller: Result<Arc<User>, ApiError>,
        request: Request<Incoming>,
    ) -> Response<Body> {
        let Some(verb) = verb_of(request.uri().path()) else {
            return match caller {
                Ok(user) => self.route(user, request.map(Message::Stream)).await.map(Body::GrpcStream),
                Err(err) => refused(&err),
            };
        };
        let (began, mut about) = (Instant::now(), None);
        let answered = async {
            let called = self.call(caller?, verb, request, &mut about);
            tokio::time::timeout(REQUEST_TIMEOUT, called).await.unwrap_or_else(|_| Err(respond::timed_out()))
        };
        let response = answered.await.unwrap_or_else(|err| refused(&err));
        let took = (verb != Verb::Watch).then(|| began.elapsed());
        self.front.count(verb.as_str(), about.as_ref(), code_of(&response), took);
        response
    }

    /// A call with one message. `about`: the kind that it turns out to be about.
    async fn call(
        &self,
        user: Arc<User>,
        verb: Verb,
        request: Request<Incoming>,
        about: &mut Option<Arc<ApiResource>>,
    ) -> Result<Response<Body>, ApiError> {
        let (parts, incoming) = request.into_parts();
        let mut arriving = Arriving::new(&parts.headers, incoming, MESSAGE_BYTES_MAX);
        let selects = matches!(verb, Verb::List | Verb::Watch);
        let beginning = loop {
            let seen = message::beginning(arriving.seen(), selects);
            match seen.map_err(|err| ApiError::bad_request(err.to_string()))? {
                Some(beginning) => break beginning,
                None if arriving.more().await? => {}
                None => return Err(ApiError::bad_request("the message breaks off")),
            }
        };
        let Target { group, version, resource, .. } = &beginning.target;
        *about = self.front.resources.registry().find(group, version, resource);
        let asked = Attributes::Resource { verb: verb.as_str(), target: &beginning.target };
        let mut seat = self.front.flow.admit(&user, asked, self.seats(verb, &beginning)).await?;
        let message = self.front.slow_bodies.receive(&user.name, &mut seat, arriving).await?;
        let is_large = message.len() > LARGE_BODY_BYTES;
        let mut request = Request::from_parts(parts, Message::Whole(Some(message)));
        request.extensions_mut().insert(Admitted(beginning.target));
        // Whoever's deadline passes meanwhile: what it writes is written, as it would be a moment before.
        let called = tokio::time::timeout(REQUEST_TIMEOUT, self.route(user.clone(), request));
        let response = aside(&user.name, is_large, called).await.map_err(|_| respond::timed_out())?;
        Ok(response.map(if verb == Verb::Watch { Body::GrpcStream } else { Body::Grpc }))
    }

    fn seats(&self, verb: Verb, beginning: &Beginning) -> u32 {
        if !matches!(verb, Verb::List | Verb::Watch) {
            return 1;
        }
        // A selector that is malformed is told of by the service.
        let fields = FieldSelector::parse(&beginning.field_selector).unwrap_or_default();
        let walk = Walk { fields: &fields, selects_labels: beginning.selects_labels, limit: None };
        work::of_list(walk, || self.front.resources.stored(&beginning.target))
    }

    async fn route(&self, user: Arc<User>, mut request: Request<Message>) -> Response<tonic::body::Body> {
        request.extensions_mut().insert(user);
        match self.grpc.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}
