//! How exec's channels are written in WebSocket messages: the subprotocols differ in that, and in how an end is told.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{BufMut, Bytes, BytesMut};
use tokio_tungstenite::tungstenite::Message;

use super::ending::Ending;
use super::{V4, V5};

/// In place of a channel's number: the client closes the channel whose number follows. Since v5.
const CLOSE: u8 = 255;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Dialect {
    /// Text: the number as a digit, the data in base64. Otherwise binary, both as they are.
    base64: bool,
    /// The last message is a Status, always. Before v4 it is a sentence, and only if something went wrong.
    tells_status: bool,
    closes_channels: bool,
}

impl Dialect {
    /// `None`: the client named no subprotocol, and speaks as clients did before there were names.
    pub(super) fn of(subprotocol: Option<&str>) -> Self {
        let name = subprotocol.unwrap_or_default();
        let since_v4 = [V4, V5, "v4.base64.channel.k8s.io"].contains(&name);
        Self { base64: name.contains("base64"), tells_status: since_v4, closes_channels: name == V5 }
    }

    pub(super) fn write(self, channel: u8, data: &[u8]) -> Message {
        if self.base64 {
            return Message::Text(format!("{channel}{}", STANDARD.encode(data)).into());
        }
        let mut bytes = BytesMut::with_capacity(1 + data.len());
        bytes.put_u8(channel);
        bytes.put_slice(data);
        Message::Binary(bytes.freeze())
    }

    /// A message's channel and data; `None` if it makes no sense.
    pub(super) fn read(self, message: &Bytes) -> Option<(u8, Bytes)> {
        let (first, rest) = (*message.first()?, message.slice(1..));
        if self.base64 {
            return Some((first.checked_sub(b'0')?, STANDARD.decode(rest).ok()?.into()));
        }
        Some((first, rest))
    }

    pub(super) fn closed_channel(self, message: &[u8]) -> Option<u8> {
        match message {
            [CLOSE, channel] if self.closes_channels => Some(*channel),
            _ => None,
        }
    }

    /// What the error channel says at the end, if anything.
    pub(super) fn ending(self, ending: &Ending) -> Option<Vec<u8>> {
        if self.tells_status { Some(ending.status_json()) } else { ending.failure().map(String::into_bytes) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_subprotocol_writes_and_ends_as_its_clients_expect() {
        let binary = |bytes: &'static [u8]| Message::Binary(Bytes::from_static(bytes));
        let cases = [
            (Some("v5.channel.k8s.io"), binary(b"\x01hi"), true),
            (Some("v4.channel.k8s.io"), binary(b"\x01hi"), true),
            (Some("v4.base64.channel.k8s.io"), Message::Text("1aGk=".into()), true),
            (Some("channel.k8s.io"), binary(b"\x01hi"), false),
            (Some("base64.channel.k8s.io"), Message::Text("1aGk=".into()), false),
            (None, binary(b"\x01hi"), false),
        ];
        for (name, expected, tells_success) in cases {
            let dialect = Dialect::of(name);
            assert_eq!(dialect.write(1, b"hi"), expected, "{name:?}");
            assert_eq!(dialect.ending(&Ending::Exited(0)).is_some(), tells_success, "{name:?}");
            let failed = String::from_utf8(dialect.ending(&Ending::Exited(3)).unwrap()).unwrap();
            assert_eq!(failed.starts_with('{'), tells_success, "{failed}");
            assert!(failed.contains("command terminated with non-zero exit code: exit status 3"), "{failed}");
        }
    }
}
