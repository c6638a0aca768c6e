//! The state, what each controller has seen of it, and chance.

use std::collections::BTreeMap;
use std::sync::Arc;

use corten_api::k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use corten_api::k8s_openapi::api::core::v1::Pod;
use corten_api::k8s_openapi::api::discovery::v1::EndpointSlice;
use corten_api::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use corten_api::{Key, Object};
use corten_client::seeds::Chance;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};

/// Why a write failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Exists,
    Missing,
    Conflict,
}

/// Revisions, uids and the time.
pub(crate) struct Ids {
    pub(crate) revision: i64,
    pub(crate) now: Timestamp,
}

impl Ids {
    pub(crate) fn tick(&mut self) {
        self.now += SignedDuration::from_secs(1);
    }
}

/// All objects of one kind, and every change there ever was.
pub(crate) struct Table<K> {
    pub(crate) live: BTreeMap<Key, Arc<K>>,
    pub(crate) log: Vec<(i64, Key, Option<Arc<K>>)>,
}

impl<K> Default for Table<K> {
    fn default() -> Self {
        Self { live: BTreeMap::new(), log: Vec::new() }
    }
}

impl<K: Object> Table<K> {
    pub(crate) fn get(&self, key: &Key) -> Result<&Arc<K>, Fault> {
        self.live.get(key).ok_or(Fault::Missing)
    }

    pub(crate) fn create(&mut self, ids: &mut Ids, mut object: K) -> Result<i64, Fault> {
        let meta = object.metadata_mut();
        meta.uid = Some(format!("uid-{}", ids.revision + 1));
        (meta.generation, meta.creation_timestamp) = (Some(1), Some(Time(ids.now)));
        if self.live.contains_key(&object.key()) {
            return Err(Fault::Exists);
        }
        Ok(self.put(ids, object))
    }

    /// Writes what `edit` makes of the object, if it still has this uid. `spec`: the generation rises.
    pub(crate) fn edit(
        &mut self,
        ids: &mut Ids,
        (key, uid): (&Key, &str),
        spec: bool,
        edit: impl FnOnce(&mut K),
    ) -> Result<i64, Fault> {
        let mut object = K::clone(self.get(key)?);
        if object.uid() != uid {
            return Err(Fault::Conflict);
        }
        edit(&mut object);
        if object == **self.get(key)? {
            return Ok(object.revision());
        }
        if spec {
            let meta = object.metadata_mut();
            meta.generation = meta.generation.map(|n| n + 1);
        }
        Ok(self.put(ids, object))
    }

    /// Writes a merge patch that names the object's uid, as the controllers' do. The generation rises with a new spec.
    pub(crate) fn patch(&mut self, ids: &mut Ids, key: &Key, body: &Value) -> Result<i64, Fault> {
        let uid = body["metadata"]["uid"].as_str().unwrap();
        let mut object = serde_json::to_value(&**self.get(key)?).unwrap();
        let spec = object["spec"].clone();
        merge(&mut object, body);
        let is_new_spec = object["spec"] != spec;
        let new: K = serde_json::from_value(object).unwrap();
        self.edit(ids, (key, uid), is_new_spec, |live| *live = new)
    }

    pub(crate) fn remove(&mut self, ids: &mut Ids, key: &Key) -> i64 {
        ids.revision += 1;
        self.live.remove(key);
        self.log.push((ids.revision, key.clone(), None));
        ids.revision
    }

    fn put(&mut self, ids: &mut Ids, mut object: K) -> i64 {
        ids.revision += 1;
        object.metadata_mut().resource_version = Some(ids.revision.to_string());
        let (key, object) = (object.key(), Arc::new(object));
        self.log.push((ids.revision, key.clone(), Some(Arc::clone(&object))));
        self.live.insert(key, object);
        ids.revision
    }
}

/// RFC 7386.
fn merge(into: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *into = patch.clone();
        return;
    };
    if !into.is_object() {
        *into = Value::Object(Map::new());
    }
    for (field, value) in patch {
        if value.is_null() {
            into.as_object_mut().unwrap().remove(field);
        } else {
            merge(&mut into[field], value);
        }
    }
}

/// One controller's cache of one kind.
pub(crate) struct View<K> {
    pub(crate) objects: BTreeMap<Key, Arc<K>>,
    at: usize,
}

impl<K: Object> View<K> {
    pub(crate) fn listed(table: &Table<K>) -> Self {
        Self { objects: table.live.clone(), at: table.log.len() }
    }
    /// Sees the next change, if there is one.
    pub(crate) fn deliver(&mut self, table: &Table<K>) {
        let Some((_, key, object)) = table.log.get(self.at) else { return };
        self.at += 1;
        match object {
            Some(object) => drop(self.objects.insert(key.clone(), Arc::clone(object))),
            None => drop(self.objects.remove(key)),
        }
    }
    pub(crate) fn has_reached(&self, table: &Table<K>, revision: i64) -> bool {
        table.log.get(self.at).is_none_or(|(next, ..)| *next > revision)
    }
    /// The newest revision that it knows to have seen.
    pub(crate) fn reached(&self, table: &Table<K>) -> i64 {
        table.log.get(self.at).map_or(i64::MAX, |(next, ..)| next - 1)
    }
    pub(crate) fn list(&self) -> Vec<Arc<K>> {
        self.objects.values().cloned().collect()
    }
}

/// The cluster.
pub(crate) struct Store {
    pub(crate) ids: Ids,
    pub(crate) deployments: Table<Deployment>,
    pub(crate) sets: Table<ReplicaSet>,
    pub(crate) pods: Table<Pod>,
    pub(crate) slices: Table<EndpointSlice>,
    /// Who leads; writes of others are refused.
    pub(crate) term: u64,
}

impl Store {
    pub(crate) fn new() -> Self {
        let ids = Ids { revision: 0, now: Timestamp::from_second(1_000_000).unwrap() };
        let (deployments, sets) = (Table::default(), Table::default());
        Self { ids, deployments, sets, pods: Table::default(), slices: Table::default(), term: 1 }
    }
}

/// How a write ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Luck {
    Answered,
    /// Nothing is done.
    Failed,
    /// It is done, and nobody hears of it.
    Unanswered,
    /// It is done, and the controller forgets all and begins anew.
    Crash,
}

impl Luck {
    /// `faults`: of a hundred writes, so many of each kind.
    pub(crate) fn draw(chance: &mut Chance, faults: usize) -> Self {
        match chance.below(100) {
            n if n < faults => Self::Failed,
            n if n < 2 * faults => Self::Unanswered,
            n if n < 3 * faults => Self::Crash,
            _ => Self::Answered,
        }
    }
}
