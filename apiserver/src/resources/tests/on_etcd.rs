//! The same paths on a real etcd.

use super::*;

#[tokio::test]
async fn the_same_paths_hold_on_etcd() {
    let storage = crate::storage::contract::etcd().await;
    let c = Cluster::on(storage).await;
    c.create("namespaces", "", json!({"metadata": {"name": "n"}})).await.unwrap();
    c.create("serviceaccounts", "n/", json!({"metadata": {"name": "default"}})).await.unwrap();
    let made = c.create("pods", "n/", pod("web")).await.unwrap();
    let from = WatchFrom::After(version(&made));
    let mut w = c.watch("pods", "n/", WatchOptions { from, ..Default::default() }).await.unwrap();
    c.merge("pods", "n/web", json!({"metadata": {"labels": {"a": "1"}}})).await.unwrap();
    c.create("pods/binding", "n/web", json!({"metadata": {"name": "web"}, "target": {"name": "n1"}})).await.unwrap();
    assert_eq!(c.get("pods", "n/web").await.unwrap()["spec"]["nodeName"], "n1");
    c.delete("pods", "n/web", json!({"gracePeriodSeconds": 0})).await.unwrap();
    assert_eq!(w.take(3).await, ["MODIFIED web 1", "MODIFIED web 1", "DELETED web 1"]);
    let about = json!({"kind": "Pod", "name": "web", "namespace": "n"});
    c.create("events", "n/", json!({"metadata": {"name": "e"}, "involvedObject": about})).await.unwrap();
    assert_eq!(c.names("events", "n/", ListOptions::default()).await.unwrap().0, ["e"]);
    let page = ListOptions { limit: 1, ..ListOptions::default() };
    let (_, first) = c.names("namespaces", "", page.clone()).await.unwrap();
    let other = Cluster::on(c.storage.clone()).await;
    c.create("namespaces", "", json!({"metadata": {"name": "zz"}})).await.unwrap();
    let next = ListOptions { continue_token: first.continue_token, limit: 0, ..page };
    let (names, rest) = other.names("namespaces", "", next).await.unwrap();
    assert_eq!(rest.revision, first.revision, "another server goes on with the page");
    assert!(!names.contains(&"zz".to_owned()));
}
