//! Persistent volumes and claims: what binds them, and what becomes of a volume when its claim goes.

use corten_e2e::{Cluster, Kubectl, SOON, eventually};
use serde_json::{Value, json};

/// A volume of the cluster, deleted with the story.
struct Volume<'a> {
    kubectl: &'a Kubectl,
    name: String,
}

impl Drop for Volume<'_> {
    fn drop(&mut self) {
        self.kubectl.attempt(&format!("delete pv {} --wait=false", self.name));
    }
}

impl<'a> Volume<'a> {
    fn new(kubectl: &'a Kubectl, class: &str, size: &str) -> Self {
        let name = format!("{class}-{}", size.to_lowercase());
        let spec = json!({
            "capacity": {"storage": size}, "accessModes": ["ReadWriteOnce"], "storageClassName": class,
            "persistentVolumeReclaimPolicy": "Retain", "hostPath": {"path": "/tmp/story"},
        });
        let volume = json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": spec});
        kubectl.apply(&volume.to_string());
        Self { kubectl, name }
    }

    /// Waits until it is in this phase.
    fn becomes(&self, phase: &str) {
        self.kubectl.becomes(&format!("pv {}", self.name), "/status/phase", phase);
    }
}

fn claim(class: &str, size: &str) -> Value {
    let spec = json!({
        "accessModes": ["ReadWriteOnce"], "storageClassName": class, "resources": {"requests": {"storage": size}},
    });
    json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"}, "spec": spec})
}

#[test]
fn a_claim_gets_the_smallest_volume_that_does_and_lets_go_of_it() {
    let cluster = Cluster::running();
    let (ns, kubectl) = (cluster.namespace("claim"), cluster.kubectl());
    // A class of the story's own, by which no other story's claims take its volumes.
    let volumes = ["1Gi", "20Gi", "5Gi"].map(|size| Volume::new(&kubectl, &ns.name, size));
    let [small, large, right] = &volumes;
    for volume in &volumes {
        volume.becomes("Available");
    }
    ns.apply(&claim(&ns.name, "2Gi").to_string());
    ns.becomes("pvc data", "/status/phase", "Bound");
    assert_eq!(ns.field("pvc data", "/spec/volumeName"), right.name);
    assert_eq!(ns.field("pvc data", "/status/capacity/storage"), "5Gi");
    right.becomes("Bound");
    assert_eq!(kubectl.field(&format!("pv {}", right.name), "/spec/claimRef/name"), "data");
    ns.ok("delete pvc data --timeout=60s");
    right.becomes("Released");
    for volume in [small, large] {
        volume.becomes("Available");
    }
}

#[test]
fn a_claim_waits_for_its_volume_and_says_why() {
    let cluster = Cluster::running();
    let (ns, kubectl) = (cluster.namespace("waits"), cluster.kubectl());
    ns.apply(&claim("", "2Gi").to_string());
    eventually("a FailedBinding event", SOON, || {
        let events = ns.ok("get events -o jsonpath={.items[*].reason}");
        if events.contains("FailedBinding") { Ok(()) } else { Err(events) }
    });
    assert_eq!(ns.field("pvc data", "/status/phase"), "Pending");
    ns.ok("delete pvc data --timeout=60s");
    ns.apply(&claim(&ns.name, "2Gi").to_string());
    let volume = Volume::new(&kubectl, &ns.name, "2Gi");
    ns.becomes("pvc data", "/status/phase", "Bound");
    volume.becomes("Bound");
    let protected = kubectl.ok(&format!("get pv {} -o jsonpath={{.metadata.finalizers}}", volume.name));
    assert!(protected.contains("kubernetes.io/pv-protection"), "{protected}");
}
