//! Whose turn it is: a request is sorted, and waits for its seats, before it is asked whether it may be and before its body is
//! read. 429 if there is no place to wait, or it waited too long.

use std::task::{Context, Poll};

use corten_api::ApiError;
use http::{Request, Response};
use tower::{Layer, Service};

use super::{Answering, Inner, Means, Pipeline, Seated, ready, refused};
use crate::flowcontrol::FlowControl;
use crate::flowcontrol::seat::Seat;
use crate::flowcontrol::work::{self, Walk};
use crate::request_info::{self, Lasts, Question, RequestInfo, Subject};
use crate::resources::Resources;
use crate::rest::body::Body;
use crate::rest::receive::Unread;

#[derive(Clone, Debug)]
pub(super) struct TakeTurn {
    flow: FlowControl,
    resources: Resources,
}

impl TakeTurn {
    pub(super) fn new(means: &Means) -> Self {
        Self { flow: means.flow.clone(), resources: means.resources.clone() }
    }
}

pub(super) struct Fairness {
    turns: TakeTurn,
    inner: Inner<Seated>,
}

impl<S: Pipeline<Seated> + 'static> Layer<S> for TakeTurn {
    type Service = Fairness;

    fn layer(&self, inner: S) -> Fairness {
        Fairness { turns: self.clone(), inner: Box::new(inner) }
    }
}

impl<'a> Service<Request<Unread>> for &'a Fairness {
    type Response = Response<Body>;
    type Error = ApiError;
    type Future = Answering<'a>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ApiError>> {
        ready()
    }

    fn call(&mut self, request: Request<Unread>) -> Answering<'a> {
        let Fairness { turns, inner } = *self;
        let next = &**inner;
        let info = match request_info::of(&request) {
            Ok(info) => info,
            Err(err) => return refused(err),
        };
        if info.lasts == Lasts::Open {
            // It holds no seats while it lasts; how many there are is counted where they begin.
            return next.answer(request.map(|body| Seated { body, seat: None }));
        }
        Box::pin(async move {
            let seat = turns.wait(&info).await?;
            next.answer(request.map(|body| Seated { body, seat: Some(seat) })).await
        })
    }
}

impl TakeTurn {
    async fn wait(&self, info: &RequestInfo) -> Result<Seat, ApiError> {
        let question = info.question()?;
        let asked = question.attributes().ok_or_else(|| ApiError::internal("a stream takes no turn"))?;
        let flow = self.flow.classify(info.user()?, asked);
        info.is_sorted(&flow)?;
        flow.admit(self.seats(question)).await
    }

    fn seats(&self, question: &Question) -> u32 {
        let (Some(walked), Subject::Resource { target, .. }) = (question.walks, &question.subject) else { return 1 };
        let walk = Walk { fields: &question.fields, selects_labels: walked.selects_labels, limit: walked.limit };
        work::of_list(walk, || self.resources.stored(target))
    }
}
