//! Cordoned nodes take no pods, but those that tolerate it.

use corten_api::node::{UNSCHEDULABLE_TAINT, tolerates};
use k8s_openapi::api::core::v1::Taint;

use super::{Asked, Filter, Reason, refuse};
use crate::snapshot::{Helps, NodeInfo, Snapshot};

#[derive(Debug)]
pub(super) struct NodeUnschedulable;

impl Filter for NodeUnschedulable {
    fn check(&self, asked: &Asked<'_>, node: &NodeInfo, _: &Snapshot) -> Vec<Reason> {
        if !node.unschedulable {
            return Vec::new();
        }
        let taint = Taint { key: UNSCHEDULABLE_TAINT.into(), effect: "NoSchedule".into(), ..Taint::default() };
        let tolerated = asked.pod.wants.iter().flat_map(|w| &w.tolerations).any(|t| tolerates(t, &taint));
        if tolerated { Vec::new() } else { refuse("node(s) were unschedulable", Helps::NODE_UNTAINTED) }
    }
}
