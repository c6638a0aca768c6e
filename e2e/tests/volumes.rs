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
