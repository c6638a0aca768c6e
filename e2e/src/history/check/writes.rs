//! Rules of writes: each state has one write that explains it, and its preconditions held.

use std::collections::HashMap;

use super::super::record::{Answer, How, Key, Micros, Number, Revision};
use super::timeline::{Object, State, Timeline, Written};
use super::{Rule, Violation};

pub(super) fn check(timeline: &Timeline<'_>, found: &mut Vec<Violation>) {
    let mut done: HashMap<Number, usize> = HashMap::new();
    for (key, object) in &timeline.objects {
        let mut before: Option<&State<'_>> = None;
        for state in &object.states {
            let step = Step { timeline, key, object, before, state };
            if state.is_gone {
                step.check_deletion(found);
            } else {
                step.check_write(&mut done, found);
            }
            before = Some(state);
        }
        for deletes in object.deleted.values() {
            check_deletes(timeline, object, deletes, found);
        }
    }
}

/// One state of an object and the one before it, of those that were seen.
struct Step<'a, 'h> {
    timeline: &'a Timeline<'h>,
    key: &'a Key,
    object: &'a Object<'h>,
    before: Option<&'a State<'h>>,
    state: &'a State<'h>,
}

impl Step<'_, '_> {
    fn check_write(&self, done: &mut HashMap<Number, usize>, found: &mut Vec<Violation>) {
        let state = self.state;
        let Some(written) = self.timeline.writes.get(&state.value) else {
            let says = format!("nobody wrote #{} to {}", state.value, self.key);
            return found.push(Violation::new(Rule::Unexplained, says, [state.source]));
        };
        let (at, asked, write) = (written.at, written.asked, written.write);
        if write.key != *self.key || write.how == How::Delete {
            let says = format!("#{} was not written to {}", state.value, self.key);
            found.push(Violation::new(Rule::Unexplained, says, [at, state.source]));
        }
        if let Some(first) = done.insert(state.value, state.source) {
            let says = format!("#{} is the value of two revisions", state.value);
            found.push(Violation::new(Rule::DoneTwice, says, [at, first, state.source]));
        }
        if let Answer::Refused { .. } = asked.answer {
            let says = format!("#{} was refused, and is at revision {}", state.value, state.revision);
            found.push(Violation::new(Rule::RefusedButDone, says, [at, state.source]));
        }
        self.check_times(state.revision, asked.from, at, found);
        self.check_precondition(written, found);
        self.check_incarnation(written, found);
    }

    /// Whatever is known when a write is asked for has a smaller revision than it will have.
    fn check_times(&self, revision: Revision, asked: Micros, at: usize, found: &mut Vec<Violation>) {
        if self.state.seen < asked {
            found.push(Violation::new(Rule::FromTheFuture, "seen before it was asked for", [at, self.state.source]));
        } else if let Some((known, knows)) = self.timeline.known.before(asked).filter(|(known, _)| *known >= revision) {
            let says = format!("it has revision {revision}, and {known} was known before it was asked for");
            found.push(Violation::new(Rule::RevisionWentBack, says, [at, knows, self.state.source]));
        }
    }

    /// Who names a revision changes that one: nothing lies between.
    fn check_precondition(&self, written: &Written<'_>, found: &mut Vec<Violation>) {
        let Some(expected) = written.write.revision else { return };
        let fits = self.before.is_some_and(|before| before.revision == expected && !before.is_gone);
        if !fits {
            let is = self.before.map_or("no revision".to_owned(), |before| format!("revision {}", before.revision));
            let says =
                format!("#{} at revision {} was made to {expected}, after {is}", self.state.value, self.state.revision);
            let sources = self.before.map(|before| [before.source, self.writer(before).unwrap_or(before.source)]);
            let shows = sources.into_iter().flatten().chain([written.at, self.state.source]);
            found.push(Violation::new(Rule::LostUpdate, says, shows));
        }
    }

    fn writer(&self, state: &State<'_>) -> Option<usize> {
        self.timeline.writes.get(&state.value).map(|written| written.at)
    }

    /// An object is made once, changed while it is there, and gone once it is deleted.
    fn check_incarnation(&self, written: &Written<'_>, found: &mut Vec<Violation>) {
        let (state, key) = (self.state, self.key);
        let mut broken = |rule, says: String, before: Option<&State<'_>>| {
            let shows = before.map(|before| before.source).into_iter().chain([written.at, state.source]);
            found.push(Violation::new(rule, says, shows));
        };
        match self.before {
            Some(before) if before.uid == state.uid => {
                if before.is_gone {
                    let says = format!("{key} of uid {} is there after its deletion", state.uid);
                    broken(Rule::Resurrected, says, Some(before));
                } else if written.write.how == How::Create {
                    broken(Rule::Unexplained, format!("{key} was created while it was there"), Some(before));
                }
                return;
            }
            Some(before) if !before.is_gone => {
                let gone = self.timeline.can_have_gone(self.object, before, state.seen, state.revision);
                if !gone {
                    broken(Rule::Unexplained, format!("{key} has another uid, and nobody deleted it"), Some(before));
                }
            }
            _ => {}
        }
        // It begins here, or somebody made it whose answer and revision nobody saw.
        if !written.write.makes() && self.object.maybe_made.is_none_or(|made| made > state.seen) {
            broken(Rule::Unexplained, format!("{key} was changed, and nobody had made it"), self.before);
        }
    }

    fn check_deletion(&self, found: &mut Vec<Violation>) {
        let (state, key) = (self.state, self.key);
        match self.before {
            Some(before) if before.uid == state.uid && !before.is_gone && before.value == state.value => {}
            // What it was before nobody may have seen, but somebody has written.
            before if before.is_none_or(|before| before.uid != state.uid) && self.writer(state).is_some() => {}
            before => {
                let says = format!("{key} was deleted as #{} of uid {}, which it was not", state.value, state.uid);
                let shows = before.map(|before| before.source).into_iter().chain([state.source]);
                found.push(Violation::new(Rule::Unexplained, says, shows));
            }
        }
        let alive = self.before.filter(|before| before.uid == state.uid).unwrap_or(state);
        if !self.timeline.can_have_gone(self.object, alive, state.seen, state.revision + 1) {
            let says = format!("{key} of uid {} is gone, and nobody deleted it", state.uid);
            found.push(Violation::new(Rule::Unexplained, says, [state.source]));
        }
    }
}

/// All acknowledged deletes of one uid.
fn check_deletes(timeline: &Timeline<'_>, object: &Object<'_>, deletes: &[Written<'_>], found: &mut Vec<Violation>) {
    let Some(delete) = deletes.first() else { return };
    let Answer::Deleted { uid } = &delete.asked.answer else { return };
    if let Some(again) = deletes.get(1) {
        let says = format!("two deletes of uid {uid} are acknowledged");
        found.push(Violation::new(Rule::DoneTwice, says, [delete.at, again.at]));
    }
    let (last, gone) = (object.last_of(uid), object.end_of(uid));
    for delete in deletes {
        if delete.write.uid.as_ref().is_some_and(|wanted| wanted != uid) {
            let says = format!("the delete named another uid than {uid}, which it took");
            found.push(Violation::new(Rule::Precondition, says, [delete.at]));
        }
        let Some(last) = last else { continue };
        if delete.write.revision.is_some_and(|revision| revision != last.revision) {
            let says = format!("the delete named another revision than {}, which it took", last.revision);
            found.push(Violation::new(Rule::Precondition, says, [delete.at, last.source]));
        }
        let written = timeline.writes.get(&last.value);
        if let Some(written) = written.filter(|written| written.asked.from > delete.asked.to) {
            let says = format!("uid {uid} was written after its deletion was acknowledged");
            found.push(Violation::new(Rule::Resurrected, says, [delete.at, written.at, last.source]));
        }
        if let (Some(gone), Some((after, at))) = (gone, timeline.after_delete(delete))
            && after < gone.revision
        {
            let says = format!("the deletion has revision {}, and what was written after it {after}", gone.revision);
            found.push(Violation::new(Rule::RevisionWentBack, says, [delete.at, gone.source, at]));
        }
    }
}
