//! Conditions as a table: what they say, what is written, and whether the webhook is asked.

use std::sync::OnceLock;

use serde_json::{Value as Json, json};

use super::*;
use crate::admission::asking::{Asking, Operation};
use crate::admission::expressions::{Host, Seen, values};
use crate::admission::question;
use crate::registry::Registry;
use crate::request::{Target, User};
use crate::view::testing::Cluster;
use crate::webhook::testing::At;

fn judged(conditions: &[&str], object: Option<&Json>, old: Option<&Json>) -> Outcome {
    let registry = Registry::default();
    let resource = registry.find("", "v1", "configmaps").unwrap();
    let target = Target {
        version: "v1".into(),
        resource: "configmaps".into(),
        namespace: "n".into(),
        name: "a".into(),
        ..Target::default()
    };
    let user = User { name: "jane".into(), groups: vec!["dev".into()], ..User::default() };
    let cluster = Cluster::granting(&["get /healthz", "breakglass configmaps n/a", "list pods n/"]);
    let asking = Asking {
        user: &user,
        operation: Operation::Update,
        target: &target,
        resource: &resource,
        name: "a",
        dry_run: false,
        options: Some(json!({"kind": "UpdateOptions"})),
        old: None,
        connection: None,
        decode: None,
        registry: &registry,
        view: &cluster,
        resolve: &At(None),
        convert: &At(None),
        namespace_labels: OnceLock::new(),
    };
    let named = |(i, text): (usize, &&str)| MatchCondition { name: i.to_string(), expression: (*text).to_owned() };
    let of: Vec<MatchCondition> = conditions.iter().enumerate().map(named).collect();
    let request = question::request(&asking, &resource).unwrap();
    let seen = Seen { object, old, namespace: None, params: None, request: &request };
    Conditions::compile(&of, false).judge(&values(&asking, &seen, &Host(&asking)), &|| false)
}

#[test]
fn conditions_see_the_objects_the_request_and_what_somebody_may() {
    let (new, old) = (json!({"data": {"a": "new"}}), json!({"data": {"a": "old"}}));
    for text in [
        "true",
        "object.data.a == 'new' && oldObject.data.a == 'old'",
        "request.operation == 'UPDATE' && request.resource.resource == 'configmaps' && request.kind.kind == 'ConfigMap'",
        "request.requestKind.version == 'v1' && request.requestResource.group == '' && !has(request.subResource)",
        "request.userInfo.username == 'jane' && 'dev' in request.userInfo.groups && !has(request.userInfo.uid)",
        "request.name == 'a' && request.namespace == 'n' && !request.dryRun && request.options.kind == 'UpdateOptions'",
        "authorizer.requestResource.check('breakglass').allowed()",
        "!authorizer.requestResource.check('get').allowed()",
        "authorizer.group('').resource('pods').namespace('n').check('list').allowed()",
        "authorizer.path('/healthz').check('get').reason() == 'it is granted'",
        "authorizer.serviceAccount('n', 's').path('/x').check('get').reason() == 'not to system:serviceaccount:n:s'",
    ] {
        assert_eq!(judged(&[text], Some(&new), Some(&old)), Outcome::Hold, "{text}");
        assert_eq!(judged(&[&format!("!({text})")], Some(&new), Some(&old)), Outcome::DoNotHold, "{text}");
    }
    assert_eq!(judged(&["object == null", "oldObject == null"], None, None), Outcome::Hold);
}

#[test]
fn one_that_does_not_hold_counts_more_than_those_without_a_value() {
    let object = json!({"list": (0..350).collect::<Vec<i32>>()});
    let said = |conditions: &[&str]| match judged(conditions, Some(&object), None) {
        Outcome::Errors(why) => why.join("; "),
        other => format!("{other:?}"),
    };
    let missing = "object.missing == 1";
    let why = "expression 'object.missing == 1' resulted in error: no such key: missing";
    assert_eq!(said(&["true", missing, "true", missing]), why, "told once");
    assert_eq!(said(&[missing, "false"]), "DoNotHold");
    let other = format!("{why}; expression 'object.list == object.none' resulted in error: no such key: none");
    assert_eq!(said(&[missing, "object.list == object.none"]), other);
    assert!(said(&["nobody"]).starts_with("compilation error: compilation failed: ERROR: <input>:1:1: undeclared"));
    // All together have one budget.
    let long = "object.list.all(x, object.list.all(y, true))";
    assert_eq!(said(&[long]), "Hold");
    let spent = "validation failed due to running out of cost budget, no further validation rules will be run";
    assert_eq!(said(&[long; 10]), spent);
}
