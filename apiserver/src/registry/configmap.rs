//! ConfigMap: keys are file names, all values together are bounded, an immutable one stays as it is.

use corten_api::Problems;
use k8s_openapi::api::core::v1::ConfigMap;

use super::path::Path;
use super::{Cell, Column, Kind, cells, check};

/// All keys' values of a ConfigMap or Secret together.
pub const DATA_BYTES_MAX: usize = 1024 * 1024;
pub const IMMUTABLE_WHY: &str = "field is immutable when `immutable` is set";

const COLUMNS: &[Column] = &[cells::NAME, cells::integer("Data", "How many keys it has"), cells::AGE];

impl Kind for ConfigMap {
    const SINGULAR: &'static str = "configmap";
    const SHORT_NAMES: &'static [&'static str] = &["cm"];
    const STORE_PREFIX: &'static str = "configmaps";

    strategy!();
    fn validate(&self, problems: &mut Problems) {
        let (data, binary) = (Path::root("data"), Path::root("binaryData"));
        let mut bytes = 0;
        for (key, value) in self.data.iter().flatten() {
            check::config_key(problems, &data.key(key), key);
            if self.binary_data.as_ref().is_some_and(|b| b.contains_key(key)) {
                problems.invalid(data.key(key), key, "duplicate of key present in binaryData");
            }
            bytes += value.len();
        }
        for (key, value) in self.binary_data.iter().flatten() {
            check::config_key(problems, &binary.key(key), key);
            bytes += value.0.len();
        }
        if bytes > DATA_BYTES_MAX {
            // Upstream reports this on the object itself, whose path is empty.
            problems.too_long("", DATA_BYTES_MAX);
        }
    }
    fn validate_update(&self, old: &Self, problems: &mut Problems) {
        if old.immutable != Some(true) {
            return;
        }
        if self.immutable != Some(true) {
            problems.forbidden("immutable", IMMUTABLE_WHY);
        }
        if self.data != old.data {
            problems.forbidden("data", IMMUTABLE_WHY);
        }
        if self.binary_data != old.binary_data {
            problems.forbidden("binaryData", IMMUTABLE_WHY);
        }
    }
    fn columns() -> &'static [Column] {
        COLUMNS
    }
    fn row(&self, now_secs: i64) -> Vec<Cell> {
        let keys = self.data.as_ref().map_or(0, |d| d.len()) + self.binary_data.as_ref().map_or(0, |d| d.len());
        vec![cells::name(&self.metadata), Cell::count(keys), cells::age(&self.metadata, now_secs)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::check::testing::{found, found_on_update, object};

    #[test]
    fn bad_config_maps() {
        let cases = [
            (r#"{"data":{"a.b-c_d":"x"}}"#, vec![]),
            (r#"{"data":{"..":"x"}}"#, vec![r#"data[..]: Invalid value: "..": must not be '..'"#]),
            (
                r#"{"data":{"a":"x"},"binaryData":{"a":"eA=="}}"#,
                vec![r#"data[a]: Invalid value: "a": duplicate of key present in binaryData"#],
            ),
        ];
        for (json, expected) in cases {
            assert_eq!(found::<ConfigMap>(json), expected, "{json}");
        }
        let mut large: ConfigMap = object("{}");
        large.data = Some([("a".to_owned(), "x".repeat(DATA_BYTES_MAX + 1))].into());
        let mut problems = Problems::default();
        large.validate(&mut problems);
        assert!(!problems.is_empty());
    }

    #[test]
    fn an_immutable_one_stays() {
        let found = |new| found_on_update::<ConfigMap>(r#"{"data":{"a":"x"},"immutable":true}"#, new);
        assert!(found(r#"{"metadata":{"labels":{"a":"b"}},"data":{"a":"x"},"immutable":true}"#).is_empty());
        assert_eq!(
            found(r#"{"data":{"a":"y"}}"#),
            [
                "immutable: Forbidden: field is immutable when `immutable` is set",
                "data: Forbidden: field is immutable when `immutable` is set"
            ]
        );
    }
}
