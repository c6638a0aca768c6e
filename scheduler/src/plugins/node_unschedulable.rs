//! Cordoned nodes take no pods, but those that tolerate it.

use corten_api::node::{UNSCHEDULABLE_TAINT, tolerates};
use k8s_openapi::api::core::v1::Taint;

use crate::framework::Hint;
use crate::framework::{Cycle, Filter, Plugin, Refusal};
use crate::pod::{Ask, PodClass};
use crate::snapshot::event::Event;
use crate::snapshot::{NodeInfo, NodeSpec, Snapshot};

#[derive(Debug)]
pub struct NodeUnschedulable;

impl Plugin for NodeUnschedulable {
    fn name(&self) -> &'static str {
        "NodeUnschedulable"
    }
    fn filter<'a>(&'a self, cycle: &Cycle<'a>) -> Option<Box<dyn Filter + 'a>> {
        (!tolerates_cordon(&cycle.class.ask)).then(|| Box::new(Cordon) as Box<dyn Filter + 'a>)
    }
    fn hint(&self, _: &Snapshot, class: &PodClass, event: &Event) -> Hint {
        let open = |node: &NodeSpec| !node.unschedulable || tolerates_cordon(&class.ask);
        match event {
            Event::NodeAdded(node) => Hint::when(open(node)),
            Event::NodeUpdated { old, new } => Hint::when(!open(old) && open(new)),
            _ => Hint::Skip,
        }
    }
}

fn tolerates_cordon(ask: &Ask) -> bool {
    let taint = Taint { key: UNSCHEDULABLE_TAINT.into(), effect: "NoSchedule".into(), ..Taint::default() };
    ask.tolerations.iter().any(|t| tolerates(t, &taint))
}

#[derive(Clone)]
struct Cordon;

impl Filter for Cordon {
    fn check(&self, node: &NodeInfo) -> Result<(), Refusal> {
        if node.spec.unschedulable { Err(Refusal::unresolvable("node(s) were unschedulable")) } else { Ok(()) }
    }
    fn fork<'a>(&self) -> Box<dyn Filter + 'a>
    where
        Self: 'a,
    {
        Box::new(self.clone())
    }
}
