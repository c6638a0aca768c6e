//! Work that goes on: pods that are alike, pods with names of their own, and pods on every node.

pub mod controllerrevision;
pub mod daemonset;
pub mod deployment;
pub mod replicaset;
pub mod statefulset;
