//! What claims without a volume ask for, and what volumes have to offer them.
//!
//! <https://kubernetes.io/docs/concepts/storage/persistent-volumes/#binding>

use std::collections::{BTreeMap, BTreeSet};

use corten_api::quantity::Quantity;
use corten_api::selector::{Labels, Selector};
use corten_api::{Key, Object as _};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Wire;

/// The node that a claim's volume is to be made on.
pub const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
/// The name of old of the field storageClassName.
const CLASS_ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";
const FILESYSTEM: &str = "Filesystem";
const AVAILABLE: &str = "Available";

/// What both sides of a binding must agree on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Shape {
    size: Quantity,
    access_modes: BTreeSet<String>,
    volume_mode: String,
    attributes_class: String,
}

/// What a claim without a volume asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    pub uid: String,
    pub revision: i64,
    /// It names its volume: others bind it.
    pub names_volume: bool,
    /// The node that its volume is to be made on.
    pub node: Option<String>,
    shape: Shape,
    /// `None`: it cannot be read, and selects nothing.
    selector: Option<Selector>,
}

impl Wanted {
    pub fn of(claim: &PersistentVolumeClaim) -> Self {
        let spec = claim.spec.clone().unwrap_or_default();
        let selector = match &spec.selector {
            Some(selector) => Selector::from_label_selector(Some(selector)).ok(),
            None => Some(Selector::everything()),
        };
        let shape = Shape {
            size: storage(spec.resources.and_then(|resources| resources.requests).as_ref()),
            access_modes: spec.access_modes.into_iter().flatten().collect(),
            volume_mode: spec.volume_mode.unwrap_or_else(|| FILESYSTEM.into()),
            attributes_class: spec.volume_attributes_class_name.unwrap_or_default(),
        };
        Self {
            uid: claim.uid().into(),
            revision: claim.revision(),
            names_volume: spec.volume_name.is_some_and(|name| !name.is_empty()),
            node: claim.annotation(SELECTED_NODE).map(str::to_owned),
            shape,
            selector,
        }
    }
    /// For the order in which a pod's claims choose: the smallest first.
    pub fn size_units(&self) -> i64 {
        self.shape.size.units()
    }
}

/// What a volume has for a claim.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offer {
    pub revision: i64,
    /// The claim that it names, with its uid, if it says one.
    pub claim: Option<(Key, String)>,
    pub class: String,
    shape: Shape,
    labels: Labels,
    is_available: bool,
    is_deleting: bool,
}

impl Offer {
    pub fn of(volume: &PersistentVolume) -> Self {
        let spec = volume.spec.clone().unwrap_or_default();
        let claim = spec.claim_ref.map(|claim| {
            let key = Key::new(claim.namespace.unwrap_or_default(), claim.name.unwrap_or_default());
            (key, claim.uid.unwrap_or_default())
        });
        let shape = Shape {
            size: storage(spec.capacity.as_ref()),
            access_modes: spec.access_modes.into_iter().flatten().collect(),
            volume_mode: spec.volume_mode.unwrap_or_else(|| FILESYSTEM.into()),
            attributes_class: spec.volume_attributes_class_name.unwrap_or_default(),
        };
        Self {
            revision: volume.revision(),
            claim,
            class: volume
                .annotation(CLASS_ANNOTATION)
                .map(str::to_owned)
                .or(spec.storage_class_name)
                .unwrap_or_default(),
            shape,
            labels: volume.metadata.labels.clone().unwrap_or_default(),
            is_available: volume.status.as_ref().and_then(|s| s.phase.as_deref()) == Some(AVAILABLE),
            is_deleting: volume.is_deleting(),
        }
    }

    pub fn size(&self) -> Quantity {
        self.shape.size
    }
    /// Whether it is this claim's, by whoever has said so.
    pub fn is_meant_for(&self, claim: &Key, uid: &str) -> bool {
        self.claim.as_ref().is_some_and(|(key, of)| key == claim && (of.is_empty() || of == uid))
    }
    /// Whether the claim could have it at all: its access modes do not matter once it is meant for it.
    pub fn could_be_for(&self, wanted: &Wanted) -> bool {
        self.shape.size >= wanted.shape.size
            && self.shape.volume_mode == wanted.shape.volume_mode
            && self.shape.attributes_class == wanted.shape.attributes_class
            && !self.is_deleting
    }
    /// Whether a claim of its class may take it, which is nobody's.
    pub fn is_free_for(&self, wanted: &Wanted) -> bool {
        self.claim.is_none()
            && self.is_available
            && self.could_be_for(wanted)
            && wanted.selector.as_ref().is_some_and(|selector| selector.matches(&self.labels))
            && wanted.shape.access_modes.is_subset(&self.shape.access_modes)
    }
}

/// The class of a claim; "": none.
pub fn class_of(claim: &PersistentVolumeClaim) -> String {
    let field = claim.spec.as_ref().and_then(|spec| spec.storage_class_name.as_deref());
    claim.annotation(CLASS_ANNOTATION).or(field).unwrap_or_default().to_owned()
}

/// What is stored passed validation; what cannot be read is nothing.
fn storage(resources: Option<&BTreeMap<String, Wire>>) -> Quantity {
    let stated = resources.and_then(|resources| resources.get("storage"));
    stated.and_then(|quantity| Quantity::from_wire(quantity).ok()).unwrap_or_default()
}
