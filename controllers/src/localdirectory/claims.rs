//! The volume that a claim gets, or why it gets none. Pure.

use corten_api::Object;
use corten_api::k8s_openapi::api::core::v1::{
    LocalVolumeSource, Node, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, PersistentVolume,
    PersistentVolumeClaim, PersistentVolumeSpec, VolumeNodeAffinity,
};
use corten_api::k8s_openapi::api::storage::v1::StorageClass;
use corten_api::k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use corten_api::volumes::{DIRECTORIES, LOCAL_DIRECTORY, ON_NODE, PROVISIONED_BY};

use super::{has_volume, is_our_name};
use crate::persistentvolume::claims::{PROVISIONER, SELECTED_NODE, WAIT_FOR_FIRST_CONSUMER};
use crate::persistentvolume::matching::claim_spec;

const HOSTNAME: &str = "kubernetes.io/hostname";
/// By one node, or one pod: there is no more than one node that has the directory.
const MODES: [&str; 2] = ["ReadWriteOnce", "ReadWriteOncePod"];

/// Everything the decision may look at.
pub struct Observed<'a> {
    pub claim: &'a PersistentVolumeClaim,
    pub class: Option<&'a StorageClass>,
    /// The node that the claim names, if it is there.
    pub node: Option<&'a Node>,
    /// Its volume is there: others bind the two.
    pub is_made: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    Nothing,
    Make(Box<PersistentVolume>),
    /// It cannot be on that node: the scheduler chooses another.
    Reschedule {
        without_node: Box<PersistentVolumeClaim>,
        why: String,
    },
    /// It cannot be at all, as long as the claim and its class are as they are.
    Refuse(String),
}

/// Whether the claim waits for a volume of this provisioner.
pub fn is_ours(claim: &PersistentVolumeClaim) -> bool {
    !has_volume(claim) && !claim.is_deleting() && PROVISIONER.iter().any(|key| is_our_name(claim.annotation(key)))
}

pub fn selected_node(claim: &PersistentVolumeClaim) -> Option<&str> {
    claim.annotation(SELECTED_NODE).filter(|node| !node.is_empty())
}

pub fn volume_name(claim: &PersistentVolumeClaim) -> String {
    format!("pvc-{}", claim.uid())
}

pub fn decide(seen: &Observed<'_>) -> Step {
    let claim = seen.claim;
    // A class that is gone or another by now: who annotates claims looks at it again.
    let Some(class) = seen.class.filter(|class| is_our_name(Some(&class.provisioner))) else { return Step::Nothing };
    if !is_ours(claim) || seen.is_made {
        return Step::Nothing;
    }
    if let Some(why) = unserved(claim, class) {
        return Step::Refuse(why);
    }
    let Some(name) = selected_node(claim) else {
        // The scheduler has not chosen yet, or has to choose again.
        if class.volume_binding_mode.as_deref() == Some(WAIT_FOR_FIRST_CONSUMER) {
            return Step::Nothing;
        }
        let why = "a local directory needs a node: volumeBindingMode has to be WaitForFirstConsumer";
        return Step::Refuse(failed(class, why));
    };
    let Some(node) = seen.node else {
        let mut without = claim.clone();
        if let Some(annotations) = &mut without.metadata.annotations {
            annotations.remove(SELECTED_NODE);
        }
        let why = format!("failed to get target node: node {name:?} not found");
        return Step::Reschedule { without_node: Box::new(without), why };
    };
    Step::Make(Box::new(volume(claim, class, node)))
}

fn failed(class: &StorageClass, why: &str) -> String {
    format!("failed to provision volume with StorageClass {:?}: {why}", class.name())
}

/// What of the claim or its class a directory cannot be.
fn unserved(claim: &PersistentVolumeClaim, class: &StorageClass) -> Option<String> {
    let spec = claim_spec(claim);
    if spec.volume_mode.as_deref() == Some("Block") {
        return Some(format!("{LOCAL_DIRECTORY} does not support block volume provisioning"));
    }
    if let Some(options) = class.mount_options.as_ref().filter(|options| !options.is_empty()) {
        let options = options.join(" ");
        return Some(format!(
            "Mount options are not supported by the provisioner but StorageClass {:?} has mount options [{options}]",
            class.name()
        ));
    }
    let parameter = class.parameters.iter().flat_map(|parameters| parameters.keys()).next();
    let mode = spec.access_modes.iter().flatten().find(|mode| !MODES.contains(&mode.as_str()));
    let why = match (parameter, mode) {
        (Some(parameter), _) => format!("invalid parameter {parameter:?}"),
        (_, Some(mode)) => format!("access mode {mode} is not supported, only {} and {}", MODES[0], MODES[1]),
        _ if spec.selector.is_some() => "claim Selector is not supported".to_owned(),
        _ if spec.data_source.is_some() || spec.data_source_ref.is_some() => {
            "data sources are not supported".to_owned()
        }
        _ if spec.volume_attributes_class_name.as_deref().is_some_and(|name| !name.is_empty()) => {
            "VolumeAttributesClasses are not supported".to_owned()
        }
        _ => return None,
    };
    Some(failed(class, &why))
}

fn volume(claim: &PersistentVolumeClaim, class: &StorageClass, node: &Node) -> PersistentVolume {
    let (name, spec) = (volume_name(claim), claim_spec(claim));
    // Pods go to it by this label: it is the node's name, but where somebody has chosen another.
    let hostname = node.label(HOSTNAME).unwrap_or(node.name());
    let here = NodeSelectorRequirement {
        key: HOSTNAME.into(),
        operator: "In".into(),
        values: Some(vec![hostname.to_owned()]),
    };
    let term = NodeSelectorTerm { match_expressions: Some(vec![here]), match_fields: None };
    let requested = spec.resources.as_ref().and_then(|resources| resources.requests.as_ref());
    let annotations = [(PROVISIONED_BY, LOCAL_DIRECTORY), (ON_NODE, node.name())];
    PersistentVolume {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            annotations: Some(annotations.map(|(key, value)| (key.to_owned(), value.to_owned())).into()),
            ..ObjectMeta::default()
        },
        spec: Some(PersistentVolumeSpec {
            access_modes: spec.access_modes.clone(),
            capacity: requested.map(|all| {
                all.iter().filter(|(name, _)| *name == "storage").map(|(n, q)| (n.clone(), q.clone())).collect()
            }),
            claim_ref: Some(claim.reference()),
            local: Some(LocalVolumeSource { path: format!("{DIRECTORIES}/{name}"), fs_type: None }),
            node_affinity: Some(VolumeNodeAffinity {
                required: Some(NodeSelector { node_selector_terms: vec![term] }),
            }),
            persistent_volume_reclaim_policy: Some(class.reclaim_policy.clone().unwrap_or_else(|| "Delete".into())),
            storage_class_name: class.metadata.name.clone(),
            volume_mode: Some("Filesystem".into()),
            ..PersistentVolumeSpec::default()
        }),
        ..PersistentVolume::default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn claim(annotations: Value, changes: Value) -> PersistentVolumeClaim {
        let mut spec = json!({"storageClassName": "local-directory", "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}}});
        spec.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        let mut all = json!({PROVISIONER[0]: LOCAL_DIRECTORY});
        all.as_object_mut().unwrap().extend(annotations.as_object().unwrap().clone());
        let metadata = json!({"name": "data", "namespace": "shop", "uid": "c-uid", "annotations": all});
        serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap()
    }
    fn class(changes: Value) -> StorageClass {
        let mut class =
            json!({"metadata": {"name": "local-directory"}, "provisioner": LOCAL_DIRECTORY, "reclaimPolicy": "Delete"});
        class.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        serde_json::from_value(class).unwrap()
    }
    fn node() -> Node {
        serde_json::from_value(json!({"metadata": {"name": "n1", "labels": {HOSTNAME: "host-1"}}})).unwrap()
    }

    #[test]
    fn a_claim_gets_a_directory_of_its_node() {
        let claim = claim(json!({SELECTED_NODE: "n1"}), json!({}));
        let (class, node) = (class(json!({})), node());
        let Step::Make(volume) =
            decide(&Observed { claim: &claim, class: Some(&class), node: Some(&node), is_made: false })
        else {
            panic!()
        };
        assert_eq!((volume.name(), volume.annotation(ON_NODE)), ("pvc-c-uid", Some("n1")));
        let spec = serde_json::to_value(volume.spec.clone().unwrap()).unwrap();
        let terms = json!([{"matchExpressions": [{"key": HOSTNAME, "operator": "In", "values": ["host-1"]}]}]);
        let expected = json!({
            "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"},
            "claimRef": {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": "shop", "name": "data", "uid": "c-uid"},
            "local": {"path": "/var/lib/corten/volumes/pvc-c-uid"},
            "nodeAffinity": {"required": {"nodeSelectorTerms": terms}},
            "persistentVolumeReclaimPolicy": "Delete", "storageClassName": "local-directory", "volumeMode": "Filesystem",
        });
        assert_eq!(spec, expected);
        assert!(crate::persistentvolume::matching::is_bound_to(&volume, &claim));
    }

    #[test]
    fn claims_table() {
        let on_n1 = || json!({SELECTED_NODE: "n1"});
        let plain = || claim(on_n1(), json!({}));
        let with = |changes: Value| claim(on_n1(), changes);
        let mut going = plain();
        going.metadata.deletion_timestamp = Some(serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap());
        let ours = || Some(class(json!({})));
        let others = || Some(class(json!({"provisioner": "example.org/disk"})));
        let failed = |why: &str| format!("failed to provision volume with StorageClass \"local-directory\": {why}");
        let cases = [
            ("its node is chosen", plain(), ours(), true, "make".to_owned()),
            ("it goes", going, ours(), true, "nothing".to_owned()),
            ("it has one", with(json!({"volumeName": "v"})), ours(), true, "nothing".to_owned()),
            ("its class is gone", plain(), None, true, "nothing".to_owned()),
            ("its class is another's", plain(), others(), true, "nothing".to_owned()),
            (
                "its node is gone",
                plain(),
                ours(),
                false,
                "without: failed to get target node: node \"n1\" not found".to_owned(),
            ),
            (
                "no node is chosen yet",
                claim(json!({}), json!({})),
                Some(class(json!({"volumeBindingMode": "WaitForFirstConsumer"}))),
                false,
                "nothing".to_owned(),
            ),
            (
                "none ever will be",
                claim(json!({}), json!({})),
                ours(),
                false,
                failed("a local directory needs a node: volumeBindingMode has to be WaitForFirstConsumer"),
            ),
            (
                "a device",
                with(json!({"volumeMode": "Block"})),
                ours(),
                true,
                "corten.io/local-directory does not support block volume provisioning".to_owned(),
            ),
            (
                "for many nodes",
                with(json!({"accessModes": ["ReadWriteMany"]})),
                ours(),
                true,
                failed("access mode ReadWriteMany is not supported, only ReadWriteOnce and ReadWriteOncePod"),
            ),
            ("chosen by labels", with(json!({"selector": {}})), ours(), true, failed("claim Selector is not supported")),
            ("a parameter", plain(), Some(class(json!({"parameters": {"type": "ssd"}}))), true, failed("invalid parameter \"type\"")),
            (
                "options",
                plain(),
                Some(class(json!({"mountOptions": ["noexec"]}))),
                true,
                "Mount options are not supported by the provisioner but StorageClass \"local-directory\" has mount options [noexec]"
                    .to_owned(),
            ),
        ];
        let node = node();
        for (why, claim, class, has_node, expected) in cases {
            let seen = Observed {
                claim: &claim,
                class: class.as_ref(),
                node: Some(&node).filter(|_| has_node),
                is_made: false,
            };
            let got = match decide(&seen) {
                Step::Nothing => "nothing".to_owned(),
                Step::Make(_) => "make".to_owned(),
                Step::Refuse(why) => why,
                Step::Reschedule { without_node, why } => {
                    assert_eq!(selected_node(&without_node), None);
                    format!("without: {why}")
                }
            };
            assert_eq!(got, expected, "{why}");
        }
        let (claim, class) = (plain(), ours());
        let made = Observed { claim: &claim, class: class.as_ref(), node: Some(&node), is_made: true };
        assert_eq!(decide(&made), Step::Nothing, "one is there");
    }
}
