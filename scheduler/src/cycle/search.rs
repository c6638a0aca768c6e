//! Which nodes will do for one pod: what its plugins say of each, and what is kept for pods that are nominated.

use std::collections::HashMap;
use std::sync::Arc;

use corten_api::Key;

use super::explain::Tally;
use super::view::{View, filters};
use crate::framework::{Cycle, Filter, Inclusion, Other, Refusal};
use crate::pod::PodClass;
use crate::profile::{PluginBits, Profile};
use crate::snapshot::{NodeId, NodeInfo, Snapshot};

pub(super) type Filters<'a> = Vec<(usize, Box<dyn Filter + 'a>)>;

pub(super) struct Search<'a> {
    pub(super) profile: &'a Profile,
    pub(super) cycle: Cycle<'a>,
    pub(super) view: &'a View,
    only: Option<Only>,
    /// Of the plugins whose answers do not follow from the node alone.
    pub(super) wide: Filters<'a>,
    pod: &'a Key,
    /// Pods that room is kept for, by node: they are at least as urgent as this one.
    nominated: HashMap<NodeId, Vec<&'a PodClass>>,
}

/// The only nodes that a pod may go to, as this plugin says.
pub(super) struct Only {
    plugin: usize,
    pub(super) nodes: Vec<NodeId>,
}

impl Only {
    pub(super) fn of(profile: &Profile, snapshot: &Snapshot, class: &Arc<PodClass>) -> Option<Self> {
        let nothing = Inclusion::default();
        let cycle = Cycle { snapshot, class, inclusion: &nothing };
        let mut filtering = profile.plugins.iter().enumerate().filter(|(_, enabled)| enabled.filters);
        let (plugin, names) = filtering.find_map(|(at, enabled)| Some((at, enabled.plugin.nodes(&cycle)?)))?;
        let nodes = names.iter().filter_map(|name| snapshot.node_named(name)).map(|node| node.id).collect();
        Some(Self { plugin, nodes })
    }
}

/// What became of all nodes where none will do.
#[derive(Default)]
pub(super) struct Refused {
    pub(super) tally: Tally,
    pub(super) plugins: PluginBits,
    /// How many nodes might do if other pods were gone.
    pub(super) resolvable: usize,
    /// Which those are, where there are pods that could go.
    pub(super) potential: Vec<NodeId>,
}

impl Refused {
    fn add(&mut self, plugin: usize, refusal: Refusal, nodes: usize) {
        self.plugins.insert(plugin);
        self.resolvable += if refusal.resolvable { nodes } else { 0 };
        self.tally.add(refusal, nodes);
    }
}

impl<'a> Search<'a> {
    /// `view` knows the nodes of `only`, if there is one.
    pub(super) fn new(
        profile: &'a Profile,
        cycle: Cycle<'a>,
        view: &'a View,
        only: Option<Only>,
        pod: &'a Key,
    ) -> Self {
        let wide = filters(profile, &cycle, false);
        let (snapshot, priority) = (cycle.snapshot, cycle.class.priority);
        let mut nominated: HashMap<NodeId, Vec<&PodClass>> = HashMap::new();
        for node in snapshot.nominations.nodes().filter_map(|name| snapshot.node_named(name)) {
            let others = snapshot.nominations.of_node(node.name());
            let others = others.filter(|(key, n)| *key != pod && n.class.priority >= priority);
            let classes: Vec<&PodClass> = others.map(|(_, n)| &*n.class).collect();
            if !classes.is_empty() {
                nominated.insert(node.id, classes);
            }
        }
        Self { profile, cycle, view, only, wide, pod, nominated }
    }

    /// The nodes to look at: those that the pod names, or all, zone by zone in turn.
    pub(super) fn nodes(&self) -> &[NodeId] {
        self.only.as_ref().map_or_else(|| self.cycle.snapshot.in_turn(), |only| &only.nodes)
    }
    pub(super) fn looks_at_all(&self) -> bool {
        self.only.is_none()
    }
    /// The node that room was made on for this pod, if it will do now.
    pub(super) fn nominated_node(&self) -> Option<&'a NodeInfo> {
        let nomination = self.cycle.snapshot.nominations.get(self.pod)?;
        let node = self.cycle.snapshot.node_named(&nomination.node)?;
        self.fits(node).then_some(node)
    }
    /// Its name, whether it will do or not.
    pub(super) fn nominated_for(&self) -> Option<&'a str> {
        self.cycle.snapshot.nominations.get(self.pod).map(|n| n.node.as_str())
    }
    pub(super) fn keeps_room(&self) -> bool {
        !self.nominated.is_empty()
    }

    pub(super) fn fits(&self, node: &NodeInfo) -> bool {
        self.view.fits(node.id)
            && self.wide.iter().all(|(_, filter)| filter.check(node).is_ok())
            && (!self.nominated.contains_key(&node.id)
                || self.check_with_nominated(node, &self.local(), &self.wide).is_ok())
    }

    /// Why no node will do. Call where none fits.
    pub(super) fn refused(&self) -> Refused {
        let (local, known) = (self.local(), self.view.refusals());
        let mut refused = Refused::default();
        let mut nodes_of_known = vec![0; known.len()];
        let keeps_potential = self.could_others_go();
        for id in self.nodes() {
            let is_resolvable = match self.view.verdict(*id) {
                Some(at) => {
                    nodes_of_known[at] += 1;
                    known[at].1.resolvable
                }
                None => {
                    let Some((plugin, refusal)) = self.refusal_by_wide(self.cycle.snapshot.node(*id), &local) else {
                        continue;
                    };
                    let is_resolvable = refusal.resolvable;
                    refused.add(plugin, refusal, 1);
                    is_resolvable
                }
            };
            if is_resolvable && keeps_potential {
                refused.potential.push(*id);
            }
        }
        for ((plugin, refusal), nodes) in known.iter().zip(nodes_of_known).filter(|(_, nodes)| *nodes > 0) {
            refused.add(*plugin, refusal.clone(), nodes);
        }
        if let Some(only) = &self.only {
            let name = self.profile.plugins[only.plugin].plugin.name();
            let unseen = Refusal::unresolvable(format!("node(s) didn't satisfy plugin(s) [{name}]"));
            refused.add(only.plugin, unseen, self.cycle.snapshot.len() - only.nodes.len());
        }
        refused
    }

    /// Whether any pod of a node is less urgent than this one.
    fn could_others_go(&self) -> bool {
        self.cycle.snapshot.lowest_priority().is_some_and(|lowest| lowest < self.cycle.class.priority)
    }

    /// Why one node will not do.
    pub(super) fn refusal(&self, node: &NodeInfo, local: &Filters<'_>) -> Option<Refusal> {
        match self.view.verdict(node.id) {
            Some(at) => Some(self.view.refusals()[at].1.clone()),
            None => self.refusal_by_wide(node, local).map(|(_, refusal)| refusal),
        }
    }

    /// Of a node that no local plugin refuses as it is.
    fn refusal_by_wide(&self, node: &NodeInfo, local: &Filters<'_>) -> Option<(usize, Refusal)> {
        first_refusal(&self.wide, node).or_else(|| self.check_with_nominated(node, local, &self.wide).err())
    }

    pub(super) fn all_plugins(&self) -> PluginBits {
        (0..self.profile.plugins.len()).collect()
    }

    pub(super) fn local(&self) -> Filters<'a> {
        filters(self.profile, &self.cycle, true)
    }
    pub(super) fn fork_wide(&self) -> Filters<'a> {
        self.wide.iter().map(|(plugin, filter)| (*plugin, filter.fork())).collect()
    }

    /// What all filters say of a node as it would be, without the pods that are nominated for it and with them: they may not
    /// come after all.
    pub(super) fn check(&self, node: &NodeInfo, local: &Filters<'_>, wide: &Filters<'a>) -> Result<(), Refusal> {
        match first_refusal(local, node).or_else(|| first_refusal(wide, node)) {
            Some((_, refusal)) => Err(refusal),
            None => self.check_with_nominated(node, local, wide).map_err(|(_, refusal)| refusal),
        }
    }

    fn check_with_nominated(
        &self,
        node: &NodeInfo,
        local: &Filters<'_>,
        wide: &Filters<'a>,
    ) -> Result<(), (usize, Refusal)> {
        let Some(classes) = self.nominated.get(&node.id) else { return Ok(()) };
        let mut with = node.clone();
        let mut wide: Filters<'a> = wide.iter().map(|(plugin, filter)| (*plugin, filter.fork())).collect();
        for class in classes {
            with.imagine(&class.ask, &self.cycle.snapshot.amounts(class));
            wide.iter_mut().for_each(|(_, filter)| filter.add(Other { class, deleting: false }, node.id));
        }
        first_refusal(local, &with).or_else(|| first_refusal(&wide, &with)).map_or(Ok(()), Err)
    }
}

fn first_refusal(filters: &Filters<'_>, node: &NodeInfo) -> Option<(usize, Refusal)> {
    filters.iter().find_map(|(plugin, filter)| Some((*plugin, filter.check(node).err()?)))
}
