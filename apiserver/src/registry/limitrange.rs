//! LimitRange: what containers, pods and claims of a namespace get, may have and must have.

pub mod defaults;
pub mod validate;

use corten_api::Problems;
use k8s_openapi::api::core::v1::LimitRange;

use super::{Cell, Column, Kind, WriteContext, cells};

const COLUMNS: &[Column] = &[cells::NAME, cells::CREATED_AT];

impl Kind for LimitRange {
    const SINGULAR: &'static str = "limitrange";
    const SHORT_NAMES: &'static [&'static str] = &["limits"];
    const STORE_PREFIX: &'static str = "limitranges";
    const CREATE_ON_UPDATE: bool = true;

    strategy!(spec);
    fn fill_defaults(&mut self) {
        self.spec.get_or_insert_default().limits.iter_mut().for_each(defaults::item);
    }
    /// The one kind that needs no name.
    fn prepare_create(&mut self, _: &WriteContext<'_>) {
        let name = self.metadata.name.get_or_insert_default();
        if name.is_empty() {
            *name = self.metadata.uid.clone().unwrap_or_default();
        }
    }
    fn validate(&self, problems: &mut Problems) {
        let limits = self.spec.as_ref().map(|spec| spec.limits.as_slice()).unwrap_or_default();
        validate::limits(limits, problems);
    }
    fn columns() -> &'static [Column] {
        COLUMNS
    }
    fn row(&self, _now_secs: i64) -> Vec<Cell> {
        vec![cells::name(&self.metadata), cells::created_at(&self.metadata)]
    }
}

#[cfg(test)]
mod tests;
