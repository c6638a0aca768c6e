//! What became of a commit that got no answer and was refused when it was sent again: told by what its keys hold, and
//! held before. Of one that deletes its mark tells it (`mark`).
//!
//! A commit has one revision, so what is sure of one of its writes is sure of all. A write whose condition is of a
//! revision that has passed can never be done later. One that creates could be, if the key goes away in time; but what
//! has not been done by then was on its way to a leader that is gone.

use etcd_client::{GetOptions, KvClient};

use super::{Etcd, stored};
use crate::storage::{StorageError, Stored, Write};

/// A key's states are followed back so far.
const STATES_MAX: usize = 16;

/// What a key holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) stored: Stored,
    /// The revision at which the key was made.
    pub(super) created: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Done { revision: i64 },
    NotDone,
    Unknown,
}

/// `found`: what the key of each write holds. `before`: a revision that the store had before the first sending.
pub(super) async fn fate(
    etcd: &Etcd,
    writes: &[Write],
    found: &[Option<Held>],
    before: i64,
) -> Result<Fate, StorageError> {
    for (write, held) in writes.iter().zip(found) {
        let Some(held) = held else { continue };
        let fate = match needs_states(write, held, before) {
            Ok(since) => of_states(write, &states(etcd, held, since).await?),
            Err(fate) => fate,
        };
        if fate != Fate::Unknown {
            return Ok(fate);
        }
    }
    Ok(Fate::Unknown)
}

/// What is sure at once; or the revision back to which the key's states tell.
fn needs_states(write: &Write, held: &Held, before: i64) -> Result<i64, Fate> {
    match write {
        // As it was: nothing has been done to it.
        Write::Update { expected, .. } if held.stored.revision == *expected => Err(Fate::NotDone),
        Write::Create { .. } if held.created <= before => Err(Fate::NotDone),
        Write::Create { .. } => Ok(held.created),
        Write::Update { expected, .. } if held.created <= *expected => Ok(*expected),
        // Deleted and made again since: what was in it before is gone.
        Write::Update { .. } => Err(Fate::Unknown),
        // Their keys tell nothing: it has a mark for that, and is not written.
        Write::Delete { .. } | Write::Expect { .. } => Err(Fate::Unknown),
    }
}

/// What a key's states tell: all that it had, back to the one that the write was to change, or to its making.
fn of_states(write: &Write, states: &[Stored]) -> Fate {
    match write {
        Write::Update { value, expected, .. } => {
            let done = states.iter().find(|s| s.revision > *expected && s.value == *value);
            match done {
                Some(state) => Fate::Done { revision: state.revision },
                None if states.last().is_some_and(|s| s.revision == *expected) => Fate::NotDone,
                None => Fate::Unknown,
            }
        }
        // Another's may stand where ours was, and was deleted.
        Write::Create { value, .. } => match states.last() {
            Some(first) if first.value == *value => Fate::Done { revision: first.revision },
            Some(_) | None => Fate::Unknown,
        },
        Write::Delete { .. } | Write::Expect { .. } => Fate::Unknown,
    }
}

/// The states of a key, the newest first, down to that at revision `since`; fewer if they are too many, or forgotten.
async fn states(etcd: &Etcd, held: &Held, since: i64) -> Result<Vec<Stored>, StorageError> {
    let mut states = vec![held.stored.clone()];
    while let Some(oldest) = states.last().filter(|s| s.revision > since)
        && states.len() < STATES_MAX
    {
        let (key, at) = (oldest.key.clone(), oldest.revision - 1);
        let read = |mut kv: KvClient| {
            let key = key.clone();
            async move { kv.get(key, Some(GetOptions::new().with_revision(at))).await }
        };
        match etcd.read("reading what a key held", at, read).await {
            Ok(response) => match response.0.kvs.into_iter().next() {
                Some(kv) => states.push(stored(kv)?),
                None => break,
            },
            Err(StorageError::Compacted { .. }) => break,
            Err(err) => return Err(err),
        }
    }
    Ok(states)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(value: &'static str, revision: i64) -> Stored {
        Stored { key: "k".into(), value: value.into(), revision }
    }

    #[test]
    fn what_is_known_of_a_write_by_the_states_of_its_key() {
        let update = || Write::Update { key: "k".into(), value: "mine".into(), expected: 5, ttl_secs: None };
        let create = || Write::Create { key: "k".into(), value: "mine".into(), ttl_secs: None };
        let done = |revision| Fate::Done { revision };
        // The write; when its key was made; its states, the newest first.
        let cases = [
            ("as it was", update(), 2, vec![("old", 5)], Fate::NotDone),
            ("another was quicker", update(), 2, vec![("theirs", 9), ("old", 5)], Fate::NotDone),
            ("done, and changed since", update(), 2, vec![("theirs", 9), ("mine", 7), ("old", 5)], done(7)),
            ("too many changes since", update(), 2, vec![("theirs", 9), ("theirs", 8)], Fate::Unknown),
            ("deleted and made again", update(), 8, vec![("theirs", 8)], Fate::Unknown),
            ("it stood there before", create(), 3, vec![("theirs", 9)], Fate::NotDone),
            ("made, and changed since", create(), 6, vec![("theirs", 9), ("mine", 6)], done(6)),
            ("made by another: after ours was deleted?", create(), 6, vec![("theirs", 6)], Fate::Unknown),
        ];
        let before = 4;
        for (why, write, created, states, expected) in cases {
            let states: Vec<Stored> = states.into_iter().map(|(value, revision)| stored(value, revision)).collect();
            let held = Held { stored: states[0].clone(), created };
            let fate = match needs_states(&write, &held, before) {
                Ok(_) => of_states(&write, &states),
                Err(fate) => fate,
            };
            assert_eq!(fate, expected, "{why}");
        }
    }
}
