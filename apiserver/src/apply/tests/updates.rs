//! Creates, updates and patches: whose what they changed becomes, and what clients say of it themselves.

use serde_json::{Value, json};

use crate::apply::element::Element;
use crate::apply::testing::{Story, kind_shape, named, thing};
use crate::apply::{ObjectType, Tracked};

fn with_managed_fields(mut object: Value, list: Value) -> Value {
    object["metadata"]["managedFields"] = list;
    object
}

#[test]
fn a_deployment_has_the_managed_fields_that_upstream_gives_it() {
    let of = ObjectType::plain("apps/v1", "Deployment", kind_shape("apps/v1", "Deployment"));
    let mut story = Story::of(of);
    // With defaults, and without what is empty, as it is when it is about to be stored.
    story.update(
        "kubectl-create",
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "default", "uid": "1",
                "generation": 1, "creationTimestamp": "2026-01-01T00:00:00Z", "labels": {"app": "web"}},
            "spec": {"progressDeadlineSeconds": 600, "replicas": 1, "revisionHistoryLimit": 10,
                "selector": {"matchLabels": {"app": "web"}},
                "strategy": {"rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}, "type": "RollingUpdate"},
                "template": {"metadata": {"labels": {"app": "web"}}, "spec": {
                    "containers": [{"image": "nginx", "imagePullPolicy": "Always", "name": "nginx",
                        "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File"}],
                    "dnsPolicy": "ClusterFirst", "restartPolicy": "Always", "schedulerName": "default-scheduler",
                    "securityContext": {}, "terminationGracePeriodSeconds": 30}}},
        }),
    );
    assert_eq!(
        story.managers(),
        [
            r#"kubectl-create Update 1 {"f:metadata":{"f:labels":{".":{},"f:app":{}}},"f:spec":{"f:progressDeadlineSeconds":{},"f:replicas":{},"f:revisionHistoryLimit":{},"f:selector":{},"f:strategy":{"f:rollingUpdate":{".":{},"f:maxSurge":{},"f:maxUnavailable":{}},"f:type":{}},"f:template":{"f:metadata":{"f:labels":{".":{},"f:app":{}}},"f:spec":{"f:containers":{"k:{\"name\":\"nginx\"}":{".":{},"f:image":{},"f:imagePullPolicy":{},"f:name":{},"f:resources":{},"f:terminationMessagePath":{},"f:terminationMessagePolicy":{}}},"f:dnsPolicy":{},"f:restartPolicy":{},"f:schedulerName":{},"f:securityContext":{},"f:terminationGracePeriodSeconds":{}}}}}"#
        ]
    );
    // The controller writes its status.
    let mut new = story.object.clone().unwrap();
    new["metadata"]["annotations"] = json!({"deployment.kubernetes.io/revision": "1"});
    new["status"] = json!({"replicas": 1, "conditions": [{"type": "Available", "status": "True", "lastUpdateTime": "2026-01-01T00:00:00Z"}]});
    story.subresource = "status";
    story.update("kube-controller-manager", new);
    assert_eq!(
        story.managers()[1],
        r#"kube-controller-manager/status Update 2 {"f:metadata":{"f:annotations":{".":{},"f:deployment.kubernetes.io/revision":{}}},"f:status":{"f:conditions":{".":{},"k:{\"type\":\"Available\"}":{".":{},"f:lastTransitionTime":{},"f:lastUpdateTime":{},"f:status":{},"f:type":{}}},"f:replicas":{}}}"#
    );
}

#[test]
fn what_an_update_sets_becomes_its_own() {
    let mut story = Story::of_thing();
    story.update("one", thing(&json!({"text": "a", "number": 1, "labels": {"a": "1"}})));
    assert_eq!(story.managers(), [r#"one Update 1 {"f:labels":{".":{},"f:a":{}},"f:number":{},"f:text":{}}"#]);
    story.update("two", thing(&json!({"text": "b", "number": 1, "labels": {"a": "1", "b": "1"}})));
    let after_two = [
        r#"one Update 1 {"f:labels":{".":{},"f:a":{}},"f:number":{}}"#,
        r#"two Update 2 {"f:labels":{"f:b":{}},"f:text":{}}"#,
    ];
    assert_eq!(story.managers(), after_two, "who loses a field keeps its time");
    story.update("two", thing(&json!({"text": "b", "number": 1, "labels": {"a": "1", "b": "1"}})));
    assert_eq!(story.managers(), after_two, "what changes nothing changes no time");
    story.update("one", thing(&json!({"text": "b", "number": 1.0, "labels": {"a": "1", "b": "1"}})));
    assert_eq!(story.managers(), after_two, "nor does a number that is written otherwise");
    story.update("one", thing(&json!({"text": "c", "number": 1, "labels": {"a": "1", "b": "1"}})));
    assert_eq!(
        story.managers(),
        [
            r#"two Update 2 {"f:labels":{"f:b":{}}}"#,
            r#"one Update 5 {"f:labels":{".":{},"f:a":{}},"f:number":{},"f:text":{}}"#
        ],
        "entries of one manager are one, with the time of the last"
    );
    story.update("two", thing(&json!({"number": 1, "labels": {"a": "1"}})));
    assert_eq!(
        story.managers(),
        [r#"one Update 5 {"f:labels":{".":{},"f:a":{}},"f:number":{}}"#],
        "what is removed is nobody's, and who owns nothing goes"
    );
    story.update("", thing(&json!({"number": 2, "labels": {"a": "1"}})));
    assert_eq!(story.managers()[1], r#"unknown Update 7 {"f:number":{}}"#);
}

#[test]
fn nobody_owns_what_says_which_object_it_is() {
    let mut story = Story::of_thing();
    let mut new = thing(&json!(null));
    new["metadata"] = json!({"name": "x", "resourceVersion": "1"});
    story.update("one", new.clone());
    assert_eq!(story.managers(), [""; 0]);
    assert_eq!(story.object.as_ref().unwrap()["metadata"].get("managedFields"), None);
    story.apply("one", &thing(&json!(null)), false).unwrap();
    assert_eq!(story.managers(), [""; 0]);
}

#[test]
fn subresources_are_managers_of_their_own() {
    let all_but_status = Tracked::all_but(&["status"]);
    let all_but_spec = Tracked::all_but(&["spec"]);
    let of = ObjectType { tracked: &all_but_status, ..ObjectType::plain("example.com/v1", "Thing", named("Thing")) };
    let mut story = Story::of(of);
    let mut new = thing(&json!({"text": "a"}));
    new["status"] = json!({"phase": "set by who may not"});
    story.update("one", new.clone());
    assert_eq!(story.managers(), [r#"one Update 1 {"f:text":{}}"#], "what the write cannot set is not tracked");
    story.of.tracked = &all_but_spec;
    story.subresource = "status";
    new["spec"]["text"] = json!("cannot be set here");
    new["status"]["phase"] = json!("Running");
    story.update("one", new.clone());
    assert_eq!(
        story.managers(),
        [r#"one Update 1 {"f:text":{}}"#, r#"one/status Update 2 {"f:status":{"f:phase":{}}}"#]
    );
    let told = story.apply(
        "two",
        &{
            let mut configuration = thing(&json!({"text": "b"}));
            configuration["status"] = json!({"phase": "Failed"});
            configuration
        },
        false,
    );
    assert_eq!(
        told.unwrap_err(),
        r#"Apply failed with 1 conflict: conflict with "one" with subresource "status" using example.com/v1: .status.phase"#
    );
}

#[test]
fn clients_may_write_managed_fields_but_not_through_subresources() {
    let entry = |manager: &str, fields: Value| json!({"manager": manager, "operation": "Apply", "apiVersion": "example.com/v1", "fieldsType": "FieldsV1", "fieldsV1": fields});
    let text = || json!({"f:spec": {"f:text": {}}});
    let given = || json!([entry("renamed", text())]);
    let unreadable = json!([{"manager": "x"}]);
    let (was, renamed) = (r#"one Update 1 {"f:text":{}}"#, r#"renamed Apply 0 {"f:text":{}}"#);
    for (why, subresource, list, expected) in [
        ("given", "", given(), vec![renamed]),
        ("given to a subresource", "status", given(), vec![was]),
        ("null is none given", "", json!(null), vec![was]),
        ("what cannot be read is none given", "", unreadable, vec![was]),
        ("an entry that owns nothing", "", json!([entry("x", json!({})), entry("renamed", text())]), vec![renamed]),
        ("reset", "", json!([]), vec![]),
        ("reset otherwise", "", json!([{}]), vec![]),
        ("reset through a subresource", "status", json!([]), vec![was]),
        (
            "of a version that is no more",
            "",
            json!([{"manager": "x", "operation": "Update", "apiVersion": "example.com/v0",
            "fieldsType": "FieldsV1", "fieldsV1": text()}]),
            vec![],
        ),
    ] {
        let mut story = Story::of_thing();
        story.update("one", thing(&json!({"text": "a"})));
        story.subresource = subresource;
        story.update("two", with_managed_fields(thing(&json!({"text": "a"})), list));
        assert_eq!(story.managers(), expected, "{why}");
    }
    // Whatever a create says, all that it makes is its own.
    for list in [given(), json!([])] {
        let mut story = Story::of_thing();
        story.update("two", with_managed_fields(thing(&json!({"text": "a", "number": 1})), list));
        assert_eq!(story.managers(), [r#"two Update 1 {"f:number":{},"f:text":{}}"#]);
    }
}

#[test]
fn an_object_without_managers_is_not_tracked_until_somebody_applies() {
    let mut story = Story::of_thing();
    story.update("one", thing(&json!({"text": "a"})));
    story.update("one", with_managed_fields(thing(&json!({"text": "a"})), json!([])));
    story.update("two", thing(&json!({"text": "b", "number": 1})));
    assert_eq!(story.managers(), [""; 0]);
    let told = story.apply("applier", &thing(&json!({"text": "c"})), false).unwrap_err();
    assert_eq!(
        told,
        r#"Apply failed with 1 conflict: conflict with "before-first-apply" using example.com/v1: .spec.text"#
    );
    story.apply("applier", &thing(&json!({"text": "b"})), false).unwrap();
    assert_eq!(
        story.managers(),
        [r#"applier Apply 5 {"f:text":{}}"#, r#"before-first-apply Update 5 {"f:number":{},"f:text":{}}"#]
    );
    story.update("two", thing(&json!({"text": "d", "number": 1})));
    assert_eq!(
        story.managers(),
        [r#"before-first-apply Update 5 {"f:number":{}}"#, r#"two Update 6 {"f:text":{}}"#],
        "from then on it is"
    );
}

#[test]
fn ten_updaters_are_told_apart() {
    let mut story = Story::of_thing();
    let mut labels = json!({});
    for n in 1..=13 {
        labels[format!("l{n:02}")] = json!("1");
        story.update(&format!("m{n:02}"), thing(&json!({"labels": labels})));
    }
    let managers = story.managers();
    assert_eq!(managers.len(), 10);
    assert_eq!(
        managers[0],
        r#"ancient-changes Update 4 {"f:labels":{".":{},"f:l01":{},"f:l02":{},"f:l03":{},"f:l04":{}}}"#
    );
    assert_eq!(managers[1], r#"m05 Update 5 {"f:labels":{"f:l05":{}}}"#);
}

#[test]
fn a_resize_is_tracked_where_it_can_set_something() {
    let to = |name: &str| crate::apply::Step::To(Element::field(name));
    let resize = Tracked::Only(vec![vec![to("spec"), to("containers"), crate::apply::Step::Any, to("resources")]]);
    let of = ObjectType::plain("v1", "Pod", kind_shape("v1", "Pod"));
    let pod = |cpu: &str, image: &str| {
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
            "spec": {"containers": [{"name": "c", "image": image, "resources": {"limits": {"cpu": cpu}}}]}})
    };
    let mut story = Story::of(of);
    story.update("one", pod("1", "a"));
    story.of.tracked = &resize;
    story.subresource = "resize";
    story.update("vpa", pod("2", "b"));
    assert_eq!(
        story.managers()[1],
        r#"vpa/resize Update 2 {"f:containers":{"k:{\"name\":\"c\"}":{"f:resources":{"f:limits":{"f:cpu":{}}}}}}"#
    );
}
