//! DeviceClass: devices of one sort, by selectors, and how they are to be set up.

use corten_api::Problems;
use k8s_openapi::api::resource::v1::DeviceClass;

use super::lists::bounded;
use super::{config, names, selectors};
use crate::registry::path::Path;
use crate::registry::{Cell, Column, Kind, cells};

const COLUMNS: &[Column] = &[cells::NAME, cells::AGE];

impl Kind for DeviceClass {
    const SINGULAR: &'static str = "deviceclass";
    const STORE_PREFIX: &'static str = "deviceclasses";
    const DELETE_RETURNS_OBJECT: bool = true;
    const HAS_GENERATION: bool = true;

    strategy!(spec);
    fn fill_defaults(&mut self) {
        self.spec.get_or_insert_default();
    }
    fn validate(&self, problems: &mut Problems) {
        let Some(spec) = &self.spec else { return };
        let at = Path::root("spec");
        selectors::validate(spec.selectors.as_ref(), &at.field("selectors"), problems);
        let list = at.field("config");
        for (i, one) in bounded(spec.config.as_ref(), config::CONFIGS_MAX, &list, problems).iter().enumerate() {
            config::validate(one.opaque.as_ref(), &list.index(i), problems);
        }
        if let Some(name) = &spec.extended_resource_name {
            names::extended_resource(name, &at.field("extendedResourceName"), problems);
        }
    }
    fn columns() -> &'static [Column] {
        COLUMNS
    }
    fn row(&self, now_secs: i64) -> Vec<Cell> {
        vec![cells::name(&self.metadata), cells::age(&self.metadata, now_secs)]
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::registry::check::testing::{defaulted, found, object, row};

    #[test]
    fn bad_classes() {
        let config = json!({"opaque": {"driver": "d", "parameters": {}}});
        let selector = json!({"cel": {"expression": "true"}});
        for (spec, expected) in [
            (json!({"selectors": [selector], "config": [config], "extendedResourceName": "example.com/gpu"}), ""),
            (json!({}), ""),
            (json!({"selectors": vec![selector; 33]}), "spec.selectors: Too many: 33: must have at most 32 items"),
            (json!({"selectors": [{}]}), "spec.selectors[0].cel: Required value"),
            (json!({"config": vec![config; 33]}), "spec.config: Too many: 33: must have at most 32 items"),
            (json!({"config": [{}]}), "spec.config[0].opaque: Required value"),
            (
                json!({"extendedResourceName": "gpu"}),
                r#"spec.extendedResourceName: Invalid value: "gpu": a name must be a domain-prefixed path, such as 'example.com/my-prop'"#,
            ),
        ] {
            assert_eq!(found::<DeviceClass>(&json!({ "spec": spec }).to_string()).join("\n"), expected);
        }
    }

    #[test]
    fn the_generation_counts_changes_of_the_spec() {
        let old: DeviceClass = defaulted("{}");
        assert!(!defaulted::<DeviceClass>(r#"{"metadata":{"labels":{"a":"b"}},"spec":{}}"#).spec_changed(&old));
        assert!(object::<DeviceClass>(r#"{"spec":{"extendedResourceName":"a/b"}}"#).spec_changed(&old));
    }

    #[test]
    fn columns() {
        assert_eq!(row::<DeviceClass>(r#"{"metadata":{"name":"gpu"}}"#, 0), "gpu|<unknown>");
    }
}
