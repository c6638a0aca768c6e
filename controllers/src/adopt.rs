//! Who owns what: adoption of orphans that match a selector, and release of what no longer does.

pub mod decide;

use std::time::Duration;

use corten_api::k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use corten_api::{ApiError, Key, Object, Reason};
use corten_client::{Cache, Client, Next, Patch};
use serde_json::json;
use tracing::warn;

use crate::context::Context;

/// Until what could not be adopted or released is tried again.
const AGAIN_AFTER: Duration = Duration::from_secs(30);

/// An object that is to be adopted or released: the copy that the decision was made on.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    pub key: Key,
    pub uid: String,
}

/// Asks the apiserver, not the cache: an owner that has gone, or that comes again under its name, must not adopt.
pub async fn may_adopt<O: Object>(client: &Client, owner: &O) -> Result<bool, ApiError> {
    match client.get::<O>(&owner.key()).await {
        Ok(live) => Ok(live.uid() == owner.uid() && !live.is_deleting()),
        Err(err) if err.is(Reason::NotFound) => Ok(false),
        Err(err) => Err(err),
    }
}

/// Adds `owner` to the object's owners. Returns the revision at which it stands.
async fn adopt<K: Object>(client: &Client, target: &Target, owner: OwnerReference) -> Result<i64, ApiError> {
    // The uid makes the patch fail if the object was replaced meanwhile by another of its name.
    let patch = json!({"metadata": {"uid": target.uid, "ownerReferences": [owner]}});
    Ok(client.patch::<K>(&target.key, "", Patch::Strategic(patch)).await?.revision())
}

/// Takes the owner with `owner_uid` from the object's owners. Invalid, if it was not there any more.
async fn release<K: Object>(client: &Client, target: &Target, owner_uid: &str) -> Result<i64, ApiError> {
    let patch = json!({"metadata": {
        "uid": target.uid,
        "ownerReferences": [{"$patch": "delete", "uid": owner_uid}],
    }});
    Ok(client.patch::<K>(&target.key, "", Patch::Strategic(patch)).await?.revision())
}

/// How a look goes on after a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// Not at all: what changed comes back as events, which ask for the next look.
    Wait,
    /// With what is owned already, and again then: what could not be had or let go is tried at the next look.
    GoOn(Next),
}

/// What came of the writes of a claim.
#[derive(Debug, Default)]
pub struct Outcome {
    revision: i64,
    is_refused: bool,
    failed: Option<ApiError>,
}

impl Outcome {
    /// Of one object, at the revision at which it was written. One that cannot be had keeps no other from being had.
    pub fn note<O: Object>(&mut self, owner: &O, target: &Target, written: Result<i64, ApiError>) {
        match written {
            Ok(at) => self.revision = self.revision.max(at),
            // Gone, or replaced by another of its name: the watch tells.
            Err(err) if err.is(Reason::NotFound) || err.is(Reason::Conflict) => {}
            // Nobody knows whether it was done, or it may be tried again at once.
            Err(err) if err.is_doubtful() || err.is(Reason::TooManyRequests) => {
                self.failed.get_or_insert(err);
            }
            // Somebody else's by now, of which the watch tells; or an object that may not be written at all.
            Err(err) => {
                warn!(kind = O::KIND, owner = %owner.key(), object = %target.key, %err, "cannot adopt or release; trying again");
                self.is_refused = true;
            }
        }
    }

    /// The highest revision that was written.
    pub fn revision(&self) -> i64 {
        self.revision
    }

    pub fn settled(self) -> Result<Settled, ApiError> {
        match self {
            Self { failed: Some(err), .. } => Err(err),
            Self { revision: 0, is_refused: true, .. } => Ok(Settled::GoOn(Next::After(AGAIN_AFTER))),
            Self { .. } => Ok(Settled::Wait),
        }
    }
}

/// Whichever is sooner.
pub fn sooner(one: Next, other: Next) -> Next {
    match (one, other) {
        (Next::After(one), Next::After(other)) => Next::After(one.min(other)),
        (Next::Done, next) | (next, Next::Done) => next,
    }
}

/// Does what [`decide::claim`] decided. Returns once `cache` shows it.
pub async fn settle<O: Object, K: Object, T>(
    context: &Context,
    cache: &Cache<T>,
    owner: &O,
    claim: &decide::Claim<Target>,
) -> Result<Settled, ApiError> {
    if claim.is_settled() {
        return Ok(Settled::GoOn(Next::Done));
    }
    let (client, mut outcome) = (&context.client, Outcome::default());
    for target in &claim.release {
        outcome.note(owner, target, release::<K>(client, target, owner.uid()).await);
    }
    if !claim.adopt.is_empty() && may_adopt(client, owner).await? {
        for target in &claim.adopt {
            outcome.note(owner, target, adopt::<K>(client, target, owner.controller_reference()).await);
        }
    }
    context.caught_up(cache, outcome.revision()).await;
    outcome.settled()
}

#[cfg(test)]
mod tests {
    use corten_api::k8s_openapi::api::apps::v1::ReplicaSet;

    use super::*;

    #[test]
    fn a_look_goes_on_where_nothing_could_be_had_and_waits_where_something_was() {
        let wrong = |reason| ApiError::new(reason, "no");
        let (conflict, invalid) = (|| Err(wrong(Reason::Conflict)), || Err(wrong(Reason::Invalid)));
        let gone = || Err(wrong(Reason::NotFound));
        let down = || Err(wrong(Reason::ServiceUnavailable));
        let again = Settled::GoOn(Next::After(AGAIN_AFTER));
        let cases = [
            ("written", vec![Ok(7), Ok(5)], Ok((Settled::Wait, 7))),
            ("gone: the watch tells", vec![gone()], Ok((Settled::Wait, 0))),
            ("replaced: the watch tells", vec![conflict()], Ok((Settled::Wait, 0))),
            ("refused", vec![gone(), invalid()], Ok((again, 0))),
            ("one is refused and the other written", vec![invalid(), Ok(7)], Ok((Settled::Wait, 7))),
            ("nobody answers", vec![invalid(), down(), Ok(7)], Err(Reason::ServiceUnavailable)),
        ];
        for (why, written, expected) in cases {
            let (owner, mut outcome) = (ReplicaSet::default(), Outcome::default());
            let target = Target { key: Key::new("ns", "a"), uid: "u".into() };
            written.into_iter().for_each(|written| outcome.note(&owner, &target, written));
            let at = outcome.revision();
            let got = outcome.settled().map(|settled| (settled, at)).map_err(|err| err.reason());
            assert_eq!(got, expected, "{why}");
        }
        let secs = |secs| Next::After(Duration::from_secs(secs));
        assert_eq!(
            [sooner(secs(1), secs(2)), sooner(Next::Done, secs(2)), sooner(secs(1), Next::Done)],
            [secs(1), secs(2), secs(1)]
        );
    }
}
