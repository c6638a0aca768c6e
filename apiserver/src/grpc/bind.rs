//! `Bind`: a stream of placements, each a request of its own, that goes the way of all requests (`pipeline::messages`).

use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use corten_api::ApiError;
use corten_proto::api::{BindReply, BindRequest};
use futures::{Stream, StreamExt};
use http::{Request, Response, StatusCode};
use tokio::sync::Semaphore;
use tonic::{Status, Streaming};
use tower::Service;

use crate::pipeline::{Answer, Answering, Permitted, Pipeline};
use crate::registry::ApiResource;
use crate::request::{Target, User, Verb};
use crate::request_info::{self, Door, Lasts, Question, Read, RequestId, RequestInfo, Subject};
use crate::resources::{Allowed, Fence, Permit, Resources};
use crate::rest::body::Body;
use crate::rest::receive::Unread;

/// Binds of one stream that are under way at a time.
const BINDS_MAX: usize = 128;
/// Of these so many may wait for webhooks: those that no webhook is asked about go on beside them.
const ASKING_MAX: usize = BINDS_MAX / 2;

/// What a bind says beyond which pod it is about: stands in its request's extensions.
#[derive(Clone, Debug)]
struct Placement {
    /// The pod that was scheduled; empty for whichever has the name.
    uid: String,
    node: String,
    fence: Option<Fence>,
    asking: Arc<Semaphore>,
}

/// Who binds, and how: what all messages of a stream have in common.
#[derive(Clone)]
pub(super) struct Binder {
    pub(super) pipeline: Arc<dyn Pipeline>,
    pub(super) user: Arc<User>,
    pub(super) fence: Option<Fence>,
    /// Room of its stream, to wait for webhooks.
    pub(super) asking: Arc<Semaphore>,
    /// Pods.
    pub(super) resource: Option<Arc<ApiResource>>,
}

/// Answers to all that comes, as each is done.
pub(super) fn replies(
    binder: Binder,
    asked: Streaming<BindRequest>,
) -> impl Stream<Item = Result<BindReply, Status>> + Send {
    let one = move |asked: Result<BindRequest, Status>| {
        let binder = binder.clone();
        async move { Ok(reply(binder, asked?).await) }
    };
    asked.map(one).buffer_unordered(BINDS_MAX)
}

/// For one stream.
pub(super) fn room_to_ask() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(ASKING_MAX))
}

pub(super) async fn reply(binder: Binder, asked: BindRequest) -> BindReply {
    let (id, pipeline) = (asked.id, binder.pipeline.clone());
    let answer = match request(binder, asked) {
        Ok(request) => pipeline.answer(request).await,
        Err(err) => Err(err),
    };
    let error_status_json = match answer {
        Ok(_done) => Bytes::new(),
        Err(err) => serde_json::to_vec(err.status()).unwrap_or_else(|_| b"{}".to_vec()).into(),
    };
    BindReply { id, error_status_json }
}

/// The request that a message is: to create the pod's `binding`.
fn request(binder: Binder, asked: BindRequest) -> Result<Request<Unread>, ApiError> {
    let Binder { user, fence, resource, asking, .. } = binder;
    let BindRequest { namespace, pod, uid, node, .. } = asked;
    let target = Target {
        version: "v1".into(),
        resource: "pods".into(),
        subresource: "binding".into(),
        namespace,
        name: pod,
        ..Target::default()
    };
    let question = Question { resource, ..Question::about(Subject::Resource { verb: Verb::Create, target }) };
    let info = RequestInfo::new(
        RequestId::new(None),
        Door::Grpc,
        Verb::Create.as_str(),
        Lasts::Short,
        Read::Question(question),
    );
    info.is_sent_by(user.clone())?;
    info.is_to_count_as(user)?;
    let mut request = Request::new(Unread::default());
    request.extensions_mut().insert(Arc::new(info));
    request.extensions_mut().insert(Placement { uid, node, fence, asking });
    Ok(request)
}

/// Where the way of a bind ends.
#[derive(Clone, Debug)]
pub struct Binds {
    resources: Resources,
}

impl Binds {
    pub fn new(resources: Resources) -> Self {
        Self { resources }
    }

    async fn bind(&self, request: Request<Permitted>) -> Answer {
        let (parts, Permitted { may, seat, .. }) = request.into_parts();
        let placement = parts.extensions.get::<Placement>();
        let (Some(Permit::Resource(Allowed::Create(may))), Some(placement)) = (may, placement) else {
            return Err(ApiError::internal("a bind that says no node, or may not be"));
        };
        let Placement { uid, node, fence, asking } = placement;
        self.resources.bind(&may, uid, node, fence.as_ref(), asking).await?;
        drop(seat);
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::CREATED;
        Ok(response)
    }
}

impl<'a> Service<Request<Permitted>> for &'a Binds {
    type Response = Response<Body>;
    type Error = ApiError;
    type Future = Answering<'a>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ApiError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Permitted>) -> Answering<'a> {
        let binds: &'a Binds = self;
        Box::pin(async move {
            let info = request_info::of(&request)?;
            info.told.of(binds.bind(request)).await
        })
    }
}
