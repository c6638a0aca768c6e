//! The one compare-and-swap loop: read from the cache, decide, write if nobody was faster, else again.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::{Arc, OnceLock};
use std::task::Poll;

use bytes::Bytes;
use corten_api::ApiError;
use futures::future::BoxFuture;
use serde_json::Value;

use super::encode::{Encoded, json_of};
use super::place::{Place, no_such_path};
use super::quotas::{self, Charger, Settled};
use super::{Resources, allocations};
use crate::cache::{Item, api_error, with_revision};
use crate::registry::AnyObject;
use crate::resources::EventKind;
use crate::storage::{Outcome, Stored, Write};

/// Writers that collide again and again give up here.
const TRIES_MAX: u32 = 50;

/// The object that a decision is about.
pub(super) struct Current {
    /// With its resourceVersion.
    pub(super) object: Box<dyn AnyObject>,
    pub(super) json: Bytes,
    pub(super) revision: i64,
    /// It is stored in another version than it would be now: a write that changes nothing of it is done, as upstream does it, so that
    /// whoever writes all objects of a kind as they are brings them to the version of today.
    pub(super) is_of_other_version: bool,
    value: OnceLock<Value>,
}

impl Current {
    /// Its JSON as a value, which is made when it is first asked for.
    pub(super) fn value(&self) -> Result<&Value, ApiError> {
        if let Some(value) = self.value.get() {
            return Ok(value);
        }
        let value = serde_json::from_slice(&self.json).map_err(ApiError::internal)?;
        Ok(self.value.get_or_init(|| value))
    }
}

/// What to do with it.
pub(super) enum Decision {
    Keep,
    /// `also`: what must be written with it or not at all.
    Store {
        object: Box<dyn AnyObject>,
        also: Vec<Write>,
    },
    /// `last`: how the object is told to have been, if the request has changed it: without its last finalizer, say.
    Remove {
        last: Option<Box<dyn AnyObject>>,
        also: Vec<Write>,
    },
}

impl Decision {
    /// The object as it is to be; `None`: as it was.
    pub(super) fn told(&self) -> Option<&dyn AnyObject> {
        match self {
            Self::Store { object, .. } | Self::Remove { last: Some(object), .. } => Some(&**object),
            Self::Keep | Self::Remove { last: None, .. } => None,
        }
    }
    /// What is to be stored.
    fn object(&self) -> Option<&dyn AnyObject> {
        match self {
            Self::Store { object, .. } => Some(&**object),
            Self::Keep | Self::Remove { .. } => None,
        }
    }
}

/// What was done.
pub(super) struct Revised {
    pub(super) json: Bytes,
    pub(super) gone: bool,
}

/// What a decision may not count on: keys of `also` whose condition did not hold.
pub(super) type Taken = BTreeSet<String>;

/// Who decides what becomes of an object.
pub(super) trait Decide: Send {
    /// Whether somebody is asked who is not to be asked twice for nothing: what is decided on is as new as the store is then.
    fn asks_others(&self) -> bool {
        false
    }
    /// Asked again whenever what it saw was old: what it said before counts no more. It may wait, for admission; the object may
    /// change meanwhile, or the client go away.
    fn decide(&mut self, current: &Current, taken: &Taken) -> impl Future<Output = Result<Decision, ApiError>> + Send;
}

/// Others do not wait for a decision that itself waits for somebody: it holds no turn meanwhile.
async fn decided(
    by: &mut impl Decide,
    (current, taken): (&Current, &Taken),
    charger: &mut Charger<'_>,
) -> Result<Decision, ApiError> {
    // One box for each try of a write: its future has a name then, which spawned tasks need for it to be `Send`.
    aside_of(charger, Box::pin(by.decide(current, taken))).await
}

/// Waits; whoever else charges goes on meanwhile.
pub(super) async fn aside_of<T>(charger: &mut Charger<'_>, mut waiting: BoxFuture<'_, T>) -> T {
    match futures::poll!(waiting.as_mut()) {
        Poll::Ready(done) => done,
        Poll::Pending => {
            charger.steps_aside();
            waiting.await
        }
    }
}

impl Resources {
    /// `subresource`: what is written. `None`: there is no such object.
    pub(super) async fn revise(
        &self,
        place: &Place<'_>,
        short: &str,
        subresource: &str,
        dry_run: bool,
        by: &mut impl Decide,
    ) -> Result<Option<Revised>, ApiError> {
        let mut taken = Taken::new();
        let namespace = short.split_once('/').map_or("", |(namespace, _)| namespace);
        let mut charger = Charger::new(self, place, namespace, subresource, dry_run);
        let mut fresh = by.asks_others();
        if fresh {
            self.inner.cache.catch_up().await?;
        }
        let mut current = self.cached(place, short)?;
        for _ in 0..TRIES_MAX {
            if current.is_none() {
                current = self.cached(place, short)?;
            }
            let Some(item) = current.clone() else {
                if std::mem::replace(&mut fresh, true) {
                    return Ok(None);
                }
                self.inner.cache.catch_up().await?;
                current = self.cached(place, short)?;
                continue;
            };
            let seen = aside_of(&mut charger, Box::pin(self.decoded(place, &item))).await?;
            let writes = match decided(by, (&seen, &taken), &mut charger).await {
                // What the cache had may be old: nothing is refused, or left undone, for that.
                Err(_) | Ok(Decision::Keep) if !fresh => {
                    fresh = true;
                    self.inner.cache.catch_up().await?;
                    current = newer(self.cached(place, short)?, item);
                    continue;
                }
                Err(err) => return Err(err),
                Ok(Decision::Keep) => return Ok(Some(Revised { json: seen.json, gone: false })),
                Ok(decision) => {
                    let old = Some(&*seen.object);
                    let quota = quotas::change_of(old, decision.object()).filter(|_| !dry_run);
                    // Before anything is held.
                    let encoding = aside_of(&mut charger, Box::pin(self.encoding(place, decision, &seen))).await?;
                    let charges = match &quota {
                        Some(_) => Vec::new(),
                        None => charger.charge(old, encoding.object()).await?,
                    };
                    Planned { quota, ..Planned::new(place, short, encoding, charges) }
                }
            };
            if dry_run {
                return Ok(Some(Revised { json: writes.json, gone: writes.gone }));
            }
            match self.attempt(place, namespace, writes, &mut charger, &mut taken).await? {
                Attempt::Done(revised) => return Ok(Some(revised)),
                Attempt::Other(None) => return Ok(None),
                Attempt::Other(Some(stored)) => {
                    current = Some(item_of(place, short, &stored)?);
                    fresh = true;
                    if allocations::concerns(&*seen.object) {
                        // What was reserved with it must be known when it is decided on.
                        self.inner.cache.wait_for(stored.revision).await?;
                    }
                }
                Attempt::Again => {}
            }
        }
        Err(place.conflict(short.rsplit('/').next().unwrap_or(short), "too many writers; please try again"))
    }

    /// The object as the cache has it now. Of a kind that has been defined otherwise since the request came, the cache that it has
    /// now says what there is; what is written of it is judged as the kind was.
    pub(super) fn cached(&self, place: &Place<'_>, short: &str) -> Result<Option<Arc<Item>>, ApiError> {
        if let Ok(item) = place.cached.current(short) {
            return Ok(item);
        }
        let now = self.inner.cache.kind(place.resource.store_prefix()).ok_or_else(no_such_path)?;
        Ok(now.current(short)?)
    }
}

/// What became of one decision.
enum Attempt {
    Done(Revised),
    /// The object is not as it was: what is there.
    Other(Option<Stored>),
    /// Something beside it is not as it was.
    Again,
}

impl Resources {
    async fn attempt(
        &self,
        place: &Place<'_>,
        namespace: &str,
        planned: Planned,
        charger: &mut Charger<'_>,
        taken: &mut Taken,
    ) -> Result<Attempt, ApiError> {
        let Planned { writes, keys, charges, quota, conditions, json, gone } = planned;
        if let Some(change) = quota {
            return self.attempt_with_count(place, namespace, change, conditions, json).await;
        }
        match self.inner.cache.storage().commit(writes).await.map_err(|err| api_error(&err))? {
            Outcome::Committed { revision } => {
                charger.done(revision);
                self.judged_by(place, revision).await;
                let json = with_revision(&json, revision).map_err(ApiError::internal)?;
                return Ok(Attempt::Done(Revised { json, gone }));
            }
            Outcome::Refused { index: 0, current } => return Ok(Attempt::Other(current)),
            Outcome::Refused { index, current } if charges.contains(&index) => {
                charger.refused(index - charges.start, current).await?;
            }
            Outcome::Refused { index, .. } if index >= charges.end => return Err(place.fenced_off()),
            Outcome::Refused { index, .. } => {
                taken.extend(keys.into_iter().nth(index));
                // The reservation that the cache showed is an old one.
                self.inner.cache.catch_up().await?;
            }
        }
        Ok(Attempt::Again)
    }

    /// Of a quota, with what is to be counted anew for it. `last`: how it is told to have been, if it is gone.
    async fn attempt_with_count(
        &self,
        place: &Place<'_>,
        namespace: &str,
        change: quotas::Change,
        conditions: Vec<Write>,
        last: Bytes,
    ) -> Result<Attempt, ApiError> {
        Ok(match self.settle(namespace, Some(change), conditions).await? {
            Settled::Done { revision, quota } => {
                let gone = quota.is_none();
                let json = match quota {
                    Some(mut quota) => Encoded::builtin(&mut *quota)?.json,
                    None => last,
                };
                let json = with_revision(&json, revision).map_err(ApiError::internal)?;
                Attempt::Done(Revised { json, gone })
            }
            Settled::Refused { current } => Attempt::Other(current),
            Settled::Unconditioned => return Err(place.fenced_off()),
        })
    }
}

/// The newer of what the cache has by now and what we hold; gone from the cache means gone.
fn newer(cached: Option<Arc<Item>>, held: Arc<Item>) -> Option<Arc<Item>> {
    cached.map(|c| if c.revision >= held.revision { c } else { held })
}

fn item_of(place: &Place<'_>, short: &str, stored: &Stored) -> Result<Arc<Item>, ApiError> {
    let item = place.cached.read(short, &stored.value, stored.revision, EventKind::Modified);
    item.map(Arc::new).map_err(ApiError::internal)
}

impl Resources {
    async fn decoded(&self, place: &Place<'_>, item: &Arc<Item>) -> Result<Current, ApiError> {
        let json = self.served(place, item).await?;
        let mut object = place.resource.cached(&json).map_err(|err| {
            let (plural, key) = (place.resource.plural(), item.key());
            ApiError::internal(format!("{plural} {key:?} cannot be read from the store: {err}"))
        })?;
        // What is compared with it has them too: it may have been stored before there was a default, or with zeros.
        place.resource.rules().fill_defaults(&mut *object);
        let is_of_other_version = place.resource.rules().is_of_other_version(&item.object());
        Ok(Current { object, json, revision: item.revision, is_of_other_version, value: OnceLock::new() })
    }

    async fn encoding(&self, place: &Place<'_>, decision: Decision, seen: &Current) -> Result<Encoding, ApiError> {
        let expected = seen.revision;
        match decision {
            Decision::Store { mut object, also } => {
                let encoded = self.encoded(place, &mut *object).await?;
                Ok(Encoding::Store { object, encoded, also, expected })
            }
            Decision::Remove { last, also } => {
                let last = last.map(|mut object| json_of(&mut *object)).transpose()?;
                Ok(Encoding::Remove { last: last.unwrap_or_else(|| seen.json.clone()), also, expected })
            }
            // Nothing to keep is kept out of the loop.
            Decision::Keep => Err(ApiError::internal("a kept object has nothing to write")),
        }
    }
}

/// A decision as bytes, at the revision that it was made on.
enum Encoding {
    Store { object: Box<dyn AnyObject>, encoded: Encoded, also: Vec<Write>, expected: i64 },
    Remove { last: Bytes, also: Vec<Write>, expected: i64 },
}

impl Encoding {
    /// What is to be stored.
    fn object(&self) -> Option<&dyn AnyObject> {
        match self {
            Self::Store { object, .. } => Some(&**object),
            Self::Remove { .. } => None,
        }
    }
}

/// A decision as the store takes it.
struct Planned {
    writes: Vec<Write>,
    keys: Vec<String>,
    /// Where in `writes` what its quotas need stands.
    charges: Range<usize>,
    /// A change of a quota, which is written with those of others; and what is expected besides.
    quota: Option<quotas::Change>,
    conditions: Vec<Write>,
    json: Bytes,
    gone: bool,
}

impl Planned {
    fn new(place: &Place<'_>, short: &str, encoding: Encoding, charges: Vec<Write>) -> Self {
        let (key, ttl_secs) = (place.store_key(short), place.resource.ttl_secs());
        let (write, also, json, gone) = match encoding {
            Encoding::Store { encoded: Encoded { json, value }, also, expected, .. } => {
                (Write::Update { key, value, expected, ttl_secs }, also, json, false)
            }
            Encoding::Remove { last, also, expected } => (Write::Delete { key, expected }, also, last, true),
        };
        let mut writes = vec![write];
        writes.extend(also);
        // What follows is no reservation; the fence's condition comes last.
        let keys: Vec<String> = writes.iter().map(|w| w.key().to_owned()).collect();
        let conditions: Vec<Write> = place.fence.iter().map(|fence| fence.condition.clone()).collect();
        let range = keys.len()..keys.len() + charges.len();
        writes.extend(charges.into_iter().chain(conditions.iter().cloned()));
        Self { writes, keys, charges: range, quota: None, conditions, json, gone }
    }
}
