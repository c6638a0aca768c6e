//! A request that is not done in time is given up, and told so. Of a watch this is its beginning; what is open from the beginning
//! lasts as long as it likes.

use std::task::{Context, Poll};

use corten_api::ApiError;
use http::{Request, Response};
use tokio::time::timeout_at;
use tower::{Layer, Service};

use super::{Answering, Inner, Pipeline, ready, refused};
use crate::request_info;
use crate::rest::body::Body;
use crate::rest::receive::Unread;
use crate::rest::respond;

#[derive(Clone, Copy, Debug)]
pub(super) struct GiveUp;

pub(super) struct Deadline {
    inner: Inner<Unread>,
}

impl<S: Pipeline<Unread> + 'static> Layer<S> for GiveUp {
    type Service = Deadline;

    fn layer(&self, inner: S) -> Deadline {
        Deadline { inner: Box::new(inner) }
    }
}

impl<'a> Service<Request<Unread>> for &'a Deadline {
    type Response = Response<Body>;
    type Error = ApiError;
    type Future = Answering<'a>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ApiError>> {
        ready()
    }

    fn call(&mut self, request: Request<Unread>) -> Answering<'a> {
        let next = &*self.inner;
        let deadline = request_info::of(&request).and_then(|info| info.deadline());
        let answering = next.answer(request);
        match deadline {
            Ok(None) => answering,
            Ok(Some(deadline)) => {
                Box::pin(
                    async move { timeout_at(deadline, answering).await.unwrap_or_else(|_| Err(respond::timed_out())) },
                )
            }
            Err(err) => refused(err),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::request_info::{Door, Lasts, REQUEST_TIMEOUT, Read, RequestId, RequestInfo};

    /// What never answers.
    struct Silent;

    impl<'a> Service<Request<Unread>> for &'a Silent {
        type Response = Response<Body>;
        type Error = ApiError;
        type Future = Answering<'a>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ApiError>> {
            ready()
        }
        fn call(&mut self, _: Request<Unread>) -> Answering<'a> {
            Box::pin(std::future::pending())
        }
    }

    type Timeout = Result<Option<std::time::Duration>, ApiError>;

    /// How long it took to be told so, and the code; `None`: for ever.
    async fn given_up(
        lasts: Lasts,
        waited: std::time::Duration,
        timeout: Timeout,
    ) -> Option<(std::time::Duration, u16)> {
        let stack = GiveUp.layer(Silent);
        let info = RequestInfo::new(RequestId::new(None), Door::Grpc, "get", lasts, Read::InTheMessage);
        let info = info.with_timeout(timeout);
        let began = info.received;
        tokio::time::advance(waited).await;
        let mut request = Request::new(Unread::default());
        request.extensions_mut().insert(Arc::new(info));
        let answered = tokio::time::timeout(2 * REQUEST_TIMEOUT, (&stack).call(request)).await.ok()?;
        Some((began.elapsed(), answered.err()?.code()))
    }

    #[tokio::test(start_paused = true)]
    async fn what_lasts_from_the_beginning_has_no_deadline_and_all_else_has_it_from_when_it_came() {
        let secs = std::time::Duration::from_secs;
        for (lasts, waited, expected) in [
            (Lasts::Short, secs(0), Some((REQUEST_TIMEOUT, 504))),
            (Lasts::Short, secs(40), Some((REQUEST_TIMEOUT, 504))),
            (Lasts::Watch, secs(0), Some((REQUEST_TIMEOUT, 504))),
            (Lasts::Open, secs(0), None),
        ] {
            let given_up = given_up(lasts, waited, Ok(None)).await;
            let given_up = given_up.map(|(took, code)| (secs(took.as_secs()), code));
            assert_eq!(given_up, expected, "{lasts:?}, {waited:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_may_wait_for_less_and_not_for_more() {
        let secs = std::time::Duration::from_secs;
        for (lasts, timeout, expected) in [
            (Lasts::Short, Ok(Some(secs(5))), Some((secs(5), 504))),
            (Lasts::Short, Ok(Some(secs(0))), Some((REQUEST_TIMEOUT, 504))),
            (Lasts::Short, Ok(Some(2 * REQUEST_TIMEOUT)), Some((REQUEST_TIMEOUT, 504))),
            (Lasts::Short, Err(ApiError::bad_request("no time")), Some((secs(0), 400))),
            (Lasts::Watch, Ok(Some(secs(5))), Some((REQUEST_TIMEOUT, 504))),
            (Lasts::Watch, Err(ApiError::bad_request("no time")), Some((REQUEST_TIMEOUT, 504))),
            (Lasts::Open, Ok(Some(secs(5))), None),
        ] {
            let why = format!("{lasts:?}, {timeout:?}");
            let given_up = given_up(lasts, secs(0), timeout).await;
            assert_eq!(given_up.map(|(took, code)| (secs(took.as_secs()), code)), expected, "{why}");
        }
    }
}
