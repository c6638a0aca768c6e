//! Kinds whose webhook nobody can reach: what is done without it, and what is refused.

use super::*;
use crate::conversion::Convert;
use crate::registry::ApiResource;

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

impl Cluster {
    /// Tabs in their two versions, as soon as they are served.
    async fn tabs(&self, definition: Value) -> [Arc<ApiResource>; 2] {
        self.create("customresourcedefinitions", "", definition).await.unwrap();
        let mut kinds = self.resources.registry().changes();
        loop {
            let found = ["v1", "v2"].map(|version| self.resources.registry().find("example.com", version, "tabs"));
            if let [Some(first), Some(second)] = found {
                return [first, second];
            }
            timeout(DEADLINE, kinds.changed()).await.expect("it is served").unwrap();
        }
    }
    async fn served(&self, stored: Vec<Bytes>, resource: &ApiResource) -> Result<Vec<Value>, String> {
        let convert: &dyn Convert = &self.resources;
        let served = convert.served(stored, resource).await.map_err(|err| err.message().to_owned())?;
        Ok(served.iter().map(|json| serde_json::from_slice(json).unwrap()).collect())
    }
}

fn stored(version: &str, name: &str) -> Bytes {
    json!({"apiVersion": format!("example.com/{version}"), "kind": "Tab", "metadata": {"name": name}})
        .to_string()
        .into()
}

#[tokio::test]
async fn what_is_stored_in_any_version_is_served_in_one_and_stays_in_its_order() {
    let c = Cluster::new().await;
    let in_both = c.tabs(custom::definition()).await;
    let all: Vec<Bytes> = (0..200).map(|n| stored(["v1", "v2"][n % 2], &n.to_string())).collect();
    for resource in in_both {
        let served = c.served(all.clone(), &resource).await.unwrap();
        let names: Vec<String> =
            served.iter().map(|object| object["metadata"]["name"].as_str().unwrap().into()).collect();
        assert_eq!(names, (0..200).map(|n| n.to_string()).collect::<Vec<_>>());
        assert!(served.iter().all(|object| object["apiVersion"] == resource.api_version()));
    }
    let pods = c.resources.registry().find("", "v1", "pods").unwrap();
    assert_eq!(c.served(vec![Bytes::from_static(b"{}")], &pods).await, Ok(vec![json!({})]));
}

#[tokio::test]
async fn who_looks_at_metadata_alone_needs_no_webhook() {
    crate::webhook::testing::install();
    let c = Cluster::new().await;
    let [first, second] = c.tabs(definition()).await;
    let made = json!({"apiVersion": "example.com/v1", "kind": "Tab", "metadata": {"name": "a"}, "spec": {"x": 1}});
    c.create("tabs", "n/", made).await.unwrap();
    let why = r#"conversion webhook for example.com/v1, Kind=Tab failed: Post "https://none.n.svc:443/?timeout=30s": service "none" not found"#;

    assert_eq!(c.served(vec![stored("v1", "a")], &first).await.map(|served| served.len()), Ok(1));
    assert_eq!(c.served(vec![stored("v2", "a"), stored("v1", "b")], &second).await.unwrap_err(), why);
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
