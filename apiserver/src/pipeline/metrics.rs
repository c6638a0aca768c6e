//! Every request is counted once, by what became of it: those that are refused on the way, and those that panic.

use std::sync::Arc;
use std::task::{Context, Poll};

use corten_api::ApiError;
use http::{Request, Response};
use tower::{Layer, Service};

use super::{Answering, Inner, Means, Pipeline, door, ready, refused};
use crate::metrics::{Metrics, RequestLabels};
use crate::request_info::{self, Lasts, RequestInfo};
use crate::rest::body::Body;
use crate::rest::receive::Unread;

#[derive(Clone, Debug)]
pub(super) struct Count {
    metrics: Arc<Metrics>,
}

impl Count {
    pub(super) fn new(means: &Means) -> Self {
        Self { metrics: means.metrics.clone() }
    }
}

pub(super) struct Counting {
    metrics: Arc<Metrics>,
    inner: Inner<Unread>,
}

impl<S: Pipeline<Unread> + 'static> Layer<S> for Count {
    type Service = Counting;

    fn layer(&self, inner: S) -> Counting {
        Counting { metrics: self.metrics.clone(), inner: Box::new(inner) }
    }
}

impl<'a> Service<Request<Unread>> for &'a Counting {
    type Response = Response<Body>;
    type Error = ApiError;
    type Future = Answering<'a>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ApiError>> {
        ready()
    }

    fn call(&mut self, request: Request<Unread>) -> Answering<'a> {
        let Counting { metrics, inner } = *self;
        let next = &**inner;
        let info = match request_info::of(&request) {
            Ok(info) => info,
            Err(err) => return refused(err),
        };
        let answering = next.answer(request);
        Box::pin(async move {
            let mut counted = Counted { metrics, info: &info, code: None };
            let answer = answering.await;
            counted.code = Some(door::code(info.door, &answer));
            drop(counted);
            answer
        })
    }
}

/// A request that is to be counted when it is answered.
struct Counted<'a> {
    metrics: &'a Metrics,
    info: &'a RequestInfo,
    code: Option<u16>,
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        // Whose client has gone is answered by nobody, and not counted; who panics is answered above.
        let Some(code) = self.code.or_else(|| std::thread::panicking().then_some(500)) else { return };
        let names = self.info.asked().and_then(|asked| asked.resource.as_ref()).map(|resource| resource.names());
        let group = names.map(|names| names.group.clone()).unwrap_or_default();
        let resource = names.map(|names| names.plural.clone()).unwrap_or_default();
        let took = (self.info.lasts == Lasts::Short).then(|| self.info.received.elapsed());
        self.metrics.answered(RequestLabels { verb: self.info.verb, group, resource, code }, took);
    }
}
