//! Commits whose answer is lost on the way, over a line to a real etcd that can be made deaf and cut.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;

use super::*;
use crate::storage::contract;
use crate::storage::etcd::Endpoints;
use crate::storage::{Storage, Stored};

const DEADLINE: Duration = Duration::from_secs(10);

/// Forwards to etcd. While it is deaf, what etcd says is lost; a dead one loses all. A cut ends the connections there are.
struct Line {
    url: String,
    deaf: Arc<AtomicBool>,
    /// What is said to etcd is lost, too.
    dead: Arc<AtomicBool>,
    /// Tells of what was lost while the line was deaf or dead.
    lost: watch::Sender<usize>,
    cut: watch::Sender<()>,
}

impl Line {
    async fn to(etcd: &str) -> Self {
        let etcd = etcd.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (deaf, dead) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (lost, cut) = (watch::Sender::new(0), watch::Sender::new(()));
        let (states, losses, cuts) = ((deaf.clone(), dead.clone()), lost.clone(), cut.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&etcd).await.unwrap();
                tokio::spawn(forward(client, server, states.clone(), losses.clone(), cuts.subscribe()));
            }
        });
        Self { url, deaf, dead, lost, cut }
    }
    /// From here on new connections work.
    fn mend(&self) {
        self.deaf.store(false, Ordering::SeqCst);
        self.dead.store(false, Ordering::SeqCst);
        self.cut.send_replace(());
    }
}

async fn forward(
    client: TcpStream,
    server: TcpStream,
    (deaf, dead): (Arc<AtomicBool>, Arc<AtomicBool>),
    lost: watch::Sender<usize>,
    mut cut: watch::Receiver<()>,
) {
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    let is_dead = || dead.load(Ordering::SeqCst);
    let up = pass(from_client, to_server, is_dead, &lost);
    let down = pass(from_server, to_client, || is_dead() || deaf.load(Ordering::SeqCst), &lost);
    // Whichever way ends first ends the other.
    tokio::select! {
        () = up => {}
        () = down => {}
        _ = cut.changed() => {}
    }
}

async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    is_lost: impl Fn() -> bool,
    lost: &watch::Sender<usize>,
) {
    let mut buffer = vec![0; 16 << 10];
    while let Ok(n @ 1..) = from.read(&mut buffer).await {
        if is_lost() {
            lost.send_modify(|bytes| *bytes += n);
        } else if to.write_all(&buffer[..n]).await.is_err() {
            return;
        }
    }
}

/// As a server that has deleted before, and has a lease for its marks.
async fn at_work(line: &Line, key: &str) -> Etcd {
    let far = Etcd::connect(&Endpoints { urls: vec![line.url.clone()], tls: None }).await.unwrap();
    let key = format!("{key}/before");
    let made = revision(&far.commit(vec![create(&key, "1")]).await);
    revision(&far.commit(vec![delete(&key, made)]).await);
    far
}

/// Commits `writes` so that etcd does it and its answer is lost; then, before the line is mended, `meanwhile`.
async fn unanswered(
    key: &str,
    writes: Vec<Write>,
    meanwhile: impl AsyncFnOnce(&dyn Storage),
) -> Result<Outcome, StorageError> {
    let direct = contract::etcd().await;
    let line = Line::to(&contract::etcd_url()).await;
    let far = at_work(&line, key).await;
    let before = far.get(key).await.unwrap();
    line.deaf.store(true, Ordering::SeqCst);
    let commit = tokio::spawn(async move { far.commit(writes).await });
    let done = async {
        while direct.get(key).await.unwrap() == before {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, done).await.expect("etcd commits what it was sent");
    meanwhile(&*direct).await;
    line.mend();
    timeout(2 * DEADLINE, commit).await.expect("a commit ends").unwrap()
}

fn update(key: &str, value: &'static str, expected: i64) -> Write {
    Write::Update { key: key.into(), value: value.into(), expected, ttl_secs: None }
}
fn create(key: &str, value: &'static str) -> Write {
    Write::Create { key: key.into(), value: value.into(), ttl_secs: None }
}
fn revision(outcome: &Result<Outcome, StorageError>) -> i64 {
    match outcome {
        Ok(Outcome::Committed { revision }) => *revision,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_is_found_to_be_done() {
    let (a, b) = ("/registry/lost/a", "/registry/lost/b");
    let direct = contract::etcd().await;
    let made = revision(&unanswered(a, vec![create(a, "1"), create(b, "1")], async |_| {}).await);
    assert_eq!(direct.get(a).await.unwrap().unwrap().revision, made);
    let updated = revision(&unanswered(a, vec![update(a, "2", made)], async |_| {}).await);
    let stored = direct.get(a).await.unwrap().unwrap();
    assert_eq!((stored.revision, &stored.value[..]), (updated, &b"2"[..]), "written once");
    let gone = unanswered(a, vec![delete(a, updated)], async |_| {}).await;
    assert!(revision(&gone) > updated);
}

#[tokio::test]
async fn what_others_did_to_it_meanwhile_does_not_hide_that_it_was_done() {
    let a = "/registry/overtaken/a";
    let outcome = unanswered(a, vec![create(a, "mine")], async |direct| {
        let expected = direct.get(a).await.unwrap().unwrap().revision;
        direct.commit(vec![update(a, "theirs", expected)]).await.unwrap();
    });
    let made = revision(&outcome.await);
    assert!(made < contract::etcd().await.get(a).await.unwrap().unwrap().revision);
}

#[tokio::test]
async fn what_was_deleted_and_made_by_others_meanwhile_leaves_it_unknown() {
    let a = "/registry/remade/a";
    let outcome = unanswered(a, vec![create(a, "mine")], async |direct| {
        let expected = direct.get(a).await.unwrap().unwrap().revision;
        direct.commit(vec![delete(a, expected)]).await.unwrap();
        direct.commit(vec![create(a, "theirs")]).await.unwrap();
    });
    assert!(matches!(outcome.await, Err(StorageError::Unknown { .. })));
}

fn delete(key: &str, expected: i64) -> Write {
    Write::Delete { key: key.into(), expected }
}

#[tokio::test]
async fn of_two_deleters_one_has_deleted_though_neither_was_answered() {
    let a = "/registry/deleters/a";
    let direct = contract::etcd().await;
    for (why, is_own) in [("its own", true), ("another's, before it", false)] {
        let made = revision(&direct.commit(vec![create(a, "1")]).await);
        let line = Line::to(&contract::etcd_url()).await;
        let far = at_work(&line, a).await;
        let lossy = if is_own { &line.deaf } else { &line.dead };
        lossy.store(true, Ordering::SeqCst);
        let mut lost = line.lost.subscribe();
        let sending = tokio::spawn(async move { far.commit(vec![delete(a, made)]).await });
        timeout(DEADLINE, lost.changed()).await.expect("something is sent, and lost").unwrap();
        if is_own {
            let gone = async {
                while direct.get(a).await.unwrap().is_some() {
                    tokio::task::yield_now().await
                }
            };
            timeout(DEADLINE, gone).await.expect("etcd does what it was sent");
        }
        let others = direct.commit(vec![delete(a, made)]).await;
        assert_eq!(matches!(others, Ok(Outcome::Committed { .. })), !is_own, "{why}: {others:?}");
        line.mend();
        let outcome = timeout(2 * DEADLINE, sending).await.expect("a commit ends").unwrap();
        if is_own {
            assert!(revision(&outcome) > made, "{why}");
        } else {
            let refused = Outcome::Refused { index: 0, current: None };
            assert_eq!(outcome.ok(), Some(refused), "{why}: who has not deleted it is told so");
        }
    }
}

#[tokio::test]
async fn a_conflict_that_came_without_an_answer_is_still_a_conflict() {
    let a = "/registry/conflict/a";
    let direct = contract::etcd().await;
    let first = revision(&direct.commit(vec![create(a, "1")]).await);
    revision(&direct.commit(vec![update(a, "theirs", first)]).await);
    let line = Line::to(&contract::etcd_url()).await;
    let far = Etcd::connect(&Endpoints { urls: vec![line.url.clone()], tls: None }).await.unwrap();
    far.current_revision().await.unwrap();
    for (why, write) in [("changed by another", update(a, "mine", first)), ("made by another", create(a, "mine"))] {
        line.deaf.store(true, Ordering::SeqCst);
        let mut lost = line.lost.subscribe();
        let sending = tokio::spawn({
            let far = far.clone();
            async move { far.commit(vec![write]).await }
        });
        timeout(DEADLINE, lost.changed()).await.expect("etcd refuses it, and that is lost").unwrap();
        line.mend();
        let outcome = timeout(2 * DEADLINE, sending).await.expect("a commit ends").unwrap();
        assert!(matches!(&outcome, Ok(Outcome::Refused { current: Some(_), .. })), "{why}: {outcome:?}");
    }
}

#[tokio::test]
async fn a_member_that_falls_silent_is_left_within_two_seconds_by_writes_and_watches() {
    let (silent, other) = (Line::to(&contract::etcd_url()).await, Line::to(&contract::etcd_url()).await);
    let direct = contract::etcd().await;
    let urls = vec![silent.url.clone(), other.url.clone()];
    let far = Etcd::connect(&Endpoints { urls, tls: None }).await.unwrap();
    let now = far.current_revision().await.unwrap();
    let mut watched = far.watch("/registry/silent/", now).await.unwrap();
    silent.deaf.store(true, Ordering::SeqCst);
    let began = std::time::Instant::now();
    let outcome = timeout(DEADLINE, far.commit(vec![create("/registry/silent/a", "1")])).await.unwrap();
    let took = began.elapsed();
    let made = revision(&outcome);
    assert_eq!(direct.get("/registry/silent/a").await.unwrap().unwrap().revision, made, "written once");
    let ended = async { while futures::StreamExt::next(&mut watched).await.is_some_and(|told| told.is_ok()) {} };
    timeout(DEADLINE, ended).await.expect("a watch with a silent member ends");
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[test]
fn what_a_refusal_after_silence_means() {
    let stored = |value: &'static str, revision| {
        let stored = Stored { key: "k".into(), value: value.into(), revision };
        Some(Held { stored, created: 1 })
    };
    let cases = [
        ("created", vec![create("k", "v")], vec![stored("v", 7)], Some(7)),
        ("another's", vec![create("k", "v")], vec![stored("w", 7)], None),
        ("updated", vec![update("k", "v", 5)], vec![stored("v", 7)], Some(7)),
        ("as it was", vec![update("k", "v", 5)], vec![stored("v", 5)], None),
        ("deleted, by whomever", vec![delete("k", 5)], vec![None], None),
        (
            "both, at one revision",
            vec![create("a", "v"), update("k", "w", 5)],
            vec![stored("v", 7), stored("w", 7)],
            Some(7),
        ),
        (
            "never at one revision",
            vec![create("a", "v"), update("k", "w", 5)],
            vec![stored("v", 7), stored("w", 8)],
            None,
        ),
        (
            "done under a fence that has changed since",
            vec![create("a", "v"), Write::Expect { key: "f".into(), expected: 3 }],
            vec![stored("v", 7), stored("x", 8)],
            Some(7),
        ),
        (
            "not done under a fence",
            vec![create("a", "v"), Write::Expect { key: "f".into(), expected: 3 }],
            vec![None, stored("x", 8)],
            None,
        ),
        ("half", vec![create("a", "v"), delete("k", 5)], vec![stored("v", 7), stored("w", 5)], None),
    ];
    for (why, writes, found, expected) in cases {
        assert_eq!(done_at(&writes, &found), expected, "{why}");
    }
}
