//! Bodies, received within their bounds: of size, of pace, and of what all that are not whole hold together.
//!
//! A body that is there when its request's turn has come is read while the request holds its seats. One that is not
//! gives them back until it is whole: who sends slowly keeps nobody from being served.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use corten_api::{ApiError, Reason};
use http::header::{CONTENT_LENGTH, EXPECT};
use http::{HeaderMap, Version};
use http_body::Body as _;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::unfinished::{Share, Unfinished};
use crate::decode::MAX_BODY_BYTES;
use crate::flowcontrol::seat::Seat;

/// Of a body that is too large, so much more is taken and thrown away: a client that is cut off while it still writes
/// sees a broken connection instead of the answer.
const MAX_DISCARDED_BYTES: usize = 16 * 1024 * 1024;
const DISCARD_DEADLINE: Duration = Duration::from_secs(5);
/// So long a request holds its seats while its body comes.
const PROMPT: Duration = Duration::from_millis(500);
/// After this much grace a body must have come at this pace, or it is given up.
const PACE_GRACE: Duration = Duration::from_secs(5);
const PACE_BYTES_PER_SEC: u32 = 16 * 1024;

/// A body on its way.
#[derive(Debug)]
pub struct Arriving {
    incoming: Incoming,
    max: usize,
    announced: Option<usize>,
    pieces: Pieces,
    /// Since when it is waited for, and what had come by then.
    since: Option<(Instant, usize)>,
    /// What was read of it before its request's turn.
    _share: Option<Share>,
}

/// What has come. Most bodies come in one piece and need no copy.
#[derive(Debug, Default)]
struct Pieces {
    first: Option<Bytes>,
    joined: BytesMut,
}

impl Pieces {
    fn len(&self) -> usize {
        self.joined.len() + self.first.as_ref().map_or(0, Bytes::len)
    }
    fn add(&mut self, data: Bytes, announced: Option<usize>) {
        match self.first.take() {
            None if self.joined.is_empty() => self.first = Some(data),
            before => {
                self.joined.reserve(announced.unwrap_or(0).saturating_sub(self.joined.len()));
                self.joined.extend_from_slice(&before.unwrap_or_default());
                self.joined.extend_from_slice(&data);
            }
        }
    }
    fn seen(&self) -> &[u8] {
        self.first.as_deref().unwrap_or(&self.joined)
    }
    fn take(&mut self) -> Bytes {
        self.first.take().unwrap_or_else(|| std::mem::take(&mut self.joined).freeze())
    }
}

/// Whether what has come so far came fast enough. The time at which more must be there.
fn due(since: Instant, received: usize) -> Instant {
    let earned = u64::try_from(received).unwrap_or(u64::MAX) / u64::from(PACE_BYTES_PER_SEC);
    since + PACE_GRACE + Duration::from_secs(earned)
}

impl Arriving {
    /// `max`: bytes.
    pub fn new(headers: &HeaderMap, incoming: Incoming, max: usize) -> Self {
        let announced = headers.get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<usize>().ok());
        Self { incoming, max, announced, pieces: Pieces::default(), since: None, _share: None }
    }
    /// As it comes, for whoever passes it on. Nobody may have read of it.
    pub fn into_incoming(self) -> Result<Incoming, ApiError> {
        if self.pieces.len() > 0 {
            return Err(ApiError::internal("the body was read before"));
        }
        Ok(self.incoming)
    }
    /// What has been read so far counts as long as this is there.
    pub fn holds(&mut self, share: Share) {
        self._share = Some(share);
    }
    /// What has come so far.
    pub fn seen(&self) -> &[u8] {
        self.pieces.seen()
    }
    /// Waits for more; `false` at the end. Nothing is lost if this is dropped. How long the whole will be is not looked at: who
    /// reads the beginning does not know yet whether its sender may send it.
    pub async fn more(&mut self) -> Result<bool, ApiError> {
        let (since, before) = *self.since.get_or_insert_with(|| (Instant::now(), self.pieces.len()));
        let due = due(since, self.pieces.len() - before);
        let frame = tokio::time::timeout_at(due, self.incoming.frame()).await.map_err(|_| too_slow())?;
        let Some(frame) = frame else { return Ok(false) };
        let frame = frame.map_err(|err| ApiError::bad_request(format!("the body could not be read: {err}")))?;
        let Ok(data) = frame.into_data() else { return Ok(true) };
        if self.pieces.len() + data.len() > self.max {
            discard(&mut self.incoming).await;
            return Err(too_large());
        }
        self.pieces.add(data, self.announced);
        Ok(true)
    }
    async fn rest(&mut self) -> Result<(), ApiError> {
        if self.announced.is_some_and(|len| len > self.max) {
            discard(&mut self.incoming).await;
            return Err(too_large());
        }
        while self.more().await? {}
        Ok(())
    }
    /// Nobody waited for it meanwhile: its client is not to blame for that time.
    fn waits_again(&mut self) {
        self.since = None;
    }
}

/// A request's body, for whoever takes it first: a handler that reads it, or, once the request is answered without it, who
/// throws it away.
#[derive(Clone, Debug, Default)]
pub struct Unread(Arc<Mutex<Option<Arriving>>>);

impl Unread {
    pub fn new(arriving: Arriving) -> Self {
        Self(Arc::new(Mutex::new(Some(arriving))))
    }
    pub fn take(&self) -> Result<Arriving, ApiError> {
        self.0.lock().take().ok_or_else(|| ApiError::internal("the body was taken before"))
    }
    /// What was begun is to be read on by somebody else.
    pub fn put_back(&self, arriving: Arriving) {
        *self.0.lock() = Some(arriving);
    }
    /// Whether what nobody reads of it must be taken all the same. HTTP/1.1 has no other way to keep the answer: a connection that
    /// is closed on a client which still writes is reset, and the answer may be lost with it.
    pub fn is_to_be_discarded(&self, headers: &HeaderMap, version: Version) -> bool {
        let waits_to_be_asked = headers.contains_key(EXPECT);
        let comes = || self.0.lock().as_ref().is_some_and(|arriving| !arriving.incoming.is_end_stream());
        version < Version::HTTP_2 && !waits_to_be_asked && comes()
    }
    /// Takes what nobody has read.
    pub async fn discard(&self) {
        let left = self.0.lock().take();
        if let Some(mut left) = left {
            discard(&mut left.incoming).await;
        }
    }
}

/// The whole body. `seat` is given back while a slow one comes, and taken again then.
pub async fn whole(
    unfinished: &Arc<Unfinished>,
    user: &str,
    seat: &mut Seat,
    mut body: Arriving,
) -> Result<Bytes, ApiError> {
    body.waits_again();
    let prompt = tokio::time::timeout(PROMPT, body.rest()).await;
    match prompt {
        Ok(received) => received?,
        Err(_) => {
            seat.release();
            // Counted as large as it may become, until it has a seat again.
            let mut counted = unfinished.share(user);
            counted.grow(MAX_BODY_BYTES)?;
            body.rest().await?;
            seat.retake().await?;
        }
    }
    Ok(body.pieces.take())
}

/// In upstream's words, by whichever door: of a gRPC message the envelope is not counted.
fn too_large() -> ApiError {
    ApiError::new(Reason::RequestEntityTooLarge, format!("Request entity too large: limit is {MAX_BODY_BYTES}"))
}

/// 408, for which Kubernetes has no reason of its own.
fn too_slow() -> ApiError {
    let mut status = ApiError::new(Reason::Timeout, "Timeout: the request's body came too slowly").status().clone();
    status.code = Some(408);
    ApiError::from_status(status)
}

async fn discard(incoming: &mut Incoming) {
    let mut left = MAX_DISCARDED_BYTES;
    let swallow = async {
        while let Some(Ok(frame)) = incoming.frame().await {
            let len = frame.data_ref().map_or(0, Bytes::len);
            if len > left {
                break;
            }
            left -= len;
        }
    };
    // A client that is slow to send what nobody wants is cut off.
    let _in_time = tokio::time::timeout(DISCARD_DEADLINE, swallow).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_must_keep_its_pace() {
        let since = Instant::now();
        for (received, secs) in [(0, 5), (16 * 1024 - 1, 5), (16 * 1024, 6), (3 * 1024 * 1024, 5 + 192)] {
            assert_eq!(due(since, received) - since, Duration::from_secs(secs), "{received} bytes");
        }
    }

    #[test]
    fn pieces_are_joined_in_order() {
        for pieces in [vec![], vec!["a"], vec!["a", "", "bc"]] {
            let mut have = Pieces::default();
            for piece in &pieces {
                have.add(Bytes::from_static(piece.as_bytes()), Some(3));
                assert!(pieces.concat().as_bytes().starts_with(have.seen()));
            }
            assert_eq!(have.take(), pieces.concat());
        }
    }
}
