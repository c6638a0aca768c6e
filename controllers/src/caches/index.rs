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

/// What this very object selects by. `None`: it selects nothing, or is not what the cache has under its name any more, as
/// after a wait: one made anew selects others, and would let go of what is this one's.
pub fn selector_of<O: Object + Selects>(cache: &Cache<O>, object: &O) -> Option<Arc<Matcher>> {
    let key = object.key();
    let matcher = selected_by(cache, &key)?;
    // Looked at after the matcher: who is here now was here then, or came later and is another.
    cache.get(&key).is_some_and(|now| now.uid() == object.uid()).then_some(matcher)
}

#[cfg(test)]
mod tests {
    use corten_api::k8s_openapi::api::apps::v1::ReplicaSet;
    use serde_json::json;

    use super::*;

    #[test]
    fn an_object_that_was_made_anew_lends_its_selector_to_none_before_it() {
        let set = |uid: &str, app: &str| -> ReplicaSet {
            let labels = json!({"matchLabels": {"app": app}});
            let value =
                json!({"metadata": {"name": "web", "namespace": "shop", "uid": uid}, "spec": {"selector": labels}});
            serde_json::from_value(value).unwrap()
        };
        let one = || set("a", "one");
        let nothing = json!({"matchExpressions": [{"key": "app", "operator": "Odd"}]});
        let nothing =
            json!({"metadata": {"name": "web", "namespace": "shop", "uid": "a"}, "spec": {"selector": nothing}});
        let nothing: ReplicaSet = serde_json::from_value(nothing).unwrap();
        // why, what is here, whether what was read before has a selector
        let cases = [
            ("the same", vec![one()], true),
            ("the same, with another selector", vec![set("a", "two")], true),
            ("made anew with another", vec![set("b", "two")], false),
            ("made anew with the same", vec![set("b", "one")], false),
            ("gone", vec![], false),
            ("it selects nothing", vec![nothing], false),
        ];
        for (why, here, expected) in cases {
            let cache = Cache::holding(here.into_iter().map(|set| (set.key(), set)));
            assert_eq!(selector_of(&cache, &one()).is_some(), expected, "{why}");
        }
    }
}
