//! Protobuf's wire format, written. <https://protobuf.dev/programming-guides/encoding/>

/// Wire types.
const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const LENGTH: u64 = 2;

/// A message as it grows.
#[derive(Debug, Default)]
pub struct Writer(Vec<u8>);

/// Where a message within the message began: behind the one byte that is kept for its length.
#[derive(Debug)]
#[must_use]
pub struct Begun(usize);

impl Writer {
    /// With bytes before the first field.
    pub fn after(prefix: &[u8]) -> Self {
        Self(prefix.to_vec())
    }
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }
    /// Forgets what was written, and keeps the room for more.
    pub fn clear(&mut self) {
        self.0.clear();
    }
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }

    pub fn int(&mut self, number: u16, value: i64) {
        self.tag(number, VARINT);
        self.varint(value.cast_unsigned());
    }
    pub fn double(&mut self, number: u16, value: f64) {
        self.tag(number, FIXED64);
        self.0.extend_from_slice(&value.to_le_bytes());
    }
    pub fn bytes(&mut self, number: u16, value: &[u8]) {
        self.head(number, value.len());
        self.0.extend_from_slice(value);
    }
    /// What stands before `len` bytes of a field whose bytes come from elsewhere.
    pub fn head(&mut self, number: u16, len: usize) {
        self.tag(number, LENGTH);
        self.varint(len as u64);
    }

    /// Begins a message within the message; [`end`](Self::end) must follow.
    pub fn begin(&mut self, number: u16) -> Begun {
        self.tag(number, LENGTH);
        self.0.push(0);
        Begun(self.0.len())
    }
    /// Writes the length of what came since. Messages of 128 bytes and more move by a byte or a few: less work than to reckon
    /// all lengths beforehand.
    pub fn end(&mut self, Begun(start): Begun) {
        let len = (self.0.len() - start) as u64;
        let more = varint_len(len) - 1;
        let end = self.0.len();
        self.0.resize(end + more, 0);
        self.0.copy_within(start..end, start + more);
        let mut left = len;
        for byte in &mut self.0[start - 1..start + more] {
            *byte = (left & 0x7f) as u8 | 0x80;
            left >>= 7;
        }
        self.0[start - 1 + more] &= 0x7f;
    }

    fn tag(&mut self, number: u16, wire_type: u64) {
        self.varint(u64::from(number) << 3 | wire_type);
    }
    #[expect(clippy::cast_possible_truncation, reason = "seven bits fit")]
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

/// How many bytes a number takes.
pub fn varint_len(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::protobuf::wire::{Fields, WireValue};

    #[test]
    fn what_is_written_is_read() {
        let mut out = Writer::default();
        out.int(1, 150);
        out.int(2, -1);
        out.double(3, 0.5);
        out.bytes(4, b"hi");
        assert_eq!(&out.as_slice()[..3], &[0x08, 0x96, 0x01], "as the specification has it");
        let read: Vec<_> = Fields(out.as_slice()).map(Result::unwrap).collect();
        let expected = [
            (1, WireValue::Varint(150)),
            (2, WireValue::Varint(u64::MAX)),
            (3, WireValue::Fixed64(0.5_f64.to_bits())),
            (4, WireValue::Bytes(b"hi")),
        ];
        assert_eq!(read, expected);
    }

    #[test]
    fn messages_of_every_length_stand_where_they_began() {
        for len in [0, 1, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152] {
            let inner = vec![7; len];
            let mut out = Writer::default();
            let (outer, middle) = (out.begin(1), out.begin(300));
            out.bytes(2, &inner);
            out.end(middle);
            out.int(3, 1);
            out.end(outer);
            let Some(Ok((1, WireValue::Bytes(outer)))) = Fields(out.as_slice()).next() else {
                panic!("{len}: no outer")
            };
            let fields: Vec<_> = Fields(outer).map(Result::unwrap).collect();
            let [(300, WireValue::Bytes(middle)), (3, WireValue::Varint(1))] = fields[..] else {
                panic!("{len}: {fields:?}")
            };
            assert_eq!(Fields(middle).next(), Some(Ok((2, WireValue::Bytes(&inner)))), "{len}");
        }
    }

    #[test]
    fn lengths_of_numbers() {
        for value in [0, 1, 127, 128, 16_383, 16_384, u64::from(u32::MAX), u64::MAX] {
            let mut out = Writer::default();
            out.varint(value);
            assert_eq!(varint_len(value), out.as_slice().len(), "{value}");
        }
    }
}
