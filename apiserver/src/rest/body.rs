//! Response bodies: whole, joined from pieces as they are sent, streamed, gRPC's, or another server's.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{BufMut, Bytes, BytesMut};
use futures::stream::BoxStream;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;

pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Bodies are sent in frames of about this size, and pieces of a list are copied into them: one write each, and little
/// memory beside the cache's.
const FRAME_BYTES: usize = 64 * 1024;
/// What is read to make one frame: it is made between other work of the thread.
const FRAME_MADE_OF_BYTES: usize = 256 * 1024;
/// The last frame is no larger. It is all of a body that the connection keeps for a client which takes none of it; who
/// leaves more lying is seen to (`serve/responses.rs`).
const LAST_FRAME_BYTES: usize = 8 * 1024;

pub enum Body {
    Whole(Option<Bytes>),
    Joined(Joined),
    Stream(BoxStream<'static, Result<Bytes, BoxError>>),
    Grpc(tonic::body::Body),
    /// An answer of gRPC that lasts as long as the client likes.
    GrpcStream(tonic::body::Body),
    /// What another server sends, as it comes.
    Relayed(UnsyncBoxBody<Bytes, BoxError>),
}

impl Body {
    pub fn whole(bytes: impl Into<Bytes>) -> Self {
        Self::Whole(Some(bytes.into()))
    }
    pub fn empty() -> Self {
        Self::Whole(None)
    }
    pub fn relayed(body: impl http_body::Body<Data = Bytes, Error = BoxError> + Send + 'static) -> Self {
        Self::Relayed(body.boxed_unsync())
    }
    /// `head`, the items with commas between, `tail`.
    pub fn joined(head: Bytes, items: Vec<Bytes>, tail: Bytes) -> Self {
        let commas = items.len().saturating_sub(1);
        let left = head.len() + items.iter().map(Bytes::len).sum::<usize>() + commas + tail.len();
        let items = Box::new(items.into_iter().map(|bytes| Piece { bytes, made_of: 0 }));
        Self::Joined(Joined { head: Some(head), items, commas: Commas::None, tail: Some(tail), last: None, left })
    }
    /// `head` and the items one after the other, made as they are sent; `items_len`: bytes of all items.
    pub fn pieces(head: Bytes, items: Box<dyn Iterator<Item = Piece> + Send>, items_len: usize) -> Self {
        let left = head.len() + items_len;
        Self::Joined(Joined { head: Some(head), items, commas: Commas::Never, tail: None, last: None, left })
    }
    /// How many bytes it will be, if that is known.
    pub fn known_len(&self) -> Option<usize> {
        match self {
            Self::Whole(bytes) => Some(bytes.as_ref().map_or(0, Bytes::len)),
            Self::Joined(joined) => Some(joined.left),
            Self::Stream(_) | Self::Grpc(_) | Self::GrpcStream(_) | Self::Relayed(_) => None,
        }
    }
    /// It is sent as things happen, and not as fast as the client takes it.
    pub fn lasts(&self) -> bool {
        matches!(self, Self::Stream(_) | Self::GrpcStream(_) | Self::Relayed(_))
    }
}

/// Takes a frame from the front.
fn next_frame(bytes: &mut Option<Bytes>) -> Option<Bytes> {
    let left = bytes.as_mut()?;
    match left.len().checked_sub(LAST_FRAME_BYTES) {
        None | Some(0) => bytes.take(),
        Some(before_last) => Some(left.split_to(before_last.min(FRAME_BYTES))),
    }
}

/// Whether a comma stands before the next item.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Commas {
    Never,
    /// Not yet: it is the first.
    None,
    Before,
}

/// An item as it is sent.
#[derive(Clone, Debug)]
pub struct Piece {
    pub bytes: Bytes,
    /// Bytes that were read to make it, while it was asked for.
    pub made_of: usize,
}

/// A list on its way out.
pub struct Joined {
    head: Option<Bytes>,
    items: Box<dyn Iterator<Item = Piece> + Send>,
    commas: Commas,
    tail: Option<Bytes>,
    last: Option<Bytes>,
    left: usize,
}

impl Iterator for Joined {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        if self.left == 0 {
            return None;
        }
        if let Some(last) = self.last.take() {
            self.left = 0;
            return Some(last);
        }
        let mut frame = BytesMut::with_capacity(self.left.min(FRAME_BYTES + FRAME_BYTES / 4));
        if let Some(head) = self.head.take() {
            frame.put(head);
        }
        let mut made_of = 0;
        while frame.len() < FRAME_BYTES && made_of < FRAME_MADE_OF_BYTES {
            let Some(item) = self.items.next() else {
                if let Some(tail) = self.tail.take() {
                    frame.put(tail);
                }
                break;
            };
            match self.commas {
                Commas::Never => {}
                Commas::None => self.commas = Commas::Before,
                Commas::Before => frame.put_u8(b','),
            }
            made_of += item.made_of;
            frame.put(item.bytes);
        }
        // Items that came out shorter than was said: the connection sees that, and ends.
        if frame.is_empty() {
            self.left = 0;
            return None;
        }
        self.left = self.left.saturating_sub(frame.len());
        if self.left == 0 && frame.len() > LAST_FRAME_BYTES {
            let last = frame.split_off(frame.len() - LAST_FRAME_BYTES);
            self.left = last.len();
            self.last = Some(last.freeze());
        }
        Some(frame.freeze())
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(next_frame(bytes).map(|b| Ok(Frame::data(b)))),
            Self::Joined(joined) => Poll::Ready(joined.next().map(|b| Ok(Frame::data(b)))),
            Self::Stream(stream) => stream.as_mut().poll_next(cx).map(|item| item.map(|r| r.map(Frame::data))),
            Self::Grpc(body) | Self::GrpcStream(body) => Pin::new(body).poll_frame(cx).map_err(BoxError::from),
            Self::Relayed(body) => Pin::new(body).poll_frame(cx),
        }
    }
    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_none(),
            Self::Joined(joined) => joined.left == 0,
            Self::Stream(_) => false,
            Self::Grpc(body) | Self::GrpcStream(body) => http_body::Body::is_end_stream(body),
            Self::Relayed(body) => http_body::Body::is_end_stream(body),
        }
    }
    fn size_hint(&self) -> SizeHint {
        match (self.known_len(), self) {
            (Some(len), _) => SizeHint::with_exact(len as u64),
            (None, Self::Grpc(body) | Self::GrpcStream(body)) => http_body::Body::size_hint(body),
            (None, Self::Relayed(body)) => http_body::Body::size_hint(body),
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
            let frames: Vec<Bytes> = joined.collect();
            assert!(frames.last().is_some_and(|last| last.len() <= LAST_FRAME_BYTES));
            assert_eq!(String::from_utf8(frames.concat()).unwrap(), expected);
        }
    }

    #[test]
    fn pieces_are_made_as_they_are_sent() {
        let items = (0..5).map(|n| Bytes::from(vec![n; FRAME_BYTES / 2]));
        let expected: Vec<u8> = b"head".iter().copied().chain(items.clone().flatten()).collect();
        let pieces = items.map(|bytes| Piece { bytes, made_of: 0 });
        let body = Body::pieces("head".into(), Box::new(pieces), expected.len() - 4);
        assert_eq!(body.known_len(), Some(expected.len()));
        let Body::Joined(joined) = body else { unreachable!("pieces make Joined") };
        assert_eq!(joined.collect::<Vec<_>>().concat(), expected);
        let short = Body::pieces("head".into(), Box::new(std::iter::empty()), 10);
        let Body::Joined(joined) = short else { unreachable!("pieces make Joined") };
        assert_eq!(joined.collect::<Vec<_>>().concat(), b"head", "what is missing is no endless loop");
    }

    #[test]
    fn small_pieces_of_large_things_do_not_come_all_at_once() {
        let pieces = (0..100).map(|_| Piece { bytes: "x".into(), made_of: FRAME_MADE_OF_BYTES / 2 });
        let Body::Joined(joined) = Body::pieces(Bytes::new(), Box::new(pieces), 100) else {
            unreachable!("pieces make Joined")
        };
        assert_eq!(joined.map(|frame| frame.len()).collect::<Vec<_>>(), [2; 50]);
    }

    #[tokio::test]
    async fn a_whole_body_goes_out_in_frames_the_last_of_them_small() {
        use http_body_util::BodyExt;
        for len in [0, 1, LAST_FRAME_BYTES, LAST_FRAME_BYTES + 1, FRAME_BYTES, 3 * FRAME_BYTES + 7] {
            let bytes: Vec<u8> = (0..len).map(|n| u8::try_from(n % 251).unwrap()).collect();
            let mut body = Body::whole(bytes.clone());
            let mut frames = Vec::new();
            while !http_body::Body::is_end_stream(&body) {
                frames.push(body.frame().await.unwrap().unwrap().into_data().unwrap());
            }
            assert!(frames.iter().all(|frame| frame.len() <= FRAME_BYTES), "{len}");
            assert!(frames.last().is_some_and(|last| last.len() <= LAST_FRAME_BYTES), "{len}");
            assert_eq!(frames.concat(), bytes, "{len}");
        }
    }
}
