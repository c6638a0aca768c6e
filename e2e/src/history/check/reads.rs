//! Rules of reads: none older than what was known before it was asked, none older than the same client's last, lists whole.

use std::collections::{BTreeMap, HashMap};

use super::super::record::{Answer, Asked, At, Key, Kind, Record, Request, Revision, Snapshot, Version, Via};
use super::timeline::Timeline;
use super::{Rule, Violation};

pub(super) fn check(timeline: &Timeline<'_>, found: &mut Vec<Violation>) {
    let mut asked: Vec<(usize, &Asked)> = Vec::new();
    asked.extend(timeline.records.iter().enumerate().filter_map(|(at, record)| match record {
        Record::Asked(asked) => Some((at, asked)),
        Record::Told(_) | Record::Fault { .. } => None,
    }));
    asked.sort_by_key(|(_, asked)| asked.from);
    let mut floors: HashMap<(&str, Via), Floor<'_>> = HashMap::new();
    for (at, asked) in asked {
        let read = Read { timeline, at, asked };
        let floor = floors.entry((&*asked.client, asked.via)).or_default();
        match (&asked.request, &asked.answer) {
            (Request::Get { key, at: At::Newest }, Answer::Found(version)) => read.check_found(key, version, found),
            (Request::Get { key, at: At::Newest }, Answer::Missing) => read.check_missing(key, found),
            (Request::Get { key, at: At::Any }, Answer::Found(version)) => floor.check_get(at, key, version, found),
            (Request::List { kind, at: age }, Answer::Listed(list)) => {
                if *age == At::Newest {
                    read.check_age(list, found);
                } else {
                    floor.check_list(at, *kind, list, found);
                }
                read.check_whole(*kind, list, found);
            }
            // Who is told that there is no such object has read that.
            (Request::Write(write), Answer::Refused { code: 404, .. }) => read.check_missing(&write.key, found),
            _ => {}
        }
    }
}

struct Read<'a, 'h> {
    timeline: &'a Timeline<'h>,
    at: usize,
    asked: &'a Asked,
}

impl Read<'_, '_> {
    fn check_found(&self, key: &Key, version: &Version, found: &mut Vec<Violation>) {
        let Some(object) = self.timeline.objects.get(key) else { return };
        if let Some((known, at)) = object.known.before(self.asked.from).filter(|(known, _)| *known > version.revision) {
            let says = format!("{key} was read at revision {}, after {known} was known", version.revision);
            found.push(Violation::new(Rule::LostOrStale, says, [at, self.at]));
        }
        let deletes = object.deleted.get(&*version.uid).into_iter().flatten();
        for delete in deletes.filter(|delete| delete.asked.to < self.asked.from) {
            let says = format!("{key} was read after the deletion of uid {} was acknowledged", version.uid);
            found.push(Violation::new(Rule::LostOrStale, says, [delete.at, self.at]));
        }
    }

    fn check_missing(&self, key: &Key, found: &mut Vec<Violation>) {
        let Some(object) = self.timeline.objects.get(key) else { return };
        let Some((known, at)) = object.known.before(self.asked.from) else { return };
        let Some(state) = object.at(known).filter(|state| !state.is_gone) else { return };
        if !self.timeline.can_have_gone(object, state, self.asked.to, Revision::MAX) {
            let says = format!("{key} was not found, and nobody has deleted it since revision {known} was known");
            found.push(Violation::new(Rule::LostOrStale, says, [at, self.at]));
        }
    }

    /// A list's revision is the store's: it is not below any that was known.
    fn check_age(&self, list: &Snapshot, found: &mut Vec<Violation>) {
        if let Some((known, at)) =
            self.timeline.known.before(self.asked.from).filter(|(known, _)| *known > list.revision)
        {
            let says = format!("a list is of revision {}, after {known} was known", list.revision);
            found.push(Violation::new(Rule::LostOrStale, says, [at, self.at]));
        }
    }

    /// The items are what there was at the list's revision.
    fn check_whole(&self, kind: Kind, list: &Snapshot, found: &mut Vec<Violation>) {
        let items: BTreeMap<&str, &Version> = list.items.iter().map(|(name, version)| (&**name, version)).collect();
        let timeline = self.timeline;
        for (key, object) in timeline.objects.iter().filter(|(key, _)| key.kind == kind) {
            let (item, state) = (items.get(&*key.name), object.at(list.revision));
            let mut torn = |says: String, at: usize| {
                let says = format!("a list of revision {} {says}", list.revision);
                found.push(Violation::new(Rule::TornList, says, [at, self.at]));
            };
            match (item, state) {
                (Some(item), _) if item.revision > list.revision => {
                    torn(format!("has {key} of revision {}", item.revision), self.at);
                }
                (Some(item), Some(state)) if item.revision != state.revision => {
                    torn(format!("has {key} of {}, not of {}", item.revision, state.revision), state.source);
                }
                (Some(item), _) => {
                    let deletes = object.deleted.get(&*item.uid).into_iter().flatten();
                    for delete in deletes {
                        if timeline.after_delete(delete).is_some_and(|(after, _)| after <= list.revision) {
                            torn(format!("has {key}, which was deleted before"), delete.at);
                        }
                    }
                }
                (None, Some(state)) if !state.is_gone => {
                    let later = [object.last_of(state.uid), object.end_of(state.uid)];
                    let lives = later.iter().flatten().any(|later| later.revision > list.revision);
                    if lives || !timeline.can_have_gone(object, state, self.asked.to, list.revision + 1) {
                        torn(format!("has no {key}, which was there"), state.source);
                    }
                }
                (None, _) => {}
            }
        }
    }
}

/// What a client has read from a process, where it may be old: it never gets older.
#[derive(Default)]
struct Floor<'h> {
    newest: Option<(Revision, usize)>,
    objects: HashMap<(Kind, &'h str), (Revision, usize)>,
}

impl<'h> Floor<'h> {
    fn check_get(&mut self, at: usize, key: &'h Key, version: &Version, found: &mut Vec<Violation>) {
        let known = self.objects.get(&(key.kind, &*key.name)).copied();
        went_back(at, version.revision, known, found);
        self.raise(at, key.kind, &key.name, version.revision);
    }

    fn check_list(&mut self, at: usize, kind: Kind, list: &'h Snapshot, found: &mut Vec<Violation>) {
        went_back(at, list.revision, self.newest, found);
        for (name, version) in &list.items {
            self.raise(at, kind, name, version.revision);
        }
        self.newest = self.newest.max(Some((list.revision, at)));
    }

    fn raise(&mut self, at: usize, kind: Kind, name: &'h str, revision: Revision) {
        let entry = self.objects.entry((kind, name)).or_insert((revision, at));
        *entry = (*entry).max((revision, at));
        self.newest = self.newest.max(Some((revision, at)));
    }
}

fn went_back(at: usize, revision: Revision, known: Option<(Revision, usize)>, found: &mut Vec<Violation>) {
    if let Some((known, before)) = known.filter(|(known, _)| *known > revision) {
        let says = format!("revision {revision} was read after {known}, from the same process");
        found.push(Violation::new(Rule::ReadWentBack, says, [before, at]));
    }
}
