//! The node agent: pods as the API wants them, made real with containerd, a bridge and cgroups.

pub mod beneath;
pub mod cgroup;
pub mod cluster;
pub mod config;
pub mod daemon;
pub mod downward;
pub mod env;
pub mod files;
pub mod images;
pub mod logs;
pub mod network;
pub mod node;
pub mod node_facts;
pub mod place;
pub mod pod;
pub mod pods;
pub mod probes;
pub mod pull_secrets;
pub mod resolv_conf;
pub mod runtime;
pub mod server;
pub mod sources;
pub mod static_pods;
pub mod status_writer;
pub mod sysctls;
pub mod volumes;
