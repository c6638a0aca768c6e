//! A response's body that counts its request as at work until the last of it is sent, or given up, and that is missed
//! when the client leaves it lying.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::connections::Busy;
use super::responses::{Responses, Sending};
use crate::rest::body::{Body, BoxError};

pub(super) struct Counted {
    body: Body,
    sending: Option<Sending>,
    _busy: Busy,
}

impl Counted {
    pub(super) fn new(body: Body, busy: Busy, responses: &Responses) -> Self {
        let sending = (!body.lasts()).then(|| responses.begin());
        Self { body, sending, _busy: busy }
    }
}

impl http_body::Body for Counted {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.body).poll_frame(cx);
        match (&this.sending, &polled) {
            (Some(sending), Poll::Ready(Some(Ok(_)))) => sending.offered(),
            (Some(sending), Poll::Pending) => sending.pending(),
            (Some(_), Poll::Ready(None | Some(Err(_)))) => this.sending = None,
            (None, _) => {}
        }
        polled
    }
    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
