//! One request to what is behind the proxy, and its response: both bodies flow as fast as the slower side takes them.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use corten_api::error::with_causes;
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::dial::Connection;
use crate::flowcontrol::long_running::LongRunning;
use crate::rest::body::BoxError;

/// Of one connection: the heads of messages, and what of a body is on its way.
const BUFFER_BYTES: usize = 64 * 1024;

/// Keeps the connection going; it ends when this is dropped.
#[derive(Debug)]
pub struct Open {
    _task: AbortOnDropHandle<()>,
}

/// When the client's body last moved.
#[derive(Clone, Debug)]
struct Progress(Arc<Mutex<Instant>>);

/// A request's body on its way.
#[derive(Debug)]
pub struct Upload {
    body: Incoming,
    progress: Progress,
}

impl http_body::Body for Upload {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = self.get_mut();
        let polled = ready!(Pin::new(&mut this.body).poll_frame(cx));
        *this.progress.0.lock() = Instant::now();
        Poll::Ready(polled)
    }
    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A response's body on its way. Counted as long as it streams.
#[derive(Debug)]
pub struct Download {
    body: Incoming,
    _open: Open,
    _counted: LongRunning,
}

impl Download {
    pub fn new(body: Incoming, open: Open, counted: LongRunning) -> Self {
        Self { body, _open: open, _counted: counted }
    }
}

impl http_body::Body for Download {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Pin::new(&mut self.get_mut().body).poll_frame(cx).map_err(BoxError::from)
    }
    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Sends a request and waits for the head of its response. `patience`: how long that may take once the request's body moves no
/// more. The error says why there is none.
pub async fn send(
    connection: Connection,
    request: Request<Incoming>,
    patience: Duration,
) -> Result<(Response<Incoming>, Open), String> {
    let handshake = http1::Builder::new().max_buf_size(BUFFER_BYTES).handshake(TokioIo::new(connection));
    let (mut sender, driven) = handshake.await.map_err(|err| told(&err))?;
    let task = tokio::spawn(async move {
        if let Err(err) = driven.with_upgrades().await {
            tracing::debug!("a proxied connection ended: {err}");
        }
    });
    let open = Open { _task: AbortOnDropHandle::new(task) };
    let progress = Progress(Arc::new(Mutex::new(Instant::now())));
    let request = request.map(|body| Upload { body, progress: progress.clone() });
    let mut response = std::pin::pin!(sender.send_request(request));
    loop {
        let due = *progress.0.lock() + patience;
        tokio::select! {
            response = &mut response => return Ok((response.map_err(|err| told(&err))?, open)),
            () = tokio::time::sleep_until(due) => {
                if *progress.0.lock() + patience <= Instant::now() {
                    return Err("timeout awaiting response headers".into());
                }
            }
        }
    }
}

fn told(err: &hyper::Error) -> String {
    if err.is_incomplete_message() { "EOF".into() } else { with_causes(err) }
}
