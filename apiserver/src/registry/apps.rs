//! Work that goes on: pods with names of their own, and pods on every node.

pub mod daemonset;
pub mod statefulset;
