//! The types of the built-in kinds, from one generated table.

use std::sync::{Arc, LazyLock};

use super::model::Schema;
use super::text;

/// Written by `corten-hack schema` from the facts of the published document and of the types' struct tags.
const TABLE: &str = include_str!("builtin.txt");

static BUILTIN: LazyLock<Arc<Schema>> = LazyLock::new(|| {
    // The table is part of this program: the tests read the very bytes that are read here.
    Arc::new(text::read(TABLE).unwrap_or_else(|err| unreachable!("the table of built-in types: {err}")))
});

/// The schema of all built-in kinds; read once, in a few milliseconds.
pub fn builtin() -> &'static Arc<Schema> {
    &BUILTIN
}

#[cfg(test)]
mod tests;
