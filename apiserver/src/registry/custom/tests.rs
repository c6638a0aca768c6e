//! A custom kind as it is served: what is read, written and shown of its objects.

use serde_json::{Value, json};

use super::testing::{definition, tabs, version};
use super::*;
use corten_api::Problems;

use crate::registry::check::testing::now;
use crate::registry::{AnyObject, Cell, LocalConversion, Strategy, WriteContext};
use crate::request::User;

fn schema() -> Value {
    json!({"type": "object", "properties": {
        "spec": {"type": "object", "required": ["color"], "properties": {
            "color": {"type": "string", "enum": ["red", "blue"]}, "size": {"type": "integer", "default": 1},
        }},
        "status": {"type": "object", "properties": {"seen": {"type": "integer", "minimum": 0}}},
    }})
}
fn with_status(mut version: Value) -> Value {
    version["subresources"] =
        json!({"status": {}, "scale": {"specReplicasPath": ".spec.size", "statusReplicasPath": ".status.seen"}});
    version
}
fn served() -> Arc<ApiResource> {
    let crd = tabs(vec![with_status(version("v1", true, schema()))]);
    CustomKind::of(&crd, false).unwrap().served[0].clone()
}
fn local(resource: &ApiResource) -> &LocalConversion {
    match resource.conversion() {
        Some(Conversion::Local(conversion)) => conversion,
        other => panic!("nobody is asked: {}", other.is_some()),
    }
}
fn object(resource: &ApiResource, json: Value) -> Box<dyn AnyObject> {
    resource.decode(json.to_string().as_bytes()).unwrap()
}
fn after(resource: &ApiResource, write: Strategy<'_, dyn AnyObject>, json: Value) -> (Value, Vec<String>) {
    let mut new = object(resource, json);
    resource.rules().fill_defaults(&mut *new);
    resource.rules().prepare(write, &mut *new, &WriteContext { user: &User::default(), now: now() });
    let mut problems = Problems::default();
    resource.rules().validate(write, &*new, &mut problems);
    (new.to_value().unwrap(), problems.causes().iter().map(ToString::to_string).collect())
}

#[test]
fn a_body_is_pruned_and_told_of() {
    let resource = served();
    let body = json!({"apiVersion": "example.com/v1", "kind": "Tab", "metadata": {"name": "a", "odd": 1}, "spec": {"color": "red", "x": 1}, "y": 2});
    let normal = resource.normal(body.to_string().as_bytes()).unwrap();
    assert_eq!(
        normal.findings,
        [r#"unknown field "metadata.odd""#, r#"unknown field "spec.x""#, r#"unknown field "y""#]
    );
    assert_eq!((normal.api_version.as_str(), normal.kind.as_str()), ("example.com/v1", "Tab"));
    let read = resource.object(&normal).unwrap().to_value().unwrap();
    assert_eq!(
        read,
        json!({"apiVersion": "example.com/v1", "kind": "Tab", "metadata": {"name": "a"}, "spec": {"color": "red"}})
    );
    let twice = resource.normal(br#"{"spec":{"color":"red","color":"blue"},"spec":{}}"#).unwrap();
    assert_eq!(twice.findings, [r#"duplicate field "spec.color""#, r#"duplicate field "spec""#]);
}

#[test]
fn the_status_is_written_through_its_subresource_alone() {
    let resource = served();
    let (new, told) = after(&resource, Strategy::Create, json!({"spec": {"color": "red"}, "status": {"seen": 1}}));
    assert_eq!((new["spec"].clone(), new.get("status"), told), (json!({"color": "red", "size": 1}), None, vec![]));
    let old =
        object(&resource, json!({"metadata": {"labels": {"a": "b"}}, "spec": {"color": "red"}, "status": {"seen": 1}}));
    let (new, _) = after(&resource, Strategy::Update(&*old), json!({"spec": {"color": "blue"}, "status": {"seen": 2}}));
    assert_eq!((&new["spec"]["color"], &new["status"]["seen"]), (&json!("blue"), &json!(1)));
    let (new, told) =
        after(&resource, Strategy::Status(&*old), json!({"spec": {"color": "blue"}, "status": {"seen": -2}}));
    assert_eq!((&new["spec"]["color"], &new["metadata"]["labels"]["a"]), (&json!("red"), &json!("b")));
    assert_eq!(told[0], "status.seen: Invalid value: -2: seen in body should be greater than or equal to 0");
    let bad = after(&resource, Strategy::Create, json!({"spec": {"color": "green"}})).1;
    assert_eq!(bad, [r#"spec.color: Unsupported value: "green": supported values: "red", "blue""#]);
}

#[test]
fn rules_of_a_schema_are_kept_by_writes_of_the_whole_and_of_the_status() {
    let mut of = schema();
    of["x-kubernetes-validations"] = json!([
        {"rule": "self.metadata.name != 'no'", "message": "another name"},
        {"rule": "!has(self.status) || self.status.seen >= oldSelf.spec.size", "message": "as many as wanted"},
    ]);
    let resource = CustomKind::of(&tabs(vec![with_status(version("v1", true, of))]), false).unwrap().stored;
    let tab = |name: &str, seen: i64| json!({"metadata": {"name": name}, "spec": {"color": "red", "size": 2}, "status": {"seen": seen}});
    assert!(after(&resource, Strategy::Create, tab("yes", 0)).1.is_empty());
    assert_eq!(after(&resource, Strategy::Create, tab("no", 0)).1, ["<nil>: Invalid value: another name"]);
    let old = object(&resource, tab("yes", 2));
    assert!(after(&resource, Strategy::Status(&*old), tab("yes", 3)).1.is_empty());
    assert_eq!(after(&resource, Strategy::Status(&*old), tab("yes", 1)).1, ["<nil>: Invalid value: as many as wanted"]);
    let bad = after(&resource, Strategy::Create, json!({"metadata": {"name": "no"}, "spec": {"color": "green"}})).1;
    assert!(bad.len() == 2 && bad[1].contains("some validation rules were not checked"), "{bad:?}");
    let both = after(&resource, Strategy::Status(&*old), tab("yes", -1)).1;
    assert!(
        both[0].starts_with("status.seen: Invalid value: -1")
            && both.contains(&"<nil>: Invalid value: as many as wanted".to_owned()),
        "{both:?}"
    );
}

#[test]
fn rules_are_asked_only_of_what_is_known_to_have_its_shape() {
    let many: Vec<Value> = (0..3000).map(|n| json!({"enum": [n]})).collect();
    let of = json!({"type": "object", "x-kubernetes-validations": [{"rule": "self.list.size() == 0", "message": "empty"}],
        "properties": {"list": {"type": "array", "items": {"type": "integer", "anyOf": many}}}});
    let resource = CustomKind::of(&tabs(vec![version("v1", true, of)]), false).unwrap().served[0].clone();
    let list = |list: Value| json!({"metadata": {"name": "a"}, "list": list});
    let unasked = "<nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation";
    for (why, items, expected) in [
        ("good", json!([1]), vec!["<nil>: Invalid value: empty"]),
        (
            "not looked at to the end",
            json!(vec![-1; 20_000]),
            vec!["<nil>: Invalid value: the schema is too costly for this object", unasked],
        ),
    ] {
        assert_eq!(after(&resource, Strategy::Create, list(items)).1, expected, "{why}");
    }
    assert!(!resource.rules().is_costly());
}

#[test]
fn replicas_stand_where_the_definition_says() {
    let resource = served();
    let mut tab = object(&resource, json!({"spec": {"color": "red", "size": 3}, "status": {"seen": 2}}));
    let scale = resource.rules().scale(&*tab).unwrap();
    assert_eq!((scale.spec_replicas, scale.status_replicas), (Some(3), 2));
    resource.rules().set_replicas(&mut *tab, 5);
    assert_eq!(tab.to_value().unwrap()["spec"]["size"], 5);
}

#[test]
fn other_versions_have_what_their_schema_knows() {
    let v2 = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
        "color": {"type": "string"}, "tone": {"type": "string", "default": "dark"},
    }}}});
    let crd = tabs(vec![version("v1", true, schema()), version("v2", false, v2)]);
    let kind = CustomKind::of(&crd, false).unwrap();
    let versions: Vec<&str> = kind.served.iter().map(|version| version.version()).collect();
    assert_eq!(versions, ["v2", "v1"]);
    let conversion = local(&kind.served[0]);
    let stored = json!({"apiVersion": "example.com/v1", "kind": "Tab", "metadata": {"name": "a"}, "spec": {"color": "red", "size": 1}});
    let read: Value =
        serde_json::from_slice(&(conversion.from_stored)(stored.to_string().as_bytes()).unwrap()).unwrap();
    assert_eq!((&read["apiVersion"], &read["spec"]), (&json!("example.com/v2"), &json!({"color": "red"})));
    let back: Value = serde_json::from_slice(&(conversion.to_stored)(read.to_string().as_bytes()).unwrap()).unwrap();
    assert_eq!((&back["apiVersion"], &back["spec"]), (&json!("example.com/v1"), &json!({"color": "red", "size": 1})));
}

#[test]
fn what_was_stored_in_another_version_is_read_by_that() {
    let of = |field: &str| {
        let field_schema = json!({"type": "string", "default": "filled"});
        json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {field: field_schema}}}})
    };
    // Not served any more, and there still are objects of it.
    let mut old = version("v1", false, of("old"));
    old["served"] = false.into();
    let crd = tabs(vec![old, version("v2", true, of("new")), version("v3", false, of("old"))]);
    let kind = CustomKind::of(&crd, false).unwrap();
    let stored = |spec: Value, version: &str| {
        let json = json!({"apiVersion": format!("example.com/{version}"), "kind": "Tab", "metadata": {"name": "a"}, "spec": spec});
        let json = json.to_string().into_bytes();
        kind.stored.mended(&json).unwrap_or(json)
    };
    let served = |version: &str, json: &[u8]| -> Value {
        let resource = kind.served.iter().find(|resource| resource.version() == version).unwrap();
        serde_json::from_slice(&(local(resource).from_stored)(json).unwrap()).unwrap()
    };
    for (why, spec, version, read_as, expected) in [
        ("its own field is kept for who knows it", json!({"old": "1"}), "v1", "v3", json!({"old": "1"})),
        ("and for nobody else", json!({"old": "1"}), "v1", "v2", json!({})),
        ("it has the defaults of its own version", json!({}), "v1", "v3", json!({"old": "filled"})),
        ("and is pruned by it", json!({"old": "1", "new": "2"}), "v1", "v2", json!({})),
        ("what is stored today", json!({"new": "2"}), "v2", "v2", json!({"new": "2"})),
        ("a version that nobody knows", json!({"new": "2", "old": "1"}), "v0", "v2", json!({"new": "2"})),
    ] {
        let read = served(read_as, &stored(spec, version));
        assert_eq!(
            (&read["apiVersion"], &read["spec"]),
            (&json!(format!("example.com/{read_as}")), &expected),
            "{why}"
        );
    }
    for (version, other) in [("v1", true), ("v2", false), ("v0", false)] {
        let json = stored(json!({}), version);
        assert_eq!(kind.stored.rules().is_of_other_version(&json), other, "{version}");
    }
    let text = stored(json!({"new": "2"}), "v2");
    let to_stored = &local(&kind.stored).to_stored;
    assert_eq!(to_stored(&text).unwrap(), text, "what is of the version already is not made again");
}

#[test]
fn what_was_stored_before_there_was_a_default_has_it() {
    let resource = served();
    let stored = json!({"apiVersion": "example.com/v1beta1", "kind": "Tab", "metadata": {"name": "a"}, "spec": {"color": "red", "gone": 1}});
    let mended: Value = serde_json::from_slice(&resource.mended(stored.to_string().as_bytes()).unwrap()).unwrap();
    assert_eq!(
        (&mended["apiVersion"], &mended["spec"]),
        (&json!("example.com/v1"), &json!({"color": "red", "size": 1}))
    );
    assert_eq!(resource.mended(mended.to_string().as_bytes()), None);
}

#[test]
fn what_defaults_would_make_too_large_is_not_written_and_is_read_without() {
    let item = json!({"type": "object", "properties": {"a": {"type": "string", "default": "x".repeat(10_000)}}});
    let list = json!({"type": "array", "items": item});
    let of = json!({"type": "object", "properties": {"list": list, "n": {"type": "integer", "default": 1}}});
    let resource = CustomKind::of(&tabs(vec![version("v1", true, of)]), false).unwrap().stored;
    let with = |n: usize| json!({"apiVersion": "example.com/v1", "kind": "Tab", "list": vec![json!({}); n]});
    assert!(after(&resource, Strategy::Create, with(10)).1.is_empty());
    assert_eq!(
        after(&resource, Strategy::Create, with(1000)).1,
        ["<nil>: Invalid value: the defaults that its schema fills in take more than 2097152 bytes"]
    );
    assert!(resource.mended(with(5).to_string().as_bytes()).is_some());
    assert_eq!(resource.mended(with(10).to_string().as_bytes()), None);
}

#[test]
fn columns_show_what_their_paths_lead_to() {
    let mut v1 = version("v1", true, json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true}));
    v1["additionalPrinterColumns"] = json!([
        {"name": "Ready", "type": "string", "jsonPath": r#".status.conditions[?(@.type=="Ready")].status"#},
        {"name": "N", "type": "integer", "jsonPath": ".spec.n"},
        {"name": "On", "type": "boolean", "jsonPath": ".spec.on", "priority": 1},
        {"name": "Share", "type": "number", "jsonPath": ".spec.share"},
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
        {"name": "Wrong", "type": "integer", "jsonPath": ".spec.on"},
    ]);
    let resource = CustomKind::of(&tabs(vec![v1]), false).unwrap().stored;
    let tab = json!({
        "metadata": {"name": "a", "creationTimestamp": "1970-01-01T00:00:00Z"}, "spec": {"n": 3, "on": true, "share": 0.5},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]},
    });
    let row = resource.rules().row(&*object(&resource, tab), 90);
    assert_eq!(
        row,
        [
            Cell::text("a"),
            Cell::text("True"),
            Cell::Int(3),
            Cell::Json(true.into()),
            Cell::Json(0.5.into()),
            Cell::text("90s"),
            Cell::Null,
        ]
    );
    assert_eq!(resource.columns()[3].priority, 1);
    let long = json!({"status": {"conditions": [{"type": "Ready", "status": "x".repeat(1_000_000)}]}});
    let row = resource.rules().row(&*object(&resource, long), 90);
    assert!(matches!(&row[1], Cell::Text(text) if text.len() < 20_000 && text.ends_with("...")));
    let plain = CustomKind::of(&tabs(vec![version("v1", true, schema())]), false).unwrap().stored;
    let names: Vec<&str> = plain.columns().iter().map(|column| &*column.name).collect();
    assert_eq!(names, ["Name", "Age"]);
}

#[test]
fn it_is_called_as_its_names_were_accepted() {
    let mut crd = definition(json!({
        "group": "example.com", "scope": "Cluster", "names": {"plural": "tabs", "kind": "Tab", "shortNames": ["tb"], "categories": ["all"]},
        "versions": [version("v1", true, schema())],
    }));
    crd.status.as_mut().unwrap().accepted_names.as_mut().unwrap().short_names = None;
    let resource = CustomKind::of(&crd, true).unwrap().stored;
    let names = resource.names();
    assert_eq!((&*names.list_kind, names.short_names.len(), &*names.categories[0]), ("TabList", 0, "all"));
    assert!(resource.is_custom() && resource.is_terminating() && resource.scope() == Scope::Cluster);
    assert_eq!((resource.store_prefix(), resource.api_version().as_str()), ("example.com/tabs", "example.com/v1"));
}
