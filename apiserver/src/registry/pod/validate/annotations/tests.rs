//! Annotations that say nothing, or other than the fields do.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use crate::registry::check::testing::{found, found_on_update};

const APP_ARMOR: &str = "container.apparmor.security.beta.kubernetes.io/c";
const SECCOMP: &str = "seccomp.security.alpha.kubernetes.io/pod";
const SECCOMP_OF_C: &str = "container.seccomp.security.alpha.kubernetes.io/c";
const COST: &str = "controller.kubernetes.io/pod-deletion-cost";

fn pod(annotations: &Value, own: &Value) -> Value {
    let containers = json!([{"name": "c", "image": "i", "securityContext": own}]);
    json!({"metadata": {"annotations": annotations}, "spec": {"containers": containers}})
}

#[test]
fn what_annotations_may_say() {
    type Case = (&'static str, Value, Value, &'static str, &'static str);
    let app_armor = |type_: &str| json!({"appArmorProfile": {"type": type_, "localhostProfile": null}});
    let local = json!({"appArmorProfile": {"type": "Localhost", "localhostProfile": "p"},
        "seccompProfile": {"type": "Localhost", "localhostProfile": "p"}});
    let seccomp = |type_: &str| json!({"seccompProfile": {"type": type_}});
    let own = "containers[0].securityContext";
    let cases: Vec<Case> = vec![
        ("nothing", json!({"a": "b"}), json!({}), "", ""),
        ("a cost", json!({COST: "-5"}), json!({}), "", ""),
        ("no cost", json!({COST: "5.5"}), json!({}), COST, r#"Invalid value: "5.5": must be a 32bit integer"#),
        ("a profile", json!({APP_ARMOR: "localhost/p", SECCOMP: "localhost/p"}), json!({}), "", ""),
        (
            "no profile of AppArmor",
            json!({APP_ARMOR: "docker/default"}),
            json!({}),
            APP_ARMOR,
            r#"Invalid value: "docker/default": invalid AppArmor profile name: "docker/default""#,
        ),
        (
            "of no container",
            json!({"container.apparmor.security.beta.kubernetes.io/d": "unconfined"}),
            json!({}),
            "container.apparmor.security.beta.kubernetes.io/d",
            r#"Invalid value: "d": container not found"#,
        ),
        ("docker's", json!({SECCOMP: "docker/default"}), json!({}), "", ""),
        (
            "no profile of seccomp",
            json!({SECCOMP_OF_C: "default"}),
            json!({}),
            SECCOMP_OF_C,
            r#"Invalid value: "default": must be a valid seccomp profile"#,
        ),
        (
            "a profile elsewhere",
            json!({SECCOMP: "localhost/../p"}),
            json!({}),
            SECCOMP,
            r#"Invalid value: "../p": must not contain '..'"#,
        ),
        ("both the same", json!({APP_ARMOR: "localhost/p", SECCOMP_OF_C: "localhost/p"}), local.clone(), "", ""),
        ("the runtime's", json!({APP_ARMOR: "runtime/default"}), app_armor("RuntimeDefault"), "", ""),
        ("docker's and the runtime's", json!({SECCOMP_OF_C: "docker/default"}), seccomp("RuntimeDefault"), "", ""),
        (
            "another profile",
            json!({APP_ARMOR: "localhost/q"}),
            local.clone(),
            own,
            "Forbidden: apparmor profile in annotation and field must match",
        ),
        (
            "another type",
            json!({APP_ARMOR: "unconfined"}),
            local.clone(),
            own,
            "Forbidden: apparmor type in annotation and field must match",
        ),
        (
            "another filter",
            json!({SECCOMP_OF_C: "localhost/q"}),
            local,
            own,
            "Forbidden: seccomp profile in annotation and field must match",
        ),
        (
            "another type of filter",
            json!({SECCOMP_OF_C: "runtime/default"}),
            seccomp("Unconfined"),
            own,
            "Forbidden: seccomp type in annotation and field must match",
        ),
    ];
    for (why, annotations, own, at, expected) in cases {
        let pod = pod(&annotations, &own);
        let template = json!({"spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {
            "metadata": {"labels": {"a": "b"}, "annotations": annotations}, "spec": pod["spec"]}}});
        for found in [found::<Pod>(&pod.to_string()), found::<Deployment>(&template.to_string())] {
            match expected {
                "" => assert_eq!(found, Vec::<String>::new(), "{why}"),
                _ => assert!(
                    found.len() == 1 && found[0].contains(at) && found[0].ends_with(expected),
                    "{why}: {found:?}"
                ),
            }
        }
    }
}

#[test]
fn a_cost_that_was_none_stays_changeable() {
    let of = |cost: &str| pod(&json!({COST: cost}), &json!({})).to_string();
    let cases = [("1", "x", 1), ("x", "y", 0), ("x", "1", 0), ("1", "2", 0)];
    for (old, new, expected) in cases {
        let found = found_on_update::<Pod>(&of(old), &of(new));
        assert_eq!(found.len(), expected, "{old} to {new}: {found:?}");
    }
}
