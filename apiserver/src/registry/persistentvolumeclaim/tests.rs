//! Claims: what they get, what is said of bad ones, what may change.

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use serde_json::{Value, json};

use super::*;
use crate::registry::Strategy;
use crate::registry::check::testing::{self, defaulted, found_on_update, prepare, row, texts};

/// A good claim, with these fields of its spec.
fn claim(more: Value) -> Value {
    let mut spec = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}});
    for (field, value) in more.as_object().unwrap() {
        spec[field] = value.clone();
    }
    json!({"metadata": {"name": "c"}, "spec": spec})
}
fn asks(storage: &str) -> Value {
    json!({"resources": {"requests": {"storage": storage}}})
}

#[test]
fn a_new_claim_is_pending() {
    let mut new: PersistentVolumeClaim = defaulted(&claim(asks("1024Mi")).to_string());
    new.status.as_mut().unwrap().phase = Some("Bound".into());
    prepare(Strategy::Create, &mut new);
    let spec = serde_json::to_value(new.spec.unwrap()).unwrap();
    assert_eq!((&spec["volumeMode"], &spec["resources"]["requests"]["storage"]), (&json!("Filesystem"), &json!("1Gi")));
    assert_eq!(new.status.unwrap().phase.as_deref(), Some("Pending"));
}

#[test]
fn bad_claims() {
    let cases = [
        (json!({}), vec![]),
        (json!({"storageClassName": "", "selector": {"matchLabels": {"a": "b"}}}), vec![]),
        (json!({"accessModes": null}), vec!["spec.accessModes: Required value: at least 1 access mode is required"]),
        (json!({"resources": {}}), vec!["spec.resources[storage]: Required value"]),
        (asks("0"), vec![r#"spec.resources[storage]: Invalid value: "0": must be greater than zero"#]),
        (
            json!({"volumeMode": "Tape"}),
            vec![r#"spec.volumeMode: Unsupported value: "Tape": supported values: "Block", "Filesystem""#],
        ),
        (
            json!({"selector": {"matchExpressions": [{"key": "a", "operator": "In"}]}}),
            vec![
                "spec.selector.matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'",
            ],
        ),
        (
            json!({"dataSource": {"kind": "Odd", "name": ""}}),
            vec![
                "spec.dataSource.name: Required value",
                r#"spec.dataSource: Invalid value: "Odd": must be 'PersistentVolumeClaim' when referencing the default apiGroup"#,
            ],
        ),
        (
            json!({"dataSourceRef": {"kind": "", "name": "x", "apiGroup": "g.example.com"}}),
            vec!["spec.dataSourceRef.kind: Required value"],
        ),
        (
            json!({"dataSource": {"kind": "PersistentVolumeClaim", "name": "a"},
                "dataSourceRef": {"kind": "PersistentVolumeClaim", "name": "b"}}),
            vec![r#"spec: Invalid value: "spec.dataSource": must match dataSourceRef"#],
        ),
        (
            json!({"dataSource": {"kind": "PersistentVolumeClaim", "name": "a"},
                "dataSourceRef": {"kind": "PersistentVolumeClaim", "name": "a", "namespace": "n"}}),
            vec![
                r#"spec: Invalid value: "spec.dataSource": may not be specified when dataSourceRef.namespace is specified"#,
            ],
        ),
    ];
    for (more, expected) in cases {
        assert_eq!(testing::found::<PersistentVolumeClaim>(&claim(more.clone()).to_string()), expected, "{more}");
    }
    for (more, at) in [
        (asks("much"), "spec.resources[storage]: Invalid value"),
        (
            json!({"resources": {"requests": {"storage": "1", "x/y": "much"}}}),
            "spec.resources.requests[x/y]: Invalid value",
        ),
        (
            json!({"resources": {"requests": {"storage": "1"}, "limits": {"storage": "much"}}}),
            "spec.resources.limits[storage]: Invalid value",
        ),
        (json!({"storageClassName": "-"}), "spec.storageClassName: Invalid value"),
        (json!({"volumeAttributesClassName": "-"}), "spec.volumeAttributesClassName: Invalid value"),
        (json!({"dataSourceRef": {"kind": "K", "name": "x", "apiGroup": "-"}}), "spec.dataSourceRef.apiGroup: Invalid"),
        (
            json!({"dataSourceRef": {"kind": "K", "name": "x", "apiGroup": "g", "namespace": "-"}}),
            "spec.dataSourceRef.namespace: Invalid value",
        ),
        (json!({"selector": {"matchLabels": {"a": "-"}}}), "spec.selector.matchLabels: Invalid value"),
    ] {
        let found = testing::found::<PersistentVolumeClaim>(&claim(more).to_string());
        assert!(found.len() == 1 && found[0].starts_with(at), "{found:?}");
    }
}

/// Fields whose rules are younger than they are, and that cannot change, are left as they are.
#[test]
fn an_old_claim_is_not_held_to_younger_rules() {
    let mut old = claim(json!({"selector": {"matchLabels": {"a": "-"}},
        "dataSource": {"kind": "K", "name": "x", "apiGroup": "-"}}));
    assert_eq!(testing::found::<PersistentVolumeClaim>(&old.to_string()).len(), 2);
    old["metadata"]["resourceVersion"] = json!("7");
    assert_eq!(testing::found::<PersistentVolumeClaim>(&old.to_string()), Vec::<String>::new());
}

#[test]
fn either_data_source_is_copied_to_the_other() {
    let source = |kind: &str, group: &str| json!({"kind": kind, "name": "x", "apiGroup": group});
    let own = json!({"kind": "PersistentVolumeClaim", "name": "x"});
    let foreign = json!({"kind": "PersistentVolumeClaim", "name": "x", "namespace": "n"});
    let snapshot = source("VolumeSnapshot", "snapshot.storage.k8s.io");
    let odd = source("Odd", "example.com");
    let none = Value::Null;
    let cases = [
        ("nothing", &none, &none, &none, &none),
        ("a claim", &own, &none, &own, &own),
        ("a snapshot", &snapshot, &none, &snapshot, &snapshot),
        ("anything, in the newer field", &none, &odd, &odd, &odd),
        ("anything else in the old field is dropped", &odd, &none, &none, &none),
        ("another namespace is not served", &none, &foreign, &none, &none),
        ("two that differ are left to validation", &own, &odd, &own, &odd),
    ];
    for (why, source, source_ref, expected, expected_ref) in cases {
        let mut new: PersistentVolumeClaim =
            defaulted(&claim(json!({"dataSource": source, "dataSourceRef": source_ref})).to_string());
        prepare(Strategy::Create, &mut new);
        let spec = serde_json::to_value(new.spec.unwrap()).unwrap();
        let field = |name: &str| spec.get(name).unwrap_or(&Value::Null);
        assert_eq!((field("dataSource"), field("dataSourceRef")), (expected, expected_ref), "{why}");
    }
    let stored = claim(json!({"dataSource": odd, "dataSourceRef": odd})).to_string();
    let by_an_old_client = claim(json!({"dataSource": odd})).to_string();
    assert_eq!(found_on_update::<PersistentVolumeClaim>(&stored, &by_an_old_client), Vec::<String>::new());
    // Claims of before there was the newer field.
    let stored = claim(json!({"dataSource": own})).to_string();
    assert_eq!(found_on_update::<PersistentVolumeClaim>(&stored, &stored), Vec::<String>::new());
}

#[test]
fn what_may_change() {
    const FIXED: &str = "spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims\n  ";
    let bound = json!({"phase": "Bound", "capacity": {"storage": "2Gi"}});
    let classy = json!({"phase": "Bound", "currentVolumeAttributesClassName": "a"});
    let pending = json!({"phase": "Pending"});
    let class = |name: &str| json!({"storageClassName": name});
    let attributes = |name: &str| json!({"volumeAttributesClassName": name});
    let cases = [
        ("nothing", &pending, json!({}), json!({}), ""),
        ("its volume, once", &pending, json!({}), json!({"volumeName": "pv"}), ""),
        ("another volume", &bound, json!({"volumeName": "pv"}), json!({"volumeName": "pw"}), "volumeName"),
        ("a class, once", &pending, json!({}), class("x"), ""),
        ("another class", &pending, class("x"), class("y"), "storageClassName"),
        ("no class any more", &pending, class("x"), json!({}), "storageClassName"),
        ("more, once bound", &bound, asks("3Gi"), asks("4Gi"), ""),
        ("more, not yet bound", &pending, asks("3Gi"), asks("4Gi"), "resources"),
        ("less, of what was not got", &bound, asks("4Gi"), asks("3Gi"), ""),
        (
            "less than it has",
            &bound,
            asks("4Gi"),
            asks("2Gi"),
            "spec.resources.requests.storage: Forbidden: field can not be less than status.capacity",
        ),
        ("other modes", &bound, json!({}), json!({"accessModes": ["ReadWriteMany"]}), "accessModes"),
        ("a class of attributes, once bound", &bound, json!({}), attributes("a"), ""),
        ("a class of attributes, not yet bound", &pending, json!({}), attributes("a"), "volumeAttributesClassName"),
        (
            "no class of attributes any more",
            &classy,
            attributes("a"),
            json!({}),
            "spec.volumeAttributesClassName: Forbidden: update to nil is forbidden when status.currentVolumeAttributesClassName is not nil",
        ),
        (
            "an empty class of attributes",
            &classy,
            attributes("a"),
            attributes(""),
            "spec.volumeAttributesClassName: Forbidden: update to empty string is forbidden when status.currentVolumeAttributesClassName is not nil",
        ),
        ("another class of attributes", &classy, attributes("a"), attributes("b"), ""),
    ];
    for (why, status, old, new, expected) in cases {
        let (mut old, new) = (claim(old), claim(new));
        old["status"] = status.clone();
        let found = found_on_update::<PersistentVolumeClaim>(&old.to_string(), &new.to_string());
        match expected {
            "" => assert_eq!(found, Vec::<String>::new(), "{why}"),
            text if text.contains(": ") => assert_eq!(found, [text], "{why}"),
            field => {
                assert!(found.len() == 1 && found[0].starts_with(&format!("{FIXED}{field}: ")), "{why}: {found:?}");
            }
        }
    }
    let mode = found_on_update::<PersistentVolumeClaim>(
        &claim(json!({})).to_string(),
        &claim(json!({"volumeMode": "Block"})).to_string(),
    );
    assert_eq!((mode.len(), mode[1].as_str()), (2, r#"volumeMode: Invalid value: "Block": field is immutable"#));
}

#[test]
fn the_annotation_of_a_class_may_become_its_field() {
    const KEPT: &str = "metadata.annotations.volume.beta.kubernetes.io/storage-class: Invalid value: ";
    let with = |annotation: &str, class: &str| {
        let mut json = claim(json!({}));
        if !annotation.is_empty() {
            json["metadata"]["annotations"] = json!({ storage_class_name::ANNOTATION: annotation });
        }
        if !class.is_empty() {
            json["spec"]["storageClassName"] = json!(class);
        }
        json.to_string()
    };
    let cases = [
        ("it moves", with("a", ""), with("", "a"), vec![]),
        ("it is copied", with("a", ""), with("a", "a"), vec![]),
        ("it goes", with("a", ""), with("", ""), vec![KEPT]),
        ("it changes", with("a", ""), with("b", ""), vec![KEPT]),
        ("it comes", with("", ""), with("b", ""), vec![KEPT]),
        ("it changes with the field", with("a", ""), with("b", "b"), vec![KEPT, "spec: Forbidden"]),
    ];
    for (why, old, new, expected) in cases {
        let found = found_on_update::<PersistentVolumeClaim>(&old, &new);
        assert_eq!(found.len(), expected.len(), "{why}: {found:?}");
        for (text, start) in found.iter().zip(expected) {
            assert!(text.starts_with(start), "{why}: {text}");
        }
    }
}

fn found_in_status(status: Value) -> Vec<String> {
    let old: PersistentVolumeClaim = defaulted(&claim(json!({})).to_string());
    let mut json = claim(json!({"storageClassName": "x"}));
    json["status"] = status;
    let mut new: PersistentVolumeClaim = defaulted(&json.to_string());
    prepare(Strategy::Status(&old), &mut new);
    assert_eq!(new.spec, old.spec);
    let mut problems = Problems::default();
    new.validate_status(&old, &mut problems);
    texts(&problems)
}

#[test]
fn bad_statuses() {
    let states = r#"supported values: "ControllerResizeInProgress", "ControllerResizeInfeasible", "NodeResizeInProgress", "NodeResizeInfeasible", "NodeResizePending""#;
    let cases = [
        (json!({"phase": "Bound", "capacity": {"storage": "1Gi"}}), vec![]),
        (
            json!({"allocatedResources": {"storage": "2Gi", "example.com/iops": "3"},
                "allocatedResourceStatuses": {"storage": "NodeResizePending"}}),
            vec![],
        ),
        (
            json!({"capacity": {"storage": "-1"}}),
            vec!["status.capacity[storage]: Invalid value: -1: must be a valid resource quantity".to_owned()],
        ),
        (
            json!({"allocatedResourceStatuses": {"storage": "Odd"}}),
            vec![format!(r#"status.allocatedResourceStatuses[storage]: Unsupported value: "Odd": {states}"#)],
        ),
        (
            json!({"allocatedResourceStatuses": {"cpu": "NodeResizePending"}}),
            vec![
                r#"status.allocatedResourceStatuses: Unsupported value: "cpu": supported values: "storage""#.to_owned(),
            ],
        ),
        (
            json!({"allocatedResources": {"cpu": "-1"}}),
            vec![
                r#"status.allocatedResources: Unsupported value: "cpu": supported values: "storage""#.to_owned(),
                "status.allocatedResources[cpu]: Invalid value: -1: must be a valid resource quantity".to_owned(),
            ],
        ),
    ];
    for (status, expected) in cases {
        assert_eq!(found_in_status(status.clone()), expected, "{status}");
    }
    let odd = found_in_status(json!({"allocatedResources": {"-": "1"}}));
    assert!(odd.len() == 1 && odd[0].starts_with("status.allocatedResources: Invalid value"), "{odd:?}");
}

#[test]
fn the_health_of_a_volume_is_not_served() {
    let mut new: PersistentVolumeClaim = defaulted(&claim(json!({})).to_string());
    new.status.as_mut().unwrap().health_status = Some(Default::default());
    let old: PersistentVolumeClaim = defaulted(&claim(json!({})).to_string());
    let mut kept = new.clone();
    prepare(Strategy::Status(&new), &mut kept);
    assert!(kept.status.unwrap().health_status.is_some(), "one that is there stays");
    prepare(Strategy::Status(&old), &mut new);
    assert!(new.status.unwrap().health_status.is_none());
}

#[test]
fn columns() {
    let bound = r#"{"metadata":{"name":"c"},"spec":{"volumeName":"pv","storageClassName":"fast","volumeMode":"Filesystem"},
        "status":{"phase":"Bound","capacity":{"storage":"1Gi"},"accessModes":["ReadWriteOnce"]}}"#;
    assert_eq!(row::<PersistentVolumeClaim>(bound, 0), "c|Bound|pv|1Gi|RWO|fast|<unset>|<unknown>|Filesystem");
    let going = r#"{"metadata":{"name":"c","deletionTimestamp":"2026-01-01T00:00:00Z",
        "annotations":{"volume.beta.kubernetes.io/storage-class":"old"}},"status":{"capacity":{"storage":"1Gi"}}}"#;
    assert_eq!(row::<PersistentVolumeClaim>(going, 0), "c|Terminating||||old|<unset>|<unknown>|<unset>");
}
