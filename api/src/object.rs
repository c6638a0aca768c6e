//! What every API object is to our code: its type, its key, its owner.

use std::fmt;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
use k8s_openapi::{ClusterResourceScope, Metadata, NamespaceResourceScope, SubResourceScope};
use serde::{Serialize, de::DeserializeOwned};

use crate::json::Json;

/// Whether a kind lives in namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    Cluster,
    Namespaced,
}

/// A typed API object: anything from `k8s-openapi` that has ObjectMeta.
///
/// Implemented for all that [`Json`] is; `GROUP`, `VERSION`, `KIND` and `URL_PATH_SEGMENT` (the plural) come
/// from [`k8s_openapi::Resource`].
pub trait Object:
    Metadata<Ty = ObjectMeta, Scope = Self::KindScope>
    + Json
    + Serialize
    + DeserializeOwned
    + Clone
    + fmt::Debug
    + PartialEq
    + Send
    + Sync
    + 'static
{
    type KindScope: KnownScope;
    const SCOPE: Scope = <Self::KindScope as KnownScope>::SCOPE;

    fn name(&self) -> &str {
        self.metadata().name.as_deref().unwrap_or_default()
    }
    /// The namespace, or "" for cluster-scoped objects.
    fn namespace(&self) -> &str {
        self.metadata().namespace.as_deref().unwrap_or_default()
    }
    fn uid(&self) -> &str {
        self.metadata().uid.as_deref().unwrap_or_default()
    }
    fn key(&self) -> Key {
        Key::new(self.namespace(), self.name())
    }
    /// The revision this copy was read at; 0 for one that was never stored.
    fn revision(&self) -> i64 {
        self.metadata().resource_version.as_deref().and_then(|v| v.parse().ok()).unwrap_or(0)
    }
    fn is_deleting(&self) -> bool {
        self.metadata().deletion_timestamp.is_some()
    }
    fn label(&self, key: &str) -> Option<&str> {
        self.metadata().labels.as_ref()?.get(key).map(String::as_str)
    }
    fn annotation(&self, key: &str) -> Option<&str> {
        self.metadata().annotations.as_ref()?.get(key).map(String::as_str)
    }
    fn created(&self) -> Option<&Time> {
        self.metadata().creation_timestamp.as_ref()
    }
    /// The one owner whose `controller` is true.
    fn controller(&self) -> Option<&OwnerReference> {
        self.metadata().owner_references.as_ref()?.iter().find(|o| o.controller == Some(true))
    }
    fn is_controlled_by(&self, uid: &str) -> bool {
        self.controller().is_some_and(|o| o.uid == uid)
    }
    /// A reference that makes `self` the managing controller of another object.
    fn controller_reference(&self) -> OwnerReference {
        OwnerReference {
            api_version: Self::API_VERSION.into(),
            kind: Self::KIND.into(),
            name: self.name().into(),
            uid: self.uid().into(),
            controller: Some(true),
            block_owner_deletion: Some(true),
        }
    }
    /// For events and `involvedObject`.
    fn reference(&self) -> ObjectReference {
        ObjectReference {
            api_version: Some(Self::API_VERSION.into()),
            kind: Some(Self::KIND.into()),
            name: self.metadata().name.clone(),
            namespace: self.metadata().namespace.clone(),
            uid: self.metadata().uid.clone(),
            resource_version: self.metadata().resource_version.clone(),
            field_path: None,
        }
    }
}

/// The scopes of `k8s-openapi` that an object can have, as a value.
pub trait KnownScope: k8s_openapi::ResourceScope {
    const SCOPE: Scope;
}
impl KnownScope for ClusterResourceScope {
    const SCOPE: Scope = Scope::Cluster;
}
impl KnownScope for NamespaceResourceScope {
    const SCOPE: Scope = Scope::Namespaced;
}
/// What is posted to an object of a namespace, such as a TokenRequest.
impl KnownScope for SubResourceScope {
    const SCOPE: Scope = Scope::Namespaced;
}

impl<K> Object for K
where
    K: Metadata<Ty = ObjectMeta>
        + Json
        + Serialize
        + DeserializeOwned
        + Clone
        + fmt::Debug
        + PartialEq
        + Send
        + Sync
        + 'static,
    K::Scope: KnownScope,
{
    type KindScope = K::Scope;
}

/// `namespace/name`, or `name` alone for cluster-scoped objects. Orders as the store does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    pub namespace: String,
    pub name: String,
}

impl Key {
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
    pub fn cluster(name: impl Into<String>) -> Self {
        Self::new("", name)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() { f.write_str(&self.name) } else { write!(f, "{}/{}", self.namespace, self.name) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::{Node, Pod};

    #[test]
    fn scope_follows_the_type() {
        assert_eq!((Pod::SCOPE, Node::SCOPE), (Scope::Namespaced, Scope::Cluster));
    }

    #[test]
    fn keys_print_as_kubectl_users_write_them() {
        assert_eq!(Key::new("default", "web").to_string(), "default/web");
        assert_eq!(Key::cluster("node-1").to_string(), "node-1");
    }
}
