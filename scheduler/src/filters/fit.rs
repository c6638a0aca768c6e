//! What the pod asks must be free: cpu, memory, pods, extended resources.

use super::{Asked, Filter, Reason};
use crate::snapshot::{Helps, NodeInfo, PODS, Snapshot};

#[derive(Debug)]
pub(super) struct Fit;

impl Filter for Fit {
    fn check(&self, asked: &Asked<'_>, node: &NodeInfo, snapshot: &Snapshot) -> Vec<Reason> {
        let short = asked.amounts.iter().filter(|(column, amount)| *amount > node.free(*column));
        short
            .map(|(column, _)| {
                let text = if *column == PODS {
                    "Too many pods".to_owned()
                } else {
                    format!("Insufficient {}", snapshot.column_name(*column))
                };
                Reason { text, retry_on: Helps::POD_GONE.and(Helps::NODE_GREW) }
            })
            .collect()
    }
}
