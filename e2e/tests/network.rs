//! Services, DNS and pods reaching each other across nodes.
#![allow(clippy::unwrap_used, reason = "a story that cannot go on fails")]

use corten_e2e::manifest::{container, pod};
use corten_e2e::{Cluster, SOON, eventually};
use serde_json::json;

#[test]
fn pods_on_different_nodes_reach_each_other_by_address() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("crossnode");
    let nodes = cluster.workers();
    let server = |name: &str, node: &str| {
        let main = container("mkdir /www; hostname > /www/index.html; exec httpd -f -p 80 -h /www");
        ns.apply(&pod(name, &json!({"nodeName": node, "containers": [main]})));
        ns.pod_is_ready(name);
        ns.field(&format!("pod {name}"), "/status/podIP")
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
    ns.ok("expose pod web --name=site --port=80 --target-port=8080");
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
    ns.ok("create service clusterip nobody --tcp=80:80");
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
    ns.ok("expose pod web --port=80");
    let ip = ns.field("pod web", "/status/podIP");
    let addresses = || ns.field("endpointslices -l kubernetes.io/service-name=web", "/items/0/endpoints");
    eventually("the pod in the slice", SOON, || if addresses().contains(&ip) { Ok(()) } else { Err(addresses()) });
    ns.ok("delete pod web");
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
    let refusal = ns.apply_refused(&service("second"));
    assert!(
        refusal.contains("spec.ports[0].nodePort") && refusal.contains("provided port is already allocated"),
        "{refusal}"
    );
    ns.ok("delete service first");
    ns.apply(&service("second"));
    ns.ok("delete service second");
}

#[test]
fn port_forward_carries_a_connection_into_the_pod() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("forward");
    ns.run_pod("web", "busybox:latest", "mkdir /www; echo forwarded > /www/index.html; exec httpd -f -p 80 -h /www");
    for (version, kubectl) in ns.every_version() {
        let forward = kubectl.in_namespace(&ns.name).start("port-forward pod/web :80");
        let line = forward.line("the local port", |line| line.contains("127.0.0.1:"));
        let port =
            line.split("127.0.0.1:").nth(1).and_then(|rest| rest.split(' ').next()).unwrap_or_default().to_owned();
        let page = eventually(&format!("{version} to forward"), SOON, || {
            corten_e2e::http_get(&format!("127.0.0.1:{port}"), "/index.html")
        });
        assert_eq!(page, "forwarded\n", "{version}");
    }
}

#[test]
fn a_udp_node_port_answers_from_outside() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("udpnode");
    ns.run_pod("echo", "corten/echo:latest", "exec corten-echo 7");
    ns.apply(
        &json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "echo"}, "spec": {
            "type": "NodePort", "selector": {"app": "echo"}, "ports": [{"port": 7, "protocol": "UDP"}]}})
        .to_string(),
    );
    let port = ns.field("service echo", "/spec/ports/0/nodePort");
    for node in cluster.nodes() {
        let answer = eventually(&format!("an answer from {}", node.name), SOON, || {
            udp_ask(&format!("{}:{port}", node.ip), "ping").map_err(|err| err.to_string())
        });
        assert!(answer.contains("echo") && answer.contains("ping"), "{answer}");
    }
}

fn udp_ask(address: &str, message: &str) -> std::io::Result<String> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0")?;
    socket.set_read_timeout(Some(std::time::Duration::from_secs(1)))?;
    socket.connect(address)?;
    socket.send(message.as_bytes())?;
    let mut answer = [0; 1024];
    let length = socket.recv(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
}

#[test]
fn a_headless_service_names_its_pods_and_a_pod_has_a_name_of_its_address() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("headless");
    for name in ["one", "two"] {
        let mut manifest: serde_json::Value =
            serde_json::from_str(&pod(name, &json!({"containers": [container("exec sleep 3600")]}))).unwrap();
        manifest["metadata"]["labels"] = json!({"app": "peers"});
        manifest["spec"]["hostname"] = name.into();
        manifest["spec"]["subdomain"] = "peers".into();
        ns.apply(&manifest.to_string());
        ns.pod_is_ready(name);
    }
    ns.apply(
        &json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "peers"},
            "spec": {"clusterIP": "None", "selector": {"app": "peers"}, "ports": [{"name": "http", "port": 80}]}})
        .to_string(),
    );
    let ip = |name: &str| ns.field(&format!("pod {name}"), "/status/podIP");
    let (one, two) = (ip("one"), ip("two"));
    ns.run_pod("client", "busybox:latest", "sleep 3600");
    // Whole names: BusyBox also tries them with what /etc/resolv.conf says, and counts that as failures.
    let service = format!("peers.{}.svc.cluster.local.", ns.name);
    ns.sh_until("client", &format!("nslookup {service}"), |text| text.contains(&one) && text.contains(&two));
    ns.sh_until("client", &format!("nslookup one.{service}"), |text| text.contains(&one) && !text.contains(&two));
    let dashed = format!("nslookup {}.{}.pod.cluster.local.", two.replace('.', "-"), ns.name);
    ns.sh_until("client", &dashed, |text| text.contains(&two));
    // An address has a name again.
    ns.sh_until("client", &format!("nslookup {one}"), |text| text.contains("one.peers"));
    assert_eq!(ns.sh("one", "hostname -f").text().trim(), format!("one.peers.{}.svc.cluster.local", ns.name));
    ns.ok("delete pod one");
    ns.sh_until("client", &format!("nslookup {service}"), |text| !text.contains(&one) && text.contains(&two));
}
