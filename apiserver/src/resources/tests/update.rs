//! Updates of objects and of their subresources.

use super::*;

#[tokio::test]
async fn updates_compare_versions_and_idle_ones_write_nothing() {
    let c = Cluster::new().await;
    let first = c.config_map("a", json!({})).await;
    let mut edit = first.clone();
    edit["data"] = json!({"k": "v"});
    let second = c.update("configmaps", "n/a", &edit).await.unwrap();
    assert!(version(&second) > version(&first));
    assert_eq!(reason(c.update("configmaps", "n/a", &edit).await).0, Reason::Conflict);
    assert_eq!(c.update("configmaps", "n/a", &second).await.unwrap(), second, "nothing changed, nothing written");
    edit["metadata"]["resourceVersion"] = Value::Null;
    edit["data"] = json!({"k": "w"});
    assert_eq!(c.update("configmaps", "n/a", &edit).await.unwrap()["data"]["k"], "w", "unconditional");
    let patched = c.merge("configmaps", "n/a", json!({"data": {"l": "x"}})).await.unwrap();
    assert_eq!(patched["data"], json!({"k": "w", "l": "x"}));
    let stale = c.merge("configmaps", "n/a", json!({"metadata": {"resourceVersion": "1"}, "data": {"m": ""}})).await;
    assert_eq!(reason(stale).0, Reason::Conflict);
    assert_eq!(reason(c.merge("configmaps", "n/none", json!({})).await).0, Reason::NotFound);
    assert_eq!(reason(c.merge("configmaps", "n/a", json!({"metadata": {"uid": "other"}})).await).0, Reason::Conflict);
    assert_eq!(reason(c.merge("configmaps", "n/a", json!({"metadata": {"name": "b"}})).await).0, Reason::BadRequest);
    let lease = json!({"metadata": {"name": "l"}, "spec": {"holderIdentity": "me"}});
    let lease = c.update("leases", "n/l", &lease).await.unwrap();
    assert_eq!(lease["spec"]["holderIdentity"], "me", "a Lease may be made by an update");
}

#[tokio::test]
async fn many_writers_of_one_object_lose_nothing() {
    let c = Cluster::new().await;
    c.config_map("a", json!({})).await;
    let bodies: Vec<Value> = (0..20).map(|i| json!({"data": {format!("k{i}"): "v"}})).collect();
    let writes = bodies.into_iter().map(|body| c.merge("configmaps", "n/a", body));
    futures::future::try_join_all(writes).await.unwrap();
    assert_eq!(c.get("configmaps", "n/a").await.unwrap()["data"].as_object().unwrap().len(), 20);
}

#[tokio::test]
async fn status_and_spec_are_written_apart() {
    let c = Cluster::new().await;
    c.create("pods", "n/", pod("web")).await.unwrap();
    let body = json!({"status": {"phase": "Running"}, "metadata": {"labels": {"a": "b"}}});
    let plain = c.merge("pods", "n/web", body.clone()).await.unwrap();
    assert_eq!((&plain["status"]["phase"], &plain["metadata"]["labels"]["a"]), (&json!("Pending"), &json!("b")));
    let status = c.merge("pods/status", "n/web", body).await.unwrap();
    assert_eq!(status["status"]["phase"], "Running");
    assert_eq!(reason(c.merge("configmaps/status", "n/web", json!({})).await).0, Reason::NotFound);
}

#[tokio::test]
async fn scale_is_a_view_of_replicas() {
    let c = Cluster::new().await;
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let spec = json!({"replicas": 2, "selector": {"matchLabels": {"a": "b"}}, "template": template});
    let made = c.create("deployments", "n/", json!({"metadata": {"name": "d"}, "spec": spec})).await.unwrap();
    assert_eq!(made["metadata"]["generation"], 1);
    let mut scale = c.get("deployments/scale", "n/d").await.unwrap();
    assert_eq!((&scale["spec"]["replicas"], &scale["status"]["selector"]), (&json!(2), &json!("a=b")));
    scale["spec"]["replicas"] = json!(5);
    assert_eq!(c.update("deployments/scale", "n/d", &scale).await.unwrap()["spec"]["replicas"], 5);
    assert_eq!(reason(c.update("deployments/scale", "n/d", &scale).await).0, Reason::Conflict, "an old version");
    assert_eq!(reason(c.merge("deployments/scale", "n/d", json!({"spec": {"replicas": -1}})).await).0, Reason::Invalid);
    c.merge("deployments/scale", "n/d", json!({"spec": {"replicas": 4}})).await.unwrap();
    for other in [json!({"metadata": {"name": "e"}}), json!({"metadata": {"namespace": "m"}})] {
        let refused = reason(c.merge("deployments/scale", "n/d", other.clone()).await);
        assert!(refused.0 == Reason::BadRequest && refused.1.contains("does not match"), "{other}: {refused:?}");
    }
    let now = c.get("deployments", "n/d").await.unwrap();
    assert_eq!((&now["spec"]["replicas"], &now["metadata"]["generation"]), (&json!(4), &json!(3)));
}

#[tokio::test]
async fn a_pod_is_bound_once_and_to_the_pod_that_was_meant() {
    let c = Cluster::new().await;
    let made = c.create("pods", "n/", pod("web")).await.unwrap();
    let binding =
        |uid: &str| json!({"metadata": {"name": "web", "uid": uid}, "target": {"kind": "Node", "name": "n1"}});
    assert_eq!(reason(c.create("pods/binding", "n/web", binding("other")).await).0, Reason::Conflict);
    let uid = made["metadata"]["uid"].as_str().unwrap();
    c.create("pods/binding", "n/web", binding(uid)).await.unwrap();
    let bound = c.get("pods", "n/web").await.unwrap();
    assert_eq!(bound["spec"]["nodeName"], "n1");
    assert_eq!(bound["status"]["conditions"][0]["type"], "PodScheduled");
    let again = reason(c.create("pods/binding", "n/web", binding(uid)).await);
    assert!(again.0 == Reason::Conflict && again.1.contains(r#"already assigned to node "n1""#), "{again:?}");
    c.create("pods/eviction", "n/web", json!({"metadata": {"name": "web"}})).await.unwrap();
    assert!(c.get("pods", "n/web").await.unwrap()["metadata"]["deletionTimestamp"].is_string());
}

#[tokio::test]
async fn a_binding_says_which_pod_it_means_and_takes_labels_along() {
    let c = Cluster::new().await;
    let labels = json!({"topology.kubernetes.io/zone": "z", "other": "1"});
    c.create("nodes", "", json!({"metadata": {"name": "n1", "labels": labels}})).await.unwrap();
    let made = c.create("pods", "n/", pod("web")).await.unwrap();
    c.merge("pods/status", "n/web", json!({"status": {"nominatedNodeName": "n1"}})).await.unwrap();
    let to = |node: &str, metadata: Value| json!({"metadata": metadata, "target": {"kind": "Node", "name": node}});
    let version = &made["metadata"]["resourceVersion"];
    let cases = [
        ("no name", to("n1", json!({})), Reason::BadRequest, "name in URL does not match name in Binding object"),
        ("another name", to("n1", json!({"name": "db"})), Reason::BadRequest, "name in URL does not match"),
        ("no node's name", to("N 1", json!({"name": "web"})), Reason::Invalid, "target.name: Invalid value"),
        (
            "an old version",
            to("n1", json!({"name": "web", "resourceVersion": version})),
            Reason::Conflict,
            "Precondition failed: ResourceVersion in precondition",
        ),
    ];
    for (why, binding, expected, text) in cases {
        let refused = reason(c.create("pods/binding", "n/web", binding).await);
        assert!(refused.0 == expected && refused.1.contains(text), "{why}: {refused:?}");
    }
    let now = c.get("pods", "n/web").await.unwrap();
    let metadata = json!({"name": "web", "resourceVersion": now["metadata"]["resourceVersion"],
        "labels": {"a": "b"}, "annotations": {"c": "d"}});
    c.create("pods/binding", "n/web", to("n1", metadata)).await.unwrap();
    let bound = c.get("pods", "n/web").await.unwrap();
    let of = &bound["metadata"];
    assert_eq!((&of["labels"]["a"], &of["annotations"]["c"]), (&json!("b"), &json!("d")));
    assert_eq!(of["labels"]["topology.kubernetes.io/zone"], "z");
    assert_eq!((&of["labels"]["other"], &bound["status"]["nominatedNodeName"]), (&Value::Null, &Value::Null));
}

#[tokio::test]
async fn an_eviction_names_its_pod() {
    let c = Cluster::new().await;
    c.create("pods", "n/", pod("web")).await.unwrap();
    for metadata in [json!({}), json!({"name": "db"})] {
        let refused = reason(c.create("pods/eviction", "n/web", json!({ "metadata": metadata })).await);
        let expected = "name in URL does not match name in Eviction object";
        assert!(refused.0 == Reason::BadRequest && refused.1.contains(expected), "{refused:?}");
    }
}

#[tokio::test]
async fn both_faces_of_an_event_show_the_same_object() {
    let c = Cluster::new().await;
    let about = json!({"kind": "Pod", "name": "web", "namespace": "n"});
    let event = json!({"metadata": {"name": "e"}, "involvedObject": about, "reason": "Started", "message": "it runs"});
    c.create("events", "n/", event).await.unwrap();
    let new = c.get("newevents", "n/e").await.unwrap();
    assert_eq!((&new["note"], &new["apiVersion"]), (&json!("it runs"), &json!("events.k8s.io/v1")));
    let fields = FieldSelector::parse("involvedObject.name=web").unwrap();
    let (names, _) = c.names("events", "n/", ListOptions { fields, ..ListOptions::default() }).await.unwrap();
    assert_eq!(names, ["e"]);
}

#[tokio::test]
async fn a_status_write_never_raises_the_generation() {
    let c = Cluster::new().await;
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let spec = json!({"selector": {"matchLabels": {"a": "b"}}, "template": template});
    for plural in ["deployments", "replicasets"] {
        c.create(plural, "n/", json!({"metadata": {"name": "d"}, "spec": spec})).await.unwrap();
        let noted = json!({"metadata": {"annotations": {"x": "y"}}, "status": {"replicas": 1}});
        let status = c.merge(&format!("{plural}/status"), "n/d", noted).await.unwrap();
        let shown = (&status["metadata"]["generation"], &status["metadata"]["annotations"]["x"]);
        assert_eq!(shown, (&json!(1), &json!("y")), "{plural}: {status}");
    }
    let noted = json!({"metadata": {"annotations": {"x": "z"}}});
    let plain = c.merge("deployments", "n/d", noted).await.unwrap();
    assert_eq!(plain["metadata"]["generation"], 2, "the controller copies annotations");
}

#[tokio::test]
async fn a_put_without_its_health_check_port_keeps_it() {
    let c = Cluster::new().await;
    let spec = json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local", "ports": [{"port": 80}]});
    let made = c.create("services", "n/", json!({"metadata": {"name": "s"}, "spec": spec})).await.unwrap();
    let (checked, port) = (made["spec"]["healthCheckNodePort"].clone(), made["spec"]["ports"][0]["nodePort"].clone());
    assert!(checked.is_i64() && port.is_i64(), "{made}");
    let mut put = json!({"metadata": {"name": "s", "labels": {"a": "b"}}, "spec": spec});
    put["spec"]["ports"][0]["port"] = json!(8080);
    let kept = c.update("services", "n/s", &put).await.unwrap();
    assert_eq!((&kept["spec"]["healthCheckNodePort"], &kept["spec"]["ports"][0]["nodePort"]), (&checked, &port));
    assert_eq!(kept["spec"]["clusterIP"], made["spec"]["clusterIP"]);
}

#[tokio::test]
async fn the_status_of_a_service_is_taken_as_upstream_takes_it() {
    let c = Cluster::new().await;
    let spec = json!({"type": "LoadBalancer", "ports": [{"port": 80}]});
    let made = c.create("services", "n/", json!({"metadata": {"name": "s"}, "spec": spec})).await.unwrap();
    assert_eq!(made["status"], json!({"loadBalancer": {}}));
    let status = json!({"status": {"loadBalancer": {"ingress": [{"ip": "203.0.113.1"}]},
        "conditions": [{"type": "StatusUpdate", "status": "True", "reason": "E2E", "message": "Set"}]}});
    let shown = c.merge("services/status", "n/s", status).await.unwrap();
    assert_eq!(shown["status"]["loadBalancer"]["ingress"], json!([{"ip": "203.0.113.1", "ipMode": "VIP"}]));
    assert_eq!(shown["status"]["conditions"][0]["lastTransitionTime"], "0001-01-01T00:00:00Z", "Go's zero time");
    let inside = c.merge("services", "n/s", json!({"spec": {"type": "ClusterIP"}})).await.unwrap();
    assert_eq!(inside["status"]["loadBalancer"], json!({}), "the balancer went with its type");
    let late =
        c.merge("services/status", "n/s", json!({"status": {"loadBalancer": {"ingress": [{"hostname": "a.b"}]}}}));
    assert!(reason(late.await).1.contains("may only be used when `spec.type` is 'LoadBalancer'"));
}

#[tokio::test]
async fn a_selector_that_was_stored_before_its_bound_stays_as_it_is() {
    let c = Cluster::new().await;
    let labels = |count: usize| -> serde_json::Map<String, Value> {
        (0..count).map(|n| (format!("k{n}"), json!("v"))).collect()
    };
    let budget = |count: usize| {
        let selector = json!({"matchLabels": labels(count)});
        json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "b"},
            "spec": {"selector": selector, "minAvailable": 1}})
    };
    let refused = c.create("poddisruptionbudgets", "n/", budget(5001)).await.unwrap_err();
    assert!(refused.message().contains("a selector may have at most 10000 requirements and values"), "{refused}");
    c.create("poddisruptionbudgets", "n/", budget(1)).await.unwrap();
    let key = "/registry/poddisruptionbudgets/n/b";
    let stored = c.storage.get(key).await.unwrap().unwrap();
    let mut large: Value = serde_json::from_slice(&stored.value).unwrap();
    large["spec"]["selector"] = json!({"matchLabels": labels(5001)});
    let (value, expected) = (large.to_string().into(), stored.revision);
    let write = crate::storage::Write::Update { key: key.into(), value, expected, ttl_secs: None };
    c.storage.commit(vec![write]).await.unwrap();
    c.resources.catch_up().await.unwrap();

    let other = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"minAvailable": 2}});
    let changed = c.merge("poddisruptionbudgets", "n/b", other).await.unwrap();
    assert_eq!((&changed["spec"]["minAvailable"], &changed["metadata"]["labels"]["a"]), (&json!(2), &json!("b")));
    let more = json!({"spec": {"selector": {"matchLabels": {"one-more": "v"}}}});
    let refused = c.merge("poddisruptionbudgets", "n/b", more).await.unwrap_err();
    assert!(refused.message().contains("a selector may have at most"), "{refused}");
    let fewer = json!({"spec": {"selector": {"matchLabels": {"k0": null}}}});
    c.merge("poddisruptionbudgets", "n/b", fewer).await.unwrap();
}
