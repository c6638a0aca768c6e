//! The demo that `hack/up` applies works as its README says: NodePorts, ClusterIPs, shared volumes, replicas.

use corten_e2e::{Cluster, SOON, eventually, http_get};

const DEMO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../hack/demo");

/// Brings the demo to its manifests' state, whoever applied it first.
fn demo() -> Cluster {
    let cluster = Cluster::running();
    cluster.kubectl().ok(&format!("apply -f {DEMO}"));
    cluster
}

#[test]
fn a_node_port_answers_on_every_node_from_outside_and_from_pods() {
    let cluster = demo();
    let ns = cluster.namespace("nodeport");
    ns.run_pod("client", "busybox:latest", "sleep 3600");
    let nodes = cluster.nodes();
    assert!(nodes.len() >= 3, "{nodes:?}");
    for node in nodes {
        let address = format!("{}:31080", node.ip);
        let page = eventually(&format!("{address} from outside"), SOON, || http_get(&address, "/"));
        assert!(page.contains("nginx"), "{page}");
        ns.sh_until("client", &format!("timeout 5 wget -q -O - http://{address}/"), |page| page.contains("nginx"));
    }
}

#[test]
fn a_service_spreads_over_all_pods_of_its_deployment() {
    let cluster = demo();
    let kubectl = cluster.kubectl().in_namespace("default");
    kubectl.ok("rollout status deployment/nginx --timeout=60s");
    let names: Vec<String> = kubectl
        .list("pods -l app=nginx")
        .iter()
        .filter(|pod| pod["metadata"]["deletionTimestamp"].is_null())
        .filter_map(|pod| pod["metadata"]["name"].as_str().map(str::to_owned))
        .collect();
    assert_eq!(names.len(), 3);
    // Each pod is made to name itself, so that the answers tell who gave them.
    for name in &names {
        let write =
            "root=$(nginx -T 2>/dev/null | sed -n 's/^ *root *\\(.*\\);/\\1/p' | head -1); hostname > $root/who";
        kubectl.sh(name, write).text();
    }
    let node = cluster.nodes().remove(0);
    let mut seen = std::collections::BTreeSet::new();
    eventually("an answer of each pod", SOON, || {
        seen.insert(http_get(&format!("{}:32600", node.ip), "/who")?.trim().to_owned());
        if names.iter().all(|name| seen.contains(name)) { Ok(()) } else { Err(format!("{seen:?}")) }
    });
}

#[test]
fn a_port_and_its_target_port_may_differ() {
    let cluster = demo();
    let ns = cluster.namespace("twoports");
    ns.run_pod("client", "busybox:latest", "sleep 3600");
    let ip = cluster.kubectl().field("service service-33306 -n default", "/spec/clusterIP");
    ns.sh_until("client", &format!("timeout 5 wget -q -O - http://{ip}:33306/"), |page| page.contains("3306 answers"));
}

#[test]
fn two_containers_share_a_volume_and_talk_over_localhost() {
    let cluster = demo();
    let kubectl = cluster.kubectl().in_namespace("default");
    eventually("the sidecar's page through the web server", SOON, || {
        let output = kubectl.attempt("exec two-containers -c sidecar -- timeout 5 wget -q -O - http://localhost/");
        let the_sidecars = output.ok && output.stdout.contains("UTC") && !output.stdout.contains("nginx");
        if the_sidecars { Ok(()) } else { Err(format!("{output:?}")) }
    });
}

#[test]
fn a_replication_controller_scales_to_four_and_back() {
    // In a namespace of its own: the other stories put the demo's back to two.
    let cluster = Cluster::running();
    let kubectl = cluster.namespace("rc");
    kubectl.ok(&format!("apply -f {DEMO}/5-replication-controller.yaml"));
    kubectl.becomes("rc nginx-rc", "/status/readyReplicas", "2");
    kubectl.ok("scale rc nginx-rc --replicas=4");
    kubectl.becomes("rc nginx-rc", "/status/readyReplicas", "4");
    kubectl.ok("scale rc nginx-rc --replicas=2");
    kubectl.becomes("rc nginx-rc", "/status/replicas", "2");
    eventually("two pods to be left", SOON, || {
        let count = kubectl.list("pods -l app=nginx-rc").len();
        if count == 2 { Ok(()) } else { Err(format!("{count} pods")) }
    });
}
