//! The read and write paths, whole, on the store in memory: what a caller does and what he gets.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use corten_api::selector::{FieldSelector, Selector};
use corten_api::{ApiError, Reason};
use futures::StreamExt;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::DeleteOptions;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::*;
use crate::patch;
use crate::registry::Registry;
use crate::request::{Target, User};
use crate::storage::Storage;
use crate::storage::memory::Memory;

const DEADLINE: Duration = Duration::from_secs(10);

pub(super) struct Cluster {
    pub(super) resources: Resources,
    pub(super) storage: Arc<dyn Storage>,
    admin: User,
}

/// "pods", "default/web" and so on, as a target.
pub(super) fn target(plural: &str, at: &str) -> Target {
    let (plural, subresource) = plural.split_once('/').unwrap_or((plural, ""));
    let (group, version) = match plural {
        "deployments" | "replicasets" => ("apps", "v1"),
        "leases" => ("coordination.k8s.io", "v1"),
        "ipaddresses" => ("networking.k8s.io", "v1"),
        "newevents" => ("events.k8s.io", "v1"),
        "endpointslices" => ("discovery.k8s.io", "v1"),
        _ => ("", "v1"),
    };
    let (namespace, name) = at.split_once('/').unwrap_or(("", at));
    Target {
        group: group.into(),
        version: version.into(),
        resource: if plural == "newevents" { "events" } else { plural }.into(),
        subresource: subresource.into(),
        namespace: namespace.into(),
        name: name.into(),
    }
}

pub(super) fn settings() -> Settings {
    Settings { service_cidr: "10.96.0.0/24".parse().unwrap(), node_ports: 31000..=31009, advertise: None }
}

impl Cluster {
    pub(super) async fn on(storage: Arc<dyn Storage>) -> Self {
        let resources = Resources::start(storage.clone(), Registry::default(), settings()).await.unwrap();
        let admin = User { name: "admin".into(), groups: vec!["system:masters".into()], ..User::default() };
        Self { resources, storage, admin }
    }
    pub(super) async fn new() -> Self {
        let cluster = Self::on(Arc::new(Memory::default())).await;
        cluster.create("namespaces", "", json!({"metadata": {"name": "n"}})).await.unwrap();
        let account = json!({"metadata": {"name": "default"}});
        cluster.create("serviceaccounts", "n/", account).await.unwrap();
        cluster
    }
    pub(super) async fn create(&self, plural: &str, at: &str, object: Value) -> Result<Value, ApiError> {
        let json = Bytes::from(object.to_string());
        let written = self.resources.create(&self.admin, &target(plural, at), json, WriteOptions::default()).await?;
        Ok(serde_json::from_slice(&written.object).unwrap())
    }
    pub(super) async fn update(&self, plural: &str, at: &str, object: &Value) -> Result<Value, ApiError> {
        let json = Bytes::from(object.to_string());
        let written = self.resources.update(&self.admin, &target(plural, at), json, WriteOptions::default()).await?;
        Ok(serde_json::from_slice(&written.object).unwrap())
    }
    pub(super) async fn merge(&self, plural: &str, at: &str, body: Value) -> Result<Value, ApiError> {
        let (kind, body) = (patch::Kind::Merge, Bytes::from(body.to_string()));
        let options = WriteOptions::default();
        let written = self.resources.patch(&self.admin, &target(plural, at), kind, body, options).await?;
        Ok(serde_json::from_slice(&written.object).unwrap())
    }
    pub(super) async fn delete(&self, plural: &str, at: &str, how: Value) -> Result<Deleted, ApiError> {
        let how: DeleteOptions = serde_json::from_value(how).unwrap();
        self.resources.delete(&self.admin, &target(plural, at), how, WriteOptions::default()).await
    }
    pub(super) async fn get(&self, plural: &str, at: &str) -> Result<Value, ApiError> {
        let json = self.resources.get(&target(plural, at), ReadAt::Newest).await?;
        Ok(serde_json::from_slice(&json).unwrap())
    }
    async fn names(&self, plural: &str, at: &str, options: ListOptions) -> Result<(Vec<String>, Page), ApiError> {
        let page = self.resources.list(&target(plural, at), options).await?;
        let name = |json: &Bytes| {
            serde_json::from_slice::<Value>(json).unwrap()["metadata"]["name"].as_str().unwrap().to_owned()
        };
        Ok((page.items.iter().map(name).collect(), page))
    }
    async fn watch(&self, plural: &str, at: &str, options: WatchOptions) -> Result<Watched, ApiError> {
        Ok(Watched(self.resources.watch(&target(plural, at), options).await?, Vec::new()))
    }
    async fn config_map(&self, name: &str, labels: Value) -> Value {
        self.create("configmaps", "n/", json!({"metadata": {"name": name, "labels": labels}})).await.unwrap()
    }
}

struct Watched(WatchStream, Vec<Event>);

impl Watched {
    /// The next `n` events, as "ADDED name key=label".
    async fn take(&mut self, n: usize) -> Vec<String> {
        while self.1.len() < n {
            let batch = timeout(DEADLINE, self.0.next()).await.expect("an event comes").expect("no end");
            self.1.extend(batch.unwrap());
        }
        self.1.drain(..n).map(|e| shown(&e)).collect()
    }
}

fn shown(event: &Event) -> String {
    let object: Value = serde_json::from_slice(&event.object()).unwrap();
    let frame: Value = serde_json::from_slice(&event.frame()).unwrap();
    assert_eq!((frame["type"].as_str(), &frame["object"]), (Some(event.kind.as_str()), &object));
    assert_eq!(object["metadata"]["resourceVersion"].as_str(), Some(&*event.revision().to_string()));
    let label = object["metadata"]["labels"]["a"].as_str().unwrap_or("-").to_owned();
    format!("{} {} {label}", event.kind.as_str(), event.name())
}

pub(super) fn pod(name: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i"}]}})
}
fn reason(result: Result<impl Sized, ApiError>) -> (Reason, String) {
    let err = result.err().expect("it is refused");
    (err.reason(), err.message().to_owned())
}
fn version(object: &Value) -> i64 {
    object["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_new_object_gets_what_the_server_makes() {
    let c = Cluster::new().await;
    let made = c.create("pods", "n/", pod("web")).await.unwrap();
    let meta = &made["metadata"];
    assert!(meta["uid"].is_string() && meta["creationTimestamp"].is_string(), "{meta}");
    assert_eq!((meta["namespace"].as_str(), made["kind"].as_str()), (Some("n"), Some("Pod")));
    assert_eq!(made["status"]["phase"], "Pending");
    assert_eq!(c.get("pods", "n/web").await.unwrap(), made);
    assert_eq!(reason(c.create("pods", "n/", pod("web")).await).1, r#"pods "web" already exists"#);
    let stored = c.storage.get("/registry/pods/n/web").await.unwrap().unwrap();
    assert!(!String::from_utf8_lossy(&stored.value).contains("resourceVersion"), "the store's revision is the version");
}

#[tokio::test]
async fn names_are_generated_and_bad_bodies_refused() {
    let c = Cluster::new().await;
    let made = c.create("configmaps", "n/", json!({"metadata": {"generateName": "web-"}})).await.unwrap();
    assert_eq!(made["metadata"]["name"].as_str().map(str::len), Some(9));
    let cases = [
        ("n/", json!({"metadata": {}}), Reason::Invalid, "name or generateName is required"),
        ("n/", json!({"metadata": {"name": "../x"}}), Reason::Invalid, "metadata.name: Invalid value"),
        (
            "n/",
            json!({"metadata": {"name": "a", "namespace": "m"}}),
            Reason::BadRequest,
            "does not match the namespace",
        ),
        ("n/", json!({"metadata": {"name": "a", "resourceVersion": "5"}}), Reason::BadRequest, "should not be set"),
        ("n/", json!({"metadata": {"name": "a"}, "data": 5}), Reason::BadRequest, "cannot be handled as a ConfigMap"),
        ("gone/", json!({"metadata": {"name": "a"}}), Reason::NotFound, r#"namespaces "gone" not found"#),
    ];
    for (at, body, expected, words) in cases {
        let (got, message) = reason(c.create("configmaps", at, body).await);
        assert!(got == expected && message.contains(words), "{words}: {got:?} {message}");
    }
    let strict = WriteOptions { field_validation: FieldValidation::Strict, ..WriteOptions::default() };
    let body = Bytes::from(json!({"metadata": {"name": "a"}, "date": {}}).to_string());
    let refused = c.resources.create(&c.admin, &target("configmaps", "n/"), body.clone(), strict).await;
    assert!(reason(refused).1.contains(r#"strict decoding error: unknown field "date""#));
    let warned =
        c.resources.create(&c.admin, &target("configmaps", "n/"), body, WriteOptions::default()).await.unwrap();
    assert_eq!(warned.warnings, [r#"unknown field "date""#]);
}

#[tokio::test]
async fn updates_compare_versions_and_idle_ones_write_nothing() {
    let c = Cluster::new().await;
    let first = c.config_map("a", json!({})).await;
    let mut edit = first.clone();
    edit["data"] = json!({"k": "v"});
    let second = c.update("configmaps", "n/a", &edit).await.unwrap();
    assert!(version(&second) > version(&first));
    assert_eq!(reason(c.update("configmaps", "n/a", &edit).await).0, Reason::Conflict);
    assert_eq!(c.update("configmaps", "n/a", &second).await.unwrap(), second, "nothing changed, nothing written");
    edit["metadata"]["resourceVersion"] = Value::Null;
    edit["data"] = json!({"k": "w"});
    assert_eq!(c.update("configmaps", "n/a", &edit).await.unwrap()["data"]["k"], "w", "unconditional");
    let patched = c.merge("configmaps", "n/a", json!({"data": {"l": "x"}})).await.unwrap();
    assert_eq!(patched["data"], json!({"k": "w", "l": "x"}));
    let stale = c.merge("configmaps", "n/a", json!({"metadata": {"resourceVersion": "1"}, "data": {"m": ""}})).await;
    assert_eq!(reason(stale).0, Reason::Conflict);
    assert_eq!(reason(c.merge("configmaps", "n/none", json!({})).await).0, Reason::NotFound);
    assert_eq!(reason(c.merge("configmaps", "n/a", json!({"metadata": {"uid": "other"}})).await).0, Reason::Conflict);
    assert_eq!(reason(c.merge("configmaps", "n/a", json!({"metadata": {"name": "b"}})).await).0, Reason::BadRequest);
    let lease = json!({"metadata": {"name": "l"}, "spec": {"holderIdentity": "me"}});
    let lease = c.update("leases", "n/l", &lease).await.unwrap();
    assert_eq!(lease["spec"]["holderIdentity"], "me", "a Lease may be made by an update");
}

#[tokio::test]
async fn many_writers_of_one_object_lose_nothing() {
    let c = Cluster::new().await;
    c.config_map("a", json!({})).await;
    let bodies: Vec<Value> = (0..20).map(|i| json!({"data": {format!("k{i}"): "v"}})).collect();
    let writes = bodies.into_iter().map(|body| c.merge("configmaps", "n/a", body));
    futures::future::try_join_all(writes).await.unwrap();
    assert_eq!(c.get("configmaps", "n/a").await.unwrap()["data"].as_object().unwrap().len(), 20);
}

#[tokio::test]
async fn status_and_spec_are_written_apart() {
    let c = Cluster::new().await;
    c.create("pods", "n/", pod("web")).await.unwrap();
    let body = json!({"status": {"phase": "Running"}, "metadata": {"labels": {"a": "b"}}});
    let plain = c.merge("pods", "n/web", body.clone()).await.unwrap();
    assert_eq!((&plain["status"]["phase"], &plain["metadata"]["labels"]["a"]), (&json!("Pending"), &json!("b")));
    let status = c.merge("pods/status", "n/web", body).await.unwrap();
    assert_eq!(status["status"]["phase"], "Running");
    assert_eq!(reason(c.merge("configmaps/status", "n/web", json!({})).await).0, Reason::NotFound);
}

#[tokio::test]
async fn scale_is_a_view_of_replicas() {
    let c = Cluster::new().await;
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let spec = json!({"replicas": 2, "selector": {"matchLabels": {"a": "b"}}, "template": template});
    let made = c.create("deployments", "n/", json!({"metadata": {"name": "d"}, "spec": spec})).await.unwrap();
    assert_eq!(made["metadata"]["generation"], 1);
    let mut scale = c.get("deployments/scale", "n/d").await.unwrap();
    assert_eq!((&scale["spec"]["replicas"], &scale["status"]["selector"]), (&json!(2), &json!("a=b")));
    scale["spec"]["replicas"] = json!(5);
    assert_eq!(c.update("deployments/scale", "n/d", &scale).await.unwrap()["spec"]["replicas"], 5);
    assert_eq!(reason(c.update("deployments/scale", "n/d", &scale).await).0, Reason::Conflict, "an old version");
    assert_eq!(reason(c.merge("deployments/scale", "n/d", json!({"spec": {"replicas": -1}})).await).0, Reason::Invalid);
    c.merge("deployments/scale", "n/d", json!({"spec": {"replicas": 4}})).await.unwrap();
    let now = c.get("deployments", "n/d").await.unwrap();
    assert_eq!((&now["spec"]["replicas"], &now["metadata"]["generation"]), (&json!(4), &json!(3)));
}

#[tokio::test]
async fn a_pod_is_bound_once_and_to_the_pod_that_was_meant() {
    let c = Cluster::new().await;
    let made = c.create("pods", "n/", pod("web")).await.unwrap();
    let binding =
        |uid: &str| json!({"metadata": {"name": "web", "uid": uid}, "target": {"kind": "Node", "name": "n1"}});
    assert_eq!(reason(c.create("pods/binding", "n/web", binding("other")).await).0, Reason::Conflict);
    let uid = made["metadata"]["uid"].as_str().unwrap();
    c.create("pods/binding", "n/web", binding(uid)).await.unwrap();
    let bound = c.get("pods", "n/web").await.unwrap();
    assert_eq!(bound["spec"]["nodeName"], "n1");
    assert_eq!(bound["status"]["conditions"][0]["type"], "PodScheduled");
    let again = reason(c.create("pods/binding", "n/web", binding(uid)).await);
    assert!(again.0 == Reason::Conflict && again.1.contains(r#"already assigned to node "n1""#), "{again:?}");
    c.create("pods/eviction", "n/web", json!({"metadata": {"name": "web"}})).await.unwrap();
    assert!(c.get("pods", "n/web").await.unwrap()["metadata"]["deletionTimestamp"].is_string());
}

#[tokio::test]
async fn deletion_waits_for_grace_and_finalizers() {
    let c = Cluster::new().await;
    c.create("pods", "n/", pod("loose")).await.unwrap();
    assert!(c.delete("pods", "n/loose", json!({})).await.unwrap().gone, "no kubelet has it");

    let mut held = pod("web");
    held["spec"]["nodeName"] = json!("n1");
    c.create("pods", "n/", held).await.unwrap();
    let first = c.delete("pods", "n/web", json!({})).await.unwrap();
    let marked: Value = serde_json::from_slice(&first.body).unwrap();
    assert_eq!((first.gone, &marked["metadata"]["deletionGracePeriodSeconds"]), (false, &json!(30)));
    for (asked, left) in
        [(json!({"gracePeriodSeconds": 300}), 30), (json!({"gracePeriodSeconds": 5}), 5), (json!({}), 5)]
    {
        let again = c.delete("pods", "n/web", asked).await.unwrap();
        let marked: Value = serde_json::from_slice(&again.object).unwrap();
        assert_eq!(marked["metadata"]["deletionGracePeriodSeconds"], left, "never longer");
    }
    let wrong = c.delete("pods", "n/web", json!({"preconditions": {"uid": "x"}, "gracePeriodSeconds": 0})).await;
    assert_eq!(reason(wrong).0, Reason::Conflict);
    assert!(c.delete("pods", "n/web", json!({"gracePeriodSeconds": 0})).await.unwrap().gone);
    assert_eq!(reason(c.delete("pods", "n/web", json!({})).await).0, Reason::NotFound);

    c.create("configmaps", "n/", json!({"metadata": {"name": "f", "finalizers": ["a.b/c"]}})).await.unwrap();
    assert!(!c.delete("configmaps", "n/f", json!({"propagationPolicy": "Foreground"})).await.unwrap().gone);
    let waiting = c.get("configmaps", "n/f").await.unwrap();
    assert_eq!(waiting["metadata"]["finalizers"], json!(["a.b/c", "foregroundDeletion"]));
    c.merge("configmaps", "n/f", json!({"metadata": {"finalizers": ["foregroundDeletion"]}})).await.unwrap();
    c.merge("configmaps", "n/f", json!({"metadata": {"finalizers": []}})).await.unwrap();
    assert_eq!(reason(c.get("configmaps", "n/f").await).0, Reason::NotFound, "the last finalizer takes it along");
    let both = c.delete("configmaps", "n/f", json!({"propagationPolicy": "Orphan", "orphanDependents": true})).await;
    assert_eq!(reason(both).0, Reason::Invalid);
}

#[tokio::test]
async fn a_namespace_goes_when_it_is_finalized() {
    let c = Cluster::new().await;
    assert!(!c.delete("namespaces", "n", json!({})).await.unwrap().gone);
    let mut ending = c.get("namespaces", "n").await.unwrap();
    assert_eq!(ending["status"]["phase"], "Terminating");
    let refused = reason(c.create("configmaps", "n/", json!({"metadata": {"name": "late"}})).await);
    assert!(refused.0 == Reason::Forbidden && refused.1.contains("because it is being terminated"), "{refused:?}");
    ending["spec"]["finalizers"] = json!([]);
    c.update("namespaces/finalize", "n", &ending).await.unwrap();
    assert_eq!(reason(c.get("namespaces", "n").await).0, Reason::NotFound);
}

#[tokio::test]
async fn dry_runs_write_nothing() {
    let c = Cluster::new().await;
    let dry = || WriteOptions { dry_run: true, ..WriteOptions::default() };
    let body = || Bytes::from(json!({"metadata": {"name": "a"}, "data": {"k": "v"}}).to_string());
    let t = target("configmaps", "n/");
    c.resources.create(&c.admin, &t, body(), dry()).await.unwrap();
    assert_eq!(reason(c.get("configmaps", "n/a").await).0, Reason::NotFound);
    c.config_map("a", json!({})).await;
    c.get("configmaps", "n/a").await.unwrap();
    assert_eq!(reason(c.resources.create(&c.admin, &t, body(), dry()).await).0, Reason::AlreadyExists);
    let t = target("configmaps", "n/a");
    let would = c.resources.update(&c.admin, &t, body(), dry()).await.unwrap();
    assert!(String::from_utf8_lossy(&would.object).contains(r#""k":"v""#));
    c.resources.delete(&c.admin, &t, DeleteOptions::default(), dry()).await.unwrap();
    assert_eq!(c.get("configmaps", "n/a").await.unwrap()["data"], Value::Null);
}

#[tokio::test]
async fn lists_select_and_page_through_one_moment() {
    let c = Cluster::new().await;
    for (name, label) in [("a", "1"), ("b", "2"), ("c", "1"), ("d", "1")] {
        c.config_map(name, json!({"a": label})).await;
    }
    let all = ListOptions::default;
    assert_eq!(c.names("configmaps", "n/", all()).await.unwrap().0, ["a", "b", "c", "d"]);
    assert_eq!(c.names("configmaps", "m/", all()).await.unwrap().0, Vec::<String>::new());
    let labels = Selector::parse("a=1").unwrap();
    let fields = FieldSelector::parse("metadata.name!=c").unwrap();
    let selected = ListOptions { labels, fields, ..all() };
    assert_eq!(c.names("configmaps", "", selected).await.unwrap().0, ["a", "d"]);
    let odd = ListOptions { fields: FieldSelector::parse("spec.x=1").unwrap(), ..all() };
    assert_eq!(reason(c.names("configmaps", "", odd).await).1, "field label not supported: spec.x");

    let (names, first) = c.names("configmaps", "n/", ListOptions { limit: 2, ..all() }).await.unwrap();
    assert_eq!((names, first.remaining), (vec!["a".to_owned(), "b".into()], Some(2)));
    c.delete("configmaps", "n/c", json!({})).await.unwrap();
    c.config_map("e", json!({})).await;
    let next = ListOptions { limit: 2, continue_token: first.continue_token, ..all() };
    let (names, second) = c.names("configmaps", "n/", next).await.unwrap();
    assert_eq!(names, ["c", "d"], "the page goes on in the list that began");
    assert_eq!((second.revision, second.continue_token), (first.revision, None));

    let exact = ListOptions { at: ReadAt::Exact(first.revision), ..all() };
    assert_eq!(c.names("configmaps", "n/", exact).await.unwrap().0, ["a", "b", "c", "d"]);
    let future = ListOptions { at: ReadAt::NotOlderThan(1_000_000), ..all() };
    assert_eq!(reason(c.names("configmaps", "n/", future).await).0, Reason::Timeout);
}

#[tokio::test]
async fn a_watch_tells_what_begins_and_ceases_to_match() {
    let c = Cluster::new().await;
    c.config_map("a", json!({"a": "1"})).await;
    let before = c.config_map("b", json!({"a": "2"})).await;
    let labels = || Selector::parse("a=1").unwrap();
    let from = WatchFrom::State { at: ReadAt::Newest, initial_events_end: true };
    let mut w =
        c.watch("configmaps", "n/", WatchOptions { labels: labels(), from, ..Default::default() }).await.unwrap();
    assert_eq!(w.take(2).await, ["ADDED a 1", "BOOKMARK  -"]);
    c.merge("configmaps", "n/b", json!({"metadata": {"labels": {"a": "1"}}})).await.unwrap();
    c.merge("configmaps", "n/b", json!({"data": {"k": "v"}})).await.unwrap();
    c.merge("configmaps", "n/b", json!({"metadata": {"labels": {"a": "3"}}})).await.unwrap();
    c.delete("configmaps", "n/b", json!({})).await.unwrap();
    c.delete("configmaps", "n/a", json!({})).await.unwrap();
    assert_eq!(w.take(4).await, ["ADDED b 1", "MODIFIED b 1", "DELETED b 1", "DELETED a 1"]);

    let from = WatchFrom::After(version(&before));
    let mut resumed = c.watch("configmaps", "", WatchOptions { from, ..Default::default() }).await.unwrap();
    assert_eq!(resumed.take(3).await, ["MODIFIED b 1", "MODIFIED b 1", "MODIFIED b 3"]);
    assert_eq!(resumed.take(2).await, ["DELETED b 3", "DELETED a 1"]);
}

#[tokio::test]
async fn one_event_is_encoded_once_for_all_watchers() {
    let c = Cluster::new().await;
    let options = || WatchOptions { from: WatchFrom::Now, ..Default::default() };
    let mut a = c.resources.watch(&target("configmaps", "n/"), options()).await.unwrap();
    let mut b = c.resources.watch(&target("configmaps", ""), options()).await.unwrap();
    c.config_map("a", json!({})).await;
    let (a, b) = (a.next().await.unwrap().unwrap(), b.next().await.unwrap().unwrap());
    assert_eq!(a[0].frame().as_ptr(), b[0].frame().as_ptr());
}

#[tokio::test]
async fn a_restarted_server_lets_watchers_go_on() {
    let c = Cluster::new().await;
    let seen = version(&c.config_map("a", json!({})).await);
    c.config_map("b", json!({})).await;
    c.delete("configmaps", "n/a", json!({})).await.unwrap();
    let again = Cluster::on(c.storage.clone()).await;
    let from = WatchFrom::After(seen);
    let mut w = again.watch("configmaps", "n/", WatchOptions { from, ..Default::default() }).await.unwrap();
    assert_eq!(w.take(2).await, ["ADDED b -", "DELETED a -"]);

    let now = c.storage.current_revision().await.unwrap();
    c.storage.compact(now).await.unwrap();
    let later = Cluster::on(c.storage.clone()).await;
    let expired = reason(later.watch("configmaps", "n/", WatchOptions { from, ..Default::default() }).await);
    assert!(expired.0 == Reason::Expired && expired.1.starts_with("too old resource version: "), "{expired:?}");
}

#[tokio::test]
async fn draining_ends_watches_with_a_bookmark() {
    let c = Cluster::new().await;
    let options = WatchOptions { bookmarks: true, from: WatchFrom::Now, ..Default::default() };
    let mut w = c.watch("configmaps", "n/", options).await.unwrap();
    c.resources.drain();
    assert_eq!(w.take(1).await, ["BOOKMARK  -"]);
    assert!(timeout(DEADLINE, w.0.next()).await.unwrap().is_none());
}

#[tokio::test]
async fn collections_are_deleted_by_selector() {
    let c = Cluster::new().await;
    for (name, label) in [("a", "1"), ("b", "2"), ("c", "1")] {
        c.config_map(name, json!({"a": label})).await;
    }
    let which = ListOptions { labels: Selector::parse("a=1").unwrap(), ..ListOptions::default() };
    let (t, how) = (target("configmaps", "n/"), DeleteOptions::default());
    let gone = c.resources.delete_collection(&c.admin, &t, which, how, WriteOptions::default()).await.unwrap();
    assert_eq!(gone.items.len(), 2);
    assert_eq!(c.names("configmaps", "n/", ListOptions::default()).await.unwrap().0, ["b"]);
}

#[tokio::test]
async fn both_faces_of_an_event_show_the_same_object() {
    let c = Cluster::new().await;
    let about = json!({"kind": "Pod", "name": "web", "namespace": "n"});
    let event = json!({"metadata": {"name": "e"}, "involvedObject": about, "reason": "Started", "message": "it runs"});
    c.create("events", "n/", event).await.unwrap();
    let new = c.get("newevents", "n/e").await.unwrap();
    assert_eq!((&new["note"], &new["apiVersion"]), (&json!("it runs"), &json!("events.k8s.io/v1")));
    let fields = FieldSelector::parse("involvedObject.name=web").unwrap();
    let (names, _) = c.names("events", "n/", ListOptions { fields, ..ListOptions::default() }).await.unwrap();
    assert_eq!(names, ["e"]);
}

#[tokio::test]
async fn a_service_holds_its_address_and_ports_until_it_is_gone() {
    let c = Cluster::new().await;
    let service = |name: &str, spec: Value| json!({"metadata": {"name": name}, "spec": spec});
    let web = json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": 31005}]});
    let made = c.create("services", "n/", service("web", web.clone())).await.unwrap();
    let ip = made["spec"]["clusterIP"].as_str().unwrap().to_owned();
    let held = c.get("ipaddresses", &ip).await.unwrap();
    assert_eq!(
        held["spec"]["parentRef"],
        json!({"group": "", "resource": "services", "namespace": "n", "name": "web"})
    );
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
    again.create("services", "n/", json!({"metadata": {"name": "new"}, "spec": spec})).await.unwrap();
    let ip = made["spec"]["clusterIP"].as_str().unwrap();
    assert_eq!(reason(again.get("ipaddresses", ip).await).0, Reason::NotFound);
}

#[tokio::test]
async fn living_servers_are_the_endpoints_of_kubernetes() {
    let storage: Arc<dyn Storage> = Arc::new(Memory::default());
    let start = |ip: &str| {
        let advertise = Some(format!("{ip}:6443").parse().unwrap());
        Resources::start(storage.clone(), Registry::default(), Settings { advertise, ..settings() })
    };
    let (a, b) = (start("10.0.0.1").await.unwrap(), start("10.0.0.2").await.unwrap());
    let service: Value =
        serde_json::from_slice(&a.get(&target("services", "default/kubernetes"), ReadAt::Newest).await.unwrap())
            .unwrap();
    assert_eq!(service["spec"]["clusterIP"], "10.96.0.1");
    let addresses = |of: &'static str| {
        let (a, slice) = (a.clone(), target(of, "default/kubernetes"));
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
    c.create("pods/binding", "n/web", json!({"target": {"name": "n1"}})).await.unwrap();
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
