//! A watcher whose objects somebody else converts: changes are converted together, each once for all who watch them so, and selected by
//! as they are then. The state before a change has been shown to who keeps up, so that it is there already.

use std::borrow::Cow;
use std::sync::Arc;

use corten_api::ApiError;

use super::{Shown, Watcher, WatcherOptions, converted, stalled};
use crate::cache::ring::Step;
use crate::cache::{Filter, Item};
use crate::resources::{Event, EventKind};

impl WatcherOptions {
    fn is_asked(&self) -> bool {
        matches!(self.shown, Shown::Asked(_))
    }
    /// Which of the stored objects may be meant: what is converted may have other labels and fields.
    pub(super) fn candidates(&self) -> Cow<'_, Filter> {
        if self.is_asked() { Cow::Owned(self.filter.of_place()) } else { Cow::Borrowed(&self.filter) }
    }
    /// Whether one of the candidates, as it is shown, is meant.
    pub(super) fn means(&self, shown: &Item) -> bool {
        !self.is_asked() || self.filter.matches(shown)
    }
}

/// A change, and which of the objects that are asked for are its old and its new one.
struct Change {
    step: Step,
    old: Option<usize>,
    new: Option<usize>,
}

impl Watcher {
    /// Objects as they are shown; `None`: the server ends. Whoever is asked may take his time.
    pub(super) async fn shown(&mut self, items: Vec<Arc<Item>>) -> Result<Option<Vec<Arc<Item>>>, ApiError> {
        let asked = match &self.options.shown {
            Shown::AsStored => return Ok(Some(items)),
            Shown::Local(convert) => {
                return items.iter().map(|item| converted(convert, item)).collect::<Result<_, _>>().map(Some);
            }
            Shown::Asked(_) if items.is_empty() => return Ok(Some(items)),
            Shown::Asked(ask) => ask(items),
        };
        tokio::select! {
            shown = asked => shown.map(Some),
            // Without a bookmark: what is being converted has not been told.
            () = &mut self.drained => {
                self.ended = true;
                Ok(None)
            }
            Ok(()) = self.stalls.changed() => Err(stalled()),
        }
    }

    pub(super) async fn asked_events(&mut self, steps: Vec<Step>) -> Result<Option<Vec<Event>>, ApiError> {
        let (place, by_content) = (self.options.filter.of_place(), self.options.filter.is_by_content());
        let (mut wanted, mut changes) = (Vec::new(), Vec::with_capacity(steps.len()));
        for step in steps.into_iter().filter(|step| place.matches(&step.item)) {
            let mut want = |item: &Arc<Item>| {
                wanted.push(item.clone());
                wanted.len() - 1
            };
            // What was shown before matters to who loses it.
            let old = step.old.as_ref().filter(|_| step.deleted || by_content).map(&mut want);
            let new = (!step.deleted).then(|| want(&step.item));
            changes.push(Change { step, old, new });
        }
        let Some(shown) = self.shown(wanted).await? else { return Ok(None) };
        let events = changes.into_iter().map(|change| self.asked_event(&change, &shown));
        events.filter_map(Result::transpose).collect::<Result<_, _>>().map(Some)
    }

    /// What a change is to this watcher; `None`: nothing.
    fn asked_event(&self, change: &Change, shown: &[Arc<Item>]) -> Result<Option<Event>, ApiError> {
        let Change { step, old, new } = change;
        let of = |at: &Option<usize>| at.and_then(|at| shown.get(at));
        let (old, new, filter) = (of(old), of(new), &self.options.filter);
        let was_meant = old.map_or(step.old.is_some(), |old| filter.matches(old));
        let meant = new.filter(|new| filter.matches(new));
        Ok(match (was_meant, meant, old) {
            (false, None, _) | (true, None, None) => None,
            (false, Some(new), _) => Some(Event { kind: EventKind::Added, item: new.clone() }),
            (true, Some(new), _) => Some(Event { kind: EventKind::Modified, item: new.clone() }),
            (true, None, Some(old)) => {
                let last = old.deleted(step.item.revision, self.kind.fields()).map_err(ApiError::internal)?;
                Some(Event { kind: EventKind::Deleted, item: Arc::new(last) })
            }
        })
    }
}
