//! Taints that the pod does not tolerate keep it away; those with PreferNoSchedule make a node worse than others.

use corten_api::node::{tolerates, untolerated};
use k8s_openapi::api::core::v1::Toleration;

use crate::framework::Hint;
use crate::framework::{Cycle, Filter, Normalize, Plugin, Refusal, Scorer};
use crate::pod::PodClass;
use crate::snapshot::event::Event;
use crate::snapshot::{NodeId, NodeInfo, NodeSpec, Snapshot};

const HARD: [&str; 2] = ["NoSchedule", "NoExecute"];

#[derive(Debug)]
pub struct TaintToleration;

/// Whether no taint keeps pods with these tolerations away from the node.
pub fn is_tolerated(node: &NodeSpec, tolerations: &[Toleration]) -> bool {
    untolerated(&node.taints, tolerations, &HARD).is_none()
}

impl Plugin for TaintToleration {
    fn name(&self) -> &'static str {
        "TaintToleration"
    }
    fn filter<'a>(&'a self, cycle: &Cycle<'a>) -> Option<Box<dyn Filter + 'a>> {
        Some(Box::new(Tolerating { tolerations: &cycle.class.ask.tolerations }))
    }
    fn scorer<'a>(&'a self, cycle: &Cycle<'a>, _: &[NodeId]) -> Option<Box<dyn Scorer + 'a>> {
        Some(Box::new(Tolerating { tolerations: &cycle.class.ask.tolerations }))
    }
    fn hint(&self, _: &Snapshot, class: &PodClass, event: &Event) -> Hint {
        let open = |node: &NodeSpec| is_tolerated(node, &class.ask.tolerations);
        match event {
            Event::NodeAdded(node) => Hint::when(open(node)),
            Event::NodeUpdated { old, new } => Hint::when(!open(old) && open(new)),
            _ => Hint::Skip,
        }
    }
}

#[derive(Clone)]
struct Tolerating<'a> {
    tolerations: &'a [Toleration],
}

impl Filter for Tolerating<'_> {
    fn check(&self, node: &NodeInfo) -> Result<(), Refusal> {
        match untolerated(&node.spec.taints, self.tolerations, &HARD) {
            None => Ok(()),
            Some(taint) => {
                let value = taint.value.as_deref().unwrap_or_default();
                Err(Refusal::unresolvable(format!("node(s) had untolerated taint {{{}: {value}}}", taint.key)))
            }
        }
    }
    fn fork<'a>(&self) -> Box<dyn Filter + 'a>
    where
        Self: 'a,
    {
        Box::new(self.clone())
    }
}

impl Scorer for Tolerating<'_> {
    fn score(&self, node: &NodeInfo) -> i64 {
        let soft = node.spec.taints.iter().filter(|t| t.effect == "PreferNoSchedule");
        let intolerable = soft.filter(|taint| !self.tolerations.iter().any(|t| tolerates(t, taint)));
        i64::try_from(intolerable.count()).unwrap_or(i64::from(i32::MAX))
    }
    fn normalize(&self) -> Normalize {
        Normalize::LargestIsWorst
    }
}
