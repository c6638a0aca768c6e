//! What requests are judged by is as new as the revision that readers know of, whatever happens to the line to the store.

use std::time::Instant;

use super::*;
use crate::authz::Attributes;
use crate::authz::rbac::decide::decide;
use crate::request::{Target, User};

async fn write(store: &dyn Storage, key: &str, json: Option<&str>) -> i64 {
    let key = format!("{ROOT}{key}");
    let write = match (store.get(&key).await.unwrap(), json.map(|json| json.to_owned().into())) {
        (None, None) => panic!("{key} is not there"),
        (None, Some(value)) => Write::Create { key, value, ttl_secs: None },
        (Some(stored), Some(value)) => Write::Update { key, value, expected: stored.revision, ttl_secs: None },
        (Some(stored), None) => Write::Delete { key, expected: stored.revision },
    };
    match store.commit(vec![write]).await.unwrap() {
        Outcome::Committed { revision } => revision,
        refused @ Outcome::Refused { .. } => panic!("{refused:?}"),
    }
}

const READS: &str = r#"{"metadata":{"name":"r"},"rules":[{"verbs":["get"],"apiGroups":[""],"resources":["pods"]}]}"#;
const NOTHING: &str = r#"{"metadata":{"name":"r"},"rules":[]}"#;

fn bound(name: &str, who: &str) -> String {
    let subjects = format!(r#"[{{"kind":"User","name":"{who}"}}]"#);
    format!(r#"{{"metadata":{{"name":"{name}"}},"roleRef":{{"kind":"ClusterRole","name":"r"}},"subjects":{subjects}}}"#)
}

fn may(cache: &Cache, who: &str) -> bool {
    let user = User { name: who.into(), ..User::default() };
    let target = Target { resource: "pods".into(), namespace: "n".into(), name: "p".into(), ..Target::default() };
    decide(&cache.roles().load(), &user, Attributes::Resource { verb: "get", target: &target }).is_ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_sees_a_revision_is_judged_by_it() {
    let store: Arc<dyn Storage> = Arc::new(Memory::default());
    write(&*store, "clusterroles/r", Some(READS)).await;
    let cache = Cache::start(store.clone(), &Registry::default()).await.unwrap();
    for i in 0..300 {
        let revision = write(&*store, "rolebindings/n/b", Some(&bound("b", &format!("user{i}")))).await;
        cache.wait_for(revision).await.unwrap();
        assert!(may(&cache, &format!("user{i}")), "{i}");
        assert!(i == 0 || !may(&cache, &format!("user{}", i - 1)), "{i}");
    }
    let revision = write(&*store, "rolebindings/n/b", None).await;
    cache.wait_for(revision).await.unwrap();
    assert!(!may(&cache, "user299"));
}

#[tokio::test]
async fn events_of_other_kinds_leave_the_roles_as_they_are() {
    let store: Arc<dyn Storage> = Arc::new(Memory::default());
    write(&*store, "clusterroles/r", Some(READS)).await;
    let cache = Cache::start(store.clone(), &Registry::default()).await.unwrap();
    let before = cache.roles().load_full();
    for i in 0..20 {
        put(&*store, &i.to_string(), "1").await;
    }
    cache.catch_up().await.unwrap();
    assert!(Arc::ptr_eq(&before, &cache.roles().load_full()), "not even a copy is made");
}

#[tokio::test]
async fn roles_follow_over_a_lost_watch_a_compaction_and_a_store_that_went_back() {
    for how in ["cut", "compacted", "fails in the middle", "went back"] {
        let (store, backup) = (Arc::new(Flaky::default()), Memory::default());
        for (name, who) in [("a", "jane"), ("b", "john")] {
            write(&*store, &format!("clusterrolebindings/{name}"), Some(&bound(name, who))).await;
        }
        write(&*store, "clusterroles/r", Some(READS)).await;
        let cache = Cache::start(store.clone(), &Registry::default()).await.unwrap();
        assert_eq!([may(&cache, "jane"), may(&cache, "john"), may(&cache, "anna")], [true, true, false], "{how}");
        if how == "went back" {
            write(&backup, "clusterroles/r", Some(READS)).await;
            write(&backup, "clusterrolebindings/c", Some(&bound("c", "anna"))).await;
            store.restore(backup.clone());
        }
        store.cut();
        if how != "went back" {
            write(&*store, "clusterrolebindings/a", None).await;
            write(&*store, "clusterrolebindings/b", Some(&bound("b", "anna"))).await;
        }
        if how == "compacted" || how == "fails in the middle" {
            store.compact(store.current_revision().await.unwrap()).await.unwrap();
        }
        if how == "fails in the middle" {
            // The last of the four that is listed.
            store.fail_lists_of("/registry/roles/");
            store.mend();
            timeout(DEADLINE, store.failed_lists().wait_for(|n| *n == 2)).await.expect("it is tried again").unwrap();
            store.fail_lists_of("");
        }
        store.mend();
        let there = store.current_revision().await.unwrap();
        timeout(DEADLINE, cache.changes().wait_for(|r| *r == there)).await.expect("the cache follows").unwrap();
        assert_eq!([may(&cache, "jane"), may(&cache, "john"), may(&cache, "anna")], [false, false, true], "{how}");
    }
}

/// After a gap ten thousand bindings are compared, and what differs is taken in: in seconds even in a test's build.
#[tokio::test]
async fn a_list_of_ten_thousand_bindings_is_taken_in_at_once() {
    let store = Arc::new(Flaky::default());
    write(&*store, "clusterroles/r", Some(READS)).await;
    for i in 0..10_000 {
        write(&*store, &format!("rolebindings/n{}/b{i}", i % 100), Some(&bound(&format!("b{i}"), &format!("u{i}"))))
            .await;
    }
    let cache = Cache::start(store.clone(), &Registry::default()).await.unwrap();
    store.cut();
    write(&*store, "clusterroles/r", Some(NOTHING)).await;
    let newest = write(&*store, "clusterrolebindings/b", Some(&bound("b", "jane"))).await;
    store.compact(newest).await.unwrap();
    let began = Instant::now();
    store.mend();
    timeout(DEADLINE, cache.changes().wait_for(|r| *r >= newest)).await.expect("the cache follows").unwrap();
    assert!(!may(&cache, "jane"));
    write(&*store, "clusterroles/r", Some(READS)).await;
    cache.catch_up().await.unwrap();
    assert!(may(&cache, "jane"));
    assert!(began.elapsed() < DEADLINE, "{:?}", began.elapsed());
}
