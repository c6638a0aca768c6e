//! VolumeAttributesClass: what a driver should make of volumes that are there, by the class's name.

use corten_api::Problems;
use k8s_openapi::api::storage::v1::VolumeAttributesClass;

use super::{parameters, provisioner};
use crate::registry::path::Path;
use crate::registry::{Cell, Column, Kind, cells};

const COLUMNS: &[Column] =
    &[cells::NAME, cells::text("DriverName", "The driver that knows the parameters"), cells::AGE];

impl Kind for VolumeAttributesClass {
    const SINGULAR: &'static str = "volumeattributesclass";
    const SHORT_NAMES: &'static [&'static str] = &["vac"];
    const STORE_PREFIX: &'static str = "volumeattributesclasses";
    const DELETE_RETURNS_OBJECT: bool = true;

    strategy!();
    fn validate(&self, problems: &mut Problems) {
        provisioner(problems, &Path::root("driverName"), &self.driver_name);
        let at = Path::root("parameters");
        parameters(problems, &at, self.parameters.as_ref());
        if self.parameters.as_ref().is_none_or(|p| p.is_empty()) {
            problems.required(at, "must contain at least one key/value pair");
        }
    }
    fn validate_update(&self, old: &Self, problems: &mut Problems) {
        if self.driver_name != old.driver_name {
            problems.forbidden("driverName", "updates to driverName are forbidden.");
        }
        if self.parameters != old.parameters {
            problems.forbidden("parameters", "updates to parameters are forbidden.");
        }
    }
    fn columns() -> &'static [Column] {
        COLUMNS
    }
    fn row(&self, now_secs: i64) -> Vec<Cell> {
        let driver = Cell::text_or(Some(&self.driver_name), "");
        vec![cells::name(&self.metadata), driver, cells::age(&self.metadata, now_secs)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::check::testing::{found, found_on_update, row};

    const GOOD: &str = r#"{"metadata":{"name":"gold"},"driverName":"csi.example.com","parameters":{"iops":"9000"}}"#;

    #[test]
    fn bad_classes() {
        let required =
            ["driverName: Required value", "parameters: Required value: must contain at least one key/value pair"];
        assert!(found::<VolumeAttributesClass>(GOOD).is_empty());
        assert_eq!(found::<VolumeAttributesClass>(r#"{"parameters":{}}"#), required);
    }

    #[test]
    fn it_stays_as_it_is() {
        let changed = GOOD.replace("csi.example.com", "other").replace("9000", "1");
        let expected = [
            "driverName: Forbidden: updates to driverName are forbidden.",
            "parameters: Forbidden: updates to parameters are forbidden.",
        ];
        assert_eq!(found_on_update::<VolumeAttributesClass>(GOOD, &changed), expected);
        assert!(found_on_update::<VolumeAttributesClass>(GOOD, GOOD).is_empty());
    }

    #[test]
    fn columns() {
        assert_eq!(row::<VolumeAttributesClass>(GOOD, 0), "gold|csi.example.com|<unknown>");
    }
}
