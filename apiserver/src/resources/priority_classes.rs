//! The PriorityClasses that every cluster has. Admission lets nobody delete them.
//!
//! <https://kubernetes.io/docs/concepts/scheduling-eviction/pod-priority-preemption/#priorityclass>.

use corten_api::ApiError;

use super::Resources;
use super::system::target;
use crate::registry::scheduling::priorityclass::system_classes;

impl Resources {
    /// Before the first request: pods of the system name them.
    pub(super) async fn make_priority_classes(&self) -> Result<(), ApiError> {
        for class in system_classes() {
            let object = serde_json::to_value(class).map_err(ApiError::internal)?;
            self.make(&target("scheduling.k8s.io", "priorityclasses", "", ""), object).await?;
        }
        Ok(())
    }
}
