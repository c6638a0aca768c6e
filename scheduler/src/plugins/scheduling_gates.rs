//! A pod with scheduling gates waits until somebody has taken them away.
//!
//! <https://kubernetes.io/docs/concepts/scheduling-eviction/pod-scheduling-readiness/>

use crate::framework::Plugin;
use crate::pod::PodClass;

#[derive(Debug)]
pub struct SchedulingGates;

impl Plugin for SchedulingGates {
    fn name(&self) -> &'static str {
        "SchedulingGates"
    }
    fn pre_enqueue(&self, class: &PodClass) -> Result<(), String> {
        if class.gates.is_empty() {
            return Ok(());
        }
        Err(format!("waiting for scheduling gates: [{}]", class.gates.join(" ")))
    }
}
