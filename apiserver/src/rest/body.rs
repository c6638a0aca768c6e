//! Response bodies: whole, joined from pieces as they are sent, streamed, or gRPC's.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{BufMut, Bytes, BytesMut};
use futures::stream::BoxStream;
use http_body::{Frame, SizeHint};

pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Pieces of a list are copied into frames of about this size: one write each, and little memory beside the cache's.
const FRAME_BYTES: usize = 64 * 1024;

pub enum Body {
    Whole(Option<Bytes>),
    Joined(Joined),
    Stream(BoxStream<'static, Result<Bytes, BoxError>>),
    Grpc(tonic::body::Body),
}

impl Body {
    pub fn whole(bytes: impl Into<Bytes>) -> Self {
        Self::Whole(Some(bytes.into()))
    }
    pub fn empty() -> Self {
        Self::Whole(None)
    }
    /// `head`, the items with commas between, `tail`.
    pub fn joined(head: Bytes, items: Vec<Bytes>, tail: Bytes) -> Self {
        let commas = items.len().saturating_sub(1);
        let left = head.len() + items.iter().map(Bytes::len).sum::<usize>() + commas + tail.len();
        Self::Joined(Joined { head: Some(head), items: items.into_iter(), comma: false, tail: Some(tail), left })
    }
    /// How many bytes it will be, if that is known.
    pub fn known_len(&self) -> Option<usize> {
        match self {
            Self::Whole(bytes) => Some(bytes.as_ref().map_or(0, Bytes::len)),
            Self::Joined(joined) => Some(joined.left),
            Self::Stream(_) | Self::Grpc(_) => None,
        }
    }
}

/// A list on its way out.
pub struct Joined {
    head: Option<Bytes>,
    items: std::vec::IntoIter<Bytes>,
    comma: bool,
    tail: Option<Bytes>,
    left: usize,
}

impl Iterator for Joined {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        if self.left == 0 {
            return None;
        }
        let mut frame = BytesMut::with_capacity(self.left.min(FRAME_BYTES + FRAME_BYTES / 4));
        if let Some(head) = self.head.take() {
            frame.put(head);
        }
        while frame.len() < FRAME_BYTES {
            let Some(item) = self.items.next() else {
                if let Some(tail) = self.tail.take() {
                    frame.put(tail);
                }
                break;
            };
            if self.comma {
                frame.put_u8(b',');
            }
            self.comma = true;
            frame.put(item);
        }
        self.left -= frame.len();
        Some(frame.freeze())
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|b| Ok(Frame::data(b)))),
            Self::Joined(joined) => Poll::Ready(joined.next().map(|b| Ok(Frame::data(b)))),
            Self::Stream(stream) => stream.as_mut().poll_next(cx).map(|item| item.map(|r| r.map(Frame::data))),
            Self::Grpc(body) => Pin::new(body).poll_frame(cx).map_err(BoxError::from),
        }
    }
    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_none(),
            Self::Joined(joined) => joined.left == 0,
            Self::Stream(_) => false,
            Self::Grpc(body) => http_body::Body::is_end_stream(body),
        }
    }
    fn size_hint(&self) -> SizeHint {
        match (self.known_len(), self) {
            (Some(len), _) => SizeHint::with_exact(len as u64),
            (None, Self::Grpc(body)) => http_body::Body::size_hint(body),
            (None, _) => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joined_is_head_items_tail() {
        let big = "x".repeat(FRAME_BYTES);
        for items in [vec![], vec!["a"], vec!["a", "b", "c"], vec![&big, "b", &big]] {
            let expected = format!("[{}]", items.join(","));
            let bytes = items.iter().map(|i| Bytes::copy_from_slice(i.as_bytes())).collect();
            let body = Body::joined("[".into(), bytes, "]".into());
            assert_eq!(body.known_len(), Some(expected.len()));
            let Body::Joined(joined) = body else { unreachable!("joined makes Joined") };
            let sent: Vec<u8> = joined.flatten().collect();
            assert_eq!(String::from_utf8(sent).unwrap(), expected);
        }
    }
}
