//! What the cache does when the store fails it, and to watchers that are too slow for it.

use std::sync::Arc;
use std::time::Duration;

use corten_api::Reason;
use tokio::time::timeout;

use super::*;
use crate::registry::Registry;
use crate::resources::EventKind;
use crate::storage::flaky::Flaky;
use crate::storage::memory::Memory;
use crate::storage::{Outcome, Write};

mod graph;
mod on_etcd;
mod roles;
mod watchers;

const DEADLINE: Duration = Duration::from_secs(10);

async fn put(store: &dyn Storage, name: &str, label: &str) {
    let key = format!("{ROOT}configmaps/n/{name}");
    let value = format!(r#"{{"metadata":{{"name":"{name}","labels":{{"a":"{label}"}}}}}}"#).into();
    let write = match store.get(&key).await.unwrap() {
        None => Write::Create { key, value, ttl_secs: None },
        Some(stored) => Write::Update { key, value, expected: stored.revision, ttl_secs: None },
    };
    assert!(matches!(store.commit(vec![write]).await.unwrap(), Outcome::Committed { .. }));
}
async fn remove(store: &dyn Storage, name: &str) {
    let key = format!("{ROOT}configmaps/n/{name}");
    let expected = store.get(&key).await.unwrap().unwrap().revision;
    assert!(matches!(store.commit(vec![Write::Delete { key, expected }]).await.unwrap(), Outcome::Committed { .. }));
}

fn watcher(cache: &Arc<Cache>) -> Watcher {
    let options = WatcherOptions {
        filter: Filter::default(),
        shown: Shown::AsStored,
        api_version: "v1".into(),
        kind: "ConfigMap".into(),
        bookmarks: false,
        drain: CancellationToken::new(),
    };
    let configmaps = cache.kind("configmaps").unwrap().clone();
    Watcher::after(cache.clone(), configmaps, cache.revision(), options).unwrap().unwrap()
}

async fn take(watcher: &mut Watcher, n: usize) -> Vec<(EventKind, String)> {
    let mut got = Vec::new();
    while got.len() < n {
        let batch = timeout(DEADLINE, watcher.batch()).await.expect("events come").unwrap().expect("no end");
        got.extend(batch.iter().map(|e| (e.kind, e.name().to_owned())));
    }
    got
}

#[tokio::test]
async fn watchers_converge_over_a_lost_watch_and_a_compaction() {
    for compacted in [false, true] {
        let store = Arc::new(Flaky::default());
        for name in ["a", "b", "c"] {
            put(&*store, name, "1").await;
        }
        let cache = Cache::start(store.clone(), &Registry::default()).await.unwrap();
        let mut w = watcher(&cache);
        store.cut();
        put(&*store, "a", "2").await;
        put(&*store, "d", "1").await;
        remove(&*store, "b").await;
        if compacted {
            store.compact(store.current_revision().await.unwrap()).await.unwrap();
        }
        store.mend();
        let mut got = take(&mut w, 3).await;
        got.sort_by(|a, b| a.1.cmp(&b.1));
        let expected = [(EventKind::Modified, "a"), (EventKind::Deleted, "b"), (EventKind::Added, "d")]
            .map(|(k, n)| (k, n.into()));
        assert_eq!(got, expected, "compacted: {compacted}");
        cache.catch_up().await.unwrap();
        let keys: Vec<String> =
            cache.kind("configmaps").unwrap().snapshot(0).items.iter().map(|row| row.0.key().to_owned()).collect();
        assert_eq!(keys, ["n/a", "n/c", "n/d"]);
    }
}

#[tokio::test]
async fn a_watcher_that_sleeps_too_long_is_cut_off_and_the_others_are_not() {
    let store: Arc<dyn Storage> = Arc::new(Memory::default());
    let cache = Cache::start(store.clone(), &Registry::default()).await.unwrap();
    let (mut slow, mut quick) = (watcher(&cache), watcher(&cache));
    // More bytes than are ever kept.
    let large = "x".repeat(1 << 20);
    for i in 0..70 {
        put(&*store, &format!("m{}", i % 3), &large).await;
        take(&mut quick, 1).await;
    }
    let err = timeout(DEADLINE, slow.batch()).await.unwrap().unwrap_err();
    assert_eq!(err.reason(), Reason::Expired, "{err}");
}

#[tokio::test]
async fn what_was_made_anew_in_a_gap_is_deleted_and_added() {
    let store = Arc::new(Flaky::default());
    let place = |uid: &str| {
        let value = format!(r#"{{"metadata":{{"name":"a","uid":"{uid}"}}}}"#).into();
        Write::Create { key: format!("{ROOT}configmaps/n/a"), value, ttl_secs: None }
    };
    store.commit(vec![place("1")]).await.unwrap();
    let cache = Cache::start(store.clone(), &Registry::default()).await.unwrap();
    let (mut w, before) = (watcher(&cache), cache.revision());
    store.cut();
    remove(&*store, "a").await;
    store.commit(vec![place("2")]).await.unwrap();
    store.compact(store.current_revision().await.unwrap()).await.unwrap();
    store.mend();
    let expected = [(EventKind::Deleted, "a".to_owned()), (EventKind::Added, "a".to_owned())];
    assert_eq!(take(&mut w, 2).await, expected);
    let configmaps = cache.kind("configmaps").unwrap();
    let (steps, _) = configmaps.subscribe_after(before, &Filter::default()).unwrap().unwrap().read(9, before).unwrap();
    assert!(steps[0].item.revision < steps[1].item.revision, "who resumes between the two gets the second");
}

#[tokio::test]
async fn a_revision_nobody_made_is_not_waited_for_long() {
    let store: Arc<dyn Storage> = Arc::new(Memory::default());
    let cache = Cache::start(store, &Registry::default()).await.unwrap();
    let err = timeout(DEADLINE, cache.wait_for(1_000)).await.unwrap().unwrap_err();
    assert_eq!(
        (err.reason(), err.message()),
        (Reason::Timeout, "Timeout: Too large resource version: 1000, current: 1")
    );
}

#[tokio::test]
async fn what_is_no_object_is_left_out() {
    let store: Arc<dyn Storage> = Arc::new(Memory::default());
    let write = Write::Create { key: format!("{ROOT}configmaps/n/x"), value: "nonsense".into(), ttl_secs: None };
    store.commit(vec![write]).await.unwrap();
    let cache = Cache::start(store, &Registry::default()).await.unwrap();
    assert!(cache.kind("configmaps").unwrap().get("n/x").is_none());
}

#[tokio::test]
async fn a_store_that_went_back_is_read_again_and_watches_end() {
    let (store, backup) = (Arc::new(Flaky::default()), Memory::default());
    put(&backup, "a", "1").await;
    for name in ["a", "b", "c"] {
        put(&*store, name, "2").await;
    }
    let cache = Cache::start(store.clone(), &Registry::default()).await.unwrap();
    let mut w = watcher(&cache);
    store.restore(backup.clone());
    store.cut();
    store.mend();
    let err = timeout(DEADLINE, w.batch()).await.expect("the watch ends").unwrap_err();
    assert_eq!(err.reason(), Reason::Expired, "{err}");
    let mut changes = cache.changes();
    let there = backup.current_revision().await.unwrap();
    timeout(DEADLINE, changes.wait_for(|r| *r == there)).await.expect("the cache follows").unwrap();
    let configmaps = cache.kind("configmaps").unwrap();
    let rows: Vec<_> =
        configmaps.snapshot(0).items.iter().map(|row| (row.0.key().to_owned(), row.0.revision)).collect();
    assert_eq!(rows, [("n/a".to_owned(), there)]);
    put(&*store, "d", "1").await;
    cache.catch_up().await.unwrap();
    assert!(configmaps.get("n/d").is_some(), "what is written from here on is seen");
}

#[tokio::test]
async fn watches_end_when_the_store_is_lost_for_long_and_new_ones_are_left_alone() {
    let store = Arc::new(Flaky::default());
    let cache = Cache::start(store.clone(), &Registry::default()).await.unwrap();
    let mut w = watcher(&cache);
    store.cut();
    let err = timeout(2 * DEADLINE, w.batch()).await.expect("the watch ends").unwrap_err();
    assert_eq!(err.reason(), Reason::ServiceUnavailable, "{err}");
    let mut again = watcher(&cache);
    store.mend();
    put(&*store, "a", "1").await;
    assert_eq!(take(&mut again, 1).await, [(EventKind::Added, "a".to_owned())]);
}
