//! Lists, pages, and watches.

use super::*;

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
    let words = r#""spec.x" is not a known field selector: only "metadata.name", "metadata.namespace""#;
    assert_eq!(reason(c.names("configmaps", "", odd.clone()).await), (Reason::BadRequest, words.into()));
    assert_eq!(reason(c.names("pods", "", odd).await).1, "field label not supported: spec.x");

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

/// Nothing of the kind changes meanwhile: its cache could go on for ever.
#[tokio::test]
async fn a_list_ends_with_the_stores_history_and_goes_on_in_what_is_there() {
    let c = Cluster::new().await;
    for name in ["a", "b", "c"] {
        c.config_map(name, json!({})).await;
    }
    let page = |continue_token| ListOptions { limit: 1, continue_token, ..ListOptions::default() };
    let (names, first) = c.names("configmaps", "n/", page(None)).await.unwrap();
    assert_eq!((names, first.remaining), (vec!["a".to_owned()], Some(2)));
    let begun = super::super::compaction::round(&*c.storage, 0).await.unwrap();
    let (names, second) = c.names("configmaps", "n/", page(first.continue_token.clone())).await.unwrap();
    assert_eq!((names, second.revision), (vec!["b".to_owned()], first.revision), "nothing is forgotten yet");
    super::super::compaction::round(&*c.storage, begun).await.unwrap();
    c.names("configmaps", "n/", ListOptions::default()).await.expect("the cache is as new as the store");
    let expired = c.names("configmaps", "n/", page(first.continue_token)).await.expect_err("it is refused");
    assert_eq!((expired.code(), expired.reason()), (410, Reason::Expired));
    assert!(expired.message().starts_with("The provided continue parameter is too old "), "{expired}");
    let again = expired.status().metadata.continue_.clone();
    let (names, next) = c.names("configmaps", "n/", page(again)).await.unwrap();
    assert_eq!((names, next.remaining), (vec!["b".to_owned()], Some(1)));
    assert!(next.revision > first.revision);
    let exact = ListOptions { at: ReadAt::Exact(first.revision), ..ListOptions::default() };
    let too_old = "The resourceVersion for the provided list is too old.";
    assert_eq!(reason(c.names("configmaps", "n/", exact).await), (Reason::Expired, too_old.into()));
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
    let mut a = c.resources.watch(&allowed(&c.admin, &target("configmaps", "n/")), options()).await.unwrap();
    let mut b = c.resources.watch(&allowed(&c.admin, &target("configmaps", "")), options()).await.unwrap();
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
async fn pods_are_found_by_all_names_of_their_fields() {
    let c = Cluster::new().await;
    for (name, node) in [("a", "n1"), ("b", "n2"), ("c", "")] {
        let mut made = pod(name);
        made["spec"]["nodeName"] = json!(node);
        c.create("pods", "n/", made).await.unwrap();
        c.merge("pods/status", &format!("n/{name}"), json!({"status": {"podIP": "10.0.0.1"}})).await.unwrap();
    }
    for (selector, expected) in [
        ("spec.nodeName=n1", vec!["a"]),
        ("spec.host=n1", vec!["a"]),
        ("spec.host!=n1", vec!["b", "c"]),
        ("spec.host=", vec!["c"]),
        ("status.podIP=10.0.0.1", vec!["a", "b", "c"]),
        ("status.podIPs=10.0.0.1", vec![]),
    ] {
        let fields = FieldSelector::parse(selector).unwrap();
        let (names, _) = c.names("pods", "", ListOptions { fields, ..ListOptions::default() }).await.unwrap();
        assert_eq!(names, expected, "{selector}");
    }
}

#[tokio::test]
async fn events_are_found_by_who_reports_them() {
    let c = Cluster::new().await;
    let about = json!({"kind": "Pod", "name": "web", "namespace": "n"});
    for (name, more) in [
        ("old", json!({"source": {"component": "kubelet"}})),
        ("new", json!({"reportingComponent": "scheduler", "source": {}})),
        ("both", json!({"reportingComponent": "scheduler", "source": {"component": "kubelet"}})),
        ("none", json!({})),
    ] {
        let mut event = json!({"metadata": {"name": name}, "involvedObject": about});
        event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        c.create("events", "n/", event).await.unwrap();
    }
    for (selector, expected) in [
        ("source=kubelet", vec!["both", "old"]),
        ("source=scheduler", vec!["new"]),
        ("reportingComponent=scheduler", vec!["both", "new"]),
        ("source=", vec!["none"]),
        ("involvedObject.kind=Pod,source!=kubelet", vec!["new", "none"]),
    ] {
        let fields = FieldSelector::parse(selector).unwrap();
        let (names, _) = c.names("events", "n/", ListOptions { fields, ..ListOptions::default() }).await.unwrap();
        assert_eq!(names, expected, "{selector}");
    }
}
