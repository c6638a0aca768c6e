//! What is reserved for an object in the same commit as its own write.

use corten_api::ApiError;

use super::Resources;
use super::place::Place;
use super::revise::Taken;
use crate::registry::AnyObject;
use crate::storage::Write;

impl Resources {
    pub(super) fn allocate_for_create(
        &self,
        _place: Place<'_>,
        _object: &mut dyn AnyObject,
        _taken: &Taken,
    ) -> Result<Vec<Write>, ApiError> {
        Ok(Vec::new())
    }
    pub(super) fn allocate_for_update(
        &self,
        _place: Place<'_>,
        _object: &mut dyn AnyObject,
        _old: &dyn AnyObject,
        _taken: &Taken,
    ) -> Result<Vec<Write>, ApiError> {
        Ok(Vec::new())
    }
    pub(super) fn release_for_delete(&self, _place: Place<'_>, _old: &dyn AnyObject) -> Vec<Write> {
        Vec::new()
    }
}
