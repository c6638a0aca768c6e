//! CSIStorageCapacity: how much room a driver has for volumes of a class, on some nodes.

use corten_api::Problems;
use corten_api::quantity::Quantity;
use k8s_openapi::api::storage::v1::CSIStorageCapacity;

use crate::registry::path::Path;
use crate::registry::warnings::Warnings;
use crate::registry::{Cell, Column, Kind, cells, check, quantities};

const COLUMNS: &[Column] = &[
    cells::NAME,
    cells::text("StorageClassName", "The class of the volumes"),
    cells::text("Capacity", "How much room there is"),
];

impl Kind for CSIStorageCapacity {
    const SINGULAR: &'static str = "csistoragecapacity";
    const STORE_PREFIX: &'static str = "csistoragecapacities";
    const UNCONDITIONAL_UPDATE: bool = false;

    strategy!();
    fn fill_defaults(&mut self) {
        for amount in [&mut self.capacity, &mut self.maximum_volume_size].into_iter().flatten() {
            if let Ok(parsed) = Quantity::from_wire(amount) {
                *amount = parsed.to_wire();
            }
        }
    }
    fn validate(&self, problems: &mut Problems) {
        if let Some(selector) = &self.node_topology {
            check::label_selector(problems, &Path::root("nodeTopology"), selector);
        }
        check::dns_subdomain(problems, &Path::root("storageClassName"), &self.storage_class_name);
        let at = Path::root("capacity");
        if let Some(capacity) = self.capacity.as_ref().and_then(|wire| quantities::well_formed(problems, &at, wire)) {
            quantities::not_negative(problems, &at, capacity);
        }
        if let Some(size) = &self.maximum_volume_size {
            quantities::well_formed(problems, &Path::root("maximumVolumeSize"), size);
        }
    }
    /// What the driver was asked stays; its answer may change.
    fn validate_update(&self, old: &Self, problems: &mut Problems) {
        check::immutable(problems, &Path::root("nodeTopology"), &self.node_topology, &old.node_topology);
        let (class, was) = (&self.storage_class_name, &old.storage_class_name);
        check::immutable(problems, &Path::root("storageClassName"), class, was);
    }
    fn warnings(&self, _old: Option<&Self>) -> Vec<String> {
        let mut warnings = Warnings::default();
        let at = Path::root("nodeTopology");
        let Some(topology) = &self.node_topology else { return Vec::new() };
        let list = at.field("matchExpressions");
        for (i, expression) in topology.match_expressions.iter().flatten().enumerate() {
            warnings.node_label_at(&list.index(i).field("key"), &expression.key);
        }
        for key in topology.match_labels.iter().flatten().map(|(key, _)| key) {
            warnings.node_label(&at.field("matchLabels").field(key), key);
        }
        warnings.into_vec()
    }
    fn columns() -> &'static [Column] {
        COLUMNS
    }
    fn row(&self, _now_secs: i64) -> Vec<Cell> {
        let capacity = self.capacity.as_ref().map(|wire| wire.0.as_str());
        let class = Cell::text_or(Some(&self.storage_class_name), "");
        vec![cells::name(&self.metadata), class, Cell::text_or(capacity, "<unset>")]
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Wire;

    use super::*;
    use crate::registry::check::testing::{defaulted, found, found_on_update, row};

    const GOOD: &str = r#"{"metadata":{"name":"c"},"storageClassName":"fast","capacity":"1024Mi",
        "nodeTopology":{"matchLabels":{"zone":"a"}},"maximumVolumeSize":"1Gi"}"#;

    #[test]
    fn bad_capacities() {
        let cases = [
            (GOOD.to_owned(), vec![]),
            (r#"{"storageClassName":"fast"}"#.into(), vec![]),
            (
                GOOD.replace("1024Mi", "-1"),
                vec![r#"capacity: Invalid value: "-1": must be greater than or equal to 0"#],
            ),
        ];
        for (json, expected) in cases {
            assert_eq!(found::<CSIStorageCapacity>(&json), expected, "{json}");
        }
        let starts = [
            (GOOD.replace("fast", "A_b"), r#"storageClassName: Invalid value: "A_b""#),
            (GOOD.replace("fast", ""), r#"storageClassName: Invalid value: """#),
            (GOOD.replace("zone", "-"), r#"nodeTopology.matchLabels: Invalid value: "-""#),
            (GOOD.replace("1Gi", "x"), r#"maximumVolumeSize: Invalid value: "x""#),
        ];
        for (json, expected) in starts {
            let found = found::<CSIStorageCapacity>(&json);
            assert!(found.len() == 1 && found[0].starts_with(expected), "{json}: {found:?}");
        }
        let stored: CSIStorageCapacity = defaulted(GOOD);
        assert_eq!(stored.capacity, Some(Wire("1Gi".into())), "as it prints");
    }

    #[test]
    fn what_was_asked_stays() {
        assert!(found_on_update::<CSIStorageCapacity>(GOOD, &GOOD.replace("1024Mi", "5")).is_empty());
        let other = GOOD.replace("fast", "slow").replace(r#""zone":"a""#, r#""zone":"b""#);
        assert_eq!(
            found_on_update::<CSIStorageCapacity>(GOOD, &other),
            [
                r#"nodeTopology: Invalid value: {"matchLabels":{"zone":"b"}}: field is immutable"#,
                r#"storageClassName: Invalid value: "slow": field is immutable"#,
            ]
        );
    }

    #[test]
    fn columns() {
        assert_eq!(row::<CSIStorageCapacity>(GOOD, 0), "c|fast|1024Mi");
        assert_eq!(row::<CSIStorageCapacity>("{}", 0), "||<unset>");
    }
}
