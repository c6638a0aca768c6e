//! What caches keep of the objects of each kind: the whole object, or a record of what controllers read of it.

use std::any::Any;

use corten_api::Object;
use corten_api::k8s_openapi::api::core::v1::{Node, Pod};
use corten_api::k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use corten_api::selector::Labels;
use corten_client::{Client, LabelSets, PartialObjectMetadata, Watch};

use crate::metadata::SeenMeta;
use crate::pods::SeenPod;

/// Any kind is kept whole (see [`slim`]) without a word here. A record of a kind is one more impl: as [`SeenPod`].
pub trait Kept: Sized + Send + Sync + 'static {
    type Kind: Object;
    fn keep(object: Self::Kind) -> Self;
    /// As [`Self::keep`], for a whole cache: what objects have in common may be kept once.
    fn keeper() -> impl FnMut(Self::Kind) -> Self + Send + 'static {
        Self::keep
    }
    fn meta(&self) -> SeenMeta;
    /// The one owner that manages the object.
    fn managed_by(&self) -> Option<&OwnerReference>;
    fn labels(&self) -> Option<&Labels>;
    /// Which objects of the kind.
    fn watch(client: &Client) -> Watch<Self::Kind> {
        Watch::all(client)
    }
}

impl<K: Object> Kept for K {
    type Kind = K;
    fn keep(object: K) -> K {
        slim(object)
    }
    fn meta(&self) -> SeenMeta {
        SeenMeta::of(self.metadata())
    }
    fn managed_by(&self) -> Option<&OwnerReference> {
        self.controller()
    }
    fn labels(&self) -> Option<&Labels> {
        self.metadata().labels.as_ref()
    }
}

impl Kept for SeenPod {
    type Kind = Pod;
    fn keep(pod: Pod) -> Self {
        Self::of(pod)
    }
    /// Pods of one template have their labels in common.
    fn keeper() -> impl FnMut(Pod) -> Self + Send + 'static {
        let mut sets = LabelSets::default();
        move |pod| {
            let mut seen = Self::of(pod);
            seen.labels = sets.share(seen.labels);
            seen
        }
    }
    fn meta(&self) -> SeenMeta {
        SeenMeta {
            key: self.key.clone(),
            uid: self.uid.clone(),
            revision: self.revision,
            owners: self.owners.clone(),
            finalizers: self.finalizers.clone(),
            deleting: self.deleting.is_some(),
        }
    }
    fn managed_by(&self) -> Option<&OwnerReference> {
        self.controller()
    }
    fn labels(&self) -> Option<&Labels> {
        Some(&self.labels)
    }
}

/// Of a kind that is known by its names alone: [`corten_client::MetadataClient::watch`].
impl Kept for SeenMeta {
    type Kind = PartialObjectMetadata;
    fn keep(object: PartialObjectMetadata) -> Self {
        Self::of(&object.metadata)
    }
    fn meta(&self) -> SeenMeta {
        self.clone()
    }
    fn managed_by(&self) -> Option<&OwnerReference> {
        self.owners.iter().find(|owner| owner.controller == Some(true))
    }
    fn labels(&self) -> Option<&Labels> {
        None
    }
}

/// Without managed fields, which no controller reads and which are often the larger half of an object.
/// Never write such a copy back whole with `update` where others' managed fields matter: patch.
pub fn slim<K: Object>(mut object: K) -> K {
    object.metadata_mut().managed_fields = None;
    leave_out(&mut object);
    object
}

/// What no controller reads of some kinds. A node lists up to 50 images that only the scheduler is interested in.
fn leave_out(object: &mut dyn Any) {
    if let Some(status) = object.downcast_mut::<Node>().and_then(|node| node.status.as_mut()) {
        status.images = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_kept_without_its_images_and_nothing_with_managed_fields() {
        let text = r#"{"metadata":{"name":"n","managedFields":[{"manager":"m"}]},
            "status":{"images":[{"names":["i"]}],"conditions":[{"type":"Ready","status":"True"}]}}"#;
        let node: Node = Kept::keep(serde_json::from_str::<Node>(text).unwrap());
        assert_eq!((node.status.clone().unwrap().images, &node.metadata.managed_fields), (None, &None));
        assert_eq!(node.status.unwrap().conditions.unwrap().len(), 1);
    }

    #[test]
    fn pods_of_one_template_share_their_labels() {
        let text = r#"{"metadata":{"name":"p","labels":{"app":"web"}}}"#;
        let mut keep = SeenPod::keeper();
        let mut labels = || keep(serde_json::from_str(text).unwrap()).labels;
        let (a, b) = (labels(), labels());
        assert!(std::ptr::eq(&*a, &*b));
    }
}
