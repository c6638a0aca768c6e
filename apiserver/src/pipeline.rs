//! The way of a request from either door to what answers it: one stack of tower's layers, for REST and gRPC alike. [`stack`] says
//! in which order.
//!
//! - [`RequestInfo`](crate::request_info::RequestInfo) is what is known of a request: made by the outermost layer, read by all.
//! - **Order is a type, where it matters most.** The request's body says how far it has come: [`Unread`], then [`Seated`], then
//!   [`Permitted`], which holds the proof that handlers take. A stack without `authorization`, or with it before `fairness`, does
//!   not compile. The rest of the order is what `tests/pipeline.rs` holds it to.
//! - **Layers refuse with an [`ApiError`].** The outermost words it as the door's clients read it; counting and auditing see the
//!   error's own code.
//! - **A layer that has nothing to do costs nothing.** It hands on what the one below gives. One that waits makes a box, as the
//!   futures of a [`tower::Service`] must have names. Services are called by reference ([`Pipeline`]): no request copies the stack.
//! - There is no readiness to wait for: what holds a request back (`fairness`) must know first what it is.
//!
//! Upstream's order is the model
//! (<https://kubernetes.io/docs/concepts/cluster-administration/flow-control/>, `DefaultBuildHandlerChain`), with two differences.
//! Metrics and audit stand outside of authentication, so that they see who was refused there without a path of their own. And what a
//! gRPC message is about is read behind authentication, since only who is known may make the server hold half a message.

pub mod audit;
mod authentication;
mod authorization;
mod deadline;
mod door;
mod fairness;
mod impersonation;
mod metrics;
mod panic_recovery;
mod request_info;
mod resource;
mod subject;
mod unread;

use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use corten_api::ApiError;
use http::{Request, Response};
use hyper::body::Incoming;
use tonic::service::Routes;
use tower::{Service, ServiceBuilder};

use crate::flowcontrol::FlowControl;
use crate::flowcontrol::seat::Seat;
use crate::metrics::Metrics;
use crate::resources::{Permit, Resources};
use crate::rest::Front;
use crate::rest::body::Body;
use crate::rest::receive::Unread;
use crate::rest::unfinished::Unfinished;

pub use audit::{Audit, Event};
pub use authentication::Connection;
pub(crate) use door::MESSAGE_BYTES_MAX;
pub(crate) use subject::{asked_fields, named};

/// Every layer gives this, or an error that a door can word.
pub type Answer = Result<Response<Body>, ApiError>;
/// An answer on its way.
pub type Answering<'a> = Pin<Box<dyn Future<Output = Answer> + Send + 'a>>;

/// A service that takes requests whose bodies have come as far as `B`, borrowed while it answers.
pub trait Next<'a, B>:
    Service<Request<B>, Response = Response<Body>, Error = ApiError, Future = Answering<'a>> + Send
{
}
impl<'a, B, S> Next<'a, B> for S where
    S: Service<Request<B>, Response = Response<Body>, Error = ApiError, Future = Answering<'a>> + Send
{
}

/// A body whose request holds its seats; none for what takes no turn.
pub struct Seated {
    pub body: Unread,
    pub seat: Option<Seat>,
}

/// A body whose request may be, and the proof of it.
pub struct Permitted {
    pub body: Unread,
    pub seat: Option<Seat>,
    /// None of a stream, whose messages ask for themselves.
    pub may: Option<Permit>,
}

/// A stack from some layer on, put together. Its type is forgotten: proofs about a type of twelve layers would double with each.
pub trait Pipeline<B = Unread>: Send + Sync {
    fn answer(&self, request: Request<B>) -> Answering<'_>;
}

/// What stands below a layer.
type Inner<B> = Box<dyn Pipeline<B>>;

impl<S, B> Pipeline<B> for S
where
    S: Send + Sync,
    for<'a> &'a S: Next<'a, B>,
{
    fn answer(&self, request: Request<B>) -> Answering<'_> {
        let mut stack = self;
        stack.call(request)
    }
}

fn ready() -> Poll<Result<(), ApiError>> {
    Poll::Ready(Ok(()))
}
fn refused<'a>(why: ApiError) -> Answering<'a> {
    Box::pin(std::future::ready(Err(why)))
}

/// Answers a request of whichever door. Every outcome is a response.
pub async fn answer(pipeline: &dyn Pipeline, request: Request<Incoming>) -> Response<Body> {
    let (door, request) = door::opened(request);
    pipeline.answer(request).await.unwrap_or_else(|err| door::refusal(door, &err))
}

/// What layers work with.
#[derive(Clone, Debug)]
pub struct Means {
    pub resources: Resources,
    pub flow: FlowControl,
    pub metrics: Arc<Metrics>,
    pub audit: Arc<dyn Audit>,
    /// What requests hold that are not whole yet.
    pub unfinished: Arc<Unfinished>,
}

/// The stack of both doors, from the outermost layer to what answers. `messages`: the way of what comes in gRPC's streams.
pub fn stack(means: &Means, front: Arc<Front>, grpc: Routes, messages: Arc<dyn Pipeline>) -> Arc<dyn Pipeline> {
    let layers = ServiceBuilder::new()
        .layer(panic_recovery::Recover)
        .layer(request_info::Describe::new(means))
        .layer(unread::DiscardUnread)
        .layer(metrics::Count::new(means))
        .layer(audit::Record::new(means))
        .layer(deadline::GiveUp)
        .layer(authentication::Authenticate::new(means))
        .layer(subject::ReadSubject::new(means))
        .layer(impersonation::Impersonate::new(means))
        .layer(fairness::TakeTurn::new(means))
        .layer(authorization::Authorize::new(means));
    Arc::new(layers.service(resource::Resource::new(front, grpc, messages)))
}

/// The way of one message of a stream, each a request of its own: who sends them is known, and what each is about its
/// [`RequestInfo`](crate::request_info::RequestInfo) says.
pub fn messages(means: &Means, resource: impl Pipeline<Permitted> + 'static) -> Arc<dyn Pipeline> {
    let layers = ServiceBuilder::new()
        .layer(metrics::Count::new(means))
        .layer(audit::Record::new(means))
        .layer(deadline::GiveUp)
        .layer(fairness::TakeTurn::new(means))
        .layer(authorization::Authorize::new(means));
    Arc::new(layers.service(resource))
}
