//! The API as a program sees it, through kube-rs: watches, pages, conflicts, deletes, patches.
#![allow(clippy::unwrap_used, reason = "a story that cannot go on fails")]

use std::time::Duration;

use corten_e2e::manifest::{container, pod};
use corten_e2e::{Cluster, SOON, eventually};
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{DeleteParams, EvictParams, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Config};
use rand::RngExt;
use serde_json::json;

const DEADLINE: Duration = Duration::from_secs(30);

async fn client(cluster: &Cluster) -> Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let kubeconfig = Kubeconfig::read_from(cluster.kubeconfig()).unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    Client::try_from(config).unwrap()
}

fn settings(name: &str, value: &str) -> ConfigMap {
    let mut map = ConfigMap { data: Some([("value".to_owned(), value.to_owned())].into()), ..ConfigMap::default() };
    map.metadata.name = Some(name.into());
    map.metadata.labels = Some([("story".to_owned(), "api".to_owned())].into());
    map
}

#[tokio::test]
async fn a_stale_update_is_a_conflict_and_loses_nothing() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("conflict");
    let api: Api<ConfigMap> = Api::namespaced(client(&cluster).await, &ns.name);
    let first = api.create(&PostParams::default(), &settings("x", "1")).await.unwrap();
    let mut second = first.clone();
    second.data = settings("x", "2").data;
    api.replace("x", &PostParams::default(), &second).await.unwrap();
    let mut third = first;
    third.data = settings("x", "3").data;
    let kube::Error::Api(status) = api.replace("x", &PostParams::default(), &third).await.unwrap_err() else {
        panic!()
    };
    assert_eq!((status.code, status.reason.as_str()), (409, "Conflict"));
    assert_eq!(api.get("x").await.unwrap().data, settings("x", "2").data);
}

#[tokio::test]
async fn a_watch_resumes_where_it_was() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("resume");
    let api: Api<ConfigMap> = Api::namespaced(client(&cluster).await, &ns.name);
    let listed = api.list(&ListParams::default()).await.unwrap();
    let from = listed.metadata.resource_version.unwrap();
    for n in 0..3 {
        api.create(&PostParams::default(), &settings(&format!("x{n}"), "1")).await.unwrap();
    }
    api.delete("x1", &DeleteParams::default()).await.unwrap();
    let params = WatchParams::default().labels("story=api").timeout(20);
    let mut seen = Vec::new();
    let events = api.watch(&params, &from).await.unwrap();
    let mut events = std::pin::pin!(events);
    let four = async {
        while let Some(event) = events.try_next().await.unwrap() {
            match event {
                WatchEvent::Added(map) => seen.push(format!("+{}", map.metadata.name.unwrap_or_default())),
                WatchEvent::Deleted(map) => seen.push(format!("-{}", map.metadata.name.unwrap_or_default())),
                _ => {}
            }
            if seen.len() == 4 {
                break;
            }
        }
    };
    tokio::time::timeout(DEADLINE, four).await.unwrap();
    assert_eq!(seen, ["+x0", "+x1", "+x2", "-x1"]);
}

#[tokio::test]
async fn pages_are_one_consistent_list() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("pages");
    let api: Api<ConfigMap> = Api::namespaced(client(&cluster).await, &ns.name);
    for n in 0..25 {
        api.create(&PostParams::default(), &settings(&format!("x{n:02}"), "1")).await.unwrap();
    }
    let mut params = ListParams::default().labels("story=api").limit(10);
    let mut names = Vec::new();
    loop {
        let page = api.list(&params).await.unwrap();
        names.extend(page.items.into_iter().filter_map(|m| m.metadata.name));
        // What happens between the pages is not in them.
        if names.len() == 10 {
            api.delete("x20", &DeleteParams::default()).await.unwrap();
            api.create(&PostParams::default(), &settings("x99", "1")).await.unwrap();
        }
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => break,
        }
    }
    let expected: Vec<String> = (0..25).map(|n| format!("x{n:02}")).collect();
    assert_eq!(names, expected);
}

#[tokio::test]
async fn kube_rs_keeps_a_store_true() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("reflector");
    let api: Api<ConfigMap> = Api::namespaced(client(&cluster).await, &ns.name);
    for config in [watcher::Config::default(), watcher::Config::default().streaming_lists()] {
        let mut objects = watcher(api.clone(), config.labels("story=api")).applied_objects().boxed();
        let name = format!("y{}", random());
        api.create(&PostParams::default(), &settings(&name, "1")).await.unwrap();
        let found =
            async { while objects.try_next().await.unwrap().unwrap().metadata.name.as_deref() != Some(&name) {} };
        tokio::time::timeout(DEADLINE, found).await.unwrap();
    }
}

fn random() -> u32 {
    rand::rng().random_range(0..1_000_000)
}

#[tokio::test]
async fn a_finalizer_holds_an_object_until_it_is_removed() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("finalizer");
    let api: Api<ConfigMap> = Api::namespaced(client(&cluster).await, &ns.name);
    let mut held = settings("held", "1");
    held.metadata.finalizers = Some(vec!["example.com/hold".into()]);
    api.create(&PostParams::default(), &held).await.unwrap();
    api.delete("held", &DeleteParams::default()).await.unwrap();
    let waiting = api.get("held").await.unwrap();
    assert!(waiting.metadata.deletion_timestamp.is_some());
    let release = Patch::Merge(serde_json::json!({"metadata": {"finalizers": null}}));
    api.patch("held", &PatchParams::default(), &release).await.unwrap();
    let kube::Error::Api(status) = api.get("held").await.unwrap_err() else { panic!() };
    assert_eq!(status.code, 404);
}

#[tokio::test]
async fn generated_names_do_not_collide_and_dry_runs_leave_nothing() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("generate");
    let api: Api<ConfigMap> = Api::namespaced(client(&cluster).await, &ns.name);
    let mut nameless = settings("", "1");
    nameless.metadata.name = None;
    nameless.metadata.generate_name = Some("gen-".into());
    let params = PostParams::default();
    let (a, b) = tokio::join!(api.create(&params, &nameless), api.create(&params, &nameless));
    let (a, b) = (a.unwrap().metadata.name.unwrap(), b.unwrap().metadata.name.unwrap());
    assert!(a != b && a.starts_with("gen-"), "{a} {b}");
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    api.create(&dry, &settings("dry", "1")).await.unwrap();
    assert!(api.get_opt("dry").await.unwrap().is_none());
}

#[tokio::test]
async fn a_watch_can_begin_with_what_there_is_and_a_bookmark_ends_that() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("bookmarks");
    let api: Api<ConfigMap> = Api::namespaced(client(&cluster).await, &ns.name);
    // With `sendInitialEvents` the bookmark at their end comes at once.
    let params = WatchParams::default().initial_events().timeout(20);
    api.create(&PostParams::default(), &settings("x", "1")).await.unwrap();
    let mut events = api.watch(&params, "").await.unwrap().boxed();
    let mut before = Vec::new();
    let mark = loop {
        match tokio::time::timeout(DEADLINE, events.try_next()).await.unwrap().unwrap().unwrap() {
            WatchEvent::Bookmark(mark) => break mark,
            WatchEvent::Added(map) => before.push(map.metadata.name.unwrap()),
            other => panic!("{other:?}"),
        }
    };
    assert!(before.contains(&"x".to_owned()), "{before:?}");
    assert!(mark.metadata.annotations.contains_key("k8s.io/initial-events-end"));
}

#[tokio::test]
async fn a_scheduler_of_ones_own_binds_a_pod_and_an_eviction_ends_it() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("binding");
    let pods: Api<Pod> = Api::namespaced(client(&cluster).await, &ns.name);
    let spec = json!({"schedulerName": "mine", "containers": [container("exec sleep 3600")]});
    ns.apply(&pod("box", &spec));
    let node = cluster.workers().remove(0).name;
    let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "box"}, "target": {"kind": "Node", "name": node}});
    let params = PostParams::default();
    let _: serde_json::Value = pods.create_subresource("binding", "box", &params, &binding).await.unwrap();
    ns.pod_is_ready("box");
    assert_eq!(ns.field("pod box", "/spec/nodeName"), node);
    let again: Result<serde_json::Value, _> = pods.create_subresource("binding", "box", &params, &binding).await;
    let kube::Error::Api(status) = again.unwrap_err() else { panic!() };
    assert_eq!(status.code, 409, "a pod is bound once: {status:?}");
    pods.evict("box", &EvictParams::default()).await.unwrap();
    eventually("it to be gone", SOON, || ns.json("pod box").map_or(Ok(()), |pod| Err(pod["status"].to_string())));
}

#[tokio::test]
async fn events_are_seen_through_both_of_their_groups() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("events");
    ns.run_pod("box", "busybox:latest", "exec sleep 3600");
    ns.shows("events --for pod/box", "Started");
    ns.shows("get events --field-selector involvedObject.name=box,reason=Scheduled", "Successfully assigned");
    let events: Api<k8s_openapi::api::events::v1::Event> = Api::namespaced(client(&cluster).await, &ns.name);
    let started = events.list(&ListParams::default()).await.unwrap();
    let started = started.items.into_iter().find(|event| event.reason.as_deref() == Some("Started")).unwrap();
    assert_eq!(started.regarding.unwrap().name.as_deref(), Some("box"));
    assert_eq!(started.type_.as_deref(), Some("Normal"));
}

#[tokio::test]
async fn any_kind_can_be_made_read_and_removed() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("kinds");
    let manifests = [
        json!({"apiVersion": "v1", "kind": "Secret", "stringData": {"a": "b"}}),
        json!({"apiVersion": "v1", "kind": "ServiceAccount"}),
        json!({"apiVersion": "apps/v1", "kind": "ControllerRevision", "revision": 1, "data": {"a": "b"}}),
        json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "spec": {"holderIdentity": "me"}}),
        json!({"apiVersion": "v1", "kind": "Endpoints", "subsets": [{"addresses": [{"ip": "192.0.2.1"}], "ports": [{"port": 80}]}]}),
        json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4", "endpoints": []}),
    ];
    for mut manifest in manifests {
        manifest["metadata"] = json!({"name": "mine"});
        let kind = manifest["kind"].as_str().unwrap().to_lowercase();
        ns.apply(&manifest.to_string());
        let what = format!("{kind} mine");
        assert_eq!(ns.field(&what, "/apiVersion"), manifest["apiVersion"].as_str().unwrap(), "{kind}");
        ns.ok(&format!("label {what} tier=web"));
        assert_eq!(ns.field(&what, "/metadata/labels/tier"), "web", "{kind}");
        ns.ok(&format!("delete {what}"));
        assert!(ns.json(&what).is_none(), "{kind}");
    }
}

#[test]
fn a_nodes_certificate_opens_no_more_than_a_kubelet_needs() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("identity");
    ns.ok("create secret generic keys --from-literal=password=hunter2");
    let node = cluster.workers().remove(0).name;
    let kubelet = cluster.kubectl_as(&format!("nodes/{node}/kubelet")).in_namespace(&ns.name);
    let user = format!(r#"User "system:node:{node}" cannot"#);
    for forbidden in [
        "delete node master1",
        "create deployment web --image=nginx",
        "delete secret keys",
        "get secret keys",
        "get secrets",
        "get nodes",
        "label node master1 a=b",
    ] {
        let said = kubelet.refused(forbidden);
        assert!(said.contains("Forbidden") || said.contains("forbidden"), "{forbidden}: {said}");
        assert!(said.contains(&user) || said.contains("is not allowed"), "{forbidden}: {said}");
    }
    assert!(kubelet.ok(&format!("get node {node}")).contains(&node));
    assert_eq!(kubelet.attempt("auth can-i create deployments").stdout.trim(), "no");
}

#[test]
fn a_proxys_certificate_opens_no_more_than_services_need() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("proxy-identity");
    ns.ok("create secret generic keys --from-literal=password=hunter2");
    let node = cluster.workers().remove(0).name;
    let proxy = cluster.kubectl_as(&format!("nodes/{node}/proxy")).in_namespace(&ns.name);
    let user = format!(r#"User "system:kube-proxy:{node}" cannot"#);
    for forbidden in ["get secret keys", "get pods", "get namespaces", "label node master1 a=b", "delete node master1"]
    {
        let said = proxy.refused(forbidden);
        assert!(said.contains(&user), "{forbidden}: {said}");
    }
    assert!(proxy.ok("get services --all-namespaces").contains("kubernetes"));
    assert!(proxy.ok("get nodes").contains(&node));
}
