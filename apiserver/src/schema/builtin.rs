//! The types of the built-in kinds, from one generated table.

use std::sync::{Arc, LazyLock};

use super::model::{Schema, Shape};
use super::text;

/// Written by `corten-hack schema` from the facts of the published document and of the types' struct tags.
const TABLE: &str = include_str!("builtin.txt");

/// What is read of the objects of every custom kind before their schema is asked: type and metadata.
const OURS: &str = "
corten.Custom open
  apiVersion - string omitempty
  kind - string omitempty
  metadata - meta.v1.ObjectMeta omitempty
";

static BUILTIN: LazyLock<Arc<Schema>> = LazyLock::new(|| {
    // The table is part of this program: the tests read the very bytes that are read here.
    let table = [TABLE, OURS].concat();
    Arc::new(text::read(&table).unwrap_or_else(|err| unreachable!("the table of built-in types: {err}")))
});

/// The schema of all built-in kinds; read once, in a few milliseconds.
pub fn builtin() -> &'static Arc<Schema> {
    &BUILTIN
}

/// Of the objects of every custom kind: type and metadata, and all else as it is written.
pub fn custom() -> Option<Shape<'static>> {
    builtin().named("corten.Custom")
}

/// A schema of a custom kind.
pub fn json_schema() -> Option<Shape<'static>> {
    builtin().named("apiextensions.v1.JSONSchemaProps")
}

#[cfg(test)]
mod tests;
