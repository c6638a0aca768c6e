//! Objects in another encoding than the JSON in which they are kept.

pub mod protobuf;
