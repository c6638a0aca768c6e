//! Keeps a [`Cache`] true to the cluster: the state, then every change, over breaks and failovers.
//!
//! Guarantees: every object ends as the newest state seen; changes of one object come in order; intermediate states
//! may be skipped when a watch has to begin again. The callback is called from one task, never in parallel. A kind that
//! the apiserver does not serve is complete and empty until it is served.

mod listener;

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use corten_api::{ApiError, Key, Object, Reason};
use corten_proto::api::{self, WatchBatch, WatchRequest, watch_event};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use crate::cache::{Cache, Change, Writer};
use crate::client::{Client, decode, resource, retry_after, within};
use crate::panics;
use crate::resource::{ApiResource, PartialObjectMetadata};
use listener::Listener;

/// Until a watch begins. Its state may take longer to come.
const OPEN_TIMEOUT: Duration = Duration::from_secs(15);
const RETRY_FIRST: Duration = Duration::from_millis(20);
const RETRY_MAX: Duration = Duration::from_secs(2);
/// An apiserver tells at once that it has passed the revision that it was asked to report. One of an older release does not know
/// the question, and would tell in a minute: who waits for that is helped by the state.
const REPORT_MAX: Duration = Duration::from_secs(5);
/// Between two states that are asked for because no report came.
const RELIST_EVERY: Duration = Duration::from_secs(30);
/// Between questions for a kind that is not served: one that comes with an upgrade is seen within the longer of the two.
const ABSENT_RETRY_FIRST: Duration = Duration::from_secs(1);
const ABSENT_RETRY_MAX: Duration = Duration::from_secs(60);

/// What to watch. `start` begins.
#[derive(Debug)]
pub struct Watch<K> {
    client: Client,
    resource: api::Resource,
    metadata_only: bool,
    labels: String,
    fields: String,
    /// As messages name the kind.
    kind: Arc<str>,
    object: PhantomData<fn() -> K>,
}

impl Watch<PartialObjectMetadata> {
    /// Of all objects of a kind that is known by its names alone.
    pub(crate) fn metadata(client: &Client, of: &ApiResource) -> Self {
        Self { metadata_only: true, ..Self::of(client, of.at("", ""), of.kind.clone()) }
    }
}

impl<K: Object> Watch<K> {
    pub fn all(client: &Client) -> Self {
        Self::of(client, resource::<K>("", "", ""), K::KIND.into())
    }
    fn of(client: &Client, resource: api::Resource, kind: Arc<str>) -> Self {
        let (labels, fields) = (String::new(), String::new());
        Self { client: client.clone(), resource, metadata_only: false, labels, fields, kind, object: PhantomData }
    }
    #[must_use]
    pub fn namespace(mut self, namespace: &str) -> Self {
        self.resource.namespace = namespace.into();
        self
    }
    /// A label selector in its query form.
    #[must_use]
    pub fn labels(mut self, selector: &str) -> Self {
        self.labels = selector.into();
        self
    }
    /// A field selector in its query form.
    #[must_use]
    pub fn fields(mut self, selector: &str) -> Self {
        self.fields = selector.into();
        self
    }

    /// Watches until `stop`. `on_change` must be quick: it enqueues, it does not work.
    pub fn start(self, stop: &CancellationToken, on_change: impl FnMut(Change<'_, K>) + Send + 'static) -> Cache<K> {
        self.start_reduced(stop, |object| object, on_change)
    }

    /// As `start`, but keeps only what `reduce` makes of each object.
    pub fn start_reduced<T: Send + Sync + 'static>(
        self,
        stop: &CancellationToken,
        reduce: impl FnMut(K) -> T + Send + 'static,
        on_change: impl FnMut(Change<'_, T>) + Send + 'static,
    ) -> Cache<T> {
        let (writer, cache) = Writer::new();
        let listener = Listener::new(self.kind.clone(), on_change);
        let task = Task {
            watch: self,
            writer,
            reduce,
            listener,
            seen: 0,
            pending: None,
            asked_at: 0,
            told: None,
            absent: None,
            relisted: None,
        };
        let stop = stop.clone();
        tokio::spawn(async move { stop.run_until_cancelled_owned(task.run()).await });
        cache
    }
}

struct Task<K, T, R, C> {
    watch: Watch<K>,
    writer: Writer<T>,
    reduce: R,
    listener: Listener<C>,
    /// How far we have seen; 0: begin with the state.
    seen: i64,
    /// A state that is not complete yet.
    pending: Option<BTreeMap<Key, (i64, T)>>,
    /// The revision of which the apiserver was asked to tell us as soon as we have seen it; 0: of none.
    asked_at: i64,
    /// The last refusal that was told of.
    told: Option<String>,
    /// The kind is not served; how long was waited before it was asked for again.
    absent: Option<Duration>,
    /// When the state was last asked for because no report came.
    relisted: Option<Instant>,
}

/// Until when a report is waited for that is asked for now.
fn report_by(now: Instant, relisted: Option<Instant>) -> Instant {
    let soonest = relisted.map_or(now, |at| at + RELIST_EVERY);
    soonest.max(now + REPORT_MAX)
}

impl<K, T, R, C> Task<K, T, R, C>
where
    K: Object,
    R: FnMut(K) -> T,
    C: FnMut(Change<'_, T>),
{
    /// Breaks are part of life; a refusal is not, and is told once while it stays the same.
    fn tell(&mut self, err: &ApiError) {
        let passes = [Reason::ServiceUnavailable, Reason::Expired, Reason::Timeout, Reason::TooManyRequests];
        let refusal = !passes.contains(&err.reason());
        if refusal && self.told.as_deref() != Some(err.message()) {
            warn!(kind = %self.watch.kind, %err, "the watch is refused; trying again");
            self.told = Some(err.message().to_owned());
        } else {
            debug!(kind = %self.watch.kind, %err, "watch interrupted; resuming");
        }
    }

    async fn run(mut self) {
        let mut wait = RETRY_FIRST;
        loop {
            let seen_before = self.seen;
            let Some(err) = self.follow().await else { continue };
            if err.is_no_such_path() {
                let wait = tokio::time::sleep(self.note_absent());
                tokio::select! {
                    () = wait => {}
                    () = self.writer.wanted_above(self.asked_at) => {}
                }
                continue;
            }
            if err.is(Reason::Expired) {
                info!(kind = %self.watch.kind, "the watch fell too far behind; beginning with the state again");
                self.seen = 0;
            }
            wait = if self.seen > seen_before { RETRY_FIRST } else { (wait * 2).min(RETRY_MAX) };
            self.tell(&err);
            tokio::time::sleep(retry_after(&err).unwrap_or(wait)).await;
        }
    }

    /// The whole kind is not served (any more): it has no objects, and who waits for all kinds need not wait for it.
    /// Returns after which time to ask again.
    fn note_absent(&mut self) -> Duration {
        if let Some(before) = self.absent {
            let wait = (before * 2).min(ABSENT_RETRY_MAX);
            self.absent = Some(wait);
            // Asked for after somebody wanted to know: none of its objects can be missed.
            self.writer.advance(self.writer.revision().max(self.asked_at));
            return wait;
        }
        warn!(kind = %self.watch.kind, "is not served: it counts as empty, and is asked for again until it is served");
        self.absent = Some(ABSENT_RETRY_FIRST);
        (self.seen, self.pending) = (0, None);
        self.writer.replace(BTreeMap::new(), &mut |change| self.listener.tell(change));
        // One further than was seen: who waits for an object to change or to go looks again.
        if self.writer.advance((self.writer.revision() + 1).max(self.asked_at)) {
            self.listener.tell(Change::Synced);
        }
        ABSENT_RETRY_FIRST
    }

    /// One stream, until it ends; returns why it did. `None`: it is to be asked anew, and to tell how far it is.
    async fn follow(&mut self) -> Option<ApiError> {
        // Before anything is asked: what is answered then is as new as what is wanted, or tells when it is.
        self.asked_at = self.writer.wanted();
        let (mut stub, connection) = match self.watch.client.stub().await {
            Ok(open) => open,
            Err(err) => return Some(err),
        };
        let request = WatchRequest {
            resource: Some(self.watch.resource.clone()),
            label_selector: self.watch.labels.clone(),
            field_selector: self.watch.fields.clone(),
            resume_after: self.seen,
            metadata_only: self.watch.metadata_only,
            report_at: if self.asked_at > self.seen { self.asked_at } else { 0 },
        };
        self.pending = (self.seen == 0).then(BTreeMap::new);
        let mut batches = match within(OPEN_TIMEOUT, stub.watch(request)).await {
            Ok(batches) => batches.into_inner(),
            Err(status) => return Some(self.watch.client.explain(&connection, status)),
        };
        let report_by = report_by(Instant::now(), self.relisted);
        loop {
            let batch = tokio::select! {
                batch = batches.message() => batch,
                () = connection.left() => return Some(ApiError::unavailable("this apiserver is left for another")),
                // A state that has begun is not begun again for that.
                () = self.writer.wanted_above(self.asked_at.max(self.seen)), if self.pending.is_none() => return None,
                () = tokio::time::sleep_until(report_by), if self.pending.is_none() && self.seen < self.asked_at => {
                    info!(kind = %self.watch.kind, "the apiserver does not report how far it is; beginning with the state again");
                    (self.seen, self.relisted) = (0, Some(Instant::now()));
                    return None;
                }
                key = self.listener.due() => {
                    self.tell_again(&key);
                    continue;
                }
            };
            match batch {
                Ok(Some(batch)) => self.take(batch),
                Ok(None) => return Some(ApiError::unavailable("the apiserver ended the watch")),
                Err(status) => return Some(self.watch.client.explain(&connection, status)),
            }
        }
    }

    /// After a panic of the callback over this object.
    fn tell_again(&mut self, key: &Key) {
        match self.writer.get(key) {
            Some(new) => self.listener.tell(Change::Set { key, old: None, new: &new }),
            None => self.listener.forget(key),
        }
    }

    fn take(&mut self, batch: WatchBatch) {
        for event in &batch.events {
            let Some(object) = &event.object else { continue };
            let key = Key::new(object.namespace.as_str(), object.name.as_str());
            if event.kind() == watch_event::Kind::Deleted {
                self.writer.remove(&key, &mut |change| self.listener.tell(change));
                continue;
            }
            match decode::<K>(object) {
                Ok(decoded) => match (panics::catch(&self.watch.kind, || (self.reduce)(decoded)), &mut self.pending) {
                    (Err(panicked), _) => error!(kind = %self.watch.kind, %key, %panicked, "skipping an object"),
                    (Ok(kept), Some(state)) => drop(state.insert(key, (object.revision, kept))),
                    (Ok(kept), None) => {
                        self.writer.set(key, object.revision, kept, &mut |change| self.listener.tell(change));
                    }
                },
                // One object that we cannot read must not stop the rest.
                Err(err) => error!(%err, "skipping an object"),
            }
        }
        if batch.state_complete
            && let Some(state) = self.pending.take()
        {
            self.writer.replace(state, &mut |change| self.listener.tell(change));
        }
        // Within the state nothing counts as seen: a break there begins it again.
        if self.pending.is_none() {
            self.told = None;
            self.seen = batch.revision;
            if self.absent.take().is_some() {
                info!(kind = %self.watch.kind, "is served now");
            }
            if self.writer.advance(batch.revision) {
                self.listener.tell(Change::Synced);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_report_that_does_not_come_is_made_up_for_in_bounds() {
        let now = Instant::now() + Duration::from_secs(100);
        let ago = |secs: u64| Some(now - Duration::from_secs(secs));
        // when the state was asked for for that, how long a report is waited for
        for (relisted, secs) in [(None, 5), (ago(0), 30), (ago(10), 20), (ago(27), 5), (ago(90), 5)] {
            assert_eq!(report_by(now, relisted), now + Duration::from_secs(secs), "{relisted:?}");
        }
    }
}
