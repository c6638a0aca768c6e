//! Volumes behind claims, devices made of them, and files of several sources.

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

const PROJECTED: &str = "spec.volumes[0].projected.sources[0]";

fn projected(sources: Value) -> Vec<String> {
    found(json!([{"name": "v", "projected": { "sources": sources }}]), json!({}))
}

#[test]
fn bundles_of_trust() {
    let at = format!("{PROJECTED}.clusterTrustBundle");
    let cases = [
        (json!({"name": "mine", "path": "ca"}), String::new()),
        (json!({"name": "example.com:signer:mine", "path": "ca"}), String::new()),
        (json!({"signerName": "example.com/signer", "path": "ca", "labelSelector": {}}), String::new()),
        (json!({"path": "ca"}), format!("{at}: Required value: either name or signerName must be specified")),
        (json!({"name": "", "path": "ca"}), format!("{at}.name: Required value: must be a valid object name")),
        (json!({"name": "mine", "path": ""}), format!("{at}.path: Required value")),
        (
            json!({"name": "mine", "path": "/ca"}),
            format!(r#"{at}.path: Invalid value: "/ca": must be a relative path"#),
        ),
        (
            json!({"name": "mine", "path": "ca", "labelSelector": {}}),
            format!("{at}.labelSelector: Invalid value: {{}}: labelSelector must be unset if name is specified"),
        ),
        (json!({"signerName": "", "path": "ca"}), format!("{at}.signerName: Required value")),
    ];
    for (source, expected) in cases {
        let expected = if expected.is_empty() { vec![] } else { vec![expected] };
        assert_eq!(projected(json!([{"clusterTrustBundle": source}])), expected, "{source}");
    }
    for (source, expected) in [
        (json!({"name": "A", "path": "ca"}), "name: Invalid value: \"A\": not a valid clustertrustbundlename: a lower"),
        (json!({"name": "a", "signerName": "b.c/d", "path": "ca"}), "only one of name and signerName may be used"),
        (
            json!({"signerName": "b.c/d", "path": "ca", "labelSelector": {"matchLabels": {"a": "-"}}}),
            "labelSelector.matchLabels: Invalid value: \"-\"",
        ),
    ] {
        let found = projected(json!([{"clusterTrustBundle": source}]));
        assert!(found.len() == 1 && found[0].contains(expected), "{found:?}");
    }
}

#[test]
fn certificates_of_pods() {
    let at = format!("{PROJECTED}.podCertificate");
    let of = |more: Value| {
        let mut source = json!({"signerName": "example.com/signer", "keyType": "ED25519", "keyPath": "key"});
        source.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        source
    };
    let cases = [
        (of(json!({"maxExpirationSeconds": 7_862_400, "userAnnotations": {"acme.io/a": "B c"}})), String::new()),
        (of(json!({"certificateChainPath": "chain", "credentialBundlePath": "dir/both"})), String::new()),
        (
            of(json!({"keyPath": null})),
            format!(
                "{at}: Required value: specify at least one of credentialBundlePath, keyPath, and certificateChainPath"
            ),
        ),
        (
            of(json!({"maxExpirationSeconds": 3599})),
            format!(
                "{at}.maxExpirationSeconds: Invalid value: 3599: if provided, maxExpirationSeconds must be >= 3600"
            ),
        ),
        (
            of(json!({"maxExpirationSeconds": 7_862_401})),
            format!(
                "{at}.maxExpirationSeconds: Invalid value: 7862401: if provided, maxExpirationSeconds must be <= 7862400"
            ),
        ),
        (
            of(json!({"maxExpirationSeconds": 86_401, "signerName": "kubernetes.io/kube-apiserver-client-pod"})),
            format!(
                "{at}.maxExpirationSeconds: Invalid value: 86401: if provided, maxExpirationSeconds must be <= 86400"
            ),
        ),
        (
            of(json!({"keyType": "RSA"})),
            format!(
                r#"{at}.keyType: Unsupported value: "RSA": supported values: "RSA3072", "RSA4096", "ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519""#
            ),
        ),
        (of(json!({"signerName": ""})), format!("{at}.signerName: Required value")),
        (
            of(json!({"certificateChainPath": "../chain"})),
            format!(r#"{at}.certificateChainPath: Invalid value: "../chain": must not contain '..'"#),
        ),
        (
            of(json!({"certificateChainPath": "key"})),
            format!(r#"{PROJECTED}: Invalid value: "key": conflicting duplicate paths"#),
        ),
        (
            of(json!({"userAnnotations": {"a": "b"}})),
            format!(
                r#"{at}.userAnnotations: Invalid value: "a": must be a domain-prefixed key (such as "acme.io/foo")"#
            ),
        ),
    ];
    for (source, expected) in cases {
        let expected = if expected.is_empty() { vec![] } else { vec![expected] };
        assert_eq!(projected(json!([{"podCertificate": source}])), expected, "{source}");
    }
    let both = json!([{"podCertificate": of(json!({}))}, {"clusterTrustBundle": {"name": "a", "path": "key"}}]);
    let expected = r#"spec.volumes[0].projected.sources[1]: Invalid value: "key": conflicting duplicate paths"#;
    assert_eq!(projected(both), [expected]);
}
