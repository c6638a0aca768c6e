//! Netlink messages as bytes: headers, attributes and elements, written and read. Pure.
//!
//! Shapes are those of `linux/netlink.h`, `linux/netfilter/nfnetlink.h` and `linux/netfilter/nf_tables.h`. A message
//! is a 16-byte header in the machine's byte order, four bytes of netfilter header, then attributes: length, type,
//! value, padded to four bytes. Numbers inside nftables' attributes are in network order.

use super::NftError;

pub const NLMSG_ERROR: u16 = 2;
pub const NLMSG_DONE: u16 = 3;
pub const BATCH_BEGIN: u16 = 0x10;
pub const BATCH_END: u16 = 0x11;
const SUBSYS_NFTABLES: u16 = 10;
pub const NEW_ELEMENTS: u16 = (SUBSYS_NFTABLES << 8) | 12;
pub const GET_ELEMENTS: u16 = (SUBSYS_NFTABLES << 8) | 13;
pub const DELETE_ELEMENTS: u16 = (SUBSYS_NFTABLES << 8) | 14;

pub const F_REQUEST: u16 = 0x1;
pub const F_ACK: u16 = 0x4;
/// A dump that was overtaken by a change: ask again.
pub const F_DUMP_INTERRUPTED: u16 = 0x10;
pub const F_DUMP: u16 = 0x300;
pub const F_CREATE: u16 = 0x400;
pub const F_EXCL: u16 = 0x200;

pub const FAMILY_UNSPEC: u8 = 0;
pub const FAMILY_IPV4: u8 = 2;

pub const LIST_TABLE: u16 = 1;
pub const LIST_SET: u16 = 2;
pub const LIST_ELEMENTS: u16 = 3;
pub const LIST_ELEM: u16 = 1;
pub const ELEM_KEY: u16 = 1;
pub const ELEM_DATA: u16 = 2;
pub const ELEM_KEY_END: u16 = 10;
pub const DATA_VALUE: u16 = 1;
pub const DATA_VERDICT: u16 = 2;
pub const VERDICT_CODE: u16 = 1;
pub const VERDICT_CHAIN: u16 = 2;
/// `NFT_GOTO`
pub const GOTO: i32 = -4;

const NESTED: u16 = 0x8000;
const TYPE_MASK: u16 = 0x3fff;
const HEADER_LEN: usize = 16;
const ATTRIBUTE_HEADER_LEN: usize = 4;

/// Messages one after the other, as one send takes them.
#[derive(Debug, Default)]
pub struct Writer {
    pub bytes: Vec<u8>,
    message_at: usize,
}

/// Where an open nest began.
#[must_use]
pub struct Nest(usize);

impl Writer {
    /// Starts a message; its length is set by [`Self::end`].
    pub fn begin(&mut self, kind: u16, flags: u16, sequence: u32, family: u8, resource: u16) {
        self.message_at = self.bytes.len();
        self.bytes.extend(0u32.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(flags.to_ne_bytes());
        self.bytes.extend(sequence.to_ne_bytes());
        self.bytes.extend(0u32.to_ne_bytes());
        self.bytes.extend([family, 0]);
        self.bytes.extend(resource.to_be_bytes());
    }
    pub fn end(&mut self) {
        let len = u32::try_from(self.bytes.len() - self.message_at).unwrap_or(u32::MAX);
        self.bytes[self.message_at..self.message_at + 4].copy_from_slice(&len.to_ne_bytes());
    }
    /// Has the last message acknowledged; returns its sequence number.
    pub fn ask_for_answer(&mut self) -> u32 {
        let header = &mut self.bytes[self.message_at..self.message_at + HEADER_LEN];
        let flags = u16::from_ne_bytes([header[6], header[7]]) | F_ACK;
        header[6..8].copy_from_slice(&flags.to_ne_bytes());
        u32::from_ne_bytes([header[8], header[9], header[10], header[11]])
    }
    /// A batch's first or last message, which names the subsystem it is for.
    pub fn batch_edge(&mut self, kind: u16, sequence: u32) {
        self.begin(kind, F_REQUEST, sequence, FAMILY_UNSPEC, SUBSYS_NFTABLES);
        self.end();
    }
    pub fn attribute(&mut self, kind: u16, value: &[u8]) {
        let len = u16::try_from(ATTRIBUTE_HEADER_LEN + value.len()).unwrap_or(u16::MAX);
        self.bytes.extend(len.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(value);
        self.pad();
    }
    /// A string with its final zero.
    pub fn text(&mut self, kind: u16, text: &str) {
        let mut value = Vec::with_capacity(text.len() + 1);
        value.extend(text.as_bytes());
        value.push(0);
        self.attribute(kind, &value);
    }
    pub fn open(&mut self, kind: u16) -> Nest {
        let at = self.bytes.len();
        self.bytes.extend(0u16.to_ne_bytes());
        self.bytes.extend((kind | NESTED).to_ne_bytes());
        Nest(at)
    }
    pub fn close(&mut self, nest: Nest) {
        let len = u16::try_from(self.bytes.len() - nest.0).unwrap_or(u16::MAX);
        self.bytes[nest.0..nest.0 + 2].copy_from_slice(&len.to_ne_bytes());
    }
    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

/// One received message.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    pub kind: u16,
    pub flags: u16,
    pub sequence: u32,
    /// All after the netlink header.
    pub body: &'a [u8],
}

impl<'a> Message<'a> {
    /// What follows the netfilter header.
    pub fn attributes(&self) -> Attributes<'a> {
        Attributes(self.body.get(4..).unwrap_or_default())
    }
    /// The error number of an NLMSG_ERROR (0 is an acknowledgement) or of an NLMSG_DONE that failed.
    pub fn error_number(&self) -> Option<i32> {
        let first = i32::from_ne_bytes(self.body.get(..4)?.try_into().ok()?);
        match self.kind {
            NLMSG_ERROR | NLMSG_DONE => Some(-first),
            _ => None,
        }
    }
}

/// The messages of one received datagram.
pub fn messages(mut rest: &[u8]) -> Result<Vec<Message<'_>>, NftError> {
    let mut found = Vec::new();
    while rest.len() >= HEADER_LEN {
        let u16_at = |at: usize| u16::from_ne_bytes([rest[at], rest[at + 1]]);
        let u32_at = |at: usize| u32::from_ne_bytes([rest[at], rest[at + 1], rest[at + 2], rest[at + 3]]);
        let len = u32_at(0) as usize;
        let body = rest.get(HEADER_LEN..len).ok_or(NftError::Garbled("a message is longer than what came"))?;
        found.push(Message { kind: u16_at(4), flags: u16_at(6), sequence: u32_at(8), body });
        rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(found)
}

/// Goes through attributes; stops where they make no sense.
#[derive(Clone, Copy, Debug)]
pub struct Attributes<'a>(pub &'a [u8]);

impl<'a> Attributes<'a> {
    pub fn find(mut self, kind: u16) -> Option<&'a [u8]> {
        Iterator::find_map(&mut self, |(k, value)| (k == kind).then_some(value))
    }
    pub fn nested(self, kind: u16) -> Option<Attributes<'a>> {
        self.find(kind).map(Attributes)
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);
    fn next(&mut self) -> Option<Self::Item> {
        let header = self.0.get(..ATTRIBUTE_HEADER_LEN)?;
        let len = usize::from(u16::from_ne_bytes([header[0], header[1]]));
        let kind = u16::from_ne_bytes([header[2], header[3]]) & TYPE_MASK;
        let value = self.0.get(ATTRIBUTE_HEADER_LEN..len)?;
        self.0 = self.0.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_can_be_read() {
        let mut writer = Writer::default();
        writer.begin(NEW_ELEMENTS, F_REQUEST, 7, FAMILY_IPV4, 0);
        writer.text(LIST_TABLE, "corten");
        let nest = writer.open(LIST_ELEMENTS);
        writer.attribute(ELEM_KEY, &[1, 2, 3, 4, 5]);
        writer.close(nest);
        writer.end();
        writer.batch_edge(BATCH_END, 8);
        let read = messages(&writer.bytes).unwrap();
        assert_eq!(read.iter().map(|m| (m.kind, m.sequence)).collect::<Vec<_>>(), [(NEW_ELEMENTS, 7), (BATCH_END, 8)]);
        assert_eq!(read[0].attributes().find(LIST_TABLE), Some(&b"corten\0"[..]));
        let elements = read[0].attributes().nested(LIST_ELEMENTS).unwrap();
        assert_eq!(elements.find(ELEM_KEY), Some(&[1, 2, 3, 4, 5][..]));
    }

    #[test]
    fn cut_messages_are_refused_and_cut_attributes_end_the_walk() {
        let mut writer = Writer::default();
        writer.begin(NEW_ELEMENTS, 0, 1, FAMILY_IPV4, 0);
        writer.text(LIST_TABLE, "corten");
        writer.end();
        assert!(messages(&writer.bytes[..writer.bytes.len() - 4]).is_err());
        assert_eq!(Attributes(&[9, 0, 1, 0, 1]).next(), None, "says nine bytes, has five");
        assert_eq!(Attributes(&[2, 0, 1, 0, 1]).next(), None, "shorter than its own header");
    }
}
