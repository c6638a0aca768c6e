//! How objects are found in caches: by who controls them, by what they select.

use std::borrow::Cow;
use std::sync::Arc;

use corten_api::Object;
use corten_api::selector::{Labels, Selector};
use corten_client::{Cache, IndexBy};

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

/// A kind whose objects select others of their namespace by labels.
pub trait Selects {
    /// `None`: it selects nothing.
    fn selects_by(&self) -> Option<Selector>;
}

/// By the labels of which all that an object selects has one.
#[derive(Debug)]
pub struct BySelector;

impl<O: Object + Selects> IndexBy<O> for BySelector {
    fn values(object: &O) -> Vec<Cow<'_, str>> {
        // A value that no label has: what selects nothing is never looked at.
        let Some(selector) = object.selects_by() else { return vec!["".into()] };
        selector.needs_one_of().into_iter().map(|(key, value)| label(key, value).into()).collect()
    }
}

fn label(key: &str, value: &str) -> String {
    format!("{key}={value}")
}

/// Those of the namespace that select an object with these labels. Costs as many as its labels may concern, and those that
/// select by none.
pub fn selecting<O: Object + Selects>(cache: &Cache<O>, namespace: &str, labels: &Labels) -> Vec<Arc<O>> {
    let values: Vec<String> = labels.iter().map(|(key, value)| label(key, value)).collect();
    let mut found = cache.with_any_or_none::<BySelector>(namespace, &values);
    found.retain(|o| o.selects_by().is_some_and(|selector| selector.matches(labels)));
    found
}
