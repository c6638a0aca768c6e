//! StorageClass: how volumes are made that a claim asks for by the class's name.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use corten_api::Problems;
use k8s_openapi::api::core::v1::TopologySelectorTerm;
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{parameters, provisioner};
use crate::registry::path::Path;
use crate::registry::warnings::Warnings;
use crate::registry::{Cell, Column, Kind, cells, check};

/// Marks the class that claims without one get. The second is its name of old.
const IS_DEFAULT: [&str; 2] =
    ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"];
const DELETE: &str = "Delete";
const IMMEDIATE: &str = "Immediate";
const RECLAIM_POLICIES: &[&str] = &[DELETE, "Retain"];
const BINDING_MODES: &[&str] = &[IMMEDIATE, "WaitForFirstConsumer"];

const COLUMNS: &[Column] = &[
    cells::NAME,
    cells::text("Provisioner", "The driver that makes the volumes"),
    cells::text("ReclaimPolicy", "What becomes of a volume whose claim is deleted"),
    cells::text("VolumeBindingMode", "When a claim gets its volume"),
    cells::text("AllowVolumeExpansion", "Whether claims may ask for more later"),
    cells::AGE,
];

impl Kind for StorageClass {
    const SINGULAR: &'static str = "storageclass";
    const SHORT_NAMES: &'static [&'static str] = &["sc"];
    const STORE_PREFIX: &'static str = "storageclasses";
    const DELETE_RETURNS_OBJECT: bool = true;

    strategy!();
    fn fill_defaults(&mut self) {
        self.reclaim_policy.get_or_insert_with(|| DELETE.into());
        self.volume_binding_mode.get_or_insert_with(|| IMMEDIATE.into());
        // An update that says no parameters in another way changes nothing.
        self.parameters.take_if(|p| p.is_empty());
    }
    fn validate(&self, problems: &mut Problems) {
        provisioner(problems, &Path::root("provisioner"), &self.provisioner);
        parameters(problems, &Path::root("parameters"), self.parameters.as_ref());
        let policy = self.reclaim_policy.as_ref().filter(|p| !p.is_empty());
        check::optional_word(problems, &Path::root("reclaimPolicy"), policy, RECLAIM_POLICIES);
        let mode_at = Path::root("volumeBindingMode");
        match &self.volume_binding_mode {
            None => problems.required(mode_at, ""),
            mode => check::optional_word(problems, &mode_at, mode.as_ref(), BINDING_MODES),
        }
        let terms = self.allowed_topologies.as_deref().unwrap_or_default();
        topologies(problems, &Path::root("allowedTopologies"), terms);
    }
    fn validate_update(&self, old: &Self, problems: &mut Problems) {
        check::immutable(problems, &Path::root("provisioner"), &self.provisioner, &old.provisioner);
        check::immutable(problems, &Path::root("parameters"), &self.parameters, &old.parameters);
        check::immutable(problems, &Path::root("reclaimPolicy"), &self.reclaim_policy, &old.reclaim_policy);
        let (mode, was) = (&self.volume_binding_mode, &old.volume_binding_mode);
        check::immutable(problems, &Path::root("volumeBindingMode"), mode, was);
    }
    fn warnings(&self, _old: Option<&Self>) -> Vec<String> {
        let mut warnings = Warnings::default();
        let list = Path::root("allowedTopologies");
        for (i, term) in self.allowed_topologies.iter().flatten().enumerate() {
            let list = list.index(i);
            let list = list.field("matchLabelExpressions");
            for (j, expression) in term.match_label_expressions.iter().flatten().enumerate() {
                warnings.node_label(&list.index(j).field("key"), &expression.key);
            }
        }
        warnings.into_vec()
    }
    fn columns() -> &'static [Column] {
        COLUMNS
    }
    fn row(&self, now_secs: i64) -> Vec<Cell> {
        let name = check::text(self.metadata.name.as_ref());
        let mark = if is_default(&self.metadata) { " (default)" } else { "" };
        vec![
            Cell::text(format!("{name}{mark}")),
            Cell::text_or(Some(&self.provisioner), ""),
            Cell::text_or(self.reclaim_policy.as_deref(), DELETE),
            Cell::text_or(self.volume_binding_mode.as_deref(), IMMEDIATE),
            Cell::boolean(self.allow_volume_expansion == Some(true)),
            cells::age(&self.metadata, now_secs),
        ]
    }
}

/// Whether a class says that it is the default. Of several the newest is.
pub fn is_default(meta: &ObjectMeta) -> bool {
    let has = |key| meta.annotations.as_ref().and_then(|a| a.get(key)).is_some_and(|value| value == "true");
    IS_DEFAULT.into_iter().any(has)
}

/// Where volumes may be. Two terms that say the same are one too many, and so is one that says nothing.
fn topologies(problems: &mut Problems, list: &Path<'_>, terms: &[TopologySelectorTerm]) {
    let mut seen = HashSet::from([BTreeMap::new()]);
    for (i, term) in terms.iter().enumerate() {
        let at = list.index(i);
        let expressions = at.field("matchLabelExpressions");
        let mut by_key: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (j, one) in term.match_label_expressions.iter().flatten().enumerate() {
            let at = expressions.index(j);
            let values_at = at.field("values");
            if one.values.is_empty() {
                problems.required(values_at, "");
            }
            let mut values = BTreeSet::new();
            for (k, value) in one.values.iter().enumerate() {
                if !values.insert(value.as_str()) {
                    problems.duplicate(values_at.index(k), value);
                }
            }
            check::qualified_name(problems, &at.field("key"), &one.key);
            if by_key.insert(&one.key, values).is_some() {
                problems.duplicate(at.field("key"), &one.key);
            }
        }
        if !seen.insert(by_key) {
            problems.duplicate(expressions, "");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::check::testing::{defaulted, found, found_on_update, row};

    const GOOD: &str = r#"{"metadata":{"name":"fast"},"provisioner":"CSI.example.com"}"#;

    fn with(extra: &str) -> String {
        GOOD.replacen('{', &format!("{{{extra},"), 1)
    }
    fn topologies(terms: &str) -> String {
        with(&format!(r#""allowedTopologies":[{terms}]"#))
    }

    #[test]
    fn defaults() {
        let class: StorageClass = defaulted(&with(r#""parameters":{}"#));
        assert_eq!(class.reclaim_policy.as_deref(), Some("Delete"));
        assert_eq!(class.volume_binding_mode.as_deref(), Some("Immediate"));
        assert_eq!(class.parameters, None);
    }

    #[test]
    fn bad_classes() {
        let zone = r#"{"matchLabelExpressions":[{"key":"zone","values":["a","b"]}]}"#;
        let same = r#"{"matchLabelExpressions":[{"key":"zone","values":["b","a"]}]}"#;
        let cases = [
            (GOOD.to_owned(), vec![]),
            (with(r#""reclaimPolicy":"Retain","volumeBindingMode":"WaitForFirstConsumer""#), vec![]),
            ("{}".into(), vec!["provisioner: Required value".to_owned()]),
            (
                with(r#""reclaimPolicy":"Recycle""#),
                vec![r#"reclaimPolicy: Unsupported value: "Recycle": supported values: "Delete", "Retain""#.into()],
            ),
            (
                with(r#""volumeBindingMode":"""#),
                vec![
                    r#"volumeBindingMode: Unsupported value: "": supported values: "Immediate", "WaitForFirstConsumer""#
                        .into(),
                ],
            ),
            (topologies(zone), vec![]),
            (
                topologies(&format!("{zone},{same}")),
                vec![r#"allowedTopologies[1].matchLabelExpressions: Duplicate value: """#.into()],
            ),
            (topologies("{}"), vec![r#"allowedTopologies[0].matchLabelExpressions: Duplicate value: """#.into()]),
            (
                topologies(
                    r#"{"matchLabelExpressions":[{"key":"z","values":[]},{"key":"y","values":["a","a"]},{"key":"z","values":["c"]}]}"#,
                ),
                vec![
                    "allowedTopologies[0].matchLabelExpressions[0].values: Required value".into(),
                    r#"allowedTopologies[0].matchLabelExpressions[1].values[1]: Duplicate value: "a""#.into(),
                    r#"allowedTopologies[0].matchLabelExpressions[2].key: Duplicate value: "z""#.into(),
                ],
            ),
        ];
        for (json, expected) in cases {
            assert_eq!(found::<StorageClass>(&json), expected, "{json}");
        }
        let bad_name = found::<StorageClass>(r#"{"provisioner":"A b"}"#);
        assert!(bad_name[0].starts_with(r#"provisioner: Invalid value: "a b": name part must"#), "{bad_name:?}");
        let bad_key = topologies(r#"{"matchLabelExpressions":[{"key":"-","values":["a"]}]}"#);
        let expected = r#"allowedTopologies[0].matchLabelExpressions[0].key: Invalid value: "-""#;
        assert!(found::<StorageClass>(&bad_key)[0].starts_with(expected));
    }

    #[test]
    fn what_makes_volumes_stays() {
        let changed = found_on_update::<StorageClass>(
            GOOD,
            r#"{"metadata":{"name":"fast"},"provisioner":"other","parameters":{"a":"b"},"reclaimPolicy":"Retain","volumeBindingMode":"WaitForFirstConsumer"}"#,
        );
        let expected = [
            r#"provisioner: Invalid value: "other": field is immutable"#,
            r#"parameters: Invalid value: {"a":"b"}: field is immutable"#,
            r#"reclaimPolicy: Invalid value: "Retain": field is immutable"#,
            r#"volumeBindingMode: Invalid value: "WaitForFirstConsumer": field is immutable"#,
        ];
        assert_eq!(changed, expected);
        let grown = with(r#""allowVolumeExpansion":true,"mountOptions":["ro"],"parameters":{}"#);
        assert!(found_on_update::<StorageClass>(GOOD, &grown).is_empty());
    }

    #[test]
    fn columns() {
        assert_eq!(row::<StorageClass>(GOOD, 0), "fast|CSI.example.com|Delete|Immediate|false|<unknown>");
        let default = r#"{"metadata":{"name":"d","annotations":{"storageclass.kubernetes.io/is-default-class":"true"}},
            "provisioner":"p","reclaimPolicy":"Retain","allowVolumeExpansion":true}"#;
        assert_eq!(row::<StorageClass>(default, 0), "d (default)|p|Retain|Immediate|true|<unknown>");
    }
}
