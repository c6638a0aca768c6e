//! Pods on this node: the pure state machine of one, its status, and the worker that makes it real.

pub mod backoff;
pub mod conditions;
pub mod confinement;
pub mod container;
pub mod inventory;
pub mod model;
mod oom;
pub mod phase;
pub mod plan;
pub mod size;
pub mod status;
pub mod step;
pub mod worker;
