//! Objects of any kind that is served, of which only the metadata is read: for who looks after all kinds alike.

use corten_api::{ApiError, Key};
use corten_proto::api;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::DeleteOptions;

use crate::client::{Client, Listed, Patch};
use crate::resource::{ApiResource, PartialObjectMetadata};
use crate::watch::Watch;

/// Calls for the objects of one kind. Cheap to clone.
#[derive(Clone, Debug)]
pub struct MetadataClient {
    client: Client,
    resource: ApiResource,
}

impl MetadataClient {
    pub fn new(client: &Client, resource: &ApiResource) -> Self {
        Self { client: client.clone(), resource: resource.clone() }
    }
    pub async fn get(&self, key: &Key) -> Result<PartialObjectMetadata, ApiError> {
        self.client.get_at(self.resource.at(&key.namespace, &key.name), true).await
    }
    /// All of a namespace; "": of the cluster.
    pub async fn list(&self, namespace: &str) -> Result<Listed<PartialObjectMetadata>, ApiError> {
        let resource = Some(self.resource.at(namespace, ""));
        let (label_selector, field_selector) = (String::new(), String::new());
        let request = api::ListRequest { resource, label_selector, field_selector, metadata_only: true };
        self.client.list_at(request, &|object: PartialObjectMetadata| object).await
    }
    /// Returns the revision of the deletion, or of its beginning.
    pub async fn delete(&self, key: &Key, options: &DeleteOptions) -> Result<i64, ApiError> {
        self.client.delete_at(self.resource.at(&key.namespace, &key.name), options).await
    }
    pub async fn patch(&self, key: &Key, patch: Patch) -> Result<PartialObjectMetadata, ApiError> {
        self.client.patch_at(self.resource.at(&key.namespace, &key.name), patch).await
    }
    /// Of all of them, to be started.
    pub fn watch(&self) -> Watch<PartialObjectMetadata> {
        Watch::metadata(&self.client, &self.resource)
    }
}
