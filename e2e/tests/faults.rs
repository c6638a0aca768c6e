//! Real faults: daemons killed, nodes crashed. These stories disturb each other and everything else: they run alone.

use std::time::Duration;

use corten_e2e::manifest::{container, deployment, pod};
use corten_e2e::{Cluster, Dead, Namespace, SOON, condition, eventually};
use serde_json::json;

/// A node is declared dead after 50 s without a sign of life.
const NODE_DEATH: Duration = Duration::from_secs(90);

fn pod_on(ns: &Namespace, name: &str, node: &str) {
    ns.apply(&pod(name, &json!({"nodeName": node, "containers": [container("exec sleep 3600")]})));
    ns.pod_is_ready(name);
}

/// Waits until a node's Ready condition has a status.
fn node_is_ready(cluster: &Cluster, node: &str, status: &str, within: Duration) {
    eventually(&format!("Ready={status} of {node}"), within, || {
        let node = cluster.kubectl().json(&format!("node {node}")).unwrap_or_default();
        let seen = condition(&node, "Ready");
        if seen == status { Ok(()) } else { Err(seen.to_owned()) }
    });
}

#[test]
fn killing_a_kubelet_leaves_its_containers_running() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("kubelet");
    let node = cluster.workers().remove(0).name;
    pod_on(&ns, "survivor", &node);
    let started = ns.field("pod survivor", "/status/containerStatuses/0/containerID");
    cluster.lab(&format!("kill {node} kubelet"));
    cluster.lab(&format!("start {node} kubelet"));
    pod_on(&ns, "after", &node);
    assert_eq!(ns.field("pod survivor", "/status/containerStatuses/0/containerID"), started);
    assert_eq!(ns.field("pod survivor", "/status/containerStatuses/0/restartCount"), "0");
    assert_eq!(ns.sh("survivor", "echo alive").text(), "alive\n");
}

#[test]
fn killing_containerd_leaves_containers_running() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("containerd");
    let node = cluster.workers().remove(0).name;
    pod_on(&ns, "survivor", &node);
    cluster.lab(&format!("kill {node} containerd"));
    cluster.lab(&format!("start {node} containerd"));
    pod_on(&ns, "after", &node);
    assert_eq!(ns.field("pod survivor", "/status/containerStatuses/0/restartCount"), "0");
    ns.sh_until("survivor", "echo alive", |text| text == "alive\n");
}

#[test]
fn a_restarted_control_plane_goes_on_where_it_was() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("control");
    ns.ok("create deployment web --image=nginx:latest --replicas=2");
    ns.ok("rollout status deployment/web --timeout=60s");
    for daemon in ["apiserver", "scheduler", "controllers"] {
        cluster.lab(&format!("kill master1 {daemon}"));
        cluster.lab(&format!("start master1 {daemon}"));
    }
    cluster.kubectl().shows("get --raw /readyz", "ok");
    ns.ok("scale deployment web --replicas=4");
    ns.becomes("deployment web", "/status/readyReplicas", "4");
}

#[test]
fn a_crashed_node_is_not_ready_its_pods_move_and_it_comes_back() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("crash");
    let node = cluster.workers().remove(1).name;
    pod_on(&ns, "patient", &node);
    let mut web = deployment("web", 2);
    let soon = |taint: &str| json!({"key": taint, "effect": "NoExecute", "operator": "Exists", "tolerationSeconds": 1});
    web["spec"]["template"]["spec"]["tolerations"] =
        json!([soon("node.kubernetes.io/unreachable"), soon("node.kubernetes.io/not-ready")]);
    ns.apply(&web.to_string());
    ns.ok("rollout status deployment/web --timeout=60s");
    cluster.lab(&format!("stop-node {node}"));
    node_is_ready(&cluster, &node, "Unknown", NODE_DEATH);
    let kubectl = cluster.kubectl();
    kubectl.shows(&format!("get node {node} -o jsonpath={{.spec.taints[*].key}}"), "node.kubernetes.io/unreachable");
    kubectl.shows(&format!("describe node {node}"), "NodeStatusUnknown");
    // Nothing tolerates for a shorter time than is asked: a pod without a word waits for 300 s.
    let patient = ns.json("pod patient").unwrap_or_default();
    assert_eq!(condition(&patient, "Ready"), "False", "{patient}");
    assert!(patient["metadata"]["deletionTimestamp"].is_null(), "{patient}");
    eventually("both replicas on living nodes", NODE_DEATH, || {
        let pods = ns.list("pods -l app=web");
        let alive = pods.iter().filter(|pod| {
            pod["spec"]["nodeName"] != node.as_str()
                && pod["status"]["containerStatuses"][0]["ready"] == true
                && pod["metadata"]["deletionTimestamp"].is_null()
        });
        match alive.count() {
            2 => Ok(()),
            n => Err(format!("{n} alive")),
        }
    });
    cluster.lab(&format!("start-node {node}"));
    node_is_ready(&cluster, &node, "True", SOON);
    pod_on(&ns, "after", &node);
}

/// Two pods of one Service, on two workers; the namespace they are in.
fn served_by_two(cluster: &Cluster, story: &str) -> Namespace {
    let ns = cluster.namespace(story);
    for (n, node) in cluster.workers().iter().take(2).enumerate() {
        let name = format!("web-{n}");
        pod_on(&ns, &name, &node.name);
        ns.ok(&format!("label --overwrite pod {name} app=web"));
    }
    ns.ok("create service clusterip web --tcp=80");
    eventually("both are endpoints", SOON, || match in_rotation(&ns) {
        2 => Ok(()),
        n => Err(format!("{n}")),
    });
    ns
}

fn in_rotation(ns: &Namespace) -> usize {
    ns.ready_endpoints("web")
}

#[test]
fn a_dead_nodes_endpoints_leave_within_10_s() {
    let cluster = Cluster::running();
    let ns = served_by_two(&cluster, "dead");
    let node = cluster.workers().remove(1).name;
    let dead = Dead::from_now(&cluster, &node);
    eventually("one endpoint is left", Duration::from_secs(10), || match in_rotation(&ns) {
        1 => Ok(()),
        n => Err(format!("{n}")),
    });
    cluster.kubectl().shows(&format!("describe node {node}"), "NodeStatusUnknown");
    drop(dead);
    node_is_ready(&cluster, &node, "True", SOON);
    eventually("both are endpoints again", NODE_DEATH, || match in_rotation(&ns) {
        2 => Ok(()),
        n => Err(format!("{n}")),
    });
}

#[test]
fn a_kubelet_that_restarts_keeps_its_endpoints() {
    /// Longer than a dead node's endpoints stay, shorter than a lease may be old.
    const AWAY: Duration = Duration::from_secs(20);
    let cluster = Cluster::running();
    let ns = served_by_two(&cluster, "restarts");
    let node = cluster.workers().remove(1).name;
    let killed = std::time::Instant::now();
    cluster.lab(&format!("kill {node} kubelet"));
    eventually("the kubelet was away for a while", AWAY * 2, || {
        assert_eq!(in_rotation(&ns), 2, "after {:?}", killed.elapsed());
        if killed.elapsed() > AWAY { Ok(()) } else { Err("not yet".into()) }
    });
    cluster.lab(&format!("start {node} kubelet"));
    pod_on(&ns, "after", &node);
    assert_eq!(in_rotation(&ns), 2);
}

/// Takes back what a story did to a node, also when it fails.
struct Uncordon<'a>(&'a Cluster, &'a str);

impl Drop for Uncordon<'_> {
    fn drop(&mut self) {
        self.0.kubectl().attempt(&format!("uncordon {}", self.1));
        self.0.kubectl().attempt(&format!("taint node {} story-", self.1));
    }
}

#[test]
fn a_cordoned_node_gets_no_pods_and_a_drained_one_loses_them() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("drain");
    let kubectl = cluster.kubectl();
    let workers = cluster.workers();
    let (node, other) = (&workers[0].name, &workers[1].name);
    let _undo = Uncordon(&cluster, node);
    kubectl.ok(&format!("cordon {node}"));
    kubectl.shows(&format!("get node {node}"), "Ready,SchedulingDisabled");
    ns.apply(&deployment("web", 4).to_string());
    ns.ok("rollout status deployment/web --timeout=60s");
    let on = |node: &str| ns.list(&format!("pods -l app=web --field-selector spec.nodeName={node}")).len();
    assert_eq!((on(node), on(other)), (0, 4));
    kubectl.ok(&format!("uncordon {node}"));
    let _undo_other = Uncordon(&cluster, other);
    // Evictions, as an administrator empties a node before work on it; the demo's pods go too.
    kubectl.ok(&format!("drain {other} --ignore-daemonsets --delete-emptydir-data --force --timeout=90s"));
    ns.ok("rollout status deployment/web --timeout=60s");
    assert_eq!((on(node), on(other)), (4, 0));
}

/// When a node was tainted, in Unix seconds.
fn tainted_at(cluster: &Cluster, node: &str) -> i64 {
    let node = cluster.kubectl().json(&format!("node {node}")).unwrap_or_default();
    let taint = node["spec"]["taints"].as_array().into_iter().flatten().find(|taint| taint["key"] == "story").cloned();
    unix(&taint.unwrap_or_default()["timeAdded"])
}

/// When a pod was evicted for a taint, as its event says.
fn evicted_at(ns: &Namespace, pod: &str) -> i64 {
    let of = format!("events --field-selector=involvedObject.name={pod},reason=TaintManagerEviction");
    eventually(&format!("{pod}'s eviction to be told"), SOON, || {
        let told = ns.json(&of).unwrap_or_default();
        told["items"].get(0).map(|event| unix(&event["firstTimestamp"])).ok_or_else(|| told.to_string())
    })
}

fn unix(time: &serde_json::Value) -> i64 {
    let parsed: Option<jiff::Timestamp> = time.as_str().and_then(|time| time.parse().ok());
    parsed.unwrap_or_else(|| panic!("no time: {time}")).as_second()
}

#[test]
fn a_no_execute_taint_evicts_those_who_do_not_tolerate_it() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("taint");
    let node = cluster.workers().remove(0).name;
    let _undo = Uncordon(&cluster, &node);
    let with = |tolerations: serde_json::Value| json!({"nodeName": node, "tolerations": tolerations, "containers": [container("exec sleep 3600")]});
    ns.apply(&pod("plain", &with(json!([]))));
    ns.apply(&pod("forever", &with(json!([{"key": "story", "operator": "Exists"}]))));
    let brief = json!([{"key": "story", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 8}]);
    ns.apply(&pod("brief", &with(brief)));
    for name in ["plain", "forever", "brief"] {
        ns.pod_is_ready(name);
    }
    cluster.kubectl().ok(&format!("taint node {node} story=now:NoExecute"));
    let gone = |name: &str| {
        eventually(&format!("{name} to be gone"), SOON, || match ns.json(&format!("pod {name}")) {
            None => Ok(()),
            Some(pod) => Err(pod["metadata"].to_string()),
        });
    };
    gone("plain");
    gone("brief");
    assert!(evicted_at(&ns, "brief") - tainted_at(&cluster, &node) >= 8, "it has 8 s");
    assert_eq!(condition(&ns.json("pod forever").unwrap_or_default(), "Ready"), "True");
}
