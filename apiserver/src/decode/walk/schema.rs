//! Schemas of custom kinds, and what may stand in their place.

use super::super::DecodeError;
use super::super::path::Path;
use super::{Outcome, Walk};
use crate::schema::{Shape, json_schema};

impl Walk<'_> {
    /// A schema, a list of schemas or of texts, or a yes or no. `next`: the byte that it begins with. Go's type reads itself: what it
    /// does not know goes, and nobody is told.
    pub(super) fn schema_or(&mut self, next: u8, path: &Path<'_>) -> Result<Outcome, DecodeError> {
        let Some(of) = json_schema() else { return self.untyped() };
        let outer = std::mem::take(&mut self.findings);
        let read = match next {
            b'{' => self.schema(of, path),
            b'[' => self.list(path, of.held_bytes(), |walk, path| match walk.text.upcoming()? {
                b'{' => walk.schema(of, path).map(drop),
                _ => walk.untyped().map(drop),
            }),
            _ => self.untyped().map(|_| 0),
        };
        let within = std::mem::replace(&mut self.findings, outer);
        self.changed |= !within.into_vec().is_empty();
        read.map(|_| Outcome::Value)
    }
    fn schema(&mut self, of: Shape<'_>, path: &Path<'_>) -> Result<usize, DecodeError> {
        self.budget.take(of.held_bytes())?;
        self.value(of, path)?;
        Ok(1)
    }
}
