//! The beginning of a gRPC message: what it asks about, read before the rest of it is received.
//!
//! Every request message of ours has its `Resource` as field 1, and lists and watches their field selector as field 3, so
//! nothing of the generated types is needed to look at half a message.

use crate::request::Target;

/// A compression flag and a length stand before each message.
const PREFIX_BYTES: usize = 5;
/// The resource must stand within the first so many bytes, and a list's or watch's whole message.
pub(crate) const BEGINNING_BYTES_MAX: usize = 64 * 1024;

const RESOURCE: u64 = 1;
const LABEL_SELECTOR: u64 = 2;
const FIELD_SELECTOR: u64 = 3;
/// Of a watch. Lists have another field of this number.
const RESUME_AFTER: u64 = 4;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Beginning {
    pub(crate) target: Target,
    pub(crate) field_selector: String,
    pub(crate) selects_labels: bool,
    /// Of a watch: it goes on behind a revision, and does not begin with the state.
    pub(crate) resumes: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MessageError {
    #[error("the message does not begin with its resource")]
    NoResource,
    #[error("the message is not protobuf")]
    Malformed,
    #[error("messages are not to be compressed")]
    Compressed,
}

/// `bytes`: what has come of the body. `whole`: selectors are wanted too. `None`: more must come.
pub(crate) fn read(bytes: &[u8], whole: bool) -> Result<Option<Beginning>, MessageError> {
    let Some((prefix, message)) = bytes.split_at_checked(PREFIX_BYTES) else { return Ok(None) };
    if prefix[0] != 0 {
        return Err(MessageError::Compressed);
    }
    let len = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]) as usize;
    let is_whole = message.len() >= len;
    let mut found = Beginning::default();
    let mut has_resource = false;
    for field in Fields(message.get(..len).unwrap_or(message)) {
        match field? {
            Field::Cut => break,
            Field::Bytes(RESOURCE, bytes) => {
                found.target = target(bytes)?;
                has_resource = true;
                if !whole {
                    return Ok(Some(found));
                }
            }
            Field::Bytes(LABEL_SELECTOR, bytes) => found.selects_labels = !bytes.is_empty(),
            Field::Bytes(FIELD_SELECTOR, bytes) => found.field_selector = text(bytes)?,
            Field::Number(RESUME_AFTER, revision) => found.resumes = revision != 0,
            Field::Bytes(..) | Field::Number(..) | Field::Other => {}
        }
    }
    match (is_whole, has_resource) {
        (true, true) => Ok(Some(found)),
        (true, false) => Err(MessageError::NoResource),
        (false, _) if bytes.len() > BEGINNING_BYTES_MAX => Err(MessageError::NoResource),
        (false, _) => Ok(None),
    }
}

/// A `corten.api.v1.Resource`.
fn target(bytes: &[u8]) -> Result<Target, MessageError> {
    let mut target = Target::default();
    for field in Fields(bytes) {
        let (number, bytes) = match field? {
            Field::Bytes(number, bytes) => (number, bytes),
            Field::Number(..) | Field::Other => continue,
            Field::Cut => return Err(MessageError::Malformed),
        };
        let part = match number {
            1 => &mut target.group,
            2 => &mut target.version,
            3 => &mut target.resource,
            4 => &mut target.subresource,
            5 => &mut target.namespace,
            6 => &mut target.name,
            _ => continue,
        };
        *part = text(bytes)?;
    }
    Ok(target)
}

fn text(bytes: &[u8]) -> Result<String, MessageError> {
    std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| MessageError::Malformed)
}

enum Field<'a> {
    Bytes(u64, &'a [u8]),
    Number(u64, u64),
    /// A number of a fixed length.
    Other,
    /// It goes on beyond what is there.
    Cut,
}

/// <https://protobuf.dev/programming-guides/encoding/>.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// `None`: cut.
    fn varint(&mut self) -> Result<Option<u64>, MessageError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let Some((byte, rest)) = self.0.split_first() else { return Ok(None) };
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(Some(value));
            }
        }
        Err(MessageError::Malformed)
    }
    fn skip(&mut self, len: u64) -> Field<'a> {
        match usize::try_from(len).ok().and_then(|len| self.0.split_at_checked(len)) {
            Some((_, rest)) => {
                self.0 = rest;
                Field::Other
            }
            None => Field::Cut,
        }
    }
    fn field(&mut self) -> Result<Field<'a>, MessageError> {
        let Some(key) = self.varint()? else { return Ok(Field::Cut) };
        let number = key >> 3;
        Ok(match key & 7 {
            0 => self.varint()?.map_or(Field::Cut, |value| Field::Number(number, value)),
            1 => self.skip(8),
            5 => self.skip(4),
            2 => {
                let Some(len) = self.varint()? else { return Ok(Field::Cut) };
                let before = self.0;
                match self.skip(len) {
                    Field::Cut => Field::Cut,
                    // `skip` went over so many bytes of it.
                    _ => Field::Bytes(number, &before[..before.len() - self.0.len()]),
                }
            }
            _ => return Err(MessageError::Malformed),
        })
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, MessageError>;

    fn next(&mut self) -> Option<Self::Item> {
        (!self.0.is_empty()).then(|| self.field())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A length-delimited field.
    fn field(number: u8, value: &[u8]) -> Vec<u8> {
        [&[number << 3 | 2, u8::try_from(value.len()).unwrap()], value].concat()
    }
    fn framed(message: &[u8]) -> Vec<u8> {
        [&[0][..], &u32::try_from(message.len()).unwrap().to_be_bytes(), message].concat()
    }
    fn pods() -> Vec<u8> {
        [field(2, b"v1"), field(3, b"pods"), field(5, b"default"), field(6, b"web")].concat()
    }

    #[test]
    fn the_resource_is_known_before_the_object_has_come() {
        let write = framed(&[field(1, &pods()), field(2, &[b'x'; 100])].concat());
        let target = Target {
            version: "v1".into(),
            resource: "pods".into(),
            namespace: "default".into(),
            name: "web".into(),
            ..Target::default()
        };
        let known = 5 + 2 + pods().len();
        for len in 0..write.len() {
            let found = read(&write[..len], false).unwrap();
            assert_eq!(found.map(|f| f.target), (len >= known).then(|| target.clone()), "{len} bytes");
        }
        let list = framed(&[field(1, &pods()), field(3, b"spec.nodeName=n1"), vec![4 << 3, 0x96, 1]].concat());
        for len in 0..list.len() {
            assert_eq!(read(&list[..len], true), Ok(None), "{len} bytes");
        }
        let found = read(&list, true).unwrap().unwrap();
        assert_eq!((found.target, &*found.field_selector, found.resumes), (target, "spec.nodeName=n1", true));
    }

    #[test]
    fn what_is_no_message_of_ours_is_refused() {
        use MessageError as E;
        let long = [framed(&[]), vec![]].concat();
        let endless = [&[0, 0xff, 0xff, 0xff, 0xff][..], &field(9, &[0; 120]).repeat(600)].concat();
        for (bytes, expected) in [
            (vec![1, 0, 0, 0, 0], E::Compressed),
            (long, E::NoResource),
            (framed(&field(2, b"x")), E::NoResource),
            (endless, E::NoResource),
            (framed(&[0x0f]), E::Malformed),
            (framed(&[0xff; 20]), E::Malformed),
            (framed(&field(1, &field(3, &[0xff]))), E::Malformed),
            (framed(&field(1, &[0x0a, 9])), E::Malformed),
        ] {
            assert_eq!(read(&bytes, false), Err(expected), "{bytes:?}");
        }
    }
}
