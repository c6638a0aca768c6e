//! An object that is served in two versions.

use super::*;

#[tokio::test]
async fn an_autoscaler_is_one_object_in_both_its_versions() {
    let c = Cluster::new().await;
    let target = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"});
    let spec = json!({"scaleTargetRef": target, "maxReplicas": 3, "targetCPUUtilizationPercentage": 50});
    let old = json!({"apiVersion": "autoscaling/v1", "metadata": {"name": "a"}, "spec": spec});
    let made = c.create("oldautoscalers", "n/", old).await.unwrap();
    assert_eq!((&made["apiVersion"], &made["metadata"]["generation"]), (&json!("autoscaling/v1"), &json!(1)));
    let new = c.get("horizontalpodautoscalers", "n/a").await.unwrap();
    let cpu = json!({"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}});
    assert_eq!((&new["apiVersion"], &new["spec"]["metrics"]), (&json!("autoscaling/v2"), &json!([cpu])));
    assert_eq!((version(&new), &new["metadata"]["uid"]), (version(&made), &made["metadata"]["uid"]));

    let condition = json!({"type": "AbleToScale", "status": "True"});
    let status = json!({"desiredReplicas": 2, "conditions": [condition]});
    c.merge("horizontalpodautoscalers/status", "n/a", json!({ "status": status })).await.unwrap();
    let mut old = c.get("oldautoscalers", "n/a").await.unwrap();
    let said = old["metadata"]["annotations"]["autoscaling.alpha.kubernetes.io/conditions"].clone();
    assert!(said.as_str().unwrap().contains("AbleToScale"), "{old}");

    let unchanged = c.update("oldautoscalers", "n/a", &old).await.unwrap();
    assert_eq!(version(&unchanged), version(&old), "nothing is written");
    old["metadata"]["annotations"] = Value::Null;
    old["spec"]["maxReplicas"] = json!(5);
    let written = c.update("oldautoscalers", "n/a", &old).await.unwrap();
    assert_eq!(written["metadata"]["annotations"]["autoscaling.alpha.kubernetes.io/conditions"], said);
    let new = c.get("horizontalpodautoscalers", "n/a").await.unwrap();
    assert_eq!((&new["spec"]["maxReplicas"], &new["status"]["conditions"]), (&json!(5), &json!([condition])));
    assert_eq!((&new["metadata"]["generation"], &new["metadata"]["annotations"]), (&json!(2), &Value::Null));
}

#[tokio::test]
async fn who_owns_fields_in_one_version_keeps_them_when_another_is_written() {
    let c = Cluster::new().await;
    let scaled = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"});
    let new = json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "a"},
        "spec": {"scaleTargetRef": scaled, "maxReplicas": 3}});
    let options = WriteOptions { field_manager: "one".into(), ..WriteOptions::default() };
    let body = Bytes::from(new.to_string());
    let target = target("horizontalpodautoscalers", "n/a");
    c.resources.patch(&allowed(&c.admin, &target), patch::Kind::Apply, body, options).await.unwrap();
    c.merge("oldautoscalers", "n/a", json!({"spec": {"minReplicas": 2}})).await.unwrap();
    let owned = |object: &Value, manager: &str| {
        let entries = object["metadata"]["managedFields"].as_array().unwrap().clone();
        entries.into_iter().find(|entry| entry["manager"] == manager).map(|entry| entry["fieldsV1"].to_string())
    };
    let seen = c.get("horizontalpodautoscalers", "n/a").await.unwrap();
    assert!(owned(&seen, "one").unwrap().contains("f:maxReplicas"), "{seen}");
    c.merge("oldautoscalers", "n/a", json!({"spec": {"maxReplicas": 5}})).await.unwrap();
    let seen = c.get("horizontalpodautoscalers", "n/a").await.unwrap();
    assert!(
        !owned(&seen, "one").unwrap().contains("f:maxReplicas"),
        "what another version changed is its writer's: {seen}"
    );
}
