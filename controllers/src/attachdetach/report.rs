//! What a node's status says is attached to it. Pure.

use std::collections::BTreeSet;

use corten_api::k8s_openapi::api::core::v1::{AttachedVolume, Node};
use corten_api::k8s_openapi::api::storage::v1::VolumeAttachment;

use super::volume::{self, Volume};

pub fn reported(node: &Node) -> &[AttachedVolume] {
    node.status.as_ref().and_then(|status| status.volumes_attached.as_deref()).unwrap_or_default()
}

/// Whether it says that what is attached is so.
pub fn says(node: &Node, attachment: &VolumeAttachment, volume: Option<&Volume>) -> bool {
    volume::named(reported(node).iter().map(|volume| volume.name.as_str()), attachment, volume).is_some()
}

/// The list with all of `attached`, and without what may go. `None`: it says so.
pub fn changed(
    node: &Node,
    attached: BTreeSet<String>,
    may_go: impl Fn(&Volume) -> bool,
) -> Option<Vec<AttachedVolume>> {
    let reported = reported(node);
    let stays = |volume: &&AttachedVolume| !Volume::named(&volume.name).is_some_and(|named| may_go(&named));
    let others =
        reported.iter().filter(|volume| !attached.contains(&volume.name)).filter(stays).cloned().collect::<Vec<_>>();
    let ours = attached.into_iter().map(|name| AttachedVolume { name, device_path: String::new() });
    let wanted: Vec<AttachedVolume> = others.into_iter().chain(ours).collect();
    let names = |all: &[AttachedVolume]| all.iter().map(|volume| volume.name.clone()).collect::<BTreeSet<_>>();
    (names(reported) != names(&wanted)).then_some(wanted)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::volume::CSI;
    use super::*;

    #[test]
    fn reports_table() {
        let cases = [
            ("none", vec![], vec![], None),
            ("one more", vec!["kubernetes.io/csi/d^1"], vec!["d^1", "d^2"], Some("csi/d^1 csi/d^2")),
            ("in another order", vec!["kubernetes.io/csi/d^2", "kubernetes.io/csi/d^1"], vec!["d^1", "d^2"], None),
            ("one less", vec!["kubernetes.io/csi/d^1"], vec![], Some("")),
            ("another's stay", vec!["kubernetes.io/old/x"], vec!["d^1"], Some("old/x csi/d^1")),
            ("another's alone", vec!["kubernetes.io/old/x"], vec![], None),
            ("of a driver, and another's", vec!["kubernetes.io/csi/theirs^1"], vec![], None),
            (
                "that goes nowhere when ours does",
                vec!["kubernetes.io/csi/d^1", "kubernetes.io/csi/theirs^1"],
                vec![],
                Some("csi/theirs^1"),
            ),
        ];
        for (why, reported, attached, expected) in cases {
            let reported: Vec<_> = reported.iter().map(|name| json!({"name": name, "devicePath": ""})).collect();
            let node =
                serde_json::from_value(json!({"metadata": {}, "status": {"volumesAttached": reported}})).unwrap();
            let attached = attached.iter().map(|name| format!("{CSI}{name}")).collect();
            let found = changed(&node, attached, |volume| volume.driver != "theirs");
            let shown = found.map(|all| {
                let names: Vec<&str> = all.iter().map(|v| v.name.trim_start_matches("kubernetes.io/")).collect();
                names.join(" ")
            });
            assert_eq!(shown.as_deref(), expected, "{why}");
        }
    }
}
