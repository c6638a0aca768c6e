//! Policies and their bindings: defaults, what they may say, how they are shown.

use k8s_openapi::api::admissionregistration::v1::{
    MutatingAdmissionPolicy, MutatingAdmissionPolicyBinding, ValidatingAdmissionPolicy,
    ValidatingAdmissionPolicyBinding,
};
use serde_json::{Value, json};

use crate::registry::Kind;
use crate::registry::check::testing::{created, defaulted, found, found_on_status, found_on_write, row};

fn about() -> Value {
    json!({"resourceRules": [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}]})
}

fn validating() -> Value {
    json!({"matchConstraints": about(), "validations": [{"expression": "object.a == 1"}]})
}

fn mutating() -> Value {
    json!({"matchConstraints": about(), "reinvocationPolicy": "Never",
        "mutations": [{"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": "Object{}"}}]})
}

fn binding() -> Value {
    json!({"policyName": "p", "validationActions": ["Deny"]})
}

/// With something else in the place of a part; null takes it away.
fn with(mut spec: Value, changes: &[(&str, Value)]) -> Value {
    for (part, value) in changes {
        let (parent, key) = part.rsplit_once('/').unwrap_or(("", part));
        let parent = if parent.is_empty() { String::new() } else { format!("/{parent}") };
        match (spec.pointer_mut(&parent).unwrap(), value) {
            (Value::Array(items), value) => items[key.parse::<usize>().unwrap()] = value.clone(),
            (Value::Object(fields), Value::Null) => drop(fields.remove(key)),
            (Value::Object(fields), value) => drop(fields.insert((*key).to_owned(), value.clone())),
            _ => panic!("no {part}"),
        }
    }
    spec
}

fn object(spec: &Value) -> String {
    json!({"metadata": {"name": "x"}, "spec": spec}).to_string()
}

/// Of a spec with changes; without `spec.`.
fn problems<K: Kind>(spec: Value, changes: &[(&str, Value)]) -> Vec<String> {
    let found = found::<K>(&object(&with(spec, changes)));
    found.into_iter().map(|text| text.strip_prefix("spec.").unwrap_or(&text).to_owned()).collect()
}

#[test]
fn what_is_not_said_has_defaults() {
    let whole = |of: Value| serde_json::to_value(of).unwrap();
    let policy = whole(serde_json::to_value(defaulted::<ValidatingAdmissionPolicy>(&object(&validating()))).unwrap());
    let constraints = &policy["spec"]["matchConstraints"];
    assert_eq!(policy["spec"]["failurePolicy"], "Fail");
    assert_eq!(constraints["matchPolicy"], "Equivalent");
    assert_eq!((&constraints["namespaceSelector"], &constraints["objectSelector"]), (&json!({}), &json!({})));
    assert_eq!(constraints["resourceRules"][0]["scope"], "*");
    let bound = with(binding(), &[("matchResources", json!({}))]);
    let bound = serde_json::to_value(defaulted::<ValidatingAdmissionPolicyBinding>(&object(&bound))).unwrap();
    assert_eq!(bound["spec"]["matchResources"]["matchPolicy"], "Equivalent");
    let status = serde_json::to_value(created::<ValidatingAdmissionPolicy>(&object(&validating()))).unwrap();
    assert_eq!(status["status"], json!({}));
    let none = found::<MutatingAdmissionPolicy>(r#"{"metadata":{"name":"x"}}"#);
    assert_eq!(
        none,
        [
            "spec.matchConstraints: Required value",
            "spec.mutations: Required value: mutations must contain at least one item",
            "spec.reinvocationPolicy: Required value"
        ]
    );
}

#[test]
fn whom_a_policy_is_about() {
    type Case<'a> = (&'a str, &'a [(&'a str, Value)], &'a [&'a str]);
    let cases: &[Case<'_>] = &[
        ("good", &[], &[]),
        ("nobody", &[("matchConstraints", Value::Null)], &["matchConstraints: Required value"]),
        ("no rules", &[("matchConstraints", json!({}))], &["matchConstraints.resourceRules: Required value"]),
        (
            "words",
            &[("failurePolicy", json!("x")), ("matchConstraints/matchPolicy", json!("y"))],
            &[
                r#"failurePolicy: Unsupported value: "x": supported values: "Fail", "Ignore""#,
                r#"matchConstraints.matchPolicy: Unsupported value: "y": supported values: "Equivalent", "Exact""#,
            ],
        ),
        (
            "names",
            &[("matchConstraints/resourceRules/0/resourceNames", json!(["a", "a", "b/c"]))],
            &[
                r#"matchConstraints.resourceRules[0].resourceNames[1]: Duplicate value: "a""#,
                r#"matchConstraints.resourceRules[0].resourceNames[2]: Invalid value: "b/c": may not contain '/'"#,
            ],
        ),
        (
            "an excluded rule without operations",
            &[(
                "matchConstraints/excludeResourceRules",
                json!([{"apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*"]}]),
            )],
            &["matchConstraints.excludeResourceRules[0].operations: Required value"],
        ),
        (
            "params",
            &[("paramKind", json!({"apiVersion": "a/b/c", "kind": "A_"}))],
            &[
                r#"paramKind.apiVersion: Invalid value: "a/b/c": unexpected GroupVersion string: a/b/c"#,
                &format!(
                    r#"paramKind.kind: Invalid value: "A_": may have mixed case, but should otherwise match: {}"#,
                    corten_api::names::DNS1035_LABEL_WHY
                ),
            ],
        ),
        (
            "params of nothing",
            &[("paramKind", json!({}))],
            &["paramKind.apiVersion: Required value", "paramKind.kind: Required value"],
        ),
    ];
    for (why, changes, expected) in cases {
        assert_eq!(problems::<ValidatingAdmissionPolicy>(validating(), changes), *expected, "{why}");
        assert_eq!(problems::<MutatingAdmissionPolicy>(mutating(), changes), *expected, "{why}");
    }
    let deletes = [("matchConstraints/resourceRules/0/operations", json!(["DELETE"]))];
    assert_eq!(problems::<ValidatingAdmissionPolicy>(validating(), &deletes), [""; 0]);
    assert_eq!(
        problems::<MutatingAdmissionPolicy>(mutating(), &deletes),
        [
            r#"matchConstraints.resourceRules.operations: Unsupported value: "DELETE": supported values: "*", "CONNECT", "CREATE", "UPDATE""#
        ]
    );
}

#[test]
fn variables_are_named_and_known_to_those_after_them() {
    let of = |variables: Value| {
        let changes = [("variables", variables)];
        let found = problems::<ValidatingAdmissionPolicy>(validating(), &changes);
        assert_eq!(problems::<MutatingAdmissionPolicy>(mutating(), &changes), found);
        found
    };
    assert_eq!(
        of(json!([{"name": "a", "expression": "1"}, {"name": "_b2", "expression": "variables.a + 1"}])),
        [""; 0]
    );
    let found = of(json!([{"name": "a-b", "expression": "1"}, {"name": "in", "expression": " "},
        {"name": " ", "expression": "variables.later"}]));
    assert_eq!(
        found[..4],
        [
            r#"variables[0].name: Invalid value: "a-b": must be a valid CEL identifier"#,
            r#"variables[1].name: Invalid value: "in": must be a valid CEL identifier"#,
            "variables[1].expression: Required value: expression is not specified",
            "variables[2].name: Required value: name is not specified",
        ]
    );
    assert!(found[4].contains("undefined field 'later'"), "{found:?}");
    let many: Vec<Value> = (0..1001).map(|_| json!({"name": "a", "expression": "1"})).collect();
    assert_eq!(of(json!(many)), ["variables: Too many: 1001: must have at most 1000 items"]);
}

#[test]
fn validations_and_annotations_are_expressions() {
    let of = |changes: &[(&str, Value)]| problems::<ValidatingAdmissionPolicy>(validating(), changes);
    let one = |validation: Value| {
        of(&[("paramKind", json!({"apiVersion": "v1", "kind": "ConfigMap"})), ("validations", json!([validation]))])
    };
    assert_eq!(
        one(
            json!({"expression": "params.a == 1 && authorizer.path('/').check('get').allowed()", "reason": "Forbidden",
        "message": "m", "messageExpression": "'a' + params.b"})
        ),
        [""; 0]
    );
    assert_eq!(
        one(json!({"expression": " ", "message": "a\nb", "messageExpression": " ", "reason": "Gone"})),
        [
            "validations[0].expression: Required value: expression is not specified",
            r#"validations[0].messageExpression: Invalid value: " ": must be non-empty if specified"#,
            r#"validations[0].message: Invalid value: "a\nb": must not contain line breaks"#,
            r#"validations[0].reason: Unsupported value: "Gone": supported values: "Forbidden", "Invalid", "RequestEntityTooLarge""#,
        ]
    );
    let found =
        one(json!({"expression": "object.a", "messageExpression": "authorizer.path('/').check('get').reason()"}));
    assert_eq!(found[0], r#"validations[0].expression: Invalid value: "object.a": must evaluate to bool but got dyn"#);
    assert!(found[1].contains("undeclared reference to 'authorizer'"), "{found:?}");
    let neither = "Required value: validations or auditAnnotations must contain at least one item";
    let expected = [format!("validations: {neither}"), format!("auditAnnotations: {neither}")];
    assert_eq!(of(&[("validations", Value::Null)]), expected);

    let annotations = |annotations: Value| of(&[("auditAnnotations", annotations)]);
    assert_eq!(
        annotations(json!([{"key": "a", "valueExpression": "object.x == 1 ? 'x' : null"}])).len(),
        1,
        "dyn is neither"
    );
    assert_eq!(
        annotations(json!([{"key": "a", "valueExpression": "'x'"}, {"key": "b", "valueExpression": "null"}])),
        [""; 0]
    );
    let found = annotations(
        json!([{"key": "a", "valueExpression": "1"}, {"key": "a", "valueExpression": ""}, {"key": "-", "valueExpression": "'x'"}]),
    );
    assert_eq!(
        found[..3],
        [
            r#"auditAnnotations[0].valueExpression: Invalid value: "1": must evaluate to one of [string null_type] but got int"#,
            "auditAnnotations[1].valueExpression: Required value: valueExpression is not specified",
            r#"auditAnnotations[1].key: Duplicate value: "a""#,
        ]
    );
    assert!(found[3].starts_with(r#"auditAnnotations[2].key: Invalid value: "x/-""#), "{found:?}");
    let many: Vec<Value> = (0..21).map(|i| json!({"key": format!("k{i}"), "valueExpression": "'x'"})).collect();
    assert!(annotations(json!(many))[0].ends_with("must not have more than 20 auditAnnotations"));
}

#[test]
fn a_mutation_is_of_one_type() {
    let of = |mutation: Value| problems::<MutatingAdmissionPolicy>(mutating(), &[("mutations", json!([mutation]))]);
    assert_eq!(
        of(
            json!({"patchType": "JSONPatch", "jsonPatch": {"expression": "[JSONPatch{op: 'add', path: '/a', value: 1}]"}})
        ),
        [""; 0]
    );
    let both = json!({"patchType": "JSONPatch", "jsonPatch": {"expression": "Object{}"}, "applyConfiguration": {"expression": "Object{}"}});
    assert_eq!(
        of(both),
        [
            r#"mutations[0].jsonPatch.expression: Invalid value: "Object{}": must evaluate to list(JSONPatch) but got Object"#,
            r#"mutations[0].applyConfiguration: Invalid value: "{applyConfiguration}": must not be specified when patchType is JSONPatch"#,
        ]
    );
    let cases: &[(Value, &str)] = &[
        (json!({}), "mutations[0].patchType: Required value"),
        (
            json!({"patchType": "x"}),
            r#"mutations[0].patchType: Unsupported value: "x": supported values: "ApplyConfiguration", "JSONPatch""#,
        ),
        (
            json!({"patchType": "ApplyConfiguration"}),
            "mutations[0].applyConfiguration: Required value: must be specified when patchType is ApplyConfiguration",
        ),
        (json!({"patchType": "JSONPatch", "jsonPatch": {}}), "mutations[0].jsonPatch.expression: Required value"),
    ];
    for (mutation, expected) in cases {
        assert_eq!(of(mutation.clone()), [*expected]);
    }
}

#[test]
fn a_binding_says_what_is_done_with_which_params() {
    let of = |changes: &[(&str, Value)]| problems::<ValidatingAdmissionPolicyBinding>(binding(), changes);
    let shared = |changes: &[(&str, Value)]| {
        let found = of(changes);
        assert_eq!(problems::<MutatingAdmissionPolicyBinding>(binding(), changes), found);
        found
    };
    assert_eq!(shared(&[]), [""; 0]);
    assert_eq!(shared(&[("policyName", Value::Null)]), ["policyName: Required value"]);
    assert!(shared(&[("policyName", json!("A"))])[0].starts_with(r#"policyName: Invalid value: "A""#));
    let param = |param: Value| shared(&[("paramRef", param)]);
    assert_eq!(param(json!({"name": "a", "parameterNotFoundAction": "Deny"})), [""; 0]);
    assert_eq!(param(json!({"selector": {}, "namespace": "n", "parameterNotFoundAction": "Allow"})), [""; 0]);
    assert_eq!(
        param(json!({"name": "a", "selector": {}})),
        [
            "paramRef.name: Forbidden: name and selector are mutually exclusive",
            "paramRef.selector: Forbidden: name and selector are mutually exclusive",
            "paramRef.parameterNotFoundAction: Required value",
        ]
    );
    assert_eq!(
        param(json!({"parameterNotFoundAction": "x"})),
        [
            "paramRef: Required value: one of name or selector must be specified",
            r#"paramRef.parameterNotFoundAction: Unsupported value: "x": supported values: "Deny", "Allow""#,
        ]
    );
    let actions = |actions: Value| of(&[("validationActions", actions)]);
    assert_eq!(actions(json!(["Warn", "Audit"])), [""; 0]);
    assert_eq!(actions(json!([])), ["validationActions: Required value: at least one validation action is required"]);
    let found = actions(json!(["Deny", "Deny", "x", "Warn"]));
    assert_eq!(
        found[..2],
        [
            r#"validationActions[1]: Duplicate value: "Deny""#,
            r#"validationActions[2]: Unsupported value: "x": supported values: "Audit", "Deny", "Warn""#,
        ]
    );
    assert!(found[2].contains("must not contain both Deny and Warn"), "{found:?}");
}

#[test]
fn what_was_found_good_is_not_compiled_again_for_a_label() {
    let broken = with(validating(), &[("validations/0", json!({"expression": "nobody"}))]);
    let stored = created::<ValidatingAdmissionPolicy>(&object(&broken));
    let mut labelled: Value = serde_json::from_str(&object(&broken)).unwrap();
    labelled["metadata"]["labels"] = json!({"a": "b"});
    assert_eq!(found_on_write(&stored, &labelled.to_string()), [""; 0]);
    labelled["spec"]["failurePolicy"] = json!("Ignore");
    assert_eq!(found_on_write(&stored, &labelled.to_string()).len(), 1);
}

#[test]
fn the_status_says_what_of_the_types_is_wrong() {
    let status = |warnings: Value| {
        let whole = json!({"metadata": {"name": "x"}, "spec": validating(), "status": {"typeChecking": {"expressionWarnings": warnings}}});
        found_on_status::<ValidatingAdmissionPolicy>(&object(&validating()), &whole.to_string())
    };
    assert_eq!(status(json!([{"fieldRef": "spec.validations[0].expression", "warning": "w"}])), [""; 0]);
    assert_eq!(
        status(json!([{"fieldRef": " ", "warning": ""}])),
        [
            "status.typeChecking.expressionWarnings[0].warning: Required value",
            "status.typeChecking.expressionWarnings[0].fieldRef: Required value",
        ]
    );
}

#[test]
fn columns() {
    let kind = json!({"apiVersion": "v1", "kind": "ConfigMap"});
    assert_eq!(
        row::<ValidatingAdmissionPolicy>(&object(&with(validating(), &[("paramKind", kind)])), 0),
        "x|1|v1/ConfigMap|<unknown>"
    );
    assert_eq!(row::<MutatingAdmissionPolicy>(&object(&mutating()), 0), "x|1|<unset>|<unknown>");
    let bound =
        |param: Value| row::<ValidatingAdmissionPolicyBinding>(&object(&with(binding(), &[("paramRef", param)])), 0);
    assert_eq!(bound(Value::Null), "x|p|<unset>|<unknown>");
    assert_eq!(bound(json!({"name": "a"})), "x|p|*/a|<unknown>");
    assert_eq!(bound(json!({"name": "a", "namespace": "n"})), "x|p|n/a|<unknown>");
    assert_eq!(
        bound(json!({"selector": {"matchLabels": {"a": "b"}}})),
        "x|p|&LabelSelector{MatchLabels:map[string]string{a: b,},MatchExpressions:[]LabelSelectorRequirement{},}|<unknown>"
    );
}
