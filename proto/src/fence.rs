//! The leadership that a write is part of, in a call's metadata. See `Fence` in resources.proto.

use prost::Message;
use tonic::metadata::{Binary, MetadataMap, MetadataValue};

use crate::api::Fence;

const KEY: &str = "corten-fence-bin";

#[derive(Debug)]
pub struct Unreadable;

impl std::fmt::Display for Unreadable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the metadata {KEY} cannot be read: it is not a corten.api.v1.Fence")
    }
}
impl std::error::Error for Unreadable {}

/// As it travels.
pub fn encoded(fence: &Fence) -> MetadataValue<Binary> {
    MetadataValue::from_bytes(&fence.encode_to_vec())
}

pub fn add(fence: &MetadataValue<Binary>, metadata: &mut MetadataMap) {
    metadata.insert_bin(KEY, fence.clone());
}

/// `None`: the caller does not write as a leader.
pub fn of(metadata: &MetadataMap) -> Result<Option<Fence>, Unreadable> {
    let Some(value) = metadata.get_bin(KEY) else { return Ok(None) };
    let bytes = value.to_bytes().map_err(|_| Unreadable)?;
    Fence::decode(bytes).map(Some).map_err(|_| Unreadable)
}
