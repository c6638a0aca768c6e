//! What a kubelet may read: what is on its node. And what an attacker with its key, or with its proxy's, does not get.

use super::*;

fn agent(name: &str, group: &str) -> User {
    User { name: name.into(), groups: vec![group.into(), "system:authenticated".into()], ..User::default() }
}
fn kubelet() -> User {
    agent("system:node:n1", "system:nodes")
}

/// A pod on a node with a Secret and an account.
fn on(name: &str, node: &str, secret: &str) -> Value {
    let volumes = json!([{"name": "v", "secret": {"secretName": secret}}]);
    let spec = json!({"nodeName": node, "volumes": volumes, "containers": [{"name": "c", "image": "i"}]});
    json!({"metadata": {"name": name}, "spec": spec})
}

async fn may(c: &Cluster, user: &User, verb: &str, plural: &str, at: &str, fields: &str) -> Result<(), ApiError> {
    c.resources.check(user, verb, &target(plural, at), &FieldSelector::parse(fields).unwrap()).await
}

#[tokio::test]
async fn a_node_reads_what_its_own_pods_refer_to() {
    let c = Cluster::new().await;
    let other = Cluster::on(c.storage.clone()).await;
    c.create("pods", "n/", on("mine", "n1", "s1")).await.unwrap();
    c.create("pods", "n/", on("theirs", "n2", "s2")).await.unwrap();
    for (verb, plural, at, fields, allowed) in [
        ("get", "secrets", "n/s1", "", true),
        ("watch", "secrets", "n/", "metadata.name=s1", true),
        ("get", "pods", "n/mine", "", true),
        ("patch", "pods/status", "n/mine", "", true),
        ("delete", "pods", "n/mine", "", true),
        ("create", "pods/eviction", "n/mine", "", true),
        ("get", "serviceaccounts", "n/default", "", true),
        ("watch", "pods", "", "spec.nodeName=n1", true),
        ("watch", "services", "", "", true),
    ] {
        // A server that has not seen the pods yet looks again before it refuses.
        let asked = may(&other, &kubelet(), verb, plural, at, fields).await;
        assert_eq!(asked.is_ok(), allowed, "{verb} {plural} {at} {fields:?}: {asked:?}");
    }
    let refused = may(&other, &kubelet(), "get", "secrets", "n/s2", "").await;
    let words = r#"secrets "s2" is forbidden: User "system:node:n1" cannot get resource "secrets" in API group "" in the namespace "n": no relationship found between node 'n1' and this object"#;
    assert_eq!(reason(refused), (Reason::Forbidden, words.into()));
}

#[tokio::test]
async fn a_stolen_kubelet_key_opens_nothing_that_is_not_its_nodes() {
    let c = Cluster::new().await;
    c.create("pods", "n/", on("mine", "n1", "s1")).await.unwrap();
    c.create("pods", "n/", on("theirs", "n2", "s2")).await.unwrap();
    c.create("serviceaccounts", "n/", json!({"metadata": {"name": "strong"}})).await.unwrap();
    for (verb, plural, at, fields) in [
        ("get", "secrets", "n/s2", ""),
        ("get", "secrets", "default/s1", ""),
        ("watch", "secrets", "default/", "metadata.name=s1"),
        ("watch", "secrets", "", "metadata.name=s1,metadata.namespace=n"),
        ("list", "secrets", "n/", ""),
        ("list", "secrets", "", ""),
        ("watch", "secrets", "n/", "metadata.name!=s9"),
        ("update", "secrets", "n/s1", ""),
        ("delete", "secrets", "n/s1", ""),
        ("deletecollection", "secrets", "n/", ""),
        ("get", "configmaps", "n/s1", ""),
        ("watch", "pods", "", ""),
        ("watch", "pods", "", "spec.nodeName=n2"),
        ("watch", "pods", "", "spec.nodeName!=n1"),
        ("watch", "pods", "", "metadata.name=mine"),
        ("watch", "pods", "n/", "metadata.name=theirs"),
        ("get", "pods", "n/theirs", ""),
        ("update", "pods", "n/mine", ""),
        ("patch", "pods/status", "n/theirs", ""),
        ("delete", "pods", "n/theirs", ""),
        ("deletecollection", "pods", "n/", "spec.nodeName=n1"),
        ("create", "pods/eviction", "n/theirs", ""),
        ("create", "pods/binding", "n/theirs", ""),
        ("get", "pods/log", "n/mine", ""),
        ("create", "pods/exec", "n/mine", ""),
        ("get", "pods/exec", "n/mine", ""),
        ("patch", "pods/ephemeralcontainers", "n/mine", ""),
        ("get", "serviceaccounts", "n/strong", ""),
        ("list", "serviceaccounts", "n/", ""),
        ("create", "serviceaccounts/token", "n/strong", ""),
        ("get", "nodes", "n2", ""),
        ("list", "nodes", "", ""),
        ("patch", "nodes/status", "n2", ""),
        ("get", "nodes/proxy", "n1", ""),
        ("list", "leases", "kube-node-lease/", ""),
        ("get", "leases", "kube-system/kube-scheduler", ""),
        ("get", "namespaces", "n", ""),
        ("get", "events", "n/e", ""),
        ("deletecollection", "events", "n/", ""),
    ] {
        let asked = may(&c, &kubelet(), verb, plural, at, fields).await;
        assert_eq!(asked.map(drop).map_err(|err| err.code()), Err(403), "{verb} {plural} {at} {fields:?}");
    }
}

#[tokio::test]
async fn a_node_that_guesses_names_is_told_the_same_whether_they_exist_or_not() {
    let c = Cluster::new().await;
    c.create("pods", "n/", on("theirs", "n2", "s2")).await.unwrap();
    for (verb, plural) in [
        ("get", "pods"),
        ("delete", "pods"),
        ("patch", "pods/status"),
        ("create", "pods/eviction"),
        ("get", "secrets"),
        ("get", "serviceaccounts"),
    ] {
        let there = if plural.starts_with("pods") { "theirs" } else { "default" };
        let taken = reason(may(&c, &kubelet(), verb, plural, &format!("n/{there}"), "").await);
        let free = reason(may(&c, &kubelet(), verb, plural, "n/nothing", "").await);
        assert_eq!((taken.0, taken.1.replace(there, "nothing")), free, "{verb} {plural}");
    }
}

#[tokio::test(start_paused = true)]
async fn guesses_of_a_node_cost_the_store_no_more_than_the_nodes_share() {
    let store = Arc::new(crate::storage::flaky::Flaky::default());
    let c = Cluster::on(store.clone()).await;
    // Time goes on once nothing is left to do: what the server asks of itself when it begins, it has asked then.
    tokio::time::sleep(Duration::from_millis(1)).await;
    let before = store.asked();
    for i in 0..500 {
        for plural in ["secrets", "configmaps", "pods", "serviceaccounts"] {
            let guessed = may(&c, &kubelet(), "get", plural, &format!("n/{i}"), "").await;
            assert_eq!(reason(guessed).0, Reason::Forbidden);
        }
    }
    let asked = store.asked() - before;
    assert_eq!(asked, u64::from(looks::BURST), "2,000 guesses");
    let other = agent("system:node:n2", "system:nodes");
    assert_eq!(reason(may(&c, &other, "get", "secrets", "n/s", "").await).0, Reason::Forbidden);
    assert_eq!(store.asked() - before, asked + 1, "another node has its own");
}

#[tokio::test]
async fn a_node_whose_looks_are_spent_still_gets_what_is_known_here() {
    let c = Cluster::new().await;
    let other = Cluster::on(c.storage.clone()).await;
    for i in 0..100 {
        assert!(may(&other, &kubelet(), "get", "secrets", &format!("n/{i}"), "").await.is_err());
    }
    c.create("pods", "n/", on("mine", "n1", "s1")).await.unwrap();
    other.resources.catch_up().await.unwrap();
    assert!(may(&other, &kubelet(), "get", "secrets", "n/s1", "").await.is_ok());
}

/// Starts a watch as the REST and gRPC doors do.
async fn watch(c: &Cluster, user: &User, plural: &str, fields: &str) -> Watched {
    let fields = FieldSelector::parse(fields).unwrap();
    let may = c.resources.authorize_to(&Arc::new(user.clone()), target(plural, "n/"), &fields).await.unwrap();
    let options = WatchOptions { fields, from: WatchFrom::Now, ..WatchOptions::default() };
    let stream = c.resources.watch(&may, options).await.unwrap();
    Watched(stream, Vec::new())
}

async fn ends(mut watched: Watched) -> (Reason, String) {
    let last = timeout(DEADLINE, watched.0.next()).await.expect("it is told").expect("with an error");
    let told = reason(last);
    assert!(watched.0.next().await.is_none(), "and ends");
    told
}

#[tokio::test]
async fn a_watch_of_a_secret_ends_when_the_pod_that_referred_to_it_went() {
    let c = Cluster::new().await;
    c.create("secrets", "n/", json!({"metadata": {"name": "s1"}})).await.unwrap();
    c.create("pods", "n/", on("mine", "n1", "s1")).await.unwrap();
    let mut watched = watch(&c, &kubelet(), "secrets", "metadata.name=s1").await;
    c.merge("secrets", "n/s1", json!({"metadata": {"labels": {"a": "1"}}})).await.unwrap();
    assert_eq!(watched.take(1).await, ["MODIFIED s1 1"]);
    c.delete("pods", "n/mine", json!({"gracePeriodSeconds": 0})).await.unwrap();
    c.merge("secrets", "n/s1", json!({"metadata": {"labels": {"a": "2"}}})).await.unwrap();
    assert_eq!(ends(watched).await.0, Reason::Forbidden);
    assert_eq!(reason(may(&c, &kubelet(), "get", "secrets", "n/s1", "").await).0, Reason::Forbidden);
}

#[tokio::test]
async fn a_watch_of_a_pod_by_name_ends_when_the_name_is_another_nodes() {
    let c = Cluster::new().await;
    c.create("pods", "n/", on("web", "n1", "s1")).await.unwrap();
    let mut named = watch(&c, &kubelet(), "pods", "metadata.name=web").await;
    let mut own = watch(&c, &kubelet(), "pods", "spec.nodeName=n1").await;
    c.delete("pods", "n/web", json!({"gracePeriodSeconds": 0})).await.unwrap();
    assert_eq!(named.take(1).await, ["DELETED web -"], "that its own is gone a node may hear");
    c.create("pods", "n/", on("web", "n2", "s2")).await.unwrap();
    assert_eq!(ends(named).await.0, Reason::Forbidden);
    assert_eq!(own.take(1).await, ["DELETED web -"]);
    c.create("pods", "n/", on("next", "n1", "s1")).await.unwrap();
    assert_eq!(own.take(1).await, ["ADDED next -"], "nothing of the other node's pod came between");
}

#[tokio::test]
async fn a_stolen_proxy_key_learns_of_no_pod_beyond_its_node() {
    let c = Cluster::new().await;
    c.create("pods", "n/", on("theirs", "n2", "s2")).await.unwrap();
    let proxy = agent("system:kube-proxy:n1", "system:node-proxiers");
    // Upstream's name, without a node; a name without the group; the group without a name.
    let shared = agent("system:kube-proxy", "system:node-proxiers");
    let stranger = agent("system:kube-proxy:n1", "dev");
    let nameless = agent("system:kube-proxy:", "system:node-proxiers");
    for (user, verb, plural, at, fields, allowed) in [
        (&proxy, "watch", "services", "", "", true),
        (&proxy, "watch", "endpointslices", "", "", true),
        (&proxy, "watch", "nodes", "", "", true),
        (&proxy, "watch", "pods", "", "spec.nodeName=n1", true),
        (&proxy, "watch", "pods", "", "spec.nodeName=n2", false),
        (&proxy, "watch", "pods", "", "spec.nodeName!=n2", false),
        (&proxy, "watch", "pods", "", "", false),
        (&proxy, "list", "pods", "n/", "metadata.name=theirs", false),
        (&proxy, "get", "pods", "n/theirs", "", false),
        (&proxy, "get", "secrets", "n/s2", "", false),
        (&proxy, "list", "configmaps", "n/", "", false),
        (&proxy, "list", "namespaces", "", "", false),
        (&proxy, "patch", "nodes/status", "n1", "", false),
        (&shared, "watch", "services", "", "", true),
        (&shared, "watch", "pods", "", "spec.nodeName=", false),
        (&stranger, "watch", "services", "", "", false),
        (&nameless, "watch", "pods", "", "spec.nodeName=", false),
    ] {
        let asked = may(&c, user, verb, plural, at, fields).await;
        assert_eq!(asked.is_ok(), allowed, "{} {verb} {plural} {at} {fields:?}", user.name);
    }
}

/// The doors ask whether somebody may change; whether he may make what is not there, the write path asks.
#[tokio::test]
async fn who_may_change_but_not_create_makes_nothing_by_changing() {
    let c = Cluster::new().await;
    let jane = User { name: "jane".into(), ..User::default() };
    let apply = |user: &User, name: &str| {
        let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "1"}});
        let options = WriteOptions { field_manager: "m".into(), ..WriteOptions::default() };
        let (c, user, at) = (&c, user.clone(), target("configmaps", &format!("n/{name}")));
        async move {
            c.resources.patch(&allowed(&user, &at), patch::Kind::Apply, Bytes::from(body.to_string()), options).await
        }
    };
    let put = |user: &User, lease: &Value| {
        let (c, user, name) = (&c, user.clone(), lease["metadata"]["name"].as_str().unwrap());
        let (at, body) = (target("leases", &format!("n/{name}")), Bytes::from(lease.to_string()));
        async move { c.resources.update(&allowed(&user, &at), body, WriteOptions::default()).await }
    };
    let new = json!({"metadata": {"name": "new"}});
    let words = |plural: &str, resource: &str, group: &str| {
        let cannot =
            format!("User \"jane\" cannot create resource {resource:?} in API group {group:?} in the namespace \"n\"");
        (Reason::Forbidden, format!("{plural} \"new\" is forbidden: {cannot}"))
    };
    assert_eq!(reason(apply(&jane, "new").await), words("configmaps", "configmaps", ""));
    let group = "coordination.k8s.io";
    assert_eq!(reason(put(&jane, &new).await), words("leases.coordination.k8s.io", "leases", group));
    for plural in ["configmaps", "leases"] {
        assert_eq!(reason(c.get(plural, "n/new").await).0, Reason::NotFound);
    }
    c.config_map("there", json!({})).await;
    let mut held = c.create("leases", "n/", json!({"metadata": {"name": "there"}})).await.unwrap();
    held["spec"] = json!({"holderIdentity": "jane"});
    assert!(apply(&jane, "there").await.unwrap().existed && put(&jane, &held).await.unwrap().existed);
    assert!(!apply(&c.admin, "new").await.unwrap().existed && !put(&c.admin, &new).await.unwrap().existed);
    // A kubelet's own Lease is its to make in either way, and no other's.
    let lease = |name: &str| {
        let (c, at) = (&c, target("leases", &format!("kube-node-lease/{name}")));
        let body = Bytes::from(json!({"metadata": {"name": name}}).to_string());
        async move { c.resources.update(&allowed(&kubelet(), &at), body, WriteOptions::default()).await }
    };
    assert!(!lease("n1").await.unwrap().existed);
    assert_eq!(reason(lease("n2").await).0, Reason::Forbidden);
}

/// Who may ask about rights.
fn reviews(user: &User) -> Authorized<to::Create> {
    allowed(user, &super::super::target("authorization.k8s.io", "subjectaccessreviews", "", ""))
}

#[tokio::test]
async fn who_asks_about_nodes_spends_no_looks_of_theirs() {
    let store = Arc::new(crate::storage::flaky::Flaky::default());
    let c = Cluster::on(store.clone()).await;
    let secret = |i: u32| target("secrets", &format!("n/{i}"));
    let before = store.asked();
    for i in 0..100 {
        assert!(
            c.resources
                .explain(&reviews(&c.admin), &kubelet(), "get", &secret(i), &FieldSelector::default())
                .await
                .unwrap()
                .is_err()
        );
    }
    assert_eq!(store.asked(), before, "nobody looks again for that");
    assert!(
        c.resources
            .explain(&reviews(&kubelet()), &kubelet(), "get", &secret(0), &FieldSelector::default())
            .await
            .unwrap()
            .is_err()
    );
    let after_its_own = store.asked();
    assert!(after_its_own > before, "a node that asks about itself has its own");
    assert!(may(&c, &kubelet(), "get", "secrets", "n/s", "").await.is_err());
    assert!(store.asked() > after_its_own, "and some are left");
}

#[tokio::test]
async fn a_node_reads_the_volumes_of_its_pods_claims_and_their_secrets() {
    let c = Cluster::new().await;
    let claimed = |name: &str, node: &str, claim: &str| {
        let volumes = json!([{"name": "v", "persistentVolumeClaim": {"claimName": claim}}]);
        let spec = json!({"nodeName": node, "volumes": volumes, "containers": [{"name": "c", "image": "i"}]});
        json!({"metadata": {"name": name}, "spec": spec})
    };
    let volume = |name: &str, claim: &str| {
        let secret = |kind: &str| json!({"namespace": "default", "name": format!("{name}-{kind}")});
        let csi = json!({"driver": "d.io", "volumeHandle": "h", "nodeStageSecretRef": secret("stage"),
            "controllerPublishSecretRef": secret("attach")});
        let spec = json!({"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "csi": csi,
            "claimRef": {"namespace": "n", "name": claim}});
        json!({"metadata": {"name": name}, "spec": spec})
    };
    c.create("persistentvolumes", "", volume("v1", "c1")).await.unwrap();
    c.create("persistentvolumes", "", volume("v2", "c2")).await.unwrap();
    c.create("pods", "n/", claimed("mine", "n1", "c1")).await.unwrap();
    c.create("pods", "n/", claimed("theirs", "n2", "c2")).await.unwrap();
    for (verb, plural, at, allowed) in [
        ("get", "persistentvolumeclaims", "n/c1", true),
        ("patch", "persistentvolumeclaims/status", "n/c1", true),
        ("get", "persistentvolumes", "v1", true),
        ("get", "secrets", "default/v1-stage", true),
        ("get", "persistentvolumeclaims", "n/c2", false),
        ("get", "persistentvolumes", "v2", false),
        ("get", "persistentvolumes", "none", false),
        ("list", "persistentvolumes", "", false),
        ("update", "persistentvolumes", "v1", false),
        ("get", "secrets", "default/v2-stage", false),
        ("get", "secrets", "default/v1-attach", false),
        ("get", "secrets", "n/v1-stage", false),
    ] {
        let asked = may(&c, &kubelet(), verb, plural, at, "").await;
        assert_eq!(asked.is_ok(), allowed, "{verb} {plural} {at}: {asked:?}");
    }
    c.delete("pods", "n/mine", json!({"gracePeriodSeconds": 0})).await.unwrap();
    c.resources.catch_up().await.unwrap();
    for (plural, at) in [("persistentvolumes", "v1"), ("secrets", "default/v1-stage")] {
        assert!(may(&c, &kubelet(), "get", plural, at, "").await.is_err(), "{plural}: the pod went");
    }
}

#[tokio::test]
async fn a_node_keeps_the_volumes_that_are_its_directories() {
    let c = Cluster::new().await;
    let volume = |name: &str, node: &str, provisioner: &str| {
        let spec =
            json!({"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/x"}});
        let annotations = json!({"corten.io/node": node, "pv.kubernetes.io/provisioned-by": provisioner});
        json!({"metadata": {"name": name, "annotations": annotations}, "spec": spec})
    };
    c.create("persistentvolumes", "", volume("mine", "n1", "corten.io/local-directory")).await.unwrap();
    c.create("persistentvolumes", "", volume("theirs", "n2", "corten.io/local-directory")).await.unwrap();
    c.create("persistentvolumes", "", volume("other", "n1", "example.org/disk")).await.unwrap();
    for (verb, name, fields, allowed) in [
        ("get", "mine", "", true),
        ("update", "mine", "", true),
        ("list", "", "metadata.name=mine", true),
        ("watch", "", "metadata.name=mine", true),
        ("delete", "mine", "", false),
        ("patch", "mine", "", false),
        ("update", "theirs", "", false),
        ("get", "theirs", "", false),
        ("watch", "", "metadata.name=theirs", false),
        ("update", "other", "", false),
        ("get", "other", "", false),
        ("get", "none", "", false),
        ("watch", "", "", false),
    ] {
        let asked = may(&c, &kubelet(), verb, "persistentvolumes", name, fields).await;
        assert_eq!(asked.is_ok(), allowed, "{verb} {name} {fields}: {asked:?}");
    }
}

#[tokio::test]
async fn what_names_a_node_is_its() {
    let c = Cluster::new().await;
    let attachment = |name: &str, node: &str| json!({"metadata": {"name": name}, "spec": {"attacher": "d.io", "nodeName": node, "source": {"persistentVolumeName": "v"}}});
    let slice = |name: &str, node: &str| {
        let pool = json!({"name": node, "generation": 1, "resourceSliceCount": 1});
        json!({"metadata": {"name": name}, "spec": {"driver": "d.io", "nodeName": node, "pool": pool, "devices": []}})
    };
    for (name, node) in [("mine", "n1"), ("theirs", "n2")] {
        c.create("volumeattachments", "", attachment(name, node)).await.unwrap();
        c.create("resourceslices", "", slice(name, node)).await.unwrap();
    }
    for (verb, plural, name, fields, allowed) in [
        ("get", "volumeattachments", "mine", "", true),
        ("get", "volumeattachments", "theirs", "", false),
        ("get", "volumeattachments", "none", "", false),
        ("list", "volumeattachments", "", "", false),
        ("get", "resourceslices", "mine", "", true),
        ("update", "resourceslices", "mine", "", true),
        ("delete", "resourceslices", "mine", "", true),
        ("delete", "resourceslices", "theirs", "", false),
        ("patch", "resourceslices", "none", "", false),
        ("create", "resourceslices", "", "", true),
        ("watch", "resourceslices", "", "spec.nodeName=n1", true),
        ("watch", "resourceslices", "", "spec.nodeName=n2", false),
        ("deletecollection", "resourceslices", "", "", false),
        ("get", "csinodes", "n1", "", true),
        ("update", "csinodes", "n1", "", true),
        ("update", "csinodes", "n2", "", false),
    ] {
        let asked = may(&c, &kubelet(), verb, plural, name, fields).await;
        assert_eq!(asked.is_ok(), allowed, "{verb} {plural} {name}: {asked:?}");
    }
}
