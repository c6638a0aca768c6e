//! The scheduler's table of contents: every plugin, by the name and with the weight that upstream has for it.
//!
//! <https://kubernetes.io/docs/reference/scheduling/config/#scheduling-plugins>

pub mod image_locality;
pub mod inter_pod_affinity;
pub mod node_affinity;
pub mod node_name;
pub mod node_ports;
pub mod node_resources_balanced_allocation;
pub mod node_resources_fit;
pub mod node_unschedulable;
pub mod node_volume_limits;
pub mod pod_topology_spread;
pub mod scheduling_gates;
pub mod taint_toleration;
pub mod volume_binding;
pub mod volume_restrictions;
pub mod volume_zone;

use std::sync::Arc;

use crate::framework::Plugin;

/// The name by which a configuration file has what makes room for pods that fit nowhere (see [`crate::cycle`]).
pub const DEFAULT_PREEMPTION: &str = "DefaultPreemption";

/// A plugin with its weight among the scores; 0: it gives none.
pub fn all() -> Vec<(Arc<dyn Plugin>, i64)> {
    vec![
        (Arc::new(scheduling_gates::SchedulingGates), 0),
        (Arc::new(node_unschedulable::NodeUnschedulable), 0),
        (Arc::new(node_name::NodeName), 0),
        (Arc::new(taint_toleration::TaintToleration), 3),
        (Arc::new(node_affinity::NodeAffinity::default()), 2),
        (Arc::new(node_ports::NodePorts), 0),
        (Arc::new(node_resources_fit::NodeResourcesFit::default()), 1),
        (Arc::new(volume_restrictions::VolumeRestrictions), 0),
        (Arc::new(node_volume_limits::NodeVolumeLimits), 0),
        (Arc::new(volume_binding::VolumeBinding), 0),
        (Arc::new(volume_zone::VolumeZone), 0),
        (Arc::new(pod_topology_spread::PodTopologySpread::default()), 2),
        (Arc::new(inter_pod_affinity::InterPodAffinity::default()), 2),
        (Arc::new(node_resources_balanced_allocation::NodeResourcesBalancedAllocation::default()), 1),
        (Arc::new(image_locality::ImageLocality), 1),
    ]
}

#[cfg(test)]
pub(crate) mod tests;
