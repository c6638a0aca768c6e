//! HorizontalPodAutoscaler, in both its versions: v2, which is what is stored, and v1, which knows of nothing but cpu and
//! has all else in annotations.

pub mod columns;
mod conversion;
pub mod defaults;
mod legacy;
mod metrics;
pub mod validate;

use std::sync::Arc;

use corten_api::Problems;
use k8s_openapi::api::autoscaling::{v1, v2};

use crate::registry::path::Path;
use crate::registry::{Cell, Column, Kind, LocalConversion, check};

const SINGULAR: &str = "horizontalpodautoscaler";
const SHORT_NAMES: &[&str] = &["hpa"];
const CATEGORIES: &[&str] = &["all"];
const STORE_PREFIX: &str = "horizontalpodautoscalers";
const SUBRESOURCES: &[&str] = &["status"];

impl Kind for v2::HorizontalPodAutoscaler {
    const SINGULAR: &'static str = SINGULAR;
    const SHORT_NAMES: &'static [&'static str] = SHORT_NAMES;
    const CATEGORIES: &'static [&'static str] = CATEGORIES;
    const STORE_PREFIX: &'static str = STORE_PREFIX;
    const SUBRESOURCES: &'static [&'static str] = SUBRESOURCES;
    const HAS_GENERATION: bool = true;

    strategy!(spec, status);
    fn fill_defaults(&mut self) {
        // What they say stands in the spec here.
        conversion::drop_annotations(&mut self.metadata);
        defaults::spec(&mut self.spec);
    }
    fn validate(&self, problems: &mut Problems) {
        validate::spec(&self.spec, &Path::root("spec"), problems);
        if check::is_new(&self.metadata) {
            validate::target(&self.spec.scale_target_ref, &Path::root("spec.scaleTargetRef"), problems);
        }
    }
    fn validate_update(&self, old: &Self, problems: &mut Problems) {
        let (new, old) = (&self.spec.scale_target_ref, &old.spec.scale_target_ref);
        if (&new.kind, &new.api_version) != (&old.kind, &old.api_version) {
            validate::target(new, &Path::root("spec.scaleTargetRef"), problems);
        }
    }
    fn validate_status(&self, _old: &Self, problems: &mut Problems) {
        let (status, at) = (self.status.as_ref(), Path::root("status"));
        let current = status.and_then(|s| s.current_replicas);
        check::not_negative(problems, &at.field("currentReplicas"), current);
        check::not_negative(problems, &at.field("desiredReplicas"), status.map(|s| s.desired_replicas));
    }
    fn columns() -> &'static [Column] {
        columns::COLUMNS
    }
    fn row(&self, now_secs: i64) -> Vec<Cell> {
        columns::row(self, now_secs)
    }
}

/// All rules are v2's. After every step an object reads as it will be read from the store.
impl Kind for v1::HorizontalPodAutoscaler {
    const SINGULAR: &'static str = SINGULAR;
    const SHORT_NAMES: &'static [&'static str] = SHORT_NAMES;
    const CATEGORIES: &'static [&'static str] = CATEGORIES;
    const STORE_PREFIX: &'static str = STORE_PREFIX;
    const SUBRESOURCES: &'static [&'static str] = SUBRESOURCES;
    const HAS_GENERATION: bool = true;

    fn fill_defaults(&mut self) {
        as_v2(self, Kind::fill_defaults);
    }
    fn start_status(&mut self) {
        as_v2(self, Kind::start_status);
    }
    /// The status is in annotations, too, which are metadata: of those no plain write may say anything.
    fn keep_status(&mut self, old: &Self) {
        let old = conversion::to_v2(old);
        as_v2(self, |new| new.keep_status(&old));
    }
    fn keep_spec(&mut self, old: &Self) {
        let old = conversion::to_v2(old);
        as_v2(self, |new| new.keep_spec(&old));
    }
    fn has_other_spec(&self, old: &Self) -> bool {
        conversion::to_v2(self).has_other_spec(&conversion::to_v2(old))
    }
    fn validate(&self, problems: &mut Problems) {
        conversion::to_v2(self).validate(problems);
    }
    fn validate_update(&self, old: &Self, problems: &mut Problems) {
        conversion::to_v2(self).validate_update(&conversion::to_v2(old), problems);
    }
    fn validate_status(&self, old: &Self, problems: &mut Problems) {
        conversion::to_v2(self).validate_status(&conversion::to_v2(old), problems);
    }
    fn columns() -> &'static [Column] {
        columns::COLUMNS
    }
    fn row(&self, now_secs: i64) -> Vec<Cell> {
        conversion::to_v2(self).row(now_secs)
    }
    fn conversion() -> Option<LocalConversion> {
        Some(LocalConversion {
            from_stored: Arc::new(conversion::from_stored),
            to_stored: Arc::new(conversion::to_stored),
        })
    }
}

fn as_v2(object: &mut v1::HorizontalPodAutoscaler, change: impl FnOnce(&mut v2::HorizontalPodAutoscaler)) {
    let mut stored = conversion::to_v2(object);
    change(&mut stored);
    // None of these types can fail to be written.
    if let Ok(changed) = conversion::from_v2(stored) {
        *object = changed;
    }
}

#[cfg(test)]
mod tests;
