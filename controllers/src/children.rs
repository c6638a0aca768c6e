//! Makes and deletes the children of owners: remembers what was asked for, asks again what had no answer, and waits until
//! the cache shows it. What follows from each answer is decided in [`crate::intents`].

mod claims;
mod refusals;

use std::any::{Any, TypeId};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use corten_api::k8s_openapi::api::discovery::v1::EndpointSlice;
use corten_api::{ApiError, Key, Object, names};
use corten_client::Cache;
use futures::future::join_all;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::context::Context;
use crate::intents::{self, Answer, Ask, Found, Heard, Intents, Phase};
use crate::pods::SeenPod;
pub use claims::RefusedClaims;
use refusals::Refusals;
pub use refusals::{HeldBack, wake};

/// What a cache must tell of a child.
pub trait Shown {
    fn shown_uid(&self) -> &str;
    fn is_going(&self) -> bool;
}

impl Shown for EndpointSlice {
    fn shown_uid(&self) -> &str {
        self.uid()
    }
    fn is_going(&self) -> bool {
        self.is_deleting()
    }
}

impl Shown for SeenPod {
    fn shown_uid(&self) -> &str {
        &self.uid
    }
    fn is_going(&self) -> bool {
        self.deleting.is_some()
    }
}

/// The owner of the children that are made.
#[derive(Clone, Debug)]
pub struct Owner {
    pub key: Key,
    pub uid: String,
    pub generation: i64,
    pub deleting: bool,
}

impl Owner {
    pub fn of<K: Object>(owner: &K) -> Self {
        let generation = owner.metadata().generation.unwrap_or(0);
        Self { key: owner.key(), uid: owner.uid().to_owned(), generation, deleting: owner.is_deleting() }
    }
}

/// With the uid of the owner that had this key when they were asked for.
type ByOwner<C> = HashMap<Key, (String, Intents<C>)>;

/// The unsettled writes of one controller, by owner. Bounded by the owners that have such.
/// Cheap to clone; clones share them.
#[derive(Debug)]
pub struct Children<C> {
    by_owner: Arc<Mutex<ByOwner<C>>>,
    refusals: Arc<Mutex<Refusals>>,
}

impl<C> Clone for Children<C> {
    fn clone(&self) -> Self {
        Self { by_owner: Arc::clone(&self.by_owner), refusals: Arc::clone(&self.refusals) }
    }
}

impl<C> Default for Children<C> {
    fn default() -> Self {
        Self { by_owner: Arc::default(), refusals: Arc::default() }
    }
}

/// Whatever each controller remembers, by its name and the type of that.
type ByController = HashMap<(&'static str, TypeId), Box<dyn Any + Send>>;

/// What all controllers have under way. It lives as long as the term: a controller that is started again after a panic
/// finds what it had asked for. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct UnderWay {
    by_controller: Arc<Mutex<ByController>>,
    claims: RefusedClaims,
}

impl UnderWay {
    /// What could not be adopted or released, by any controller.
    pub fn refused_claims(&self) -> &RefusedClaims {
        &self.claims
    }

    /// The writes of this controller. `C`: what it needs to make a child again, besides its name.
    pub fn of<C: Send + 'static>(&self, controller: &'static str) -> Children<C> {
        let mut all = self.by_controller.lock();
        let made = all.entry((controller, TypeId::of::<C>())).or_insert_with(|| Box::new(Children::<C>::default()));
        made.downcast_ref::<Children<C>>().cloned().unwrap_or_default()
    }
}

/// What became of a write, for who asked for it.
#[derive(Clone, Debug)]
pub struct Sent<C> {
    pub ask: Ask<C>,
    pub answer: Answer,
}

impl<C: Clone + Send + Sync> Children<C> {
    /// Returns once all that was asked for the owner's children before is settled, and `cache` shows it: only then may
    /// be decided on it. `make` makes the child again that a create without an answer was about.
    pub async fn settle<K: Object, T: Shown>(
        &self,
        context: &Context,
        owner: &Owner,
        cache: &Cache<T>,
        make: impl Fn(&str, &C) -> K + Sync,
    ) -> Result<(), ApiError> {
        loop {
            let namespace = owner.key.namespace.as_str();
            let stays = |name: &str, uid: &str| {
                let shown = cache.get(&Key::new(namespace, name));
                shown.is_some_and(|child| child.shown_uid() == uid && !child.is_going())
            };
            let (phase, awaited) = self.with(owner, |open| {
                if owner.deleting {
                    open.drop_creates();
                }
                (open.phase(cache.revision(), stays), open.awaited())
            });
            match phase {
                Phase::AskAgain(asks) => {
                    let sent = join_all(asks.into_iter().map(|ask| self.one::<K>(context, owner, ask, true, &make)));
                    if let Some(err) = sent.await.into_iter().find_map(|sent| doubt(&sent.answer)) {
                        return Err(err);
                    }
                }
                Phase::Await => {
                    let (revision, gone) = awaited;
                    context.caught_up(cache, revision).await;
                    for (name, uid) in gone {
                        let key = Key::new(namespace, name);
                        context.seen_gone(cache, &key, |c: &T| c.shown_uid() != uid || c.is_going()).await;
                    }
                }
                Phase::Decide => break,
            }
        }
        self.forget_settled(&owner.key, cache.revision());
        Ok(())
    }

    /// The owner is not there any more.
    pub fn forget(&self, owner: &Key) {
        self.by_owner.lock().remove(owner);
        self.refusals.lock().forget(owner);
    }

    /// Why none of the `missing` children of the owner are to be made for a while, if so: the last ones were refused.
    pub fn held_back(&self, owner: &Owner, missing: usize) -> Option<HeldBack> {
        self.refusals.lock().held_back(owner, missing, Instant::now())
    }

    /// A quota of this namespace has more room than before: the owners whose children it may have refused, which are held
    /// back no longer.
    pub fn has_room(&self, namespace: &str) -> Vec<Key> {
        self.refusals.lock().has_room(namespace, Instant::now())
    }

    /// Something that the owner needs was not made: its children wait, too.
    pub fn refused(&self, owner: &Owner, refusal: ApiError) {
        self.refusals.lock().refused(owner, refusal, Instant::now());
    }

    /// Names for so many more children of `owner`, which `cache` does not show and which were not asked for.
    pub fn fresh_names<T>(&self, owner: &Owner, cache: &Cache<T>, count: usize) -> BTreeSet<String> {
        let base = format!("{}-", owner.key.name);
        let mut fresh = BTreeSet::new();
        while fresh.len() < count {
            fresh.insert(self.fresh_name(owner, cache, &base, &fresh));
        }
        fresh
    }

    /// A name that begins with `base`, for one more child. `taken`: names of others that are to be asked for.
    pub fn fresh_name<T>(&self, owner: &Owner, cache: &Cache<T>, base: &str, taken: &BTreeSet<String>) -> String {
        loop {
            let name = names::generate(base);
            let shown = cache.get(&Key::new(owner.key.namespace.as_str(), name.as_str())).is_some();
            if !shown && !taken.contains(&name) && !self.with(owner, |open| open.holds(&name)) {
                return name;
            }
        }
    }

    /// Sends these side by side, as many at once as the width allows. Who makes children asks [`Self::held_back`] before.
    pub async fn send<K: Object>(
        &self,
        context: &Context,
        owner: &Owner,
        asks: Vec<Ask<C>>,
        make: impl Fn(&str, &C) -> K + Sync,
    ) -> Vec<Sent<C>> {
        let sent = join_all(asks.into_iter().map(|ask| self.one::<K>(context, owner, ask, false, &make))).await;
        let creates = || sent.iter().filter(|sent| matches!(sent.ask, Ask::Create { .. })).map(|sent| &sent.answer);
        if let Some(err) = creates().find_map(refusal) {
            self.refused(owner, err);
        } else if creates().any(|answer| matches!(answer, Answer::Done { .. })) {
            self.refusals.lock().forget(&owner.key);
        }
        sent
    }

    /// Another write to a child of `owner` was done: the next decision waits until the cache shows it.
    pub fn saw(&self, owner: &Owner, revision: i64) {
        self.with(owner, |open| open.saw(revision));
    }

    async fn one<K: Object>(
        &self,
        context: &Context,
        owner: &Owner,
        ask: Ask<C>,
        again: bool,
        make: &(impl Fn(&str, &C) -> K + Sync),
    ) -> Sent<C> {
        self.with(owner, |open| open.begin(&ask));
        let key = Key::new(owner.key.namespace.as_str(), ask.name());
        let heard = match &ask {
            Ask::Create { name, what } => {
                // It is made when its turn has come: of those that wait there are no copies of a template, which may be large.
                let made = context.width.send(|| {
                    let child = make(name, what);
                    async move { context.prompt.create(&child).await }
                });
                let made = made.await;
                intents::created(made.map(|child| child.revision()), again)
            }
            Ask::Delete { uid, .. } => intents::deleted(context.delete::<K>(&key, uid).await, again),
        };
        let answer = match heard {
            Heard::Settled(answer) => answer,
            Heard::Look(refusal) => {
                let found = context.client.get::<K>(&key).await.map(|child| Found {
                    uid: child.uid().to_owned(),
                    revision: child.revision(),
                    ours: child.is_controlled_by(&owner.uid),
                    going: child.is_deleting(),
                });
                intents::looked_at(&ask, found, refusal)
            }
        };
        self.with(owner, |open| open.settle(&ask, &answer));
        Sent { ask, answer }
    }

    fn with<R>(&self, owner: &Owner, what: impl FnOnce(&mut Intents<C>) -> R) -> R {
        let mut all = self.by_owner.lock();
        let (uid, open) = all.entry(owner.key.clone()).or_default();
        if *uid != owner.uid {
            // Another owner of this name: what was asked for the one before is none of its children.
            (*uid, *open) = (owner.uid.clone(), Intents::default());
        }
        what(open)
    }

    fn forget_settled(&self, owner: &Key, reached: i64) {
        let mut all = self.by_owner.lock();
        if let Some((_, open)) = all.get_mut(owner) {
            open.forget_seen();
            if open.is_settled(reached) {
                all.remove(owner);
            }
        }
    }
}

fn refusal(answer: &Answer) -> Option<ApiError> {
    match answer {
        Answer::Refused(err) => Some(err.clone()),
        Answer::Done { .. } | Answer::Gone | Answer::Doubtful(_) => None,
    }
}

fn doubt(answer: &Answer) -> Option<ApiError> {
    match answer {
        Answer::Doubtful(err) => Some(err.clone()),
        _ => None,
    }
}
