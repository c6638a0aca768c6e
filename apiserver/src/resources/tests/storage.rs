//! Claims, volumes and the bounds of a namespace, through the whole write path.

use serde_json::{Value, json};

use super::*;
use crate::view::ClusterView;

fn claim(name: &str) -> Value {
    json!({"metadata": {"name": name, "finalizers": ["kubernetes.io/pvc-protection"]},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}})
}

#[tokio::test]
async fn a_claim_is_bound_grows_only_where_it_may_and_waits_for_its_finalizer() {
    let cluster = Cluster::new().await;
    let made = cluster.create("persistentvolumeclaims", "n/", claim("c")).await.unwrap();
    assert_eq!(made["status"], json!({"phase": "Pending"}));
    let bound = json!({"spec": {"volumeName": "pv"}});
    cluster.merge("persistentvolumeclaims", "n/c", bound).await.unwrap();
    let status = json!({"status": {"phase": "Bound", "capacity": {"storage": "1Gi"}}, "spec": {"volumeName": "other"}});
    let stored = cluster.merge("persistentvolumeclaims/status", "n/c", status).await.unwrap();
    assert_eq!((&stored["spec"]["volumeName"], &stored["status"]["phase"]), (&json!("pv"), &json!("Bound")));
    let more = json!({"spec": {"resources": {"requests": {"storage": "2Gi"}}}});
    let refused = cluster.merge("persistentvolumeclaims", "n/c", more).await.unwrap_err();
    assert!(refused.message().contains("only dynamically provisioned pvc can be resized"), "{refused}");
    let moved = json!({"spec": {"volumeName": "pw"}});
    let refused = cluster.merge("persistentvolumeclaims", "n/c", moved).await.unwrap_err();
    assert!(refused.message().contains("spec is immutable after creation except resources.requests"), "{refused}");
    cluster.delete("persistentvolumeclaims", "n/c", json!({})).await.unwrap();
    let waits = cluster.get("persistentvolumeclaims", "n/c").await.unwrap();
    assert!(waits["metadata"]["deletionTimestamp"].is_string());
    cluster.merge("persistentvolumeclaims", "n/c", json!({"metadata": {"finalizers": null}})).await.unwrap();
    assert!(cluster.get("persistentvolumeclaims", "n/c").await.is_err());
}

#[tokio::test]
async fn a_volumes_phase_is_dated_by_the_server() {
    let cluster = Cluster::new().await;
    let volume = json!({"metadata": {"name": "pv"}, "spec": {"accessModes": ["ReadWriteOnce"],
        "capacity": {"storage": "1Gi"}, "nfs": {"server": "s", "path": "/"}}});
    let made = cluster.create("persistentvolumes", "", volume).await.unwrap();
    assert_eq!(made["status"]["lastPhaseTransitionTime"], made["metadata"]["creationTimestamp"]);
    let status = json!({"status": {"phase": "Available"}});
    let stored = cluster.merge("persistentvolumes/status", "pv", status).await.unwrap();
    assert!(stored["status"]["lastPhaseTransitionTime"].is_string());
}

#[tokio::test]
async fn bounds_and_quotas_are_kept_and_pods_are_filled_in_by_them() {
    let cluster = Cluster::new().await;
    let limits = json!({"spec": {"limits": [{"type": "Container", "max": {"cpu": "1"}}]}});
    let range = cluster.create("limitranges", "n/", limits).await.unwrap();
    assert_eq!(range["metadata"]["name"], range["metadata"]["uid"], "it needs no name");
    let filled = cluster.create("pods", "n/", pod("p")).await.unwrap();
    let one = json!({"cpu": "1"});
    assert_eq!(filled["spec"]["containers"][0]["resources"], json!({"limits": one, "requests": one}));
    assert_eq!(filled["status"]["qosClass"], "Burstable");
    let mut large = pod("q");
    large["spec"]["containers"][0]["resources"] = json!({"limits": {"cpu": "2"}});
    let refused = cluster.create("pods", "n/", large).await.unwrap_err();
    let expected = r#"pods "q" is forbidden: maximum cpu usage per Container is 1, but limit is 2"#;
    assert_eq!(refused.message(), expected);
    let quota =
        json!({"metadata": {"name": "q"}, "spec": {"hard": {"cpu": "1000m"}}, "status": {"used": {"cpu": "9"}}});
    let quota = cluster.create("resourcequotas", "n/", quota).await.unwrap();
    assert_eq!(quota["spec"]["hard"]["cpu"], "1");
    assert_eq!(
        quota["status"],
        json!({"hard": {"cpu": "1"}, "used": {"cpu": "1"}}),
        "counted, whatever its author says"
    );
}

#[tokio::test]
async fn admission_sees_the_objects_of_one_namespace() {
    let cluster = Cluster::new().await;
    for namespace in ["m", "n-a", "n0"] {
        cluster.create("namespaces", "", json!({"metadata": {"name": namespace}})).await.unwrap();
    }
    for at in ["m/", "n/", "n-a/", "n0/"] {
        for name in ["b", "a"] {
            cluster.create("configmaps", at, json!({"metadata": {"name": name}})).await.unwrap();
        }
    }
    let names = |plural: &str, namespace: &str| -> Vec<String> {
        let listed = ClusterView::list(&cluster.resources, "", plural, namespace).into_iter();
        listed
            .map(|json| {
                let object: Value = serde_json::from_slice(&json).unwrap();
                let part = |part: &str| object["metadata"][part].as_str().unwrap_or_default().to_owned();
                format!("{}/{}", part("namespace"), part("name"))
            })
            .collect()
    };
    cluster.resources.inner.cache.catch_up().await.unwrap();
    assert_eq!(names("configmaps", "n"), ["n/a", "n/b"]);
    assert_eq!(names("configmaps", "nowhere"), Vec::<String>::new());
    assert_eq!(names("oddments", "n"), Vec::<String>::new());
    assert_eq!(
        names("namespaces", ""),
        ["/default", "/kube-node-lease", "/kube-public", "/kube-system", "/m", "/n", "/n-a", "/n0"]
    );
    assert_eq!(names("configmaps", "").len(), 8, "of all namespaces");
}
