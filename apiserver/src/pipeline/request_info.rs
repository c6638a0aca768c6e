//! Says what a request is, once, and words its answer as its door's clients read it.

use std::sync::Arc;
use std::task::{Context, Poll};

use corten_api::ApiError;
use http::{Request, Response};
use tower::{Layer, Service};

use super::{Answering, Inner, Means, Pipeline, door, ready};
use crate::registry::Registry;
use crate::rest::body::Body;
use crate::rest::receive::Unread;

#[derive(Clone, Debug)]
pub(super) struct Describe {
    registry: Registry,
}

impl Describe {
    pub(super) fn new(means: &Means) -> Self {
        Self { registry: means.resources.registry().clone() }
    }
}

pub(super) struct Described {
    registry: Registry,
    inner: Inner<Unread>,
}

impl<S: Pipeline<Unread> + 'static> Layer<S> for Describe {
    type Service = Described;

    fn layer(&self, inner: S) -> Described {
        Described { registry: self.registry.clone(), inner: Box::new(inner) }
    }
}

impl<'a> Service<Request<Unread>> for &'a Described {
    type Response = Response<Body>;
    type Error = ApiError;
    type Future = Answering<'a>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ApiError>> {
        ready()
    }

    fn call(&mut self, mut request: Request<Unread>) -> Answering<'a> {
        let next = &*self.inner;
        let info = Arc::new(door::info(&request, &self.registry));
        request.extensions_mut().insert(info.clone());
        let answering = next.answer(request);
        Box::pin(async move { Ok(door::word(&info, answering.await)) })
    }
}
