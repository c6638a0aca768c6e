//! Pods whose claims wait for them: their volumes are promised, waited for, and given back.

use serde_json::{Value, json};

use super::*;
use crate::core::volumes::BIND_MAX;
use crate::snapshot::volumes::progress::Written;
use crate::snapshot::volumes::{Claim, Volume};

fn claim(core: &mut Core, name: &str, node: Option<&str>, volume: Option<&str>, revision: &str) {
    let annotations = node.map(|node| json!({"volume.kubernetes.io/selected-node": node}));
    let metadata =
        json!({"name": name, "uid": format!("{name}-uid"), "resourceVersion": revision, "annotations": annotations});
    let spec = json!({"storageClassName": "late", "volumeName": volume, "resources": {"requests": {"storage": "1Gi"}}});
    let phase = if volume.is_some() { "Bound" } else { "Pending" };
    let read = Claim::of(
        &serde_json::from_value(json!({"metadata": metadata, "spec": spec, "status": {"phase": phase}})).unwrap(),
    );
    core.claim_changed(&Key::new("default", name), Some(&read));
}
fn volume(core: &mut Core, name: &str, claim_ref: Value, revision: &str) {
    let spec = json!({"storageClassName": "late", "capacity": {"storage": "1Gi"}, "claimRef": claim_ref});
    let read = json!({"metadata": {"name": name, "resourceVersion": revision}, "spec": spec, "status": {"phase": "Available"}});
    core.volume_changed(name, Some(&Volume::of(&serde_json::from_value(read).unwrap())));
}
fn waiting(name: &str, claim: &str) -> PodInfo {
    of_class(name, "", PodClass { claims: vec![claim.into()], ..PodClass::default() })
}
fn class(core: &mut Core, provisioner: &str) {
    core.storage_class_changed(
        "late",
        Some(&Class { waits: true, provisioner: provisioner.into(), ..Class::default() }),
    );
}

#[test]
fn two_pods_never_get_one_volume() {
    let (mut core, now) = (core(), Instant::now());
    class(&mut core, "kubernetes.io/no-provisioner");
    claim(&mut core, "a", None, None, "1");
    claim(&mut core, "b", None, None, "1");
    volume(&mut core, "v", json!(null), "1");
    let (one, two) = (waiting("one", "a"), waiting("two", "b"));
    core.pod_changed(&one.key, Some(&one), now);
    core.pod_changed(&two.key, Some(&two), now);
    assert!(matches!(decided(&mut core, &one, now), Decision::Place { .. }));
    let plan = core.volumes_to_bind(&one.key, &one.uid).unwrap();
    assert_eq!(plan.bindings[0].1, "v");
    let Decision::Refuse { why, .. } = decided(&mut core, &two, now) else { panic!() };
    assert!(why.contains("didn't find available persistent volumes to bind"), "{why}");

    let failed = ApiError::unavailable("nobody knows");
    core.settled(&one.key, &one.uid, Err(&failed), now);
    let later = now + Backoff::default().max;
    core.wake(later);
    let mut again = [core.next(later).unwrap(), core.next(later).unwrap()];
    again.sort();
    assert_eq!(again, [one.key, two.key], "what it does not get, the other may");
}

#[test]
fn a_pod_is_bound_when_its_claims_are_and_waits_no_longer_than_it_may() {
    let (mut core, now) = (core(), Instant::now());
    class(&mut core, "example.org/disk");
    claim(&mut core, "a", None, None, "1");
    let pod = waiting("one", "a");
    core.pod_changed(&pod.key, Some(&pod), now);
    assert!(matches!(decided(&mut core, &pod, now), Decision::Place { .. }));
    assert_eq!(core.volumes_to_bind(&pod.key, &pod.uid).unwrap().provisions[0].key.name, "a");
    let written = || Written { claims: [(Key::new("default", "a"), 5)].into(), ..Written::default() };
    core.volumes_written(&pod.key, &pod.uid, written(), now);
    assert_eq!(core.next_waited(now), None, "the cluster does not show it yet");
    claim(&mut core, "a", Some("n1"), None, "5");
    assert_eq!(core.next_waited(now), None);
    assert_eq!(core.next(now), None, "it is decided on once");
    assert_eq!(core.next_timer(), Some(now + BIND_MAX));
    claim(&mut core, "a", Some("n1"), Some("made"), "6");
    assert_eq!(core.next_waited(now), None, "its volume is not known yet");
    volume(&mut core, "made", json!({"namespace": "default", "name": "a", "uid": "a-uid"}), "4");
    let waited = core.next_waited(now).unwrap();
    assert_eq!((waited.node.as_str(), waited.result), ("n1", Ok(())));
    assert_eq!(core.next_waited(now + BIND_MAX), None, "it is told once");
    core.settled(&pod.key, &pod.uid, Ok(()), now);
    assert_eq!(core.volumes_to_bind(&pod.key, &pod.uid), None);
    assert!(core.binding.is_empty());

    let late = waiting("two", "b");
    claim(&mut core, "b", None, None, "1");
    core.pod_changed(&late.key, Some(&late), now);
    decided(&mut core, &late, now);
    core.volumes_written(&late.key, &late.uid, Written::default(), now);
    claim(&mut core, "b", Some("n1"), None, "2");
    assert_eq!(core.next_waited(now), None);
    let waited = core.next_waited(now + BIND_MAX).unwrap();
    assert_eq!(waited.result, Err("binding volumes: context deadline exceeded".to_owned()));
    core.pod_changed(&late.key, None, now);
    assert!(core.binding.is_empty(), "the pod is gone, and what was kept of it");
}

#[test]
fn a_volume_that_could_not_be_made_is_tried_elsewhere() {
    let (mut core, now) = (core(), Instant::now());
    class(&mut core, "example.org/disk");
    claim(&mut core, "a", None, None, "1");
    let pod = waiting("one", "a");
    core.pod_changed(&pod.key, Some(&pod), now);
    decided(&mut core, &pod, now);
    let written = Written { claims: [(Key::new("default", "a"), 5)].into(), ..Written::default() };
    core.volumes_written(&pod.key, &pod.uid, written, now);
    claim(&mut core, "a", None, None, "6");
    let waited = core.next_waited(now).unwrap();
    assert_eq!(waited.result, Err("binding volumes: provisioning failed for PVC \"a\"".to_owned()));
    core.settled(&pod.key, &pod.uid, Err(&ApiError::unavailable("it failed")), now);
    core.node_changed("n1", None);
    core.node_changed("n2", Some(&node("n2", "4", "8Gi")));
    let later = now + Backoff::default().max;
    assert_eq!(decided(&mut core, &pod, later), Decision::Place { node: "n2".into() });
}

#[test]
fn a_pod_whose_node_goes_waits_no_longer() {
    let (mut core, now) = (core(), Instant::now());
    class(&mut core, "example.org/disk");
    claim(&mut core, "a", None, None, "1");
    let pod = waiting("one", "a");
    core.pod_changed(&pod.key, Some(&pod), now);
    decided(&mut core, &pod, now);
    core.volumes_written(&pod.key, &pod.uid, Written::default(), now);
    claim(&mut core, "a", Some("n1"), None, "2");
    assert_eq!(core.next_waited(now), None);
    core.node_changed("n1", None);
    let waited = core.next_waited(now).unwrap();
    let why = "binding volumes: failed to get node \"n1\": node \"n1\" not found";
    assert_eq!(waited.result, Err(why.to_owned()));
}
