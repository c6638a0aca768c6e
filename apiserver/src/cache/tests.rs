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
        convert: None,
        api_version: "v1".into(),
        kind: "ConfigMap",
        bookmarks: false,
        drain: CancellationToken::new(),
    };
    let shelf = cache.shelf("configmaps").unwrap().clone();
    Watcher::after(cache.clone(), shelf, cache.revision(), options).unwrap()
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
            cache.shelf("configmaps").unwrap().snapshot(0).items.iter().map(|row| row.0.key().to_owned()).collect();
        assert_eq!(keys, ["n/a", "n/c", "n/d"]);
    }
}

#[tokio::test]
async fn a_watcher_that_sleeps_too_long_is_cut_off_and_the_others_are_not() {
    let store: Arc<dyn Storage> = Arc::new(Memory::default());
    let cache = Cache::start(store.clone(), &Registry::default()).await.unwrap();
    let (mut slow, mut quick) = (watcher(&cache), watcher(&cache));
    let changes = 9_000;
    for i in 0..changes {
        put(&*store, &format!("m{}", i % 10), &i.to_string()).await;
        if i % 500 == 499 {
            take(&mut quick, 500).await;
        }
    }
    let err = timeout(DEADLINE, slow.batch()).await.unwrap().unwrap_err();
    assert_eq!(err.reason(), Reason::Expired, "{err}");
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
    assert!(cache.shelf("configmaps").unwrap().get("n/x").is_none());
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
    let shelf = cache.shelf("configmaps").unwrap();
    let rows: Vec<_> = shelf.snapshot(0).items.iter().map(|row| (row.0.key().to_owned(), row.0.revision)).collect();
    assert_eq!(rows, [("n/a".to_owned(), there)]);
    put(&*store, "d", "1").await;
    cache.catch_up().await.unwrap();
    assert!(shelf.get("n/d").is_some(), "what is written from here on is seen");
}
