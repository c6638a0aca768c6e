//! SPDY/3.1, as much of it as kubectl speaks: frames in bytes. Pure; `session` does the I/O.
//!
//! Shape: SPDY Protocol Draft 3.1 (Chromium project), sections 2.2 and 2.6. kubectl up to 1.30 talks it for exec, attach
//! and port-forward, later ones as their second choice, and for port-forward inside a WebSocket.

pub mod headers;
pub mod session;

use bytes::{Buf, BufMut, Bytes, BytesMut};

pub use headers::HeaderCodec;

/// One frame's payload. kubectl writes 32 KiB at a time.
pub const MAX_FRAME_BYTES: usize = 1024 * 1024;
pub const HEAD_BYTES: usize = 8;
const VERSION: u16 = 3;
const FLAG_FIN: u8 = 1;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpdyError {
    #[error("a SPDY frame of {0} bytes is too large")]
    TooLarge(usize),
    #[error("a SPDY frame of version {0}, not 3")]
    Version(u16),
    #[error("a SPDY frame of type {0} that breaks off")]
    Short(u16),
    #[error("a SPDY header block that cannot be read: {0}")]
    Headers(&'static str),
}

/// What may come from the other side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    SynStream {
        id: u32,
        headers: Vec<(String, String)>,
        fin: bool,
    },
    SynReply {
        id: u32,
    },
    Reset {
        id: u32,
    },
    Ping {
        id: u32,
    },
    GoAway,
    Data {
        id: u32,
        data: Bytes,
        fin: bool,
    },
    /// SETTINGS, WINDOW_UPDATE, HEADERS: read over. kubectl's side keeps no windows.
    Other,
}

/// The first eight bytes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Type of a control frame; `None`: data.
    control: Option<u16>,
    /// Of a data frame.
    id: u32,
    flags: u8,
    pub len: usize,
}

impl Head {
    pub fn read(bytes: [u8; HEAD_BYTES]) -> Result<Self, SpdyError> {
        let mut buf = &bytes[..];
        let word = buf.get_u32();
        let (flags, len) = (bytes[4], u32::from_be_bytes([0, bytes[5], bytes[6], bytes[7]]) as usize);
        if len > MAX_FRAME_BYTES {
            return Err(SpdyError::TooLarge(len));
        }
        if word & 0x8000_0000 == 0 {
            return Ok(Self { control: None, id: word, flags, len });
        }
        let (version, kind) = ((word >> 16) as u16 & 0x7fff, (word & 0xffff) as u16);
        if version != VERSION {
            return Err(SpdyError::Version(version));
        }
        Ok(Self { control: Some(kind), id: 0, flags, len })
    }

    /// Reads the payload, which is `len` bytes. Header blocks change the state of `codec`, so every frame must pass here.
    pub fn frame(self, mut payload: Bytes, codec: &mut HeaderCodec) -> Result<Frame, SpdyError> {
        let fin = self.flags & FLAG_FIN != 0;
        let Some(kind) = self.control else { return Ok(Frame::Data { id: self.id, data: payload, fin }) };
        let needed = match kind {
            1 => 10,
            2 | 3 | 6 | 8 => 4,
            _ => 0,
        };
        if payload.len() < needed {
            return Err(SpdyError::Short(kind));
        }
        Ok(match kind {
            1 => {
                let id = payload.get_u32() & 0x7fff_ffff;
                payload.advance(6);
                Frame::SynStream { id, headers: codec.read(&payload)?, fin }
            }
            2 => {
                let id = payload.get_u32() & 0x7fff_ffff;
                codec.read(&payload)?;
                Frame::SynReply { id }
            }
            3 => Frame::Reset { id: payload.get_u32() & 0x7fff_ffff },
            6 => Frame::Ping { id: payload.get_u32() },
            7 => Frame::GoAway,
            8 => {
                payload.advance(4);
                codec.read(&payload)?;
                Frame::Other
            }
            _ => Frame::Other,
        })
    }
}

fn control(kind: u16, flags: u8, payload: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(HEAD_BYTES + payload.len());
    out.put_u16(0x8000 | VERSION);
    out.put_u16(kind);
    // Lengths of control frames of ours are a few dozen bytes.
    out.put_u32((u32::from(flags) << 24) | (payload.len() as u32 & 0x00ff_ffff));
    out.put_slice(payload);
    out.freeze()
}

/// Accepts a stream.
pub fn syn_reply(id: u32, codec: &mut HeaderCodec) -> Result<Bytes, SpdyError> {
    let mut payload = id.to_be_bytes().to_vec();
    codec.write_empty(&mut payload)?;
    Ok(control(2, 0, &payload))
}

/// Why a stream is reset. Section 2.6.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResetReason {
    RefusedStream = 3,
    Cancel = 5,
}

pub fn reset(id: u32, reason: ResetReason) -> Bytes {
    let mut payload = id.to_be_bytes().to_vec();
    payload.extend((reason as u32).to_be_bytes());
    control(3, 0, &payload)
}
pub fn ping(id: u32) -> Bytes {
    control(6, 0, &id.to_be_bytes())
}
/// No more streams after `last`; status 0: all is well.
pub fn go_away(last: u32) -> Bytes {
    let mut payload = last.to_be_bytes().to_vec();
    payload.extend(0_u32.to_be_bytes());
    control(7, 0, &payload)
}
/// Head of a data frame; the data follows as it is. `len` is at most [`MAX_FRAME_BYTES`].
pub fn data_head(id: u32, len: usize, fin: bool) -> Bytes {
    let mut out = BytesMut::with_capacity(HEAD_BYTES);
    out.put_u32(id & 0x7fff_ffff);
    out.put_u32((u32::from(if fin { FLAG_FIN } else { 0 }) << 24) | (len as u32 & 0x00ff_ffff));
    out.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(bytes: &[u8], codec: &mut HeaderCodec) -> Result<Frame, SpdyError> {
        let (head, payload) = bytes.split_at(HEAD_BYTES);
        let head = Head::read(head.try_into().unwrap())?;
        assert_eq!(head.len, payload.len());
        head.frame(Bytes::copy_from_slice(payload), codec)
    }

    #[test]
    fn frames_read_as_written() {
        let mut ours = HeaderCodec::default();
        let mut theirs = HeaderCodec::default();
        let reply = syn_reply(5, &mut ours).unwrap();
        assert_eq!(parse(&reply, &mut theirs), Ok(Frame::SynReply { id: 5 }));
        let reply = syn_reply(7, &mut ours).unwrap();
        assert_eq!(parse(&reply, &mut theirs), Ok(Frame::SynReply { id: 7 }), "the second block of one stream");
        assert_eq!(parse(&reset(5, ResetReason::Cancel), &mut theirs), Ok(Frame::Reset { id: 5 }));
        assert_eq!(parse(&ping(9), &mut theirs), Ok(Frame::Ping { id: 9 }));
        assert_eq!(parse(&go_away(9), &mut theirs), Ok(Frame::GoAway));
        let mut data = data_head(3, 2, true).to_vec();
        data.extend(b"hi");
        assert_eq!(parse(&data, &mut theirs), Ok(Frame::Data { id: 3, data: "hi".into(), fin: true }));
    }

    #[test]
    fn bad_frames_are_errors() {
        assert_eq!(Head::read([0x80, 2, 0, 1, 0, 0, 0, 0]), Err(SpdyError::Version(2)));
        assert_eq!(Head::read([0, 0, 0, 1, 0, 0xff, 0xff, 0xff]), Err(SpdyError::TooLarge(0x00ff_ffff)));
        assert_eq!(parse(&[0x80, 3, 0, 1, 0, 0, 0, 1, 0], &mut HeaderCodec::default()), Err(SpdyError::Short(1)));
    }
}
