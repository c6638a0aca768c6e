//! Two pods cannot have the same port of a node.

use crate::framework::Hint;
use crate::framework::{Cycle, Filter, Plugin, Refusal};
use crate::pod::{HostPort, PodClass};
use crate::snapshot::event::Event;
use crate::snapshot::{NodeInfo, Snapshot};

#[derive(Debug)]
pub struct NodePorts;

impl Plugin for NodePorts {
    fn name(&self) -> &'static str {
        "NodePorts"
    }
    fn filter<'a>(&'a self, cycle: &Cycle<'a>) -> Option<Box<dyn Filter + 'a>> {
        let ports = &cycle.class.ask.host_ports;
        (!ports.is_empty()).then(|| Box::new(Wanting { ports }) as Box<dyn Filter + 'a>)
    }
    fn hint(&self, _: &Snapshot, class: &PodClass, event: &Event) -> Hint {
        match event {
            Event::NodeAdded(_) => Hint::Queue,
            Event::PodRemoved(gone) => Hint::when(clash(&gone.class.ask.host_ports, &class.ask.host_ports)),
            _ => Hint::Skip,
        }
    }
}

fn clash(taken: &[HostPort], wanted: &[HostPort]) -> bool {
    wanted.iter().any(|p| taken.iter().any(|taken| taken.clashes(p)))
}

#[derive(Clone)]
struct Wanting<'a> {
    ports: &'a [HostPort],
}

impl Filter for Wanting<'_> {
    fn check(&self, node: &NodeInfo) -> Result<(), Refusal> {
        if clash(&node.host_ports, self.ports) {
            return Err(Refusal::resolvable("node(s) didn't have free ports for the requested pod ports"));
        }
        Ok(())
    }
    fn fork<'a>(&self) -> Box<dyn Filter + 'a>
    where
        Self: 'a,
    {
        Box::new(self.clone())
    }
}
