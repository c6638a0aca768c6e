//! Who is woken by a change, and what each watcher gets of it.

use corten_api::selector::{FieldSelector, Selector};
use futures::FutureExt;

use super::*;

const NODES: usize = 5_000;

/// Puts a pod on a node, or moves it there.
async fn put_pod(store: &dyn Storage, key: &str, node: &str, label: &str) {
    let (namespace, name) = key.split_once('/').unwrap();
    let value = format!(
        r#"{{"metadata":{{"namespace":"{namespace}","name":"{name}","labels":{{"a":"{label}"}}}},"spec":{{"nodeName":"{node}"}}}}"#
    );
    let (key, value) = (format!("{ROOT}pods/{key}"), value.into());
    let write = match store.get(&key).await.unwrap() {
        None => Write::Create { key, value, ttl_secs: None },
        Some(stored) => Write::Update { key, value, expected: stored.revision, ttl_secs: None },
    };
    assert!(matches!(store.commit(vec![write]).await.unwrap(), Outcome::Committed { .. }));
}
async fn remove_pod(store: &dyn Storage, key: &str) {
    let key = format!("{ROOT}pods/{key}");
    let expected = store.get(&key).await.unwrap().unwrap().revision;
    store.commit(vec![Write::Delete { key, expected }]).await.unwrap();
}

fn filter(cache: &Cache, namespace: &str, labels: &str, fields: &str) -> Filter {
    let fields = FieldSelector::parse(fields).unwrap();
    let fields = FieldTerms::new(&fields, cache.kind("pods").unwrap().fields()).unwrap();
    Filter::new(namespace, Selector::parse(labels).unwrap(), fields)
}
fn options(filter: Filter, drain: &CancellationToken) -> WatcherOptions {
    let (api_version, drain) = ("v1".into(), drain.clone());
    WatcherOptions { filter, shown: Shown::AsStored, api_version, kind: "Pod".into(), bookmarks: true, drain }
}
fn pods(cache: &Arc<Cache>, filter: Filter, after: i64) -> Watcher {
    let kind = cache.kind("pods").unwrap().clone();
    Watcher::after(cache.clone(), kind, after, options(filter, &CancellationToken::new())).unwrap().unwrap()
}
async fn started() -> (Arc<Memory>, Arc<Cache>) {
    let store = Arc::new(Memory::default());
    let cache = Cache::start(store.clone(), &Registry::default()).await.unwrap();
    (store, cache)
}
/// What a watcher has to tell now.
fn now(watcher: &mut Watcher) -> Vec<(EventKind, String)> {
    let mut got = Vec::new();
    while let Some(batch) = watcher.batch().now_or_never() {
        got.extend(batch.unwrap().unwrap().iter().map(|e| (e.kind, e.name().to_owned())));
    }
    got
}

#[tokio::test]
async fn a_pods_change_costs_as_much_with_5000_kubelets_as_with_one() {
    let (store, cache) = started().await;
    let watch = |i: usize| pods(&cache, filter(&cache, "", "", &format!("spec.nodeName=n{i}")), cache.revision());
    let watchers: Vec<Watcher> = (0..NODES).map(watch).collect();
    let (counts, mut counted) = tokio::sync::mpsc::unbounded_channel();
    let tasks: Vec<_> = watchers
        .into_iter()
        .map(|mut watcher| {
            let counts = counts.clone();
            tokio::spawn(async move {
                loop {
                    let events = watcher.batch().await.unwrap().unwrap().len();
                    counts.send((events, std::mem::take(&mut watcher.looks))).unwrap();
                }
            })
        })
        .collect();
    let changes = 10_000;
    let began = std::time::Instant::now();
    for i in 0..changes {
        put_pod(&*store, &format!("n/p{}", i % NODES), &format!("n{}", i % NODES), &i.to_string()).await;
        cache.wait_for(store.current_revision().await.unwrap()).await.unwrap();
    }
    let (mut events, mut looks) = (0, 0);
    while events < changes {
        let (more, looked) = timeout(DEADLINE, counted.recv()).await.expect("events come").unwrap();
        (events, looks) = (events + more, looks + looked);
    }
    eprintln!("{changes} changes, {NODES} watchers: {looks} looks, {:?}", began.elapsed());
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
    // One before the first change, and two for each: the one that finds it, and the one that finds no more.
    assert!(looks <= NODES + 2 * changes, "{looks} looks for {changes} changes");
}

#[tokio::test]
async fn each_watcher_gets_what_concerns_it_whatever_it_is_found_by() {
    use EventKind::{Added as A, Deleted as D, Modified as M};
    let (store, cache) = started().await;
    put_pod(&*store, "n/p", "n1", "1").await;
    cache.catch_up().await.unwrap();
    // Namespace, labels, fields; then what of the steps below it sees.
    let cases = [
        ("", "", "", vec![M, M, D, A]),
        ("n", "", "", vec![M, M, D, A]),
        ("m", "", "", vec![]),
        ("", "", "spec.nodeName=n1", vec![D, A]),
        ("n", "", "spec.nodeName=n2", vec![A, M, D]),
        ("m", "", "spec.nodeName=n2", vec![]),
        ("", "", "spec.nodeName=n3", vec![]),
        ("", "", "spec.nodeName!=n1", vec![A, M, D]),
        ("n", "", "metadata.name=p", vec![M, M, D, A]),
        ("", "", "metadata.name=p", vec![M, M, D, A]),
        ("n", "", "metadata.name=q", vec![]),
        ("", "", "metadata.namespace=n,metadata.name=p", vec![M, M, D, A]),
        ("", "a=2", "", vec![A, D]),
        ("", "a=2", "spec.nodeName=n2", vec![A, D]),
        ("", "a=1", "spec.nodeName=n1", vec![D, A]),
        ("", "", "status.phase=", vec![M, M, D, A]),
        ("", "", "status.phase=Running", vec![]),
    ];
    let watch = |case: &(&str, &str, &str, Vec<EventKind>)| {
        pods(&cache, filter(&cache, case.0, case.1, case.2), cache.revision())
    };
    let before = cache.revision();
    let mut watchers: Vec<Watcher> = cases.iter().map(watch).collect();
    put_pod(&*store, "n/p", "n2", "1").await;
    put_pod(&*store, "n/p", "n2", "2").await;
    remove_pod(&*store, "n/p").await;
    put_pod(&*store, "n/p", "n1", "1").await;
    cache.catch_up().await.unwrap();
    // Who resumes later finds the same in the ring, though nobody had its interest then.
    drop(watchers.drain(..3));
    let mut late: Vec<Watcher> = cases
        .iter()
        .map(|(namespace, labels, fields, _)| pods(&cache, filter(&cache, namespace, labels, fields), before))
        .collect();
    for (watcher, case) in watchers.iter_mut().zip(&cases[3..]).chain(late.iter_mut().zip(&cases)) {
        let expected: Vec<_> = case.3.iter().map(|kind| (*kind, "p".to_owned())).collect();
        assert_eq!(now(watcher), expected, "{:?}", (case.0, case.1, case.2));
    }
}

#[tokio::test]
async fn nobody_is_cut_off_by_changes_that_do_not_concern_it() {
    let (store, cache) = started().await;
    let drain = CancellationToken::new();
    let kind = cache.kind("pods").unwrap().clone();
    let quiet = options(filter(&cache, "", "", "spec.nodeName=quiet"), &drain);
    let mut quiet = Watcher::after(cache.clone(), kind, cache.revision(), quiet).unwrap().unwrap();
    let mut slow = pods(&cache, filter(&cache, "", "", "spec.nodeName=busy"), cache.revision());
    let large = "x".repeat(1 << 20);
    for _ in 0..70 {
        put_pod(&*store, "n/p", "busy", &large).await;
    }
    cache.catch_up().await.unwrap();
    let err = timeout(DEADLINE, slow.batch()).await.unwrap().unwrap_err();
    assert_eq!(err.reason(), Reason::Expired, "{err}");
    put_pod(&*store, "n/q", "quiet", "1").await;
    cache.catch_up().await.unwrap();
    assert_eq!(now(&mut quiet), [(EventKind::Added, "q".to_owned())]);
    put_pod(&*store, "n/p", "busy", "2").await;
    let newest = cache.catch_up().await.unwrap();
    drain.cancel();
    let last = timeout(DEADLINE, quiet.batch()).await.unwrap().unwrap().unwrap();
    assert_eq!((last.len(), last[0].revision()), (1, newest), "a bookmark tells how far an idle watcher has come");
}

#[tokio::test]
async fn a_list_by_node_is_what_a_scan_finds() {
    let (store, cache) = started().await;
    for i in 0..300_usize {
        put_pod(&*store, &format!("n{}/p{}", i % 3, i % 40), ["", "n1", "n2"][i * 7 % 11 % 3], "1").await;
        if i % 5 == 4 {
            remove_pod(&*store, &format!("n{}/p{}", i % 3, i % 40)).await;
        }
    }
    cache.catch_up().await.unwrap();
    let snapshot = cache.kind("pods").unwrap().snapshot(0);
    for namespace in ["", "n1", "n4"] {
        for fields in ["spec.nodeName=n1", "spec.nodeName=", "spec.nodeName=n9", "metadata.name=p7"] {
            for after in ["", "n0/p9", "n1/p1", "n1/p7", "n9/"] {
                let filter = filter(&cache, namespace, "", fields);
                let scanned = snapshot.items.iter().map(|row| &row.0).filter(|i| filter.matches(i) && i.key() > after);
                let scanned: Vec<&str> = scanned.map(|item| item.key()).collect();
                let found: Vec<&str> = filter.select(&snapshot, after).map(|item| item.key()).collect();
                assert_eq!(found, scanned, "{namespace:?} {fields} behind {after:?}");
            }
        }
    }
    let one = filter(&cache, "", "", "spec.nodeName=n1");
    let there = snapshot.with_value("n1").map_or(0, imbl::OrdSet::len);
    assert_eq!(one.select(&snapshot, "").count(), there, "no other node's pods are looked at");
    assert!(there > 0);
}

#[tokio::test]
async fn a_watcher_that_has_left_costs_nothing() {
    let (store, cache) = started().await;
    for i in 0..100 {
        drop(pods(&cache, filter(&cache, "", "", &format!("spec.nodeName=n{i}")), cache.revision()));
        drop(pods(&cache, filter(&cache, "n", "", &format!("metadata.name=p{i}")), cache.revision()));
    }
    assert!(cache.kind("pods").unwrap().is_unwatched());
    put_pod(&*store, "n/p", "n1", "1").await;
    cache.catch_up().await.unwrap();
    assert!(cache.kind("pods").unwrap().is_unwatched());
}
