//! Making a container larger or smaller while it runs, and noting its new size with it.

use std::collections::{BTreeMap, HashMap};

use containerd_client::services::v1::{Container as Object, UpdateContainerRequest, UpdateTaskRequest};

use super::rpc::Rpc;
use super::{Containerd, RuntimeError, oci};
use crate::runtime::Resources;

/// How containerd's shims know what is in the message.
const RESOURCES_TYPE: &str = "types.containerd.io/opencontainers/runtime-spec/1/LinuxResources";

impl Containerd {
    /// The process comes first: a size that is on record before it is real would be taken for real by the next kubelet.
    pub(super) async fn resize_container(
        &self,
        id: &str,
        resources: &Resources,
        labels: &BTreeMap<String, String>,
    ) -> Result<(), RuntimeError> {
        if self.running_pid(id).await?.is_none() {
            return Err(RuntimeError::NotRunning { id: id.into() });
        }
        let value =
            serde_json::to_vec(&oci::limits(resources)).map_err(RuntimeError::internal("writing the limits"))?;
        let request = UpdateTaskRequest {
            container_id: id.into(),
            resources: Some(prost_types::Any { type_url: RESOURCES_TYPE.into(), value }),
            annotations: HashMap::new(),
        };
        let mut client = self.rpc().client().tasks();
        self.rpc().ask("resizing", id, client.update(Rpc::request(request))).await?;
        let paths = labels.keys().map(|key| format!("labels.{key}")).collect();
        let labels = labels.clone().into_iter().collect();
        let request = UpdateContainerRequest {
            container: Some(Object { id: id.into(), labels, ..Object::default() }),
            update_mask: Some(prost_types::FieldMask { paths }),
        };
        let mut client = self.rpc().client().containers();
        self.rpc().ask("noting the new size", id, client.update(Rpc::request(request))).await.map(drop)
    }
}
