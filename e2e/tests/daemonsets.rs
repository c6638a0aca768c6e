//! DaemonSets: one pod on each node that fits.
#![allow(clippy::unwrap_used, reason = "a story that cannot go on fails")]

use corten_e2e::manifest::container;
use corten_e2e::{Cluster, Namespace, SOON, eventually};
use serde_json::{Value, json};

/// A DaemonSet `agent`, changed by `change`.
fn with_agent(story: &str, change: impl FnOnce(&mut Value)) -> Namespace {
    let ns = Cluster::running().namespace(story);
    let spec = json!({"terminationGracePeriodSeconds": 0, "containers": [container("exec sleep 3600")]});
    let mut set = json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "agent"},
        "spec": {
            "selector": {"matchLabels": {"app": "agent"}},
            "template": {"metadata": {"labels": {"app": "agent"}}, "spec": spec},
        },
    });
    change(&mut set);
    ns.apply(&set.to_string());
    ns
}

fn is_rolled_out(ns: &Namespace) {
    ns.ok("rollout status daemonset/agent --timeout=120s");
}

/// The nodes with a pod that stays, one for each pod.
fn nodes(ns: &Namespace) -> Vec<String> {
    let pods = ns.list("pods -l app=agent");
    let staying = pods.iter().filter(|pod| pod["metadata"]["deletionTimestamp"].is_null());
    let mut nodes: Vec<String> =
        staying.map(|pod| pod["spec"]["nodeName"].as_str().unwrap_or("?").to_owned()).collect();
    nodes.sort();
    nodes
}

fn become_nodes(ns: &Namespace, expected: &[String]) {
    eventually(&format!("a pod on each of {expected:?}"), SOON, || {
        let seen = nodes(ns);
        if seen == expected { Ok(()) } else { Err(format!("{seen:?}")) }
    });
}

fn workers() -> Vec<String> {
    let mut names: Vec<String> = Cluster::running().workers().into_iter().map(|node| node.name).collect();
    names.sort();
    names
}

/// Takes a node's label, or taint, away when a story ends, however it does.
struct Marked<'a>(&'a Cluster, String);

impl Drop for Marked<'_> {
    fn drop(&mut self) {
        self.0.kubectl().attempt(&self.1);
    }
}

#[test]
fn every_node_that_takes_pods_has_one() {
    let ns = with_agent("each", |_| {});
    is_rolled_out(&ns);
    become_nodes(&ns, &workers());
    let pod = &ns.list("pods -l app=agent")[0];
    let labels = &pod["metadata"]["labels"];
    assert_eq!(labels["pod-template-generation"], "1");
    let revision = &ns.list("controllerrevisions")[0];
    assert_eq!(labels["controller-revision-hash"], revision["metadata"]["labels"]["controller-revision-hash"]);
    let tolerations = pod["spec"]["tolerations"].as_array().unwrap();
    assert!(tolerations.iter().any(|t| t["key"] == "node.kubernetes.io/unschedulable"), "{tolerations:?}");
    let count = workers().len().to_string();
    for field in ["desiredNumberScheduled", "currentNumberScheduled", "numberReady", "numberAvailable"] {
        ns.becomes("daemonset agent", &format!("/status/{field}"), &count);
    }
    let victim = pod["metadata"]["name"].as_str().unwrap().to_owned();
    ns.ok(&format!("delete pod {victim}"));
    become_nodes(&ns, &workers());
    is_rolled_out(&ns);
}

#[test]
fn a_toleration_brings_it_to_the_masters_too() {
    let ns = with_agent("masters", |set| {
        let everywhere = json!([{"key": "node-role.kubernetes.io/control-plane", "operator": "Exists"}]);
        set["spec"]["template"]["spec"]["tolerations"] = everywhere;
    });
    let mut all: Vec<String> = Cluster::running().nodes().into_iter().map(|node| node.name).collect();
    all.sort();
    become_nodes(&ns, &all);
}

#[test]
fn a_node_that_gets_the_label_gets_a_pod_and_loses_it_with_the_label() {
    let cluster = Cluster::running();
    let ns = with_agent("labelled", |set| {
        set["spec"]["template"]["spec"]["nodeSelector"] = json!({"corten-e2e/daemons": "yes"});
    });
    ns.becomes("daemonset agent", "/status/observedGeneration", "1");
    assert_eq!(nodes(&ns), Vec::<String>::new());
    let node = workers()[0].clone();
    let _restored = Marked(&cluster, format!("label node {node} corten-e2e/daemons-"));
    cluster.kubectl().ok(&format!("label node {node} corten-e2e/daemons=yes"));
    become_nodes(&ns, std::slice::from_ref(&node));
    ns.becomes("daemonset agent", "/status/numberReady", "1");
    cluster.kubectl().ok(&format!("label node {node} corten-e2e/daemons-"));
    become_nodes(&ns, &[]);
    ns.becomes("daemonset agent", "/status/desiredNumberScheduled", "0");
}

#[test]
fn a_cordoned_node_keeps_its_daemon_and_gets_another() {
    let cluster = Cluster::running();
    let node = workers()[0].clone();
    let _restored = Marked(&cluster, format!("uncordon {node}"));
    cluster.kubectl().ok(&format!("cordon {node}"));
    let ns = with_agent("cordoned", |_| {});
    become_nodes(&ns, &workers());
    is_rolled_out(&ns);
}

#[test]
fn an_update_replaces_one_pod_after_the_other_and_undo_goes_back() {
    let ns = with_agent("updated", |_| {});
    is_rolled_out(&ns);
    ns.ok("set env daemonset/agent COLOUR=green");
    is_rolled_out(&ns);
    let colours = || -> Vec<String> {
        let pods = ns.list("pods -l app=agent");
        pods.iter()
            .map(|pod| pod["spec"]["containers"][0]["env"][0]["value"].as_str().unwrap_or("").to_owned())
            .collect()
    };
    eventually("only green pods", SOON, || {
        let seen = colours();
        if seen.len() == workers().len() && seen.iter().all(|colour| colour == "green") {
            Ok(())
        } else {
            Err(format!("{seen:?}"))
        }
    });
    assert_eq!(ns.list("pods -l app=agent")[0]["metadata"]["labels"]["pod-template-generation"], "2");
    let second = ns.ok("rollout history daemonset/agent --revision=2");
    assert!(second.contains("COLOUR:\tgreen"), "{second}");
    ns.ok("rollout undo daemonset/agent --to-revision=1");
    is_rolled_out(&ns);
    eventually("no green pods", SOON, || {
        let seen = colours();
        if seen.len() == workers().len() && seen.iter().all(String::is_empty) {
            Ok(())
        } else {
            Err(format!("{seen:?}"))
        }
    });
    let history = ns.ok("rollout history daemonset/agent");
    assert!(history.contains('3') && !history.contains("\n1 "), "revision 1 became 3: {history}");
}

#[test]
fn a_bad_image_takes_no_more_than_one_node_down() {
    let ns = with_agent("badimage", |_| {});
    is_rolled_out(&ns);
    ns.ok("set image daemonset/agent main=no-such-image:latest");
    ns.becomes("daemonset agent", "/status/updatedNumberScheduled", "1");
    let others = (workers().len() - 1).to_string();
    ns.becomes("daemonset agent", "/status/numberAvailable", &others);
    ns.ok("rollout undo daemonset/agent");
    is_rolled_out(&ns);
}

#[test]
fn with_a_surge_the_new_pod_serves_before_the_old_one_goes() {
    let ns = with_agent("surge", |set| {
        let rolling = json!({"maxSurge": 1, "maxUnavailable": 0});
        set["spec"]["updateStrategy"] = json!({"type": "RollingUpdate", "rollingUpdate": rolling});
    });
    is_rolled_out(&ns);
    let all = workers().len();
    ns.ok("set image daemonset/agent main=no-such-image:latest");
    eventually("one pod more than nodes", SOON, || {
        let there = nodes(&ns).len();
        if there == all + 1 { Ok(()) } else { Err(format!("{there} pods")) }
    });
    assert_eq!(ns.field("daemonset agent", "/status/numberAvailable"), all.to_string(), "every node is still served");
    ns.ok("set image daemonset/agent main=busybox:latest");
    ns.ok("set env daemonset/agent COLOUR=green");
    is_rolled_out(&ns);
    become_nodes(&ns, &workers());
}

#[test]
fn deleting_a_daemonset_takes_its_pods_and_its_history_with_it() {
    let ns = with_agent("owned", |_| {});
    is_rolled_out(&ns);
    ns.ok("delete daemonset agent");
    eventually("nothing of it to be left", SOON, || {
        let left = ns.ok("get controllerrevisions,pods -o name");
        if left.trim().is_empty() { Ok(()) } else { Err(left) }
    });
}
