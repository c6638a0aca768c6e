//! The cluster port: what pod workers want from the apiservers. The client's types stop at `cluster/api`.

pub mod api;
#[cfg(test)]
pub mod fake;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use corten_api::{ApiError, Key};
use corten_client::CancellationToken;
use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::{ConfigMap, ObjectReference, PersistentVolume, PersistentVolumeClaim, Pod, Secret};

use crate::sources::SourceRef;

/// How long an apiserver is waited for while a pod starts: with none, what is known from before has to do.
pub const ASK_MAX: Duration = Duration::from_secs(10);

/// An answer that comes in time.
pub async fn answered<T>(asked: impl Future<Output = Result<T, ApiError>>) -> Result<T, ApiError> {
    let silent = || ApiError::unavailable(format!("no apiserver has answered within {ASK_MAX:?}"));
    tokio::time::timeout(ASK_MAX, asked).await.unwrap_or_else(|_| Err(silent()))
}

/// Must be quick: it enqueues.
pub type OnChange = Box<dyn Fn() + Send>;

/// The API as the workers of pods use it. All async calls may go over the network.
#[async_trait]
pub trait Cluster: Send + Sync {
    /// `Ok(None)`: it does not exist.
    async fn config_map(&self, key: &Key) -> Result<Option<Arc<ConfigMap>>, ApiError>;
    async fn secret(&self, key: &Key) -> Result<Option<Arc<Secret>>, ApiError>;
    async fn claim(&self, key: &Key) -> Result<Option<Arc<PersistentVolumeClaim>>, ApiError>;
    async fn persistent_volume(&self, name: &str) -> Result<Option<Arc<PersistentVolume>>, ApiError>;
    /// Replaces the volume if it is still at this resourceVersion.
    async fn update_persistent_volume(&self, volume: &PersistentVolume) -> Result<(), ApiError>;

    /// A token of an account, as the request says.
    async fn token(&self, account: &Key, request: &TokenRequest) -> Result<TokenRequest, ApiError>;

    async fn pod(&self, key: &Key) -> Result<Pod, ApiError>;
    /// Replaces the status if the pod is still at this resourceVersion.
    async fn write_status(&self, pod: &Pod) -> Result<Pod, ApiError>;
    /// Removes the pod for good if it is still the one with this uid.
    async fn remove_pod(&self, key: &Key, uid: &str) -> Result<(), ApiError>;
    async fn create_pod(&self, pod: &Pod) -> Result<Pod, ApiError>;
    /// The uid of this kubelet's Node as the API has it now.
    async fn node_uid(&self) -> Result<String, ApiError>;

    /// The variables for Services that a pod of this namespace gets; see [`crate::env::services`].
    /// Waits a while for the Services to be known; without any apiserver a container must restart all the same.
    async fn service_variables(&self, namespace: &str, links: bool) -> BTreeMap<String, String>;
    /// Calls `changed` whenever the ConfigMap or Secret changes, until `stop`.
    fn watch_source(&self, namespace: &str, source: &SourceRef, stop: &CancellationToken, changed: OnChange);
    /// As `watch_source`, for a volume. It is called at the beginning, too.
    fn watch_persistent_volume(&self, name: &str, stop: &CancellationToken, changed: OnChange);
    /// Tells the user. Never waits.
    fn event(&self, about: &ObjectReference, warning: bool, reason: &str, message: &str);
}
