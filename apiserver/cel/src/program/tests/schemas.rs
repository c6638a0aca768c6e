//! Values by their schemas: what is absent, sets and maps, escaped names, and what rules may cost.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::value_of;
use crate::environment::Environment;
use crate::limits::{Budget, PER_CALL_LIMIT};
use crate::opaque::authorizer::{Authorizer, Decision, PathCheck, ResourceCheck};
use crate::program::compile;
use crate::schema::Schema;
use crate::types::Type;
use crate::value::Value;

fn gives(openapi: &Json, object: &Json, text: &str) -> String {
    let schema = Arc::new(Schema::of_openapi(openapi, false).unwrap());
    let environment = Environment::default().with_schema("self", "selfType", schema.clone()).with_schema(
        "oldSelf",
        "selfType",
        schema.clone(),
    );
    let value = match Value::of(object, &schema) {
        Ok(value) => value,
        Err(e) => return format!("error: {e}"),
    };
    value_of(text, &environment, &BTreeMap::from([("self", value.clone()), ("oldSelf", value)]))
}

fn object(properties: Json) -> Json {
    json!({"type": "object", "properties": properties})
}

#[test]
fn values_are_what_their_schemas_say() {
    let string = json!({"type": "string"});
    let cases = [
        (json!({"type": "integer"}), json!(1), "self.v + 1", "2"),
        (json!({"type": "integer"}), json!(1.5), "self.v + 1", "error: invalid data, expected int, got float64"),
        (json!({"type": "number"}), json!(1), "self.v + 1.5", "2.5"),
        (json!({"type": "boolean"}), json!(true), "!self.v", "false"),
        (string.clone(), json!("a"), "self.v + 'b'", "\"ab\""),
        (string.clone(), json!(null), "has(self.v)", "false"),
        (string.clone(), json!(null), "self.v", "error: no such key: v"),
        (json!({"type": "string", "nullable": true}), json!(null), "has(self.v)", "false"),
        (json!({"type": "string", "format": "byte"}), json!("aGk="), "self.v == b'hi'", "true"),
        (json!({"type": "string", "format": "date"}), json!("2020-02-03"), "self.v.getMonth()", "1"),
        (json!({"type": "string", "format": "date-time"}), json!("2020-02-03T04:05:06Z"), "self.v.getHours()", "4"),
        (json!({"type": "string", "format": "duration"}), json!("1h"), "self.v == duration('60m')", "true"),
        (
            json!({"x-kubernetes-int-or-string": true}),
            json!("5%"),
            "type(self.v) == string && self.v.endsWith('%')",
            "true",
        ),
        (json!({"x-kubernetes-int-or-string": true}), json!(5), "type(self.v) == int ? self.v < 6 : false", "true"),
        (json!({"type": "array", "items": string}), json!(["a"]), "self.v.all(x, x == 'a') && self.v == ['a']", "true"),
        (
            json!({"type": "object", "additionalProperties": string}),
            json!({"k": "a"}),
            "self.v.all(k, self.v[k] == 'a') && 'k' in self.v",
            "true",
        ),
        (
            json!({"type": "object", "additionalProperties": string}),
            json!({"k": "a"}),
            "self.v.transformMap(k, v, v + k)",
            "{\"k\": \"ak\"}",
        ),
        (object(json!({"a": string})), json!({"a": "x"}), "self.v.a + string(has(self.v.a))", "\"xtrue\""),
        (object(json!({"a": string})), json!({"b": "x"}), "has(self.v.a) || self.v.?a.hasValue()", "false"),
        (object(json!({"a": string})), json!({}), "self.v.b", "refused: undefined field 'b'"),
        (
            object(json!({"a-b": string, "namespace": string})),
            json!({"a-b": "x", "namespace": "y"}),
            "self.v.a__dash__b + self.v.__namespace__",
            "\"xy\"",
        ),
        (
            object(json!({"a": {"x-kubernetes-preserve-unknown-fields": true}})),
            json!({"a": 1}),
            "self.v.a",
            "refused: undefined field 'a'",
        ),
        (object(json!({})), json!({"x": 1}), "self.v == oldSelf.v", "true"),
        (
            json!({"type": "integer"}),
            json!(1),
            "self.v + 'a'",
            "refused: found no matching overload for '_+_' applied to '(int, string)'",
        ),
        (
            object(json!({})),
            json!({}),
            "self.v + 1",
            "refused: found no matching overload for '_+_' applied to '(selfType.v, int)'",
        ),
    ];
    for (schema, value, text, wanted) in cases {
        let given = gives(&object(json!({"v": schema})), &json!({"v": value}), text);
        assert_eq!(given, wanted, "{text} of {value} by {schema}");
    }
}

#[test]
fn sets_and_maps_have_no_order() {
    let set = json!({"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}});
    let item = object(json!({"k": {"type": "string"}, "v": {"type": "integer"}}));
    let map =
        json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"], "items": item});
    let list = json!({"type": "array", "items": {"type": "string"}});
    let sets_of_lists = json!({"type": "array", "x-kubernetes-list-type": "set", "items": list});
    let item = |k: &str, v: i64| json!({"k": k, "v": v});
    let cases = [
        (&set, json!(["a", "b"]), json!(["b", "a"]), "self.a == self.b", "true"),
        (&set, json!(["a", "b"]), json!(["b", "c"]), "self.a == self.b", "false"),
        (&set, json!(["a", "b"]), json!(["b", "c"]), "self.a + self.b", "[\"a\", \"b\", \"c\"]"),
        (&set, json!(["a", "b"]), json!(["b", "c"]), "self.a + self.b == ['c', 'b', 'a']", "true"),
        (&list, json!(["a", "b"]), json!(["b", "a"]), "self.a == self.b", "false"),
        (&list, json!(["a"]), json!(["a"]), "self.a + self.b", "[\"a\", \"a\"]"),
        (
            &map,
            json!([item("x", 1), item("y", 2)]),
            json!([item("y", 2), item("x", 1)]),
            "dyn(self.a) == self.b",
            "true",
        ),
        (&map, json!([item("x", 1)]), json!([item("x", 2)]), "dyn(self.a) == self.b", "false"),
        (
            &sets_of_lists,
            json!([["a"], ["b"]]),
            json!([["b"], ["a"]]),
            "self.a == self.b",
            "error: only scalars identify items of a set or map, not list",
        ),
        (
            &map,
            json!([item("x", 1), item("y", 2)]),
            json!([item("x", 3), item("z", 4)]),
            "(self.a + dyn(self.b)).map(e, e.v)",
            "[3, 2, 4]",
        ),
    ];
    for (schema, a, b, text, wanted) in cases {
        let given = gives(&object(json!({"a": schema, "b": schema})), &json!({"a": a, "b": b}), text);
        assert_eq!(given, wanted, "{text} of {a} and {b}");
    }
}

#[test]
fn a_resource_has_its_metadata() {
    let schema = Arc::new(Schema::of_openapi(&object(json!({"spec": object(json!({}))})), true).unwrap());
    let environment = Environment::default().with_schema("self", "selfType", schema.clone());
    let object = json!({"apiVersion": "v1", "kind": "X", "metadata": {"name": "n", "labels": {}}});
    let variables = BTreeMap::from([("self", Value::of(&object, &schema).unwrap())]);
    let cases =
        [("self.kind + self.metadata.name", "\"Xn\""), ("self.metadata.labels", "refused: undefined field 'labels'")];
    for (text, wanted) in cases {
        assert_eq!(value_of(text, &environment, &variables), wanted, "{text}");
    }
}

#[test]
fn costs_are_estimated_from_bounds() {
    let openapi = object(json!({
        "n": {"type": "integer"},
        "s": {"type": "string", "maxLength": 10},
        "long": {"type": "string"},
        "list": {"type": "array", "maxItems": 5, "items": {"type": "string", "maxLength": 10}},
        "many": {"type": "array", "items": {"type": "integer"}},
    }));
    let schema = Arc::new(Schema::of_openapi(&openapi, false).unwrap());
    let environment = Environment::default().with_schema("self", "selfType", schema.clone());
    let cases = [
        ("true", 0),
        ("self.n == 1", 2),
        ("has(self.n)", 1),
        ("self.s == 'abc'", 3),
        ("self.s.startsWith('abc')", 3),
        ("self.s.contains('abc')", 6),
        ("self.s.matches('abcd')", 7),
        // For each item: the condition 2, the accumulator 1, the item 1, and its comparison; then the result.
        ("self.list.all(x, x == 'abc')", 2 + 5 * 5 + 1),
        ("self.list.map(x, x)", 2 + 10 + 5 * 13 + 1),
        ("self.many.all(x, x == 1)", 2 + (3_145_726 / 2) * 4 + 1),
    ];
    for (text, wanted) in cases {
        let cost = compile(text, &environment).map(|program| program.estimated_cost().max);
        assert_eq!(cost, Ok(wanted), "{text}");
    }
    assert_eq!(schema.cardinality_max(), 3 * 1024 * 1024 / 3);
}

#[test]
fn what_was_used_is_taken_from_the_budget() {
    let cases = [
        ("1 == 1", 1),
        ("[1, 2].all(x, x > 0)", 10 + 2 * (2 + 1 + 1 + 1) + 1),
        ("'aaaaaaaaaaaaaaaaaaaa' == 'aaaaaaaaaaaaaaaaaaaa'", 2),
        ("'abc'.matches('abcd')", 1),
        ("[3, 1].sort()", 10 + (2 * 2 * 2 + 11)),
        ("ip('10.0.0.1') == ip('10.0.0.1')", 3),
    ];
    for (text, wanted) in cases {
        let program = compile(text, &Environment::default()).unwrap();
        let mut budget = Budget::new(PER_CALL_LIMIT);
        program.evaluate(&(), &mut budget).unwrap();
        assert_eq!(PER_CALL_LIMIT - budget.remaining, wanted, "{text}");
    }
}

pub(super) struct OnlyPods;
impl Authorizer for OnlyPods {
    fn check_path(&self, check: &PathCheck) -> Decision {
        Decision { allowed: check.path == "/healthz" && check.verb == "get", ..Decision::default() }
    }
    fn check_resource(&self, check: &ResourceCheck) -> Decision {
        let account = check.service_account.as_ref().map_or("", |account| &account.name);
        let reason = format!("{account} {}/{} {} {}", check.group, check.resource, check.namespace, check.verb);
        Decision { allowed: check.resource == "pods", reason, error: None }
    }
}

#[test]
fn authorizers_are_asked() {
    let environment = Environment::default().with("authorizer", Type::opaque("kubernetes.authorization.Authorizer"));
    let variables = BTreeMap::from([("authorizer", Value::authorizer(&OnlyPods))]);
    let cases = [
        ("authorizer.path('/healthz').check('get').allowed()", "true"),
        ("authorizer.group('').resource('pods').namespace('ns').check('list').reason()", "\" /pods ns list\""),
        ("authorizer.serviceAccount('ns', 'sa').group('apps').resource('x').check('get').allowed()", "false"),
        ("authorizer.path('')", "error: path must not be empty"),
        (
            "[1, 2, 3].all(x, authorizer.path('/healthz').check('get').allowed())",
            "error: operation cancelled: actual cost limit exceeded",
        ),
    ];
    for (text, wanted) in cases {
        assert_eq!(value_of(text, &environment, &variables), wanted, "{text}");
    }
}

#[test]
fn objects_and_patches_are_made() {
    let environment = Environment::default().with_mutation();
    let cases = [
        ("Object{spec: Object.spec{replicas: 3}}", "Object {\"spec\":{\"replicas\":3}}"),
        ("Object{spec: Object.spec{?replicas: optional.none()}}", "Object {\"spec\":{}}"),
        ("Object{annotations: {'foo': 'bar'}}", "Object {\"annotations\":{\"foo\":\"bar\"}}"),
        ("Object{intList: [1, 2, 3]}.intList.sum()", "6"),
        ("Object{spec: Object.spec{replicas: 3}} == Object{spec: Object.spec{replicas: 1 + 2}}", "true"),
        ("Invalid{}", "refused: undeclared reference to 'Invalid' (in container '')"),
        (
            "JSONPatch{op: 'add', path: '/a/' + jsonpatch.escapeKey('x/y~z'), value: 1}",
            "JSONPatch {\"op\":\"add\",\"path\":\"/a/x~1y~0z\",\"value\":1}",
        ),
        ("JSONPatch{op: 1}", "refused: expected type of field 'op' is 'string' but provided type is 'int'"),
        ("JSONPatch{at: 1}", "refused: undefined field 'at'"),
        ("true ? JSONPatch{op: 'add'} : JSONPatch{op: 'remove'}", "JSONPatch {\"op\":\"add\"}"),
    ];
    for (text, wanted) in cases {
        assert_eq!(value_of(text, &environment, &BTreeMap::new()), wanted, "{text}");
    }
    let program = compile("Object{spec: [Object.status{}]}", &environment).unwrap();
    let Ok(Value::Struct(made)) = program.evaluate(&(), &mut Budget::new(PER_CALL_LIMIT)) else {
        panic!("it makes an object")
    };
    let wanted = "unexpected type name \"Object.status\", expected \"Object.spec\", which matches field name path from root Object type";
    assert_eq!(made.misnamed(), Ok(vec![wanted.to_owned()]));
}
