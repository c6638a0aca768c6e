//! What is kept beside a cache's objects, each made when somebody first asks for it.

use std::any::{Any, TypeId};
use std::fmt;
use std::sync::Arc;

use corten_api::Key;
use parking_lot::RwLock;

/// It is told of every change while the cache is locked, before anybody else is.
pub(super) trait Follows<T>: Send + Sync {
    fn update(&self, key: &Key, old: Option<&Arc<T>>, new: Option<&Arc<T>>);
}

struct Follower<T> {
    id: TypeId,
    /// The same thing twice: as what it is, and as what it does.
    itself: Arc<dyn Any + Send + Sync>,
    follows: Arc<dyn Follows<T>>,
}

pub(super) struct Followers<T>(RwLock<Vec<Follower<T>>>);

impl<T> Default for Followers<T> {
    fn default() -> Self {
        Self(RwLock::default())
    }
}

impl<T> fmt::Debug for Followers<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Followers({})", self.0.read().len())
    }
}

impl<T> Followers<T> {
    pub(super) fn get<F: Follows<T> + 'static>(&self, id: TypeId) -> Option<Arc<F>> {
        find(&self.0.read(), id)
    }

    /// The one with this id, or what `begin` makes. The cache must not change meanwhile.
    pub(super) fn get_or_begin<F: Follows<T> + 'static>(&self, id: TypeId, begin: impl FnOnce() -> F) -> Arc<F> {
        let mut all = self.0.write();
        find(&all, id).unwrap_or_else(|| {
            let begun = Arc::new(begin());
            all.push(Follower { id, itself: begun.clone(), follows: begun.clone() });
            begun
        })
    }

    pub(super) fn update(&self, key: &Key, old: Option<&Arc<T>>, new: Option<&Arc<T>>) {
        for follower in &*self.0.read() {
            follower.follows.update(key, old, new);
        }
    }
}

fn find<T, F: Send + Sync + 'static>(all: &[Follower<T>], id: TypeId) -> Option<Arc<F>> {
    let found = all.iter().find(|follower| follower.id == id)?;
    Arc::clone(&found.itself).downcast().ok()
}
