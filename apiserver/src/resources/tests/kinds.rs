//! Kinds come and go while the server runs.

use k8s_openapi::api::coordination::v1::Lease;

use super::*;
use crate::cache::ROOT;
use crate::registry::ApiResource;
use crate::storage::{Outcome, Write};

async fn store_lease(storage: &dyn Storage, name: &str) {
    let key = format!("{ROOT}leases/n/{name}");
    let value =
        json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name, "namespace": "n"}});
    let write = Write::Create { key, value: value.to_string().into(), ttl_secs: None };
    assert!(matches!(storage.commit(vec![write]).await.unwrap(), Outcome::Committed { .. }));
}

#[tokio::test]
async fn a_kind_that_goes_ends_its_watches_and_one_that_comes_has_all_that_is_stored() {
    let c = Cluster::new().await;
    let lease = ApiResource::of::<Lease>();
    let before = c.create("leases", "n/", json!({"metadata": {"name": "before"}})).await.unwrap();
    let mut watch =
        c.resources.watch(&allowed(&c.admin, &target("leases", "n/")), WatchOptions::default()).await.unwrap();

    c.resources.withdraw(&lease).await.unwrap();
    let ended = timeout(DEADLINE, watch.next()).await.unwrap().unwrap();
    assert!(ended.is_err(), "who watches is told to look again: {ended:?}");
    assert!(c.get("leases", "n/before").await.unwrap_err().is_no_such_path());
    let refused = c.create("leases", "n/", json!({"metadata": {"name": "meanwhile"}})).await.unwrap_err();
    assert!(refused.is_no_such_path());

    // Another apiserver serves the kind, and goes on writing while this one begins to.
    let storage = c.storage.clone();
    let writer = tokio::spawn(async move {
        for i in 0..200 {
            store_lease(&*storage, &format!("other-{i:03}")).await;
            tokio::task::yield_now().await;
        }
    });
    tokio::task::yield_now().await;
    c.resources.serve(ApiResource::of::<Lease>()).await.unwrap();
    let from = WatchFrom::State { at: ReadAt::Newest, initial_events_end: false };
    let options = WatchOptions { from, ..WatchOptions::default() };
    let mut watch = c.resources.watch(&allowed(&c.admin, &target("leases", "n/")), options).await.unwrap();
    writer.await.unwrap();
    let mut names = Vec::new();
    while names.len() < 201 {
        let events = timeout(DEADLINE, watch.next()).await.unwrap().unwrap().unwrap();
        names.extend(events.iter().map(|event| event.name().to_owned()));
    }
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 201, "each is told of once");
    assert_eq!(c.get("leases", "n/before").await.unwrap(), before);
    c.create("leases", "n/", json!({"metadata": {"name": "after"}})).await.unwrap();
    c.delete("leases", "n/other-000", json!({})).await.unwrap();
}
