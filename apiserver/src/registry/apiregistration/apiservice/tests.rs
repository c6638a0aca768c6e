//! What APIServices may be, and what is shown of them.

use serde_json::{Value, json};

use super::*;
use crate::registry::Strategy;
use crate::registry::check::testing::{defaulted, found, found_on_status, now, prepare, row};

/// A good one with these fields of its spec other.
fn with(name: &str, changes: Value) -> String {
    let mut spec = json!({"group": "a.example", "version": "v1", "groupPriorityMinimum": 100, "versionPriority": 10,
        "service": {"name": "s", "namespace": "n"}});
    for (key, value) in changes.as_object().unwrap() {
        spec[key] = value.clone();
    }
    json!({"metadata": {"name": name}, "spec": spec}).to_string()
}

#[test]
fn what_is_wrong_with_one() {
    let name = "v1.a.example";
    let label = names_why("V1");
    let bundle = json!("eA==");
    let cases: &[(&str, Value, &[&str])] = &[
        (name, json!({}), &[]),
        (name, json!({"service": null}), &[]),
        ("v1.", json!({"group": "", "service": null}), &[]),
        (
            "v2.a.example",
            json!({}),
            &[r#"metadata.name: Invalid value: "v2.a.example": must be `spec.version+"."+spec.group`: "v1.a.example""#],
        ),
        (
            "v2.",
            json!({"group": "", "version": "v2"}),
            &["spec.group: Required value: only v1 may have an empty group and it better be legacy kube"],
        ),
        ("V1.a.example", json!({"version": "V1"}), &[&label]),
        (
            name,
            json!({"groupPriorityMinimum": 0, "versionPriority": 1001}),
            &[
                "spec.groupPriorityMinimum: Invalid value: 0: must be positive and less than 20000",
                "spec.versionPriority: Invalid value: 1001: must be positive and less than 1000",
            ],
        ),
        (name, json!({"groupPriorityMinimum": 20000, "versionPriority": 1000}), &[]),
        (
            name,
            json!({"service": null, "caBundle": bundle, "insecureSkipTLSVerify": true}),
            &[
                r#"spec.caBundle: Invalid value: "1 bytes": local APIServices may not have a caBundle"#,
                "spec.insecureSkipTLSVerify: Invalid value: true: local APIServices may not have insecureSkipTLSVerify",
            ],
        ),
        (
            name,
            json!({"caBundle": bundle, "insecureSkipTLSVerify": true}),
            &["spec.insecureSkipTLSVerify: Invalid value: true: may not be true if caBundle is present"],
        ),
        (name, json!({"insecureSkipTLSVerify": true}), &[]),
        (
            name,
            json!({"service": {"port": 0}}),
            &[
                "spec.service.namespace: Required value",
                "spec.service.name: Required value",
                "spec.service.port: Invalid value: 0: port is not valid: must be between 1 and 65535, inclusive",
            ],
        ),
    ];
    for (name, changes, expected) in cases {
        assert_eq!(&found::<APIService>(&with(name, changes.clone())), expected, "{name} {changes}");
    }
}

fn names_why(version: &str) -> String {
    format!("spec.version: Invalid value: {version:?}: {}", corten_api::names::DNS1035_LABEL_WHY)
}

#[test]
fn a_service_is_asked_at_the_port_of_https() {
    let of: APIService = defaulted(&with("v1.a.example", json!({})));
    assert_eq!(of.spec.unwrap().service.unwrap().port, Some(443));
}

#[test]
fn local_ones_are_available_from_the_beginning_and_others_show_it_first() {
    let created = |changes: Value| {
        let mut of: APIService = defaulted(&with("v1.a.example", changes));
        of.status = Some(APIServiceStatus { conditions: Some(Vec::new()) });
        prepare(Strategy::Create, &mut of);
        of
    };
    let local = created(json!({"service": null}));
    assert!(is_available(&local) && has(&local, &Availability::local()) && !is_remote(&local));
    let remote = created(json!({}));
    assert!(available(&remote).is_none() && !is_available(&remote) && is_remote(&remote));
}

#[test]
fn a_status_changes_its_time_with_its_word_alone() {
    let mut status = APIServiceStatus::default();
    let said = |status, reason| Availability { status, reason, message: String::new() };
    let at = |secs: i64| Time(k8s_openapi::jiff::Timestamp::from_second(secs).unwrap());
    let time = |status: &APIServiceStatus| status.conditions.as_ref().unwrap()[0].last_transition_time.clone();
    set(&mut status, &said("False", "MissingEndpoints"), &at(1));
    set(&mut status, &said("False", "FailedDiscoveryCheck"), &at(2));
    assert_eq!(time(&status), Some(at(1)));
    set(&mut status, &said("True", "Passed"), &at(3));
    assert_eq!((time(&status), status.conditions.as_ref().map(Vec::len)), (Some(at(3)), Some(1)));
}

#[test]
fn a_status_says_one_of_three_words_and_leaves_metadata_alone() {
    let old = with("v1.a.example", json!({}));
    let told = |word: &str| {
        let mut new: Value = serde_json::from_str(&old).unwrap();
        new["status"] = json!({"conditions": [{"type": "Available", "status": word}]});
        found_on_status::<APIService>(&old, &new.to_string())
    };
    assert!(told("True").is_empty());
    assert_eq!(
        told("Yes"),
        [r#"status.conditions[0].status: Unsupported value: "Yes": supported values: "False", "True", "Unknown""#]
    );
    let (old, mut new): (APIService, APIService) = (defaulted(&old), defaulted("{}"));
    new.metadata.labels = Some([("a".to_owned(), "b".to_owned())].into());
    prepare(Strategy::Status(&old), &mut new);
    assert_eq!((new.metadata.labels, &new.spec), (None, &old.spec));
}

#[test]
fn columns() {
    let shown = |service: Value, condition: Value| {
        let mut of: Value = serde_json::from_str(&with("v1.a.example", json!({ "service": service }))).unwrap();
        if !condition.is_null() {
            of["status"] = json!({"conditions": [condition]});
        }
        row::<APIService>(&of.to_string(), now().0.as_second())
    };
    let said = |status: &str, reason: &str| json!({"type": "Available", "status": status, "reason": reason});
    let service = json!({"name": "s", "namespace": "n"});
    assert_eq!(shown(Value::Null, said("True", "Local")), "v1.a.example|Local|True|<unknown>");
    assert_eq!(
        shown(service.clone(), said("False", "ServiceNotFound")),
        "v1.a.example|n/s|False (ServiceNotFound)|<unknown>"
    );
    assert_eq!(shown(service.clone(), said("False", "")), "v1.a.example|n/s|False|<unknown>");
    assert_eq!(shown(service, Value::Null), "v1.a.example|n/s|Unknown|<unknown>");
}
