//! What a CSI volume is called in attachments and nodes, and how attachments and volumes are found.

use std::borrow::Cow;
use std::fmt::Write;

use corten_api::k8s_openapi::api::core::v1::{Node, PersistentVolume};
use corten_api::k8s_openapi::api::storage::v1::VolumeAttachment;
use corten_api::{Object, Scope};
use corten_client::IndexBy;
use ring::digest;

use crate::persistentvolume::matching::volume_spec;

/// Before a driver and a handle in the names that nodes use.
pub const CSI: &str = "kubernetes.io/csi/";
const SHARED_MODES: [&str; 2] = ["ReadWriteMany", "ReadOnlyMany"];

/// As its driver knows it. Several persistent volumes may be one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Volume {
    pub driver: String,
    pub handle: String,
}

impl Volume {
    /// `None`: of no CSI driver.
    pub fn of(volume: &PersistentVolume) -> Option<Self> {
        let csi = volume_spec(volume).csi.as_ref()?;
        Some(Self { driver: csi.driver.clone(), handle: csi.volume_handle.clone() })
    }

    /// In `status.volumesInUse` and `status.volumesAttached` of nodes.
    pub fn name(&self) -> String {
        format!("{CSI}{}^{}", self.driver, self.handle)
    }

    /// Which one bears this name on nodes. `None`: that of no CSI driver.
    pub fn named(name: &str) -> Option<Self> {
        let (driver, handle) = name.strip_prefix(CSI)?.split_once('^')?;
        Some(Self { driver: driver.to_owned(), handle: handle.to_owned() })
    }

    /// The name of its attachment to a node, which drivers and kubelets look for.
    pub fn attachment(&self, node: &str) -> String {
        let text = format!("{}{}{node}", self.handle, self.driver);
        let mut name = String::from("csi-");
        for byte in digest::digest(&digest::SHA256, text.as_bytes()).as_ref() {
            // Writing to a String cannot fail.
            let _ = write!(name, "{byte:02x}");
        }
        name
    }
}

/// Whether it may be attached to several nodes at once. One that says nothing may: its driver knows.
pub fn is_shareable(volume: &PersistentVolume) -> bool {
    let modes = volume_spec(volume).access_modes.as_deref().unwrap_or_default();
    modes.is_empty() || modes.iter().any(|mode| SHARED_MODES.contains(&mode.as_str()))
}

/// Of the names that a node uses, the one of what is attached. It is found by the attachment's own name where nobody knows the
/// volume any more, at the cost of a digest for each volume of the driver.
pub fn named<'a>(
    mut names: impl Iterator<Item = &'a str>,
    attachment: &VolumeAttachment,
    volume: Option<&Volume>,
) -> Option<&'a str> {
    match volume.map(Volume::name) {
        Some(wanted) => names.find(|name| *name == wanted),
        None => names.find(|name| {
            let named = Volume::named(name).filter(|named| named.driver == attachment.spec.attacher);
            named.is_some_and(|named| named.attachment(&attachment.spec.node_name) == attachment.name())
        }),
    }
}

/// Whether the node's kubelet says that it uses what is attached.
pub fn is_in_use(node: &Node, attachment: &VolumeAttachment, volume: Option<&Volume>) -> bool {
    let used = node.status.as_ref().and_then(|status| status.volumes_in_use.as_deref()).unwrap_or_default();
    named(used.iter().map(String::as_str), attachment, volume).is_some()
}

/// Which persistent volume it is of; `None`: of one that a pod describes itself.
pub fn volume_name(attachment: &VolumeAttachment) -> Option<&str> {
    attachment.spec.source.persistent_volume_name.as_deref()
}

/// Persistent volumes by the name of what they are.
#[derive(Debug)]
pub struct ByHandle;

impl IndexBy<PersistentVolume> for ByHandle {
    const SCOPE: Scope = Scope::Cluster;
    fn values(volume: &PersistentVolume) -> Vec<Cow<'_, str>> {
        Volume::of(volume).map(|volume| volume.name().into()).into_iter().collect()
    }
}

#[derive(Debug)]
pub struct ByDriver;

impl IndexBy<PersistentVolume> for ByDriver {
    const SCOPE: Scope = Scope::Cluster;
    fn values(volume: &PersistentVolume) -> Vec<Cow<'_, str>> {
        volume_spec(volume).csi.as_ref().map(|csi| csi.driver.as_str().into()).into_iter().collect()
    }
}

/// Attachments by their persistent volume.
#[derive(Debug)]
pub struct ByVolume;

impl IndexBy<VolumeAttachment> for ByVolume {
    const SCOPE: Scope = Scope::Cluster;
    fn values(attachment: &VolumeAttachment) -> Vec<Cow<'_, str>> {
        volume_name(attachment).map(Into::into).into_iter().collect()
    }
}

#[derive(Debug)]
pub struct ByNode;

impl IndexBy<VolumeAttachment> for ByNode {
    const SCOPE: Scope = Scope::Cluster;
    fn values(attachment: &VolumeAttachment) -> Vec<Cow<'_, str>> {
        vec![attachment.spec.node_name.as_str().into()]
    }
}

/// Who named it otherwise has made it for himself.
pub fn is_named_as_ours(attachment: &VolumeAttachment) -> bool {
    attachment.name().starts_with("csi-")
}

/// Its driver's attacher has attached it, and it is not about to be detached.
pub fn is_attached(attachment: &VolumeAttachment) -> bool {
    !attachment.is_deleting() && attachment.status.as_ref().is_some_and(|status| status.attached)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn volume(spec: &Value) -> PersistentVolume {
        serde_json::from_value(json!({"metadata": {"name": "pv"}, "spec": spec})).unwrap()
    }

    #[test]
    fn names_are_those_that_drivers_and_kubelets_look_for() {
        let csi = json!({"csi": {"driver": "disk.example.com", "volumeHandle": "vol-1"}});
        let of = Volume::of(&volume(&csi)).unwrap();
        assert_eq!(of.name(), "kubernetes.io/csi/disk.example.com^vol-1");
        // sha256 of "vol-1disk.example.comn1".
        let name = of.attachment("n1");
        assert_eq!((name.len(), &name[..4]), (68, "csi-"));
        assert_ne!(name, of.attachment("n2"));
        let abc = Volume { driver: "b".into(), handle: "a".into() };
        assert_eq!(abc.attachment("c"), "csi-ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(Volume::of(&volume(&json!({"hostPath": {"path": "/x"}}))), None);
    }

    #[test]
    fn which_volumes_may_be_at_several_nodes() {
        for (modes, expected) in [
            (json!([]), true),
            (json!(["ReadWriteOnce"]), false),
            (json!(["ReadWriteOncePod"]), false),
            (json!(["ReadOnlyMany"]), true),
            (json!(["ReadWriteOnce", "ReadWriteMany"]), true),
        ] {
            assert_eq!(is_shareable(&volume(&json!({"accessModes": modes}))), expected, "{modes}");
        }
    }

    #[test]
    fn what_a_node_uses() {
        let used = json!([
            "kubernetes.io/csi/a^1",
            "kubernetes.io/csi/ab^2",
            "kubernetes.io/csi/a^3^x",
            "kubernetes.io/nfs/y"
        ]);
        let node: Node = serde_json::from_value(json!({"metadata": {}, "status": {"volumesInUse": used}})).unwrap();
        let volume = |driver: &str, handle: &str| Volume { driver: driver.into(), handle: handle.into() };
        let attachment = |of: &Volume| -> VolumeAttachment {
            let spec = json!({"attacher": of.driver, "nodeName": "n", "source": {}});
            serde_json::from_value(json!({"metadata": {"name": of.attachment("n")}, "spec": spec})).unwrap()
        };
        for (why, of, expected) in [
            ("this one", volume("a", "1"), true),
            ("another handle", volume("a", "2"), false),
            ("another driver", volume("b", "1"), false),
            ("a driver whose name begins so", volume("ab", "1"), false),
            ("that driver's own", volume("ab", "2"), true),
            ("a handle with the sign that is before handles", volume("a", "3^x"), true),
        ] {
            assert_eq!(is_in_use(&node, &attachment(&of), Some(&of)), expected, "{why}");
            assert_eq!(is_in_use(&node, &attachment(&of), None), expected, "{why}, of which nobody knows any more");
        }
        assert_eq!(Volume::named("kubernetes.io/nfs/y"), None);
    }
}
