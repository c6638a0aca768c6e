//! Volumes: what they get, what is said of bad ones, what may change.

use corten_api::Problems;
use k8s_openapi::api::core::v1::PersistentVolume;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::*;
use crate::registry::Strategy;
use crate::registry::check::testing::{self, defaulted, found_on_update, now, prepare, row};

/// A good volume, with these fields of its spec.
fn volume(more: Value) -> String {
    let mut spec = json!({"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"},
        "csi": {"driver": "csi.example.com", "volumeHandle": "h"}});
    for (field, value) in more.as_object().unwrap() {
        spec[field] = value.clone();
    }
    json!({"metadata": {"name": "pv"}, "spec": spec}).to_string()
}
fn found(more: Value) -> Vec<String> {
    testing::found::<PersistentVolume>(&volume(more))
}
fn changed(old: Value, new: Value) -> Vec<String> {
    found_on_update::<PersistentVolume>(&volume(old), &volume(new))
}
fn zone(key: &str, value: &str) -> Value {
    let expression = json!({"key": key, "operator": "In", "values": [value]});
    json!({"nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}}})
}

#[test]
fn a_new_volume_is_pending_since_it_was_made() {
    let json = r#"{"metadata":{"creationTimestamp":"2026-01-01T00:00:00Z"},"status":{"phase":"Bound"},
        "spec":{"capacity":{"storage":"1024Mi"}}}"#;
    let mut new: PersistentVolume = defaulted(json);
    prepare(Strategy::Create, &mut new);
    let (spec, status) = (new.spec.unwrap(), new.status.unwrap());
    assert_eq!(status.phase.as_deref(), Some("Pending"));
    assert_eq!(status.last_phase_transition_time, Some(now()));
    assert_eq!(spec.persistent_volume_reclaim_policy.as_deref(), Some("Retain"));
    assert_eq!(spec.volume_mode.as_deref(), Some("Filesystem"));
    assert_eq!(spec.capacity.unwrap()["storage"].0, "1Gi");
}

#[test]
fn bad_volumes() {
    let local = json!({"csi": null, "local": {"path": "/disk"}});
    let mut placed = local.clone();
    placed["nodeAffinity"] = zone("kubernetes.io/hostname", "n1")["nodeAffinity"].clone();
    let cases = [
        (json!({}), vec![]),
        (placed, vec![]),
        (local, vec!["spec.nodeAffinity: Required value: Local volume requires node affinity"]),
        (json!({"accessModes": []}), vec!["spec.accessModes: Required value"]),
        (
            json!({"accessModes": ["ReadWriteOncePod", "ReadWriteOnce"]}),
            vec!["spec.accessModes: Forbidden: may not use ReadWriteOncePod with other access modes"],
        ),
        (
            json!({"capacity": {}}),
            vec![
                "spec.capacity: Required value",
                r#"spec.capacity: Unsupported value: {}: supported values: "storage""#,
            ],
        ),
        (
            json!({"capacity": {"storage": "1Gi", "cpu": "1"}}),
            vec![r#"spec.capacity: Unsupported value: {"cpu":"1","storage":"1Gi"}: supported values: "storage""#],
        ),
        (
            json!({"capacity": {"storage": "0"}}),
            vec![r#"spec.capacity[storage]: Invalid value: "0": must be greater than zero"#],
        ),
        (
            json!({"capacity": {"storage": "-5"}}),
            vec![
                "spec.capacity[storage]: Invalid value: -5: must be a valid resource quantity",
                r#"spec.capacity[storage]: Invalid value: "-5": must be greater than zero"#,
            ],
        ),
        (
            json!({"persistentVolumeReclaimPolicy": "Burn"}),
            vec![
                r#"spec.persistentVolumeReclaimPolicy: Unsupported value: "Burn": supported values: "Delete", "Recycle", "Retain""#,
            ],
        ),
        (
            json!({"nodeAffinity": {}}),
            vec!["spec.nodeAffinity.required: Required value: must specify required node constraints"],
        ),
        (
            json!({"csi": null, "hostPath": {"path": "//."}, "persistentVolumeReclaimPolicy": "Recycle"}),
            vec!["spec.persistentVolumeReclaimPolicy: Forbidden: may not be 'recycle' for a hostPath mount of '/'"],
        ),
        (json!({"csi": null, "hostPath": {"path": "/a"}, "persistentVolumeReclaimPolicy": "Recycle"}), vec![]),
        (
            json!({"csi": null, "local": {"path": ""}, "nodeAffinity": zone("a", "b")["nodeAffinity"]}),
            vec!["spec.local.path: Required value"],
        ),
        (
            json!({"volumeMode": "Tape"}),
            vec![r#"spec.volumeMode: Unsupported value: "Tape": supported values: "Block", "Filesystem""#],
        ),
        (
            json!({"volumeAttributesClassName": ""}),
            vec!["spec.volumeAttributesClassName: Required value: an empty string is disallowed"],
        ),
        (
            json!({"csi": null, "nfs": {"server": "s", "path": "/"}, "volumeAttributesClassName": "fast"}),
            vec!["spec.csi: Required value: has to be specified when using volumeAttributesClassName"],
        ),
    ];
    for (more, expected) in cases {
        assert_eq!(found(more.clone()), expected, "{more}");
    }
    for (more, at) in [
        (json!({"storageClassName": "-"}), "spec.storageClassName: Invalid value"),
        (json!({"volumeAttributesClassName": "-"}), "spec.volumeAttributesClassName: Invalid value"),
        (json!({"capacity": {"storage": "much"}}), "spec.capacity[storage]: Invalid value"),
        (
            zone("a", "-"),
            "spec.nodeAffinity.required.nodeSelectorTerms[0].matchExpressions[0].values[0]: Invalid value",
        ),
    ] {
        let found = found(more);
        assert!(found.len() == 1 && found[0].starts_with(at), "{found:?}");
    }
}

#[test]
fn an_old_annotation_for_mount_options_is_for_what_is_mounted() {
    let with = |source: Value| {
        let annotations = json!({"volume.beta.kubernetes.io/mount-options": "ro"});
        let mut spec = json!({"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}});
        spec.as_object_mut().unwrap().extend(source.as_object().unwrap().clone());
        let json = json!({"metadata": {"name": "pv", "annotations": annotations}, "spec": spec});
        testing::found::<PersistentVolume>(&json.to_string())
    };
    assert_eq!(with(json!({"nfs": {"server": "s", "path": "/"}})), Vec::<String>::new());
    assert_eq!(
        with(json!({"hostPath": {"path": "/a"}})),
        [
            "metadata.annotations.volume.beta.kubernetes.io/mount-options: Forbidden: may not specify mount options for this volume type"
        ]
    );
}

#[test]
fn what_may_change() {
    const BETA: &str = "failure-domain.beta.kubernetes.io/zone";
    const MOVED: &str = r#"nodeAffinity: Invalid value: "#;
    let secret = json!({"name": "s", "namespace": "n"});
    let csi = |more: Value| {
        let mut csi = json!({"driver": "csi.example.com", "volumeHandle": "h"});
        csi.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({ "csi": csi })
    };
    let cases = [
        ("its size", json!({}), json!({"capacity": {"storage": "2Gi"}}), ""),
        ("what becomes of it", json!({}), json!({"persistentVolumeReclaimPolicy": "Delete"}), ""),
        ("its claim", json!({}), json!({"claimRef": {"name": "c", "namespace": "n"}}), ""),
        ("a place, once", json!({}), zone("a", "b"), ""),
        ("another place", zone("a", "b"), zone("a", "c"), MOVED),
        ("no place any more", zone("a", "b"), json!({}), MOVED),
        ("a label's newer name", zone(BETA, "z"), zone("topology.kubernetes.io/zone", "z"), ""),
        ("a label's older name", zone("topology.kubernetes.io/zone", "z"), zone(BETA, "z"), MOVED),
        ("a secret to grow with", csi(json!({})), csi(json!({"controllerExpandSecretRef": secret})), ""),
        (
            "another secret to grow with",
            csi(json!({"controllerExpandSecretRef": secret})),
            csi(json!({"controllerExpandSecretRef": {"name": "t", "namespace": "n"}})),
            "spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable after creation\n  csi: ",
        ),
        (
            "another handle",
            csi(json!({})),
            csi(json!({"volumeHandle": "i"})),
            "spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable after creation\n  csi: ",
        ),
        (
            "its mode",
            json!({}),
            json!({"volumeMode": "Block"}),
            r#"volumeMode: Invalid value: "Block": field is immutable"#,
        ),
        ("a class of attributes", json!({}), json!({"volumeAttributesClassName": "a"}), ""),
        (
            "no class of attributes any more",
            json!({"volumeAttributesClassName": "a"}),
            json!({}),
            "spec.volumeAttributesClassName: Forbidden: update from non-nil value to nil is forbidden",
        ),
    ];
    for (why, old, new, expected) in cases {
        let found = changed(old, new);
        match expected {
            "" => assert_eq!(found, Vec::<String>::new(), "{why}"),
            _ => assert!(found.len() == 1 && found[0].starts_with(expected), "{why}: {found:?}"),
        }
    }
    let odd = changed(json!({}), zone("a", "-"));
    assert!(odd.len() == 1 && odd[0].starts_with("spec.nodeAffinity.required.nodeSelectorTerms[0]"), "{odd:?}");
}

#[test]
fn each_half_keeps_the_other() {
    let old: PersistentVolume = defaulted(&volume(json!({})));
    let mut new: PersistentVolume = defaulted(&volume(json!({"storageClassName": "x"})));
    new.status.as_mut().unwrap().phase = Some("Bound".into());
    let mut spec_write = new.clone();
    prepare(Strategy::Update(&old), &mut spec_write);
    assert_eq!((&spec_write.status, &spec_write.spec), (&old.status, &new.spec));
    prepare(Strategy::Status(&old), &mut new);
    assert_eq!(new.spec, old.spec);
    let status = new.status.as_ref().unwrap();
    assert!(status.phase.as_deref() == Some("Bound") && status.last_phase_transition_time.is_some());
    let mut problems = Problems::default();
    new.validate_status(&old, &mut problems);
    assert!(problems.is_empty());
}

#[test]
fn a_phase_is_dated_when_it_changes() {
    let at = |secs: i64| Some(Time(Timestamp::from_second(secs).unwrap()));
    let status = |phase: &str, time: Option<Time>| PersistentVolumeStatus {
        phase: Some(phase.into()),
        last_phase_transition_time: time,
        ..PersistentVolumeStatus::default()
    };
    let cases = [
        ("the same phase keeps its date", "Bound", at(5), "Bound", None, at(5)),
        ("its writer may date it anew", "Bound", at(5), "Bound", at(7), at(7)),
        ("another phase is dated", "Pending", at(5), "Bound", None, at(9)),
        ("an old date is no date", "Pending", at(5), "Bound", at(5), at(9)),
        ("its writer knows when", "Pending", at(5), "Bound", at(7), at(7)),
    ];
    for (why, old_phase, old_time, phase, time, expected) in cases {
        let mut new = status(phase, time);
        date_phase(&mut new, &status(old_phase, old_time), &at(9).unwrap());
        assert_eq!(new.last_phase_transition_time, expected, "{why}");
    }
}

#[test]
fn columns() {
    let bound = r#"{"metadata":{"name":"pv"},"spec":{"capacity":{"storage":"1Gi"},"accessModes":["ReadOnlyMany","ReadWriteOnce"],
        "persistentVolumeReclaimPolicy":"Delete","claimRef":{"namespace":"n","name":"c"},"storageClassName":"fast",
        "volumeAttributesClassName":"gold","volumeMode":"Block"},"status":{"phase":"Bound","reason":"R"}}"#;
    assert_eq!(row::<PersistentVolume>(bound, 0), "pv|1Gi|RWO,ROX|Delete|Bound|n/c|fast|gold|R|<unknown>|Block");
    let going = r#"{"metadata":{"name":"pv","deletionTimestamp":"2026-01-01T00:00:00Z"}}"#;
    assert_eq!(row::<PersistentVolume>(going, 0), "pv|0|||Terminating|||<unset>||<unknown>|<unset>");
}
