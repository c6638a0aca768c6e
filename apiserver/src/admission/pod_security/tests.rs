//! What a namespace's labels do to pods, workloads and the namespace itself.

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{ConfigMap, PodTemplate, ReplicationController};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::*;
use crate::admission::testing::{Write, ask};
use crate::registry::AnyObject;
use crate::view::testing::Cluster;

fn labels(labels: &[(&str, &str)]) -> Value {
    let labels = labels.iter().map(|(name, value)| (format!("pod-security.kubernetes.io/{name}"), json!(value)));
    Value::Object(labels.collect())
}
fn namespace(of: &[(&str, &str)]) -> Value {
    json!({"metadata": {"name": "ns", "labels": labels(of)}})
}
fn world(of: &[(&str, &str)]) -> Cluster {
    Cluster::of(&[("namespaces//ns", namespace(of)), ("pods/ns/old", pod("old", bad()))])
}
fn pod(name: &str, spec: Value) -> Value {
    json!({"metadata": {"name": name}, "spec": spec})
}
fn bad() -> Value {
    json!({"hostPID": true, "containers": [{"name": "a", "image": "x", "securityContext": {"privileged": true}}]})
}
fn good() -> Value {
    json!({
        "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [{"name": "a", "image": "x", "securityContext": {
            "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]},
        }}],
    })
}
fn said(answer: Result<Vec<String>, ApiError>) -> String {
    answer.map_or_else(|err| format!("{} {}", err.code(), err.message()), |warnings| warnings.join("\n"))
}

const BAD: &str =
    r#"host namespaces (hostPID=true), privileged (container "a" must not set securityContext.privileged=true)"#;
const WORSE: &str = r#"host namespaces (hostPID=true), privileged (container "a" must not set securityContext.privileged=true), allowPrivilegeEscalation != false (container "a" must set securityContext.allowPrivilegeEscalation=false), unrestricted capabilities (container "a" must set securityContext.capabilities.drop=["ALL"]), runAsNonRoot != true (pod or container "a" must set securityContext.runAsNonRoot=true), seccompProfile (pod or container "a" must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost")"#;

#[test]
fn pods_are_refused_or_warned_of() {
    for (policy, spec, expected) in [
        (&[][..], bad(), String::new()),
        (&[("enforce", "privileged")], bad(), String::new()),
        (&[("enforce", "restricted")], good(), String::new()),
        (
            &[("enforce", "baseline")],
            bad(),
            format!(r#"403 pods "p" is forbidden: violates PodSecurity "baseline:latest": {BAD}"#),
        ),
        (
            &[("enforce", "restricted"), ("enforce-version", "v1.37")],
            bad(),
            format!(r#"403 pods "p" is forbidden: violates PodSecurity "restricted:v1.37": {WORSE}"#),
        ),
        (
            &[("enforce", "odd")],
            bad(),
            format!(r#"403 pods "p" is forbidden: violates PodSecurity "restricted:latest": {WORSE}"#),
        ),
        (&[("warn", "baseline")], bad(), format!(r#"would violate PodSecurity "baseline:latest": {BAD}"#)),
        (
            &[("warn", "baseline"), ("warn-version", "v1.0")],
            bad(),
            format!(r#"would violate PodSecurity "baseline:v1.0": {BAD}"#),
        ),
        (&[("enforce", "baseline"), ("warn", "restricted")], good(), String::new()),
        (&[("audit", "restricted")], bad(), String::new()),
    ] {
        let write = Write { verb: Verb::Create, target: "/pods ns/", new: pod("p", spec), old: Value::Null };
        assert_eq!(said(ask::<Pod>(admit, &world(policy), write)), expected, "{policy:?}");
    }
    let write = Write { verb: Verb::Create, target: "/pods nowhere/", new: pod("p", good()), old: Value::Null };
    assert_eq!(
        said(ask::<Pod>(admit, &world(&[]), write)),
        r#"500 Internal error occurred: failed to lookup namespace "nowhere""#
    );
}

#[test]
fn only_changes_that_count_are_judged() {
    let mut other_image = bad();
    other_image["containers"][0]["image"] = json!("y");
    let world = world(&[("enforce", "baseline")]);
    for (verb, sub, new, refused) in [
        (Verb::Update, "", bad(), false),
        (Verb::Update, "", other_image.clone(), true),
        (Verb::Update, "/ephemeralcontainers", other_image.clone(), true),
        (Verb::Update, "/status", other_image.clone(), false),
        (Verb::Delete, "", other_image, false),
    ] {
        let target = &format!("/pods{sub} ns/p");
        let write = Write { verb, target, new: pod("p", new), old: pod("p", bad()) };
        assert_eq!(ask::<Pod>(admit, &world, write).is_err(), refused, "{verb:?} {target}");
    }
}

#[test]
fn of_templates_there_are_warnings() {
    fn warned<K: AnyObject + DeserializeOwned>(target: &str, new: Value) -> String {
        let policy = world(&[("enforce", "baseline"), ("audit", "baseline")]);
        said(ask::<K>(admit, &policy, Write { verb: Verb::Create, target, new, old: Value::Null }))
    }
    let template = json!({"metadata": {}, "spec": bad()});
    let workload =
        json!({"metadata": {"name": "w"}, "spec": {"template": template, "selector": {}, "serviceName": "s"}});
    let cron =
        json!({"metadata": {"name": "w"}, "spec": {"schedule": "", "jobTemplate": {"spec": {"template": template}}}});
    let mut pods_only = workload.clone();
    pods_only["spec"]["selector"] = Value::Null;
    let expected = format!(r#"would violate PodSecurity "baseline:latest": {BAD}"#);
    for found in [
        warned::<PodTemplate>("/podtemplates ns/w", json!({"metadata": {"name": "w"}, "template": template})),
        warned::<ReplicationController>("/replicationcontrollers ns/w", pods_only.clone()),
        warned::<ReplicaSet>("apps/replicasets ns/w", workload.clone()),
        warned::<Deployment>("apps/deployments ns/w", workload.clone()),
        warned::<DaemonSet>("apps/daemonsets ns/w", workload.clone()),
        warned::<StatefulSet>("apps/statefulsets ns/w", workload.clone()),
        warned::<Job>("batch/jobs ns/w", pods_only),
        warned::<CronJob>("batch/cronjobs ns/w", cron),
    ] {
        assert_eq!(found, expected);
    }
    assert_eq!(warned::<Deployment>("apps/deployments/status ns/w", workload), "");
    assert_eq!(warned::<ConfigMap>("/configmaps ns/w", json!({"metadata": {"name": "w"}})), "");
}

#[test]
fn a_namespaces_labels_are_good_ones_and_what_they_would_refuse_is_told() {
    let invalid = |label: &str, value: &str| {
        format!(
            r#"422 Namespace "ns" is invalid: metadata.labels[pod-security.kubernetes.io/{label}]: Invalid value: "{value}": must be one of privileged, baseline, restricted"#
        )
    };
    let told = "existing pods in namespace \"ns\" violate the new PodSecurity enforce level \"baseline:latest\"\nold: host namespaces, privileged";
    let write = |verb: Verb, new: &[(&str, &str)], old: Value| {
        let write = Write { verb, target: "/namespaces ns", new: namespace(new), old };
        said(ask::<Namespace>(admit, &world(&[]), write))
    };
    assert_eq!(write(Verb::Create, &[("enforce", "baseline")], Value::Null), "");
    assert_eq!(write(Verb::Create, &[("audit", "x")], Value::Null), invalid("audit", "x"));
    for (old, new, expected) in [
        (&[][..], &[("enforce", "baseline")][..], told.to_owned()),
        (&[("enforce", "privileged"), ("enforce-version", "v1.30")], &[("enforce", "baseline")], told.to_owned()),
        (&[("enforce", "baseline"), ("enforce-version", "v1.30")], &[("enforce", "baseline")], told.to_owned()),
        (&[("enforce", "restricted")], &[("enforce", "baseline")], String::new()),
        (&[("enforce", "baseline")], &[("enforce", "baseline"), ("warn", "restricted")], String::new()),
        (&[("enforce", "baseline")], &[], String::new()),
        (&[("enforce", "baseline")], &[("enforce", "x")], invalid("enforce", "x")),
        (&[("warn", "x")], &[("warn", "y")], invalid("warn", "y")),
        (&[("warn", "x")], &[("warn", "x"), ("enforce", "privileged")], String::new()),
    ] {
        assert_eq!(write(Verb::Update, new, namespace(old)), expected, "{old:?} {new:?}");
    }
}
