//! Taints that the pod does not tolerate keep it away.

use corten_api::node::untolerated;

use super::{Asked, Filter, Reason, refuse};
use crate::snapshot::{Helps, NodeInfo, Snapshot};

#[derive(Debug)]
pub(super) struct TaintToleration;

impl Filter for TaintToleration {
    fn check(&self, asked: &Asked<'_>, node: &NodeInfo, _: &Snapshot) -> Vec<Reason> {
        let tolerations = asked.pod.wants.as_deref().map(|w| w.tolerations.as_slice()).unwrap_or_default();
        match untolerated(&node.taints, tolerations, &["NoSchedule", "NoExecute"]) {
            None => Vec::new(),
            Some(taint) => {
                let value = taint.value.as_deref().unwrap_or_default();
                let text = format!("node(s) had untolerated taint {{{}: {value}}}", taint.key);
                refuse(text, Helps::NODE_UNTAINTED)
            }
        }
    }
}
