//! What pure rules may ask of the cluster: the newest that this server knows, its own writes included.

use bytes::Bytes;
use serde::de::DeserializeOwned;

use crate::request::{Target, User};

/// Single objects: all that tokens are checked against.
pub trait Objects: Sync {
    /// The stored JSON of one object; `namespace` is "" for cluster-scoped kinds.
    fn get(&self, group: &str, plural: &str, namespace: &str, name: &str) -> Option<Bytes>;
}

/// What admission may ask.
pub trait ClusterView: Objects {
    /// The stored JSON of all objects of a kind in a namespace, by name; "": of all there are.
    fn list(&self, group: &str, plural: &str, namespace: &str) -> Vec<Bytes>;
    /// Whether a user's roles let him.
    fn may(&self, user: &User, verb: &str, target: &Target) -> bool;
}

impl dyn Objects + '_ {
    /// An object as its type. What the store holds was valid when it was written; what no longer parses is as good as not there.
    pub fn find<K: DeserializeOwned>(&self, group: &str, plural: &str, namespace: &str, name: &str) -> Option<K> {
        serde_json::from_slice(&self.get(group, plural, namespace, name)?).ok()
    }
}

#[cfg(test)]
pub(crate) mod testing;
