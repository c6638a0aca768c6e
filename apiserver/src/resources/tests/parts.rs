//! Parts of a pod's spec that have a subresource of their own: containers that debug it, and its size.

use super::*;

impl Cluster {
    async fn strategic(&self, plural: &str, at: &str, body: Value) -> Result<Value, ApiError> {
        let (kind, body) = (patch::Kind::Strategic, Bytes::from(body.to_string()));
        let options = WriteOptions { field_manager: "me".into(), ..WriteOptions::default() };
        let written = self.resources.patch(&allowed(&self.admin, &target(plural, at)), kind, body, options).await?;
        Ok(serde_json::from_slice(&written.object).unwrap())
    }
    /// A pod with this cpu on a node with two of them.
    async fn bound_pod(&self, cpu: &str) -> Value {
        let node = json!({"metadata": {"name": "n1", "labels": {"kubernetes.io/os": "linux"}}});
        self.create("nodes", "", node).await.unwrap();
        let allocatable = json!({"status": {"allocatable": {"cpu": "2", "memory": "1Gi"}}});
        self.merge("nodes/status", "n1", allocatable).await.unwrap();
        let mut pod = pod("web");
        pod["spec"]["nodeName"] = json!("n1");
        pod["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": cpu}, "limits": {"cpu": "2"}});
        self.create("pods", "n/", pod).await.unwrap()
    }
}

fn managed<'a>(pod: &'a Value, subresource: &str) -> Option<&'a Value> {
    let entries = pod["metadata"]["managedFields"].as_array()?;
    entries.iter().find(|entry| entry["subresource"] == subresource).map(|entry| &entry["fieldsV1"])
}

#[tokio::test]
async fn a_debugger_is_added_through_its_subresource_alone() {
    let c = Cluster::new().await;
    let made = c.create("pods", "n/", pod("web")).await.unwrap();
    let main = made["spec"]["containers"][0]["name"].clone();
    let debugger = json!({"name": "d", "image": "x", "targetContainerName": main});
    let body = json!({"spec": {"ephemeralContainers": [debugger]}, "metadata": {"labels": {"a": "b"}}});
    let (why, text) = reason(c.strategic("pods", "n/web", body.clone()).await);
    assert_eq!(why, Reason::Invalid);
    assert!(text.contains("pod updates may not change fields other than"), "{text}");

    let debugged = c.strategic("pods/ephemeralcontainers", "n/web", body).await.unwrap();
    let shown = &debugged["spec"]["ephemeralContainers"][0];
    assert_eq!((&shown["name"], &shown["terminationMessagePolicy"]), (&json!("d"), &json!("File")), "with defaults");
    assert_eq!(debugged["metadata"]["labels"], made["metadata"]["labels"]);
    assert_eq!((&made["metadata"]["generation"], &debugged["metadata"]["generation"]), (&json!(1), &json!(2)));
    let fields = managed(&debugged, "ephemeralcontainers").unwrap();
    assert!(fields["f:spec"]["f:ephemeralContainers"].is_object() && fields.get("f:metadata").is_none(), "{fields}");
    assert_eq!(c.get("pods/ephemeralcontainers", "n/web").await.unwrap(), debugged);

    let second =
        json!({"spec": {"ephemeralContainers": [{"name": "e", "image": "x", "ports": [{"containerPort": 80}]}]}});
    let (_, text) = reason(c.strategic("pods/ephemeralcontainers", "n/web", second).await);
    assert!(text.contains("ports: Forbidden: cannot be set for an Ephemeral Container"), "{text}");
    let mut without = debugged.clone();
    without["spec"]["ephemeralContainers"] = json!([]);
    let (_, text) = reason(c.update("pods/ephemeralcontainers", "n/web", &without).await);
    assert!(text.contains(r#"existing ephemeral containers "d" may not be removed"#), "{text}");
}

#[tokio::test]
async fn a_pod_is_resized_through_its_subresource_alone() {
    let c = Cluster::new().await;
    let made = c.bound_pod("500m").await;
    let name = made["spec"]["containers"][0]["name"].clone();
    let body = |cpu: &str| json!({"spec": {"containers": [{"name": name, "resources": {"requests": {"cpu": cpu}}}]}});
    let (why, text) = reason(c.strategic("pods", "n/web", body("1")).await);
    assert_eq!(why, Reason::Invalid);
    assert!(text.contains("pod updates may not change fields other than"), "{text}");

    let resized = c.strategic("pods/resize", "n/web", body("1")).await.unwrap();
    let resources = &resized["spec"]["containers"][0]["resources"];
    assert_eq!(resources, &json!({"requests": {"cpu": "1"}, "limits": {"cpu": "2"}}));
    assert_eq!(resized["metadata"]["generation"], 2);
    assert!(managed(&resized, "resize").is_some(), "{resized}");
    assert_eq!(c.get("pods/resize", "n/web").await.unwrap(), resized);
    assert_eq!(c.strategic("pods/resize", "n/web", body("1")).await.unwrap(), resized, "nothing changed");

    let (why, text) = reason(c.strategic("pods/resize", "n/web", body("3")).await);
    let too_much = "Node didn't have enough allocatable resources: cpu, requested: 3000, allocatable: 2000";
    assert_eq!((why, text), (Reason::Forbidden, format!("pods \"web\" is forbidden: {too_much}")));
    let range = json!({"metadata": {"name": "r"}, "spec": {"limits": [{"type": "Container", "min": {"cpu": "750m"}}]}});
    c.create("limitranges", "n/", range).await.unwrap();
    // Whoever has seen it there is judged by it.
    c.get("limitranges", "n/r").await.unwrap();
    let (why, text) = reason(c.strategic("pods/resize", "n/web", body("600m")).await);
    assert_eq!(why, Reason::Forbidden);
    assert!(text.contains("minimum cpu usage per Container is 750m, but request is 600m"), "{text}");
}

#[tokio::test]
async fn both_are_applied_too_and_owned_by_who_applies() {
    let c = Cluster::new().await;
    c.bound_pod("500m").await;
    let apply = |subresource: &'static str, spec: Value| {
        let (c, body) = (&c, json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"}, "spec": spec}));
        async move {
            let options = WriteOptions { field_manager: "me".into(), force: Some(true), ..WriteOptions::default() };
            let (at, body) = (target(subresource, "n/web"), Bytes::from(body.to_string()));
            let written = c.resources.patch(&allowed(&c.admin, &at), patch::Kind::Apply, body, options).await.unwrap();
            serde_json::from_slice::<Value>(&written.object).unwrap()
        }
    };
    let name = c.get("pods", "n/web").await.unwrap()["spec"]["containers"][0]["name"].clone();
    let debuggers = json!({"ephemeralContainers": [{"name": "d", "image": "x"}]});
    let debugged = apply("pods/ephemeralcontainers", debuggers).await;
    assert_eq!(debugged["spec"]["ephemeralContainers"][0]["name"], "d");
    let entry = managed(&debugged, "ephemeralcontainers").unwrap();
    assert!(entry["f:spec"]["f:ephemeralContainers"].is_object(), "{entry}");

    let larger = json!({"containers": [{"name": name, "resources": {"requests": {"cpu": "1"}}}]});
    let resized = apply("pods/resize", larger).await;
    assert_eq!(resized["spec"]["containers"][0]["resources"]["requests"]["cpu"], "1");
    assert_eq!(resized["metadata"]["generation"], 3);
    let entry = managed(&resized, "resize").unwrap();
    assert!(entry["f:spec"]["f:containers"].is_object(), "{entry}");
}
