//! The node agent: pods as the API wants them, made real with containerd, a bridge and cgroups.

pub mod cgroup;
pub mod images;
pub mod logs;
pub mod network;
pub mod runtime;
pub mod server;
