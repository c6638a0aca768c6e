//! Volumes behind claims, and devices made of them.

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use crate::registry::check::testing::{self, defaulted};

const SOURCE: &str = "spec.volumes[0].ephemeral.volumeClaimTemplate";

/// A pod named `p` with these volumes, and these fields of its container.
fn found(volumes: Value, more: Value) -> Vec<String> {
    let mut container = json!({"name": "a", "image": "x"});
    container.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let spec = json!({"containers": [container], "volumes": volumes});
    testing::found::<Pod>(&json!({"metadata": {"name": "p"}, "spec": spec}).to_string())
}
fn template(more: Value) -> Value {
    let mut template =
        json!({"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
    template.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"name": "v", "ephemeral": {"volumeClaimTemplate": template}})
}

#[test]
fn templates_of_claims() {
    let cases = [
        (template(json!({"metadata": {"labels": {"a": "b"}, "annotations": {"c/d": "e"}}})), vec![]),
        (json!({"name": "v", "ephemeral": {}}), vec![format!("{SOURCE}: Required value")]),
        (
            template(json!({"metadata": {"name": "n", "finalizers": ["f"]}})),
            vec![
                format!("{SOURCE}.metadata.name: Forbidden: cannot be set"),
                format!("{SOURCE}.metadata.finalizers: Forbidden: cannot be set"),
            ],
        ),
        (
            template(json!({"spec": {"accessModes": ["ReadWriteOnce"]}})),
            vec![format!("{SOURCE}.spec.resources[storage]: Required value")],
        ),
    ];
    for (volume, expected) in cases {
        assert_eq!(found(json!([volume.clone()]), json!({})), expected, "{volume}");
    }
    let label = found(json!([template(json!({"metadata": {"labels": {"a": "-"}}}))]), json!({}));
    assert!(label.len() == 1 && label[0].starts_with(&format!("{SOURCE}.metadata.labels: Invalid value")), "{label:?}");
}

#[test]
fn a_template_gets_what_a_claim_gets() {
    let spec = json!({"containers": [], "volumes": [template(json!({"spec": {"resources": {"requests": {"storage": "1024Mi"}}}}))]});
    let pod: Pod = defaulted(&json!({ "spec": spec }).to_string());
    let spec = &serde_json::to_value(pod).unwrap()["spec"]["volumes"][0]["ephemeral"]["volumeClaimTemplate"]["spec"];
    assert_eq!((&spec["volumeMode"], &spec["resources"]["requests"]["storage"]), (&json!("Filesystem"), &json!("1Gi")));
}

#[test]
fn the_claim_of_a_template_has_a_name_of_its_own() {
    let claim = |name: &str| json!({"name": "w", "persistentVolumeClaim": {"claimName": name}});
    assert_eq!(found(json!([template(json!({})), claim("other")]), json!({})), Vec::<String>::new());
    assert_eq!(
        found(json!([template(json!({})), claim("p-v")]), json!({})),
        [
            r#"spec.volumes[1].persistentVolumeClaim.claimName: Invalid value: "p-v": must not reference a PVC that gets created for an ephemeral volume"#
        ]
    );
    assert_eq!(
        found(json!([claim("")]), json!({})),
        ["spec.volumes[0].persistentVolumeClaim.claimName: Required value"]
    );
    let spec = json!({"containers": [{"name": "a", "image": "x"}], "volumes": [template(json!({}))]});
    let long = "p".repeat(252);
    let found = testing::found::<Pod>(&json!({"metadata": {"name": long}, "spec": spec}).to_string());
    let expected = format!(r#"spec.volumes[0].name: Invalid value: "v": PVC name "{long}-v": a lowercase RFC 1123"#);
    assert!(found.len() == 1 && found[0].starts_with(&expected), "{found:?}");
}

#[test]
fn devices() {
    const AT: &str = "spec.containers[0].volumeDevices[0]";
    let volumes = json!([template(json!({})), {"name": "dir", "emptyDir": {}}]);
    let device = |name: &str, path: &str| json!({"volumeDevices": [{"name": name, "devicePath": path}]});
    let mut mounted = device("v", "/dev/xvda");
    mounted["volumeMounts"] = json!([{"name": "v", "mountPath": "/dev/xvda"}]);
    let cases = [
        (device("v", "/dev/xvda"), vec![]),
        (device("", ""), vec![format!("{AT}.name: Required value"), format!("{AT}.devicePath: Required value")]),
        (device("w", "/d"), vec![format!(r#"{AT}.name: Not found: "w""#)]),
        (
            device("dir", "/d"),
            vec![format!(
                r#"{AT}.name: Invalid value: "dir": can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode"#
            )],
        ),
        (
            device("v", "/a/../b"),
            vec![format!(r#"{AT}.devicePath: Invalid value: "/a/../b": can not contain backsteps ('..')"#)],
        ),
        (
            mounted,
            vec![
                format!(r#"{AT}.name: Invalid value: "v": must not already exist in volumeMounts"#),
                format!(
                    r#"{AT}.devicePath: Invalid value: "/dev/xvda": must not already exist as a path in volumeMounts"#
                ),
            ],
        ),
        (
            json!({"volumeDevices": [{"name": "v", "devicePath": "/d"}, {"name": "v", "devicePath": "/d"}]}),
            vec![
                r#"spec.containers[0].volumeDevices[1].name: Invalid value: "v": must be unique"#.to_owned(),
                r#"spec.containers[0].volumeDevices[1].devicePath: Invalid value: "/d": must be unique"#.to_owned(),
            ],
        ),
    ];
    for (more, expected) in cases {
        assert_eq!(found(volumes.clone(), more.clone()), expected, "{more}");
    }
}
