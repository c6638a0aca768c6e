//! Writes DER: what a certificate is made of.
//!
//! <https://www.itu.int/rec/T-REC-X.690>

use jiff::Timestamp;
use jiff::tz::TimeZone;

pub const BOOLEAN: u8 = 0x01;
pub const INTEGER: u8 = 0x02;
pub const BIT_STRING: u8 = 0x03;
pub const OCTET_STRING: u8 = 0x04;
pub const OID: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
pub const SEQUENCE: u8 = 0x30;
/// The first year that takes four digits in a certificate (RFC 5280, 4.1.2.5).
const FOUR_DIGITS_FROM: i16 = 2050;

/// A value of this type.
pub fn tlv(tag: u8, value: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    match u8::try_from(value.len()) {
        Ok(short) if short < 0x80 => out.push(short),
        _ => {
            let length = value.len().to_be_bytes();
            let from = length.iter().position(|byte| *byte != 0).unwrap_or(length.len() - 1);
            // At most eight bytes.
            out.push(0x80 | u8::try_from(length.len() - from).unwrap_or(8));
            out.extend(&length[from..]);
        }
    }
    out.extend(value);
    out
}

pub fn sequence(parts: &[Vec<u8>]) -> Vec<u8> {
    tlv(SEQUENCE, &parts.concat())
}

/// A number that is not negative, of these bytes.
pub fn unsigned(bytes: &[u8]) -> Vec<u8> {
    let from = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len());
    let mut value = bytes[from..].to_vec();
    if value.first().is_none_or(|first| first & 0x80 != 0) {
        value.insert(0, 0);
    }
    tlv(INTEGER, &value)
}

/// Whole bytes as a string of bits.
pub fn bits(bytes: &[u8]) -> Vec<u8> {
    tlv(BIT_STRING, &[&[0], bytes].concat())
}

/// Named bits: the first is the highest of the first byte; zeros at the end are not written.
pub fn named_bits(set: &[usize]) -> Vec<u8> {
    let Some(last) = set.iter().max() else { return tlv(BIT_STRING, &[0]) };
    let mut value = vec![0; last / 8 + 2];
    // Of the last byte.
    value[0] = u8::try_from(7 - last % 8).unwrap_or(0);
    for bit in set {
        value[bit / 8 + 1] |= 0x80 >> (bit % 8);
    }
    tlv(BIT_STRING, &value)
}

/// To the second.
pub fn time(at: Timestamp) -> Vec<u8> {
    let at = at.to_zoned(TimeZone::UTC);
    if at.year() < FOUR_DIGITS_FROM {
        return tlv(UTC_TIME, at.strftime("%y%m%d%H%M%SZ").to_string().as_bytes());
    }
    tlv(GENERALIZED_TIME, at.strftime("%Y%m%d%H%M%SZ").to_string().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_table() {
        let cases = [
            ("a short value", tlv(OCTET_STRING, b"hi"), vec![4, 2, b'h', b'i']),
            ("zero", unsigned(&[0, 0]), vec![2, 1, 0]),
            ("the highest bit is no sign", unsigned(&[0, 0x80]), vec![2, 2, 0, 0x80]),
            ("no more bytes than need be", unsigned(&[0, 0, 0x7f]), vec![2, 1, 0x7f]),
            ("no bits", named_bits(&[]), vec![3, 1, 0]),
            ("digitalSignature and keyEncipherment", named_bits(&[0, 2]), vec![3, 2, 5, 0xa0]),
            ("decipherOnly stands in a byte of its own", named_bits(&[8]), vec![3, 3, 7, 0, 0x80]),
        ];
        for (why, got, expected) in cases {
            assert_eq!(got, expected, "{why}");
        }
        assert_eq!(tlv(SEQUENCE, &[7; 200])[..3], [0x30, 0x81, 200], "a length of more than seven bits");
        assert_eq!(tlv(SEQUENCE, &[7; 300])[..4], [0x30, 0x82, 1, 44]);
    }

    #[test]
    fn times_table() {
        for (at, expected) in [
            ("2026-11-30T01:02:03.9Z", "\u{17}\r261130010203Z"),
            ("2049-12-31T23:59:59Z", "\u{17}\r491231235959Z"),
            ("2050-01-01T00:00:00Z", "\u{18}\u{f}20500101000000Z"),
        ] {
            assert_eq!(String::from_utf8(time(at.parse().unwrap())).unwrap(), expected, "{at}");
        }
    }
}
