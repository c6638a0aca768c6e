//! Where admission is asked.

use corten_api::ApiError;

use super::Resources;
use super::place::Place;
use crate::registry::AnyObject;
use crate::request::{Target, User, Verb};

impl Resources {
    pub(super) fn admit_create(
        &self,
        _user: &User,
        _place: Place<'_>,
        _target: &Target,
        _object: &mut dyn AnyObject,
    ) -> Result<Vec<String>, ApiError> {
        Ok(Vec::new())
    }
    pub(super) fn admit_update(
        &self,
        _user: &User,
        _place: Place<'_>,
        _target: &Target,
        _verb: Verb,
        _object: &mut dyn AnyObject,
        _old: &dyn AnyObject,
    ) -> Result<Vec<String>, ApiError> {
        Ok(Vec::new())
    }
    pub(super) fn admit_delete(
        &self,
        _user: &User,
        _place: Place<'_>,
        _target: &Target,
        _old: &dyn AnyObject,
    ) -> Result<Vec<String>, ApiError> {
        Ok(Vec::new())
    }
}
