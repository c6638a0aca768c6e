//! Commits whose answer is lost on the way, over a line to a real etcd that can be made deaf and cut.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;

use super::*;
use crate::storage::Storage;
use crate::storage::contract;
use crate::storage::etcd::Endpoints;

const DEADLINE: Duration = Duration::from_secs(10);

/// Forwards to etcd. While it is deaf, what etcd says is lost; a cut ends the connections there are.
struct Line {
    url: String,
    deaf: Arc<AtomicBool>,
    cut: watch::Sender<()>,
}

impl Line {
    async fn to(etcd: &str) -> Self {
        let etcd = etcd.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (deaf, cut) = (Arc::new(AtomicBool::new(false)), watch::Sender::new(()));
        let (deafness, cuts) = (deaf.clone(), cut.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&etcd).await.unwrap();
                tokio::spawn(forward(client, server, deafness.clone(), cuts.subscribe()));
            }
        });
        Self { url, deaf, cut }
    }
    /// From here on new connections work.
    fn mend(&self) {
        self.deaf.store(false, Ordering::SeqCst);
        self.cut.send_replace(());
    }
}

async fn forward(client: TcpStream, server: TcpStream, deaf: Arc<AtomicBool>, mut cut: watch::Receiver<()>) {
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
        (client.into_split(), server.into_split());
    let up = tokio::io::copy(&mut from_client, &mut to_server);
    let down = async {
        let mut buffer = vec![0; 16 << 10];
        while let Ok(n @ 1..) = from_server.read(&mut buffer).await {
            if !deaf.load(Ordering::SeqCst) && to_client.write_all(&buffer[..n]).await.is_err() {
                return;
            }
        }
    };
    // Whichever way ends first ends the other.
    tokio::select! {
        _ = up => {}
        () = down => {}
        _ = cut.changed() => {}
    }
}

/// Commits `writes` so that etcd does it and its answer is lost; then, before the line is mended, `meanwhile`.
async fn unanswered(
    key: &str,
    writes: Vec<Write>,
    meanwhile: impl AsyncFnOnce(&dyn Storage),
) -> Result<Outcome, StorageError> {
    let direct = contract::etcd().await;
    let line = Line::to(&contract::etcd_url()).await;
    let far = Etcd::connect(&Endpoints { urls: vec![line.url.clone()], tls: None }).await.unwrap();
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
    let gone = unanswered(a, vec![Write::Delete { key: a.into(), expected: updated }], async |_| {}).await;
    assert!(revision(&gone) > updated);
}

#[tokio::test]
async fn what_others_did_meanwhile_leaves_it_unknown() {
    let a = "/registry/overtaken/a";
    let outcome = unanswered(a, vec![create(a, "mine")], async |direct| {
        let expected = direct.get(a).await.unwrap().unwrap().revision;
        direct.commit(vec![update(a, "theirs", expected)]).await.unwrap();
    });
    assert!(matches!(outcome.await, Err(StorageError::Unknown { .. })));
}

#[test]
fn what_a_refusal_after_silence_means() {
    let stored = |value: &'static str, revision| Some(Stored { key: "k".into(), value: value.into(), revision });
    let silence = || Some(unavailable("test", "lost".into()));
    let delete = || Write::Delete { key: "k".into(), expected: 5 };
    let cases = [
        ("created", vec![create("k", "v")], vec![stored("v", 7)], Some(7)),
        ("another's", vec![create("k", "v")], vec![stored("w", 7)], None),
        ("updated", vec![update("k", "v", 5)], vec![stored("v", 7)], Some(7)),
        ("as it was", vec![update("k", "v", 5)], vec![stored("v", 5)], None),
        ("deleted", vec![delete()], vec![None], Some(9)),
        ("deleted and made again", vec![delete()], vec![stored("v", 7)], None),
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
        ("half", vec![create("a", "v"), delete()], vec![stored("v", 7), stored("w", 5)], None),
    ];
    for (why, writes, found, expected) in cases {
        match (settle(&writes, 9, found, silence()), expected) {
            (Ok(Outcome::Committed { revision }), Some(expected)) => assert_eq!(revision, expected, "{why}"),
            (Err(StorageError::Unknown { .. }), None) => {}
            (other, _) => panic!("{why}: {other:?}"),
        }
    }
}
