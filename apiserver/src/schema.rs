//! The shapes of objects: which fields a type has, and how they are merged, written and numbered. Whatever walks an
//! object by more than its names walks it by its schema.
//!
//! - [`model`]: a schema is an arena of nodes that refer to each other by index
//! - [`text`]: reads the table of types that a schema is made of
//! - [`builtin`]: the kinds that every server has, from `builtin.txt`
//! - [`build`]: schemas that are made while the server runs

pub mod build;
pub mod builtin;
pub mod model;
pub mod text;

pub use builtin::{builtin, custom, json_schema};
pub use model::{
    Alternative, Around, Field, List, ListKind, Map, Node, NodeId, PatchStrategy, Scalar, Schema, Shape, Struct, Zero,
};
