//! From a change to the items that it concerns. Each costs as much as it returns, however large the cluster is.

use std::sync::Arc;

use corten_api::selector::Labels;
use corten_api::{Key, Object};
use corten_client::Change;

use crate::caches::{Kept, Selects, Shared, owner_key, selecting};

/// The object that changed.
pub fn own<T>(change: &Change<'_, T>) -> Option<Key> {
    change.key().cloned()
}

/// The namespace that the object is in.
pub fn namespace<T>(change: &Change<'_, T>) -> Option<Key> {
    change.key().map(|key| Key::cluster(key.namespace.as_str()))
}

/// The same item whatever changes, for who looks at all objects at once.
pub fn always<T>(item: Key) -> impl Fn(&Change<'_, T>) -> Option<Key> {
    move |_| Some(item.clone())
}

/// The `O` that controls the object, and the one that did before.
pub fn owner<O: Object, T: Kept>(change: &Change<'_, T>) -> Vec<Key> {
    let (Some(key), (old, new)) = (change.key(), states(change)) else { return Vec::new() };
    let of = |object: &Arc<T>| owner_key::<O>(&key.namespace, object.managed_by());
    let mut found: Vec<Key> = [old, new].into_iter().flatten().filter_map(of).collect();
    found.dedup();
    found
}

/// As [`owner`], and for an object without a controller those of `owners` that select it: they may adopt it.
pub fn owner_or_adopters<O, T>(owners: &Shared<O>) -> impl Fn(&Change<'_, T>) -> Vec<Key> + use<O, T>
where
    O: Object + Selects,
    T: Kept,
{
    let owners = owners.clone();
    move |change| {
        let mut found = owner::<O, T>(change);
        let (Some(key), (_, new)) = (change.key(), states(change)) else { return found };
        if let Some(orphan) = new.filter(|object| object.managed_by().is_none()) {
            found.extend(selecting(&owners, &key.namespace, labels(orphan)).iter().map(|o| o.key()));
        }
        found.dedup();
        found
    }
}

/// Those of `selectors` that select the object, or did before.
pub fn selectors<O, T>(selectors: &Shared<O>) -> impl Fn(&Change<'_, T>) -> Vec<Key> + use<O, T>
where
    O: Object + Selects,
    T: Kept,
{
    let selectors = selectors.clone();
    move |change| {
        let (Some(key), (old, new)) = (change.key(), states(change)) else { return Vec::new() };
        let old = old.map(labels).filter(|old| new.map(labels) != Some(old));
        let all = [old, new.map(labels)].into_iter().flatten();
        let mut found: Vec<Key> =
            all.flat_map(|labels| selecting(&selectors, &key.namespace, labels)).map(|o| o.key()).collect();
        found.sort_unstable();
        found.dedup();
        found
    }
}

/// What the object was, and what it is.
fn states<'a, T>(change: &Change<'a, T>) -> (Option<&'a Arc<T>>, Option<&'a Arc<T>>) {
    match *change {
        Change::Set { old, new, .. } => (old, Some(new)),
        Change::Removed { old, .. } => (Some(old), None),
        Change::Synced => (None, None),
    }
}

fn labels<T: Kept>(object: &Arc<T>) -> &Labels {
    static NONE: Labels = Labels::new();
    object.labels().unwrap_or(&NONE)
}

#[cfg(test)]
mod tests {
    use corten_api::k8s_openapi::api::batch::v1::Job;
    use corten_api::k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

    use super::*;
    use crate::pods::SeenPod;

    fn pod_of(kind: &str, owner: &str) -> Arc<SeenPod> {
        let owner = OwnerReference {
            api_version: "batch/v1".into(),
            kind: kind.into(),
            name: owner.into(),
            controller: Some(true),
            ..OwnerReference::default()
        };
        Arc::new(SeenPod { owners: vec![owner], ..SeenPod::default() })
    }

    #[test]
    fn an_object_that_changes_hands_concerns_both_owners() {
        let key = Key::new("ns", "pod");
        let (a, b, other) = (pod_of("Job", "a"), pod_of("Job", "b"), pod_of("CronJob", "c"));
        let orphan = Arc::new(SeenPod::default());
        let cases = [
            ("it came", Change::Set { key: &key, old: None, new: &a }, vec!["a"]),
            ("it has the owner that it had", Change::Set { key: &key, old: Some(&a), new: &a }, vec!["a"]),
            ("handed over", Change::Set { key: &key, old: Some(&a), new: &b }, vec!["a", "b"]),
            ("let go", Change::Set { key: &key, old: Some(&a), new: &orphan }, vec!["a"]),
            ("gone", Change::Removed { key: &key, old: &b }, vec!["b"]),
            ("of another kind", Change::Set { key: &key, old: None, new: &other }, vec![]),
            ("complete", Change::Synced, vec![]),
        ];
        for (why, change, expected) in cases {
            let keys: Vec<Key> = expected.into_iter().map(|name| Key::new("ns", name)).collect();
            assert_eq!(owner::<Job, _>(&change), keys, "{why}");
        }
        let came = Change::Set { key: &key, old: None, new: &a };
        assert_eq!((own(&came), namespace(&came)), (Some(key.clone()), Some(Key::cluster("ns"))));
    }
}
