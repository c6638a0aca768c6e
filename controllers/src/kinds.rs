//! The kinds that are looked after whatever they are: what a namespace holds, what can own and be owned.
//!
//! Discovery is not offered over gRPC, so this is a table, which follows [`corten_api::kinds::SERVED`].

use std::fmt;
use std::marker::PhantomData;

use async_trait::async_trait;
use corten_api::k8s_openapi::api::apps::v1::{ControllerRevision, Deployment, ReplicaSet};
use corten_api::k8s_openapi::api::coordination::v1::Lease;
use corten_api::k8s_openapi::api::core::v1::{
    ConfigMap, Endpoints, Event, Namespace, Node, Pod, PodTemplate, ReplicationController, Secret, Service,
    ServiceAccount,
};
use corten_api::k8s_openapi::api::discovery::v1::EndpointSlice;
use corten_api::k8s_openapi::api::networking::v1::IPAddress;
use corten_api::k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, ObjectMeta, OwnerReference};
use corten_api::k8s_openapi::{Metadata, Resource};
use corten_api::{ApiError, Key, Object, Scope};
use corten_client::{CancellationToken, Client, Patch, Watch};
use serde::{Deserialize, Deserializer, Serialize, Serializer, ser::SerializeStruct};

use crate::caches::Shared;

/// Everything but Events, which are too many to watch and own nothing. Leases of nodes change often but are few.
pub fn all() -> Vec<Box<dyn Kind>> {
    vec![
        of::<Namespace>(),
        of::<Node>(),
        of::<Pod>(),
        of::<ReplicaSet>(),
        of::<Deployment>(),
        of::<ReplicationController>(),
        of::<Service>(),
        of::<Endpoints>(),
        of::<EndpointSlice>(),
        of::<ServiceAccount>(),
        of::<ConfigMap>(),
        of::<Secret>(),
        of::<ControllerRevision>(),
        of::<PodTemplate>(),
        of::<Lease>(),
        of::<IPAddress>(),
    ]
}

/// Emptied with a namespace, after all else, as others' deletions still tell of themselves in them.
pub fn events() -> Box<dyn Kind> {
    of::<Event>()
}

fn of<K: Object>() -> Box<dyn Kind> {
    Box::new(Of::<K>(PhantomData))
}

/// What can be done with objects of a kind of which nothing but the metadata is known.
#[async_trait]
pub trait Kind: Send + Sync {
    fn api_version(&self) -> &'static str;
    fn kind(&self) -> &'static str;
    /// As messages name it: `pods`, `deployments.apps`.
    fn resource(&self) -> String;
    fn scope(&self) -> Scope;
    async fn get(&self, client: &Client, key: &Key) -> Result<SeenMeta, ApiError>;
    async fn list(&self, client: &Client, namespace: &str) -> Result<Vec<SeenMeta>, ApiError>;
    async fn delete(&self, client: &Client, key: &Key, options: &DeleteOptions) -> Result<(), ApiError>;
    async fn patch(&self, client: &Client, key: &Key, patch: Patch) -> Result<(), ApiError>;
    /// A cache of nothing but metadata.
    fn watch(&self, client: &Client, stop: &CancellationToken) -> Shared<SeenMeta>;
}

struct Of<K>(PhantomData<fn() -> K>);

#[async_trait]
impl<K: Object> Kind for Of<K> {
    fn api_version(&self) -> &'static str {
        K::API_VERSION
    }
    fn kind(&self) -> &'static str {
        K::KIND
    }
    fn resource(&self) -> String {
        corten_api::error::qualified(K::URL_PATH_SEGMENT, K::GROUP)
    }
    fn scope(&self) -> Scope {
        K::SCOPE
    }
    async fn get(&self, client: &Client, key: &Key) -> Result<SeenMeta, ApiError> {
        client.get::<MetaOnly<K>>(key).await.map(|object| SeenMeta::of(&object.metadata))
    }
    async fn list(&self, client: &Client, namespace: &str) -> Result<Vec<SeenMeta>, ApiError> {
        let listed = client.list::<MetaOnly<K>>(Some(namespace)).await?;
        Ok(listed.items.iter().map(|object| SeenMeta::of(&object.metadata)).collect())
    }
    async fn delete(&self, client: &Client, key: &Key, options: &DeleteOptions) -> Result<(), ApiError> {
        client.delete::<MetaOnly<K>>(key, options).await.map(drop)
    }
    async fn patch(&self, client: &Client, key: &Key, patch: Patch) -> Result<(), ApiError> {
        client.patch::<MetaOnly<K>>(key, "", patch).await.map(drop)
    }
    fn watch(&self, client: &Client, stop: &CancellationToken) -> Shared<SeenMeta> {
        Shared::watch(Watch::<MetaOnly<K>>::all(client), stop, |object| SeenMeta::of(&object.metadata))
    }
}

/// The part of an object that the garbage collector and the namespace controller read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SeenMeta {
    pub key: Key,
    pub uid: String,
    pub revision: i64,
    pub owners: Vec<OwnerReference>,
    pub finalizers: Vec<String>,
    pub deleting: bool,
}

impl SeenMeta {
    pub fn of(meta: &ObjectMeta) -> Self {
        Self {
            key: Key::new(meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default()),
            uid: meta.uid.clone().unwrap_or_default(),
            revision: meta.resource_version.as_deref().and_then(|v| v.parse().ok()).unwrap_or(0),
            owners: meta.owner_references.clone().unwrap_or_default(),
            finalizers: meta.finalizers.clone().unwrap_or_default(),
            deleting: meta.deletion_timestamp.is_some(),
        }
    }
    pub fn has_finalizer(&self, name: &str) -> bool {
        self.finalizers.iter().any(|f| f == name)
    }
}

/// A `K` of which only the metadata is decoded: a Secret's data never comes into this program.
struct MetaOnly<K> {
    metadata: ObjectMeta,
    kind: PhantomData<fn() -> K>,
}

impl<K: Resource> Resource for MetaOnly<K> {
    const API_VERSION: &'static str = K::API_VERSION;
    const GROUP: &'static str = K::GROUP;
    const KIND: &'static str = K::KIND;
    const VERSION: &'static str = K::VERSION;
    const URL_PATH_SEGMENT: &'static str = K::URL_PATH_SEGMENT;
    type Scope = K::Scope;
}
impl<K: Resource> Metadata for MetaOnly<K> {
    type Ty = ObjectMeta;
    fn metadata(&self) -> &ObjectMeta {
        &self.metadata
    }
    fn metadata_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}
impl<K> Clone for MetaOnly<K> {
    fn clone(&self) -> Self {
        Self { metadata: self.metadata.clone(), kind: PhantomData }
    }
}
impl<K> PartialEq for MetaOnly<K> {
    fn eq(&self, other: &Self) -> bool {
        self.metadata == other.metadata
    }
}
impl<K> fmt::Debug for MetaOnly<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MetaOnly").field(&self.metadata).finish()
    }
}
impl<K: Resource> Serialize for MetaOnly<K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct(K::KIND, 3)?;
        object.serialize_field("apiVersion", K::API_VERSION)?;
        object.serialize_field("kind", K::KIND)?;
        object.serialize_field("metadata", &self.metadata)?;
        object.end()
    }
}
impl<'de, K> Deserialize<'de> for MetaOnly<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Envelope {
            metadata: ObjectMeta,
        }
        let Envelope { mut metadata } = Envelope::deserialize(deserializer)?;
        metadata.managed_fields = None;
        Ok(Self { metadata, kind: PhantomData })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use corten_api::error::qualified;
    use corten_api::kinds::SERVED;

    #[test]
    fn only_the_metadata_is_read() {
        let text = r#"{"apiVersion":"v1","kind":"Secret","metadata":{"name":"s","uid":"u","finalizers":["f"]},"data":{"k":"dg=="}}"#;
        let secret: MetaOnly<Secret> = serde_json::from_str(text).unwrap();
        let seen = SeenMeta::of(&secret.metadata);
        assert_eq!((seen.uid.as_str(), seen.has_finalizer("f")), ("u", true));
        assert_eq!(serde_json::to_value(&secret).unwrap()["kind"], "Secret");
    }

    #[test]
    fn every_kind_that_is_served_is_looked_after() {
        let mut known: Vec<String> = all().iter().map(|k| k.resource()).collect();
        known.push(events().resource());
        known.sort();
        // Events have two names and are one kind of object.
        let served = SERVED.iter().filter(|(group, _)| *group != "events.k8s.io");
        let mut served: Vec<String> = served.map(|(group, plural)| qualified(plural, group)).collect();
        served.sort();
        assert_eq!(known, served);
    }
}
