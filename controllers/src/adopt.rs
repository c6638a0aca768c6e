//! Who owns what: adoption of orphans that match a selector, and release of what no longer does.

pub mod decide;

use std::time::Duration;

use corten_api::k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use corten_api::{ApiError, Key, Object, Reason};
use corten_client::{Cache, Client, Next, Patch};
use serde_json::json;
use tracing::warn;

use crate::children::{Owner, RefusedClaims};
use crate::context::Context;

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
#[derive(Debug)]
pub struct Outcome<'a> {
    owner: Owner,
    refused: &'a RefusedClaims,
    revision: i64,
    /// Until the first of what is refused is tried again.
    wait: Option<Duration>,
    failed: Option<ApiError>,
}

impl<'a> Outcome<'a> {
    /// Of nothing so far.
    pub fn of<O: Object>(owner: &O, refused: &'a RefusedClaims) -> Self {
        Self { owner: Owner::of(owner), refused, revision: 0, wait: None, failed: None }
    }

    /// Those of `targets` that are to be written now: others were refused a short time ago.
    pub fn due<'t>(&mut self, targets: &'t [Target]) -> Vec<&'t Target> {
        let mut due = Vec::new();
        for target in targets {
            match self.refused.held_back(&self.owner, &target.uid) {
                None => due.push(target),
                Some(wait) => self.again_after(wait),
            }
        }
        due
    }

    fn again_after(&mut self, wait: Duration) {
        self.wait = Some(self.wait.map_or(wait, |sooner| sooner.min(wait)));
    }

    /// Of one object, at the revision at which it was written. One that cannot be had keeps no other from being had.
    pub fn note(&mut self, target: &Target, written: Result<i64, ApiError>) {
        match written {
            Ok(at) => {
                self.revision = self.revision.max(at);
                self.refused.forget(&self.owner, &target.uid);
            }
            // Gone, or replaced by another of its name: the watch tells.
            Err(err) if err.is(Reason::NotFound) || err.is(Reason::Conflict) => {
                self.refused.forget(&self.owner, &target.uid);
            }
            // Nobody knows whether it was done, or it may be tried again at once.
            Err(err) if err.is_doubtful() || err.is(Reason::TooManyRequests) => {
                self.failed.get_or_insert(err);
            }
            // Somebody else's by now, of which the watch tells; or an object that may not be written at all.
            Err(err) => {
                let wait = self.refused.refused(&self.owner, &target.uid);
                warn!(owner = %self.owner.key, object = %target.key, again_in = ?wait, %err, "cannot adopt or release");
                self.again_after(wait);
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
            Self { revision: 0, wait: Some(wait), .. } => Ok(Settled::GoOn(Next::After(wait))),
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
    let (client, mut outcome) = (&context.client, Outcome::of(owner, context.under_way.refused_claims()));
    for target in outcome.due(&claim.release) {
        outcome.note(target, release::<K>(client, target, owner.uid()).await);
    }
    let adopts = outcome.due(&claim.adopt);
    if !adopts.is_empty() && may_adopt(client, owner).await? {
        for target in adopts {
            outcome.note(target, adopt::<K>(client, target, owner.controller_reference()).await);
        }
    }
    context.caught_up(cache, outcome.revision()).await;
    outcome.settled()
}

#[cfg(test)]
mod tests {
    use corten_api::k8s_openapi::api::apps::v1::ReplicaSet;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_look_goes_on_where_nothing_could_be_had_and_waits_where_something_was() {
        let wrong = |reason| ApiError::new(reason, "no");
        let (conflict, invalid) = (|| Err(wrong(Reason::Conflict)), || Err(wrong(Reason::Invalid)));
        let gone = || Err(wrong(Reason::NotFound));
        let down = || Err(wrong(Reason::ServiceUnavailable));
        let again = Settled::GoOn(Next::After(Duration::from_millis(5)));
        let cases = [
            ("written", vec![Ok(7), Ok(5)], Ok((Settled::Wait, 7))),
            ("gone: the watch tells", vec![gone()], Ok((Settled::Wait, 0))),
            ("replaced: the watch tells", vec![conflict()], Ok((Settled::Wait, 0))),
            ("refused", vec![gone(), invalid()], Ok((again, 0))),
            ("one is refused and the other written", vec![invalid(), Ok(7)], Ok((Settled::Wait, 7))),
            ("nobody answers", vec![invalid(), down(), Ok(7)], Err(Reason::ServiceUnavailable)),
        ];
        for (why, written, expected) in cases {
            let (owner, refused) = (ReplicaSet::default(), RefusedClaims::default());
            let mut outcome = Outcome::of(&owner, &refused);
            let target = Target { key: Key::new("ns", "a"), uid: "u".into() };
            written.into_iter().for_each(|written| outcome.note(&target, written));
            let at = outcome.revision();
            let got = outcome.settled().map(|settled| (settled, at)).map_err(|err| err.reason());
            assert_eq!(got, expected, "{why}");
            let (mut next, again) = (Outcome::of(&owner, &refused), expected == Ok((again, 0)));
            assert_eq!(
                next.due(std::slice::from_ref(&target)).is_empty(),
                again,
                "{why}: what is refused is left alone"
            );
            assert_eq!(next.settled().is_ok_and(|settled| settled != Settled::Wait), again, "{why}");
        }
        let secs = |secs| Next::After(Duration::from_secs(secs));
        assert_eq!(
            [sooner(secs(1), secs(2)), sooner(Next::Done, secs(2)), sooner(secs(1), Next::Done)],
            [secs(1), secs(2), secs(1)]
        );
    }
}
