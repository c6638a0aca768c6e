//! What pure rules may ask of the cluster: the newest that this server knows, its own writes included.

use bytes::Bytes;
use corten_api::ApiError;
use corten_api::selector::{FieldSelector, Selector};
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
    /// Of these those that have such labels.
    fn selected(&self, group: &str, plural: &str, namespace: &str, labels: &Selector) -> Vec<Bytes>;
    /// Whether a user's roles let him.
    fn may(&self, user: &User, verb: &str, target: &Target) -> bool;
    /// The same by all that gives rights; and why (`Ok`) or why not (`Err`), as far as there is something to say. The outer error:
    /// that could not be found out. `fields`: the field selector of a list or watch.
    fn may_and_why(
        &self,
        user: &User,
        verb: &str,
        target: &Target,
        fields: &FieldSelector,
    ) -> Result<Result<String, String>, ApiError>;
    /// Of a path beside resources.
    fn may_use_and_why(&self, user: &User, verb: &str, path: &str) -> Result<String, String>;
}

impl dyn Objects + '_ {
    /// An object as its type. What the store holds was valid when it was written; what no longer parses is as good as not there.
    pub fn find<K: DeserializeOwned>(&self, group: &str, plural: &str, namespace: &str, name: &str) -> Option<K> {
        serde_json::from_slice(&self.get(group, plural, namespace, name)?).ok()
    }
}

#[cfg(test)]
pub(crate) mod testing;
