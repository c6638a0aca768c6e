//! A panic over one request is that request's alone: it is told of, and answered with 500.

use std::panic::AssertUnwindSafe;
use std::task::{Context, Poll};

use corten_api::ApiError;
use futures::FutureExt;
use http::{Request, Response};
use tower::{Layer, Service};

use super::{Answering, Inner, Pipeline, ready};
use crate::rest::body::Body;
use crate::rest::receive::Unread;

/// Upstream's words.
const WHY: &str = "This request caused apiserver to panic. Look in the logs for details.";

#[derive(Clone, Copy, Debug)]
pub(super) struct Recover;

pub(super) struct PanicRecovery {
    inner: Inner<Unread>,
}

impl<S: Pipeline<Unread> + 'static> Layer<S> for Recover {
    type Service = PanicRecovery;

    fn layer(&self, inner: S) -> PanicRecovery {
        PanicRecovery { inner: Box::new(inner) }
    }
}

impl<'a> Service<Request<Unread>> for &'a PanicRecovery {
    type Response = Response<Body>;
    type Error = ApiError;
    type Future = Answering<'a>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ApiError>> {
        ready()
    }

    fn call(&mut self, request: Request<Unread>) -> Answering<'a> {
        let next = &*self.inner;
        let (method, uri) = (request.method().clone(), request.uri().clone());
        Box::pin(async move {
            // What the request held (seats, places, locks that know no poison) is given back as it unwinds; the state is etcd's.
            let answered = AssertUnwindSafe(async move { next.answer(request).await }).catch_unwind().await;
            answered.unwrap_or_else(|_told_by_the_hook| {
                tracing::error!(%method, path = uri.path(), "a request has panicked");
                Err(ApiError::internal(WHY))
            })
        })
    }
}
