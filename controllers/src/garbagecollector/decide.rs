//! What happens to an object because of its owners, or to its dependents because it goes.
//!
//! <https://kubernetes.io/docs/concepts/architecture/garbage-collection/>

use std::collections::HashSet;
use std::hash::Hash;

use corten_api::k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

use crate::metadata::SeenMeta;
use crate::monitors::ObjectId;

pub const FOREGROUND: &str = "foregroundDeletion";
pub const ORPHAN: &str = "orphan";

/// What is known of an owner that an object names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnerState {
    /// It is there, or it is of a kind that we know nothing of.
    Solid,
    /// It is there, and waits for its dependents to go first.
    WaitsForDependents,
    /// It is not there: the apiserver said so, not only a cache.
    Absent,
    /// Nobody was asked yet: an object may name any number of owners.
    Unknown,
}

/// An object that names the observed one as an owner.
#[derive(Clone, Debug, PartialEq)]
pub struct Dependent {
    pub id: ObjectId,
    /// Its owner reference has `blockOwnerDeletion`.
    pub blocks: bool,
    /// It is deleted in the foreground itself, and waits for its own dependents.
    pub waits: bool,
}

/// Everything the decision may look at.
#[derive(Clone, Debug)]
pub struct Observed<'a> {
    pub object: &'a SeenMeta,
    pub owners: Vec<(OwnerReference, OwnerState)>,
    pub dependents: Vec<Dependent>,
    /// It waits for itself, by [`is_in_circle`].
    pub in_circle: bool,
    /// `dependents` are all there are: every kind has been seen. Just after a start some may not have been.
    pub complete: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    Background,
    Foreground,
    Orphan,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    Keep,
    /// Deletes the object.
    Delete(Policy),
    /// Takes these owners (by uid) from the object: it has others that stay.
    Disown(Vec<String>),
    /// Makes its references to its owners such that these need not wait for it: they wait in a circle, which has to be
    /// broken somewhere.
    Loosen,
    /// Takes the object from its dependents' owners, then the finalizer from the object. Who they are is asked of the
    /// apiserver: one that a cache does not show yet would be deleted instead.
    OrphanDependents,
    /// Waits until every kind has been seen.
    AwaitCaches,
    /// Looks at more of its owners, in a while.
    LookOn,
    /// Looks at these dependents, which have to go first.
    Await(Vec<ObjectId>),
    RemoveFinalizer(&'static str),
}

pub fn decide(seen: &Observed<'_>) -> Action {
    if seen.object.deleting { for_deleting(seen) } else { for_living(seen) }
}

fn for_deleting(seen: &Observed<'_>) -> Action {
    if seen.object.has_finalizer(ORPHAN) {
        return Action::OrphanDependents;
    }
    if !seen.object.has_finalizer(FOREGROUND) {
        return Action::Keep;
    }
    let blocking: Vec<ObjectId> = seen.dependents.iter().filter(|d| d.blocks).map(|d| d.id.clone()).collect();
    let holds_others = seen.object.owners.iter().any(|o| o.block_owner_deletion == Some(true));
    match blocking.is_empty() {
        true if !seen.complete => Action::AwaitCaches,
        true => Action::RemoveFinalizer(FOREGROUND),
        false if seen.in_circle && holds_others => Action::Loosen,
        false => Action::Await(blocking),
    }
}

/// Whether an object waits, through others that wait too, for itself. `awaited`: those that wait and that an object in
/// turn waits for. Looks at each object once.
pub fn is_in_circle<Id: Clone + Eq + Hash>(start: &Id, awaited: impl Fn(&Id) -> Vec<Id>) -> bool {
    let (mut seen, mut open) = (HashSet::new(), awaited(start));
    while let Some(next) = open.pop() {
        if next == *start {
            return true;
        }
        if seen.insert(next.clone()) {
            open.extend(awaited(&next));
        }
    }
    false
}

fn for_living(seen: &Observed<'_>) -> Action {
    let uids = |keep: &dyn Fn(OwnerState) -> bool| -> Vec<String> {
        seen.owners.iter().filter(|(_, state)| keep(*state)).map(|(owner, _)| owner.uid.clone()).collect()
    };
    if seen.owners.iter().any(|(_, state)| *state == OwnerState::Unknown) {
        // Whatever the others are, it keeps them so far: if they are gone, too, it goes with the last of them.
        let absent = uids(&|state| state == OwnerState::Absent);
        let stays = seen.owners.iter().any(|(_, state)| *state == OwnerState::Solid);
        return match (absent.is_empty(), stays) {
            (false, _) => Action::Disown(absent),
            // With that owner's end it is looked at again. Who is there is not remembered: no look would ever be the last.
            (true, true) => Action::Keep,
            (true, false) => Action::LookOn,
        };
    }
    let leaving = uids(&|state| state != OwnerState::Solid);
    if leaving.is_empty() {
        return Action::Keep;
    }
    if leaving.len() < seen.owners.len() {
        return Action::Disown(leaving);
    }
    let awaited = seen.owners.iter().any(|(_, state)| *state == OwnerState::WaitsForDependents);
    if awaited && seen.dependents.is_empty() && !seen.complete {
        return Action::AwaitCaches;
    }
    if awaited && !seen.dependents.is_empty() {
        // Its own dependents go first too, or the owner would be gone before them.
        return Action::Delete(Policy::Foreground);
    }
    // A policy that somebody wished for before stands.
    match (seen.object.has_finalizer(ORPHAN), seen.object.has_finalizer(FOREGROUND)) {
        (true, _) => Action::Delete(Policy::Orphan),
        (_, true) => Action::Delete(Policy::Foreground),
        _ => Action::Delete(Policy::Background),
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
