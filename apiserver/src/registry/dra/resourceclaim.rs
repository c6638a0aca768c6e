//! ResourceClaim: devices that pods want, and which of them they got.

mod status;

use corten_api::{Object, Problems};
use k8s_openapi::api::resource::v1::{ResourceClaim, ResourceClaimStatus};

use super::claim;
use crate::registry::check::IMMUTABLE;
use crate::registry::path::Path;
use crate::registry::{Cell, Column, Kind, WriteContext, cells};

const COLUMNS: &[Column] = &[
    cells::NAME,
    cells::text("State", "A summary of the current state (allocated, pending, reserved, etc.)."),
    cells::AGE,
];

impl Kind for ResourceClaim {
    const SINGULAR: &'static str = "resourceclaim";
    const STORE_PREFIX: &'static str = "resourceclaims";
    const DELETE_RETURNS_OBJECT: bool = true;
    const SUBRESOURCES: &'static [&'static str] = &["status"];
    const STATUS_KEEPS_METADATA: bool = true;

    strategy!(spec, status);
    fn fill_defaults(&mut self) {
        claim::fill_defaults(self.spec.get_or_insert_default());
        let allocation = self.status.as_mut().and_then(|status| status.allocation.as_mut());
        if let Some(allocation) = allocation {
            status::fill_defaults(allocation);
        }
    }
    fn prepare_create(&mut self, _: &WriteContext<'_>) {
        claim::drop_disabled(self.spec.get_or_insert_default());
    }
    fn prepare_update(&mut self, _old: &Self, _: &WriteContext<'_>) {
        claim::drop_disabled(self.spec.get_or_insert_default());
    }
    fn prepare_status(&mut self, old: &Self, _: &WriteContext<'_>) {
        let none = ResourceClaimStatus::default();
        status::prepare(self.status.get_or_insert_default(), old.status.as_ref().unwrap_or(&none));
    }
    fn validate(&self, problems: &mut Problems) {
        if let Some(spec) = &self.spec {
            claim::validate(spec, &Path::root("spec"), problems);
        }
    }
    fn validate_update(&self, old: &Self, problems: &mut Problems) {
        if self.spec != old.spec {
            problems.invalid("spec", serde_json::Value::Null, IMMUTABLE);
        }
    }
    fn validate_status(&self, old: &Self, problems: &mut Problems) {
        status::validate(self, old, problems);
    }
    fn columns() -> &'static [Column] {
        COLUMNS
    }
    fn row(&self, now_secs: i64) -> Vec<Cell> {
        vec![cells::name(&self.metadata), Cell::text(state(self)), cells::age(&self.metadata, now_secs)]
    }
}

fn state(claim: &ResourceClaim) -> &'static str {
    let status = claim.status.as_ref();
    let allocated = status.is_some_and(|status| status.allocation.is_some());
    let reserved = status.and_then(|status| status.reserved_for.as_ref()).is_some_and(|list| !list.is_empty());
    match (claim.is_deleting(), allocated, reserved) {
        (false, false, _) => "pending",
        (false, true, false) => "allocated",
        (false, true, true) => "allocated,reserved",
        (true, false, _) => "deleted",
        (true, true, false) => "deleted,allocated",
        (true, true, true) => "deleted,allocated,reserved",
    }
}

#[cfg(test)]
mod tests;
