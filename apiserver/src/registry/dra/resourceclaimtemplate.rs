//! ResourceClaimTemplate: the claim that each pod of a workload gets for itself.

use corten_api::Problems;
use k8s_openapi::api::resource::v1::ResourceClaimTemplate;

use super::claim;
use crate::registry::path::Path;
use crate::registry::{Cell, Column, Kind, WriteContext, cells, check};

const COLUMNS: &[Column] = &[cells::NAME, cells::AGE];

impl Kind for ResourceClaimTemplate {
    const SINGULAR: &'static str = "resourceclaimtemplate";
    const STORE_PREFIX: &'static str = "resourceclaimtemplates";
    const DELETE_RETURNS_OBJECT: bool = true;

    strategy!(spec);
    fn fill_defaults(&mut self) {
        claim::fill_defaults(self.spec.get_or_insert_default().spec.get_or_insert_default());
    }
    fn prepare_create(&mut self, _: &WriteContext<'_>) {
        drop_disabled(self);
    }
    fn prepare_update(&mut self, _old: &Self, _: &WriteContext<'_>) {
        drop_disabled(self);
    }
    fn validate(&self, problems: &mut Problems) {
        let Some(spec) = &self.spec else { return };
        let at = Path::root("spec");
        if let Some(meta) = &spec.metadata {
            let at = at.field("metadata");
            check::annotations(problems, &at.field("annotations"), meta.annotations.as_ref());
            check::labels(problems, &at.field("labels"), meta.labels.as_ref());
        }
        if let Some(spec) = &spec.spec {
            claim::validate(spec, &at.field("spec"), problems);
        }
    }
    fn validate_update(&self, old: &Self, problems: &mut Problems) {
        check::immutable(problems, &Path::root("spec"), &self.spec, &old.spec);
    }
    fn columns() -> &'static [Column] {
        COLUMNS
    }
    fn row(&self, now_secs: i64) -> Vec<Cell> {
        vec![cells::name(&self.metadata), cells::age(&self.metadata, now_secs)]
    }
}

fn drop_disabled(template: &mut ResourceClaimTemplate) {
    if let Some(spec) = template.spec.as_mut().and_then(|spec| spec.spec.as_mut()) {
        claim::drop_disabled(spec);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::check::testing::{found, found_on_update, row};

    #[test]
    fn the_claim_is_looked_at_and_stays() {
        let good = r#"{"spec":{"metadata":{"labels":{"a":"b"}},"spec":{"devices":{"requests":[{"name":"a","exactly":{"deviceClassName":"gpu"}}]}}}}"#;
        assert!(found::<ResourceClaimTemplate>(good).is_empty());
        let found_in = |from: &str, to: &str| found::<ResourceClaimTemplate>(&good.replace(from, to)).join("\n");
        assert!(found_in(r#""a":"b""#, r#""a":"-""#).starts_with("spec.metadata.labels: Invalid value"));
        let class = "spec.spec.devices.requests[0].exactly.deviceClassName: Required value";
        assert_eq!(found_in("gpu", ""), class);
        assert!(found_on_update::<ResourceClaimTemplate>(good, good).is_empty());
        let changed = found_on_update::<ResourceClaimTemplate>(good, &good.replace("gpu", "cpu"));
        assert!(matches!(&changed[..], [one] if one.ends_with("field is immutable")), "{changed:?}");
    }

    #[test]
    fn columns() {
        assert_eq!(row::<ResourceClaimTemplate>(r#"{"metadata":{"name":"a"}}"#, 0), "a|<unknown>");
    }
}
