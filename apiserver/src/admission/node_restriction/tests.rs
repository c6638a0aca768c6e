//! What a node may write of claims, pods, its own Node, and which certificates it may ask for.

use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::{CertificateSigningRequest, PodCertificateRequest};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::*;
use crate::admission::testing::{Write, ask_as};
use crate::registry::certificates::pkcs10::testing::{as_pem, key, request, request_of};
use crate::request::User;
use crate::view::testing::Cluster;

fn kubelet(name: &str) -> User {
    User { name: name.into(), groups: vec![NODES_GROUP.into()], ..User::default() }
}

/// "" or why it is refused, by node n1.
fn said<K: AnyObject + DeserializeOwned>(world: &Cluster, write: Write<'_>) -> String {
    let answer = ask_as::<K>(&kubelet("system:node:n1"), admit, world, write);
    answer.map_or_else(|err| format!("{} {}", err.code(), err.message()), |_| String::new())
}

fn merged(base: &Value, change: Value) -> Value {
    let mut new = base.clone();
    json_patch::merge(&mut new, &change);
    new
}

#[test]
fn of_a_claim_a_node_writes_how_large_it_is_and_nothing_else() {
    const CLAIM: &str = "/persistentvolumeclaims/status n/c";
    let old = json!({"metadata": {"name": "c", "namespace": "n", "resourceVersion": "7"},
        "spec": {"volumeName": "v", "accessModes": ["ReadWriteOnce"]},
        "status": {"phase": "Bound", "capacity": {"storage": "1Gi"}}});
    let update = |target, change| Write { verb: Verb::Update, target, new: merged(&old, change), old: old.clone() };
    let condition = json!([{"type": "FileSystemResizePending", "status": "True"}]);
    for change in [
        json!({}),
        json!({"status": {"capacity": {"storage": "2Gi"}}}),
        json!({"status": {"conditions": condition}}),
        json!({"status": {"allocatedResources": {"storage": "2Gi"}}}),
        json!({"status": {"allocatedResourceStatuses": {"storage": "NodeResizeInProgress"}}}),
        json!({"metadata": {"resourceVersion": null, "managedFields": [{"manager": "kubelet"}]}}),
    ] {
        assert_eq!(said::<PersistentVolumeClaim>(&Cluster::default(), update(CLAIM, change.clone())), "", "{change}");
    }
    let words = "403 persistentvolumeclaims \"c\" is forbidden: node \"n1\" is not allowed to update fields other than \
                 status.quantity and status.conditions: ";
    for change in [
        json!({"status": {"phase": "Lost"}}),
        json!({"status": {"accessModes": ["ReadWriteMany"]}}),
        json!({"status": {"currentVolumeAttributesClassName": "gold"}}),
        json!({"status": {"modifyVolumeStatus": {"status": "Pending"}}}),
        json!({"metadata": {"labels": {"a": "b"}}}),
        json!({"metadata": {"annotations": {"a": "b"}}}),
        json!({"metadata": {"finalizers": ["a.b/c"]}}),
        json!({"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u"}]}}),
        json!({"spec": {"volumeName": "w"}}),
    ] {
        let found = said::<PersistentVolumeClaim>(&Cluster::default(), update(CLAIM, change.clone()));
        assert!(found.starts_with(words), "{change}: {found}");
    }
    for (verb, target, expected) in [
        (Verb::Update, "/persistentvolumeclaims n/c", "may only update PVC status"),
        (Verb::Delete, "/persistentvolumeclaims n/c", "may only update PVC status"),
        (Verb::Create, "/persistentvolumeclaims n/", "may only update PVC status"),
        (Verb::Create, CLAIM, "unexpected operation \"CREATE\""),
    ] {
        let write = Write { verb, target, new: old.clone(), old: Value::Null };
        let found = said::<PersistentVolumeClaim>(&Cluster::default(), write);
        assert!(found.starts_with("403 ") && found.ends_with(expected), "{verb:?} {target}: {found}");
    }
}

#[test]
fn of_a_volume_a_node_writes_that_there_is_a_directory() {
    const VOLUME: &str = "/persistentvolumes v";
    let old = json!({"metadata": {"name": "v", "resourceVersion": "7", "finalizers": ["kubernetes.io/pv-protection"]},
        "spec": {"local": {"path": "/x"}, "accessModes": ["ReadWriteOnce"]}, "status": {"phase": "Bound"}});
    let update = |target, change| Write { verb: Verb::Update, target, new: merged(&old, change), old: old.clone() };
    for change in [
        json!({}),
        json!({"metadata": {"finalizers": ["kubernetes.io/pv-protection", "corten.io/local-directory"]}}),
        json!({"metadata": {"resourceVersion": null, "managedFields": [{"manager": "kubelet"}]}}),
    ] {
        assert_eq!(said::<PersistentVolume>(&Cluster::default(), update(VOLUME, change.clone())), "", "{change}");
    }
    let words = "403 persistentvolumes \"v\" is forbidden: node \"n1\" is not allowed to update more than the finalizer \
                 \"corten.io/local-directory\": ";
    for change in [
        json!({"metadata": {"finalizers": null}}),
        json!({"metadata": {"finalizers": ["kubernetes.io/pv-protection", "a.b/c"]}}),
        json!({"metadata": {"annotations": {"corten.io/node": "n2"}}}),
        json!({"metadata": {"labels": {"a": "b"}}}),
        json!({"spec": {"local": {"path": "/etc"}}}),
        json!({"spec": {"claimRef": {"namespace": "n", "name": "c"}}}),
    ] {
        let found = said::<PersistentVolume>(&Cluster::default(), update(VOLUME, change.clone()));
        assert!(found.starts_with(words), "{change}: {found}");
    }
    for (verb, target) in
        [(Verb::Delete, VOLUME), (Verb::Create, "/persistentvolumes "), (Verb::Update, "/persistentvolumes/status v")]
    {
        let write = Write { verb, target, new: old.clone(), old: Value::Null };
        let found = said::<PersistentVolume>(&Cluster::default(), write);
        assert!(found.contains("unexpected operation"), "{verb:?} {target}: {found}");
    }
}

#[test]
fn of_a_pods_status_a_node_changes_neither_labels_nor_claims() {
    let old = json!({"metadata": {"name": "p"}, "spec": {"nodeName": "n1", "containers": []}, "status": {
        "resourceClaimStatuses": [{"name": "gpu", "resourceClaimName": "p-gpu"}],
        "extendedResourceClaimStatus": {"resourceClaimName": "p-x", "requestMappings": []}}});
    let words = |what: &str| format!("403 pods \"p\" is forbidden: node \"n1\" cannot update {what}");
    let claims = "resource claim statues";
    for (change, expected) in [
        (json!({"status": {"phase": "Running"}}), String::new()),
        (json!({"metadata": {"labels": {}}}), String::new()),
        (json!({"metadata": {"labels": {"a": "b"}}}), words("labels through pod status")),
        (json!({"status": {"resourceClaimStatuses": null}}), words(claims)),
        (json!({"status": {"resourceClaimStatuses": [{"name": "gpu", "resourceClaimName": "others"}]}}), words(claims)),
        (json!({"status": {"resourceClaimStatuses": [{"name": "gpu"}]}}), words(claims)),
        (json!({"status": {"extendedResourceClaimStatus": null}}), words("extended resource claim status")),
        (
            json!({"status": {"extendedResourceClaimStatus": {"resourceClaimName": "others"}}}),
            words("extended resource claim status"),
        ),
    ] {
        let (new, old, target) = (merged(&old, change.clone()), old.clone(), "/pods/status n/p");
        let found = said::<Pod>(&Cluster::default(), Write { verb: Verb::Update, target, new, old });
        assert_eq!(found, expected, "{change}");
    }
}

#[test]
fn a_node_asks_for_certificates_of_its_own_name_alone() {
    let key = key(&rcgen::PKCS_ED25519);
    let of = |names: &[&str]| as_pem("CERTIFICATE REQUEST", &request_of(names, &["system:nodes"], &key));
    let own = "can only create a node CSR with CN=system:node:n1";
    let (serving, client) = ("kubernetes.io/kubelet-serving", "kubernetes.io/kube-apiserver-client-kubelet");
    let forgiven = format!(
        "-----BEGIN CERTIFICATE REQUEST-----\neW9=\n-----END CERTIFICATE REQUEST-----\n{}",
        of(&["system:node:n1"])
    );
    for (signer, pem, verb, expected) in [
        (serving, of(&["system:node:n1"]), Verb::Create, ""),
        (client, of(&["system:node:n1"]), Verb::Create, ""),
        (serving, of(&["system:node:n2"]), Verb::Create, own),
        (client, of(&["system:node:n2"]), Verb::Create, own),
        (client, of(&["n1"]), Verb::Create, own),
        (client, of(&[]), Verb::Create, own),
        (client, of(&["system:node:n1", "system:node:n2"]), Verb::Create, own),
        (client, of(&["system:node:n2", "system:node:n1"]), Verb::Create, own),
        (client, "x".into(), Verb::Create, "unable to parse csr: PEM block type must be CERTIFICATE REQUEST"),
        (client, forgiven, Verb::Create, "unable to parse csr: line 3: a PEM block that does not decode"),
        ("example.com/s", of(&["system:node:n2"]), Verb::Create, ""),
        (client, of(&["system:node:n2"]), Verb::Update, ""),
    ] {
        let spec = json!({"signerName": signer, "request": ByteString(pem.clone().into_bytes())});
        let new = json!({"metadata": {"name": "r"}, "spec": spec});
        let target = "certificates.k8s.io/certificatesigningrequests ";
        let write = Write { verb, target, old: if verb == Verb::Create { Value::Null } else { new.clone() }, new };
        let found = said::<CertificateSigningRequest>(&Cluster::default(), write);
        assert!(found.ends_with(expected) && found.is_empty() == expected.is_empty(), "{signer} {pem}: {found}");
    }
    let plain = as_pem("CERTIFICATE REQUEST", &request("system:node:n1", &["system:nodes"], &key));
    assert_eq!(plain.lines().count(), of(&["system:node:n1"]).lines().count());
}

#[test]
fn a_node_asks_for_certificates_of_the_pods_that_run_on_it() {
    let volume = json!([{"name": "v", "projected": {"sources": [
        {"podCertificate": {"signerName": "example.com/s", "keyType": "ED25519"}}]}}]);
    let pod = |node: &str, annotations: Value| {
        json!({"metadata": {"name": "p", "uid": "pu", "annotations": annotations},
            "spec": {"nodeName": node, "serviceAccountName": "a", "containers": [], "volumes": volume}})
    };
    let world = |pod: Value| {
        Cluster::of(&[
            ("nodes//n1", json!({"metadata": {"name": "n1", "uid": "nu"}})),
            ("pods/n/p", pod),
            ("serviceaccounts/n/a", json!({"metadata": {"name": "a", "uid": "au"}})),
        ])
    };
    let good = || world(pod("n1", json!({})));
    let asked = json!({"metadata": {"name": "r"}, "spec": {"nodeName": "n1", "nodeUID": "nu", "podName": "p",
        "podUID": "pu", "serviceAccountName": "a", "serviceAccountUID": "au", "signerName": "example.com/s",
        "stubPKCS10Request": ""}});
    let mirror = json!({"kubernetes.io/config.mirror": "x"});
    // the cluster, what is changed in the request, the code and a part of the words
    let cases = [
        (good(), json!({}), ""),
        (good(), json!({"nodeName": "n2"}), "403 NodeName=\"n2\", which is not the requesting node \"n1\""),
        (good(), json!({"nodeUID": "x"}), "500 names node UID \"x\", inconsistent with the running node (\"nu\")"),
        (good(), json!({"podName": "q"}), "500 while retrieving pod \"n/q\" named"),
        (good(), json!({"podUID": "x"}), "500 contains pod UID (\"x\") which differs from running pod \"pu\""),
        (world(pod("n2", json!({}))), json!({}), "403 pod \"n/p\" is not running on node \"n1\""),
        (world(pod("n1", mirror)), json!({}), "403 pod \"n/p\" is a mirror pod"),
        (good(), json!({"serviceAccountName": "b"}), "403 contains serviceAccountName (\"b\") that differs"),
        (good(), json!({"serviceAccountUID": "x"}), "500 names service account UID \"x\", which differs"),
        (good(), json!({"signerName": "example.com/t"}), "403 has no podCertificate volume source with signerName"),
        (Cluster::default(), json!({}), "500 while retrieving node \"n1\" named"),
    ];
    for (world, change, expected) in cases {
        let new = merged(&asked, json!({"spec": change}));
        let target = "certificates.k8s.io/podcertificaterequests n/";
        let write = Write { verb: Verb::Create, target, new, old: Value::Null };
        let found = said::<PodCertificateRequest>(&world, write);
        let (code, part) = expected.split_once(' ').unwrap_or(("", ""));
        assert!(found.starts_with(code) && found.contains(part), "{change}: {found}");
        assert_eq!(found.is_empty(), expected.is_empty(), "{change}: {found}");
    }
    let target = "certificates.k8s.io/podcertificaterequests/status n/r";
    let write = Write { verb: Verb::Update, target, new: asked.clone(), old: asked };
    assert!(said::<PodCertificateRequest>(&good(), write).ends_with("unexpected operation UPDATE"));
}

#[test]
fn a_mirror_uses_nothing_of_the_apis() {
    let world = Cluster::of(&[("nodes//n1", json!({"metadata": {"name": "n1", "uid": "u"}}))]);
    let owner = json!([{"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": "u", "controller": true}]);
    let annotations = json!({"kubernetes.io/config.mirror": "x"});
    let base = json!({"metadata": {"name": "p", "annotations": annotations, "ownerReferences": owner},
        "spec": {"nodeName": "n1", "containers": []}});
    let volume = |source: Value| json!({"volumes": [merged(&json!({"name": "v"}), source)]});
    let projected = |source: Value| volume(json!({"projected": {"sources": [source]}}));
    for (spec, expected) in [
        (json!({}), ""),
        (volume(json!({"hostPath": {"path": "/"}})), ""),
        (projected(json!({"downwardAPI": {}})), ""),
        (json!({"serviceAccountName": "a"}), "serviceaccounts"),
        (volume(json!({"secret": {"secretName": "s"}})), "secrets"),
        (volume(json!({"configMap": {"name": "c"}})), "configmaps"),
        (json!({"resourceClaims": [{"name": "c", "resourceClaimName": "c"}]}), "resourceclaims"),
        (volume(json!({"persistentVolumeClaim": {"claimName": "c"}})), "persistentvolumeclaims"),
        (volume(json!({"csi": {"driver": "d"}})), "csidrivers (via CSI volumes)"),
        (volume(json!({"glusterfs": {"endpoints": "e", "path": "p"}})), "endpoints (via glusterFS volumes)"),
        (projected(json!({"serviceAccountToken": {"path": "t"}})), "serviceaccounts (via projected volumes)"),
        (projected(json!({"clusterTrustBundle": {"path": "t"}})), "clustertrustbundles"),
        (projected(json!({"podCertificate": {"signerName": "a.b/c", "keyType": "ED25519"}})), "podcertificates"),
    ] {
        let new = merged(&base, json!({"spec": spec}));
        let write = Write { verb: Verb::Create, target: "/pods n/", new, old: Value::Null };
        let words = format!("403 pods \"p\" is forbidden: node \"n1\" can not create pods that reference {expected}");
        let expected = if expected.is_empty() { String::new() } else { words };
        assert_eq!(said::<Pod>(&world, write), expected, "{spec}");
    }
}

#[test]
fn a_node_says_of_itself_what_it_may() {
    let base = json!({"metadata": {"name": "n1"}});
    let source = |name: &str| json!({"spec": {"configSource": {"configMap": {"name": name, "namespace": "n", "kubeletConfigKey": "k"}}}});
    let (with, other) = (merged(&base, source("a")), merged(&base, source("b")));
    let role = merged(&base, json!({"metadata": {"labels": {"node-role.kubernetes.io/x": ""}}}));
    for (new, old, expected) in [
        (&base, &Value::Null, ""),
        (&with, &Value::Null, "node \"n1\" is not allowed to create pods with a non-nil configSource"),
        (&with, &with, ""),
        (&base, &with, ""),
        (&other, &with, "node \"n1\" is not allowed to update configSource to a new non-nil configSource"),
        (&role, &Value::Null, "node \"n1\" is not allowed to set the following labels: node-role.kubernetes.io/x"),
        (&role, &base, "is not allowed to modify labels: node-role.kubernetes.io/x"),
    ] {
        let (verb, target) = if old.is_null() { (Verb::Create, "/nodes ") } else { (Verb::Update, "/nodes n1") };
        let found = said::<Node>(&Cluster::default(), Write { verb, target, new: new.clone(), old: old.clone() });
        let words = format!("403 nodes \"n1\" is forbidden: {expected}");
        assert_eq!(found, if expected.is_empty() { String::new() } else { words }, "{new} {old}");
    }
    let write = Write { verb: Verb::Create, target: "/nodes ", new: base, old: Value::Null };
    let nameless = ask_as::<Node>(&kubelet(NODE_PREFIX), admit, &Cluster::default(), write).unwrap_err();
    assert!(nameless.message().ends_with("could not determine node from user \"system:node:\""), "{nameless}");
}
