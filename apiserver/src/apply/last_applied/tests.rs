//! From client-side apply to server-side apply, and what the annotation says then.

use serde_json::json;

use super::*;
use crate::apply::testing::{Story, kind_shape};
use crate::registry::check;
use crate::registry::path::Path;

fn deployment(labels: Value, replicas: u32, image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "labels": labels},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": image}},
            "template": {"metadata": {"labels": {"app": image}}, "spec": {"containers": [{"name": "c", "image": image}]}}},
    })
}

/// An object that client-side apply made, and that is otherwise than its configuration says.
fn story(live: &Value, applied: &Value) -> Story<'static> {
    let mut story = Story::of(ObjectType::plain("apps/v1", "Deployment", kind_shape("apps/v1", "Deployment")));
    let mut live = live.clone();
    live["metadata"]["annotations"] = json!({ ANNOTATION: applied.to_string() });
    story.update("kubectl-client-side-apply", live);
    story
}

#[test]
fn kubectl_takes_over_what_it_applied_from_the_client() {
    let first = deployment(json!({"app": "web"}), 3, "1");
    let mut story = story(&first, &first);
    let second = deployment(json!({"app": "new"}), 5, "2");
    assert_eq!(story.apply("kubectl", &second, false), Ok(true));
    let object = story.object.clone().unwrap();
    assert_eq!((&object["spec"], &object["metadata"]["labels"]), (&second["spec"], &json!({"app": "new"})));
    let annotation = object["metadata"]["annotations"][ANNOTATION].as_str().unwrap();
    assert!(annotation.ends_with("}\n") && !annotation.contains(ANNOTATION), "{annotation}");
    assert_eq!(serde_json::from_str::<Value>(annotation).unwrap(), second);
    assert_eq!(story.apply("kubectl", &second, false), Ok(false), "twice is once");
}

#[test]
fn nobody_else_does() {
    let first = deployment(json!({"app": "web"}), 3, "1");
    let mut story = story(&first, &first);
    let told = story.apply("argo", &deployment(json!({"app": "web"}), 5, "1"), false).unwrap_err();
    assert_eq!(
        told,
        r#"Apply failed with 1 conflict: conflict with "kubectl-client-side-apply" using apps/v1: .spec.replicas"#
    );
    assert_eq!(story.apply("argo", &deployment(json!({"app": "web"}), 3, "1"), false), Ok(true));
    let annotation = story.object.unwrap()["metadata"]["annotations"][ANNOTATION].as_str().map(str::to_owned);
    assert_eq!(annotation, Some(first.to_string()), "nor writes the annotation");
}

#[test]
fn what_is_not_as_the_annotation_says_stays_a_conflict() {
    let applied = deployment(json!({}), 3, "1");
    let mut live = deployment(json!({"app": "web"}), 100, "1");
    live["spec"]["template"]["spec"]["containers"][0]["image"] = json!("other");
    let mut story = story(&live, &applied);
    let told = story.apply("kubectl", &deployment(json!({"app": "new"}), 333, "2"), false).unwrap_err();
    assert_eq!(
        told,
        "Apply failed with 3 conflicts: conflicts with \"kubectl-client-side-apply\" using apps/v1:\n- .metadata.labels.app\n\
         - .spec.replicas\n- .spec.template.spec.containers[name=\"c\"].image"
    );
}

#[test]
fn an_annotation_that_cannot_be_trusted_allows_nothing() {
    let of = ObjectType::plain("apps/v1", "Deployment", kind_shape("apps/v1", "Deployment"));
    let live = |annotation: Value| {
        let mut live = deployment(json!({}), 3, "1");
        live["metadata"]["annotations"] = json!({ ANNOTATION: annotation });
        live
    };
    let good = deployment(json!({}), 3, "1");
    assert!(!allowed(&of, &live(good.to_string().into())).is_empty());
    let (mut other_version, mut unknown, mut duplicate) = (good.clone(), good.clone(), good.clone());
    other_version["apiVersion"] = json!("apps/v1beta1");
    unknown["spec"]["foo"] = json!(1);
    duplicate["spec"]["template"]["spec"]["containers"] = json!([{"name": "a"}, {"name": "a"}]);
    let deep = format!(r#"{{"apiVersion":"apps/v1","spec":{}{}}}"#, "[".repeat(101), "]".repeat(101));
    for annotation in [other_version, unknown, duplicate].map(|object| object.to_string()).into_iter().chain([
        String::new(),
        "{".into(),
        "[]".into(),
        deep,
    ]) {
        assert!(allowed(&of, &live(annotation.as_str().into())).is_empty(), "{annotation}");
    }
    assert!(allowed(&of, &live(json!(1))).is_empty() && allowed(&of, &json!({})).is_empty());
}

#[test]
fn the_annotation_is_renewed_where_it_is_and_fits() {
    let configuration = json!({"metadata": {"annotations": {"a": "<&>", ANNOTATION: "old"}}, "b": 1});
    for (why, object, expected) in [
        ("none", json!({"metadata": {"annotations": {"x": "y"}}}), json!({"x": "y"})),
        ("an empty one", json!({"metadata": {"annotations": {ANNOTATION: ""}}}), json!({ANNOTATION: ""})),
        (
            "one",
            json!({"metadata": {"annotations": {ANNOTATION: "x"}}}),
            json!({ANNOTATION: "{\"b\":1,\"metadata\":{\"annotations\":{\"a\":\"\\u003c\\u0026\\u003e\"}}}\n"}),
        ),
        (
            "no room for it",
            json!({"metadata": {"annotations": {ANNOTATION: "x", "long": "x".repeat(ANNOTATIONS_BYTES_MAX - 100)}}}),
            json!({"long": "x".repeat(ANNOTATIONS_BYTES_MAX - 100)}),
        ),
    ] {
        let mut object = object;
        renew(&mut object, &configuration);
        assert_eq!(object["metadata"]["annotations"], expected, "{why}");
    }
}

#[test]
fn annotations_have_the_room_that_their_validation_gives_them() {
    let problems = |bytes: usize| {
        let mut problems = corten_api::Problems::default();
        let annotations = [("a".to_owned(), "x".repeat(bytes - 1))].into();
        check::annotations(&mut problems, &Path::root("metadata.annotations"), Some(&annotations));
        problems
    };
    assert!(problems(ANNOTATIONS_BYTES_MAX).is_empty() && !problems(ANNOTATIONS_BYTES_MAX + 1).is_empty());
}
