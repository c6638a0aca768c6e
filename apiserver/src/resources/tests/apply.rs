//! Server-side apply, and whose fields are whose after every other write.

use super::*;

fn by(manager: &str, force: Option<bool>) -> WriteOptions {
    WriteOptions { field_manager: manager.into(), force, ..WriteOptions::default() }
}

/// `{manager operation subresource: fields}`, as one line.
fn managers(object: &Value) -> Vec<String> {
    let entries = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let text = |entry: &Value, field: &str| entry[field].as_str().unwrap_or_default().to_owned();
    let line = |entry: &Value| {
        let head = format!("{} {} {}", text(entry, "manager"), text(entry, "operation"), text(entry, "subresource"));
        format!("{}: {}", head.trim_end(), entry["fieldsV1"])
    };
    entries.iter().map(line).collect()
}

impl Cluster {
    async fn apply(&self, plural: &str, at: &str, object: Value, options: WriteOptions) -> Result<Value, ApiError> {
        let body = Bytes::from(object.to_string());
        let written =
            self.resources.patch(&allowed(&self.admin, &target(plural, at)), patch::Kind::Apply, body, options).await?;
        Ok(serde_json::from_slice(&written.object).unwrap())
    }
    async fn replace(&self, plural: &str, at: &str, object: &Value, manager: &str) -> Result<Value, ApiError> {
        let json = Bytes::from(object.to_string());
        let written =
            self.resources.update(&allowed(&self.admin, &target(plural, at)), json, by(manager, None)).await?;
        Ok(serde_json::from_slice(&written.object).unwrap())
    }
}

fn config(data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": data})
}

#[tokio::test]
async fn what_an_applier_stops_applying_goes_unless_another_has_it_too() {
    let c = Cluster::new().await;
    let made = c.apply("configmaps", "n/c", config(json!({"a": "1", "b": "1"})), by("one", None)).await.unwrap();
    assert_eq!(managers(&made), [r#"one Apply: {"f:data":{"f:a":{},"f:b":{}}}"#]);
    let again = c.apply("configmaps", "n/c", config(json!({"a": "1", "b": "1"})), by("one", None)).await.unwrap();
    assert_eq!(again, made, "applying twice changes nothing, not even the revision");

    let shared = c.apply("configmaps", "n/c", config(json!({"b": "1", "c": "1"})), by("two", None)).await.unwrap();
    assert_eq!(shared["data"], json!({"a": "1", "b": "1", "c": "1"}));
    let nothing = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}});
    let left = c.apply("configmaps", "n/c", nothing, by("one", None)).await.unwrap();
    assert_eq!(left["data"], json!({"b": "1", "c": "1"}), "`a` was one's alone");
    assert_eq!(managers(&left), [r#"two Apply: {"f:data":{"f:b":{},"f:c":{}}}"#]);
}

#[tokio::test]
async fn a_field_of_another_is_a_conflict_that_names_him_and_can_be_forced() {
    let c = Cluster::new().await;
    c.apply("configmaps", "n/c", config(json!({"a": "1"})), by("one", None)).await.unwrap();
    let mine = config(json!({"a": "2"}));
    let refused = c.apply("configmaps", "n/c", mine.clone(), by("two", None)).await.unwrap_err();
    assert_eq!(refused.code(), 409);
    assert_eq!(refused.message(), r#"Apply failed with 1 conflict: conflict with "one": .data.a"#);
    let forced = c.apply("configmaps", "n/c", mine, by("two", Some(true))).await.unwrap();
    assert_eq!(forced["data"], json!({"a": "2"}));
    assert_eq!(managers(&forced), [r#"two Apply: {"f:data":{"f:a":{}}}"#]);

    // Who updates asks nobody, and takes what he changes.
    let updated = c.replace("configmaps", "n/c", &config(json!({"a": "3"})), "three").await.unwrap();
    assert_eq!(managers(&updated), [r#"three Update: {"f:data":{"f:a":{}}}"#]);
}

#[tokio::test]
async fn every_write_says_who_made_it() {
    let c = Cluster::new().await;
    let labels = json!({"app": "web"});
    let template = json!({"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let spec = json!({"selector": {"matchLabels": labels}, "template": template, "replicas": 1});
    let object = json!({"metadata": {"name": "web"}, "spec": spec});
    let json = Bytes::from(object.to_string());
    c.resources.create(&allowed(&c.admin, &target("deployments", "n/")), json, by("maker", None)).await.unwrap();
    let made = c.get("deployments", "n/web").await.unwrap();
    let [only] = &managers(&made)[..] else { panic!("{:?}", managers(&made)) };
    assert!(only.starts_with("maker Update: ") && only.contains(r#""f:replicas":{}"#), "{only}");
    assert!(!only.contains("f:status") && !only.contains("f:uid") && !only.contains("f:generation"), "{only}");

    let mut status = made.clone();
    status["status"] = json!({"observedGeneration": 1});
    let told = c.replace("deployments/status", "n/web", &status, "controller").await.unwrap();
    assert!(
        managers(&told).contains(&r#"controller Update status: {"f:status":{"f:observedGeneration":{}}}"#.to_owned()),
        "{:?}",
        managers(&told)
    );
    let scale = json!({"metadata": {"name": "web"}, "spec": {"replicas": 5}});
    c.replace("deployments/scale", "n/web", &scale, "autoscaler").await.unwrap();
    let scaled = c.get("deployments", "n/web").await.unwrap();
    assert!(
        managers(&scaled).contains(&r#"autoscaler Update scale: {"f:spec":{"f:replicas":{}}}"#.to_owned()),
        "{:?}",
        managers(&scaled)
    );
    assert!(!managers(&scaled).iter().any(|line| line.starts_with("maker") && line.contains("f:replicas")));

    let applied = |replicas: i32, force| {
        let scale = json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "web"}, "spec": {"replicas": replicas}});
        c.apply("deployments/scale", "n/web", scale, by("operator", force))
    };
    let (why, words) = reason(applied(7, None).await);
    assert!(
        why == Reason::Conflict && words.contains(r#"conflict with "autoscaler" with subresource "scale""#),
        "{words}"
    );
    assert_eq!(applied(7, Some(true)).await.unwrap()["spec"]["replicas"], 7);
    let scaled = c.get("deployments", "n/web").await.unwrap();
    assert!(managers(&scaled).contains(&r#"operator Apply scale: {"f:spec":{"f:replicas":{}}}"#.to_owned()));
    assert!(!managers(&scaled).iter().any(|line| line.starts_with("autoscaler")), "{:?}", managers(&scaled));
    let typo =
        json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "web"}, "spec": {"replica": 7}});
    assert!(c.apply("deployments/scale", "n/web", typo, by("operator", None)).await.is_err());

    // An update that says nothing of managed fields keeps them, and one that changes nothing is none.
    let mut same = scaled.clone();
    same["metadata"].as_object_mut().unwrap().remove("managedFields");
    assert_eq!(c.replace("deployments", "n/web", &same, "nobody").await.unwrap(), scaled);
}

#[tokio::test]
async fn what_admission_fills_in_is_nobodys() {
    let c = Cluster::new().await;
    let json = Bytes::from(pod("p").to_string());
    c.resources.create(&allowed(&c.admin, &target("pods", "n/")), json, by("maker", None)).await.unwrap();
    let made = c.get("pods", "n/p").await.unwrap();
    assert!(made["spec"]["tolerations"].is_array() && made["spec"]["serviceAccountName"] == "default");
    let [only] = &managers(&made)[..] else { panic!("{:?}", managers(&made)) };
    assert!(only.contains("f:restartPolicy"), "defaults are the author's: {only}");
    assert!(!only.contains("f:tolerations") && !only.contains("f:serviceAccountName"), "{only}");
}

#[tokio::test]
async fn a_configuration_that_is_none_is_refused() {
    let c = Cluster::new().await;
    let other = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "c"}});
    let unknown = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "dataa": {}});
    let managed = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "managedFields": [{}]}});
    for (why, object, says) in [
        ("another kind", other, "invalid object type"),
        ("an unknown field", unknown, "failed to create typed patch object"),
        ("managed fields", managed, "metadata.managedFields must be nil"),
    ] {
        let refused = c.apply("configmaps", "n/c", object, by("one", None)).await.unwrap_err();
        assert!(refused.code() == 400 && refused.message().contains(says), "{why}: {refused}");
    }
    assert!(c.get("configmaps", "n/c").await.is_err(), "nothing was made");
}
