//! How objects are found in caches: by who controls them, by what they select.

use std::borrow::Cow;
use std::sync::Arc;

use corten_api::selector::{Labels, Matcher, Selector};
use corten_api::{Key, Object};
use corten_client::{Cache, IndexBy, Labelled, SelectBy};

use super::{Kept, Shared};

/// By the uid of the one owner that manages an object.
#[derive(Debug)]
pub struct ByController;

impl<T: Kept> IndexBy<T> for ByController {
    fn values(object: &T) -> Vec<Cow<'_, str>> {
        object.managed_by().map(|owner| owner.uid.as_str().into()).into_iter().collect()
    }
}

impl<T: Kept> Shared<T> {
    /// What this controller owns in the namespace.
    pub fn controlled_by(&self, namespace: &str, uid: &str) -> Vec<Arc<T>> {
        self.with::<ByController>(namespace, uid)
    }

    /// What this controller owns, and the orphans of the namespace, which it may adopt: all that it can be about.
    pub fn claimable_by(&self, namespace: &str, uid: &str) -> Vec<Arc<T>> {
        self.with_or_without::<ByController>(namespace, uid)
    }
}

impl<T: Kept + Labelled> Shared<T> {
    /// What this controller owns, and the orphans that it selects: all that it can be about.
    pub fn claimable(&self, namespace: &str, uid: &str, matcher: &Matcher) -> Vec<Arc<T>> {
        self.with_or_selected_orphans::<ByController>(namespace, uid, matcher)
    }
}

/// A kind whose objects select others of their namespace by labels.
pub trait Selects {
    /// `None`: it selects nothing.
    fn selects_by(&self) -> Option<Selector>;
}

/// By what [`Selects`] says.
#[derive(Debug)]
pub struct BySelector;

impl<O: Object + Selects> SelectBy<O> for BySelector {
    fn selector(object: &O) -> Option<Selector> {
        object.selects_by()
    }
}

/// Those of the namespace that select an object with these labels. Costs as many as its labels may concern, and those that
/// select by none.
pub fn selecting<O: Object + Selects>(cache: &Cache<O>, namespace: &str, labels: &Labels) -> Vec<Arc<O>> {
    cache.selecting::<BySelector>(namespace, labels)
}

/// What the object selects by, as it was read when it came. `None`: it is not there, or selects nothing.
pub fn selected_by<O: Object + Selects>(cache: &Cache<O>, key: &Key) -> Option<Arc<Matcher>> {
    cache.matcher::<BySelector>(key)
}
