//! Real faults: daemons killed, nodes crashed. These stories disturb each other and everything else: they run alone.

use std::time::Duration;

use corten_e2e::{Cluster, Namespace, SOON, eventually};
use serde_json::json;

/// A node is declared dead after 40 s without a sign of life.
const NODE_DEATH: Duration = Duration::from_secs(90);

fn pod_on(ns: &Namespace, name: &str, node: &str) {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"nodeName": node, "terminationGracePeriodSeconds": 1, "containers": [{
            "name": "main", "image": "busybox:latest", "imagePullPolicy": "IfNotPresent",
            "command": ["sh", "-c", "exec sleep 3600"]}]},
    });
    ns.apply(&pod.to_string());
    ns.pod_is_ready(name);
}

fn ready(cluster: &Cluster, node: &str) -> String {
    let node = cluster.kubectl().json(&["node", node]).unwrap_or_default();
    let conditions = node["status"]["conditions"].as_array().cloned().unwrap_or_default();
    conditions.iter().find(|c| c["type"] == "Ready").map_or_else(String::new, |c| c["status"].to_string())
}

#[test]
fn killing_a_kubelet_leaves_its_containers_running() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("kubelet");
    let node = cluster.workers().remove(0).name;
    pod_on(&ns, "survivor", &node);
    let started = ns.field(&["pod", "survivor"], "/status/containerStatuses/0/containerID");
    cluster.lab(&["kill", &node, "kubelet"]);
    cluster.lab(&["start", &node, "kubelet"]);
    pod_on(&ns, "after", &node);
    assert_eq!(ns.field(&["pod", "survivor"], "/status/containerStatuses/0/containerID"), started);
    assert_eq!(ns.field(&["pod", "survivor"], "/status/containerStatuses/0/restartCount"), "0");
    assert_eq!(ns.sh("survivor", "echo alive").text(), "alive\n");
}

#[test]
fn killing_containerd_leaves_containers_running() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("containerd");
    let node = cluster.workers().remove(0).name;
    pod_on(&ns, "survivor", &node);
    cluster.lab(&["kill", &node, "containerd"]);
    cluster.lab(&["start", &node, "containerd"]);
    pod_on(&ns, "after", &node);
    assert_eq!(ns.field(&["pod", "survivor"], "/status/containerStatuses/0/restartCount"), "0");
    ns.sh_until("survivor", "echo alive", |text| text == "alive\n");
}

#[test]
fn a_restarted_control_plane_goes_on_where_it_was() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("control");
    ns.run(&["create", "deployment", "web", "--image=nginx:latest", "--replicas=2"]).text();
    ns.run(&["rollout", "status", "deployment/web", "--timeout=60s"]).text();
    for daemon in ["apiserver", "scheduler", "controllers"] {
        cluster.lab(&["kill", "master1", daemon]);
        cluster.lab(&["start", "master1", daemon]);
    }
    eventually("the apiserver", SOON, || {
        let version = cluster.kubectl().run(&["get", "--raw", "/readyz"]);
        if version.ok { Ok(()) } else { Err(version.stderr) }
    });
    ns.run(&["scale", "deployment", "web", "--replicas=4"]).text();
    ns.wait_field(&["deployment", "web"], "/status/readyReplicas", "4", SOON);
}

#[test]
fn a_crashed_node_is_not_ready_its_pods_move_and_it_comes_back() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("crash");
    let node = cluster.workers().remove(1).name;
    ns.apply(
        &json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
            "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {
                    "tolerations": [
                        {"key": "node.kubernetes.io/unreachable", "effect": "NoExecute", "operator": "Exists", "tolerationSeconds": 1},
                        {"key": "node.kubernetes.io/not-ready", "effect": "NoExecute", "operator": "Exists", "tolerationSeconds": 1},
                    ],
                    "containers": [{"name": "main", "image": "busybox:latest", "imagePullPolicy": "IfNotPresent",
                        "command": ["sh", "-c", "exec sleep 3600"]}],
                },
            }},
        })
        .to_string(),
    );
    ns.run(&["rollout", "status", "deployment/web", "--timeout=60s"]).text();
    cluster.lab(&["stop-node", &node]);
    eventually(&format!("{node} to be NotReady"), NODE_DEATH, || match ready(&cluster, &node).as_str() {
        "\"Unknown\"" => Ok(()),
        other => Err(other.to_owned()),
    });
    eventually("both replicas on living nodes", NODE_DEATH, || {
        let pods = ns.json(&["pods", "-l", "app=web"]).unwrap_or_default();
        let alive = pods["items"].as_array().into_iter().flatten().filter(|pod| {
            pod["spec"]["nodeName"] != node.as_str()
                && pod["status"]["containerStatuses"][0]["ready"] == true
                && pod["metadata"]["deletionTimestamp"].is_null()
        });
        match alive.count() {
            2 => Ok(()),
            n => Err(format!("{n} alive")),
        }
    });
    cluster.lab(&["start-node", &node]);
    eventually(&format!("{node} to be Ready again"), SOON, || match ready(&cluster, &node).as_str() {
        "\"True\"" => Ok(()),
        other => Err(other.to_owned()),
    });
    pod_on(&ns, "after", &node);
}
