//! The body of a stream: messages, each of them small, as long as its client likes.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use corten_api::{ApiError, Reason};
use corten_proto::status;
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use tonic::Status;

use crate::flowcontrol::long_running::LongRunning;
use crate::rest::respond;

/// A compression flag and a length stand before each message.
const PREFIX_BYTES: usize = 5;
/// A bind names a namespace, a pod, its uid and a node; other streams are asked for with less.
pub(super) const STREAM_MESSAGE_BYTES_MAX: usize = 4 * 1024;

/// What a client goes on sending. It is counted from before its first message on, until this is dropped: a message that is
/// announced and does not come holds a place, and no more room than one message may take.
pub(super) struct Messages {
    incoming: Incoming,
    framing: Framing,
    _counted: LongRunning,
}

impl Messages {
    pub(super) fn new(incoming: Incoming, counted: LongRunning) -> Self {
        Self { incoming, framing: Framing::default(), _counted: counted }
    }
}

impl http_body::Body for Messages {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        let Some(frame) = ready!(Pin::new(&mut this.incoming).poll_frame(cx)) else { return Poll::Ready(None) };
        let frame = frame.map_err(|err| Status::from_error(err.into()));
        // Whoever reads messages makes room for one as soon as he sees its length.
        Poll::Ready(Some(frame.and_then(|frame| match frame.data_ref().map(|data| this.framing.pass(data)) {
            Some(Err(TooLarge)) => Err(too_large()),
            Some(Ok(())) | None => Ok(frame),
        })))
    }
    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }
    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

fn too_large() -> Status {
    let text = format!("Request entity too large: limit is {STREAM_MESSAGE_BYTES_MAX}");
    let why = ApiError::new(Reason::RequestEntityTooLarge, text);
    status::to_grpc(why.code(), why.message(), respond::status_json(&why))
}

#[derive(Debug, PartialEq, Eq)]
struct TooLarge;

/// Where in its message the next byte stands.
#[derive(Debug, Default)]
struct Framing {
    prefix: [u8; PREFIX_BYTES],
    /// Of the prefix, so much is there.
    have: usize,
    /// Of the message behind it, so much is to come.
    left: usize,
}

impl Framing {
    /// Goes over what has come. Looks at lengths alone: what a message is its reader finds out.
    fn pass(&mut self, mut bytes: &[u8]) -> Result<(), TooLarge> {
        while !bytes.is_empty() {
            let of_message = self.left.min(bytes.len());
            self.left -= of_message;
            bytes = &bytes[of_message..];
            let Some((byte, rest)) = bytes.split_first() else { break };
            self.prefix[self.have] = *byte;
            self.have += 1;
            bytes = rest;
            if self.have == PREFIX_BYTES {
                let [_, a, b, c, d] = self.prefix;
                self.left = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
                self.have = 0;
                if self.left > STREAM_MESSAGE_BYTES_MAX {
                    return Err(TooLarge);
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(announced: usize, come: usize) -> Vec<u8> {
        [&[0][..], &u32::try_from(announced).unwrap().to_be_bytes(), &vec![7; come]].concat()
    }

    #[test]
    fn a_message_that_announces_too_much_is_found_wherever_it_begins() {
        let most = message(STREAM_MESSAGE_BYTES_MAX, STREAM_MESSAGE_BYTES_MAX);
        let (small, empty, large) = (message(3, 3), message(0, 0), message(STREAM_MESSAGE_BYTES_MAX + 1, 0));
        let cases = [
            ("nothing", vec![], Ok(())),
            ("half a prefix", large[..4].to_vec(), Ok(())),
            ("the largest", most.clone(), Ok(())),
            ("many", [&most[..], &empty, &small, &most].concat(), Ok(())),
            ("too large, of which nothing has come", large.clone(), Err(TooLarge)),
            ("too large behind others", [&small[..], &empty, &most, &large].concat(), Err(TooLarge)),
        ];
        for (why, bytes, expected) in cases {
            for piece in [1, 2, 5, 7, bytes.len().max(1)] {
                let mut framing = Framing::default();
                let passed = bytes.chunks(piece).try_for_each(|piece| framing.pass(piece));
                assert_eq!(passed, expected, "{why}, in pieces of {piece}");
            }
        }
    }
}
