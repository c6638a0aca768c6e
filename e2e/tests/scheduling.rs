//! Where pods go, and what is said of those that go nowhere.

use corten_e2e::manifest::{container, pod};
use corten_e2e::{Cluster, SOON, eventually};
use serde_json::{Value, json};

const HOSTNAME: &str = "kubernetes.io/hostname";

/// A pod of this app that sleeps, with more in its spec.
fn sleeper(name: &str, app: &str, more: &Value) -> String {
    let mut spec = json!({"containers": [container("exec sleep 3600")]});
    for (key, value) in more.as_object().into_iter().flatten() {
        spec[key] = value.clone();
    }
    let mut pod: Value = serde_json::from_str(&pod(name, &spec)).unwrap_or_default();
    pod["metadata"]["labels"] = json!({"app": app});
    pod.to_string()
}

/// Near pods of the app, or apart from them, on the same node.
fn affinity(kind: &str, app: &str) -> Value {
    let term = json!({"topologyKey": HOSTNAME, "labelSelector": {"matchLabels": {"app": app}}});
    json!({"affinity": {kind: {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}})
}

#[test]
fn a_pod_that_fits_nowhere_is_told_of_every_node_why() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("nofit");
    let workers = cluster.workers().len();
    let mut main = container("exec sleep 3600");
    main["resources"] = json!({"requests": {"cpu": "1k", "memory": "1Pi"}});
    ns.apply(&pod("giant", &json!({"containers": [main]})));
    let nodes = cluster.nodes().len();
    let told = ns.shows("describe pod giant", "FailedScheduling");
    for reason in [
        format!("0/{nodes} nodes are available: "),
        format!("{} node(s) had untolerated taint", nodes - workers),
        format!("{workers} Insufficient cpu"),
        format!("{workers} Insufficient memory"),
    ] {
        assert!(told.contains(&reason), "{reason:?} is not in {told}");
    }
    assert_eq!(ns.field("pod giant", "/status/phase"), "Pending");
    assert_eq!(ns.field("pod giant", "/status/conditions/0/reason"), "Unschedulable");
}

#[test]
fn a_host_port_is_given_once_on_each_node() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("hostport");
    let nodes = cluster.workers();
    let with_port = || {
        let mut main = container("mkdir /www; hostname > /www/index.html; exec httpd -f -p 80 -h /www");
        main["ports"] = json!([{"containerPort": 80, "hostPort": 31500}]);
        json!({"containers": [main]})
    };
    for (n, _) in nodes.iter().enumerate() {
        ns.apply(&pod(&format!("web-{n}"), &with_port()));
        ns.pod_is_ready(&format!("web-{n}"));
    }
    ns.apply(&pod("late", &with_port()));
    let told = ns.shows("describe pod late", "FailedScheduling");
    let reason = format!("{} node(s) didn't have free ports for the requested pod ports", nodes.len());
    assert!(told.contains(&reason), "{told}");
    // Each node's address leads to its own pod, and a port that is given back is taken.
    for node in &nodes {
        let page = eventually(&format!("the host port of {}", node.name), SOON, || {
            corten_e2e::http_get(&format!("{}:31500", node.ip), "/")
        });
        assert_eq!(ns.field(&format!("pod {}", page.trim()), "/spec/nodeName"), node.name);
    }
    ns.ok("delete pod web-0");
    ns.pod_is_ready("late");
}

#[test]
fn a_pod_goes_to_the_node_that_it_names_or_that_its_affinity_wants() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("affinity");
    for node in cluster.nodes() {
        let wants =
            json!([{"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [node.name]}]}]);
        let affinity = json!({"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": wants}});
        let name = format!("on-{}", node.name);
        let spec = json!({
            "affinity": {"nodeAffinity": affinity},
            "tolerations": [{"key": "node-role.kubernetes.io/control-plane", "operator": "Exists"}],
            "containers": [container("exec sleep 3600")],
        });
        ns.apply(&pod(&name, &spec));
        ns.pod_is_ready(&name);
        assert_eq!(ns.field(&format!("pod {name}"), "/spec/nodeName"), node.name);
    }
}

#[test]
fn the_pods_of_a_deployment_spread_over_the_nodes() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("spread");
    let workers = cluster.workers();
    ns.apply(&corten_e2e::manifest::deployment("web", 2 * u32::try_from(workers.len()).unwrap_or(1)).to_string());
    ns.ok("rollout status deployment/web --timeout=60s");
    let pods = ns.list("pods -l app=web");
    for node in workers {
        let here = pods.iter().filter(|pod| pod["spec"]["nodeName"] == node.name.as_str()).count();
        assert!(here >= 1, "none on {}", node.name);
    }
}

#[test]
fn a_pending_pod_is_told_why_preemption_would_not_help() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("nopreempt");
    let nodes = cluster.nodes().len();
    ns.apply(&sleeper("lost", "lost", &json!({"nodeSelector": {"disk": "none"}})));
    let told = ns.shows("describe pod lost", "FailedScheduling");
    for reason in [
        format!("0/{nodes} nodes are available: "),
        "node(s) didn't match Pod's node affinity/selector".to_owned(),
        format!("preemption: 0/{nodes} nodes are available: {nodes} Preemption is not helpful for scheduling."),
    ] {
        assert!(told.contains(&reason), "{reason:?} is not in {told}");
    }
}

#[test]
fn a_more_urgent_pod_takes_the_room_of_another() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("preempt");
    let class = format!("urgent-{}", std::process::id());
    let urgent = json!({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": class},
        "value": 1000, "description": "for a story"});
    ns.apply(&urgent.to_string());
    let mut polite = urgent;
    polite["metadata"]["name"] = json!(format!("{class}-polite"));
    polite["preemptionPolicy"] = json!("Never");
    ns.apply(&polite.to_string());
    let node = cluster.workers().remove(0).name;
    let cpus: f64 = {
        let text = ns.field(&format!("node {node}"), "/status/allocatable/cpu");
        let millis = text.strip_suffix('m').map(|millis| millis.parse::<f64>().unwrap_or(0.0) / 1000.0);
        millis.unwrap_or_else(|| text.parse().unwrap_or(0.0))
    };
    // Two of these are more than the node has.
    let cpu = format!("{}m", (cpus * 600.0) as u64);
    let large = |more: Value| {
        let mut main = container("exec sleep 3600");
        main["resources"] = json!({"requests": {"cpu": cpu}});
        let mut spec = json!({"containers": [main], "nodeSelector": {HOSTNAME: node}});
        for (key, value) in more.as_object().into_iter().flatten() {
            spec[key] = value.clone();
        }
        spec
    };
    ns.apply(&sleeper("low", "low", &large(json!({}))));
    ns.pod_is_ready("low");
    ns.apply(&sleeper("equal", "equal", &large(json!({}))));
    let told = ns.shows("describe pod equal", "FailedScheduling");
    assert!(told.contains("1 Insufficient cpu"), "{told}");
    ns.apply(&sleeper("never", "never", &large(json!({"priorityClassName": format!("{class}-polite")}))));
    let told = ns.shows("describe pod never", "FailedScheduling");
    assert!(told.contains("preemption: not eligible due to preemptionPolicy=Never."), "{told}");
    ns.ok("delete pod never equal");
    ns.apply(&sleeper("high", "high", &large(json!({"priorityClassName": class}))));
    ns.pod_is_ready("high");
    assert_eq!(ns.field("pod high", "/spec/nodeName"), node);
    eventually("the victim to be gone", SOON, || match ns.json("pod low") {
        None => Ok(()),
        Some(pod) => Err(pod["status"].to_string()),
    });
    ns.shows("get events --field-selector=involvedObject.name=low", "Preempted by pod");
    ns.ok("delete pod high");
    ns.ok(&format!("delete priorityclass {class} {class}-polite"));
}

#[test]
fn pods_that_want_to_be_apart_are_and_the_last_one_waits_for_room() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("apart");
    let nodes = cluster.workers();
    let apart = affinity("podAntiAffinity", "alone");
    let mut taken: Vec<String> = Vec::new();
    for n in 0..nodes.len() {
        let name = format!("alone-{n}");
        ns.apply(&sleeper(&name, "alone", &apart));
        ns.pod_is_ready(&name);
        taken.push(ns.field(&format!("pod {name}"), "/spec/nodeName"));
    }
    taken.sort();
    taken.dedup();
    assert_eq!(taken.len(), nodes.len(), "{taken:?}");
    ns.apply(&sleeper("late", "alone", &apart));
    let told = ns.shows("describe pod late", "FailedScheduling");
    let reason = format!("{} node(s) didn't match pod anti-affinity rules", nodes.len());
    assert!(told.contains(&reason), "{told}");
    // One without any wish is kept away by theirs.
    ns.apply(&sleeper("stranger", "alone", &json!({})));
    let told = ns.shows("describe pod stranger", "FailedScheduling");
    assert!(told.contains("node(s) didn't satisfy existing pods anti-affinity rules"), "{told}");
    ns.ok("delete pod stranger");
    ns.ok("delete pod alone-0");
    ns.pod_is_ready("late");
}

#[test]
fn a_pod_waits_for_another_that_it_wants_to_be_near() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("near");
    ns.apply(&sleeper("web", "web", &affinity("podAffinity", "db")));
    let told = ns.shows("describe pod web", "FailedScheduling");
    assert!(told.contains("node(s) didn't match pod affinity rules"), "{told}");
    let node = cluster.workers().pop().map(|node| node.name).unwrap_or_default();
    ns.apply(&sleeper("db", "db", &json!({"nodeSelector": {HOSTNAME: node}})));
    ns.pod_is_ready("web");
    assert_eq!(ns.field("pod web", "/spec/nodeName"), node);
}

#[test]
fn a_hard_spread_is_kept() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("hardspread");
    let nodes = cluster.workers();
    let constraint = json!({"maxSkew": 1, "topologyKey": HOSTNAME, "whenUnsatisfiable": "DoNotSchedule",
        "nodeTaintsPolicy": "Honor", "labelSelector": {"matchLabels": {"app": "spread"}}});
    let spread = json!({"topologySpreadConstraints": [constraint]});
    for n in 0..2 * nodes.len() {
        ns.apply(&sleeper(&format!("spread-{n}"), "spread", &spread));
        ns.pod_is_ready(&format!("spread-{n}"));
    }
    let pods = ns.list("pods -l app=spread");
    for node in &nodes {
        let here = pods.iter().filter(|pod| pod["spec"]["nodeName"] == node.name.as_str()).count();
        assert_eq!(here, 2, "on {}", node.name);
    }
    // One more on a node that has two would be a skew of 2 as soon as another has one.
    ns.ok("delete pod spread-0");
    let full = nodes.iter().find(|node| {
        let here = ns.list("pods -l app=spread");
        here.iter().filter(|pod| pod["spec"]["nodeName"] == node.name.as_str()).count() == 2
    });
    let Some(full) = full else { return };
    let mut pinned = spread.clone();
    pinned["topologySpreadConstraints"][0]["nodeAffinityPolicy"] = json!("Ignore");
    pinned["nodeSelector"] = json!({HOSTNAME: full.name});
    ns.apply(&sleeper("pinned", "spread", &pinned));
    let told = ns.shows("describe pod pinned", "FailedScheduling");
    assert!(told.contains("node(s) didn't match pod topology spread constraints"), "{told}");
}

#[test]
fn a_gated_pod_is_not_scheduled_before_its_gates_are_gone() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("gates");
    ns.apply(&sleeper("gated", "gated", &json!({"schedulingGates": [{"name": "story/wait"}]})));
    ns.becomes("pod gated", "/status/conditions/0/reason", "SchedulingGated");
    assert_eq!(ns.json("pod gated").unwrap_or_default()["spec"]["nodeName"], Value::Null);
    ns.ok(r#"patch pod gated --type=json -p [{"op":"remove","path":"/spec/schedulingGates"}]"#);
    ns.pod_is_ready("gated");
}
