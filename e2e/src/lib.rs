//! What stories need: a running cluster, kubectl, the lab's verbs, and waiting for conditions instead of sleeping.
//!
//! A story's name is a claim. Stories that touch only their own namespace run side by side; stories that break nodes
//! or daemons stand in `tests/faults.rs`, which runs alone, and those that need several masters in `tests/masters.rs` and
//! `tests/histories`, on a lab of their own.

mod cluster;
mod dead;
pub mod history;
mod kubectl;
pub mod manifest;
mod namespace;
mod wait;

pub use cluster::{Cluster, Node, http_get, program};
pub use dead::Dead;
pub use kubectl::{Background, Kubectl, Output, condition};
pub use namespace::Namespace;
pub use wait::{SOON, eventually};
