//! What Services hold, and where the apiservers are.

use super::*;

#[tokio::test]
async fn a_services_name_is_a_label_of_dns_and_may_begin_with_a_digit() {
    let c = Cluster::new().await;
    let service = |name: &str| json!({"metadata": {"name": name}, "spec": {"ports": [{"port": 1}]}});
    c.create("services", "n/", service("8ball")).await.unwrap();
    for bad in ["a.b", "A", "-a", &"a".repeat(64)] {
        assert_eq!(reason(c.create("services", "n/", service(bad)).await).0, Reason::Invalid, "{bad}");
    }
}

#[tokio::test]
async fn a_service_holds_its_address_and_ports_until_it_is_gone() {
    let c = Cluster::new().await;
    let service = |name: &str, spec: Value| json!({"metadata": {"name": name}, "spec": spec});
    let web = json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": 31005}]});
    let made = c.create("services", "n/", service("web", web.clone())).await.unwrap();
    let ip = made["spec"]["clusterIP"].as_str().unwrap().to_owned();
    let held = c.get("ipaddresses", &ip).await.unwrap();
    assert_eq!(held["spec"]["parentRef"], json!({"resource": "services", "namespace": "n", "name": "web"}));
    let other = c.create("services", "n/", service("other", web.clone())).await;
    let words = r#"Service "other" is invalid: spec.ports[0].nodePort: Invalid value: 31005: provided port is already allocated"#;
    assert_eq!(reason(other), (Reason::Invalid, words.into()));
    let same_ip = c.create("services", "n/", service("other", json!({"clusterIP": ip, "ports": [{"port": 1}]}))).await;
    assert!(reason(same_ip).1.ends_with(&format!("failed to allocate IP {ip}: provided IP is already allocated")));
    assert!(c.storage.get("/registry/services/specs/n/other").await.unwrap().is_none(), "nothing half-written");

    c.merge("services", "n/web", json!({"spec": {"type": "ClusterIP"}})).await.unwrap();
    c.create("services", "n/", service("other", web)).await.expect("the port was given back");
    assert!(c.delete("services", "n/web", json!({})).await.unwrap().gone);
    assert_eq!(reason(c.get("ipaddresses", &ip).await).0, Reason::NotFound);
    c.create("services", "n/", service("again", json!({"clusterIP": ip, "ports": [{"port": 1}]}))).await.unwrap();
}

#[tokio::test]
async fn two_servers_never_give_one_port_away_twice() {
    let a = Cluster::new().await;
    let b = Cluster::on(a.storage.clone()).await;
    let service = |i: usize| {
        let spec = json!({"type": "NodePort", "ports": [{"port": 80}]});
        json!({"metadata": {"name": format!("s{i}")}, "spec": spec})
    };
    let writes = (0..10).map(|i| if i % 2 == 0 { &a } else { &b }.create("services", "n/", service(i)));
    let made = futures::future::try_join_all(writes).await.unwrap();
    let ports: std::collections::BTreeSet<i64> =
        made.iter().map(|s| s["spec"]["ports"][0]["nodePort"].as_i64().unwrap()).collect();
    assert_eq!(ports, (31000..=31009).collect(), "all ten, each once");
    let full = reason(a.create("services", "n/", service(10)).await);
    assert!(full.1.contains("range is full"), "{full:?}");
}

#[tokio::test]
async fn reservations_without_a_service_are_given_back_at_start() {
    let c = Cluster::new().await;
    let spec = json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": 31001}]});
    let made = c.create("services", "n/", json!({"metadata": {"name": "web"}, "spec": spec.clone()})).await.unwrap();
    let key = "/registry/services/specs/n/web";
    let stored = c.storage.get(key).await.unwrap().unwrap();
    c.storage.commit(vec![crate::storage::Write::Delete { key: key.into(), expected: stored.revision }]).await.unwrap();
    let again = Cluster::on(c.storage.clone()).await;
    let ip = made["spec"]["clusterIP"].as_str().unwrap();
    assert_eq!(reason(again.get("ipaddresses", ip).await).0, Reason::NotFound);
    let mut spec = spec;
    spec["clusterIP"] = json!(ip);
    again.create("services", "n/", json!({"metadata": {"name": "new"}, "spec": spec})).await.unwrap();
}

#[tokio::test]
async fn a_service_that_cannot_be_read_keeps_what_it_holds() {
    for unreadable in [r#"{"metadata": {"name": "web", "namespace": "n"}, "spec": 7}"#, "no object"] {
        let c = Cluster::new().await;
        let spec = json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": 31001}]});
        let made =
            c.create("services", "n/", json!({"metadata": {"name": "web"}, "spec": spec.clone()})).await.unwrap();
        let key = "/registry/services/specs/n/web";
        let expected = c.storage.get(key).await.unwrap().unwrap().revision;
        let value = Bytes::from(unreadable);
        c.storage
            .commit(vec![crate::storage::Write::Update { key: key.into(), value, expected, ttl_secs: None }])
            .await
            .unwrap();
        let again = Cluster::on(c.storage.clone()).await;
        let ip = made["spec"]["clusterIP"].as_str().unwrap();
        let held = again.get("ipaddresses", ip).await.expect("the address is kept");
        assert_eq!(held["spec"]["parentRef"]["name"], "web", "{unreadable}");
        let other = again.create("services", "n/", json!({"metadata": {"name": "other"}, "spec": spec})).await;
        assert!(reason(other).1.ends_with("provided port is already allocated"), "{unreadable}");
    }
}

#[tokio::test]
async fn living_servers_are_the_endpoints_of_kubernetes() {
    let storage: Arc<dyn Storage> = Arc::new(Memory::default());
    let start = |ip: &str| {
        let advertise = Some(format!("{ip}:6443").parse().unwrap());
        Resources::start(storage.clone(), Registry::default(), Settings { advertise, ..settings() })
    };
    let (a, b) = (start("10.0.0.1").await.unwrap(), start("10.0.0.2").await.unwrap());
    let kubernetes = Authorized::own(target("services", "default/kubernetes"));
    let service: Value = serde_json::from_slice(&a.get(&kubernetes, ReadAt::Newest).await.unwrap()).unwrap();
    assert_eq!(service["spec"]["clusterIP"], "10.96.0.1");
    let addresses = |of: &'static str| {
        let (a, slice) = (a.clone(), Authorized::own(target(of, "default/kubernetes")));
        async move { String::from_utf8(a.get(&slice, ReadAt::Newest).await.unwrap_or_default().to_vec()).unwrap() }
    };
    let until = async |want: &[&str], not: &[&str]| {
        let seen = async {
            loop {
                let (slice, old) = (addresses("endpointslices").await, addresses("endpoints").await);
                let is = |ip: &&str| slice.contains(*ip) && old.contains(*ip);
                if want.iter().all(is) && !not.iter().any(is) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(DEADLINE, seen).await.unwrap_or_else(|_| panic!("endpoints {want:?} without {not:?}"));
    };
    until(&["10.0.0.1", "10.0.0.2"], &[]).await;
    b.drain();
    until(&["10.0.0.1"], &["10.0.0.2"]).await;
}
