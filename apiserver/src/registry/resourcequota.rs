//! ResourceQuota: how much the objects of a namespace may take together, and how much they do.

pub mod validate;

use corten_api::Problems;
use k8s_openapi::api::core::v1::ResourceQuota;

use super::path::Path;
use super::{Cell, Column, Kind, cells, quantities, resource_names};

const COLUMNS: &[Column] = &[
    cells::NAME,
    cells::text("Request", "What is used and allowed: requests, and numbers of objects"),
    cells::text("Limit", "What is used and allowed: limits"),
    cells::AGE,
];

impl Kind for ResourceQuota {
    const SINGULAR: &'static str = "resourcequota";
    const SHORT_NAMES: &'static [&'static str] = &["quota"];
    const STORE_PREFIX: &'static str = "resourcequotas";
    const DELETE_RETURNS_OBJECT: bool = true;
    const SUBRESOURCES: &'static [&'static str] = &["status"];

    strategy!(spec, status);
    fn fill_defaults(&mut self) {
        quantities::canonical(self.spec.get_or_insert_default().hard.as_mut());
        if let Some(status) = &mut self.status {
            quantities::canonical(status.hard.as_mut());
            quantities::canonical(status.used.as_mut());
        }
    }
    fn validate(&self, problems: &mut Problems) {
        if let Some(spec) = &self.spec {
            validate::spec(spec, &Path::root("spec"), problems);
        }
    }
    fn validate_update(&self, old: &Self, problems: &mut Problems) {
        validate::update(self.spec.as_ref(), old.spec.as_ref(), problems);
    }
    fn validate_status(&self, _old: &Self, problems: &mut Problems) {
        let Some(status) = &self.status else { return };
        let at = Path::root("status");
        validate::amounts(status.hard.as_ref(), &at.field("hard"), problems);
        validate::amounts(status.used.as_ref(), &at.field("used"), problems);
    }
    fn columns() -> &'static [Column] {
        COLUMNS
    }
    fn row(&self, now_secs: i64) -> Vec<Cell> {
        let hard = self.status.as_ref().and_then(|s| s.hard.as_ref());
        let used = self.status.as_ref().and_then(|s| s.used.as_ref());
        let (limits, requests): (Vec<&String>, Vec<&String>) = hard
            .into_iter()
            .flatten()
            .map(|(name, _)| name)
            .partition(|n| n.starts_with(resource_names::LIMITS_PREFIX));
        let shown = |names: Vec<&String>| {
            let one =
                |name: &String| format!("{name}: {}/{}", quantities::shown(used, name), quantities::shown(hard, name));
            Cell::text(names.into_iter().map(one).collect::<Vec<_>>().join(", "))
        };
        vec![cells::name(&self.metadata), shown(requests), shown(limits), cells::age(&self.metadata, now_secs)]
    }
}

#[cfg(test)]
mod tests;
