//! What every cluster has, and what becomes of it when somebody takes it away.

use super::*;
use crate::resources::Trust;

async fn get(c: &Cluster, group: &str, plural: &str, name: &str) -> Result<Value, ApiError> {
    let json =
        c.resources.get(&allowed(&c.admin, &super::super::target(group, plural, "", name)), ReadAt::Newest).await?;
    Ok(serde_json::from_slice(&json).unwrap())
}

#[tokio::test]
async fn a_new_cluster_has_its_priority_classes_and_its_range_of_addresses() {
    let c = Cluster::new().await;
    for (name, value) in [("system-node-critical", 2_000_001_000), ("system-cluster-critical", 2_000_000_000)] {
        let class = get(&c, "scheduling.k8s.io", "priorityclasses", name).await.unwrap();
        assert_eq!(
            (class["value"].as_i64(), &class["preemptionPolicy"]),
            (Some(value), &json!("PreemptLowerPriority"))
        );
        assert!(class["description"].as_str().unwrap().starts_with("Used for system critical pods that must"));
    }
    let range = get(&c, "networking.k8s.io", "servicecidrs", "kubernetes").await.unwrap();
    assert_eq!(range["spec"]["cidrs"], json!(["10.96.0.0/24"]));
    let condition = &range["status"]["conditions"][0];
    assert_eq!((&condition["type"], &condition["status"]), (&json!("Ready"), &json!("True")));
    assert_eq!(condition["message"], "Kubernetes Service CIDR is ready");
    assert_eq!(range["metadata"]["finalizers"], json!(["networking.k8s.io/service-cidr-finalizer"]));
    let managed = range["metadata"]["managedFields"].as_array().unwrap();
    assert!(managed.iter().any(|entry| entry["manager"] == "service-cidr-controller"), "{managed:?}");
    let before = c.resources.revision();
    Cluster::on(c.storage.clone()).await;
    assert_eq!(c.resources.catch_up().await.unwrap(), before, "a second server finds it all");
}

#[tokio::test]
async fn the_client_ca_is_where_other_servers_look_for_it() {
    let c = Cluster::new().await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ca.crt");
    let made = || {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec!["ca".to_owned()]).unwrap();
        params.self_signed(&key).unwrap().pem().replace("\r\n", "\n")
    };
    let told = async || {
        let map = c.get("configmaps", "kube-system/extension-apiserver-authentication").await.unwrap();
        map["data"]["client-ca-file"].as_str().unwrap().to_owned()
    };
    let (first, second) = (made(), made());
    std::fs::write(&file, &first).unwrap();
    let trust = Trust { client_ca: file.clone(), front_proxy: None };
    c.resources.publish_trust(trust.clone()).await;
    assert_eq!(told().await, first);
    std::fs::write(&file, &second).unwrap();
    c.resources.publish_trust(trust).await;
    assert_eq!(told().await, format!("{first}{second}"), "clients of both are known meanwhile");
}

async fn until(what: &str, is: impl AsyncFn() -> bool) {
    let waits = async {
        while !is().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(60), waits).await.unwrap_or_else(|_| panic!("never: {what}"));
}

#[tokio::test]
async fn another_range_gives_addresses_and_stays_while_they_are_held() {
    let c = Cluster::new().await;
    let ranges = || super::super::target("networking.k8s.io", "servicecidrs", "", "");
    let object = json!({"metadata": {"name": "more"}, "spec": {"cidrs": ["10.97.0.0/24"]}}).to_string();
    c.resources.create(&allowed(&c.admin, &ranges()), object.into(), WriteOptions::default()).await.unwrap();
    let ready = async || {
        let more = get(&c, "networking.k8s.io", "servicecidrs", "more").await.unwrap();
        more["status"]["conditions"][0]["status"] == "True"
    };
    until("it is ready", ready).await;
    let spec = json!({"clusterIP": "10.97.0.7", "ports": [{"port": 1}]});
    c.create("services", "n/", json!({"metadata": {"name": "web"}, "spec": spec})).await.unwrap();
    let one = Target { name: "more".into(), ..ranges() };
    c.resources.delete(&allowed(&c.admin, &one), DeleteOptions::default(), WriteOptions::default()).await.unwrap();
    let held = async || {
        let more = get(&c, "networking.k8s.io", "servicecidrs", "more").await.unwrap();
        more["status"]["conditions"][0]["reason"] == "Terminating"
    };
    until("it is held", held).await;
    let spec = json!({"clusterIP": "10.97.0.8", "ports": [{"port": 1}]});
    let refused = c.create("services", "n/", json!({"metadata": {"name": "late"}, "spec": spec})).await;
    assert!(reason(refused).1.ends_with("the provided network does not match the current range"));
    c.delete("services", "n/web", json!({})).await.unwrap();
    let gone = async || get(&c, "networking.k8s.io", "servicecidrs", "more").await.is_err();
    until("it goes", gone).await;
}
