//! gRPC's head: the path says which method, and with it the verb. What it is about stands in the message (`subject`). A refusal is a
//! gRPC status with the `Status` in its details.

mod messages;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use corten_api::ApiError;
use corten_proto::status;
use http::{Request, Response, StatusCode};
use http_body::{Frame, SizeHint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use tonic::service::Routes;
use tower::ServiceExt;

use self::messages::Messages;
use super::AUDIT_ID;
use crate::aside::aside;
use crate::decode::MAX_BODY_BYTES;
use crate::pipeline::{Answer, Permitted, Pipeline};
use crate::request::Verb;
use crate::request_info::{Door, Lasts, Question, REQUEST_TIMEOUT, Read, RequestId, RequestInfo, Subject};
use crate::resources::{Allowed, Permit};
use crate::rest::Front;
use crate::rest::body::Body;
use crate::rest::receive::{self, Unread};
use crate::rest::respond;

/// A message with the largest body, and its envelope.
pub(crate) const MESSAGE_BYTES_MAX: usize = MAX_BODY_BYTES + 64 * 1024;
const RESOURCES: &str = "/corten.api.v1.Resources/";
/// As metrics have a stream, whose messages are counted one by one.
const STREAM: &str = "connect";

/// What the methods of `Resources` with one message do. All others are streams of messages, or have no subject that roles name.
pub(in crate::pipeline) fn verb_of(path: &str) -> Option<Verb> {
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

pub(super) fn info(request: &Request<Unread>) -> RequestInfo {
    let id = RequestId::new(request.headers().get(AUDIT_ID));
    let (verb, lasts, read) = match verb_of(request.uri().path()) {
        Some(Verb::Watch) => (Verb::Watch.as_str(), Lasts::Watch, Read::InTheMessage),
        Some(verb) => (verb.as_str(), Lasts::Short, Read::InTheMessage),
        None => (STREAM, Lasts::Open, Read::Question(Question::about(Subject::Messages))),
    };
    RequestInfo::new(id, Door::Grpc, verb, lasts, read)
}

pub(super) fn refusal(why: &ApiError) -> Response<Body> {
    let refusal = status::to_grpc(why.code(), why.message(), respond::status_json(why));
    refusal.into_http::<tonic::body::Body>().map(Body::Grpc)
}

/// The code that a call was refused with, or that its handler has given.
pub(super) fn code(response: &Response<Body>) -> u16 {
    let status = tonic::Status::from_header_map(response.headers());
    let Some(refusal) = status.filter(|status| status.code() != tonic::Code::Ok) else {
        return response.extensions().get::<StatusCode>().unwrap_or(&response.status()).as_u16();
    };
    let told = serde_json::from_slice::<Status>(status::of_grpc(&refusal)).ok().and_then(|status| status.code);
    let told = told.and_then(|code| u16::try_from(code).ok());
    // What tonic refuses has no Status of ours: a method that there is not, or a message that is none.
    told.unwrap_or_else(|| match refusal.code() {
        tonic::Code::Unimplemented => 404,
        tonic::Code::InvalidArgument | tonic::Code::OutOfRange => 400,
        _ => 500,
    })
}

/// What the service is given: one message that has come, or what a client goes on sending.
enum Message {
    Whole(Option<Bytes>),
    Stream(Messages),
}

impl http_body::Body for Message {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, tonic::Status>>> {
        match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Stream(messages) => Pin::new(messages).poll_frame(cx),
        }
    }
    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_none(),
            Self::Stream(messages) => messages.is_end_stream(),
        }
    }
    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64)),
            Self::Stream(messages) => messages.size_hint(),
        }
    }
}

/// The services behind this door, and the way of what comes in streams.
pub(in crate::pipeline) struct Services {
    pub(in crate::pipeline) routes: Routes,
    pub(in crate::pipeline) messages: Arc<dyn Pipeline>,
}

impl Services {
    pub(in crate::pipeline) async fn serve(
        &self,
        front: &Front,
        info: &RequestInfo,
        request: Request<Permitted>,
    ) -> Answer {
        let (parts, Permitted { body, seat, may }) = request.into_parts();
        match (may, seat) {
            (None, _) => {
                let user = info.user()?;
                let counted = front.flow.enter_long(user)?;
                let messages = Messages::new(body.take()?.into_incoming()?, counted);
                let mut request = Request::from_parts(parts, Message::Stream(messages));
                request.extensions_mut().insert(user.clone());
                request.extensions_mut().insert(self.messages.clone());
                Ok(self.route(request).await.map(Body::GrpcStream))
            }
            (Some(Permit::Resource(allowed)), Some(mut seat)) => {
                let user = &info.user()?.name;
                let message = receive::whole(&front.unfinished, user, &mut seat, body.take()?).await?;
                let is_large = front.resources.is_large(&allowed, message.len());
                let request = Request::from_parts(parts, Message::Whole(Some(message)));
                let called = self.call(user, is_large, allowed, request);
                let is_watch = info.lasts == Lasts::Watch;
                Ok(called.await?.map(if is_watch { Body::GrpcStream } else { Body::Grpc }))
            }
            (Some(Permit::Resource(_) | Permit::Connection(_) | Permit::Path(_)), _) => {
                Err(ApiError::internal("a call that is about no resource, or has no seat"))
            }
        }
    }

    /// With a message that has come.
    async fn call(
        &self,
        user: &str,
        is_large: bool,
        allowed: Allowed,
        mut request: Request<Message>,
    ) -> Result<Response<tonic::body::Body>, ApiError> {
        request.extensions_mut().insert(Arc::new(allowed));
        // Whoever's deadline passes meanwhile: what it writes is written, as it would be a moment before.
        let called = tokio::time::timeout(REQUEST_TIMEOUT, self.route(request));
        aside(user, is_large, called).await.map_err(|_| respond::timed_out())
    }

    async fn route(&self, request: Request<Message>) -> Response<tonic::body::Body> {
        match self.routes.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}
