//! Kinds whose webhook nobody can reach: what is done without it, and what is refused.

use super::*;

fn definition() -> Value {
    let version = |name: &str, storage: bool| {
        let spec = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        json!({"name": name, "served": true, "storage": storage,
            "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}}})
    };
    json!({"metadata": {"name": "tabs.example.com"}, "spec": {
        "group": "example.com", "scope": "Namespaced", "names": {"plural": "tabs", "kind": "Tab"},
        "versions": [version("v1", true), version("v2", false)],
        "conversion": {"strategy": "Webhook", "webhook": {"conversionReviewVersions": ["v1"],
            "clientConfig": {"service": {"namespace": "n", "name": "none"}}}},
    }})
}

#[tokio::test]
async fn who_looks_at_metadata_alone_needs_no_webhook() {
    crate::webhook::testing::install();
    let c = Cluster::new().await;
    c.create("customresourcedefinitions", "", definition()).await.unwrap();
    let mut kinds = c.resources.registry().changes();
    while c.resources.registry().find("example.com", "v2", "tabs").is_none() {
        timeout(DEADLINE, kinds.changed()).await.expect("it is served").unwrap();
    }
    let made = json!({"apiVersion": "example.com/v1", "kind": "Tab", "metadata": {"name": "a"}, "spec": {"x": 1}});
    c.create("tabs", "n/", made).await.unwrap();
    let why = r#"conversion webhook for example.com/v1, Kind=Tab failed: Post "https://none.n.svc:443/?timeout=30s": service "none" not found"#;

    let (may_get, may_list) = (Authorized::own(target("newtabs", "n/a")), Authorized::own(target("newtabs", "n/")));
    assert_eq!(c.resources.get_item(&may_get).await.unwrap_err().message(), why);
    assert_eq!(c.resources.get_stored_item(&may_get).await.unwrap().name(), "a");
    let list = |metadata_only| ListOptions { metadata_only, ..ListOptions::default() };
    assert_eq!(
        c.resources.list_items(&may_list, list(false)).await.map(|rows| rows.items.len()).unwrap_err().message(),
        why
    );
    assert_eq!(c.resources.list_items(&may_list, list(true)).await.unwrap().items.len(), 1);
    let from = WatchFrom::State { at: ReadAt::Newest, initial_events_end: false };
    for (metadata_only, expected) in [(false, Err(why.to_owned())), (true, Ok(1))] {
        let options = WatchOptions { from, metadata_only, ..WatchOptions::default() };
        let mut watch = c.resources.watch(&Authorized::own(target("newtabs", "n/")), options).await.unwrap();
        let told = timeout(DEADLINE, watch.next()).await.unwrap().unwrap();
        assert_eq!(told.map(|events| events.len()).map_err(|err| err.message().to_owned()), expected);
    }
}
