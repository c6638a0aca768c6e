//! Which writes to an owner's children were asked for and are not settled yet, and what follows from their answers. Pure.
//!
//! The controller chooses its children's names. A create whose answer was lost is therefore asked again under the same
//! name: either it is made now, or it is found. Without that, nobody could tell whether one more child is on its way, and
//! the owner would get one too many. A delete is remembered for the same reason: the next decision could choose another
//! child, and two would go.

use std::collections::BTreeMap;

use corten_api::{ApiError, Reason};

/// One write to a child. `C` is what its maker needs beside the name.
#[derive(Clone, Debug, PartialEq)]
pub enum Ask<C> {
    Create {
        name: String,
        what: C,
    },
    /// Only if it still is the child with this uid.
    Delete {
        name: String,
        uid: String,
    },
}

impl<C> Ask<C> {
    pub fn name(&self) -> &str {
        match self {
            Self::Create { name, .. } | Self::Delete { name, .. } => name,
        }
    }
}

/// What is known of a write.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// It is done: a cache that has reached this revision shows it.
    Done { revision: i64 },
    /// It was refused, and no such child of this owner is there.
    Refused(ApiError),
    /// A deletion: the child is not there any more. Of which revision on is not known.
    Gone,
    /// Nobody knows; it has to be asked again.
    Doubtful(ApiError),
}

/// What has to happen before the owner's children may be decided on.
#[derive(Clone, Debug, PartialEq)]
pub enum Phase<C> {
    /// These have no answer that counts: ask again.
    AskAgain(Vec<Ask<C>>),
    /// The cache does not show yet what is known to be done.
    Await,
    Decide,
}

/// The unsettled writes to the children of one owner. Bounded by what one decision asks for.
#[derive(Clone, Debug)]
pub struct Intents<C> {
    /// By the child's name.
    open: BTreeMap<String, Ask<C>>,
    awaits: i64,
    /// Uids of children that are known to be gone, by name: the cache may still show them.
    gone: BTreeMap<String, String>,
}

impl<C> Default for Intents<C> {
    fn default() -> Self {
        Self { open: BTreeMap::new(), awaits: 0, gone: BTreeMap::new() }
    }
}

impl<C: Clone> Intents<C> {
    /// Remembers a write that goes out. Call this before it is sent: whoever sends may be dropped half-way.
    pub fn begin(&mut self, ask: &Ask<C>) {
        self.open.insert(ask.name().to_owned(), ask.clone());
    }

    pub fn settle(&mut self, ask: &Ask<C>, answer: &Answer) {
        match answer {
            Answer::Doubtful(_) => return,
            Answer::Done { revision } => self.saw(*revision),
            Answer::Gone => {
                if let Ask::Delete { name, uid } = ask {
                    self.gone.insert(name.clone(), uid.clone());
                }
            }
            Answer::Refused(_) => {}
        }
        self.open.remove(ask.name());
    }

    /// Another write of this owner's children was done at `revision`.
    pub fn saw(&mut self, revision: i64) {
        self.awaits = self.awaits.max(revision);
    }

    /// The owner is on its way out: what may have been made for it is looked after by the garbage collector.
    pub fn drop_creates(&mut self) {
        self.open.retain(|_, ask| matches!(ask, Ask::Delete { .. }));
    }

    pub fn holds(&self, name: &str) -> bool {
        self.open.contains_key(name)
    }

    /// `reached`: how far the cache has seen. `shows`: whether it shows the child with this name and uid as one that
    /// stays.
    pub fn phase(&self, reached: i64, shows: impl Fn(&str, &str) -> bool) -> Phase<C> {
        if !self.open.is_empty() {
            Phase::AskAgain(self.open.values().cloned().collect())
        } else if reached < self.awaits || self.gone.iter().any(|(name, uid)| shows(name, uid)) {
            Phase::Await
        } else {
            Phase::Decide
        }
    }

    /// The revision that the cache has to reach, and the children (name, uid) that it has to lose.
    pub fn awaited(&self) -> (i64, Vec<(String, String)>) {
        (self.awaits, self.gone.iter().map(|(name, uid)| (name.clone(), uid.clone())).collect())
    }

    /// The cache has shown all that is awaited.
    pub fn forget_seen(&mut self) {
        self.gone.clear();
    }

    /// Nothing is left to be remembered.
    pub fn is_settled(&self, reached: i64) -> bool {
        self.open.is_empty() && self.gone.is_empty() && self.awaits <= reached
    }
}

/// What an answer to a write says.
#[derive(Clone, Debug, PartialEq)]
pub enum Heard {
    Settled(Answer),
    /// The child is there or gone, whatever the answer says: look at it. Holds the refusal.
    Look(ApiError),
}

/// `made`: the revision at which it was made. `again`: an earlier try had no answer and may have been done.
pub fn created(made: Result<i64, ApiError>, again: bool) -> Heard {
    match made {
        Ok(revision) => Heard::Settled(Answer::Done { revision }),
        Err(err) if err.is_doubtful() => Heard::Settled(Answer::Doubtful(err)),
        // A quota may be full with the very child that the earlier try made.
        Err(err) if again || err.is(Reason::AlreadyExists) => Heard::Look(err),
        Err(err) => Heard::Settled(Answer::Refused(err)),
    }
}

/// `deleted`: the revision of the deletion; `None`: no such child was there. `again` as in [`created`].
pub fn deleted(deleted: Result<Option<i64>, ApiError>, again: bool) -> Heard {
    match deleted {
        Ok(Some(revision)) => Heard::Settled(Answer::Done { revision }),
        Ok(None) => Heard::Settled(Answer::Gone),
        Err(err) if err.is_doubtful() => Heard::Settled(Answer::Doubtful(err)),
        Err(err) if again => Heard::Look(err),
        Err(err) => Heard::Settled(Answer::Refused(err)),
    }
}

/// What is there under a child's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub uid: String,
    pub revision: i64,
    /// The owner of the child that was asked for is its controller.
    pub ours: bool,
    pub going: bool,
}

/// What became of a write that ended with `refusal`, by what the apiserver has under the child's name.
pub fn looked_at<C>(ask: &Ask<C>, found: Result<Found, ApiError>, refusal: ApiError) -> Answer {
    let missing = found.as_ref().is_err_and(|err| err.is(Reason::NotFound));
    match (ask, found) {
        (Ask::Create { .. }, Ok(found)) if found.ours => Answer::Done { revision: found.revision },
        (Ask::Delete { uid, .. }, Ok(found)) if found.uid != *uid => Answer::Gone,
        (Ask::Delete { .. }, Ok(found)) if found.going => Answer::Done { revision: found.revision },
        (Ask::Delete { .. }, Err(_)) if missing => Answer::Gone,
        (_, Err(err)) if !missing => Answer::Doubtful(err),
        _ => Answer::Refused(refusal),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn create(name: &str) -> Ask<()> {
        Ask::Create { name: name.into(), what: () }
    }
    fn lost() -> ApiError {
        ApiError::unavailable("no answer")
    }
    fn taken() -> ApiError {
        ApiError::already_exists("", "pods", "a")
    }
    fn quota() -> ApiError {
        ApiError::forbidden("", "pods", "a", "exceeded quota")
    }

    #[test]
    fn a_write_without_an_answer_is_asked_again_before_anything_is_decided() {
        let mut intents = Intents::default();
        intents.begin(&create("a"));
        assert_eq!(intents.phase(9, |_, _| false), Phase::AskAgain(vec![create("a")]), "its sender was dropped");
        intents.settle(&create("a"), &Answer::Doubtful(lost()));
        assert_eq!(intents.phase(9, |_, _| false), Phase::AskAgain(vec![create("a")]));
        intents.settle(&create("a"), &Answer::Done { revision: 12 });
        assert_eq!(intents.phase(11, |_, _| false), Phase::Await);
        assert_eq!(intents.phase(12, |_, _| false), Phase::Decide);
    }

    #[test]
    fn a_child_that_is_gone_must_leave_the_cache_first() {
        let delete = Ask::<()>::Delete { name: "a".into(), uid: "u".into() };
        let mut intents = Intents::default();
        intents.begin(&delete);
        intents.settle(&delete, &Answer::Gone);
        assert_eq!(intents.phase(0, |name, uid| (name, uid) == ("a", "u")), Phase::Await);
        assert_eq!(intents.phase(0, |_, _| false), Phase::Decide);
    }

    #[test]
    fn answers_table() {
        let settled = |answer| Heard::Settled(answer);
        let cases = [
            ("made", Ok(7), false, settled(Answer::Done { revision: 7 })),
            ("no answer", Err(lost()), false, settled(Answer::Doubtful(lost()))),
            ("no answer again", Err(lost()), true, settled(Answer::Doubtful(lost()))),
            ("refused", Err(quota()), false, settled(Answer::Refused(quota()))),
            ("refused, and an earlier try may have been done", Err(quota()), true, Heard::Look(quota())),
        ];
        for (why, answer, again, expected) in cases {
            assert_eq!(deleted(answer.clone().map(Some), again), expected, "a delete: {why}");
            assert_eq!(created(answer, again), expected, "a create: {why}");
        }
        assert_eq!(created(Err(taken()), false), Heard::Look(taken()), "it is there already");
        assert_eq!(deleted(Ok(None), false), settled(Answer::Gone), "it is not there any more");
    }

    #[test]
    fn looks_table() {
        let found = |uid: &str, ours, going| Ok(Found { uid: uid.into(), revision: 7, ours, going });
        let missing = || Err(ApiError::not_found("", "pods", "a"));
        let (done, refused, doubtful) =
            (Answer::Done { revision: 7 }, Answer::Refused(taken()), Answer::Doubtful(lost()));
        let delete = Ask::Delete { name: "a".into(), uid: "u".into() };
        let cases = [
            ("created: it is ours", create("a"), found("u", true, false), done.clone()),
            ("created: it is another's", create("a"), found("u", false, false), refused.clone()),
            ("created: it went again", create("a"), missing(), refused.clone()),
            ("created: nobody answers", create("a"), Err(lost()), doubtful.clone()),
            ("deleted: it is gone", delete.clone(), missing(), Answer::Gone),
            ("deleted: it is another by now", delete.clone(), found("v", true, false), Answer::Gone),
            ("deleted: it goes", delete.clone(), found("u", true, true), done),
            ("deleted: it stays", delete.clone(), found("u", true, false), refused),
            ("deleted: nobody answers", delete, Err(lost()), doubtful),
        ];
        for (why, ask, found, expected) in cases {
            assert_eq!(looked_at(&ask, found, taken()), expected, "{why}");
        }
    }
}
