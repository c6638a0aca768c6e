//! The scale of an object, whatever its kind: how many replicas it is to have, and which pods they are.
//!
//! <https://kubernetes.io/docs/reference/generated/kubernetes-api/v1.37/#scale-v1-autoscaling>

use corten_api::{ApiError, Key, Object as _};
use corten_proto::api;
use k8s_openapi::api::autoscaling::v1::Scale;

use crate::client::Client;
use crate::resource::ApiResource;

const SUBRESOURCE: &str = "scale";

/// Calls for the scales of one kind's objects. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ScaleClient {
    client: Client,
    resource: ApiResource,
}

impl ScaleClient {
    pub fn new(client: &Client, resource: &ApiResource) -> Self {
        Self { client: client.clone(), resource: resource.clone() }
    }

    pub async fn get(&self, key: &Key) -> Result<Scale, ApiError> {
        self.client.get_at(self.at(key), false).await
    }

    /// Sets the replicas if the object is still at the scale's resourceVersion, else fails with Conflict.
    pub async fn update(&self, scale: &Scale) -> Result<Scale, ApiError> {
        self.client.update_at(self.at(&scale.key()), scale).await
    }

    fn at(&self, key: &Key) -> api::Resource {
        api::Resource { subresource: SUBRESOURCE.into(), ..self.resource.at(&key.namespace, &key.name) }
    }
}
