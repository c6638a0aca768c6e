//! Claims of the cluster's own StorageClass: a directory of the node of their first consumer, and gone with them.

use corten_e2e::manifest::{container, pod};
use corten_e2e::{Cluster, SOON, eventually};
use serde_json::{Value, json};

fn claim() -> Value {
    let spec = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}});
    json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"}, "spec": spec})
}

/// Mounts the claim, goes where it must (`node`: and nowhere else), and may run as anybody.
fn consumer(name: &str, node: Option<&str>) -> String {
    let mut main = container("exec sleep 3600");
    main["volumeMounts"] = json!([{"name": "data", "mountPath": "/data"}]);
    let mut spec = json!({
        "containers": [main], "securityContext": {"runAsUser": 1000},
        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}],
    });
    if let Some(node) = node {
        spec["nodeSelector"] = json!({"kubernetes.io/hostname": node});
    }
    pod(name, &spec)
}

#[test]
fn a_claim_of_the_default_class_is_bound_by_its_first_consumer_and_keeps_its_data() {
    let cluster = Cluster::running();
    let (ns, kubectl) = (cluster.namespace("directory"), cluster.kubectl());
    ns.apply(&claim().to_string());
    ns.shows("describe pvc data", "waiting for first consumer to be created before binding");
    assert_eq!(ns.field("pvc data", "/spec/storageClassName"), "local-directory");

    let node = cluster.workers().pop().unwrap().name;
    ns.apply(&consumer("first", Some(&node)));
    ns.pod_is_ready("first");
    ns.becomes("pvc data", "/status/phase", "Bound");
    ns.shows("describe pvc data", "ProvisioningSucceeded");
    let volume = ns.field("pvc data", "/spec/volumeName");
    let path = kubectl.field(&format!("pv {volume}"), "/spec/local/path");
    ns.sh("first", "echo kept > /data/file").text();
    assert_eq!(cluster.node_sh(&node, &format!("cat {path}/file")), "kept\n");
    ns.ok("delete pod first");

    ns.apply(&consumer("second", None));
    ns.pod_is_ready("second");
    assert_eq!(ns.field("pod second", "/spec/nodeName"), node, "it goes where the volume is");
    assert_eq!(ns.sh("second", "cat /data/file").text(), "kept\n");

    // The claim waits for its pod, the volume for its claim, and the volume's object for the directory.
    ns.ok("delete pvc data --wait=false");
    ns.becomes(&format!("pv {volume}"), "/status/phase", "Bound");
    assert_eq!(ns.sh("second", "cat /data/file").text(), "kept\n");
    ns.ok("delete pod second");
    ns.ok("wait --for=delete pvc/data --timeout=60s");
    eventually("volume and directory are gone", SOON, || match kubectl.json(&format!("pv {volume}")) {
        Some(volume) => Err(volume["status"].to_string() + &volume["metadata"]["finalizers"].to_string()),
        None => Ok(()),
    });
    assert!(!cluster.try_node_sh(&node, &format!("test -e {path}")).ok, "{path} is still there");
}
