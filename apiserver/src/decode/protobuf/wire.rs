//! Protobuf's wire format, read. <https://protobuf.dev/programming-guides/encoding/>

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireValue<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    Fixed32(u32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    #[error("unexpected EOF")]
    End,
    #[error("integer overflow")]
    Varint,
    #[error("illegal wireType {0}")]
    Type(u8),
    #[error("illegal tag {0}")]
    Tag(u64),
}

/// The fields of a message: their numbers and values. Ends after its first error.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a>(pub &'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, WireValue<'a>), WireError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = read(&mut self.0);
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

fn read<'a>(bytes: &mut &'a [u8]) -> Result<(u32, WireValue<'a>), WireError> {
    let tag = varint(bytes)?;
    let number = u32::try_from(tag >> 3).ok().filter(|n| *n > 0).ok_or(WireError::Tag(tag))?;
    let value = match (tag & 7) as u8 {
        0 => WireValue::Varint(varint(bytes)?),
        1 => WireValue::Fixed64(u64::from_le_bytes(array(bytes)?)),
        2 => {
            let len = usize::try_from(varint(bytes)?).map_err(|_| WireError::End)?;
            WireValue::Bytes(take(bytes, len)?)
        }
        5 => WireValue::Fixed32(u32::from_le_bytes(array(bytes)?)),
        other => return Err(WireError::Type(other)),
    };
    Ok((number, value))
}

fn take<'a>(bytes: &mut &'a [u8], len: usize) -> Result<&'a [u8], WireError> {
    let (taken, rest) = bytes.split_at_checked(len).ok_or(WireError::End)?;
    *bytes = rest;
    Ok(taken)
}
fn array<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], WireError> {
    take(bytes, N)?.try_into().map_err(|_| WireError::End)
}

fn varint(bytes: &mut &[u8]) -> Result<u64, WireError> {
    let mut n = 0_u64;
    for shift in (0..64).step_by(7) {
        let [byte] = array(bytes)?;
        n |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(n);
        }
    }
    Err(WireError::Varint)
}

/// Integers one after another.
pub fn packed(mut bytes: &[u8]) -> Result<Vec<i64>, WireError> {
    let mut out = Vec::new();
    while !bytes.is_empty() {
        out.push(varint(&mut bytes)?.cast_signed());
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read() {
        let all = |bytes: &'static [u8]| Fields(bytes).collect::<Result<Vec<_>, _>>();
        type Read = Result<Vec<(u32, WireValue<'static>)>, WireError>;
        let cases: [(&'static [u8], Read); 7] = [
            (&[], Ok(vec![])),
            (
                &[0x08, 0x96, 0x01, 0x12, 0x02, b'h', b'i'],
                Ok(vec![(1, WireValue::Varint(150)), (2, WireValue::Bytes(b"hi"))]),
            ),
            (&[0x08], Err(WireError::End)),
            (&[0x12, 0x05, b'h'], Err(WireError::End)),
            (&[0x0b], Err(WireError::Type(3))),
            (&[0x00, 0x00], Err(WireError::Tag(0))),
            (&[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01], Err(WireError::Varint)),
        ];
        for (bytes, expected) in cases {
            assert_eq!(all(bytes), expected, "{bytes:?}");
        }
        assert_eq!(packed(&[1, 0x96, 1]), Ok(vec![1, 150]));
    }
}
