//! What cannot have been: a history is put together to one timeline of each object, and held against the rules. Pure.
//!
//! All that anybody was told is believed until two things contradict each other: an acknowledgement, an item of a list and
//! an event are each a state of an object at a revision. Revisions are the store's, one for all objects, so the timeline is
//! sorted by them; real time only says what was known before something was asked. A deletion's answer names no revision:
//! it lies somewhere between what was known when it was asked and what was written after it was answered.
//!
//! A write without an answer may have been done, at any time since. A rule that it could explain is not broken.
//!
//! - `timeline`: the states of each object, and what was known when
//! - `writes`: acknowledged writes, preconditions, refusals
//! - `reads`: reads that may not be old, those that may, and lists
//! - `watches`: what each watcher was told

use std::fmt::Write as _;

use super::record::{History, Record};
use timeline::Timeline;

mod reads;
mod timeline;
mod watches;
mod writes;

#[cfg(test)]
mod tests;

/// Of each kind of violation so many are shown: the first ones tell the most.
const SHOWN_MAX: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// One revision of an object has two contents, or one revision two objects.
    Contradiction,
    /// A state, or a deletion, that no write explains.
    Unexplained,
    /// One write made two revisions, or two deletes took one object.
    DoneTwice,
    /// It was refused, and done all the same.
    RefusedButDone,
    /// An acknowledged write was made to a revision that was no longer the object's.
    LostUpdate,
    /// A delete took an object that its preconditions do not fit.
    Precondition,
    /// An object lived on after its deletion.
    Resurrected,
    /// A write's revision is not above one that was known before it was asked for.
    RevisionWentBack,
    /// Something was seen before it was asked for.
    FromTheFuture,
    /// A consistent read misses what was known before it was asked: the write is lost, or the server's state is old.
    LostOrStale,
    /// A read that may be old is older than the one before, by the same client from the same process.
    ReadWentBack,
    /// A list's items are not the state at its revision.
    TornList,
    /// An event at a revision that the watcher has had, or is past.
    OutOfOrder,
    /// A watcher was not told of a change.
    Gap,
    /// ADDED of what it has, MODIFIED or DELETED of what it has not.
    WrongType,
    /// A bookmark passed a change that had not been told.
    BookmarkRanAhead,
}

/// A rule that is broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    pub rule: Rule,
    pub says: String,
    /// Indexes of the records that show it.
    pub shows: Vec<usize>,
}

impl Violation {
    fn new(rule: Rule, says: impl Into<String>, shows: impl IntoIterator<Item = usize>) -> Self {
        let mut shows: Vec<usize> = shows.into_iter().collect();
        shows.sort_unstable();
        shows.dedup();
        Self { rule, says: says.into(), shows }
    }
}

/// Everything in the history that cannot have been.
pub fn check(history: &History) -> Vec<Violation> {
    let mut found = Vec::new();
    let timeline = Timeline::new(&history.records, &mut found);
    writes::check(&timeline, &mut found);
    reads::check(&timeline, &mut found);
    watches::check(&timeline, &mut found);
    found.sort_by_key(|violation| violation.rule);
    found
}

/// For people: each violation with its records, as lines of the history.
pub fn report(history: &History, violations: &[Violation]) -> String {
    let mut text = format!("seed {}: {} violations\n", history.seed, violations.len());
    let mut shown = (None, 0);
    for violation in violations {
        shown = if shown.0 == Some(violation.rule) { (shown.0, shown.1 + 1) } else { (Some(violation.rule), 1) };
        if shown.1 > SHOWN_MAX {
            continue;
        }
        // A String takes all that is written to it.
        let _ = writeln!(text, "{:?}: {}", violation.rule, violation.says);
        for at in &violation.shows {
            let _ = writeln!(text, "    {}", history.records.get(*at).map(Record::to_string).unwrap_or_default());
        }
    }
    text
}
