//! Writes what was judged worth it, several at a time.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use corten_api::{ApiError, Key, Object, Reason};
use k8s_openapi::api::core::v1::Event;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tracing::warn;

use super::correlate::{Correlator, Record, Said};
use crate::client::{Client, Patch};

/// Writes under way at a time.
const WRITERS: usize = 16;
/// Events that wait for one writer; the rest waits in the recorder's queue.
const WRITER_QUEUE_MAX: usize = 32;
/// An apiserver may be away for a moment, or have too much to do; after about half a minute an event is given up.
const TRIES: u32 = 10;
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(5);

/// Where events go: the apiserver, or a test's.
pub(super) trait Sink: Clone + Send + Sync + 'static {
    fn create(&self, event: &Event) -> impl Future<Output = Result<(), ApiError>> + Send;
    fn patch(&self, key: &Key, body: Value) -> impl Future<Output = Result<(), ApiError>> + Send;
}

impl Sink for Client {
    async fn create(&self, event: &Event) -> Result<(), ApiError> {
        Self::create(self, event).await.map(drop)
    }
    async fn patch(&self, key: &Key, body: Value) -> Result<(), ApiError> {
        Self::patch::<Event>(self, key, "", Patch::Merge(body)).await.map(drop)
    }
}

/// Until all recorders are gone and all is written.
pub(super) async fn run(sink: impl Sink, mut correlator: Correlator, mut said: mpsc::Receiver<Said>) {
    let mut writers = Vec::new();
    for _ in 0..WRITERS {
        let (queue, records) = mpsc::channel(WRITER_QUEUE_MAX);
        tokio::spawn(writer(sink.clone(), records));
        writers.push(queue);
    }
    while let Some(said) = said.recv().await {
        let Some(record) = correlator.observe(&said) else { continue };
        let mut hasher = DefaultHasher::new();
        record.event.metadata.name.hash(&mut hasher);
        let index = usize::try_from(hasher.finish() % WRITERS as u64).unwrap_or(0);
        // A writer that is gone was aborted with the runtime.
        if writers[index].send(record).await.is_err() {
            return;
        }
    }
}

async fn writer(sink: impl Sink, mut records: mpsc::Receiver<Record>) {
    while let Some(record) = records.recv().await {
        let (mut tries, mut wait) = (1, RETRY_FIRST);
        while let Err(err) = write(&sink, &record).await {
            let may_pass = err.is_doubtful() || err.is(Reason::TooManyRequests);
            if !may_pass || tries >= TRIES {
                let reason = record.event.reason.as_deref().unwrap_or_default();
                warn!(%err, reason, "an event could not be written");
                break;
            }
            tokio::time::sleep(wait).await;
            (tries, wait) = (tries + 1, (wait * 2).min(RETRY_MAX));
        }
    }
}

async fn write(sink: &impl Sink, record: &Record) -> Result<(), ApiError> {
    let event = &record.event;
    if record.counted {
        let body = json!({"count": event.count, "lastTimestamp": event.last_timestamp, "message": event.message});
        match sink.patch(&event.key(), body).await {
            // The store has forgotten it (events live for an hour), or it never came there: it begins anew.
            Err(err) if err.is(Reason::NotFound) => {}
            patched => return patched,
        }
    }
    match sink.create(event).await {
        // A try whose answer was lost.
        Err(err) if err.is(Reason::AlreadyExists) => Ok(()),
        created => created,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use k8s_openapi::api::core::v1::ObjectReference;
    use parking_lot::Mutex;

    use super::*;
    use crate::events::{EventType, Recorder};

    const DEADLINE: Duration = Duration::from_secs(60);

    /// An apiserver that takes its time, and of every so many writes loses one's answer.
    #[derive(Clone, Default)]
    struct Slow {
        counts: Arc<Mutex<BTreeMap<Key, i64>>>,
        calls: Arc<AtomicUsize>,
        loses_every: usize,
    }

    impl Slow {
        async fn answer(
            &self,
            change: impl FnOnce(&mut BTreeMap<Key, i64>) -> Result<(), ApiError>,
        ) -> Result<(), ApiError> {
            tokio::time::sleep(Duration::from_millis(10)).await;
            let done = change(&mut self.counts.lock());
            let call = self.calls.fetch_add(1, Ordering::SeqCst);
            if self.loses_every > 0 && call.is_multiple_of(self.loses_every) {
                return Err(ApiError::unavailable("no answer"));
            }
            done
        }
    }

    impl Sink for Slow {
        async fn create(&self, event: &Event) -> Result<(), ApiError> {
            let (key, count) = (event.key(), i64::from(event.count.unwrap()));
            self.answer(|all| match all.insert(key.clone(), count) {
                None => Ok(()),
                Some(_) => Err(ApiError::already_exists("", "events", &key.name)),
            })
            .await
        }
        async fn patch(&self, key: &Key, body: Value) -> Result<(), ApiError> {
            let count = body["count"].as_i64().unwrap();
            self.answer(|all| match all.get_mut(key) {
                Some(known) => {
                    *known = count;
                    Ok(())
                }
                None => Err(ApiError::not_found("", "events", &key.name)),
            })
            .await
        }
    }

    fn pod(n: usize) -> ObjectReference {
        let name = Some(format!("pod-{n}"));
        ObjectReference { kind: Some("Pod".into()), namespace: Some("ns".into()), name, ..ObjectReference::default() }
    }

    async fn until(sink: &Slow, done: impl Fn(&BTreeMap<Key, i64>) -> bool) {
        let wait = async {
            while !done(&sink.counts.lock()) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let ended = tokio::time::timeout(DEADLINE, wait).await;
        assert!(ended.is_ok(), "{} events came", sink.counts.lock().len());
    }

    #[tokio::test(start_paused = true)]
    async fn scheduled_is_never_lost_under_a_thousand_pods_at_once() {
        let sink = Slow { loses_every: 20, ..Slow::default() };
        let recorder = Recorder::to(sink.clone(), "default-scheduler", "");
        // Several times over, faster than anything is written.
        for n in 0..5000 {
            recorder.event(&pod(n), EventType::Normal, "Scheduled", format!("Successfully assigned ns/pod-{n} to n1"));
        }
        let started = tokio::time::Instant::now();
        until(&sink, |counts| counts.len() == 5000).await;
        assert!(started.elapsed() < Duration::from_secs(20), "one after the other they take {:?}", started.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn repeats_are_counted_in_order() {
        let sink = Slow::default();
        let recorder = Recorder::to(sink.clone(), "kubelet", "n1");
        for _ in 0..20 {
            recorder.event(&pod(1), EventType::Warning, "BackOff", "Back-off restarting failed container");
        }
        until(&sink, |counts| counts.values().eq(&[20])).await;
    }
}
