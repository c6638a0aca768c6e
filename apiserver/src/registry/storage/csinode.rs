//! CSINode: the volume drivers of a node, as its kubelet tells. Its name is the node's.

use std::collections::{HashMap, HashSet};

use corten_api::Problems;
use k8s_openapi::api::storage::v1::{CSINode, CSINodeDriver};

use crate::registry::path::Path;
use crate::registry::{Cell, Column, Kind, WriteContext, cells, check};

const NODE_ID_BYTES_MAX: usize = 256;

const COLUMNS: &[Column] =
    &[cells::NAME, cells::integer("Drivers", "How many volume drivers the node has"), cells::AGE];

impl Kind for CSINode {
    const SINGULAR: &'static str = "csinode";
    const STORE_PREFIX: &'static str = "csinodes";
    const DELETE_RETURNS_OBJECT: bool = true;
    const SUBRESOURCES: &'static [&'static str] = &["status"];
    const UNCONDITIONAL_UPDATE: bool = false;
    const STATUS_KEEPS_METADATA: bool = true;

    strategy!(spec, status);
    /// All there is in the status, the health of storage, is behind a gate that is off by default: it is dropped.
    fn prepare_status(&mut self, old: &Self, _: &WriteContext<'_>) {
        self.status = old.status.clone();
    }
    fn validate(&self, problems: &mut Problems) {
        let list = Path::root("spec.drivers");
        let mut names = HashSet::new();
        for (i, driver) in self.spec.drivers.iter().enumerate() {
            let at = list.index(i);
            validate_driver(driver, &at, problems);
            if !names.insert(&driver.name) {
                problems.duplicate(at.field("name"), &driver.name);
            }
        }
    }
    /// What a driver said of a node stays until it is taken off, but for how many volumes it can hold.
    fn validate_update(&self, old: &Self, problems: &mut Problems) {
        let bare = |driver: &CSINodeDriver| CSINodeDriver { allocatable: None, ..driver.clone() };
        let before: HashMap<&str, &CSINodeDriver> = old.spec.drivers.iter().map(|d| (d.name.as_str(), d)).collect();
        for driver in &self.spec.drivers {
            if let Some(was) = before.get(driver.name.as_str()) {
                check::immutable(problems, &Path::root("spec.drivers"), &bare(driver), &bare(was));
            }
        }
    }
    fn columns() -> &'static [Column] {
        COLUMNS
    }
    fn row(&self, now_secs: i64) -> Vec<Cell> {
        let drivers = Cell::count(self.spec.drivers.len());
        vec![cells::name(&self.metadata), drivers, cells::age(&self.metadata, now_secs)]
    }
}

fn validate_driver(driver: &CSINodeDriver, at: &Path<'_>, problems: &mut Problems) {
    check::csi_driver_name(problems, &at.field("name"), &driver.name);
    let id_at = at.field("nodeID");
    match driver.node_id.as_str() {
        "" => problems.required(id_at, ""),
        id if id.len() > NODE_ID_BYTES_MAX => {
            problems.invalid(id_at, id, &format!("must be {NODE_ID_BYTES_MAX} characters or less"));
        }
        _ => {}
    }
    let count = driver.allocatable.as_ref().and_then(|a| a.count);
    check::not_negative(problems, &at.field("allocatable").field("count"), count);
    let mut seen = HashSet::new();
    for key in driver.topology_keys.iter().flatten() {
        if !seen.insert(key) {
            problems.duplicate(at, key);
        }
        match key.as_str() {
            "" => problems.required(at, ""),
            key => check::qualified_name(problems, at, key),
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::storage::v1::CSINodeStatus;

    use super::*;
    use crate::registry::Strategy;
    use crate::registry::check::testing::{found, found_on_update, object, prepare, row};

    fn with(drivers: &str) -> String {
        format!(r#"{{"metadata":{{"name":"n1"}},"spec":{{"drivers":[{drivers}]}}}}"#)
    }
    const GOOD: &str = r#"{"name":"csi.example.com","nodeID":"n1","topologyKeys":["zone"],"allocatable":{"count":3}}"#;

    #[test]
    fn bad_nodes() {
        let long = format!(r#"{{"name":"a","nodeID":"{}"}}"#, "x".repeat(257));
        let too_long =
            format!(r#"spec.drivers[0].nodeID: Invalid value: "{}": must be 256 characters or less"#, "x".repeat(257));
        let cases = [
            (GOOD.to_owned(), vec![]),
            (String::new(), vec![]),
            (long.replacen('x', "", 1), vec![]),
            (long, vec![too_long]),
            (
                r#"{"name":"","nodeID":""}"#.into(),
                vec!["spec.drivers[0].name: Required value".into(), "spec.drivers[0].nodeID: Required value".into()],
            ),
            (format!("{GOOD},{GOOD}"), vec![r#"spec.drivers[1].name: Duplicate value: "csi.example.com""#.into()]),
            (
                r#"{"name":"A.b","nodeID":"n","topologyKeys":["a","a",""],"allocatable":{"count":-1}}"#.into(),
                vec![
                    "spec.drivers[0].allocatable.count: Invalid value: -1: must be greater than or equal to 0".into(),
                    r#"spec.drivers[0]: Duplicate value: "a""#.into(),
                    "spec.drivers[0]: Required value".into(),
                ],
            ),
        ];
        for (drivers, expected) in cases {
            assert_eq!(found::<CSINode>(&with(&drivers)), expected, "{drivers}");
        }
    }

    #[test]
    fn a_driver_keeps_what_it_said_and_may_hold_more_volumes() {
        let update = |drivers: &str| found_on_update::<CSINode>(&with(GOOD), &with(drivers));
        assert!(update(&GOOD.replace('3', "5")).is_empty());
        assert!(update("").is_empty());
        assert!(update(r#"{"name":"other","nodeID":"x"}"#).is_empty());
        assert_eq!(
            update(r#"{"name":"csi.example.com","nodeID":"n2","topologyKeys":["zone"]}"#),
            [
                r#"spec.drivers: Invalid value: {"name":"csi.example.com","nodeID":"n2","topologyKeys":["zone"]}: field is immutable"#
            ]
        );
    }

    #[test]
    fn health_is_not_kept_while_its_gate_is_off() {
        let old: CSINode = object(&with(GOOD));
        let mut new: CSINode = object(
            r#"{"metadata":{"name":"n1","labels":{"a":"b"}},"status":{"storageHealth":[{"name":"csi.example.com"}]}}"#,
        );
        prepare(Strategy::Status(&old), &mut new);
        assert_eq!(new, old);
        new.status = None;
        prepare(Strategy::Create, &mut new);
        assert_eq!(new.status, Some(CSINodeStatus::default()));
    }

    #[test]
    fn columns() {
        assert_eq!(row::<CSINode>(&with(GOOD), 0), "n1|1|<unknown>");
    }
}
