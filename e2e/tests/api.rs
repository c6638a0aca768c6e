//! The API as a program sees it, through kube-rs: watches, pages, conflicts, deletes, patches.
#![allow(clippy::unwrap_used, reason = "a story that cannot go on fails")]

use std::time::Duration;

use corten_e2e::Cluster;
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Config};
use rand::RngExt;

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
