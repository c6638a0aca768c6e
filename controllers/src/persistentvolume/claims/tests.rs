//! What becomes of claims: tables, and a binding that is stopped between any two of its writes.

use serde_json::{Value, json};

use super::super::testing::{claim, volume};
use super::*;

const SIZE: &str = "5Gi";

fn asked(changes: Value) -> PersistentVolumeClaim {
    let mut spec = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": SIZE}}});
    for (field, value) in changes.as_object().unwrap() {
        spec[field] = value.clone();
    }
    claim(spec)
}
fn class(provisioner: &str, mode: &str) -> StorageClass {
    serde_json::from_value(json!({"metadata": {"name": "k"}, "provisioner": provisioner, "volumeBindingMode": mode}))
        .unwrap()
}
fn annotated(mut claim: PersistentVolumeClaim, keys: &[&str]) -> PersistentVolumeClaim {
    claim.metadata.annotations = Some(keys.iter().map(|key| ((*key).to_owned(), "yes".to_owned())).collect());
    claim
}
fn shown(decision: &Decision) -> String {
    let write = match &decision.write {
        None => String::new(),
        Some(Write::Claim(claim)) => format!(
            "class {:?} annotations {:?}",
            class_of_claim(claim),
            claim.metadata.annotations.as_ref().map(|all| all.len())
        ),
        Some(Write::ClaimStatus(claim)) => claim.status.clone().unwrap().phase.unwrap(),
        Some(Write::Volume(volume)) => format!("volume {}", volume.name()),
        Some(Write::VolumeStatus(volume)) => {
            format!("volume {} {}", volume.name(), volume.status.clone().unwrap().phase.unwrap())
        }
    };
    let reasons = decision.events.iter().map(|said| said.reason);
    std::iter::once(write.as_str()).chain(reasons).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

#[test]
fn claims_without_a_volume_table() {
    let (now, later) = (class("example.org/disk", "Immediate"), class("example.org/disk", "WaitForFirstConsumer"));
    let none = class("kubernetes.io/no-provisioner", "Immediate");
    let of_k = || asked(json!({"storageClassName": "k"}));
    let selected = || annotated(of_k(), &[SELECTED_NODE]);
    let mut waiting = of_k();
    let annotations = PROVISIONER.map(|key| (key.to_owned(), "example.org/disk".to_owned()));
    waiting.metadata.annotations = Some(annotations.into());
    let cases = [
        ("there is nothing", asked(json!({"storageClassName": ""})), None, None, &[][..], "FailedBinding"),
        ("it gets the default class", asked(json!({})), None, Some("k"), &[], r#"class Some("k") annotations None"#),
        ("there is no default", asked(json!({})), None, None, &[], "FailedBinding"),
        ("it wants none", asked(json!({"storageClassName": ""})), None, Some("k"), &[], "FailedBinding"),
        ("no such class", of_k(), None, None, &[], "ProvisioningFailed"),
        ("a class for volumes that are there", of_k(), Some(&none), None, &[], "ProvisioningFailed"),
        ("its provisioner is told", of_k(), Some(&now), None, &[], r#"class Some("k") annotations Some(2)"#),
        ("and waited for", waiting, Some(&now), None, &[], "ExternalProvisioning"),
        ("nobody uses it yet", of_k(), Some(&later), None, &[], "WaitForFirstConsumer"),
        ("its pod has no node yet", of_k(), Some(&later), None, &["p"], "WaitForPodScheduled"),
        ("its pod's node is chosen", selected(), Some(&later), None, &["p"], r#"class Some("k") annotations Some(3)"#),
    ];
    for (why, claim, class, default_class, pods, expected) in cases {
        let pods: Vec<String> = pods.iter().map(|pod| (*pod).to_owned()).collect();
        let seen = Observed { claim: &claim, class, default_class, named: None, volumes: &[], waiting_pods: &pods };
        assert_eq!(shown(&decide(&seen)), expected, "{why}");
    }
}

#[test]
fn claims_that_name_their_volume_table() {
    let named = || asked(json!({"storageClassName": "", "volumeName": "v"}));
    let bound = || annotated(named(), &[BIND_COMPLETED]);
    let mut lost = bound();
    lost.status.as_mut().unwrap().phase = Some(LOST.into());
    let of = |uid: &str| volume("v", json!({"claimRef": {"namespace": "shop", "name": "c", "uid": uid}}));
    let others = volume("v", json!({"claimRef": {"namespace": "shop", "name": "other", "uid": "x"}}));
    let cases = [
        ("it is not there yet", named(), None, ""),
        ("it is nobody's", named(), Some(volume("v", json!({}))), "volume v"),
        ("it is too small", named(), Some(volume("v", json!({"capacity": {"storage": "1Gi"}}))), "VolumeMismatch"),
        ("it is another's", named(), Some(others), "FailedBinding"),
        ("it is meant for it", named(), Some(of("")), "volume v"),
        ("it was bound to it", bound(), Some(of("c-uid")), "volume v Bound"),
        ("it was bound, and the volume is gone", bound(), None, "Lost ClaimLost"),
        ("that was said", lost, None, ""),
        ("it was bound, and another of its name has it", bound(), Some(of("old")), "Lost ClaimMisbound"),
        ("it was bound, and the volume has forgotten", bound(), Some(volume("v", json!({}))), "volume v"),
        ("it has forgotten itself", annotated(asked(json!({})), &[BIND_COMPLETED]), None, "Lost ClaimLost"),
    ];
    for (why, claim, volume, expected) in cases {
        let named = volume.map(Arc::new);
        let seen = Observed {
            claim: &claim,
            class: None,
            default_class: None,
            named: named.as_ref(),
            volumes: &[],
            waiting_pods: &[],
        };
        assert_eq!(shown(&decide(&seen)), expected, "{why}");
    }
}

#[test]
fn a_binding_goes_on_where_it_was_stopped_and_then_rests() {
    let mut claim = asked(json!({"storageClassName": ""}));
    let mut volume = Arc::new(volume("v", json!({})));
    let mut steps = Vec::new();
    loop {
        // Nothing is remembered between two writes but what was written.
        let volumes = [Arc::clone(&volume)];
        let named = claim_spec(&claim).volume_name.is_some().then_some(&volume);
        let seen =
            Observed { claim: &claim, class: None, default_class: None, named, volumes: &volumes, waiting_pods: &[] };
        let decision = decide(&seen);
        assert_eq!(decision.events, [], "nothing is wrong");
        let Some(write) = decision.write else { break };
        steps.push(match write {
            Write::Volume(new) | Write::VolumeStatus(new) => {
                volume = Arc::new(new);
                "volume"
            }
            Write::Claim(new) | Write::ClaimStatus(new) => {
                claim = new;
                "claim"
            }
        });
        assert!(steps.len() < 9, "{steps:?}");
    }
    assert_eq!(steps, ["volume", "volume", "claim", "claim"], "the volume first: no two claims get it");
    assert_eq!(volume_spec(&volume).claim_ref.as_ref().unwrap().uid.as_deref(), Some("c-uid"));
    assert_eq!(volume.annotation(BOUND_BY_CONTROLLER), Some("yes"));
    assert_eq!(
        (volume.status.as_ref().unwrap().phase.as_deref(), claim_spec(&claim).volume_name.as_deref()),
        (Some(BOUND), Some("v"))
    );
    let status = claim.status.unwrap();
    assert_eq!((status.phase.as_deref(), storage(status.capacity.as_ref())), (Some(BOUND), capacity(&volume)));
    assert_eq!(status.access_modes, Some(vec!["ReadWriteOnce".to_owned()]));
}

#[test]
fn the_default_class_is_the_newest_that_says_so() {
    let class = |name: &str, created: &str, is_default: &str| {
        let annotations = json!({IS_DEFAULT[0]: is_default});
        let metadata = json!({"name": name, "creationTimestamp": created, "annotations": annotations});
        Arc::new(serde_json::from_value(json!({"metadata": metadata, "provisioner": "p"})).unwrap())
    };
    let (old, new) = ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z");
    let classes = [class("b", old, "true"), class("d", new, "true"), class("c", new, "true"), class("a", new, "false")];
    assert_eq!(default_class(&classes), Some("c"), "of two of one age the first by name");
    assert_eq!(default_class(&classes[..1]), Some("b"));
    assert_eq!(default_class(&classes[3..]), None);
}
