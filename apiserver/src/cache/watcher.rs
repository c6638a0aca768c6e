//! One watcher: reads the changes of its interest at its own pace, and tells of what concerns its selector.

mod asked;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use corten_api::ApiError;
use futures::future::BoxFuture;
use tokio::sync::watch;
use tokio::time::{Instant, Interval, MissedTickBehavior};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::kind_cache::Subscription;
use super::ring::Step;
use super::{Cache, Closed, Filter, Item, KindCache, Snapshot};
use crate::registry::{Convert, SelectableField};
use crate::resources::{Event, EventKind};

/// Events in one batch: a watcher that is behind catches up in bounded steps.
const BATCH_MAX: usize = 256;
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);

/// In which version a watcher is shown what is stored.
pub(crate) enum Shown {
    AsStored,
    Local(Convert),
    /// Somebody else is asked, of many objects together.
    Asked(Ask),
}

/// Gives objects in the version that is wanted, in their order.
pub(crate) type Ask = Box<dyn Fn(Vec<Arc<Item>>) -> BoxFuture<'static, Result<Vec<Arc<Item>>, ApiError>> + Send + Sync>;

pub(crate) struct WatcherOptions {
    pub(crate) filter: Filter,
    pub(crate) shown: Shown,
    pub(crate) api_version: String,
    pub(crate) kind: Arc<str>,
    pub(crate) bookmarks: bool,
    /// Ends the watch, after a last bookmark.
    pub(crate) drain: CancellationToken,
}

/// What a watcher owes once it has told all changes.
enum Due {
    Nothing,
    Bookmark,
    End,
}

pub(crate) struct Watcher {
    cache: Arc<Cache>,
    kind: Arc<KindCache>,
    options: WatcherOptions,
    changes: Subscription,
    initial: Option<Initial>,
    stalls: watch::Receiver<u64>,
    /// Waits from the beginning: all watchers wait for the same, and would be in each other's way with every event.
    drained: Pin<Box<WaitForCancellationFutureOwned>>,
    bookmarks: Interval,
    /// It owes a bookmark once it has told what the cache has.
    reports: bool,
    seen: i64,
    ended: bool,
    /// How often it has looked for changes.
    #[cfg(test)]
    pub(super) looks: usize,
}

/// The state that a watch begins with, as far as it is still to be told.
struct Initial {
    snapshot: Snapshot,
    after: String,
    end_bookmark: bool,
}

impl Watcher {
    /// The changes after `revision`, which the cache has reached; refused within if they are not all kept.
    pub(crate) fn after(
        cache: Arc<Cache>,
        kind: Arc<KindCache>,
        revision: i64,
        options: WatcherOptions,
    ) -> Result<Result<Self, ApiError>, Closed> {
        let changes = kind.subscribe_after(revision, &options.candidates())?;
        Ok(changes.map(|changes| Self::new(cache, kind, options, changes, revision, None)))
    }
    /// Tells how far it has come as soon as it has told all that the cache has.
    pub(crate) fn that_reports(self) -> Self {
        Self { reports: true, ..self }
    }
    /// The state first.
    pub(crate) fn from_state(
        cache: Arc<Cache>,
        kind: Arc<KindCache>,
        end_bookmark: bool,
        options: WatcherOptions,
    ) -> Result<Self, Closed> {
        let (snapshot, changes) = kind.subscribe(cache.revision(), &options.candidates())?;
        let seen = snapshot.revision;
        let initial = Initial { snapshot, after: String::new(), end_bookmark };
        Ok(Self::new(cache, kind, options, changes, seen, Some(initial)))
    }
    fn new(
        cache: Arc<Cache>,
        kind: Arc<KindCache>,
        options: WatcherOptions,
        changes: Subscription,
        seen: i64,
        initial: Option<Initial>,
    ) -> Self {
        // Spread out: watchers that began together need not speak together.
        let first = BOOKMARK_EVERY.mul_f64(0.75 + 0.25 * rand::random::<f64>());
        let mut bookmarks = tokio::time::interval_at(Instant::now() + first, BOOKMARK_EVERY);
        bookmarks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let stalls = cache.stalls();
        let drained = Box::pin(options.drain.clone().cancelled_owned());
        Self {
            cache,
            stalls,
            drained,
            kind,
            options,
            changes,
            initial,
            bookmarks,
            reports: false,
            seen,
            ended: false,
            #[cfg(test)]
            looks: 0,
        }
    }

    /// The next events, not none; `None` at the end.
    pub(crate) async fn batch(&mut self) -> Result<Option<Vec<Event>>, ApiError> {
        if self.ended {
            return Ok(None);
        }
        while let Some(initial) = self.initial.take() {
            let Some(events) = self.tell_initial(initial).await? else { return Ok(None) };
            if !events.is_empty() {
                return Ok(Some(events));
            }
        }
        let mut due = if self.reports { Due::Bookmark } else { Due::Nothing };
        loop {
            let Some(events) = self.read_changes().await? else { return Ok(None) };
            if !events.is_empty() {
                return Ok(Some(events));
            }
            match due {
                Due::Nothing => {}
                Due::Bookmark => {
                    self.reports = false;
                    return Ok(Some(vec![self.bookmark(false)]));
                }
                Due::End => {
                    self.ended = true;
                    return Ok(self.options.bookmarks.then(|| vec![self.bookmark(false)]));
                }
            }
            // What is due is told after one more look: nothing may have woken this watcher for long, and a bookmark
            // tells how far it has come.
            due = tokio::select! {
                () = self.changes.changed() => Due::Nothing,
                _ = self.bookmarks.tick(), if self.options.bookmarks => Due::Bookmark,
                () = &mut self.drained => Due::End,
                // Silence would look like peace: who watches another server gets what happens meanwhile.
                Ok(()) = self.stalls.changed() => return Err(stalled()),
            };
        }
    }

    /// `None`: the server ends.
    async fn tell_initial(&mut self, mut initial: Initial) -> Result<Option<Vec<Event>>, ApiError> {
        let chosen: Vec<Arc<Item>> = {
            let candidates = self.options.candidates();
            candidates.select(&initial.snapshot, &initial.after).take(BATCH_MAX).cloned().collect()
        };
        if let Some(last) = chosen.last() {
            initial.after = last.key().to_owned();
        }
        let done = chosen.len() < BATCH_MAX;
        let Some(items) = self.shown(chosen).await? else { return Ok(None) };
        let meant = items.into_iter().filter(|item| self.options.means(item));
        let mut events: Vec<Event> = meant.map(|item| Event { kind: EventKind::Added, item }).collect();
        if !done {
            self.initial = Some(initial);
        } else if initial.end_bookmark {
            events.push(self.bookmark(true));
        }
        Ok(Some(events))
    }

    /// What has happened since the last look, up to a bound; none only if that is all there is. `None`: the server ends.
    async fn read_changes(&mut self) -> Result<Option<Vec<Event>>, ApiError> {
        loop {
            #[cfg(test)]
            {
                self.looks += 1;
            }
            // Read before the changes: what has happened by then is told before a bookmark at this revision.
            let reached = self.cache.revision();
            let (steps, more) = self.changes.read(BATCH_MAX, self.seen)?;
            self.seen = steps.last().map_or(self.seen, |step| step.item.revision);
            let Some(events) = self.events(steps).await? else { return Ok(None) };
            if !events.is_empty() {
                return Ok(Some(events));
            }
            if !more {
                self.seen = self.seen.max(reached);
                return Ok(Some(events));
            }
        }
    }

    async fn events(&mut self, steps: Vec<Step>) -> Result<Option<Vec<Event>>, ApiError> {
        let convert = match &self.options.shown {
            Shown::Asked(_) => return self.asked_events(steps).await,
            Shown::AsStored => None,
            Shown::Local(convert) => Some(convert),
        };
        let mut events = Vec::with_capacity(steps.len());
        for step in steps {
            if let Some(kind) = concern(&self.options.filter, &step) {
                let item = shown(kind, step, self.kind.fields())?;
                let item = convert.map_or(Ok(item.clone()), |convert| converted(convert, &item))?;
                events.push(Event { kind, item });
            }
        }
        Ok(Some(events))
    }

    fn bookmark(&self, initial_events_end: bool) -> Event {
        let annotations =
            if initial_events_end { r#","annotations":{"k8s.io/initial-events-end":"true"}"# } else { "" };
        let json = format!(
            r#"{{"kind":"{}","apiVersion":"{}","metadata":{{"resourceVersion":"{}","creationTimestamp":null{annotations}}}}}"#,
            self.options.kind, self.options.api_version, self.seen
        );
        let item = Item::bookmark(json.as_bytes(), self.seen, initial_events_end);
        Event { kind: EventKind::Bookmark { initial_events_end }, item: Arc::new(item) }
    }
}

fn converted(convert: &Convert, item: &Item) -> Result<Arc<Item>, ApiError> {
    Ok(Arc::new(item.with_object(&convert(&item.object()).map_err(ApiError::internal)?)))
}

fn stalled() -> ApiError {
    ApiError::unavailable("the store cannot be followed, please watch again")
}

/// A watcher that loses an object by its selector is shown the state that matched, at the revision of the change.
fn shown(kind: EventKind, step: Step, fields: &[SelectableField]) -> Result<Arc<Item>, ApiError> {
    match (kind, step.old) {
        (EventKind::Deleted, Some(old)) if !step.deleted => {
            old.deleted(step.item.revision, fields).map(Arc::new).map_err(ApiError::internal)
        }
        _ => Ok(step.item),
    }
}

/// What a change is to a watcher: an object that begins to match is new to it, one that ceases to match is gone.
fn concern(filter: &Filter, step: &Step) -> Option<EventKind> {
    let before = step.old.as_ref().is_some_and(|old| filter.matches(old));
    let now = !step.deleted && filter.matches(&step.item);
    match (before, now) {
        (false, false) => None,
        (false, true) => Some(EventKind::Added),
        (true, true) => Some(EventKind::Modified),
        (true, false) => Some(EventKind::Deleted),
    }
}
