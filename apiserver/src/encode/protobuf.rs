//! Objects, lists and watch events in Kubernetes' protobuf, which client-go asks for first.
//!
//! <https://kubernetes.io/docs/reference/using-api/api-concepts/#protobuf-encoding>. An object is the magic `k8s\0` and a
//! `runtime.Unknown` that names the kind and holds the message; a watch is frames of four bytes of length and a `WatchEvent`.
//! [`walk`] writes the message while it reads the JSON; the numbers are the schema's.

mod walk;
pub mod wire;

use bytes::{BufMut, Bytes, BytesMut};
use corten_api::ApiError;
use serde::Deserialize;
use serde::de::DeserializeSeed;

use self::walk::Fields;
use self::wire::{Writer, varint_len};
use crate::schema::{Shape, builtin};

/// The media type of the frames of a watch.
pub const WATCH_MEDIA: &str = "application/vnd.kubernetes.protobuf;stream=watch";
const MAGIC: &[u8] = b"k8s\0";
/// Every list's fields.
const METADATA: u16 = 1;
const ITEMS: u16 = 2;

#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    #[error("no message is known for the kind {kind:?} of version {api_version:?}")]
    UnknownKind { api_version: String, kind: String },
    #[error("the object does not fit its message")]
    Json(#[from] serde_json::Error),
    #[error("an event of {0} bytes is longer than a frame can be")]
    TooLong(usize),
}

impl From<EncodeError> for ApiError {
    fn from(err: EncodeError) -> Self {
        Self::internal(err)
    }
}

/// What an object's envelope says of it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct TypeMeta<'a> {
    #[serde(borrow)]
    api_version: &'a str,
    #[serde(borrow)]
    kind: &'a str,
}

impl TypeMeta<'_> {
    fn shape(&self) -> Result<Shape<'static>, EncodeError> {
        let schema = builtin();
        let found = match (self.api_version, self.kind) {
            // Its one field has the number that the metadata of every kind has.
            ("meta.k8s.io/v1", "PartialObjectMetadata") => schema.kind("v1", "Namespace"),
            (api_version, kind) => schema.kind(api_version, kind),
        };
        let unknown =
            || EncodeError::UnknownKind { api_version: self.api_version.to_owned(), kind: self.kind.to_owned() };
        found.ok_or_else(unknown)
    }

    /// Everything before the message itself. `len`: the message's.
    fn envelope(&self, len: usize) -> Writer {
        let mut out = Writer::after(MAGIC);
        let meta = out.begin(1);
        out.bytes(1, self.api_version.as_bytes());
        out.bytes(2, self.kind.as_bytes());
        out.end(meta);
        out.head(2, len);
        out
    }
}

/// An object's JSON, in its envelope.
pub fn object(json: &[u8]) -> Result<Bytes, EncodeError> {
    let meta: TypeMeta<'_> = serde_json::from_slice(json)?;
    let message = message(meta.shape()?, json)?;
    let head = meta.envelope(message.as_slice().len());
    Ok([head.as_slice(), message.as_slice()].concat().into())
}

/// A frame of a watch. `kind`: `ADDED` and so on.
pub fn event(kind: &str, json: &[u8]) -> Result<Bytes, EncodeError> {
    const KIND: u16 = 1;
    const OBJECT: u16 = 2;
    let object = object(json)?;
    let mut event = Writer::default();
    event.bytes(KIND, kind.as_bytes());
    let extension = event.begin(OBJECT);
    event.bytes(1, &object);
    event.end(extension);
    let len = u32::try_from(event.as_slice().len()).map_err(|_| EncodeError::TooLong(event.as_slice().len()))?;
    let mut frame = BytesMut::with_capacity(event.as_slice().len() + size_of::<u32>());
    frame.put_u32(len);
    frame.put_slice(event.as_slice());
    Ok(frame.freeze())
}

fn message(of: Shape<'_>, json: &[u8]) -> Result<Writer, EncodeError> {
    let mut out = Writer::default();
    write(of, json, &mut out)?;
    Ok(out)
}

fn write(of: Shape<'_>, json: &[u8], out: &mut Writer) -> Result<(), EncodeError> {
    let mut from = serde_json::Deserializer::from_slice(json);
    Fields { of, out }.deserialize(&mut from)?;
    Ok(from.end()?)
}

/// A list whose length is known before it is sent: its items are written twice, so that one item at a time is in memory.
#[derive(Debug)]
pub struct List {
    /// The envelope and the list's metadata.
    pub head: Bytes,
    /// All that comes after the head.
    pub items_len: usize,
    item: Shape<'static>,
}

impl List {
    /// `kind`: the items' kind, whose list it is; `meta`: the list's metadata as JSON.
    pub fn new(api_version: &str, kind: &str, meta: &str, items: &[Bytes]) -> Result<Self, EncodeError> {
        let item = TypeMeta { api_version, kind }.shape()?;
        let list_meta = builtin().named("meta.v1.ListMeta");
        let list_kind = format!("{kind}List");
        let of_list = TypeMeta { api_version, kind: &list_kind };
        let unknown = || EncodeError::UnknownKind { api_version: api_version.to_owned(), kind: list_kind.clone() };
        let meta = message(list_meta.ok_or_else(unknown)?, meta.as_bytes())?;
        let mut own = Writer::default();
        own.bytes(METADATA, meta.as_slice());
        let (mut items_len, mut scratch) = (0, Writer::default());
        for json in items {
            scratch.clear();
            write(item, json, &mut scratch)?;
            let len = scratch.as_slice().len();
            // A tag of one byte, the length, and the message.
            items_len += 1 + varint_len(len as u64) + len;
        }
        let envelope = of_list.envelope(own.as_slice().len() + items_len);
        let head = [envelope.as_slice(), own.as_slice()].concat().into();
        Ok(Self { head, items_len, item })
    }

    /// One of the items that [`new`](Self::new) was given, as a field of the list.
    pub fn item(&self, json: &[u8]) -> Result<Bytes, EncodeError> {
        let mut out = Writer::default();
        let item = out.begin(ITEMS);
        write(self.item, json, &mut out)?;
        out.end(item);
        Ok(out.into_bytes().into())
    }
}

#[cfg(test)]
mod tests;
