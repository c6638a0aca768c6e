//! The cluster port over our own client.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use corten_api::{ApiError, Key, Reason};
use corten_client::{Cache, CancellationToken, Client, EventType, Recorder, Watch};
use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::{
    ConfigMap, Node, ObjectReference, PersistentVolume, PersistentVolumeClaim, Pod, Secret, Service, ServiceAccount,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, Preconditions};
use tracing::warn;

use super::{Cluster, OnChange};
use crate::env::services::{self, ServiceAddress};
use crate::sources::{SourceKind, SourceRef};

/// How long a container's start waits for the Services to be known.
const SERVICES_WAIT_MAX: Duration = Duration::from_secs(5);

pub struct ApiCluster {
    client: Client,
    node: Key,
    recorder: Recorder,
    /// All Services with an address, reduced to what variables are made of.
    services: Cache<Option<ServiceAddress>>,
}

impl ApiCluster {
    pub fn new(client: &Client, node_name: &str, stop: &CancellationToken) -> Self {
        let services = Watch::<Service>::all(client).start_reduced(stop, |s| ServiceAddress::of(&s), |_| {});
        let recorder = Recorder::new(client, "kubelet", node_name);
        Self { client: client.clone(), node: Key::cluster(node_name), recorder, services }
    }
}

fn optional<T>(got: Result<T, ApiError>) -> Result<Option<Arc<T>>, ApiError> {
    match got {
        Ok(object) => Ok(Some(Arc::new(object))),
        Err(err) if err.is(Reason::NotFound) => Ok(None),
        Err(err) => Err(err),
    }
}

#[async_trait]
impl Cluster for ApiCluster {
    async fn config_map(&self, key: &Key) -> Result<Option<Arc<ConfigMap>>, ApiError> {
        optional(self.client.get(key).await)
    }
    async fn secret(&self, key: &Key) -> Result<Option<Arc<Secret>>, ApiError> {
        optional(self.client.get(key).await)
    }
    async fn claim(&self, key: &Key) -> Result<Option<Arc<PersistentVolumeClaim>>, ApiError> {
        optional(self.client.get(key).await)
    }
    async fn persistent_volume(&self, name: &str) -> Result<Option<Arc<PersistentVolume>>, ApiError> {
        optional(self.client.get(&Key::cluster(name)).await)
    }
    async fn update_persistent_volume(&self, volume: &PersistentVolume) -> Result<(), ApiError> {
        self.client.update(volume).await.map(drop)
    }
    async fn token(&self, account: &Key, request: &TokenRequest) -> Result<TokenRequest, ApiError> {
        self.client.create_subresource::<ServiceAccount, _>(account, "token", request).await
    }
    async fn pod(&self, key: &Key) -> Result<Pod, ApiError> {
        self.client.get(key).await
    }
    async fn write_status(&self, pod: &Pod) -> Result<Pod, ApiError> {
        self.client.update_status(pod).await
    }
    async fn remove_pod(&self, key: &Key, uid: &str) -> Result<(), ApiError> {
        let options = DeleteOptions {
            grace_period_seconds: Some(0),
            preconditions: Some(Preconditions { uid: Some(uid.into()), resource_version: None }),
            ..Default::default()
        };
        self.client.delete::<Pod>(key, &options).await.map(drop)
    }
    async fn create_pod(&self, pod: &Pod) -> Result<Pod, ApiError> {
        self.client.create(pod).await
    }
    async fn node_uid(&self) -> Result<String, ApiError> {
        let node: Node = self.client.get(&self.node).await?;
        Ok(node.metadata.uid.unwrap_or_default())
    }
    async fn service_variables(&self, namespace: &str, links: bool) -> BTreeMap<String, String> {
        if tokio::time::timeout(SERVICES_WAIT_MAX, self.services.synced()).await.is_err() {
            warn!(namespace, "no Services are known yet; a container starts without their variables");
        }
        let list = self.services.list();
        services::variables(list.iter().filter_map(|s| s.as_ref().as_ref()), namespace, links)
    }
    fn watch_source(&self, namespace: &str, source: &SourceRef, stop: &CancellationToken, changed: OnChange) {
        let name = format!("metadata.name={}", source.name);
        // Only that there was a change is of interest: nothing of the object is kept.
        match source.kind {
            SourceKind::ConfigMap => {
                let watch = Watch::<ConfigMap>::all(&self.client).namespace(namespace).fields(&name);
                drop(watch.start_reduced(stop, drop, move |_| changed()));
            }
            SourceKind::Secret => {
                let watch = Watch::<Secret>::all(&self.client).namespace(namespace).fields(&name);
                drop(watch.start_reduced(stop, drop, move |_| changed()));
            }
        }
    }
    fn watch_persistent_volume(&self, name: &str, stop: &CancellationToken, changed: OnChange) {
        let watch = Watch::<PersistentVolume>::all(&self.client).fields(&format!("metadata.name={name}"));
        drop(watch.start_reduced(stop, drop, move |_| changed()));
    }
    fn event(&self, about: &ObjectReference, warning: bool, reason: &str, message: &str) {
        let kind = if warning { EventType::Warning } else { EventType::Normal };
        self.recorder.event(about, kind, reason, message);
    }
}
