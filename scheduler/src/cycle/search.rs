//! Which nodes will do for one pod: what its plugins say of each, and what is kept for pods that are nominated.

use std::collections::HashMap;
use std::sync::Arc;

use corten_api::Key;

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

/// Nodes that are not looked at, and why not.
pub(super) struct Unseen {
    pub(super) nodes: usize,
    pub(super) plugin: usize,
    pub(super) refusal: Refusal,
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
    pub(super) fn unseen(&self) -> Option<Unseen> {
        let only = self.only.as_ref()?;
        let nodes = self.cycle.snapshot.len() - only.nodes.len();
        let name = self.profile.plugins[only.plugin].plugin.name();
        let refusal = Refusal::unresolvable(format!("node(s) didn't satisfy plugin(s) [{name}]"));
        Some(Unseen { nodes, plugin: only.plugin, refusal })
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

    /// Every node's refusal, by plugin. Call where none fits.
    pub(super) fn refusals(&self) -> Vec<(&'a NodeInfo, usize, Refusal)> {
        let local = self.local();
        let why = |id: &NodeId| {
            let node = self.cycle.snapshot.node(*id);
            if let Some((plugin, refusal)) = self.view.refusal(node.id) {
                return Some((node, plugin, refusal.clone()));
            }
            let wide = first_refusal(&self.wide, node);
            let (plugin, refusal) = wide.or_else(|| self.check_with_nominated(node, &local, &self.wide).err())?;
            Some((node, plugin, refusal))
        };
        self.nodes().iter().filter_map(why).collect()
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
