//! What a new object gets, and what is refused.

use super::*;

#[tokio::test]
async fn a_new_object_gets_what_the_server_makes() {
    let c = Cluster::new().await;
    let made = c.create("pods", "n/", pod("web")).await.unwrap();
    let meta = &made["metadata"];
    assert!(meta["uid"].is_string() && meta["creationTimestamp"].is_string(), "{meta}");
    assert_eq!((meta["namespace"].as_str(), made["kind"].as_str()), (Some("n"), Some("Pod")));
    assert_eq!(made["status"]["phase"], "Pending");
    assert_eq!(c.get("pods", "n/web").await.unwrap(), made);
    assert_eq!(reason(c.create("pods", "n/", pod("web")).await).1, r#"pods "web" already exists"#);
    let stored = c.storage.get("/registry/pods/n/web").await.unwrap().unwrap();
    assert!(!String::from_utf8_lossy(&stored.value).contains("resourceVersion"), "the store's revision is the version");
}

#[tokio::test]
async fn names_are_generated_and_bad_bodies_refused() {
    let c = Cluster::new().await;
    let made = c.create("configmaps", "n/", json!({"metadata": {"generateName": "web-"}})).await.unwrap();
    assert_eq!(made["metadata"]["name"].as_str().map(str::len), Some(9));
    let cases = [
        ("n/", json!({"metadata": {}}), Reason::Invalid, "name or generateName is required"),
        ("n/", json!({"metadata": {"name": "../x"}}), Reason::Invalid, "metadata.name: Invalid value"),
        (
            "n/",
            json!({"metadata": {"name": "a", "namespace": "m"}}),
            Reason::BadRequest,
            "does not match the namespace",
        ),
        ("n/", json!({"metadata": {"name": "a", "resourceVersion": "5"}}), Reason::BadRequest, "should not be set"),
        ("n/", json!({"metadata": {"name": "a"}, "data": 5}), Reason::BadRequest, "cannot be handled as a ConfigMap"),
        ("gone/", json!({"metadata": {"name": "a"}}), Reason::NotFound, r#"namespaces "gone" not found"#),
    ];
    for (at, body, expected, words) in cases {
        let (got, message) = reason(c.create("configmaps", at, body).await);
        assert!(got == expected && message.contains(words), "{words}: {got:?} {message}");
    }
    let strict = WriteOptions { field_validation: FieldValidation::Strict, ..WriteOptions::default() };
    let body = Bytes::from(json!({"metadata": {"name": "a"}, "date": {}}).to_string());
    let refused = c.resources.create(&allowed(&c.admin, &target("configmaps", "n/")), body.clone(), strict).await;
    assert!(reason(refused).1.contains(r#"strict decoding error: unknown field "date""#));
    let warned = c
        .resources
        .create(&allowed(&c.admin, &target("configmaps", "n/")), body, WriteOptions::default())
        .await
        .unwrap();
    assert_eq!(warned.warnings, [r#"unknown field "date""#]);
}

#[tokio::test]
async fn dry_runs_write_nothing() {
    let c = Cluster::new().await;
    let dry = || WriteOptions { dry_run: true, ..WriteOptions::default() };
    let body = || Bytes::from(json!({"metadata": {"name": "a"}, "data": {"k": "v"}}).to_string());
    let t = target("configmaps", "n/");
    c.resources.create(&allowed(&c.admin, &t), body(), dry()).await.unwrap();
    assert_eq!(reason(c.get("configmaps", "n/a").await).0, Reason::NotFound);
    c.config_map("a", json!({})).await;
    c.get("configmaps", "n/a").await.unwrap();
    assert_eq!(reason(c.resources.create(&allowed(&c.admin, &t), body(), dry()).await).0, Reason::AlreadyExists);
    let t = target("configmaps", "n/a");
    let would = c.resources.update(&allowed(&c.admin, &t), body(), dry()).await.unwrap();
    assert!(String::from_utf8_lossy(&would.object).contains(r#""k":"v""#));
    c.resources.delete(&allowed(&c.admin, &t), DeleteOptions::default(), dry()).await.unwrap();
    assert_eq!(c.get("configmaps", "n/a").await.unwrap()["data"], Value::Null);
}

#[tokio::test]
async fn an_ingress_gets_the_class_that_is_the_default() {
    let c = Cluster::new().await;
    let rules = json!({"rules": [{"host": "a.example"}]});
    let ingress = |name: &str| json!({"metadata": {"name": name}, "spec": rules});
    let early = c.create("ingresses", "n/", ingress("early")).await.unwrap();
    let annotations = json!({"ingressclass.kubernetes.io/is-default-class": "true"});
    let class = json!({"metadata": {"name": "k", "annotations": annotations}, "spec": {"controller": "a.b/c"}});
    c.create("ingressclasses", "", class).await.unwrap();
    c.get("ingressclasses", "k").await.unwrap();
    let late = c.create("ingresses", "n/", ingress("late")).await.unwrap();
    let class = |ingress: &Value| ingress["spec"]["ingressClassName"].clone();
    assert_eq!((class(&early), class(&late)), (Value::Null, json!("k")));
    let again = c.update("ingresses", "n/early", &early).await.unwrap();
    assert_eq!(class(&again), Value::Null, "who has none keeps none");
}

#[tokio::test]
async fn no_resource_version_that_means_none_lets_through_what_a_new_object_may_not_have() {
    let c = Cluster::new().await;
    for version in [None, Some(""), Some("0")] {
        let mut debugged = pod("web");
        debugged["metadata"]["resourceVersion"] = json!(version);
        debugged["spec"]["ephemeralContainers"] = json!([{"name": "e", "image": "i"}]);
        let (got, message) = reason(c.create("pods", "n/", debugged).await);
        assert!(got == Reason::Invalid && message.contains("cannot be set on create"), "{version:?}: {message}");
    }
}

#[tokio::test]
async fn what_is_posted_to_a_pod_is_of_its_namespace() {
    let c = Cluster::new().await;
    c.create("pods", "n/", pod("web")).await.unwrap();
    let in_other = json!({"metadata": {"name": "web", "namespace": "other"}, "target": {"name": "n1"}});
    for plural in ["pods/binding", "pods/eviction"] {
        let (got, message) = reason(c.create(plural, "n/web", in_other.clone()).await);
        assert_eq!(got, Reason::BadRequest, "{message}");
        assert!(message.contains("does not match the namespace sent on the request"), "{plural}: {message}");
    }
}
