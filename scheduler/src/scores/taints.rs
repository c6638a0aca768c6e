//! Prefers nodes without PreferNoSchedule taints that the pod does not tolerate.

use corten_api::node::tolerates;

use super::{Scorer, normalised};
use crate::filters::Asked;
use crate::snapshot::NodeInfo;

#[derive(Debug)]
pub(super) struct PreferNoSchedule;

impl Scorer for PreferNoSchedule {
    fn score(&self, asked: &Asked<'_>, nodes: &[&NodeInfo]) -> Vec<i64> {
        let tolerations = asked.pod.wants.as_deref().map(|w| w.tolerations.as_slice()).unwrap_or_default();
        let intolerable = |node: &&NodeInfo| {
            let soft = node.taints.iter().filter(|t| t.effect == "PreferNoSchedule");
            soft.filter(|taint| !tolerations.iter().any(|t| tolerates(t, taint))).count()
        };
        let counts: Vec<i64> = nodes.iter().map(|n| i64::try_from(intolerable(n)).unwrap_or(i64::MAX / 1000)).collect();
        normalised(&counts, true)
    }
}
