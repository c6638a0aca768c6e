//! What all controllers watch, kept once, with as many listeners as there are controllers. Who needs a kind asks for it.

pub mod any;
pub mod index;
pub mod kept;

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use corten_api::k8s_openapi::Resource;
use corten_api::k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use corten_api::{Key, Object};
use corten_client::{Cache, CancellationToken, Change, Client, Watch, panics};
use futures::future::join_all;
use parking_lot::Mutex;
use tracing::error;

pub use any::{MetaCache, Progress};
pub use index::{ByController, BySelector, Selects, selected_by, selecting, selector_of};
pub use kept::{Kept, slim};

type Tell<T> = Box<dyn FnMut(&Change<'_, T>) + Send>;

struct Listener<T> {
    /// Whose it is; once cancelled it is told nothing more.
    owner: CancellationToken,
    tell: Tell<T>,
}

type Listeners<T> = Arc<Mutex<Vec<Listener<T>>>>;

/// A cache that tells several listeners of its changes.
pub struct Shared<T> {
    cache: Cache<T>,
    listeners: Listeners<T>,
    /// Who subscribes through this handle.
    owner: CancellationToken,
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self { cache: self.cache.clone(), listeners: Arc::clone(&self.listeners), owner: self.owner.clone() }
    }
}

impl<T> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shared({} objects)", self.cache.len())
    }
}

impl<T: Send + Sync + 'static> Shared<T> {
    /// Starts the watch with `reduce` making what is kept of each object.
    pub fn watch<K: Object>(
        watch: Watch<K>,
        stop: &CancellationToken,
        reduce: impl FnMut(K) -> T + Send + 'static,
    ) -> Self {
        let (listeners, tell) = listeners(K::KIND);
        let cache = watch.start_reduced(stop, reduce, tell);
        Self { cache, listeners, owner: stop.clone() }
    }

    /// A handle whose listeners hear until `owner` is cancelled. One that panics cancels it: what it keeps is no
    /// longer true, so its controller has to begin anew.
    #[must_use]
    pub fn owned_by(&self, owner: &CancellationToken) -> Self {
        Self { owner: owner.clone(), ..self.clone() }
    }

    /// Tells `listener` of what is here, then of every change. It must be quick, and may hear of an object twice.
    pub fn subscribe(&self, mut listener: impl FnMut(&Change<'_, T>) + Send + 'static) {
        // No change gets past while the lock is held, so none falls between the two.
        let mut listeners = self.listeners.lock();
        // Of a quiet kind those of terms that are over are forgotten here.
        listeners.retain(|listener| !listener.owner.is_cancelled());
        for (key, new) in self.cache.entries() {
            listener(&Change::Set { key: &key, old: None, new: &new });
        }
        listeners.push(Listener { owner: self.owner.clone(), tell: Box::new(listener) });
    }
}

impl<T> std::ops::Deref for Shared<T> {
    type Target = Cache<T>;
    fn deref(&self) -> &Cache<T> {
        &self.cache
    }
}

/// No listeners yet, and what tells them of the changes of a watch.
fn listeners<T: 'static>(kind: &'static str) -> (Listeners<T>, impl FnMut(Change<'_, T>) + Send + 'static) {
    let listeners = Listeners::default();
    let told = Arc::clone(&listeners);
    (listeners, move |change: Change<'_, T>| tell_all(kind, &mut told.lock(), &change))
}

/// Leaves out, and forgets, those whose owner is no more.
fn tell_all<T>(kind: &'static str, listeners: &mut Vec<Listener<T>>, change: &Change<'_, T>) {
    listeners.retain_mut(|listener| {
        if listener.owner.is_cancelled() {
            return false;
        }
        let told = panics::catch(kind, || (listener.tell)(change));
        if let Err(panicked) = &told {
            error!(kind, key = ?change.key(), %panicked, "a controller's listener; that controller begins anew");
            listener.owner.cancel();
        }
        told.is_ok()
    });
}

/// What is followed besides the caches by type, and how to find them.
#[derive(Default)]
struct Followed {
    /// `Shared<T>` by `T`.
    by_type: HashMap<TypeId, Box<dyn Any + Send>>,
    /// The same by group and kind, for who needs the metadata alone.
    by_kind: HashMap<(&'static str, &'static str), Arc<dyn MetaCache>>,
    /// All of them, with whose they are: those of one controller alone go with it.
    all: Vec<(CancellationToken, &'static str, Arc<dyn Progress>)>,
}

/// All caches of the program, each made when somebody first asks for it and then shared, by all terms. Cheap to clone.
#[derive(Clone)]
pub struct Caches {
    client: Client,
    /// Ends all of them.
    stop: CancellationToken,
    /// Who subscribes through this handle.
    owner: CancellationToken,
    followed: Arc<Mutex<Followed>>,
}

impl fmt::Debug for Caches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let followed = self.followed.lock();
        let all = followed.all.iter().map(|(_, kind, cache)| (kind, cache.objects()));
        f.debug_map().entries(all).finish()
    }
}

impl Caches {
    pub fn new(client: &Client, stop: &CancellationToken) -> Self {
        let (client, stop) = (client.unfenced(), stop.clone());
        Self { client, owner: stop.clone(), stop, followed: Arc::default() }
    }

    /// Handles whose listeners hear until `owner` is cancelled.
    #[must_use]
    pub fn owned_by(&self, owner: &CancellationToken) -> Self {
        Self { owner: owner.clone(), ..self.clone() }
    }

    /// The cache of what is kept of a kind: `of::<Deployment>()`, `of::<SeenPod>()`.
    pub fn of<T: Kept>(&self) -> Shared<T> {
        let mut followed = self.followed.lock();
        let known = followed.by_type.get(&TypeId::of::<T>()).and_then(|any| any.downcast_ref::<Shared<T>>());
        if let Some(shared) = known {
            return shared.owned_by(&self.owner);
        }
        let shared = Shared::watch(T::watch(&self.client), &self.stop, T::keeper());
        followed.by_type.insert(TypeId::of::<T>(), Box::new(shared.clone()));
        let kind = (<T::Kind as Resource>::GROUP, <T::Kind as Resource>::KIND);
        followed.by_kind.insert(kind, Arc::new(shared.clone()));
        followed.all.push((self.stop.clone(), kind.1, Arc::new(shared.clone())));
        shared.owned_by(&self.owner)
    }

    /// A cache for one controller alone, of some objects of a kind or of what only it reads of them. It ends with it.
    pub fn own<K: Object, T: Send + Sync + 'static>(
        &self,
        watch: impl FnOnce(&Client) -> Watch<K>,
        keep: impl FnMut(K) -> T + Send + 'static,
    ) -> Shared<T> {
        let shared = Shared::watch(watch(&self.client), &self.owner, keep);
        let mut followed = self.followed.lock();
        followed.all.retain(|(owner, ..)| !owner.is_cancelled());
        followed.all.push((self.owner.clone(), K::KIND, Arc::new(shared.clone())));
        shared
    }

    /// The metadata of all objects of this kind, if they are in a cache.
    pub fn metadata(&self, group: &str, kind: &str) -> Option<Arc<dyn MetaCache>> {
        self.followed.lock().by_kind.get(&(group, kind)).cloned()
    }

    /// With whose they are: one whose controller ended is awaited by nobody.
    fn all(&self) -> Vec<(CancellationToken, &'static str, Arc<dyn Progress>)> {
        let followed = self.followed.lock();
        followed.all.iter().filter(|(owner, ..)| !owner.is_cancelled()).cloned().collect()
    }

    /// The kinds of which the state is not complete yet.
    pub fn awaited(&self) -> Vec<&'static str> {
        self.all().into_iter().filter(|(.., cache)| cache.revision() == 0).map(|(_, kind, _)| kind).collect()
    }

    /// The kinds that have not seen `revision` yet.
    pub fn lagging(&self, revision: i64) -> Vec<&'static str> {
        self.all().into_iter().filter(|(.., cache)| cache.revision() < revision).map(|(_, kind, _)| kind).collect()
    }

    /// Returns once all are complete: a controller that decides earlier would miss what is there.
    pub async fn synced(&self) {
        let all = self.all();
        join_all(all.iter().map(|(owner, _, cache)| owner.run_until_cancelled(cache.reached(1)))).await;
    }

    /// Returns once all that are followed now have seen `revision`, which is there already.
    pub async fn catch_up(&self, revision: i64) {
        let all = self.all();
        join_all(all.iter().map(|(owner, _, cache)| owner.run_until_cancelled(cache.catch_up(revision)))).await;
    }
}

/// The owner's key, if the controller of an object is a `K`.
pub fn owner_key<K: Object>(namespace: &str, controller: Option<&OwnerReference>) -> Option<Key> {
    let owner = controller.filter(|o| o.kind == K::KIND && o.api_version == K::API_VERSION)?;
    Some(Key::new(namespace, owner.name.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_that_panics_ends_its_owner_alone() {
        let (bad, good, gone) = (CancellationToken::new(), CancellationToken::new(), CancellationToken::new());
        gone.cancel();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let listener = |name: &'static str, owner: &CancellationToken| {
            let heard = Arc::clone(&heard);
            let tell = move |_: &Change<'_, ()>| {
                heard.lock().push(name);
                assert_ne!(name, "bad", "on purpose");
            };
            Listener { owner: owner.clone(), tell: Box::new(tell) }
        };
        let mut listeners = vec![listener("bad", &bad), listener("gone", &gone), listener("good", &good)];
        for _ in 0..2 {
            tell_all("Test", &mut listeners, &Change::Synced);
        }
        assert_eq!(*heard.lock(), ["bad", "good", "good"]);
        assert!(bad.is_cancelled() && !good.is_cancelled());
    }
}
