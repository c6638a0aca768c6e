//! Volumes: hostPath, emptyDir, and what a pod is told of itself.

use corten_e2e::Cluster;
use corten_e2e::manifest::{container, pod};
use serde_json::{Value, json};

fn with_mounts(command: &str, mounts: &Value) -> Value {
    let mut main = container(command);
    main["volumeMounts"] = mounts.clone();
    main
}

#[test]
fn a_host_path_is_the_nodes_own_directory() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("hostpath");
    let node = cluster.workers().remove(0).name;
    let dir = format!("/var/lib/corten/{}", ns.name);
    let spec = |read_only: bool| {
        let mounts = json!([{"name": "data", "mountPath": "/data", "readOnly": read_only}]);
        json!({
            "nodeName": node, "containers": [with_mounts("exec sleep 3600", &mounts)],
            "volumes": [{"name": "data", "hostPath": {"path": dir, "type": "DirectoryOrCreate"}}],
        })
    };
    ns.apply(&pod("writer", &spec(false)));
    ns.pod_is_ready("writer");
    ns.sh("writer", "echo kept > /data/file").text();
    assert_eq!(cluster.node_sh(&node, &format!("cat {dir}/file")), "kept\n");
    ns.ok("delete pod writer");
    ns.apply(&pod("reader", &spec(true)));
    ns.pod_is_ready("reader");
    assert_eq!(ns.sh("reader", "cat /data/file").text(), "kept\n", "it outlives the pod that wrote it");
    assert!(ns.sh("reader", "touch /data/other").refusal().contains("Read-only file system"));
    cluster.node_sh(&node, &format!("rm -r {dir}"));
}

#[test]
fn a_host_path_of_another_type_is_said_and_the_pod_waits() {
    let ns = Cluster::running().namespace("hosttype");
    let mounts = json!([{"name": "data", "mountPath": "/data"}]);
    let volume = json!([{"name": "data", "hostPath": {"path": "/no/such/place", "type": "Directory"}}]);
    ns.apply(&pod("waits", &json!({"volumes": volume, "containers": [with_mounts("exec sleep 3600", &mounts)]})));
    let told = ns.shows("describe pod waits", "FailedMount");
    assert!(told.contains("hostPath type check failed: /no/such/place is not a directory"), "{told}");
    assert_eq!(ns.field("pod waits", "/status/containerStatuses/0/state/waiting/reason"), "ContainerCreating");
}

#[test]
fn an_empty_dir_outlives_a_container_and_not_its_pod() {
    let ns = Cluster::running().namespace("emptydir");
    let mounts = json!([{"name": "disk", "mountPath": "/disk"}, {"name": "memory", "mountPath": "/memory"}]);
    let spec = json!({
        "volumes": [{"name": "disk", "emptyDir": {}}, {"name": "memory", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}],
        "containers": [with_mounts("echo start >> /disk/starts; sleep 3600 & wait", &mounts)],
    });
    ns.apply(&pod("box", &spec));
    ns.pod_is_ready("box");
    assert!(ns.sh("box", "grep ' /memory ' /proc/mounts").text().starts_with("tmpfs "));
    ns.sh("box", "kill $(pidof sleep)").text();
    ns.becomes("pod box", "/status/containerStatuses/0/restartCount", "1");
    ns.sh_until("box", "cat /disk/starts", |text| text == "start\nstart\n");
    ns.ok("delete pod box");
    ns.apply(&pod("box", &spec));
    ns.pod_is_ready("box");
    assert_eq!(ns.sh("box", "cat /disk/starts").text(), "start\n");
}

#[test]
fn a_pod_reads_its_own_labels_and_single_keys_as_files() {
    let ns = Cluster::running().namespace("downward");
    ns.ok("create configmap settings --from-literal=a=1 --from-literal=b=2");
    let mounts = json!([
        {"name": "me", "mountPath": "/me"},
        {"name": "settings", "mountPath": "/etc/one", "subPath": "renamed"},
    ]);
    ns.apply(&pod(
        "box",
        &json!({
            "volumes": [
                {"name": "me", "downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
                {"name": "settings", "configMap": {"name": "settings", "items": [{"key": "b", "path": "renamed"}]}},
            ],
            "containers": [with_mounts("exec sleep 3600", &mounts)],
        }),
    ));
    ns.pod_is_ready("box");
    assert_eq!(ns.sh("box", "cat /me/labels").text().trim(), r#"app="box""#);
    assert_eq!(ns.sh("box", "cat /etc/one").text(), "2");
    ns.ok("label pod box tier=web");
    ns.sh_until("box", "cat /me/labels", |labels| labels.contains(r#"tier="web""#));
}

/// A local volume of the node, and a claim that it satisfies and no other does.
fn local_claim(class: &str, node: &str, path: &str) -> (Value, Value) {
    let here = json!([{"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}]);
    let volume = json!({
        "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": class},
        "spec": {
            "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": class,
            "persistentVolumeReclaimPolicy": "Retain", "local": {"path": path},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": here}]}},
        },
    });
    let claim = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": class, "resources": {"requests": {"storage": "1Gi"}}},
    });
    (volume, claim)
}

#[test]
fn what_a_pod_writes_to_its_claim_another_finds_and_its_group_may_write() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("claim");
    let node = cluster.workers().remove(0).name;
    let dir = format!("/var/lib/corten/{}", ns.name);
    cluster.node_sh(&node, &format!("mkdir -p {dir}/old && touch {dir}/old/file && chmod 700 {dir}/old"));
    let (volume, claim) = local_claim(&ns.name, &node, &dir);
    let mounts = json!([{"name": "data", "mountPath": "/data"}]);
    let spec = |read_only: bool| {
        json!({
            "nodeName": node,
            "securityContext": {"runAsUser": 1000, "runAsGroup": 1000, "fsGroup": 2000},
            "containers": [with_mounts("exec sleep 3600", &mounts)],
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data", "readOnly": read_only}}],
        })
    };
    // The pod comes before its claim, and waits for it.
    ns.apply(&pod("writer", &spec(false)));
    let told = ns.shows("describe pod writer", "FailedMount");
    assert!(told.contains("persistentvolumeclaim \"data\" not found"), "{told}");
    ns.apply(&volume.to_string());
    ns.apply(&claim.to_string());
    ns.pod_is_ready("writer");
    ns.sh("writer", "echo kept > /data/old/new").text();
    ns.ok("delete pod writer");
    ns.apply(&pod("reader", &spec(true)));
    ns.pod_is_ready("reader");
    assert_eq!(ns.sh("reader", "cat /data/old/new").text(), "kept\n");
    assert!(ns.sh("reader", "touch /data/old/other").refusal().contains("Read-only file system"));
    ns.ok("delete pod reader");
    ns.ok("delete pvc data");
    ns.ok(&format!("delete pv {}", ns.name));
    cluster.node_sh(&node, &format!("rm -r {dir}"));
}

#[test]
fn a_volume_of_another_node_is_not_mounted_here() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("elsewhere");
    let workers = cluster.workers();
    let (here, there) = (&workers[0].name, &workers[1].name);
    let (volume, claim) = local_claim(&ns.name, there, "/var/lib/corten");
    ns.apply(&volume.to_string());
    ns.apply(&claim.to_string());
    let mounts = json!([{"name": "data", "mountPath": "/data"}]);
    let volumes = json!([{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]);
    let spec = json!({"nodeName": here, "volumes": volumes, "containers": [with_mounts("exec sleep 3600", &mounts)]});
    ns.apply(&pod("waits", &spec));
    let told = ns.shows("describe pod waits", "NodeAffinity check failed");
    assert!(told.contains("no matching NodeSelectorTerms"), "{told}");
    ns.ok("delete pod waits");
    ns.ok("delete pvc data");
    ns.ok(&format!("delete pv {}", ns.name));
}
