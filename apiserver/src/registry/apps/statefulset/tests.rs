//! StatefulSets: defaults, validation, updates, status, columns, scale.

use serde_json::{Value, json};

use super::*;
use crate::registry::check::testing::{created, defaulted, found_on_create, found_on_status, found_on_write, row};

/// A good StatefulSet, with `changes` merged into its spec.
fn set(changes: Value) -> String {
    let container = json!({"name": "c", "image": "i", "volumeMounts": [{"name": "data", "mountPath": "/data"}]});
    let claim = json!({
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    });
    let mut set = json!({
        "metadata": {"name": "db"},
        "spec": {
            "serviceName": "db", "selector": {"matchLabels": {"app": "db"}}, "volumeClaimTemplates": [claim],
            "template": {"metadata": {"labels": {"app": "db"}}, "spec": {"containers": [container]}}
        }
    });
    json_patch::merge(&mut set, &json!({ "spec": changes }));
    set.to_string()
}
fn claims(spec: Value) -> String {
    let mut good = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}});
    json_patch::merge(&mut good, &spec);
    set(json!({"volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": good}]}))
}

#[test]
fn defaults() {
    let spec = |changes| defaulted::<StatefulSet>(&set(changes)).spec;
    let plain = spec(json!({}));
    assert_eq!((plain.replicas, plain.revision_history_limit), (Some(1), Some(10)));
    assert_eq!(plain.pod_management_policy.as_deref(), Some("OrderedReady"));
    let retention = json!(plain.persistent_volume_claim_retention_policy);
    assert_eq!(retention, json!({"whenDeleted": "Retain", "whenScaled": "Retain"}));
    assert_eq!(plain.template.spec.unwrap().restart_policy.as_deref(), Some("Always"));
    let claim = json!(plain.volume_claim_templates.unwrap()[0]);
    assert_eq!((&claim["status"], &claim["spec"]["volumeMode"]), (&json!({"phase": "Pending"}), &json!("Filesystem")));
    assert_eq!((&claim["apiVersion"], &claim["kind"]), (&json!("v1"), &json!("PersistentVolumeClaim")));

    let strategy = |given: Value| json!(spec(json!({ "updateStrategy": given })).update_strategy);
    let rolling = json!({"partition": 0, "maxUnavailable": 1});
    assert_eq!(strategy(json!({})), json!({"type": "RollingUpdate", "rollingUpdate": rolling}));
    assert_eq!(strategy(json!({"type": "RollingUpdate"})), json!({"type": "RollingUpdate"}));
    assert_eq!(
        strategy(json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 3}})),
        json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 3, "maxUnavailable": 1}})
    );
    assert_eq!(strategy(json!({"type": "OnDelete"})), json!({"type": "OnDelete"}));
    assert_eq!(json!(created::<StatefulSet>(&set(json!({}))).status), json!({"replicas": 0, "availableReplicas": 0}));
}

#[test]
fn good_statefulsets() {
    let cases = [
        set(json!({})),
        set(json!({"serviceName": "", "podManagementPolicy": "Parallel", "ordinals": {"start": 5}, "replicas": 0})),
        set(json!({"updateStrategy": {"type": "OnDelete"}, "revisionHistoryLimit": -1})),
        set(json!({"updateStrategy": {"rollingUpdate": {"maxUnavailable": "100%", "partition": 2}}})),
        set(json!({"persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete", "whenScaled": "Delete"}})),
        // Pods get these from their set.
        set(json!({"template": {"spec": {"hostname": "Not A Name", "subdomain": "neither one"}}})),
        set(json!({"template": {"spec": {"volumes": [{"name": "data", "emptyDir": {}, "secret": {}}]}}})),
        claims(json!({"accessModes": ["ReadWriteOncePod"], "volumeMode": "Block", "storageClassName": ""})),
    ];
    for json in cases {
        assert_eq!(found_on_create::<StatefulSet>(&json), Vec::<String>::new(), "{json}");
    }
}

#[test]
fn bad_statefulsets() {
    let negative = "must be greater than or equal to 0";
    let strategy = |given: Value| set(json!({ "updateStrategy": given }));
    let max_unavailable = |value: Value| strategy(json!({"rollingUpdate": {"maxUnavailable": value}}));
    let at = "spec.updateStrategy.rollingUpdate";
    let cases = [
        (set(json!({"replicas": -1})), vec![format!("spec.replicas: Invalid value: -1: {negative}")]),
        (set(json!({"minReadySeconds": -1})), vec![format!("spec.minReadySeconds: Invalid value: -1: {negative}")]),
        (set(json!({"ordinals": {"start": -1}})), vec![format!("spec.ordinals.start: Invalid value: -1: {negative}")]),
        (
            set(json!({"podManagementPolicy": "Odd"})),
            vec![r#"spec.podManagementPolicy: Invalid value: "Odd": must be 'OrderedReady' or 'Parallel'"#.into()],
        ),
        (
            strategy(json!({"type": "Recreate"})),
            vec![r#"spec.updateStrategy: Invalid value: {"type":"Recreate"}: must be 'RollingUpdate' or 'OnDelete'"#.into()],
        ),
        (
            strategy(json!({"type": "OnDelete", "rollingUpdate": {"partition": 1}})),
            vec![format!(r#"{at}: Invalid value: {{"partition":1}}: only allowed for updateStrategy 'RollingUpdate'"#)],
        ),
        (
            strategy(json!({"rollingUpdate": {"partition": -1}})),
            vec![format!("{at}.partition: Invalid value: -1: {negative}")],
        ),
        (max_unavailable(json!(0)), vec![format!("{at}.maxUnavailable: Invalid value: 0: cannot be 0")]),
        (max_unavailable(json!("0%")), vec![format!(r#"{at}.maxUnavailable: Invalid value: "0%": cannot be 0"#)]),
        (
            max_unavailable(json!("101%")),
            vec![format!(r#"{at}.maxUnavailable: Invalid value: "101%": must not be greater than 100%"#)],
        ),
        (
            set(json!({"persistentVolumeClaimRetentionPolicy": {"whenScaled": "Odd"}})),
            vec![r#"spec.persistentVolumeClaimRetentionPolicy.whenScaled: Unsupported value: "Odd": supported values: "Retain", "Delete""#.into()],
        ),
        (
            set(json!({"selector": {"matchLabels": {"app": "other"}}})),
            vec![r#"spec.template.metadata.labels: Invalid value: {"app":"db"}: `selector` does not match template `labels`"#.into()],
        ),
        (
            set(json!({"selector": null})),
            vec![
                "spec.selector: Required value".into(),
                r#"spec.template.metadata.labels: Invalid value: {"app":"db"}: `selector` does not match template `labels`"#.into(),
            ],
        ),
        (
            set(json!({"selector": {"matchLabels": {"app": null}}})),
            vec![r#"spec.selector: Invalid value: {"matchLabels":{}}: empty selector is invalid for statefulset"#.into()],
        ),
        (
            set(json!({"template": {"spec": {"restartPolicy": "Never", "activeDeadlineSeconds": 5}}})),
            vec![
                r#"spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always""#.into(),
                "spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in StatefulSet is not Supported".into(),
            ],
        ),
        (
            set(json!({"template": {"spec": {"containers": []}}})),
            vec!["spec.template.spec.containers: Required value".into()],
        ),
    ];
    for (json, expected) in cases {
        assert_eq!(found_on_create::<StatefulSet>(&json), expected, "{json}");
    }
    let found = found_on_create::<StatefulSet>(&set(json!({"serviceName": "not.a.label"})));
    assert!(
        found.len() == 1 && found[0].starts_with(r#"spec.serviceName: Invalid value: "not.a.label": "#),
        "{found:?}"
    );
    let found = found_on_create::<StatefulSet>(&set(json!({"volumeClaimTemplates": null})));
    assert_eq!(found.len(), 1, "the mounted volume is nobody's: {found:?}");
}

#[test]
fn bad_claims() {
    let at = "spec.volumeClaimTemplates[0].spec";
    let modes = r#"supported values: "ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod""#;
    let size = |size: &str| claims(json!({"resources": {"requests": {"storage": size}}}));
    let cases = [
        (
            claims(json!({"accessModes": []})),
            vec![format!("{at}.accessModes: Required value: at least 1 access mode is required")],
        ),
        (
            claims(json!({"accessModes": ["Odd"]})),
            vec![format!(r#"{at}.accessModes: Unsupported value: "Odd": {modes}"#)],
        ),
        (
            claims(json!({"accessModes": ["ReadWriteOncePod", "ReadOnlyMany"]})),
            vec![format!("{at}.accessModes: Forbidden: may not use ReadWriteOncePod with other access modes")],
        ),
        (claims(json!({"resources": null})), vec![format!("{at}.resources[storage]: Required value")]),
        (size("0"), vec![format!(r#"{at}.resources[storage]: Invalid value: "0": must be greater than zero"#)]),
        (size("-1Gi"), vec![format!(r#"{at}.resources[storage]: Invalid value: "-1Gi": must be greater than zero"#)]),
        (
            claims(json!({"volumeMode": "Odd"})),
            vec![format!(r#"{at}.volumeMode: Unsupported value: "Odd": supported values: "Block", "Filesystem""#)],
        ),
    ];
    for (json, expected) in cases {
        assert_eq!(found_on_create::<StatefulSet>(&json), expected, "{json}");
    }
    for field in ["storageClassName", "volumeAttributesClassName"] {
        let found = found_on_create::<StatefulSet>(&claims(json!({ field: "A b" })));
        assert!(found.len() == 1 && found[0].starts_with(&format!("{at}.{field}: ")), "{found:?}");
    }
    assert_eq!(found_on_create::<StatefulSet>(&size("much")).len(), 1);
}

#[test]
fn pods_change_and_how_they_are_found_does_not() {
    let old: StatefulSet = created(&set(json!({})));
    let changeable = json!({
        "replicas": 3, "minReadySeconds": 5, "ordinals": {"start": 1}, "revisionHistoryLimit": 2,
        "updateStrategy": {"type": "OnDelete"}, "template": {"metadata": {"labels": {"new": "1"}}},
        "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete"}
    });
    assert_eq!(found_on_write(&old, &set(changeable)), Vec::<String>::new());
    let refused = "spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";
    let cases = [
        set(json!({"serviceName": "other"})),
        set(json!({"podManagementPolicy": "Parallel"})),
        set(json!({"selector": {"matchLabels": {"more": "1"}}, "template": {"metadata": {"labels": {"more": "1"}}}})),
        claims(json!({"resources": {"requests": {"storage": "2Gi"}}})),
    ];
    for json in cases {
        assert_eq!(found_on_write(&old, &json), [refused], "{json}");
    }
    let found = found_on_write(&old, &set(json!({"replicas": -1, "template": {"spec": {"containers": []}}})));
    assert_eq!(
        found,
        [
            "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
            "spec.template.spec.containers: Required value"
        ]
    );
}

#[test]
fn what_was_stored_under_weaker_rules_can_be_scaled() {
    let weak = json!({
        "serviceName": "Not a label", "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {}}],
        "template": {"spec": {"dnsPolicy": "Odd"}}
    });
    let old: StatefulSet = defaulted(&set(weak.clone()));
    let mut scaled = weak;
    scaled["replicas"] = json!(3);
    assert_eq!(found_on_write(&old, &set(scaled)), Vec::<String>::new());
}

#[test]
fn a_status_fits_to_itself() {
    let found = |old: Value, new: Value| {
        let with = |status: Value| json!({ "status": status }).to_string();
        found_on_status::<StatefulSet>(&with(old), &with(new))
    };
    let good =
        json!({"replicas": 3, "readyReplicas": 2, "currentReplicas": 1, "updatedReplicas": 3, "availableReplicas": 2});
    assert_eq!(found(json!({}), good), Vec::<String>::new());
    let cases = [
        (
            json!({}),
            json!({"replicas": -1, "observedGeneration": -1}),
            vec![
                "status.replicas: Invalid value: -1: must be greater than or equal to 0",
                "status.observedGeneration: Invalid value: -1: must be greater than or equal to 0",
            ],
        ),
        (
            json!({}),
            json!({"replicas": 1, "currentReplicas": 2, "updatedReplicas": -1}),
            vec![
                "status.currentReplicas: Invalid value: 2: cannot be greater than status.replicas",
                "status.updatedReplicas: Invalid value: -1: must be greater than or equal to 0",
            ],
        ),
        (
            json!({}),
            json!({"replicas": 1, "availableReplicas": 1}),
            vec!["status.availableReplicas: Invalid value: 1: cannot be greater than status.readyReplicas"],
        ),
        (
            json!({"collisionCount": 2}),
            json!({"collisionCount": 1}),
            vec!["status.collisionCount: Invalid value: 1: cannot be decremented"],
        ),
        (
            json!({"collisionCount": 0}),
            json!({}),
            vec!["status.collisionCount: Invalid value: 0: cannot be decremented"],
        ),
    ];
    for (old, new, expected) in cases {
        assert_eq!(found(old, new.clone()), expected, "{new}");
    }
}

#[test]
fn columns_and_scale() {
    let mut json: Value = serde_json::from_str(&set(json!({"replicas": 3}))).unwrap();
    json["status"] = json!({"replicas": 2, "readyReplicas": 1});
    assert_eq!(row::<StatefulSet>(&json.to_string(), 0), "db|1/3|<unknown>|c|i");
    let mut set: StatefulSet = defaulted(&json.to_string());
    let scale = StatefulSet::scale().unwrap();
    (scale.set_spec_replicas)(&mut set, 5);
    assert_eq!(((scale.spec_replicas)(&set), (scale.status_replicas)(&set)), (5, 2));
    assert_eq!((scale.selector)(&set), "app=db");
}
