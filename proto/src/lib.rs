//! The gRPC contracts between our own programs, and how a Kubernetes `Status` travels in a gRPC error.
#![allow(unreachable_pub, clippy::all, reason = "most of this crate is generated")]

/// Served by the apiserver: reads, watches and writes of all kinds.
pub mod api {
    tonic::include_proto!("corten.api.v1");
}

/// Served by every kubelet: logs, exec, attach, port-forward, stats.
pub mod node {
    tonic::include_proto!("corten.node.v1");
}

pub mod fence;
pub mod status;
