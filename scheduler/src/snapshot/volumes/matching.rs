//! Which volumes the claims of a pod that wait for it would get on a node: those that are there, or new ones. Pure.
//!
//! <https://kubernetes.io/docs/concepts/storage/storage-classes/#volume-binding-mode>

use std::cmp::Ordering;

use corten_api::Key;
use corten_api::node::selector;

use super::offers::Wanted;
use super::{Class, Volume, Volumes};
use crate::pod::PodClass;
use crate::snapshot::NodeSpec;

/// The provisioner of classes whose volumes nobody makes.
const NO_PROVISIONER: &str = "kubernetes.io/no-provisioner";

/// A claim, and not another of its name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClaimRef {
    pub key: Key,
    pub uid: String,
}

/// What is to be done for a pod's claims before it is bound.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    pub node: String,
    /// Claims with the volumes that they get.
    pub bindings: Vec<(ClaimRef, String)>,
    /// Claims whose volumes are made on the node.
    pub provisions: Vec<ClaimRef>,
}

impl Plan {
    pub fn is_empty(&self) -> bool {
        self.bindings.is_empty() && self.provisions.is_empty()
    }
    pub fn claims(&self) -> impl Iterator<Item = &ClaimRef> {
        self.bindings.iter().map(|(claim, _)| claim).chain(&self.provisions)
    }
}

/// What a pod's waiting claims could have, wherever it is: found out once for each decision. The smallest chooses first.
#[derive(Clone, Debug, Default)]
pub struct Wants<'a>(Vec<Want<'a>>);

#[derive(Clone, Debug)]
struct Want<'a> {
    claim: ClaimRef,
    wanted: &'a Wanted,
    class: &'a Class,
    class_name: &'a str,
    volumes: &'a Volumes,
    /// Its volume is made there.
    node: Option<&'a str>,
    /// Volumes that are meant for it.
    meant: Vec<(&'a str, &'a Volume)>,
    /// Others that it could have and that are not of one node, the smallest first. Those of a node are looked at with it.
    free: Vec<(&'a str, &'a Volume)>,
}

impl<'a> Wants<'a> {
    pub fn of(volumes: &'a Volumes, class: &PodClass) -> Self {
        let mut wants: Vec<Want<'a>> = class.claim_keys().filter_map(|key| Want::of(volumes, key)).collect();
        wants.sort_by(|a, b| (a.wanted.size_units(), &a.claim).cmp(&(b.wanted.size_units(), &b.claim)));
        Self(wants)
    }
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is to be done on this node; `None`: a claim would get no volume there.
    pub fn plan(&self, node: &NodeSpec) -> Option<Plan> {
        if self.0.iter().any(|want| want.node.is_some_and(|selected| selected != node.name)) {
            return None;
        }
        let mut plan = Plan { node: node.name.clone(), ..Plan::default() };
        for want in &self.0 {
            let found = if want.node.is_some() { None } else { want.find(node, &plan) };
            match found {
                Some(volume) => plan.bindings.push((want.claim.clone(), volume.to_owned())),
                None if !want.is_elsewhere(node) && want.can_be_made_on(node) => {
                    plan.provisions.push(want.claim.clone())
                }
                None => return None,
            }
        }
        Some(plan)
    }
}

impl<'a> Want<'a> {
    /// `None`: the claim has its volume, or does not wait for a pod.
    fn of(volumes: &'a Volumes, key: Key) -> Option<Self> {
        let claim = volumes.claims.get(&key)?;
        let wanted = claim.wanted.as_deref().filter(|wanted| !wanted.names_volume)?;
        let class = volumes.classes.get(&claim.class).filter(|class| class.waits)?;
        let claim_ref = ClaimRef { key, uid: wanted.uid.clone() };
        let by_others = |name: &str| volumes.assumed.claim_of(name).is_some_and(|other| *other != claim_ref);
        let promised = volumes.assumed.volumes_of(&claim_ref).filter_map(|name| volumes.named(name));
        let named = volumes.meant.get(&claim_ref.key).into_iter().flatten().filter_map(|name| volumes.named(name));
        let named = named
            .filter(|(name, volume)| volume.offer.is_meant_for(&claim_ref.key, &claim_ref.uid) && !by_others(name));
        let mut meant: Vec<(&str, &Volume)> =
            promised.chain(named).filter(|(_, volume)| volume.offer.could_be_for(wanted)).collect();
        meant.dedup_by_key(|(name, _)| *name);
        let free = volumes.free.of_several(&claim.class).filter_map(|name| volumes.named(name));
        let mut free: Vec<(&str, &Volume)> = free.filter(|one| is_free(one, volumes, wanted)).collect();
        free.sort_by(order);
        let node = volumes.assumed.node_of(&claim_ref).or(wanted.node.as_deref());
        Some(Self { claim: claim_ref, wanted, class, class_name: &claim.class, volumes, node, meant, free })
    }

    /// One of the volumes that are there, and on the node.
    fn find(&self, node: &NodeSpec, plan: &Plan) -> Option<&'a str> {
        let is_left = |name: &str| !plan.bindings.iter().any(|(_, chosen)| chosen == name);
        // One that is meant for the claim leaves no choice.
        if let Some((name, volume)) = self.meant.iter().find(|(name, _)| is_left(name)) {
            return is_on(volume, node).then_some(*name);
        }
        let fits = |(name, volume): &(&str, &Volume)| is_left(name) && is_on(volume, node);
        let volumes = self.volumes;
        let own = volumes.free.of_node(self.class_name, node).filter_map(|name| volumes.named(name));
        let own = own.filter(|one| fits(one) && is_free(one, volumes, self.wanted));
        let other = self.free.iter().copied().find(fits);
        own.chain(other).min_by(order).map(|(name, _)| name)
    }

    /// It has a volume, or nearly so, and not on this node: none is made a second time.
    fn is_elsewhere(&self, node: &NodeSpec) -> bool {
        self.meant.iter().any(|(_, volume)| !is_on(volume, node))
    }

    fn can_be_made_on(&self, node: &NodeSpec) -> bool {
        let class = self.class;
        let has = |(label, values): &(String, Vec<String>)| node.labels.get(label).is_some_and(|v| values.contains(v));
        let is_allowed = class.topologies.is_empty() || class.topologies.iter().any(|term| term.iter().all(has));
        !class.provisioner.is_empty() && class.provisioner != NO_PROVISIONER && is_allowed
    }
}

/// Whether it is nobody's, and would do.
fn is_free((name, volume): &(&str, &Volume), volumes: &Volumes, wanted: &Wanted) -> bool {
    volume.offer.is_free_for(wanted) && volumes.assumed.claim_of(name).is_none()
}

/// The smallest first; of one size, by name.
fn order((a, volume): &(&str, &Volume), (b, other): &(&str, &Volume)) -> Ordering {
    let by_size = volume.offer.size().partial_cmp(&other.offer.size()).unwrap_or(Ordering::Equal);
    by_size.then_with(|| a.cmp(b))
}

/// Whether the volume can be had on the node.
pub fn is_on(volume: &Volume, node: &NodeSpec) -> bool {
    let label = |key: &str| node.labels.get(key).map(String::as_str);
    volume.nodes.as_ref().is_none_or(|terms| selector::matches(terms, &node.name, label))
}

#[cfg(test)]
mod tests;
