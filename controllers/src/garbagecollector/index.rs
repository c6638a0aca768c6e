//! Who depends on whom, by the owner's uid, and which owners are known to be gone. Pure.

use std::collections::{HashMap, HashSet, VecDeque};

use crate::metadata::SeenMeta;
use crate::monitors::ObjectId;

/// Owners that are remembered to be gone: uids never come again, so this only saves questions.
const ABSENT_MAX: usize = 500;

/// Bounded by the owner references that there are.
#[derive(Debug, Default)]
pub struct Dependents {
    by_owner: HashMap<String, HashSet<ObjectId>>,
}

impl Dependents {
    /// Takes in that an object changed from `old` to `new`.
    pub fn update(&mut self, id: &ObjectId, old: Option<&SeenMeta>, new: Option<&SeenMeta>) {
        for owner in old.iter().flat_map(|m| &m.owners) {
            if let Some(dependents) = self.by_owner.get_mut(&owner.uid) {
                dependents.remove(id);
                if dependents.is_empty() {
                    self.by_owner.remove(&owner.uid);
                }
            }
        }
        for owner in new.iter().flat_map(|m| &m.owners) {
            self.by_owner.entry(owner.uid.clone()).or_default().insert(id.clone());
        }
    }

    pub fn of(&self, owner_uid: &str) -> Vec<ObjectId> {
        self.by_owner.get(owner_uid).into_iter().flatten().cloned().collect()
    }
}

/// By namespace too: an owner in another namespace is absent from this one only.
#[derive(Debug, Default)]
pub struct Absent {
    known: HashSet<(String, String)>,
    order: VecDeque<(String, String)>,
}

impl Absent {
    pub fn add(&mut self, namespace: &str, uid: &str) {
        let entry = (namespace.to_owned(), uid.to_owned());
        if self.known.insert(entry.clone()) {
            self.order.push_back(entry);
        }
        while self.order.len() > ABSENT_MAX {
            if let Some(oldest) = self.order.pop_front() {
                self.known.remove(&oldest);
            }
        }
    }
    pub fn contains(&self, namespace: &str, uid: &str) -> bool {
        self.known.contains(&(namespace.to_owned(), uid.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitors::KindId;
    use corten_api::Key;
    use corten_api::k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

    #[test]
    fn the_index_follows_changes() {
        let owned = |uids: &[&str]| SeenMeta {
            owners: uids.iter().map(|u| OwnerReference { uid: (*u).into(), ..Default::default() }).collect(),
            ..SeenMeta::default()
        };
        let id = ObjectId { kind: KindId::default(), key: Key::new("ns", "x") };
        let mut index = Dependents::default();
        let (a, b, none) = (owned(&["a"]), owned(&["b"]), owned(&[]));
        index.update(&id, None, Some(&a));
        assert_eq!(index.of("a"), std::slice::from_ref(&id));
        index.update(&id, Some(&a), Some(&b));
        assert_eq!((index.of("a").len(), index.of("b").len()), (0, 1));
        index.update(&id, Some(&b), Some(&none));
        assert!(index.by_owner.is_empty(), "nothing is kept for owners of nothing");
    }

    #[test]
    fn memory_of_the_absent_is_bounded() {
        let mut absent = Absent::default();
        (0..ABSENT_MAX + 10).for_each(|n| absent.add("ns", &n.to_string()));
        assert_eq!(absent.known.len(), ABSENT_MAX);
        assert!(!absent.contains("ns", "0") && absent.contains("ns", &(ABSENT_MAX + 9).to_string()));
    }
}
