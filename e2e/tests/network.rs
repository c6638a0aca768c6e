//! Services, DNS and pods reaching each other across nodes.

use std::time::Duration;

use corten_e2e::{Cluster, SOON, eventually};
use serde_json::json;

#[test]
fn pods_on_different_nodes_reach_each_other_by_address() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("crossnode");
    let nodes = cluster.workers();
    let server = |name: &str, node: &str| {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
            "spec": {"nodeName": node, "terminationGracePeriodSeconds": 0, "containers": [{
                "name": "main", "image": "busybox:latest", "imagePullPolicy": "IfNotPresent",
                "command": ["sh", "-c", "mkdir /www; hostname > /www/index.html; exec httpd -f -p 80 -h /www"]}]},
        });
        ns.apply(&pod.to_string());
        ns.pod_is_ready(name);
        ns.field(&["pod", name], "/status/podIP")
    };
    let (first, second) = (server("first", &nodes[0].name), server("second", &nodes[1].name));
    assert_ne!(first, second);
    ns.sh_until("first", &format!("timeout 5 wget -q -O - http://{second}/"), |page| page == "second\n");
    ns.sh_until("second", &format!("timeout 5 wget -q -O - http://{first}/"), |page| page == "first\n");
}

#[test]
fn services_have_names_and_a_pod_reaches_itself_through_its_own() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("dns");
    ns.run_pod("web", "busybox:latest", "mkdir /www; echo hello > /www/index.html; exec httpd -f -p 8080 -h /www");
    // Another name than the pod's, which its own /etc/hosts knows.
    ns.run(&["expose", "pod", "web", "--name=site", "--port=80", "--target-port=8080"]).text();
    for name in ["site".to_owned(), format!("site.{}", ns.name), format!("site.{}.svc.cluster.local", ns.name)] {
        // From the pod itself: the connection comes back to where it started.
        ns.sh_until("web", &format!("timeout 5 wget -q -O - http://{name}/"), |page| page == "hello\n");
    }
    let unknown = ns.sh("web", "nslookup no-such-name.default.svc.cluster.local");
    assert!(!unknown.ok, "{unknown:?}");
}

#[test]
fn udp_services_answer() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("udp");
    ns.run_pod("echo", "corten/echo:latest", "exec corten-echo 7");
    ns.run_pod("client", "corten/echo:latest", "sleep 3600");
    ns.apply(
        &json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "echo"},
            "spec": {"selector": {"app": "echo"}, "ports": [{"port": 7, "protocol": "UDP"}]}})
        .to_string(),
    );
    ns.sh_until("client", "corten-echo ask-udp echo:7 ping", |answer| answer.contains("ping"));
}

#[test]
fn a_service_without_endpoints_refuses_at_once() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("refuses");
    ns.run_pod("client", "busybox:latest", "sleep 3600");
    ns.run(&["create", "service", "clusterip", "nobody", "--tcp=80:80"]).text();
    eventually("a quick refusal", SOON, || {
        let output = ns.sh("client", "timeout 20 wget -q -O - http://nobody/ 2>&1; true").text();
        if output.contains("refused") { Ok(()) } else { Err(output) }
    });
}

#[test]
fn endpoints_come_and_go_with_their_pods() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("endpoints");
    ns.run_pod("web", "busybox:latest", "exec httpd -f -p 80 -h /tmp");
    ns.run(&["expose", "pod", "web", "--port=80"]).text();
    let ip = ns.field(&["pod", "web"], "/status/podIP");
    let addresses = || ns.field(&["endpointslices", "-l", "kubernetes.io/service-name=web"], "/items/0/endpoints");
    eventually("the pod in the slice", SOON, || if addresses().contains(&ip) { Ok(()) } else { Err(addresses()) });
    ns.run(&["delete", "pod", "web"]).text();
    eventually("the slice to be empty", SOON, || {
        let now = addresses();
        if now.contains(&ip) { Err(now) } else { Ok(()) }
    });
}

#[test]
fn a_node_port_in_use_is_refused_and_free_again_after_its_service() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("ports");
    let service = |name: &str| {
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
            "spec": {"type": "NodePort", "ports": [{"port": 80, "nodePort": 31999}]}})
        .to_string()
    };
    ns.apply(&service("first"));
    let refusal = ns.run_with_input(&["create", "-f", "-"], &service("second")).refusal();
    assert!(
        refusal.contains("spec.ports[0].nodePort") && refusal.contains("provided port is already allocated"),
        "{refusal}"
    );
    ns.run(&["delete", "service", "first"]).text();
    ns.apply(&service("second"));
    ns.run(&["delete", "service", "second"]).text();
}

#[test]
fn port_forward_carries_a_connection_into_the_pod() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("forward");
    ns.run_pod("web", "busybox:latest", "mkdir /www; echo forwarded > /www/index.html; exec httpd -f -p 80 -h /www");
    for (version, kubectl) in ns.every_version() {
        let forward = kubectl.in_namespace(&ns.name).start(&["port-forward", "pod/web", ":80"]);
        let line = forward.line("the local port", Duration::from_secs(20), |line| line.contains("127.0.0.1:"));
        let port =
            line.split("127.0.0.1:").nth(1).and_then(|rest| rest.split(' ').next()).unwrap_or_default().to_owned();
        let page = eventually(&format!("{version} to forward"), SOON, || {
            corten_e2e::http_get(&format!("127.0.0.1:{port}"), "/index.html")
        });
        assert_eq!(page, "forwarded\n", "{version}");
    }
}
