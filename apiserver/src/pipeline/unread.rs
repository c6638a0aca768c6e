//! A body that nobody has read is taken and thrown away once its request is answered, where the connection needs that.

use std::task::{Context, Poll};

use corten_api::ApiError;
use http::{Request, Response};
use tower::{Layer, Service};

use super::{Answering, Inner, Pipeline, ready};
use crate::rest::body::Body;
use crate::rest::receive::Unread;

#[derive(Clone, Copy, Debug)]
pub(super) struct DiscardUnread;

pub(super) struct Discarding {
    inner: Inner<Unread>,
}

impl<S: Pipeline<Unread> + 'static> Layer<S> for DiscardUnread {
    type Service = Discarding;

    fn layer(&self, inner: S) -> Discarding {
        Discarding { inner: Box::new(inner) }
    }
}

impl<'a> Service<Request<Unread>> for &'a Discarding {
    type Response = Response<Body>;
    type Error = ApiError;
    type Future = Answering<'a>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ApiError>> {
        ready()
    }

    fn call(&mut self, request: Request<Unread>) -> Answering<'a> {
        let next = &*self.inner;
        let body = request.body().clone();
        if !body.is_to_be_discarded(request.headers(), request.version()) {
            return next.answer(request);
        }
        let answering = next.answer(request);
        Box::pin(async move {
            let answer = answering.await;
            body.discard().await;
            answer
        })
    }
}
