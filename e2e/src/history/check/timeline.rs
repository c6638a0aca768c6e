//! The states of every object in the order of revisions, from all that anybody was told, and what was known when.

use std::collections::{BTreeMap, HashMap};

use super::super::record::{
    Answer, Asked, How, Key, Kind, Message, Micros, Number, Record, Request, Revision, Told, Version, Write,
};
use super::{Rule, Violation};

pub(super) struct Timeline<'h> {
    pub(super) records: &'h [Record],
    pub(super) objects: BTreeMap<Key, Object<'h>>,
    /// By number.
    pub(super) writes: HashMap<Number, Written<'h>>,
    /// Of anything: the store had this revision by then.
    pub(super) known: Known,
    /// Revisions of writes by when they were asked for.
    later: Known,
}

/// A write with the record that has it.
#[derive(Clone, Copy)]
pub(super) struct Written<'h> {
    pub(super) at: usize,
    pub(super) asked: &'h Asked,
    pub(super) write: &'h Write,
}

#[derive(Default)]
pub(super) struct Object<'h> {
    /// By revision; one each.
    pub(super) states: Vec<State<'h>>,
    /// By uid.
    lives: BTreeMap<&'h str, Life>,
    pub(super) known: Known,
    /// Those that were acknowledged, by the uid that they took.
    pub(super) deleted: BTreeMap<&'h str, Vec<Written<'h>>>,
    /// Deletes without an answer, by when they were asked for.
    pub(super) unknown_deletes: Vec<Written<'h>>,
    /// When the first write without an answer was asked for that can have made the object.
    pub(super) maybe_made: Option<Micros>,
}

/// What was seen of an object of one uid, as indexes of its states.
#[derive(Clone, Copy, Default)]
struct Life {
    last: Option<usize>,
    gone: Option<usize>,
}

/// What an object was at a revision.
#[derive(Clone, Copy, Debug)]
pub(super) struct State<'h> {
    pub(super) revision: Revision,
    pub(super) uid: &'h str,
    pub(super) value: Number,
    /// It was deleted at this revision; the value is the last.
    pub(super) is_gone: bool,
    /// Seen first by this record, then.
    pub(super) source: usize,
    pub(super) seen: Micros,
}

/// The largest revision up to a time.
#[derive(Default)]
pub(super) struct Known {
    /// (time, revision, record), sorted by time; each revision is the largest so far, once `settle` was called.
    learned: Vec<(Micros, Revision, usize)>,
}

impl Known {
    fn settle(&mut self) {
        self.learned.sort_unstable();
        for at in 1..self.learned.len() {
            if self.learned[at].1 < self.learned[at - 1].1 {
                (self.learned[at].1, self.learned[at].2) = (self.learned[at - 1].1, self.learned[at - 1].2);
            }
        }
    }
    /// The largest revision known before a time, with the record that tells it.
    pub(super) fn before(&self, time: Micros) -> Option<(Revision, usize)> {
        let at = self.learned.partition_point(|(learned, ..)| *learned < time).checked_sub(1)?;
        Some((self.learned[at].1, self.learned[at].2))
    }
}

impl<'h> Object<'h> {
    fn settle(&mut self, found: &mut Vec<Violation>) {
        self.known.settle();
        self.unknown_deletes.sort_by_key(|delete| delete.asked.from);
        settle_states(&mut self.states, found);
        for (at, state) in self.states.iter().enumerate() {
            let life = self.lives.entry(state.uid).or_default();
            *(if state.is_gone { &mut life.gone } else { &mut life.last }) = Some(at);
        }
    }
    /// The state at a revision: the last one that is not above it.
    pub(super) fn at(&self, revision: Revision) -> Option<&State<'h>> {
        self.states[..self.states.partition_point(|state| state.revision <= revision)].last()
    }
    /// The last state in which there was an object of this uid.
    pub(super) fn last_of(&self, uid: &str) -> Option<&State<'h>> {
        self.states.get(self.lives.get(uid)?.last?)
    }
    /// Its deletion, if anybody was told of it.
    pub(super) fn end_of(&self, uid: &str) -> Option<&State<'h>> {
        self.states.get(self.lives.get(uid)?.gone?)
    }
}

impl<'h> Timeline<'h> {
    pub(super) fn new(records: &'h [Record], found: &mut Vec<Violation>) -> Self {
        let mut timeline = Self {
            records,
            objects: BTreeMap::new(),
            writes: HashMap::new(),
            known: Known::default(),
            later: Known::default(),
        };
        for (at, record) in records.iter().enumerate() {
            match record {
                Record::Asked(asked) => timeline.take_asked(at, asked, found),
                Record::Told(told) => timeline.take_told(at, told),
                Record::Fault { .. } => {}
            }
        }
        for object in timeline.objects.values_mut() {
            object.settle(found);
        }
        timeline.known.settle();
        timeline.later.settle();
        timeline.check_revisions(found);
        timeline
    }

    fn take_asked(&mut self, at: usize, asked: &'h Asked, found: &mut Vec<Violation>) {
        if let Request::Write(write) = &asked.request {
            self.take_write(Written { at, asked, write }, found);
        }
        match (&asked.request, &asked.answer) {
            (Request::Write(write), Answer::Written(version)) => {
                if version.value != write.number {
                    let says = format!("the answer has #{}", version.value);
                    found.push(Violation::new(Rule::Contradiction, says, [at]));
                }
                self.take_state(at, asked.to, write.key.clone(), version, false);
                // Counted down, so that the smallest one comes out on top.
                self.later.learned.push((Micros::MAX - asked.from, -version.revision, at));
            }
            (Request::Get { key, .. }, Answer::Found(version)) => {
                self.take_state(at, asked.to, key.clone(), version, false);
            }
            (Request::List { kind, .. }, Answer::Listed(list)) => {
                self.known.learned.push((asked.to, list.revision, at));
                for (name, version) in &list.items {
                    self.take_state(at, asked.to, Key { kind: *kind, name: name.clone() }, version, false);
                }
            }
            _ => {}
        }
    }

    fn take_write(&mut self, written: Written<'h>, found: &mut Vec<Violation>) {
        let Written { at, asked, write } = written;
        if let Some(before) = self.writes.insert(write.number, written) {
            found.push(Violation::new(Rule::Contradiction, "two writes have one number", [before.at, at]));
        }
        let object = self.objects.entry(write.key.clone()).or_default();
        match &asked.answer {
            Answer::Deleted { uid } => object.deleted.entry(uid).or_default().push(written),
            Answer::Unknown(_) if write.how == How::Delete => object.unknown_deletes.push(written),
            Answer::Unknown(_) if write.makes() => {
                object.maybe_made = Some(object.maybe_made.map_or(asked.from, |first| first.min(asked.from)));
            }
            _ => {}
        }
    }

    fn take_told(&mut self, at: usize, told: &'h Told) {
        let (name, version, is_gone) = match &told.what {
            Message::Added(name, version) | Message::Modified(name, version) => (name, version, false),
            Message::Deleted(name, version) => (name, version, true),
            Message::Bookmark(revision) => return self.known.learned.push((told.at, *revision, at)),
            Message::Began(_) | Message::Ended(_) => return,
        };
        self.take_state(at, told.at, Key { kind: told.kind, name: name.clone() }, version, is_gone);
    }

    fn take_state(&mut self, source: usize, seen: Micros, key: Key, version: &'h Version, is_gone: bool) {
        let Version { revision, uid, value } = version;
        let (revision, value) = (*revision, *value);
        self.known.learned.push((seen, revision, source));
        let object = self.objects.entry(key).or_default();
        object.known.learned.push((seen, revision, source));
        object.states.push(State { revision, uid, value, is_gone, source, seen });
    }

    /// Every commit has a revision of its own.
    fn check_revisions(&self, found: &mut Vec<Violation>) {
        let mut all: Vec<(Revision, usize)> = Vec::new();
        all.extend(self.objects.values().flat_map(|object| object.states.iter().map(|s| (s.revision, s.source))));
        all.sort_unstable();
        for pair in all.windows(2).filter(|pair| pair[0].0 == pair[1].0) {
            let says = format!("two objects have revision {}", pair[0].0);
            found.push(Violation::new(Rule::Contradiction, says, [pair[0].1, pair[1].1]));
        }
    }

    /// All changes of a kind: revision, and the record that tells it.
    pub(super) fn changes(&self, kind: Kind) -> Vec<(Revision, usize)> {
        let of_kind = self.objects.iter().filter(|(key, _)| key.kind == kind);
        let mut changes: Vec<_> = of_kind.flat_map(|(_, o)| o.states.iter().map(|s| (s.revision, s.source))).collect();
        changes.sort_unstable();
        changes
    }

    /// A write that was asked for after a delete was answered, and its revision: the deletion's is below it.
    pub(super) fn after_delete(&self, delete: &Written<'_>) -> Option<(Revision, usize)> {
        let (revision, at) = self.later.before(Micros::MAX - delete.asked.to)?;
        Some((-revision, at))
    }

    /// Whether a delete can have taken the object that was in this state, asked for by then, at a revision below `below`.
    pub(super) fn can_have_gone(&self, object: &Object<'_>, state: &State<'_>, by: Micros, below: Revision) -> bool {
        let in_time = |delete: &Written<'_>| {
            let known = self.known.before(delete.asked.from);
            delete.asked.from <= by && known.is_none_or(|(revision, _)| revision + 1 < below)
        };
        let fits = |delete: &Written<'_>| {
            let Write { uid, revision, .. } = delete.write;
            uid.as_deref().is_none_or(|uid| uid == state.uid) && revision.is_none_or(|r| r >= state.revision)
        };
        let acknowledged = object.deleted.get(state.uid).into_iter().flatten();
        let unknown = object.unknown_deletes.iter().take_while(|delete| delete.asked.from <= by);
        acknowledged.chain(unknown.filter(|delete| fits(delete))).any(in_time)
    }
}

/// Sorts by revision, and leaves the first that was seen of each.
fn settle_states(states: &mut Vec<State<'_>>, found: &mut Vec<Violation>) {
    states.sort_by_key(|state| (state.revision, state.seen, state.source));
    states.dedup_by(|again, first| {
        let same = again.revision == first.revision;
        if same && (again.uid, again.value, again.is_gone) != (first.uid, first.value, first.is_gone) {
            let says = format!("revision {} has two contents", first.revision);
            found.push(Violation::new(Rule::Contradiction, says, [first.source, again.source]));
        }
        same
    });
}
