//! From a change to the places and nodes that it concerns. Each costs as much as it returns.

use std::collections::BTreeSet;
use std::sync::Arc;

use corten_api::k8s_openapi::api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim};
use corten_api::k8s_openapi::api::storage::v1::{CSIDriver, VolumeAttachment};
use corten_api::{Key, Object, node};
use corten_client::Change;

use super::seen::{Seen, is_out_of_service, is_required};
use super::volume::{ByDriver, ByNode, Volume, is_shareable};
use super::{Place, Work, memory, report};
use crate::nodelifecycle::nodes::ByNode as PodsByNode;
use crate::persistentvolume::matching::claim_spec;
use crate::pods::SeenPod;

/// A pod comes to a node, ends, or goes.
pub fn of_pod(seen: &Seen, change: &Change<'_, SeenPod>) -> BTreeSet<Work> {
    let all: Vec<&SeenPod> = match change {
        Change::Set { old, new, .. } => {
            let is_same =
                |old: &SeenPod| old.uid == new.uid && old.node == new.node && old.is_terminal() == new.is_terminal();
            if old.is_some_and(|old| is_same(old)) {
                return BTreeSet::new();
            }
            old.iter().map(|old| &***old).chain([&***new]).collect()
        }
        Change::Removed { old, .. } => vec![&***old],
        Change::Synced => return BTreeSet::new(),
    };
    all.into_iter().flat_map(|pod| places(seen, pod)).collect()
}

fn places(seen: &Seen, pod: &SeenPod) -> Vec<Work> {
    let Some(node) = &pod.node else { return Vec::new() };
    let mut volumes = seen.volumes_of(pod);
    volumes.retain(|volume| Volume::of(volume).is_some());
    let place = |volume: &Arc<PersistentVolume>| Place { node: node.clone(), volume: volume.name().to_owned() };
    volumes.iter().map(|volume| Work::Place(place(volume))).collect()
}

/// A claim is bound, or goes.
pub fn of_claim(seen: &Seen, change: &Change<'_, PersistentVolumeClaim>) -> BTreeSet<Work> {
    let says = |claim: &PersistentVolumeClaim| {
        let phase = claim.status.as_ref().and_then(|status| status.phase.clone());
        (claim.uid().to_owned(), claim_spec(claim).volume_name.clone(), phase)
    };
    let (old, new) = match change {
        Change::Set { old, new, .. } => (old.map(|old| says(old)), Some(says(new))),
        Change::Removed { old, .. } => (Some(says(old)), None),
        Change::Synced => return BTreeSet::new(),
    };
    if old == new {
        return BTreeSet::new();
    }
    let names: BTreeSet<String> = [old, new].into_iter().flatten().filter_map(|(_, volume, _)| volume).collect();
    let volumes = names.into_iter().filter_map(|name| seen.volumes.get(&Key::cluster(name)));
    volumes.flat_map(|volume| seen.places(&volume)).map(Work::Place).collect()
}

/// A volume gets a claim, or goes. Its status does not matter.
pub fn of_volume(seen: &Seen, change: &Change<'_, PersistentVolume>) -> BTreeSet<Work> {
    let all = match change {
        Change::Set { old: Some(old), new, .. } if old.spec == new.spec => return BTreeSet::new(),
        Change::Set { old, new, .. } => [*old, Some(*new)],
        Change::Removed { old, .. } => [Some(*old), None],
        Change::Synced => return BTreeSet::new(),
    };
    all.into_iter().flatten().flat_map(|volume| seen.places(volume)).map(Work::Place).collect()
}

/// Who waits for a volume that one node alone may have is looked at when an attachment of it is gone.
pub fn of_attachment(seen: &Seen, change: &Change<'_, VolumeAttachment>) -> BTreeSet<Work> {
    let (attachment, is_gone) = match change {
        Change::Set { new, .. } => (new, false),
        Change::Removed { old, .. } => (old, true),
        Change::Synced => return BTreeSet::new(),
    };
    let Some(place) = memory::place(attachment) else { return BTreeSet::new() };
    let known = seen.volumes.get(&Key::cluster(place.volume.as_str()));
    let mut found = BTreeSet::from([Work::Node(place.node.clone())]);
    if let Some(volume) = known.as_deref().and_then(Volume::of) {
        for same in seen.same(&volume) {
            found.insert(Work::Place(Place { node: place.node.clone(), volume: same.name().to_owned() }));
            if is_gone && !is_shareable(&same) {
                found.extend(seen.places(&same).into_iter().map(Work::Place));
            }
        }
    }
    found.insert(Work::Place(place));
    found
}

/// Volumes of a driver are attached only if it says so, or nothing. Drivers come seldom.
pub fn of_driver(seen: &Seen, change: &Change<'_, CSIDriver>) -> BTreeSet<Work> {
    let (key, before, now) = match change {
        Change::Set { key, old, new } => (*key, old.is_none_or(|old| is_required(old)), is_required(new)),
        Change::Removed { key, old } => (*key, is_required(old), true),
        Change::Synced => return BTreeSet::new(),
    };
    if before == now {
        return BTreeSet::new();
    }
    let volumes = seen.volumes.everywhere::<ByDriver>(&key.name);
    volumes.iter().flat_map(|volume| seen.places(volume)).map(Work::Place).collect()
}

/// A node comes, lets go of volumes, falls silent, or its status says something else of what is attached. A heartbeat costs a look.
pub fn of_node(seen: &Seen, change: &Change<'_, Node>) -> BTreeSet<Work> {
    let is_same = |old: &Node, new: &Node| {
        let uses = |node: &Node| node.status.as_ref().and_then(|status| status.volumes_in_use.clone());
        report::reported(old) == report::reported(new)
            && node::is_ready(old) == node::is_ready(new)
            && is_out_of_service(old) == is_out_of_service(new)
            && uses(old) == uses(new)
    };
    let (key, is_new) = match change {
        Change::Set { old: Some(old), new, .. } if is_same(old, new) => return BTreeSet::new(),
        Change::Set { key, old, .. } => (*key, old.is_none()),
        Change::Removed { key, .. } => (*key, false),
        Change::Synced => return BTreeSet::new(),
    };
    let attachments = seen.attachments.everywhere::<ByNode>(&key.name);
    let places_of = attachments.iter().filter_map(|attachment| memory::place(attachment)).map(Work::Place);
    let mut found: BTreeSet<Work> = places_of.chain([Work::Node(key.name.clone())]).collect();
    // Nothing is attached to a node that is not there, also if pods are.
    if is_new {
        found.extend(seen.pods.everywhere::<PodsByNode>(&key.name).iter().flat_map(|pod| places(seen, pod)));
    }
    found
}
