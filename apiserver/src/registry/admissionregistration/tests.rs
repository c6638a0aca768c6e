//! Configurations of webhooks: their defaults, what they may say, how they are shown.

use corten_api::Problems;
use k8s_openapi::api::admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingWebhookConfiguration};
use serde_json::{Value, json};

use crate::registry::Kind;
use crate::registry::check::testing::{defaulted, found, row};

fn good() -> Value {
    json!({"name": "a.b.c", "sideEffects": "None", "admissionReviewVersions": ["v1"],
        "clientConfig": {"url": "https://a.b/c"},
        "rules": [{"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}]})
}

/// With something else in the place of a part; null takes it away.
fn with(changes: &[(&str, Value)]) -> Value {
    let mut webhook = good();
    for (part, value) in changes {
        let (parent, key) = part.rsplit_once('/').unwrap_or(("", part));
        let parent = if parent.is_empty() { String::new() } else { format!("/{parent}") };
        let parent = webhook.pointer_mut(&parent).unwrap().as_object_mut().unwrap();
        match value {
            Value::Null => drop(parent.remove(key)),
            value => drop(parent.insert(key.to_owned(), value.clone())),
        }
    }
    webhook
}

fn configuration(webhooks: &[Value]) -> String {
    json!({"metadata": {"name": "x"}, "webhooks": webhooks}).to_string()
}

/// Of both kinds, which must agree; without the path to the first webhook.
fn problems(webhooks: &[Value]) -> Vec<String> {
    let json = configuration(webhooks);
    let of_validating = found::<ValidatingWebhookConfiguration>(&json);
    assert_eq!(found::<MutatingWebhookConfiguration>(&json), of_validating);
    of_validating.into_iter().map(|text| text.trim_start_matches("webhooks[0].").to_owned()).collect()
}

#[test]
fn what_is_not_said_has_defaults() {
    let mut webhook = with(&[("clientConfig", json!({"service": {"name": "s", "namespace": "n"}}))]);
    let json = configuration(std::slice::from_ref(&webhook));
    let whole = defaulted::<ValidatingWebhookConfiguration>(&json);
    webhook["failurePolicy"] = json!("Fail");
    webhook["matchPolicy"] = json!("Equivalent");
    (webhook["namespaceSelector"], webhook["objectSelector"]) = (json!({}), json!({}));
    webhook["timeoutSeconds"] = json!(10);
    webhook["rules"][0]["scope"] = json!("*");
    webhook["clientConfig"]["service"]["port"] = json!(443);
    assert_eq!(serde_json::to_value(&whole).unwrap()["webhooks"][0], webhook);
    let whole = defaulted::<MutatingWebhookConfiguration>(&json);
    webhook["reinvocationPolicy"] = json!("Never");
    assert_eq!(serde_json::to_value(&whole).unwrap()["webhooks"][0], webhook);
}

#[test]
fn a_webhook_is_named_and_its_words_are_known() {
    let three = "should be a domain with at least three segments separated by dots";
    type Case<'a> = (&'a str, &'a [(&'a str, Value)], &'a [&'a str]);
    let cases: &[Case<'_>] = &[
        ("good", &[], &[]),
        ("no name", &[("name", json!(""))], &["name: Required value"]),
        ("a short name", &[("name", json!("a.b"))], &[&format!(r#"name: Invalid value: "a.b": {three}"#)]),
        (
            "no side effects",
            &[("sideEffects", json!(""))],
            &["sideEffects: Required value: must specify one of None, NoneOnDryRun"],
        ),
        (
            "some side effects",
            &[("sideEffects", json!("Some"))],
            &[r#"sideEffects: Unsupported value: "Some": supported values: "None", "NoneOnDryRun""#],
        ),
        (
            "other words",
            &[("failurePolicy", json!("x")), ("matchPolicy", json!("y"))],
            &[
                r#"failurePolicy: Unsupported value: "x": supported values: "Fail", "Ignore""#,
                r#"matchPolicy: Unsupported value: "y": supported values: "Equivalent", "Exact""#,
            ],
        ),
        (
            "too long",
            &[("timeoutSeconds", json!(31))],
            &["timeoutSeconds: Invalid value: 31: the timeout value must be between 1 and 30 seconds"],
        ),
        (
            "too short",
            &[("timeoutSeconds", json!(0))],
            &["timeoutSeconds: Invalid value: 0: the timeout value must be between 1 and 30 seconds"],
        ),
        (
            "no version",
            &[("admissionReviewVersions", json!([]))],
            &["admissionReviewVersions: Required value: must specify one of v1, v1beta1"],
        ),
        (
            "no known version",
            &[("admissionReviewVersions", json!(["v2", "v2"]))],
            &[
                r#"admissionReviewVersions[1]: Invalid value: "v2": duplicate version"#,
                r#"admissionReviewVersions: Invalid value: ["v2","v2"]: must include at least one of v1, v1beta1"#,
            ],
        ),
        ("a later version that is known", &[("admissionReviewVersions", json!(["v9", "v1beta1"]))], &[]),
        (
            "a selector that is none",
            &[("objectSelector", json!({"matchExpressions": [{"key": "a", "operator": "Like"}]}))],
            &[r#"objectSelector.matchExpressions[0].operator: Invalid value: "Like": not a valid selector operator"#],
        ),
    ];
    for (why, changes, expected) in cases {
        assert_eq!(problems(&[with(changes)]), *expected, "{why}");
    }
    let twice = problems(&[good(), good()]);
    assert_eq!(twice, [r#"webhooks[1].name: Duplicate value: "a.b.c""#]);
}

#[test]
fn rules_name_what_they_are_about() {
    let rule = |part: &str, value: Value| {
        let mut rule = good()["rules"][0].clone();
        rule[part] = value;
        problems(&[with(&[("rules", json!([rule]))])])
    };
    let cases: &[(&str, Value, &[&str])] = &[
        ("operations", json!([]), &["rules[0].operations: Required value"]),
        (
            "operations",
            json!(["*", "CREATE"]),
            &[
                r#"rules[0].operations: Invalid value: ["*","CREATE"]: if '*' is present, must not specify other operations"#,
            ],
        ),
        (
            "operations",
            json!(["GET"]),
            &[
                r#"rules[0].operations[0]: Unsupported value: "GET": supported values: "*", "CONNECT", "CREATE", "DELETE", "UPDATE""#,
            ],
        ),
        ("apiGroups", json!([]), &["rules[0].apiGroups: Required value"]),
        (
            "apiGroups",
            json!(["*", ""]),
            &[r#"rules[0].apiGroups: Invalid value: ["*",""]: if '*' is present, must not specify other API groups"#],
        ),
        ("apiVersions", json!([""]), &["rules[0].apiVersions[0]: Required value"]),
        ("resources", json!([]), &["rules[0].resources: Required value"]),
        ("resources", json!([""]), &["rules[0].resources[0]: Required value"]),
        ("resources", json!(["*", "pods/status", "*/scale"]), &[]),
        (
            "resources",
            json!(["*", "pods"]),
            &[
                r#"rules[0].resources: Invalid value: ["*","pods"]: if '*' is present, must not specify other resources without subresources"#,
            ],
        ),
        (
            "resources",
            json!(["*/*", "pods"]),
            &[
                r#"rules[0].resources: Invalid value: ["*/*","pods"]: if '*/*' is present, must not specify other resources"#,
            ],
        ),
        (
            "resources",
            json!(["pods/*", "pods/exec"]),
            &[
                r#"rules[0].resources[1]: Invalid value: "pods/exec": if 'pods/*' is present, must not specify pods/exec"#,
            ],
        ),
        (
            "resources",
            json!(["*/scale", "pods/scale"]),
            &[
                r#"rules[0].resources[1]: Invalid value: "pods/scale": if '*/scale' is present, must not specify pods/scale"#,
            ],
        ),
        (
            "scope",
            json!("All"),
            &[r#"rules[0].scope: Unsupported value: "All": supported values: "*", "Cluster", "Namespaced""#],
        ),
    ];
    for (part, value, expected) in cases {
        assert_eq!(rule(part, value.clone()), *expected, "{part}: {value}");
    }
}

#[test]
fn a_webhook_is_reached_in_one_way() {
    let config = |config: Value| problems(&[with(&[("clientConfig", config)])]);
    let service = |part: &str, value: Value| {
        let mut service = json!({"name": "s", "namespace": "n"});
        service[part] = value;
        config(json!({ "service": service }))
    };
    let one = ["clientConfig: Required value: exactly one of url or service is required"];
    assert_eq!(config(json!({})), one);
    assert_eq!(config(json!({"url": "https://a", "service": {"name": "s", "namespace": "n"}})), one);
    let form = "; desired format: https://host[/path]";
    let urls: &[(&str, &[&str])] = &[
        ("https://a.b:8443/x", &[]),
        ("http://a", &[&format!(r#""http": 'https' is the only allowed URL scheme{form}"#)]),
        ("https://", &[&format!(r#""": host must be specified{form}"#)]),
        ("https://u:p@a", &[r#""u:p": user information is not permitted in the URL"#]),
        (
            "https://a?b#c",
            &[
                r#""c": fragments are not permitted in the URL"#,
                r#""b": query parameters are not permitted in the URL"#,
            ],
        ),
    ];
    for (url, expected) in urls {
        let expected: Vec<String> = expected.iter().map(|e| format!("clientConfig.url: Invalid value: {e}")).collect();
        assert_eq!(config(json!({ "url": url })), expected, "{url}");
    }
    let no_url = config(json!({"url": "https://a:b"}));
    let why = format!(r#"url must be a valid URL: parse "https://a:b": invalid port ":b" after host{form}"#);
    assert_eq!(no_url, [format!("clientConfig.url: Required value: {why}")]);
    let cases: &[(&str, Value, &[&str])] = &[
        ("name", json!(""), &["name: Required value"]),
        ("namespace", json!(""), &["namespace: Required value"]),
        (
            "port",
            json!(70000),
            &["port: Invalid value: 70000: port is not valid: must be between 1 and 65535, inclusive"],
        ),
        ("path", json!("/a/b.c/"), &[]),
        ("path", json!("a"), &[r#"path: Invalid value: "a": must start with a '/'"#]),
        ("path", json!("//"), &[r#"path: Invalid value: "//": segment[0] may not be empty"#]),
        ("path", json!("/a//b"), &[r#"path: Invalid value: "/a//b": segment[1] may not be empty"#]),
    ];
    for (part, value, expected) in cases {
        let expected: Vec<String> = expected.iter().map(|e| format!("clientConfig.service.{e}")).collect();
        assert_eq!(service(part, value.clone()), expected, "{part}: {value}");
    }
    let upper = service("path", json!("/A"));
    assert!(
        upper[0].starts_with(r#"clientConfig.service.path: Invalid value: "/A": segment[0]: a lowercase RFC 1123"#)
    );
}

#[test]
fn conditions_are_expressions_with_names_of_their_own() {
    let told = |conditions: Value| problems(&[with(&[("matchConditions", conditions)])]);
    let both = "object.spec.x == oldObject.spec.x && authorizer.requestResource.check('get').allowed()";
    assert_eq!(
        told(json!([{"name": "a", "expression": both}, {"name": "b", "expression": "!request.dryRun"}])),
        [""; 0]
    );
    let conditions = json!([{"name": "a", "expression": "true"}, {"name": "a", "expression": " "},
        {"name": "", "expression": " 1 "}, {"name": "c", "expression": "params.x"}, {"name": "d", "expression": "request.uid"}]);
    let why =
        "compilation failed: ERROR: <input>:1:1: undeclared reference to 'params' (in container '')\n | params.x\n | ^";
    let undefined = "compilation failed: ERROR: <input>:1:8: undefined field 'uid'\n | request.uid\n | .......^";
    assert_eq!(
        told(conditions),
        [
            "matchConditions[1].expression: Required value".to_owned(),
            r#"matchConditions[1].name: Duplicate value: "a""#.into(),
            r#"matchConditions[2].expression: Invalid value: "1": must evaluate to bool but got int"#.into(),
            "matchConditions[2].name: Required value".into(),
            format!(r#"matchConditions[3].expression: Invalid value: "params.x": {why}"#),
            format!(r#"matchConditions[4].expression: Invalid value: "request.uid": {undefined}"#),
        ]
    );
    let many: Vec<Value> = (0..65).map(|i| json!({"name": format!("c{i}"), "expression": "true"})).collect();
    assert_eq!(told(json!(many)), ["matchConditions: Too many: 65: must have at most 64 items"]);
}

#[test]
fn an_update_is_judged_as_a_create_and_counted() {
    let (old, new) = (configuration(&[good()]), configuration(&[with(&[("name", json!("a.b"))])]));
    let [old, new] = [&old, &new].map(|json| defaulted::<MutatingWebhookConfiguration>(json));
    let mut problems = Problems::default();
    new.validate_over(&old, &mut problems);
    assert_eq!(problems.causes().len(), 1);
    assert!(new.spec_changed(&old) && !old.spec_changed(&old));
}

#[test]
fn columns() {
    let json = configuration(&[good(), good()]);
    assert_eq!(row::<MutatingWebhookConfiguration>(&json, 0), "x|2|<unknown>");
    assert_eq!(row::<ValidatingWebhookConfiguration>(r#"{"metadata":{"name":"y"}}"#, 0), "y|0|<unknown>");
}
