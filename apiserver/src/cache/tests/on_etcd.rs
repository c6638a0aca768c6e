//! The start and the feed over whatever stands in a real etcd.

use super::*;
use crate::storage::contract::{etcd, put_raw};

fn configmap(name: &str, filler: usize) -> Write {
    let value = format!(r#"{{"metadata":{{"name":"{name}"}},"data":{{"x":"{}"}}}}"#, "x".repeat(filler));
    Write::Create { key: format!("{ROOT}configmaps/n/{name}"), value: value.into(), ttl_secs: None }
}

#[tokio::test]
async fn a_start_reads_any_number_of_large_objects() {
    let store = etcd().await;
    // The small ones first: they invite a large page.
    for i in 0..40 {
        store.commit(vec![configmap(&format!("a{i:03}"), 10)]).await.unwrap();
    }
    for i in 0..80 {
        store.commit(vec![configmap(&format!("b{i:03}"), 1 << 20)]).await.unwrap();
    }
    // So the start reads what is there, and not how it came.
    store.compact(store.current_revision().await.unwrap()).await.unwrap();
    let cache = Cache::start(store, &Registry::default()).await.unwrap();
    assert_eq!(cache.kind("configmaps").unwrap().snapshot(0).items.len(), 120);
}

/// What others may have put into the same etcd.
async fn litter(n: u8) {
    let unreadable: [&[u8]; 2] = [b"/registry/configmaps/n/\xff", b"\xff\xfe"];
    for key in unreadable {
        put_raw(&[key, &[n]].concat(), b"{}").await;
    }
    for key in ["/elsewhere/x", "/registry", "/registry/nothing/x", "zzz"] {
        put_raw(format!("{key}{n}").as_bytes(), b"{}").await;
    }
    for (name, value) in [("text", "nonsense"), ("list", "[]"), ("bare", "{}"), ("empty", "")] {
        put_raw(format!("/registry/configmaps/n/{name}{n}").as_bytes(), value.as_bytes()).await;
    }
    put_raw(format!("/registry/services/specs/n/{n}").as_bytes(), br#"{"metadata":{},"spec":7}"#).await;
    put_raw(format!("/registry/ipaddresses/{n}").as_bytes(), b"k8s\0binary").await;
}

#[tokio::test]
async fn what_is_nothing_of_ours_in_etcd_stops_neither_start_nor_feed() {
    let store = etcd().await;
    litter(1).await;
    store.commit(vec![configmap("before", 10)]).await.unwrap();
    // So the start reads what is there, and not how it came.
    store.compact(store.current_revision().await.unwrap()).await.unwrap();
    let settings = crate::resources::testing::settings();
    let resources = crate::resources::Resources::start(store.clone(), Registry::default(), settings).await.unwrap();
    let at_start = resources.unreadable().get();
    assert_eq!(at_start, 1 + 4 + 1, "keys and values that were left out");
    litter(2).await;
    timeout(DEADLINE, resources.catch_up()).await.unwrap().expect("reads go on behind such keys");
    store.commit(vec![configmap("after", 10)]).await.unwrap();
    timeout(DEADLINE, resources.catch_up()).await.unwrap().unwrap();
    assert_eq!(resources.unreadable().get() - at_start, 2 + 4 + 1);
    let target = crate::request::Target {
        version: "v1".into(),
        resource: "configmaps".into(),
        namespace: "n".into(),
        ..Default::default()
    };
    let page = resources
        .list(&crate::resources::Authorized::own(target), crate::resources::ListOptions::default())
        .await
        .unwrap();
    assert_eq!(page.items.len(), 2);
}
