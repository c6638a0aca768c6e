//! What the caches show of a volume and a node. Costs as much as there are pods of the volume's claim and attachments of it.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use corten_api::k8s_openapi::api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim};
use corten_api::k8s_openapi::api::storage::v1::{CSIDriver, VolumeAttachment};
use corten_api::{Key, Object, node};

use super::decide::NodeState;
use super::volume::{self, ByHandle, ByNode, ByVolume, Volume};
use super::{Place, memory, report};
use crate::caches::{Caches, Shared};
use crate::nodelifecycle::nodes::ByNode as PodsByNode;
use crate::persistentvolume::index::{ByClaimOrClass, meant_for};
use crate::persistentvolume::matching::{claim_spec, volume_spec};
use crate::persistentvolume::step::BOUND;
use crate::podgc::decide::OUT_OF_SERVICE;
use crate::pods::{ByClaim, SeenPod, UsedClaim};

/// Cheap to clone.
#[derive(Clone)]
pub struct Seen {
    pub pods: Shared<SeenPod>,
    pub claims: Shared<PersistentVolumeClaim>,
    pub volumes: Shared<PersistentVolume>,
    pub attachments: Shared<VolumeAttachment>,
    pub drivers: Shared<CSIDriver>,
    pub nodes: Shared<Node>,
}

/// Of a place.
pub struct Found {
    /// `None`: the persistent volume is gone, or of no CSI driver.
    pub volume: Option<Volume>,
    pub is_shareable: bool,
    pub attachment: Option<Arc<VolumeAttachment>>,
    /// The pods on the node that may use the volume.
    pub users: Vec<Arc<SeenPod>>,
    /// Whether pods on the node name its claim, whatever has become of that, or somebody else has attached it.
    pub is_kept: bool,
    /// Other nodes to which it is attached, if it may be attached to one alone.
    pub elsewhere: Vec<String>,
    pub node: NodeState,
    /// The names of attachments to this node of what this persistent volume was before it went, or was made anew.
    pub strays: Vec<String>,
}

/// An attachment of a persistent volume that is not that one any more.
pub struct Stray {
    pub attachment: Arc<VolumeAttachment>,
    /// Pods on the node have the volume by another persistent volume.
    pub is_kept: bool,
    /// Pods there may have it, for all that anybody knows.
    pub is_doubtful: bool,
    pub node: NodeState,
}

impl Seen {
    pub fn of(caches: &Caches) -> Self {
        Self {
            pods: caches.of(),
            claims: caches.of(),
            volumes: caches.of(),
            attachments: caches.of(),
            drivers: caches.of(),
            nodes: caches.of(),
        }
    }

    pub fn at(&self, place: &Place) -> Found {
        let known = self.volumes.get(&Key::cluster(place.volume.as_str()));
        let volume = known.as_deref().and_then(Volume::of);
        let of_volume = |volume: &Volume| self.attachments.get(&Key::cluster(volume.attachment(&place.node)));
        let attachment = volume.as_ref().and_then(of_volume);
        let is_shareable = known.as_deref().is_some_and(volume::is_shareable);
        let (mut users, mut is_kept, mut elsewhere) = (Vec::new(), false, Vec::new());
        if let Some(volume) = &volume {
            let same = self.same(volume);
            if self.is_attach_required(&volume.driver) {
                let on_node = |pod: &Arc<SeenPod>| pod.node.as_deref() == Some(&place.node);
                users = same.iter().flat_map(|volume| self.users(volume)).filter(on_node).collect();
                is_kept = same.iter().flat_map(|volume| self.of_claim(volume)).any(|pod| on_node(&pod));
            }
            if !is_shareable {
                elsewhere = self.nodes_with(&same);
                elsewhere.retain(|node| *node != place.node);
            }
        }
        is_kept |= attachment.as_deref().is_some_and(|attachment| !self.is_ours(attachment));
        let node = self.node_state(&place.node, attachment.as_deref(), volume.as_ref());
        let strays = self.strays(place, known.is_some(), volume.as_ref());
        Found { volume, is_shareable, attachment, users, is_kept, elsewhere, node, strays }
    }

    /// Of a persistent volume that is of no CSI driver, as of one that is moved to a driver, nothing is known.
    fn strays(&self, place: &Place, is_known: bool, volume: Option<&Volume>) -> Vec<String> {
        if is_known && volume.is_none() {
            return Vec::new();
        }
        let name = volume.map(|volume| volume.attachment(&place.node));
        let all = self.attachments.everywhere::<ByVolume>(&place.volume);
        let is_stray = |attachment: &&Arc<VolumeAttachment>| {
            let is_its = name.as_deref() == Some(attachment.name());
            attachment.spec.node_name == place.node && !is_its && volume::is_named_as_ours(attachment)
        };
        all.iter().filter(is_stray).map(|attachment| attachment.name().to_owned()).collect()
    }

    /// `None`: it is none, or none any more.
    pub fn stray(&self, name: &str) -> Option<Stray> {
        let attachment = self.attachments.get(&Key::cluster(name))?;
        let place = memory::place(&attachment)?;
        let known = self.volumes.get(&Key::cluster(place.volume.as_str()));
        let volume = known.as_deref().and_then(Volume::of);
        if !self.strays(&place, known.is_some(), volume.as_ref()).iter().any(|stray| stray == name) {
            return None;
        }
        let mut pods = self.pods.everywhere::<PodsByNode>(&place.node);
        pods.retain(|pod| !pod.is_terminal() && !pod.claims.is_empty());
        let is_kept = self.used_on(&place.node).contains_key(name);
        let node = self.node_state(&place.node, Some(&attachment), None);
        let is_doubtful = node.exists && !pods.is_empty();
        Some(Stray { attachment, is_kept, is_doubtful, node })
    }

    /// The persistent volumes whose claims a pod names.
    pub fn volumes_of(&self, pod: &SeenPod) -> Vec<Arc<PersistentVolume>> {
        let key = |claim: &UsedClaim| Key::new(pod.key.namespace.as_str(), claim.name.as_str());
        let of = |claim| self.volumes.everywhere::<ByClaimOrClass>(&meant_for(&key(claim)));
        pod.claims.iter().flat_map(of).collect()
    }

    /// The persistent volumes that are this one.
    pub fn same(&self, volume: &Volume) -> Vec<Arc<PersistentVolume>> {
        self.volumes.everywhere::<ByHandle>(&volume.name())
    }

    fn nodes_with(&self, volumes: &[Arc<PersistentVolume>]) -> Vec<String> {
        let of = |volume: &Arc<PersistentVolume>| {
            let mut all = self.attachments.everywhere::<ByVolume>(volume.name());
            all.retain(|attachment| is_of(attachment, volume));
            all
        };
        volumes.iter().flat_map(of).map(|attachment| attachment.spec.node_name.clone()).collect()
    }

    /// Without a word of its driver it is.
    pub fn is_attach_required(&self, driver: &str) -> bool {
        self.drivers.get(&Key::cluster(driver)).is_none_or(|driver| is_required(&driver))
    }

    /// The pods on nodes that name a volume's claim, and have not ended.
    fn of_claim(&self, volume: &PersistentVolume) -> Vec<Arc<SeenPod>> {
        let Some(key) = claim_key(volume) else { return Vec::new() };
        let mut pods = self.pods.with::<ByClaim>(&key.namespace, &key.name);
        pods.retain(|pod| pod.node.is_some() && !pod.is_terminal());
        pods
    }

    /// Those of them that may use it: the claim is bound to it, and theirs.
    fn users(&self, volume: &PersistentVolume) -> Vec<Arc<SeenPod>> {
        let Some(key) = claim_key(volume) else { return Vec::new() };
        let Some(claim) = self.claims.get(&key).filter(|claim| is_bound(volume, claim)) else { return Vec::new() };
        let mut pods = self.of_claim(volume);
        pods.retain(|pod| {
            let is_its = |ephemeral: bool| !ephemeral || claim.is_controlled_by(&pod.uid);
            pod.claims.iter().any(|used| used.name == key.name && is_its(used.ephemeral))
        });
        pods
    }

    /// Those that use what is at this place on other nodes, to which it is attached.
    pub fn users_elsewhere(&self, place: &Place) -> Vec<Arc<SeenPod>> {
        let known = self.volumes.get(&Key::cluster(place.volume.as_str()));
        let Some(volume) = known.as_deref().and_then(Volume::of) else { return Vec::new() };
        let same = self.same(&volume);
        let nodes: BTreeSet<String> = self.nodes_with(&same).into_iter().filter(|node| *node != place.node).collect();
        let users = same.iter().flat_map(|volume| self.users(volume));
        users.filter(|pod| pod.node.as_ref().is_some_and(|node| nodes.contains(node))).collect()
    }

    /// Where the volume is attached, or pods have it. Whoever may use it is among them.
    pub fn places(&self, volume: &PersistentVolume) -> BTreeSet<Place> {
        let attached = self.attachments.everywhere::<ByVolume>(volume.name());
        let mut found: BTreeSet<Place> = attached.iter().filter_map(|attachment| memory::place(attachment)).collect();
        if Volume::of(volume).is_some()
            && let Some(key) = claim_key(volume)
        {
            let nodes =
                self.pods.with::<ByClaim>(&key.namespace, &key.name).into_iter().filter_map(|pod| pod.node.clone());
            found.extend(nodes.map(|node| Place { node, volume: volume.name().to_owned() }));
        }
        found
    }

    fn node_state(&self, node: &str, attachment: Option<&VolumeAttachment>, volume: Option<&Volume>) -> NodeState {
        let node = self.nodes.get(&Key::cluster(node));
        let of = |says: fn(&Node, &VolumeAttachment, Option<&Volume>) -> bool| {
            node.as_deref().zip(attachment).is_some_and(|(node, attachment)| says(node, attachment, volume))
        };
        NodeState {
            exists: node.is_some(),
            is_ready: node.as_deref().is_some_and(node::is_ready),
            is_out_of_service: node.as_deref().is_some_and(is_out_of_service),
            uses_volume: of(volume::is_in_use),
            reports_volume: of(report::says),
        }
    }

    /// The attachments of a node that are done, each with the name by which its status tells of the volume.
    pub fn attached_to(&self, node: &str) -> Vec<(String, String)> {
        let mut attachments = self.attachments.everywhere::<ByNode>(node);
        attachments.retain(|attachment| volume::is_attached(attachment));
        let own = |attachment: &VolumeAttachment| {
            let known = self.volumes.get(&Key::cluster(volume::volume_name(attachment)?))?;
            Volume::of(&known).filter(|_| is_of(attachment, &known))
        };
        let mut used = None;
        let named = attachments.iter().filter_map(|attachment| {
            let name = attachment.name();
            // What it was made for is gone: it may be another's by now, which is the same.
            let volume = own(attachment).or_else(|| used.get_or_insert_with(|| self.used_on(node)).get(name).cloned());
            Some((name.to_owned(), volume?.name()))
        });
        named.collect()
    }

    /// The volumes that pods on a node have, by the names of their attachments.
    fn used_on(&self, node: &str) -> HashMap<String, Volume> {
        let mut pods = self.pods.everywhere::<PodsByNode>(node);
        pods.retain(|pod| !pod.is_terminal());
        let volumes = pods.iter().flat_map(|pod| self.volumes_of(pod));
        let mut of_drivers: Vec<Volume> = volumes.filter_map(|volume| Volume::of(&volume)).collect();
        of_drivers.retain(|volume| self.is_attach_required(&volume.driver));
        of_drivers.into_iter().map(|volume| (volume.attachment(node), volume)).collect()
    }

    /// Whether a node's status may not say any more that this is attached: it is not, or goes.
    pub fn may_unreport(&self, node: &str, volume: &Volume, is_leaving: impl Fn(&str) -> bool) -> bool {
        let Some(attachment) = self.attachments.get(&Key::cluster(volume.attachment(node))) else { return true };
        self.is_ours(&attachment) && (!volume::is_attached(&attachment) || is_leaving(attachment.name()))
    }

    /// What is attached for a persistent volume of no CSI driver, or for what a pod describes itself, is somebody else's.
    fn is_ours(&self, attachment: &VolumeAttachment) -> bool {
        let Some(name) = volume::volume_name(attachment) else { return false };
        self.volumes.get(&Key::cluster(name)).is_none_or(|known| Volume::of(&known).is_some())
    }
}

/// Whether it is of what the persistent volume is now.
fn is_of(attachment: &VolumeAttachment, volume: &PersistentVolume) -> bool {
    Volume::of(volume).is_some_and(|volume| volume.attachment(&attachment.spec.node_name) == attachment.name())
}

/// With any effect, as upstream.
pub fn is_out_of_service(node: &Node) -> bool {
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default();
    taints.iter().any(|taint| taint.key == OUT_OF_SERVICE)
}

pub fn is_required(driver: &CSIDriver) -> bool {
    driver.spec.attach_required.unwrap_or(true)
}

fn claim_key(volume: &PersistentVolume) -> Option<Key> {
    let claimed = volume_spec(volume).claim_ref.as_ref()?;
    Some(Key::new(claimed.namespace.clone()?, claimed.name.clone()?))
}

/// Each names the other.
fn is_bound(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    let claimed = volume_spec(volume).claim_ref.as_ref().and_then(|claimed| claimed.uid.as_deref());
    let phase = claim.status.as_ref().and_then(|status| status.phase.as_deref());
    let named = claim_spec(claim).volume_name.as_deref();
    claimed == Some(claim.uid()) && named == Some(volume.name()) && phase == Some(BOUND)
}
