//! What every store must do, as one test that both stores pass; and an etcd of its own for each test process.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::StreamExt;
use tokio::time::timeout;

use super::etcd::{Endpoints, Etcd};
use super::memory::Memory;
use super::{Change, ChangeStream, Outcome, Storage, StorageError, Write};

const DEADLINE: Duration = Duration::from_secs(10);

/// An etcd that ends with the test process: a shell holds it, until the process's end of the pipe is closed.
pub(crate) struct EtcdProcess {
    shell: Child,
    pub(crate) url: String,
}

impl EtcdProcess {
    /// As a crash does, but that its machine still refuses connections.
    pub(crate) fn kill(&mut self) {
        drop(self.shell.stdin.take());
    }
}

static ETCD: OnceLock<EtcdProcess> = OnceLock::new();
const SHELL: &str = r#"data=$1; shift; etcd --data-dir "$data" "$@" & cat; kill -9 $!; wait; rm -rf "$data""#;

fn free_url() -> String {
    format!("http://127.0.0.1:{}", free_port())
}
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The members of one cluster, as many as peers.
pub(crate) fn start_etcd(members: usize) -> Vec<EtcdProcess> {
    let peers: Vec<String> = (0..members).map(|_| free_url()).collect();
    let cluster: Vec<String> = peers.iter().enumerate().map(|(i, peer)| format!("m{i}={peer}")).collect();
    let member = |(i, peer): (usize, &String)| {
        let (data, client) = (tempfile::tempdir().unwrap().keep(), free_url());
        let shell = Command::new("sh")
            .args(["-c", SHELL, "etcd"])
            .arg(data)
            .args(["--name", &format!("m{i}"), "--initial-cluster", &cluster.join(",")])
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--log-level", "error"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a shell is there, and etcd (apt: etcd-server)");
        EtcdProcess { shell, url: client }
    };
    peers.iter().enumerate().map(member).collect()
}

/// Where the test process's etcd is.
pub(crate) fn etcd_url() -> String {
    ETCD.get_or_init(|| start_etcd(1).remove(0)).url.clone()
}

/// A connection to the test process's etcd. Tests share it: use keys of your own.
pub(crate) async fn etcd() -> Arc<dyn Storage> {
    drop(rustls::crypto::ring::default_provider().install_default());
    let url = etcd_url();
    Arc::new(connected(vec![url]).await)
}

/// Once the members answer.
pub(crate) async fn connected(urls: Vec<String>) -> Etcd {
    let etcd = Etcd::connect(&Endpoints { urls, tls: None }).await.unwrap();
    let up = async {
        while etcd.current_revision().await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(DEADLINE, up).await.expect("etcd answers");
    etcd
}

/// Puts what no apiserver would into the test process's etcd.
pub(crate) async fn put_raw(key: &[u8], value: &[u8]) {
    let mut client = etcd_client::Client::connect([etcd_url()], None).await.unwrap();
    client.put(key, value, None).await.unwrap();
}

fn create(key: &str, value: &str) -> Write {
    Write::Create { key: key.into(), value: value.to_owned().into(), ttl_secs: None }
}
fn update(key: &str, value: &str, expected: i64) -> Write {
    Write::Update { key: key.into(), value: value.to_owned().into(), expected, ttl_secs: None }
}
async fn committed(store: &dyn Storage, writes: Vec<Write>) -> i64 {
    match store.commit(writes).await.unwrap() {
        Outcome::Committed { revision } => revision,
        refused @ Outcome::Refused { .. } => panic!("{refused:?}"),
    }
}
async fn refused(store: &dyn Storage, writes: Vec<Write>) -> (usize, Option<String>) {
    match store.commit(writes).await.unwrap() {
        Outcome::Refused { index, current } => (index, current.map(|s| String::from_utf8(s.value.to_vec()).unwrap())),
        committed @ Outcome::Committed { .. } => panic!("{committed:?}"),
    }
}
async fn take(stream: &mut ChangeStream, n: usize) -> Vec<Change> {
    let mut got = Vec::new();
    while got.len() < n {
        got.extend(timeout(DEADLINE, stream.next()).await.expect("changes arrive").expect("no end").unwrap().changes);
    }
    got
}

async fn conditions_hold_or_nothing_happens(store: &dyn Storage, at: &str) {
    let (a, b) = (format!("{at}a"), format!("{at}b"));
    let first = committed(store, vec![create(&a, "1")]).await;
    assert_eq!(refused(store, vec![create(&a, "2")]).await, (0, Some("1".into())));
    assert_eq!(refused(store, vec![create(&b, "1"), update(&a, "2", first - 1)]).await, (1, Some("1".into())));
    assert_eq!(store.get(&b).await.unwrap(), None, "a refused commit writes nothing");
    assert_eq!(refused(store, vec![update(&b, "1", first)]).await, (0, None));
    let both = committed(store, vec![create(&b, "1"), update(&a, "2", first)]).await;
    let stored = store.get(&a).await.unwrap().unwrap();
    assert_eq!((stored.revision, &stored.value[..]), (both, &b"2"[..]));
    assert_eq!(refused(store, vec![Write::Delete { key: a.clone(), expected: first }]).await.0, 0);
    committed(store, vec![Write::Delete { key: a.clone(), expected: both }]).await;
    assert_eq!(store.get(&a).await.unwrap(), None);
}

async fn what_is_expected_must_be_so_and_stays(store: &dyn Storage, at: &str) {
    let (a, b, c) = (format!("{at}a"), format!("{at}b"), format!("{at}c"));
    let expect = |key: &str, expected| Write::Expect { key: key.into(), expected };
    let first = committed(store, vec![create(&a, "1")]).await;
    committed(store, vec![create(&b, "1"), expect(&a, first)]).await;
    let stored = store.get(&a).await.unwrap().unwrap();
    assert_eq!((stored.revision, &stored.value[..]), (first, &b"1"[..]), "it is not written");
    let second = committed(store, vec![update(&a, "2", first)]).await;
    assert_eq!(refused(store, vec![create(&c, "1"), expect(&a, first)]).await, (1, Some("2".into())));
    assert_eq!(refused(store, vec![create(&c, "1"), expect(&c, second)]).await, (1, None));
    assert_eq!(store.get(&c).await.unwrap(), None, "a refused commit writes nothing");
    committed(store, vec![create(&c, "1"), expect(&format!("{at}none"), 0)]).await;
    let d = format!("{at}d");
    assert_eq!(refused(store, vec![create(&d, "1"), expect(&a, 0)]).await, (1, Some("2".into())));
}

async fn of_two_deleters_one_has_deleted(store: &dyn Storage, at: &str) {
    let key = format!("{at}a");
    let made = committed(store, vec![create(&key, "1")]).await;
    let delete = || store.commit(vec![Write::Delete { key: key.clone(), expected: made }]);
    let (one, other) = tokio::join!(delete(), delete());
    let refused = Outcome::Refused { index: 0, current: None };
    let outcomes = [one.unwrap(), other.unwrap()];
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == refused).count(), 1, "{outcomes:?}");
    assert!(outcomes.iter().any(|outcome| matches!(outcome, Outcome::Committed { .. })), "{outcomes:?}");
}

async fn lists_are_of_one_revision(store: &dyn Storage, at: &str) {
    let count = 1_203;
    let mut last = 0;
    for chunk in (0..count).collect::<Vec<_>>().chunks(100) {
        last = committed(store, chunk.iter().map(|i| create(&format!("{at}k{i:05}"), "old")).collect()).await;
    }
    let key = format!("{at}k00000");
    let stored = store.get(&key).await.unwrap().unwrap();
    let later = committed(store, vec![update(&key, "new", stored.revision)]).await;
    assert_eq!(store.current_revision().await.unwrap(), later);
    let then = store.list(at, Some(last)).await.unwrap();
    assert_eq!((then.items.len(), then.revision, &then.items[0].value[..]), (count, last, &b"old"[..]));
    assert!(then.items.is_sorted_by_key(|s| s.key.clone()));
    let now = store.list(at, None).await.unwrap();
    assert_eq!((now.items.len(), now.revision, &now.items[0].value[..]), (count, later, &b"new"[..]));
    assert_eq!(store.list(&format!("{at}none/"), None).await.unwrap().items, []);
}

async fn watches_see_every_change_in_order(store: &dyn Storage, at: &str) {
    let (a, b) = (format!("{at}a"), format!("{at}b"));
    let first = committed(store, vec![create(&a, "1")]).await;
    let mut early = store.watch(at, first - 1).await.unwrap();
    let mut late = store.watch(at, first).await.unwrap();
    let second = committed(store, vec![create(&b, "1"), update(&a, "2", first)]).await;
    let third = committed(store, vec![Write::Delete { key: a.clone(), expected: second }]).await;
    let put = |key: &str, value: &'static str, revision, created| Change::Put {
        key: key.into(),
        value: value.into(),
        revision,
        created,
    };
    let expected = [
        put(&a, "1", first, true),
        put(&b, "1", second, true),
        put(&a, "2", second, false),
        Change::Deleted { key: a.clone(), revision: third },
    ];
    let mut got = take(&mut early, 4).await;
    // Within one revision, the order is the store's.
    got[1..3].sort_by_key(|c| format!("{c:?}").contains(&format!("{a:?}")));
    assert_eq!(got, expected);
    assert_eq!(take(&mut late, 3).await.len(), 3);
}

async fn compacted_history_is_refused(store: &dyn Storage, at: &str) {
    let key = format!("{at}a");
    let first = committed(store, vec![create(&key, "1")]).await;
    let second = committed(store, vec![update(&key, "2", first)]).await;
    let third = committed(store, vec![update(&key, "3", second)]).await;
    store.compact(second).await.unwrap();
    store.compact(first).await.expect("compacting what is compacted is no error");
    let compacted = |err: StorageError| assert!(matches!(err, StorageError::Compacted { .. }), "{err:?}");
    compacted(store.list(at, Some(first)).await.unwrap_err());
    match store.watch(at, first - 1).await {
        Err(err) => compacted(err),
        Ok(mut stream) => compacted(stream.next().await.expect("an end is an error").unwrap_err()),
    }
    assert_eq!(store.list(at, Some(second)).await.unwrap().items[0].value, "2");
    let mut stream = store.watch(at, second).await.unwrap();
    assert_eq!(take(&mut stream, 1).await[0].revision(), third);
}

async fn keys_with_a_lifetime_are_kept_for_now(store: &dyn Storage, at: &str) {
    let key = format!("{at}event");
    let write = Write::Create { key: key.clone(), value: "1".into(), ttl_secs: Some(3600) };
    let first = committed(store, vec![write]).await;
    let again = Write::Update { key: key.clone(), value: "2".into(), expected: first, ttl_secs: Some(3600) };
    committed(store, vec![again]).await;
    assert_eq!(store.get(&key).await.unwrap().unwrap().value, "2");
}

async fn contract(store: &dyn Storage) {
    conditions_hold_or_nothing_happens(store, "/registry/conditions/").await;
    what_is_expected_must_be_so_and_stays(store, "/registry/expected/").await;
    lists_are_of_one_revision(store, "/registry/lists/").await;
    watches_see_every_change_in_order(store, "/registry/watches/").await;
    keys_with_a_lifetime_are_kept_for_now(store, "/registry/lifetimes/").await;
    of_two_deleters_one_has_deleted(store, "/registry/deleters/two/").await;
    compacted_history_is_refused(store, "/registry/compaction/").await;
}

#[tokio::test]
async fn memory_keeps_the_contract() {
    contract(&Memory::default()).await;
}

#[tokio::test]
async fn etcd_keeps_the_contract() {
    contract(&*etcd().await).await;
}

#[tokio::test]
async fn an_etcd_that_is_not_there_is_an_error_in_time() {
    drop(rustls::crypto::ring::default_provider().install_default());
    let url = free_url();
    let etcd = Etcd::connect(&Endpoints { urls: vec![url], tls: None }).await.unwrap();
    let err = timeout(Duration::from_secs(30), etcd.current_revision()).await.expect("calls have a deadline");
    assert!(matches!(err, Err(StorageError::Unavailable { .. })));
}
