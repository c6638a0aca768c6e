//! Deployments: defaults, validation, updates, status, columns.

use super::*;
use crate::registry::check::testing::{defaulted, found, found_on_update, object, row, texts};

/// A good Deployment with `extra` put into its spec.
fn with(extra: &str) -> String {
    format!(
        r#"{{"spec":{{{extra}"selector":{{"matchLabels":{{"app":"web"}}}},"template":{{"metadata":{{"labels":{{"app":"web"}}}},
        "spec":{{"containers":[{{"name":"web","image":"nginx:latest"}}]}}}}}}}}"#
    )
}

#[test]
fn defaults() {
    let deployment: Deployment = defaulted(&with(""));
    let spec = deployment.spec;
    assert_eq!(
        (spec.replicas, spec.revision_history_limit, spec.progress_deadline_seconds),
        (Some(1), Some(10), Some(600))
    );
    let rolling = spec.strategy.unwrap().rolling_update.unwrap();
    assert_eq!(rolling.max_surge, Some(IntOrString::String("25%".into())));
    assert_eq!(spec.template.spec.unwrap().restart_policy.as_deref(), Some("Always"));

    let recreate: Deployment = defaulted(&with(r#""strategy":{"type":"Recreate"},"#));
    assert_eq!(recreate.spec.strategy.unwrap().rolling_update, None);
}

#[test]
fn bad_deployments() {
    let rolling = |unavailable: &str, surge: &str| {
        with(&format!(r#""strategy":{{"rollingUpdate":{{"maxUnavailable":{unavailable},"maxSurge":{surge}}}}},"#))
    };
    let cases = [
        (with(""), vec![]),
        (
            with("").replacen("\"web\"", "\"other\"", 1),
            vec![
                r#"spec.template.metadata.labels: Invalid value: {"app":"web"}: `selector` does not match template `labels`"#,
            ],
        ),
        (with(r#""replicas":-1,"#), vec!["spec.replicas: Invalid value: -1: must be greater than or equal to 0"]),
        (
            with(r#""strategy":{"type":"Odd"},"#),
            vec![r#"spec.strategy.type: Unsupported value: "Odd": supported values: "Recreate", "RollingUpdate""#],
        ),
        (
            with(r#""strategy":{"type":"Recreate","rollingUpdate":{}},"#),
            vec!["spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'"],
        ),
        (
            rolling("0", "\"0%\""),
            vec!["spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0"],
        ),
        (
            rolling("\"101%\"", "1"),
            vec![r#"spec.strategy.rollingUpdate.maxUnavailable: Invalid value: "101%": must not be greater than 100%"#],
        ),
        (
            with(r#""minReadySeconds":700,"#),
            vec!["spec.progressDeadlineSeconds: Invalid value: 600: must be greater than minReadySeconds"],
        ),
        (
            with("").replace(r#""containers""#, r#""restartPolicy":"Never","activeDeadlineSeconds":5,"containers""#),
            vec![
                r#"spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always""#,
                "spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in ReplicaSet is not Supported",
            ],
        ),
    ];
    for (json, expected) in cases {
        assert_eq!(found::<Deployment>(&json), expected, "{json}");
    }
    let required = found::<Deployment>("{}");
    assert!(required.contains(&"spec.selector: Required value".to_owned()), "{required:?}");
}

#[test]
fn a_template_may_have_a_blank_for_an_image_that_somebody_fills_in() {
    let blank = |image: &str| with("").replace("nginx:latest", image);
    assert_eq!(found::<Deployment>(&blank(" ")), Vec::<String>::new());
    assert_eq!(found::<Deployment>(&blank("")), ["spec.template.spec.containers[0].image: Required value"]);
}

#[test]
fn what_is_stored_under_older_rules_stays_changeable() {
    let of = |version: &str| {
        let context = r#"{"allowPrivilegeEscalation":false,"capabilities":{"add":["CAP_SYS_ADMIN"]}}"#;
        let json = with("").replace(r#""name":"web","#, &format!(r#""name":"web","securityContext":{context},"#));
        found::<Deployment>(&json.replacen('{', &format!(r#"{{"metadata":{{{version}}},"#), 1))
    };
    assert_eq!((of("").len(), of(r#""resourceVersion":"1""#)), (1, vec![]));
}

#[test]
fn an_update_is_held_to_the_younger_rules_that_its_object_kept() {
    let labels = |value: &str| {
        let term = format!(r#"{{"matchExpressions":[{{"key":"a","operator":"In","values":["{value}"]}}]}}"#);
        let required =
            format!(r#"{{"requiredDuringSchedulingIgnoredDuringExecution":{{"nodeSelectorTerms":[{term}]}}}}"#);
        with("").replace(
            r#""spec":{"containers""#,
            &format!(r#""spec":{{"affinity":{{"nodeAffinity":{required}}},"containers""#),
        )
    };
    let cost = |value: &str| {
        let annotations = format!(r#"{{"controller.kubernetes.io/pod-deletion-cost":"{value}"}}"#);
        with("").replace(r#""metadata":{"#, &format!(r#""metadata":{{"annotations":{annotations},"#))
    };
    let cases = [
        ("good", labels("b"), labels("c"), 0),
        ("bad at once", labels("b"), labels("-"), 1),
        ("bad before", labels("-"), labels("--"), 0),
        ("another rule", labels("-"), cost("x"), 1),
        ("a cost that was none", cost("x"), cost("y"), 0),
    ];
    for (why, old, new, expected) in cases {
        let found = found_on_update::<Deployment>(&old, &new);
        assert_eq!(found.len(), expected, "{why}: {found:?}");
    }
    assert_eq!((found::<Deployment>(&labels("-")).len(), found::<Deployment>(&cost("x")).len()), (1, 1));
}

#[test]
fn the_selector_stays() {
    let other = with("").replace("\"web\"", "\"other\"");
    let expected = r#"spec.selector: Invalid value: {"matchLabels":{"app":"other"}}: field is immutable"#;
    assert_eq!(found_on_update::<Deployment>(&with(""), &other), [expected]);
}

#[test]
fn status_counts_must_fit() {
    let status = |json: &str| {
        let deployment: Deployment = object(&format!(r#"{{"status":{json}}}"#));
        let mut problems = Problems::default();
        deployment.validate_status(&Deployment::default(), &mut problems);
        texts(&problems)
    };
    assert!(status(r#"{"replicas":2,"readyReplicas":2,"availableReplicas":1}"#).is_empty());
    assert_eq!(
        status(r#"{"replicas":1,"readyReplicas":2}"#),
        ["status.readyReplicas: Invalid value: 2: cannot be greater than status.replicas"]
    );
}

#[test]
fn columns() {
    let json = with(r#""replicas":3,"#)
        .replacen('{', r#"{"metadata":{"name":"d","creationTimestamp":"1970-01-01T00:00:00Z"},"status":{"readyReplicas":2,"updatedReplicas":3,"availableReplicas":2},"#, 1);
    assert_eq!(row::<Deployment>(&json, 60), "d|2/3|3|2|60s|web|nginx:latest|app=web");
}
