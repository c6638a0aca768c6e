//! Which volumes waiting claims get: on which node, of which size, and never one for two.

use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::snapshot::Snapshot;
use crate::snapshot::tests::labelled;
use crate::snapshot::volumes::Claim;
use crate::snapshot::volumes::progress::{self, Written};

/// Nodes `n1` and `n2` of zones `a` and `b`; the class `late` has a provisioner in zone `a`, `static` has none.
fn snapshot() -> Snapshot {
    let mut snapshot = Snapshot::new();
    snapshot.set_node(&labelled("n1", &[("zone", "a")]));
    snapshot.set_node(&labelled("n2", &[("zone", "b")]));
    let topologies = vec![vec![("zone".to_owned(), vec!["a".to_owned()])]];
    let late = Class { waits: true, provisioner: "example.org/disk".into(), topologies };
    let fixed = Class { waits: true, provisioner: NO_PROVISIONER.into(), ..Class::default() };
    snapshot.volumes.set_class("late", Some(&late));
    snapshot.volumes.set_class("static", Some(&fixed));
    snapshot.volumes.set_class("now", Some(&Class { provisioner: "example.org/disk".into(), ..Class::default() }));
    snapshot
}

fn with_claim(snapshot: &mut Snapshot, name: &str, spec: Value, annotations: Value) {
    let metadata = json!({"name": name, "namespace": "ns", "uid": format!("{name}-uid"), "annotations": annotations});
    let claim = json!({"metadata": metadata, "spec": spec, "status": {"phase": "Pending"}});
    let claim = Claim::of(&serde_json::from_value(claim).unwrap());
    snapshot.volumes.set_claim(&Key::new("ns", name), Some(&claim));
}

/// Of the class `static`, for one writer.
fn asks(size: &str) -> Value {
    json!({"storageClassName": "static", "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}})
}

/// As `asks`, on one node.
fn with_volume(snapshot: &mut Snapshot, name: &str, size: &str, node: &str, changes: Value) {
    let requirement = json!({"key": "kubernetes.io/hostname", "operator": "In", "values": [node]});
    let mut spec = json!({"storageClassName": "static", "accessModes": ["ReadWriteOnce"], "capacity": {"storage": size},
        "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [requirement]}]}}});
    spec.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    let volume =
        json!({"metadata": {"name": name, "labels": {"volume": name}}, "spec": spec, "status": {"phase": "Available"}});
    snapshot.volumes.set_volume(name, Some(&Volume::of(&serde_json::from_value(volume).unwrap())));
}

fn class(claims: &[&str]) -> PodClass {
    let claims = claims.iter().map(|claim| (*claim).to_owned()).collect();
    PodClass { namespace: "ns".into(), claims, ..PodClass::default() }
}

/// What the pod's claims would get on each node, in short.
fn plans(snapshot: &Snapshot, claims: &[&str]) -> String {
    let wants = Wants::of(&snapshot.volumes, &class(claims));
    let plans = snapshot.nodes().map(|node| match wants.plan(&node.spec) {
        None => "no".to_owned(),
        Some(plan) => {
            let bound = plan.bindings.iter().map(|(claim, volume)| format!("{}={volume}", claim.key.name));
            let made = plan.provisions.iter().map(|claim| format!("{}=new", claim.key.name));
            bound.chain(made).collect::<Vec<_>>().join(" ")
        }
    });
    plans.collect::<Vec<_>>().join(", ")
}

#[test]
fn one_claim_table() {
    let on_n1 = |changes: Value| ("10Gi", "n1", changes);
    let block = json!({"volumeMode": "Block"});
    let cases = [
        ("it is on one node", asks("5Gi"), on_n1(json!({})), "c=v, no"),
        ("it is too small", asks("11Gi"), on_n1(json!({})), "no, no"),
        ("of another class", asks("5Gi"), on_n1(json!({"storageClassName": "other"})), "no, no"),
        ("for readers alone", asks("5Gi"), on_n1(json!({"accessModes": ["ReadOnlyMany"]})), "no, no"),
        ("of another mode", asks("5Gi"), on_n1(block), "no, no"),
        ("anywhere", asks("5Gi"), on_n1(json!({"nodeAffinity": null})), "c=v, c=v"),
        ("another's", asks("5Gi"), on_n1(json!({"claimRef": {"namespace": "ns", "name": "x"}})), "no, no"),
        ("meant for it", asks("5Gi"), on_n1(json!({"claimRef": {"namespace": "ns", "name": "c"}})), "c=v, no"),
        (
            "meant for one of its name",
            asks("5Gi"),
            on_n1(json!({"claimRef": {"namespace": "ns", "name": "c", "uid": "old"}})),
            "no, no",
        ),
        (
            "of attributes that it does not ask for",
            asks("5Gi"),
            on_n1(json!({"volumeAttributesClassName": "fast"})),
            "no, no",
        ),
    ];
    for (why, claim, (size, node, changes), expected) in cases {
        let mut snapshot = snapshot();
        with_claim(&mut snapshot, "c", claim, json!({}));
        with_volume(&mut snapshot, "v", size, node, changes);
        assert_eq!(plans(&snapshot, &["c"]), expected, "{why}");
    }
}

#[test]
fn a_selector_chooses_and_the_smallest_that_is_left_is_taken() {
    let mut snapshot = snapshot();
    for (name, size) in [("large", "30Gi"), ("middle", "20Gi"), ("small", "10Gi")] {
        with_volume(&mut snapshot, name, size, "n1", json!({}));
    }
    with_claim(&mut snapshot, "a", asks("5Gi"), json!({}));
    with_claim(&mut snapshot, "b", asks("6Gi"), json!({}));
    assert_eq!(plans(&snapshot, &["b", "a"]), "a=small b=middle, no", "the smallest claim chooses first");
    let mut selecting = asks("5Gi");
    selecting["selector"] = json!({"matchLabels": {"volume": "large"}});
    with_claim(&mut snapshot, "s", selecting, json!({}));
    assert_eq!(plans(&snapshot, &["s"]), "s=large, no");
}

#[test]
fn the_smallest_is_taken_whether_it_is_of_the_node_or_of_all() {
    let mut snapshot = snapshot();
    with_volume(&mut snapshot, "of-n1", "20Gi", "n1", json!({}));
    with_volume(&mut snapshot, "of-n2", "10Gi", "n2", json!({}));
    with_volume(&mut snapshot, "of-all", "15Gi", "", json!({"nodeAffinity": null}));
    with_claim(&mut snapshot, "a", asks("5Gi"), json!({}));
    with_claim(&mut snapshot, "b", asks("6Gi"), json!({}));
    assert_eq!(plans(&snapshot, &["a"]), "a=of-all, a=of-n2");
    assert_eq!(plans(&snapshot, &["a", "b"]), "a=of-all b=of-n1, a=of-n2 b=of-all");
}

#[test]
fn volumes_that_are_made_table() {
    let late = |class: &str| json!({"storageClassName": class, "resources": {"requests": {"storage": "1Gi"}}});
    let on = |node: &str| json!({"volume.kubernetes.io/selected-node": node});
    let cases = [
        ("where its class makes them", late("late"), json!({}), "c=new, no"),
        ("nobody makes them", late("static"), json!({}), "no, no"),
        ("a node was selected", late("late"), on("n1"), "c=new, no"),
        ("another one was, which is gone", late("late"), on("n3"), "no, no"),
        ("its class does not wait", late("now"), json!({}), ", "),
        ("it names its volume", json!({"storageClassName": "late", "volumeName": "v"}), json!({}), ", "),
    ];
    for (why, claim, annotations, expected) in cases {
        let mut snapshot = snapshot();
        with_claim(&mut snapshot, "c", claim, annotations);
        assert_eq!(plans(&snapshot, &["c"]), expected, "{why}");
    }
}

#[test]
fn what_is_meant_for_a_claim_is_not_made_a_second_time() {
    let cases = [
        ("it is where none could be made", "n2", json!({}), "no, c=v"),
        ("it is where one could be made", "n1", json!({}), "c=v, no"),
        (
            "it was made on the node that was selected",
            "n1",
            json!({"volume.kubernetes.io/selected-node": "n1"}),
            "c=new, no",
        ),
        ("it was made elsewhere", "n2", json!({"volume.kubernetes.io/selected-node": "n1"}), "no, no"),
    ];
    for (why, node, annotations, expected) in cases {
        let mut snapshot = snapshot();
        let wants = json!({"storageClassName": "late", "resources": {"requests": {"storage": "1Gi"}}});
        with_claim(&mut snapshot, "c", wants, annotations);
        with_volume(&mut snapshot, "v", "1Gi", node, json!({"claimRef": {"namespace": "ns", "name": "c"}}));
        assert_eq!(plans(&snapshot, &["c"]), expected, "{why}");
    }
}

#[test]
fn what_is_promised_to_one_pod_is_no_other_claims() {
    let mut snapshot = snapshot();
    with_volume(&mut snapshot, "v", "10Gi", "n1", json!({}));
    for name in ["a", "b"] {
        with_claim(&mut snapshot, name, asks("5Gi"), json!({}));
    }
    with_claim(&mut snapshot, "late", json!({"storageClassName": "late"}), json!({}));
    let n1 = Arc::clone(&snapshot.node_named("n1").unwrap().spec);
    let plan = Wants::of(&snapshot.volumes, &class(&["a", "late"])).plan(&n1).map(Arc::new).unwrap();
    let (one, two) = (Key::new("ns", "one"), Key::new("ns", "two"));
    snapshot.volumes.assumed.insert(&one, &plan);
    snapshot.volumes.assumed.insert(&two, &plan);
    assert_eq!(plans(&snapshot, &["b"]), "no, no");
    assert_eq!(plans(&snapshot, &["a"]), "a=v, no", "another pod of the same claim");
    snapshot.volumes.assumed.remove(&one);
    assert_eq!(plans(&snapshot, &["b"]), "no, no", "the other pod has it still");
    snapshot.volumes.assumed.remove(&two);
    assert_eq!(plans(&snapshot, &["b"]), "b=v, no");
    assert_eq!(format!("{:?}", snapshot.volumes.assumed), format!("{:?}", super::super::assumed::Assumed::default()));
}

#[test]
fn how_far_it_has_come_table() {
    let plan = Plan {
        node: "n1".into(),
        bindings: vec![(ClaimRef { key: Key::new("ns", "a"), uid: "a-uid".into() }, "v".into())],
        provisions: vec![ClaimRef { key: Key::new("ns", "b"), uid: "b-uid".into() }],
    };
    let written = Written { volumes: [("v".to_owned(), 7)].into(), claims: [(Key::new("ns", "b"), 8)].into() };
    let volume = |revision: &str, uid: &str, node: &str| {
        let requirement = json!({"key": "kubernetes.io/hostname", "operator": "In", "values": [node]});
        json!({"metadata": {"resourceVersion": revision}, "spec": {"claimRef": {"namespace": "ns", "name": "x", "uid": uid},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [requirement]}]}}}})
    };
    let claim = |revision: &str, phase: &str, volume: &str, node: &str| {
        json!({"metadata": {"resourceVersion": revision, "annotations": {"volume.kubernetes.io/selected-node": node}},
            "spec": {"volumeName": volume}, "status": {"phase": phase}})
    };
    let bound = |name: &str| claim("9", "Bound", name, "n1");
    let (ours, pending) = (|| volume("7", "a-uid", "n1"), || claim("7", "Pending", "", ""));
    let cases = [
        ("all are bound", ours(), bound("v"), bound("w"), "true"),
        ("one is not yet", ours(), pending(), bound("w"), "false"),
        ("the reservation is not shown yet", volume("6", "", "n1"), bound("v"), bound("w"), "false"),
        ("it was taken back", volume("8", "", "n1"), pending(), bound("w"), r#"ClaimRef got reset for pv "v""#),
        (
            "it moved",
            volume("8", "a-uid", "n2"),
            pending(),
            bound("w"),
            r#"pv "v" node affinity doesn't match node "n1": no matching NodeSelectorTerms"#,
        ),
        ("the selection is not shown yet", ours(), bound("v"), pending(), "false"),
        ("its volume is being made", ours(), bound("v"), claim("8", "Pending", "", "n1"), "false"),
        (
            "it could not be made",
            ours(),
            bound("v"),
            claim("9", "Pending", "", ""),
            r#"provisioning failed for PVC "b""#,
        ),
        (
            "it got another volume",
            ours(),
            bound("far"),
            bound("w"),
            r#"claim "ns/a" is bound to pv "far" instead of pv "v""#,
        ),
        (
            "it was made elsewhere",
            ours(),
            bound("v"),
            bound("far"),
            r#"pv "far" node affinity doesn't match node "n1": no matching NodeSelectorTerms"#,
        ),
        ("its volume is not known yet", ours(), bound("v"), bound("unknown"), "false"),
    ];
    for (why, shown, a, b, expected) in cases {
        let mut snapshot = snapshot();
        let read = |volume: Value| Volume::of(&serde_json::from_value(volume).unwrap());
        snapshot.volumes.set_volume("v", Some(&read(shown)));
        snapshot.volumes.set_volume("w", Some(&read(volume("1", "b-uid", "n1"))));
        snapshot.volumes.set_volume("far", Some(&read(volume("1", "b-uid", "n2"))));
        for (name, claim) in [("a", a), ("b", b)] {
            let claim = Claim::of(&serde_json::from_value(claim).unwrap());
            snapshot.volumes.set_claim(&Key::new("ns", name), Some(&claim));
        }
        let node = snapshot.node_named("n1").map(|node| &*node.spec);
        let got = progress::check(&snapshot.volumes, &plan, &written, node);
        assert_eq!(got.map_or_else(|why| why, |done| done.to_string()), expected, "{why}");
    }
}
