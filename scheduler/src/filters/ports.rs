//! Two pods cannot have the same port of a node.

use super::{Asked, Filter, Reason, refuse};
use crate::snapshot::{Helps, NodeInfo, Snapshot};

#[derive(Debug)]
pub(super) struct NodePorts;

impl Filter for NodePorts {
    fn applies(&self, asked: &Asked<'_>) -> bool {
        !asked.pod.takes.host_ports.is_empty()
    }
    fn check(&self, asked: &Asked<'_>, node: &NodeInfo, _: &Snapshot) -> Vec<Reason> {
        let clash = asked.pod.takes.host_ports.iter().any(|p| node.host_ports.iter().any(|taken| taken.clashes(p)));
        if clash {
            refuse("node(s) didn't have free ports for the requested pod ports", Helps::POD_GONE)
        } else {
            Vec::new()
        }
    }
}
