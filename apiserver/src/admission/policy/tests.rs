//! Policies asked about writes, as tables: what they say, what is written, and what comes of it.

use std::sync::{Arc, OnceLock};

use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::{Value, json};

use super::index::{Index, Stored};
use super::*;
use crate::admission::asking::{self, Operation};
use crate::registry::{Kind, Registry};
use crate::request::{Target, User};
use crate::view::testing::Cluster;
use crate::webhook::testing::At;

fn object<K: Kind>(name: &str, spec: Value) -> K {
    let uid = spec.to_string();
    let json = json!({"metadata": {"name": name, "uid": uid, "generation": 1}, "spec": spec});
    let mut object: K = serde_json::from_value(json).unwrap();
    object.fill_defaults();
    object
}

fn about(resource: &str) -> Value {
    json!({"resourceRules": [{"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": [resource]}]})
}

/// With `more` in it.
fn spec(base: Value, more: &Value) -> Value {
    let mut spec = base;
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    spec
}

/// One policy that judges ConfigMaps, and one binding.
fn validating(policy: Value, binding: Value) -> Index {
    let policy = spec(json!({"matchConstraints": about("configmaps")}), &policy);
    let binding = spec(json!({"policyName": "p", "validationActions": ["Deny"]}), &binding);
    let stored = Stored {
        validating: vec![object("p", policy)],
        validating_bindings: vec![object("b", binding)],
        ..Stored::default()
    };
    Index::compile(&stored, &Index::default())
}

/// Policies that change ConfigMaps, each with a binding of its name.
fn mutating(policies: &[(&str, Value)]) -> Index {
    let policy =
        |more: &Value| spec(json!({"matchConstraints": about("configmaps"), "reinvocationPolicy": "Never"}), more);
    let stored = Stored {
        mutating: policies.iter().map(|(name, more)| object(name, policy(more))).collect(),
        mutating_bindings: policies.iter().map(|(name, _)| object(name, json!({"policyName": name}))).collect(),
        ..Stored::default()
    };
    Index::compile(&stored, &Index::default())
}

fn cluster() -> Cluster {
    let labels = json!({"color": "red"});
    let mut cluster = Cluster::of(&[
        (
            "namespaces//n",
            json!({"metadata": {"name": "n", "labels": labels, "managedFields": []}, "status": {"phase": "Active"}}),
        ),
        (
            "configmaps/n/limits",
            json!({"metadata": {"name": "limits", "namespace": "n", "labels": {"use": "yes"}}, "data": {"max": "3"}}),
        ),
        (
            "configmaps/n/more",
            json!({"metadata": {"name": "more", "namespace": "n", "labels": {"use": "yes"}}, "data": {"max": "5"}}),
        ),
        ("priorityclasses//high", json!({"metadata": {"name": "high"}, "value": 7})),
    ]);
    cluster.grants = vec!["breakglass configmaps n/a"];
    cluster
}

/// What is told, and the object after it.
fn asked(index: &Index, new: Option<Value>, old: Option<Value>) -> (Result<Vec<String>, ApiError>, Option<Value>) {
    asked_of(&crate::told::Told::default(), index, new, old)
}

/// `told`: of the request.
fn asked_of(
    told: &crate::told::Told,
    index: &Index,
    new: Option<Value>,
    old: Option<Value>,
) -> (Result<Vec<String>, ApiError>, Option<Value>) {
    asked_in(&cluster(), told, index, new, old)
}

fn asked_in(
    cluster: &Cluster,
    told: &crate::told::Told,
    index: &Index,
    new: Option<Value>,
    old: Option<Value>,
) -> (Result<Vec<String>, ApiError>, Option<Value>) {
    let registry = Registry::default();
    let resource = registry.find("", "v1", "configmaps").unwrap();
    let (version, plural) = ("v1".to_owned(), "configmaps".to_owned());
    let target = Target { version, resource: plural, namespace: "n".into(), name: "a".into(), ..Target::default() };
    let read = |json: Value| -> Box<dyn AnyObject> { Box::new(serde_json::from_value::<ConfigMap>(json).unwrap()) };
    let (mut new, old) = (new.map(read), old.map(read));
    let operation = match (&new, &old) {
        (Some(_), None) => Operation::Create,
        (Some(_), Some(_)) => Operation::Update,
        (None, _) => Operation::Delete,
    };
    let user = User { name: "jane".into(), ..User::default() };
    let asking = Asking {
        user: &user,
        operation,
        target: &target,
        resource: &resource,
        name: "a",
        dry_run: false,
        options: None,
        old: old.as_deref(),
        connection: None,
        decode: None,
        registry: &registry,
        view: cluster,
        resolve: &At(None),
        convert: &At(None),
        namespace_labels: OnceLock::new(),
    };
    let mut warnings = Vec::new();
    let outcome = async {
        let mut rounds = Rounds::default();
        if let Some(object) = &mut new
            && index.mutate(&asking, object, &mut rounds).await?
        {
            rounds.begin_second(&**object);
            index.mutate(&asking, object, &mut rounds).await?;
        }
        index.validate(&asking, new.as_deref(), &mut warnings).await
    };
    // What takes long is done aside, and that needs one.
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let outcome = runtime.block_on(told.of(outcome));
    (outcome.map(|()| warnings), new.map(|object| object.to_value().unwrap()))
}

fn map(data: Value) -> Value {
    json!({"metadata": {"name": "a", "namespace": "n"}, "data": data})
}

/// "" where it is admitted without a word; else the message without its beginning.
fn told(index: &Index, new: Value) -> String {
    match asked(index, Some(new), None).0 {
        Ok(warnings) => warnings.join("; "),
        Err(err) => {
            let message = err.message();
            let short = message.strip_prefix("configmaps \"a\" is forbidden: ValidatingAdmissionPolicy 'p' ");
            format!("{} {}", err.code(), short.unwrap_or(message))
        }
    }
}

#[test]
fn a_write_is_refused_in_upstreams_words() {
    let one =
        |validation: Value| told(&validating(json!({"validations": [validation]}), json!({})), map(json!({"n": "4"})));
    let with = "422 with binding 'b' denied request: ";
    let cases: &[(&str, Value, String)] = &[
        ("good", json!({"expression": "object.data.n == '4'"}), String::new()),
        (
            "no message",
            json!({"expression": " object.data.n == '5'"}),
            format!("{with}failed expression: object.data.n == '5'"),
        ),
        ("a message", json!({"expression": "false", "message": " no "}), format!("{with}no")),
        (
            "one that is made",
            json!({"expression": "false", "message": "no", "messageExpression": "'got ' + object.data.n"}),
            format!("{with}got 4"),
        ),
        (
            "one that has no value",
            json!({"expression": "false", "message": "no", "messageExpression": "object.data.x + ''"}),
            format!("{with}no"),
        ),
        (
            "one of two lines",
            json!({"expression": "false", "messageExpression": "'a\\nb'"}),
            format!("{with}failed expression: false"),
        ),
        (
            "a reason",
            json!({"expression": "false", "reason": "Forbidden"}),
            "403 with binding 'b' denied request: failed expression: false".into(),
        ),
        (
            "another",
            json!({"expression": "false", "reason": "RequestEntityTooLarge"}),
            "413 with binding 'b' denied request: failed expression: false".into(),
        ),
        (
            "no value",
            json!({"expression": "object.data.x == ''"}),
            format!("{with}expression 'object.data.x == ''' resulted in error: no such key: x"),
        ),
        (
            "a namespace",
            json!({"expression": "namespaceObject.metadata.labels.color == 'red' && namespaceObject.status.phase == 'Active'"}),
            String::new(),
        ),
        (
            "what there is of none but the old object",
            json!({"expression": "!has(oldObject.metadata) && oldObject.?metadata.?labels.orValue({}) == {}"}),
            String::new(),
        ),
        (
            "and is looked at all the same",
            json!({"expression": "oldObject.metadata.name == 'a'"}),
            format!("{with}expression 'oldObject.metadata.name == 'a'' resulted in error: no such key: metadata"),
        ),
        ("no old object", json!({"expression": "oldObject == null && request.operation == 'CREATE'"}), String::new()),
        ("rights", json!({"expression": "authorizer.requestResource.check('breakglass').allowed()"}), String::new()),
        (
            "none",
            json!({"expression": "authorizer.group('').resource('secrets').check('get').allowed()", "message": "no"}),
            format!("{with}no"),
        ),
    ];
    for (why, validation, expected) in cases {
        assert_eq!(one(validation.clone()), *expected, "{why}");
    }
    let hidden = one(json!({"expression": "has(namespaceObject.metadata.managedFields)"}));
    assert!(hidden.contains("undefined field 'managedFields'"), "{hidden}");
    let status =
        asked(&validating(json!({"validations": [{"expression": "false"}]}), json!({})), Some(map(json!({}))), None)
            .0
            .unwrap_err();
    let causes = status.status().details.as_ref().and_then(|details| details.causes.clone()).unwrap();
    assert_eq!(status.status().reason.as_deref(), Some("Invalid"));
    assert_eq!(
        causes[0].message.as_deref(),
        Some("ValidatingAdmissionPolicy 'p' with binding 'b' denied request: failed expression: false")
    );
}

#[test]
fn conditions_variables_and_failure_policies() {
    let of = |policy: Value| told(&validating(policy, json!({})), map(json!({"n": "4"})));
    let never = json!([{"expression": "false"}]);
    let conditions = |text: &str| json!([{"name": "c", "expression": text}]);
    let with = "422 with binding 'b' denied request: ";
    assert_eq!(of(json!({"validations": never, "matchConditions": conditions("object.data.n == '5'")})), "");
    assert_eq!(
        of(json!({"validations": never, "matchConditions": conditions("object.x.y")})),
        format!("{with}compilation error: must evaluate to bool but got dyn")
    );
    let namespace =
        format!("{with}expression 'namespaceObject.metadata.name == 'n'' resulted in error: no such key: metadata");
    let known = conditions("namespaceObject.metadata.name == 'n'");
    assert_eq!(of(json!({"validations": never, "matchConditions": known})), namespace, "conditions know no namespace");
    let broken = conditions("object.x == 1");
    assert_eq!(
        of(json!({"validations": never, "matchConditions": broken})),
        format!("{with}expression 'object.x == 1' resulted in error: no such key: x")
    );
    assert_eq!(of(json!({"validations": never, "matchConditions": broken, "failurePolicy": "Ignore"})), "");
    let variables = json!([{"name": "n", "expression": "int(object.data.n)"}, {"name": "odd", "expression": "variables.n % 2 == 1"}]);
    assert_eq!(
        of(
            json!({"variables": variables, "validations": [{"expression": "variables.odd", "messageExpression": "'even: ' + string(variables.n)"}]})
        ),
        format!("{with}even: 4")
    );
    assert_eq!(of(json!({"failurePolicy": "Ignore", "validations": [{"expression": "object.x == 1"}]})), "");
    let long = "[1,2,3,4,5,6,7,8,9,10]";
    let bomb =
        format!("{long}.all(a, {long}.all(b, {long}.all(c, {long}.all(d, {long}.all(e, {long}.all(f, true))))))");
    let text = of(json!({"validations": [{"expression": bomb}]}));
    assert!(text.ends_with("resulted in error: operation cancelled: actual cost limit exceeded"), "{text}");
}

#[test]
fn what_a_binding_says_becomes_of_it() {
    let policy = || json!({"validations": [{"expression": "false", "message": "no"}, {"expression": "false", "message": "again"}]});
    let of = |actions: Value| told(&validating(policy(), json!({"validationActions": actions})), map(json!({})));
    let warning = |what: &str| format!("Validation failed for ValidatingAdmissionPolicy 'p' with binding 'b': {what}");
    assert_eq!(of(json!(["Warn"])), format!("{}; {}", warning("no"), warning("again")));
    assert_eq!(of(json!(["Audit"])), "");
    assert_eq!(of(json!(["Audit", "Deny"])), "422 with binding 'b' denied request: no");
    let elsewhere = json!({"matchResources": {"namespaceSelector": {"matchLabels": {"color": "blue"}}}});
    assert_eq!(told(&validating(policy(), elsewhere), map(json!({}))), "");
    let excluded = json!({"matchResources": {"excludeResourceRules": [{"operations": ["CREATE"], "apiGroups": [""],
        "apiVersions": ["v1"], "resources": ["configmaps"], "resourceNames": ["a"]}]}});
    assert_eq!(told(&validating(policy(), excluded), map(json!({}))), "");
    let annotated = |expression: &str| {
        let annotations = json!([{"key": "k", "valueExpression": expression}]);
        told(
            &validating(json!({ "auditAnnotations": annotations }), json!({"validationActions": ["Audit"]})),
            map(json!({})),
        )
    };
    assert_eq!(annotated("'x'"), "");
    assert!(
        annotated("object.x + ''").contains("no such key: x"),
        "one without a value refuses whatever the binding says"
    );
}

#[test]
fn the_audit_is_told_what_was_found_and_what_is_to_be_noted() {
    let policy = json!({
        "validations": [{"expression": "false", "message": "no"}, {"expression": "false", "message": "again"}],
        "auditAnnotations": [{"key": "k", "valueExpression": "'n is ' + object.data.n"}, {"key": "none", "valueExpression": "null"}],
    });
    let noted = |actions: Value| {
        let told = crate::told::Told::default();
        let index = validating(policy.clone(), json!({"validationActions": actions}));
        let outcome = asked_of(&told, &index, Some(map(json!({"n": "4"}))), None).0;
        let noted: Vec<(String, String)> = told.annotations().into_iter().map(|(key, of)| (key, of.value)).collect();
        (outcome.is_ok(), noted)
    };
    let own = ("p/k".to_owned(), "n is 4".to_owned());
    assert_eq!(noted(json!(["Deny"])), (false, vec![own.clone()]));
    let (is_done, noted) = noted(json!(["Audit"]));
    let [first, (key, failure)] = noted.as_slice() else { panic!("{noted:?}") };
    assert_eq!((is_done, first, key.as_str()), (true, &own, "validation.policy.admission.k8s.io/validation_failure"));
    let expected = r#"[{"message":"no","policy":"p","binding":"b","expressionIndex":0,"validationActions":["Audit"]}]"#;
    assert_eq!(failure, expected, "the first, to the letter");
}

#[test]
fn params_are_found_as_the_binding_says() {
    let of = |kind: Value, param: Value| {
        let validations = json!([{"expression": "params == null || int(object.data.n) <= int(params.data.max)",
            "messageExpression": "'more than ' + params.data.max + ' of ' + params.kind"}]);
        let binding = if param.is_null() { json!({}) } else { json!({ "paramRef": param }) };
        told(&validating(json!({"paramKind": kind, "validations": validations}), binding), map(json!({"n": "4"})))
    };
    let maps = || json!({"apiVersion": "v1", "kind": "ConfigMap"});
    let with = "422 with binding 'b' denied request: ";
    let cases: &[(&str, Value, Value, String)] = &[
        ("none", maps(), Value::Null, String::new()),
        ("by name, in the namespace of the write", maps(), json!({"name": "limits"}), format!("{with}more than 3 of ConfigMap")),
        ("in another", maps(), json!({"name": "limits", "namespace": "m", "parameterNotFoundAction": "Allow"}), String::new()),
        (
            "not there",
            maps(),
            json!({"name": "x", "parameterNotFoundAction": "Deny"}),
            format!("{with}failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction"),
        ),
        ("all of some labels", maps(), json!({"selector": {"matchLabels": {"use": "yes"}}}), format!("{with}more than 3 of ConfigMap")),
        ("of none", maps(), json!({"selector": {"matchLabels": {"use": "no"}}}), String::new()),
        (
            "a kind that is not served",
            json!({"apiVersion": "example.com/v1", "kind": "Tab"}),
            json!({"name": "x"}),
            "422 denied request: failed to configure policy: failed to find resource referenced by paramKind: 'example.com/v1, Kind=Tab'".into(),
        ),
        (
            "a kind in no namespace",
            json!({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass"}),
            json!({"name": "high", "namespace": "n"}),
            format!("{with}failed to configure binding: paramRef.namespace must not be provided for a cluster-scoped `paramKind`"),
        ),
    ];
    for (why, kind, param, expected) in cases {
        assert_eq!(of(kind.clone(), param.clone()), *expected, "{why}");
    }
}

#[test]
fn objects_are_changed_by_configurations_and_patches() {
    let apply = |text: &str| json!({"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": text}});
    let patch = |text: &str| json!({"patchType": "JSONPatch", "jsonPatch": {"expression": text}});
    let of = |mutations: Value, more: Value| {
        let index = mutating(&[("p", spec(json!({ "mutations": mutations }), &more))]);
        let (outcome, object) = asked(&index, Some(map(json!({"n": "4"}))), None);
        outcome.map(|_| object.unwrap()).map_err(|err| format!("{} {}", err.code(), err.message()))
    };
    let new = of(
        json!([
            apply("Object{metadata: Object.metadata{labels: {'a': object.data.n}}, data: {'m': 'x'}}"),
            patch("[JSONPatch{op: 'test', path: '/data/m', value: 'x'}, JSONPatch{op: 'add', path: '/data/' + jsonpatch.escapeKey('a/b'), value: variables.n}]"),
            patch("[JSONPatch{op: 'test', path: '/data/m', value: 'y'}, JSONPatch{op: 'remove', path: '/data'}]"),
        ]),
        json!({"variables": [{"name": "n", "expression": "object.data.n + object.data.m"}]}),
    )
    .unwrap();
    assert_eq!(new["data"], json!({"a/b": "4x", "m": "x", "n": "4"}));
    assert_eq!(new["metadata"]["labels"], json!({"a": "4"}));
    let denied = "403 policy 'p' with binding 'p' denied request: ";
    let cases: &[(&str, Value, &str)] = &[
        (
            "a name of another place",
            apply("Object{metadata: Object.spec{}}"),
            "type mismatch: unexpected type name \"Object.spec\", expected \"Object.metadata\", which matches field name path from root Object type",
        ),
        (
            "no such field",
            apply("Object{nope: 1}"),
            "error applying patch: failed to convert patch object to typed object: .nope: field not declared in schema",
        ),
        (
            "no value",
            apply("Object{data: {'a': object.data.x}}"),
            "expression 'Object{data: {'a': object.data.x}}' resulted in error: no such key: x",
        ),
        ("not compiled", apply("Nobody{}"), "compilation failed: ERROR"),
        ("a patch of nothing", patch("[JSONPatch{op: 'remove', path: '/nope'}]"), "JSON Patch: operation '/0' failed"),
    ];
    let fields = patch(
        "[JSONPatch{op: 'test', path: '/data/m', value: null}, JSONPatch{op: 'replace', path: '/data/m', value: 'x'}]",
    );
    assert_eq!(
        of(json!([fields]), json!({})).unwrap()["data"],
        json!({"m": "x", "n": "4"}),
        "as upstream's library does"
    );
    for (patched, why) in [
        (
            "[JSONPatch{op: 'add', path: '/nope', value: 1}]",
            "500 Internal error occurred: strict decoding error: unknown field \"nope\"",
        ),
        ("[JSONPatch{op: 'add', path: '/data', value: 1}]", "500 "),
    ] {
        for policy in ["Fail", "Ignore"] {
            let told = of(json!([patch(patched)]), json!({ "failurePolicy": policy })).unwrap_err();
            assert!(told.starts_with(why), "{policy}: {told}");
        }
    }
    for (why, mutation, expected) in cases {
        let told = of(json!([mutation]), json!({}));
        let told = told.unwrap_err();
        assert!(told.starts_with(&format!("{denied}{expected}")), "{why}: {told}");
        let open = of(json!([mutation]), json!({"failurePolicy": "Ignore"})).unwrap();
        assert_eq!(open["data"], json!({"n": "4"}), "{why}");
    }
    let skipped = json!({"matchConditions": [{"name": "c", "expression": "object.data.n == '5'"}]});
    assert_eq!(of(json!([apply("Object{data: {'m': 'x'}}")]), skipped).unwrap()["data"], json!({"n": "4"}));
}

/// Whoever writes may be who makes params: what he makes too many of lets nothing of his slip by.
#[test]
fn no_policy_is_passed_over_because_there_are_too_many_params() {
    let mut cluster = cluster();
    for at in 0..=1000 {
        let json = json!({"metadata": {"name": format!("p{at}"), "namespace": "n", "labels": {"many": "yes"}}});
        cluster.add(&format!("configmaps/n/p{at}"), &json);
    }
    let of = |labels: Value| {
        let policy = json!({"paramKind": {"apiVersion": "v1", "kind": "ConfigMap"}, "failurePolicy": "Ignore",
            "validations": [{"expression": "!('nobody' in params.metadata.labels)"}]});
        let binding = json!({"paramRef": {"selector": {"matchLabels": labels}, "parameterNotFoundAction": "Deny"}});
        let told = crate::told::Told::default();
        let outcome = asked_in(&cluster, &told, &validating(policy, binding), Some(map(json!({}))), None).0;
        outcome.map_err(|err| format!("{} {}", err.code(), err.message()))
    };
    let why = of(json!({"many": "yes"})).unwrap_err();
    assert!(why.starts_with("500 ") && why.contains("1001 params are selected"), "{why}");
    assert_eq!(of(json!({"use": "yes"})), Ok(Vec::new()));
}

#[test]
fn webhooks_are_written_under_policies_and_policies_under_nothing() {
    let registry = Registry::default();
    let exempt = |plural: &str| {
        let resource = registry.find(crate::registry::admissionregistration::GROUP, "v1", plural).unwrap();
        (asking::is_exempt_from_webhooks(&resource), asking::is_exempt_from_policies(&resource))
    };
    assert_eq!(exempt("validatingwebhookconfigurations"), (true, false));
    assert_eq!(exempt("mutatingwebhookconfigurations"), (true, false));
    for plural in crate::registry::admissionregistration::POLICIES {
        assert_eq!(exempt(plural), (true, true), "{plural}");
    }
}

#[test]
fn who_wants_to_is_asked_again_about_what_others_changed_after_it() {
    let count = json!([{"patchType": "JSONPatch", "jsonPatch": {"expression":
        "[JSONPatch{op: 'add', path: '/data/count', value: has(object.data.count) ? object.data.count + 'I' : 'I'}]"}}]);
    let later = json!([{"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": "Object{data: {'later': 'yes'}}"}}]);
    let counted = |policy: &str| {
        let index = mutating(&[
            ("a", json!({"mutations": count, "reinvocationPolicy": policy})),
            ("b", json!({"mutations": later})),
        ]);
        asked(&index, Some(map(json!({"n": "1"}))), None).1.unwrap()["data"]["count"].clone()
    };
    assert_eq!((counted("Never"), counted("IfNeeded")), (json!("I"), json!("II")));
}

#[test]
fn deletes_are_judged_and_nobody_changes_what_goes() {
    let never =
        validating(json!({"validations": [{"expression": "object != null || oldObject.data.n == '1'"}]}), json!({}));
    assert!(asked(&never, None, Some(map(json!({"n": "1"})))).0.is_ok());
    assert_eq!(asked(&never, None, Some(map(json!({"n": "2"})))).0.unwrap_err().code(), 422);
}

#[test]
fn what_has_not_changed_is_not_compiled_again_and_what_nobody_uses_not_at_all() {
    let stored = |policies: &[(&str, &str)], binding: &str| Stored {
        validating: policies
            .iter()
            .map(|(name, text)| {
                object(name, json!({"matchConstraints": about("pods"), "validations": [{"expression": text}]}))
            })
            .collect(),
        validating_bindings: [binding, "b"]
            .map(|policy| object(policy, json!({"policyName": policy, "validationActions": ["Deny"]})))
            .into(),
        ..Stored::default()
    };
    let first = Index::compile(&stored(&[("b", "true"), ("a", "true"), ("c", "true")], "a"), &Index::default());
    let names: Vec<&str> = first.validating.iter().map(|bound| &*bound.policy.policy.name).collect();
    assert_eq!(names, ["a", "b"]);
    let second = Index::compile(&stored(&[("a", "true"), ("b", "false")], "a"), &first);
    let is_same = |at: usize| Arc::ptr_eq(&first.validating[at].policy, &second.validating[at].policy);
    assert_eq!((is_same(0), is_same(1)), (true, false));
    let resources = |plural: &str| vec![Registry::default().find("", "v1", plural).unwrap()];
    let concerns = |plural: &str| first.concerns(Operation::Create, &resources(plural), "").validating;
    assert!(concerns("pods") && !concerns("secrets"));
}
