//! Rules of watches: every change once, in order, without gaps, told as what it is; bookmarks stay behind.

use std::collections::{BTreeMap, HashMap};

use super::super::record::{Answer, Key, Kind, Message, Record, Request, Revision, Snapshot, Version};
use super::timeline::Timeline;
use super::{Rule, Violation};

pub(super) fn check(timeline: &Timeline<'_>, found: &mut Vec<Violation>) {
    let changes: HashMap<Kind, Vec<(Revision, usize)>> =
        Kind::ALL.into_iter().map(|kind| (kind, timeline.changes(kind))).collect();
    let mut watchers: BTreeMap<&str, Watcher<'_, '_>> = BTreeMap::new();
    for record in timeline.records {
        if let Record::Told(told) = record {
            let changes = changes.get(&told.kind).map_or(&[][..], Vec::as_slice);
            watchers.entry(&told.client).or_insert_with(|| Watcher::new(timeline, told.kind, changes));
        }
    }
    for (at, record) in timeline.records.iter().enumerate() {
        match record {
            Record::Asked(asked) => {
                if let (Some(watcher), Request::List { .. }, Answer::Listed(list)) =
                    (watchers.get_mut(&*asked.client), &asked.request, &asked.answer)
                {
                    watcher.end(found);
                    watcher.list(at, list);
                }
            }
            Record::Told(told) => {
                if let Some(watcher) = watchers.get_mut(&*told.client) {
                    watcher.take(at, &told.what, found);
                }
            }
            Record::Fault { .. } => {}
        }
    }
    watchers.values().for_each(|watcher| watcher.end(found));
}

struct Watcher<'a, 'h> {
    timeline: &'a Timeline<'h>,
    kind: Kind,
    /// All of its kind.
    changes: &'a [(Revision, usize)],
    /// Up to where it has been told all.
    at: Option<Position>,
    /// What it must believe to be there, with the records that told it.
    objects: BTreeMap<&'h str, (&'h Version, usize)>,
    /// Before its first list it knows of changes alone.
    has_listed: bool,
}

#[derive(Clone, Copy)]
struct Position {
    revision: Revision,
    /// The record that told it.
    told: usize,
    is_bookmark: bool,
}

impl<'a, 'h> Watcher<'a, 'h> {
    fn new(timeline: &'a Timeline<'h>, kind: Kind, changes: &'a [(Revision, usize)]) -> Self {
        Self { timeline, kind, changes, at: None, objects: BTreeMap::new(), has_listed: false }
    }

    fn list(&mut self, at: usize, list: &'h Snapshot) {
        self.objects = list.items.iter().map(|(name, version)| (&**name, (version, at))).collect();
        self.at = Some(Position { revision: list.revision, told: at, is_bookmark: false });
        self.has_listed = true;
    }

    fn take(&mut self, at: usize, message: &'h Message, found: &mut Vec<Violation>) {
        match message {
            Message::Began(revision) => {
                if let Some(before) = self.at.filter(|before| before.revision != *revision) {
                    let says = format!("a watch began at {revision}, not at {}", before.revision);
                    found.push(Violation::new(Rule::OutOfOrder, says, [before.told, at]));
                }
            }
            Message::Added(name, version) | Message::Modified(name, version) | Message::Deleted(name, version) => {
                if self.advances(at, version.revision, found) {
                    self.apply(at, message, name, version, found);
                }
            }
            Message::Bookmark(revision) => self.bookmark(at, *revision, found),
            Message::Ended(_) => {}
        }
    }

    /// Whether an event is the next one; what should have come before it is a gap.
    fn advances(&mut self, at: usize, revision: Revision, found: &mut Vec<Violation>) -> bool {
        if let Some(before) = self.at.filter(|before| before.revision >= revision) {
            let (rule, says) = if before.is_bookmark {
                (
                    Rule::BookmarkRanAhead,
                    format!("a bookmark at {} came before the event at {revision}", before.revision),
                )
            } else {
                (Rule::OutOfOrder, format!("an event at {revision} came after {}", before.revision))
            };
            found.push(Violation::new(rule, says, [before.told, at]));
            return false;
        }
        self.check_gap(at, revision - 1, Rule::Gap, found);
        self.at = Some(Position { revision, told: at, is_bookmark: false });
        true
    }

    fn bookmark(&mut self, at: usize, revision: Revision, found: &mut Vec<Violation>) {
        if let Some(before) = self.at.filter(|before| before.revision > revision) {
            let says = format!("a bookmark at {revision} came after {}", before.revision);
            return found.push(Violation::new(Rule::OutOfOrder, says, [before.told, at]));
        }
        self.check_gap(at, revision, Rule::BookmarkRanAhead, found);
        self.at = Some(Position { revision, told: at, is_bookmark: true });
    }

    /// Changes since the last position, up to a revision, that were not told.
    fn check_gap(&self, at: usize, up_to: Revision, rule: Rule, found: &mut Vec<Violation>) {
        let Some(before) = self.at else { return };
        let start = self.changes.partition_point(|(revision, _)| *revision <= before.revision);
        let missed = self.changes[start..].iter().take_while(|(revision, _)| *revision <= up_to);
        found.extend(missed.map(|(revision, source)| {
            let says =
                format!("nothing was told of revision {revision}, between {} and what came next", before.revision);
            Violation::new(rule, says, [before.told, *source, at])
        }));
    }

    fn apply(&mut self, at: usize, message: &Message, name: &'h str, version: &'h Version, found: &mut Vec<Violation>) {
        let had = self.objects.get(name).copied();
        let fits = match (message, had) {
            (Message::Added(..), had) => had.is_none(),
            (_, Some((had, _))) => had.uid == version.uid,
            (_, None) => false,
        };
        if self.has_listed && !fits {
            let says = match had {
                Some((had, _)) => format!("what the watcher has of {name} is {had}"),
                None => format!("the watcher has no {name}"),
            };
            found.push(Violation::new(Rule::WrongType, says, had.map(|(_, told)| told).into_iter().chain([at])));
        }
        if let Message::Deleted(..) = message {
            self.objects.remove(name);
        } else {
            self.objects.insert(name, (version, at));
        }
    }

    /// Where the watcher stops, or lists anew: what it still has must not have been deleted by there.
    fn end(&self, found: &mut Vec<Violation>) {
        let Some(end) = self.at else { return };
        for (name, (version, told)) in &self.objects {
            let key = Key { kind: self.kind, name: (*name).to_owned() };
            let object = self.timeline.objects.get(&key);
            let deletes = object.and_then(|object| object.deleted.get(&*version.uid)).into_iter().flatten();
            for delete in deletes {
                let after = self.timeline.after_delete(delete).filter(|(after, _)| *after <= end.revision);
                if let Some((after, _)) = after {
                    let says = format!("nothing was told of the deletion of {key}, which came before revision {after}");
                    found.push(Violation::new(Rule::Gap, says, [*told, delete.at, end.told]));
                }
            }
        }
    }
}
