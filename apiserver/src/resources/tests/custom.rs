//! Kinds that users define, from the definition to the end of the last object.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

use super::*;
use crate::registry::custom::CustomKind;
use crate::request::Verb;
use crate::storage::Write;
use crate::storage::flaky::Flaky;

const DEFINITIONS: &str = "customresourcedefinitions";
const NAME: &str = "tabs.example.com";

fn schema(more: Value) -> Value {
    let mut spec = json!({
        "color": {"type": "string", "enum": ["red", "blue"]},
        "size": {"type": "integer", "default": 1},
        "ports": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["port"],
            "items": {"type": "object", "required": ["port"], "properties": {"port": {"type": "integer"}, "name": {"type": "string"}}}},
    });
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"openAPIV3Schema": {"type": "object", "properties": {
        "spec": {"type": "object", "properties": spec},
        "status": {"type": "object", "properties": {"seen": {"type": "integer"}}},
    }}})
}
pub(super) fn definition() -> Value {
    let subresources =
        json!({"status": {}, "scale": {"specReplicasPath": ".spec.size", "statusReplicasPath": ".status.seen"}});
    json!({"metadata": {"name": NAME}, "spec": {
        "group": "example.com", "scope": "Namespaced", "names": {"plural": "tabs", "kind": "Tab"},
        "versions": [
            {"name": "v1", "served": true, "storage": true, "schema": schema(json!({})), "subresources": subresources,
                "selectableFields": [{"jsonPath": ".spec.color"}, {"jsonPath": ".spec.size"}]},
            {"name": "v2", "served": true, "storage": false, "schema": schema(json!({"tone": {"type": "string", "default": "dark"}}))},
        ],
    }})
}

impl Cluster {
    /// The object, once it is as wanted.
    pub(super) async fn until(
        &self,
        plural: &str,
        at: &str,
        is: impl Fn(&Result<Value, ApiError>) -> bool,
    ) -> Result<Value, ApiError> {
        let mut changes = self.resources.inner.cache.changes();
        let mut kinds = self.resources.registry().changes();
        let mut seen = Vec::new();
        loop {
            let found = self.get(plural, at).await;
            if is(&found) {
                return found;
            }
            seen.push(format!("{found:?}"));
            let changed = async {
                tokio::select! {
                    changed = changes.changed() => changed.unwrap(),
                    changed = kinds.changed() => changed.unwrap(),
                }
            };
            timeout(DEADLINE, changed).await.unwrap_or_else(|_| panic!("{plural} {at}: {seen:#?}"));
        }
    }
    pub(in crate::resources) async fn define(&self, definition: Value) -> Value {
        let name = definition["metadata"]["name"].as_str().unwrap().to_owned();
        self.create(DEFINITIONS, "", definition).await.unwrap();
        self.until(DEFINITIONS, &name, |found| found.as_ref().is_ok_and(|crd| condition(crd, "Established") == "True"))
            .await
            .unwrap()
    }
}

fn condition<'c>(crd: &'c Value, kind: &str) -> &'c str {
    let all = crd["status"]["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    all.iter()
        .find(|condition| condition["type"] == kind)
        .and_then(|found| found["status"].as_str())
        .unwrap_or_default()
}

fn tab(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "example.com/v1", "kind": "Tab", "metadata": {"name": name}, "spec": spec})
}

#[tokio::test]
async fn a_defined_kind_is_read_and_written_as_any_other() {
    let c = Cluster::new().await;
    let crd = c.define(definition()).await;
    assert_eq!(crd["status"]["acceptedNames"]["listKind"], "TabList");
    assert_eq!(crd["status"]["storedVersions"], json!(["v1"]));

    let made = c.create("tabs", "n/", tab("a", json!({"color": "red", "odd": 1}))).await.unwrap();
    assert_eq!(made["spec"], json!({"color": "red", "size": 1}), "pruned and defaulted");
    assert_eq!((&made["metadata"]["generation"], made.get("status")), (&json!(1), None));
    let (why, told) = reason(c.create("tabs", "n/", tab("b", json!({"color": "green"}))).await);
    assert_eq!(why, Reason::Invalid);
    assert_eq!(
        told,
        r#"Tab.example.com "b" is invalid: spec.color: Unsupported value: "green": supported values: "red", "blue""#
    );

    let (why, told) = reason(c.update("tabs", "n/a", &tab("a", json!({"color": "blue"}))).await);
    assert!(why == Reason::Invalid && told.contains("metadata.resourceVersion"), "{told}");
    let mut other = made.clone();
    other["spec"]["color"] = "blue".into();
    let updated = c.update("tabs", "n/a", &other).await.unwrap();
    assert_eq!((&updated["metadata"]["generation"], &updated["spec"]["color"]), (&json!(2), &json!("blue")));
    let patched = c.merge("tabs", "n/a", json!({"spec": {"size": null}})).await.unwrap();
    assert_eq!(patched["spec"]["size"], 1, "the default is back");
    let strategic = (patch::Kind::Strategic, Bytes::from_static(b"{}"));
    let may = allowed(&c.admin, &target("tabs", "n/a"));
    let refused = c.resources.patch(&may, strategic.0, strategic.1, WriteOptions::default()).await.unwrap_err();
    assert_eq!(refused.code(), 415);

    let seen = c.merge("tabs/status", "n/a", json!({"spec": {"color": "red"}, "status": {"seen": 1}})).await.unwrap();
    assert_eq!((&seen["status"]["seen"], &seen["spec"]["color"]), (&json!(1), &json!("blue")));
    assert_eq!(seen["metadata"]["generation"], patched["metadata"]["generation"]);
    let scale = c.merge("tabs/scale", "n/a", json!({"spec": {"replicas": 4}})).await.unwrap();
    assert_eq!((&scale["kind"], &scale["status"]["replicas"]), (&json!("Scale"), &json!(1)));
    assert_eq!(c.get("tabs", "n/a").await.unwrap()["spec"]["size"], 4);

    let new = c.get("newtabs", "n/a").await.unwrap();
    assert_eq!(
        (&new["apiVersion"], &new["spec"]["tone"], &new["spec"]["size"]),
        (&json!("example.com/v2"), &Value::Null, &json!(4)),
        "who reads has the defaults of the version that is stored"
    );
    c.create("tabs", "n/", tab("b", json!({"color": "red"}))).await.unwrap();
    let fields = FieldSelector::parse("spec.color=red").unwrap();
    let (names, _) = c.names("tabs", "", ListOptions { fields, ..ListOptions::default() }).await.unwrap();
    assert_eq!(names, ["b"]);
    let fields = FieldSelector::parse("spec.size=4").unwrap();
    let (names, _) = c.names("tabs", "", ListOptions { fields, ..ListOptions::default() }).await.unwrap();
    assert_eq!(names, ["a"], "of numbers, too");
    c.delete("newtabs", "n/b", json!({})).await.unwrap();
    assert!(c.get("tabs", "n/b").await.unwrap_err().is(Reason::NotFound));
}

#[tokio::test]
async fn appliers_own_the_items_of_a_custom_list_one_by_one() {
    let c = Cluster::new().await;
    c.define(definition()).await;
    let apply = async |manager: &str, spec: Value| {
        let body = Bytes::from(tab("a", spec).to_string());
        let options = WriteOptions { field_manager: manager.into(), ..WriteOptions::default() };
        let may = allowed(&c.admin, &target("tabs", "n/a"));
        let written = c.resources.patch(&may, patch::Kind::Apply, body, options).await?;
        Ok::<Value, ApiError>(serde_json::from_slice(&written.object).unwrap())
    };
    let port = |port: i64, name: &str| json!({"ports": [{"port": port, "name": name}]});
    apply("one", port(80, "web")).await.unwrap();
    let both = apply("two", port(443, "tls")).await.unwrap();
    assert_eq!(both["spec"]["ports"].as_array().unwrap().len(), 2);
    assert_eq!(reason(apply("two", port(80, "other")).await).0, Reason::Conflict);
    let left = apply("two", json!({"color": "red"})).await.unwrap();
    assert_eq!(left["spec"]["ports"], json!([{"port": 80, "name": "web"}]));
    let told = reason(apply("two", json!({"unknown": 1})).await).1;
    assert!(told.contains(".spec.unknown: field not declared in schema"), "{told}");
    assert_eq!(apply("one", port(80, "web")).await.unwrap(), apply("one", port(80, "web")).await.unwrap());
}

#[tokio::test]
async fn a_definition_goes_when_its_last_object_is_gone() {
    let c = Cluster::new().await;
    c.define(definition()).await;
    let mut held = tab("held", json!({}));
    held["metadata"]["finalizers"] = json!(["example.com/mine"]);
    c.create("tabs", "n/", held).await.unwrap();
    c.create("tabs", "n/", tab("free", json!({}))).await.unwrap();
    c.delete(DEFINITIONS, NAME, json!({})).await.unwrap();
    c.until("tabs", "n/free", |found| found.is_err()).await.unwrap_err();
    let going = c.until("tabs", "n/held", |found| {
        found.as_ref().is_ok_and(|tab| !tab["metadata"]["deletionTimestamp"].is_null())
    });
    going.await.unwrap();
    let crd = c.get(DEFINITIONS, NAME).await.unwrap();
    assert_eq!(
        (condition(&crd, "Terminating"), &crd["metadata"]["finalizers"]),
        ("True", &json!(["customresourcecleanup.apiextensions.k8s.io"]))
    );
    let refused = c.create("tabs", "n/", tab("late", json!({}))).await.unwrap_err();
    assert_eq!(
        (refused.code(), refused.message()),
        (
            403,
            r#"tabs.example.com "late" is forbidden: create not allowed while custom resource definition is terminating"#
        )
    );
    c.merge("tabs", "n/held", json!({"metadata": {"finalizers": null}})).await.unwrap();
    c.until(DEFINITIONS, NAME, |found| found.is_err()).await.unwrap_err();
    c.until("tabs", "n/held", |found| found.as_ref().is_err_and(ApiError::is_no_such_path)).await.unwrap_err();
    c.define(definition()).await;
    let (names, _) = c.names("tabs", "", ListOptions::default()).await.unwrap();
    assert!(names.is_empty(), "{names:?}");
}

#[tokio::test]
async fn what_is_stored_is_read_by_the_schema_of_today() {
    let c = Cluster::new().await;
    c.define(definition()).await;
    c.create("tabs", "n/", tab("a", json!({"color": "red"}))).await.unwrap();
    let mut watch = c.watch("tabs", "n/", WatchOptions::default()).await.unwrap();
    let mut crd = c.get(DEFINITIONS, NAME).await.unwrap();
    crd["spec"]["versions"][0]["schema"] = schema(json!({"shape": {"type": "string", "default": "round"}}));
    c.update(DEFINITIONS, NAME, &crd).await.unwrap();
    let tab =
        c.until("tabs", "n/a", |found| found.as_ref().is_ok_and(|tab| tab["spec"]["shape"] == "round")).await.unwrap();
    assert_eq!(tab["spec"]["color"], "red");
    assert!(timeout(DEADLINE, watch.0.next()).await.unwrap().unwrap().is_err(), "who watched looks again");

    let again = Cluster::on(c.storage.clone()).await;
    assert_eq!(again.get("tabs", "n/a").await.unwrap()["spec"], tab["spec"], "a server that starts serves it at once");
}

#[tokio::test]
async fn who_waits_while_a_schema_changes_sees_every_object() {
    let c = Cluster::new().await;
    let crd = c.define(definition()).await;
    c.create("tabs", "n/", tab("a", json!({"color": "red"}))).await.unwrap();
    let (one, all) = (target("tabs", "n/a"), target("tabs", "n/"));
    let (may_get, may_list, may_watch) = (allowed(&c.admin, &one), allowed(&c.admin, &all), allowed(&c.admin, &all));
    let mut get = Box::pin(c.get("tabs", "n/a"));
    // As the garbage collector looks whether an owner is there.
    let mut look = Box::pin(c.resources.get_item(&may_get));
    let mut list = Box::pin(c.resources.list(&may_list, ListOptions::default()));
    let state = WatchFrom::State { at: ReadAt::Newest, initial_events_end: false };
    let mut watch = Box::pin(c.resources.watch(&may_watch, WatchOptions { from: state, ..WatchOptions::default() }));
    let now = WatchOptions { from: WatchFrom::Now, ..WatchOptions::default() };
    let mut later = Box::pin(c.watch("tabs", "n/", now));
    // Each has found the kind, and waits until the cache is as new as the store.
    let waits = [
        futures::poll!(&mut get).is_pending(),
        futures::poll!(&mut look).is_pending(),
        futures::poll!(&mut list).is_pending(),
        futures::poll!(&mut watch).is_pending(),
        futures::poll!(&mut later).is_pending(),
    ];
    assert_eq!(waits, [true; 5]);
    let crd: CustomResourceDefinition = serde_json::from_value(crd).unwrap();
    let kind = CustomKind::of(&crd, false).unwrap();
    c.resources.inner.cache.begin_custom("example.com/tabs", &kind).await.unwrap();

    assert_eq!(get.await.unwrap()["spec"]["color"], "red");
    assert_eq!(look.await.unwrap().name(), "a");
    assert_eq!(list.await.unwrap().items.len(), 1);
    let mut watch = Watched(watch.await.unwrap(), Vec::new());
    assert_eq!(watch.take(1).await, ["ADDED a -"]);
    let mut later = later.await.unwrap();
    c.merge("tabs", "n/a", json!({"metadata": {"labels": {"a": "1"}}})).await.unwrap();
    assert_eq!(watch.take(1).await, ["MODIFIED a 1"]);
    assert_eq!(later.take(1).await, ["MODIFIED a 1"]);
}

#[tokio::test]
async fn who_waits_while_a_kind_ends_is_not_told_that_there_are_no_objects() {
    let c = Cluster::new().await;
    c.define(definition()).await;
    c.create("tabs", "n/", tab("a", json!({}))).await.unwrap();
    let may = allowed(&c.admin, &target("tabs", "n/"));
    let mut get = Box::pin(c.get("tabs", "n/a"));
    let mut list = Box::pin(c.resources.list(&may, ListOptions::default()));
    assert!(futures::poll!(&mut get).is_pending() && futures::poll!(&mut list).is_pending());
    c.resources.registry().put_custom("example.com/tabs", &[]);
    c.resources.inner.cache.end("example.com/tabs").await.unwrap();
    assert!(get.await.unwrap_err().is_no_such_path());
    assert!(list.await.map(drop).unwrap_err().is_no_such_path());
}

fn named(plural: &str, kind: &str) -> Value {
    let mut crd = definition();
    crd["metadata"]["name"] = format!("{plural}.example.com").into();
    crd["spec"]["names"] = json!({"plural": plural, "kind": kind});
    crd
}

#[tokio::test]
async fn a_definition_that_cannot_be_written_keeps_no_server_from_starting_and_no_other_kind_from_being_served() {
    let storage = Arc::new(Flaky::default());
    let c = Cluster::on(storage.clone()).await;
    storage.is_too_large("/registry/apiextensions.k8s.io/customresourcedefinitions/larges.example.com");
    c.create(DEFINITIONS, "", named("larges", "Large")).await.unwrap();
    let again = Cluster::on(storage).await;
    again.define(definition()).await;
    assert_eq!(again.get(DEFINITIONS, "larges.example.com").await.unwrap()["status"].get("conditions"), None);
}

#[tokio::test]
async fn a_kind_that_cannot_be_read_anew_stays_as_it_was_and_holds_up_no_other() {
    let storage = Arc::new(Flaky::default());
    let c = Cluster::on(storage.clone()).await;
    c.create("namespaces", "", json!({"metadata": {"name": "n"}})).await.unwrap();
    c.define(definition()).await;
    c.create("tabs", "n/", tab("a", json!({}))).await.unwrap();
    storage.fail_lists_of("/registry/example.com/tabs/");
    let mut crd = c.get(DEFINITIONS, NAME).await.unwrap();
    crd["spec"]["versions"][0]["schema"] = schema(json!({"shape": {"type": "string", "default": "round"}}));
    c.update(DEFINITIONS, NAME, &crd).await.unwrap();
    c.define(named("others", "Other")).await;
    assert_eq!(c.get("tabs", "n/a").await.unwrap()["spec"], json!({"size": 1}));
    storage.fail_lists_of("");
    let read = c.until("tabs", "n/a", |found| found.as_ref().is_ok_and(|tab| tab["spec"]["shape"] == "round"));
    read.await.unwrap();
}

#[tokio::test]
async fn clients_are_told_of_a_kind_once_every_server_serves_it() {
    let c = Cluster::new().await;
    let others = json!({"metadata": {"name": "kubernetes"}, "subsets": [
        {"addresses": [{"ip": "10.0.0.1"}, {"ip": "10.0.0.2"}], "ports": [{"name": "https", "port": 6443}]}]});
    c.create("endpoints", "default/", others).await.unwrap();
    c.create(DEFINITIONS, "", definition()).await.unwrap();
    let is_served = |found: &Result<Value, ApiError>| {
        let accepted = found.as_ref().is_ok_and(|crd| condition(crd, "NamesAccepted") == "True");
        accepted && c.resources.registry().find_any_version("example.com", "tabs").is_some()
    };
    let crd = c.until(DEFINITIONS, NAME, is_served).await.unwrap();
    assert_eq!(condition(&crd, "Established"), "False");
    c.create("tabs", "n/", tab("a", json!({}))).await.expect("who knows it can write it");
    let announced = || c.resources.registry().table().announced().filter(|kind| kind.is_custom()).count();
    assert_eq!(announced(), 0);
    c.delete("endpoints", "default/kubernetes", json!({})).await.unwrap();
    c.merge(DEFINITIONS, NAME, json!({"metadata": {"labels": {"look": "again"}}})).await.unwrap();
    c.until(DEFINITIONS, NAME, |found| found.is_ok() && announced() == 2).await.unwrap();
}

#[tokio::test]
async fn who_watches_is_not_cut_off_by_what_changes_nothing_of_the_objects() {
    let c = Cluster::new().await;
    c.define(definition()).await;
    c.create("tabs", "n/", tab("a", json!({"color": "red"}))).await.unwrap();
    let now = WatchOptions { from: WatchFrom::Now, ..WatchOptions::default() };
    let mut watch = c.watch("tabs", "n/", now).await.unwrap();
    let mut crd = c.get(DEFINITIONS, NAME).await.unwrap();
    crd["spec"]["versions"][0]["additionalPrinterColumns"] =
        json!([{"name": "Color", "type": "string", "jsonPath": ".spec.color"}]);
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["description"] = "A tab".into();
    c.update(DEFINITIONS, NAME, &crd).await.unwrap();
    let seen = c.until(DEFINITIONS, NAME, |found| {
        found.as_ref().is_ok_and(|crd| crd["status"]["observedGeneration"] == crd["metadata"]["generation"])
    });
    seen.await.unwrap();
    assert_eq!(c.resources.fitting(Verb::List, &target("tabs", "n/")).unwrap().columns()[1].name, "Color");
    c.merge("tabs", "n/a", json!({"metadata": {"labels": {"a": "1"}}})).await.unwrap();
    assert_eq!(watch.take(1).await, ["MODIFIED a 1"]);
}

#[tokio::test]
async fn who_writes_in_another_version_is_answered_with_what_is_stored() {
    let c = Cluster::new().await;
    c.define(definition()).await;
    let of_v2 = |name: &str, spec: Value| {
        let mut tab = tab(name, spec);
        tab["apiVersion"] = "example.com/v2".into();
        tab
    };
    let made = c.create("newtabs", "n/", of_v2("a", json!({"color": "red", "tone": "light"}))).await.unwrap();
    let expected = json!({"color": "red", "size": 1});
    assert_eq!((&made["apiVersion"], &made["spec"]), (&json!("example.com/v2"), &expected));
    assert_eq!(made, c.get("newtabs", "n/a").await.unwrap());
    let patched = c.merge("newtabs", "n/a", json!({"spec": {"tone": "light", "size": 2}})).await.unwrap();
    assert_eq!(patched["spec"], json!({"color": "red", "size": 2}));
    assert_eq!(patched, c.get("newtabs", "n/a").await.unwrap());
}

#[tokio::test]
async fn an_object_is_brought_to_the_version_of_today_by_a_write_that_changes_nothing() {
    let c = Cluster::new().await;
    c.define(definition()).await;
    let made = c.create("tabs", "n/", tab("a", json!({"color": "red"}))).await.unwrap();
    let mut crd = c.get(DEFINITIONS, NAME).await.unwrap();
    crd["spec"]["versions"][0]["storage"] = false.into();
    crd["spec"]["versions"][1]["storage"] = true.into();
    c.update(DEFINITIONS, NAME, &crd).await.unwrap();
    let seen = c.until(DEFINITIONS, NAME, |found| {
        found.as_ref().is_ok_and(|crd| crd["status"]["observedGeneration"] == crd["metadata"]["generation"])
    });
    seen.await.unwrap();
    let stored = async || {
        let stored = c.storage.get("/registry/example.com/tabs/n/a").await.unwrap().unwrap();
        serde_json::from_slice::<Value>(&stored.value).unwrap()["apiVersion"].clone()
    };
    assert_eq!((c.get("tabs", "n/a").await.unwrap(), stored().await), (made.clone(), json!("example.com/v1")));
    let written = c.update("tabs", "n/a", &made).await.unwrap();
    assert_eq!((&written["spec"], &written["metadata"]["generation"]), (&made["spec"], &json!(1)));
    assert_eq!(stored().await, "example.com/v2");
    assert_eq!(c.get("tabs", "n/a").await.unwrap()["apiVersion"], "example.com/v1");
    assert_eq!(version(&c.update("tabs", "n/a", &written).await.unwrap()), version(&written), "once");
}

#[tokio::test]
async fn a_kind_in_a_version_that_the_server_has_itself_is_never_served() {
    let c = Cluster::new().await;
    let mut reviews = definition();
    reviews["metadata"]["name"] = "tokenreviews.authentication.k8s.io".into();
    reviews["metadata"]["annotations"] = json!({"api-approved.kubernetes.io": "unapproved, a test"});
    reviews["spec"]["group"] = "authentication.k8s.io".into();
    reviews["spec"]["names"] = json!({"plural": "tokenreviews", "kind": "TokenReview"});
    c.create(DEFINITIONS, "", reviews).await.unwrap();
    let refused = c.until(DEFINITIONS, "tokenreviews.authentication.k8s.io", |found| {
        found.as_ref().is_ok_and(|crd| condition(crd, "NamesAccepted") == "False")
    });
    assert_eq!(condition(&refused.await.unwrap(), "Established"), "False");
    assert!(c.resources.registry().find("authentication.k8s.io", "v1", "tokenreviews").is_none());
}

#[tokio::test]
async fn objects_that_are_held_hold_up_no_start_and_no_other_definition() {
    let c = Cluster::new().await;
    c.define(definition()).await;
    let mut held = tab("held", json!({}));
    held["metadata"]["finalizers"] = json!(["example.com/mine"]);
    c.create("tabs", "n/", held).await.unwrap();
    c.delete(DEFINITIONS, NAME, json!({})).await.unwrap();
    let again = Cluster::on(c.storage.clone()).await;
    again.define(named("others", "Other")).await;
    again.delete(DEFINITIONS, "others.example.com", json!({})).await.unwrap();
    again.until(DEFINITIONS, "others.example.com", |found| found.is_err()).await.unwrap_err();
    again.get("tabs", "n/held").await.unwrap();
    again.merge("tabs", "n/held", json!({"metadata": {"finalizers": null}})).await.unwrap();
    again.until(DEFINITIONS, NAME, |found| found.is_err()).await.unwrap_err();
}

#[tokio::test]
async fn no_object_is_made_of_a_kind_whose_definition_has_gone_unseen() {
    let store = Memory::default();
    let lines = [(); 2].map(|()| {
        let line = Arc::new(Flaky::default());
        line.restore(store.clone());
        line
    });
    let c = Cluster::on(lines[0].clone()).await;
    c.create("namespaces", "", json!({"metadata": {"name": "n"}})).await.unwrap();
    c.define(definition()).await;
    let behind = Cluster::on(lines[1].clone()).await;
    behind.create("tabs", "n/", tab("a", json!({}))).await.unwrap();
    lines[1].cut();
    c.delete(DEFINITIONS, NAME, json!({})).await.unwrap();
    c.until(DEFINITIONS, NAME, |found| found.is_err()).await.unwrap_err();
    // The other server still has the definition in its cache.
    let mends = async { lines[1].mend() };
    let (made, ()) = futures::join!(behind.create("tabs", "n/", tab("late", json!({}))), mends);
    made.unwrap_err();
    assert_eq!(store.list("/registry/example.com/tabs/", None).await.unwrap().items, []);
}

#[tokio::test]
async fn a_definition_that_cannot_be_served_says_why_and_can_go() {
    let c = Cluster::new().await;
    let crd = c.define(definition()).await;
    let mut held = tab("held", json!({"odd": 1}));
    held["metadata"]["finalizers"] = json!(["example.com/mine"]);
    c.create("tabs", "n/", held).await.unwrap();
    // As another server has left it.
    let store = Memory::default();
    for stored in c.storage.list("/registry/", None).await.unwrap().items {
        let mut value = stored.value.clone();
        if stored.key.ends_with(NAME) {
            let mut crd = crd.clone();
            crd["metadata"]["resourceVersion"] = Value::Null;
            crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["type"] = json!("nothing");
            value = Bytes::from(crd.to_string());
        }
        store.commit(vec![Write::Create { key: stored.key, value, ttl_secs: None }]).await.unwrap();
    }
    let again = Cluster::on(Arc::new(store)).await;
    let told = again.until(DEFINITIONS, NAME, |found| {
        found.as_ref().is_ok_and(|crd| condition(crd, "NonStructuralSchema") == "True")
    });
    told.await.unwrap();
    assert!(again.get("tabs", "n/held").await.unwrap_err().is_no_such_path());
    again.delete(DEFINITIONS, NAME, json!({})).await.unwrap();
    let going = again.until("tabs", "n/held", |found| {
        found.as_ref().is_ok_and(|tab| !tab["metadata"]["deletionTimestamp"].is_null())
    });
    assert_eq!(going.await.unwrap()["spec"]["size"], 1, "all of it is there");
    again.merge("tabs", "n/held", json!({"metadata": {"finalizers": null}})).await.unwrap();
    again.until(DEFINITIONS, NAME, |found| found.is_err()).await.unwrap_err();
}

#[tokio::test]
async fn a_kind_whose_name_is_taken_is_not_served() {
    let c = Cluster::new().await;
    c.define(definition()).await;
    let mut other = definition();
    other["metadata"]["name"] = "others.example.com".into();
    other["spec"]["names"]["plural"] = "others".into();
    c.create(DEFINITIONS, "", other).await.unwrap();
    let refused = c.until(DEFINITIONS, "others.example.com", |found| {
        found.as_ref().is_ok_and(|crd| condition(crd, "NamesAccepted") == "False")
    });
    assert_eq!(condition(&refused.await.unwrap(), "Established"), "False");
    c.delete(DEFINITIONS, "others.example.com", json!({})).await.unwrap();
    c.until(DEFINITIONS, "others.example.com", |found| found.is_err()).await.unwrap_err();
}

#[tokio::test]
async fn of_two_that_want_one_kind_at_once_one_has_it() {
    let c = Cluster::new().await;
    let named = |plural: &str| {
        let mut crd = definition();
        crd["metadata"]["name"] = format!("{plural}.example.com").into();
        crd["spec"]["names"]["plural"] = plural.into();
        crd["spec"]["names"]["singular"] = plural.into();
        crd
    };
    let plurals = ["ones", "twos", "threes"];
    let made = plurals.map(|plural| c.create(DEFINITIONS, "", named(plural)));
    futures::future::try_join_all(made).await.unwrap();
    let mut accepted = 0;
    for plural in plurals {
        let name = format!("{plural}.example.com");
        let crd = c.until(DEFINITIONS, &name, |found| {
            found
                .as_ref()
                .is_ok_and(|crd| condition(crd, "NamesAccepted") == "False" || condition(crd, "Established") == "True")
        });
        accepted += usize::from(condition(&crd.await.unwrap(), "NamesAccepted") == "True");
    }
    assert_eq!(accepted, 1);
}

#[tokio::test]
async fn a_kind_stays_while_somebody_empties_its_conditions() {
    let c = Cluster::new().await;
    c.define(definition()).await;
    c.create("tabs", "n/", tab("a", json!({}))).await.unwrap();
    let patched = json!({"status": {"conditions": [{"message": "patched"}]}});
    let patched = c.merge("customresourcedefinitions/status", NAME, patched).await.unwrap();
    assert_eq!(patched["status"]["conditions"][0]["message"], "patched");
    c.get("tabs", "n/a").await.unwrap();
    let crd = c.until(DEFINITIONS, NAME, |found| {
        found
            .as_ref()
            .is_ok_and(|crd| condition(crd, "NamesAccepted") == "True" && condition(crd, "Established") == "True")
    });
    assert_eq!(crd.await.unwrap()["status"]["conditions"][0]["message"], "patched");
    c.get("tabs", "n/a").await.unwrap();
}

#[tokio::test]
async fn what_a_schema_does_not_know_is_refused_where_that_is_asked() {
    let c = Cluster::new().await;
    c.define(definition()).await;
    let may = allowed(&c.admin, &target("tabs", "n/"));
    let options = WriteOptions { field_validation: FieldValidation::Strict, ..WriteOptions::default() };
    let mut odd = tab("a", json!({"color": "red", "odd": 1}));
    odd["metadata"]["strange"] = 1.into();
    let refused = c.resources.create(&may, Bytes::from(odd.to_string()), options).await.unwrap_err();
    assert_eq!(refused.code(), 400);
    let told = refused.message();
    assert!(
        told.contains("strict decoding error")
            && told.contains(r#"unknown field "spec.odd""#)
            && told.contains(r#"unknown field "metadata.strange""#),
        "{told}"
    );
}

#[tokio::test]
async fn a_kind_that_is_just_going_counts_nothing_and_fails_nobodys_write() {
    let c = Cluster::new().await;
    c.define(definition()).await;
    c.resources.inner.cache.end("example.com/tabs").await.unwrap();
    assert!(c.resources.registry().find("example.com", "v1", "tabs").is_some(), "it is found, and its cache has gone");
    let hard = json!({"count/tabs.example.com": "5", "count/configmaps": "5"});
    c.create("resourcequotas", "n/", json!({"metadata": {"name": "q"}, "spec": {"hard": hard}})).await.unwrap();
    c.config_map("a", json!({})).await;
    let used = &c.get("resourcequotas", "n/q").await.unwrap()["status"]["used"];
    assert_eq!(used, &json!({"count/tabs.example.com": "0", "count/configmaps": "1"}));
}

#[tokio::test]
async fn custom_objects_are_counted_in_quotas() {
    let c = Cluster::new().await;
    c.define(definition()).await;
    c.create("tabs", "n/", tab("a", json!({}))).await.unwrap();
    let quota = json!({"metadata": {"name": "q"}, "spec": {"hard": {"count/tabs.example.com": "1"}}});
    let quota = c.create("resourcequotas", "n/", quota).await.unwrap();
    assert_eq!(quota["status"]["used"]["count/tabs.example.com"], "1");
    let (why, told) = reason(
        c.create("newtabs", "n/", {
            let mut new = tab("b", json!({}));
            new["apiVersion"] = "example.com/v2".into();
            new
        })
        .await,
    );
    assert!(why == Reason::Forbidden && told.contains("exceeded quota: q"), "{told}");
    c.delete("tabs", "n/a", json!({})).await.unwrap();
    assert_eq!(c.get("resourcequotas", "n/q").await.unwrap()["status"]["used"]["count/tabs.example.com"], "0");
}
