//! Where pods go, and what is said of those that go nowhere.

use corten_e2e::manifest::{container, pod};
use corten_e2e::{Cluster, SOON, eventually};
use serde_json::json;

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
