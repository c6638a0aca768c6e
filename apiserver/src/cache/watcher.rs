//! One watcher: reads a shelf's ring at its own pace, and tells of what concerns its selector.

use std::sync::Arc;
use std::time::Duration;

use corten_api::ApiError;
use corten_api::selector::Selector;
use imbl::OrdSet;
use tokio::sync::watch;
use tokio::time::{Instant, Interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::shelf::Step;
use super::{ByKey, Cache, FieldTerms, Item, Shelf, too_old};
use crate::registry::Field;
use crate::resources::{Event, EventKind};

/// Events in one batch: a watcher that is behind catches up in bounded steps.
const BATCH_MAX: usize = 256;
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);

/// Which objects of a kind are meant.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    /// `namespace/`, or empty for all of them.
    pub(crate) namespace_slash: String,
    pub(crate) labels: Selector,
    pub(crate) fields: FieldTerms,
}

impl Filter {
    pub(crate) fn new(namespace: &str, labels: Selector, fields: FieldTerms) -> Self {
        let namespace_slash = if namespace.is_empty() { String::new() } else { format!("{namespace}/") };
        Self { namespace_slash, labels, fields }
    }
    pub(crate) fn matches(&self, item: &Item) -> bool {
        item.key().starts_with(&self.namespace_slash) && item.matches(&self.labels, &self.fields)
    }
    /// Whether every object of the namespace is meant.
    pub(crate) fn is_whole(&self) -> bool {
        self.labels.is_everything() && self.fields.is_everything()
    }
    /// The objects meant, in order, from behind `after` on.
    pub(crate) fn select<'a>(
        &'a self,
        items: &'a OrdSet<ByKey>,
        after: &str,
    ) -> impl Iterator<Item = &'a Arc<Item>> + use<'a> {
        use std::ops::Bound::{Excluded, Included, Unbounded};
        // "0" follows "/": the first key behind those of the namespace.
        let end = self.namespace_slash.strip_suffix('/').map(|ns| format!("{ns}0"));
        let start =
            if after < self.namespace_slash.as_str() { Included(&*self.namespace_slash) } else { Excluded(after) };
        let start = if after.is_empty() && self.namespace_slash.is_empty() { Unbounded } else { start };
        let range = match &end {
            Some(end) => items.range::<_, str>((start, Excluded(end.as_str()))),
            None => items.range::<_, str>((start, Unbounded)),
        };
        let whole = self.is_whole();
        range.map(|row| &row.0).filter(move |item| whole || item.matches(&self.labels, &self.fields))
    }
}

type Convert = fn(&[u8]) -> Result<Vec<u8>, serde_json::Error>;

pub(crate) struct WatcherOptions {
    pub(crate) filter: Filter,
    /// Turns the stored JSON into that of the version asked for.
    pub(crate) convert: Option<Convert>,
    pub(crate) api_version: String,
    pub(crate) kind: &'static str,
    pub(crate) bookmarks: bool,
    /// Ends the watch, after a last bookmark.
    pub(crate) drain: CancellationToken,
}

pub(crate) struct Watcher {
    cache: Arc<Cache>,
    shelf: Arc<Shelf>,
    options: WatcherOptions,
    changed: watch::Receiver<u64>,
    /// The number of the next step to read.
    next: u64,
    initial: Option<Initial>,
    bookmarks: Interval,
    seen: i64,
    ended: bool,
}

/// The state that a watch begins with, as far as it is still to be told.
struct Initial {
    items: OrdSet<ByKey>,
    after: String,
    end_bookmark: bool,
}

impl Watcher {
    /// The changes after `revision`, which the cache has reached.
    pub(crate) fn after(
        cache: Arc<Cache>,
        shelf: Arc<Shelf>,
        revision: i64,
        options: WatcherOptions,
    ) -> Result<Self, ApiError> {
        let next = shelf.seek(revision)?;
        Ok(Self::new(cache, shelf, options, next, revision, None))
    }
    /// The state first.
    pub(crate) fn from_state(
        cache: Arc<Cache>,
        shelf: Arc<Shelf>,
        end_bookmark: bool,
        options: WatcherOptions,
    ) -> Self {
        let (snapshot, next) = shelf.begin(cache.revision());
        let initial = Initial { items: snapshot.items, after: String::new(), end_bookmark };
        Self::new(cache, shelf, options, next, snapshot.revision, Some(initial))
    }
    fn new(
        cache: Arc<Cache>,
        shelf: Arc<Shelf>,
        options: WatcherOptions,
        next: u64,
        seen: i64,
        initial: Option<Initial>,
    ) -> Self {
        let changed = shelf.subscribe();
        // Spread out: watchers that began together need not speak together.
        let first = BOOKMARK_EVERY.mul_f64(0.75 + 0.25 * rand::random::<f64>());
        let mut bookmarks = tokio::time::interval_at(Instant::now() + first, BOOKMARK_EVERY);
        bookmarks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { cache, shelf, options, changed, next, initial, bookmarks, seen, ended: false }
    }

    /// The next events, not none; `None` at the end.
    pub(crate) async fn batch(&mut self) -> Result<Option<Vec<Event>>, ApiError> {
        if self.ended {
            return Ok(None);
        }
        if let Some(initial) = self.initial.take() {
            let events = self.tell_initial(initial)?;
            if !events.is_empty() {
                return Ok(Some(events));
            }
        }
        loop {
            self.changed.borrow_and_update();
            // Read before the ring: what is in the ring by then is told before a bookmark at this revision.
            let reached = self.cache.revision();
            let events = self.read_ring()?;
            if !events.is_empty() {
                return Ok(Some(events));
            }
            if *self.changed.borrow() > self.next {
                continue;
            }
            self.seen = self.seen.max(reached);
            tokio::select! {
                changed = self.changed.changed() => {
                    if changed.is_err() {
                        return Ok(None);
                    }
                }
                _ = self.bookmarks.tick(), if self.options.bookmarks => return Ok(Some(vec![self.bookmark(false)])),
                () = self.options.drain.cancelled() => {
                    self.ended = true;
                    return Ok(self.options.bookmarks.then(|| vec![self.bookmark(false)]));
                }
            }
        }
    }

    fn tell_initial(&mut self, mut initial: Initial) -> Result<Vec<Event>, ApiError> {
        let chosen: Vec<Arc<Item>> =
            self.options.filter.select(&initial.items, &initial.after).take(BATCH_MAX).cloned().collect();
        if let Some(last) = chosen.last() {
            initial.after = last.key().to_owned();
        }
        let done = chosen.len() < BATCH_MAX;
        let mut events =
            chosen.into_iter().map(|item| self.event(EventKind::Added, item)).collect::<Result<Vec<_>, _>>()?;
        if !done {
            self.initial = Some(initial);
        } else if initial.end_bookmark {
            events.push(self.bookmark(true));
        }
        Ok(events)
    }

    fn read_ring(&mut self) -> Result<Vec<Event>, ApiError> {
        let steps = self.shelf.steps(self.next, BATCH_MAX).ok_or_else(|| too_old(self.seen, self.shelf.floor()))?;
        self.next += steps.len() as u64;
        let mut events = Vec::with_capacity(steps.len());
        for step in steps {
            self.seen = step.item.revision;
            if let Some(kind) = concern(&self.options.filter, &step) {
                events.push(self.event(kind, shown(kind, step, self.shelf.fields())?)?);
            }
        }
        Ok(events)
    }

    fn event(&self, kind: EventKind, item: Arc<Item>) -> Result<Event, ApiError> {
        let item = match self.options.convert {
            None => item,
            Some(convert) => Arc::new(item.with_object(&convert(&item.object()).map_err(ApiError::internal)?)),
        };
        Ok(Event { kind, item })
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

/// A watcher that loses an object by its selector is shown the state that matched, at the revision of the change.
fn shown(kind: EventKind, step: Step, fields: &[Field]) -> Result<Arc<Item>, ApiError> {
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
