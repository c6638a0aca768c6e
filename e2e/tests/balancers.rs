//! Services of type LoadBalancer, at the nodes' own addresses.
#![allow(clippy::unwrap_used, reason = "a story that cannot go on fails")]

use corten_e2e::manifest::{container, pod};
use corten_e2e::{Cluster, Namespace, SOON, eventually, http_get};
use serde_json::{Value, json};

/// Of nobody else in the lab.
const PORT: u16 = 18080;

fn service(name: &str, ranges: &[&str]) -> String {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": {
        "type": "LoadBalancer", "selector": {"app": name}, "loadBalancerSourceRanges": ranges,
        "allocateLoadBalancerNodePorts": false, "ports": [{"port": PORT, "targetPort": 80}]}})
    .to_string()
}

/// A pod that says its name, for the Service of that name.
fn run(ns: &Namespace, name: &str) {
    let main = container("mkdir /www; hostname > /www/index.html; exec httpd -f -p 80 -h /www");
    let mut manifest: Value = serde_json::from_str(&pod(name, &json!({"containers": [main]}))).unwrap();
    manifest["metadata"]["labels"] = json!({"app": name});
    ns.apply(&manifest.to_string());
    ns.pod_is_ready(name);
}

fn addresses(ns: &Namespace, service: &str) -> Vec<String> {
    let ingress = ns.field(&format!("service {service}"), "/status/loadBalancer/ingress");
    let ingress: Value = serde_json::from_str(&ingress).unwrap_or_default();
    ingress.as_array().into_iter().flatten().filter_map(|i| i["ip"].as_str().map(str::to_owned)).collect()
}

/// At every address of the Service.
fn answers(ns: &Namespace, service: &str) {
    eventually(&format!("{service} to answer at its addresses"), SOON, || {
        let all = addresses(ns, service);
        if all.is_empty() {
            return Err("it has none".to_owned());
        }
        for ip in all {
            let page = http_get(&format!("{ip}:{PORT}"), "/index.html").map_err(|err| format!("{ip}: {err}"))?;
            if page.trim() != service {
                return Err(format!("{ip} leads to {page}"));
            }
        }
        Ok(())
    });
}

#[test]
fn a_load_balancer_is_reached_from_outside_by_whom_it_admits_and_the_older_has_the_port() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("balancers");
    run(&ns, "older");
    run(&ns, "younger");
    ns.apply(&service("older", &[]));
    answers(&ns, "older");
    let nodes: Vec<String> = cluster.nodes().into_iter().map(|node| node.ip).collect();
    assert!(addresses(&ns, "older").iter().all(|ip| nodes.contains(ip)), "{nodes:?}");

    // Ages are counted in seconds: of two made in one anybody may be the older.
    let made = ns.field("service older", "/metadata/creationTimestamp");
    eventually("the younger to be younger", SOON, || {
        ns.apply(&service("younger", &[]));
        if ns.field("service younger", "/metadata/creationTimestamp") > made {
            return Ok(());
        }
        ns.ok("delete service younger");
        Err("made in the same second".to_owned())
    });
    eventually("the younger to be told", SOON, || {
        let events = ns.ok("get events --field-selector involvedObject.name=younger,involvedObject.kind=Service");
        if events.contains("LoadBalancerPortTaken") { Ok(()) } else { Err(events) }
    });
    assert_eq!(addresses(&ns, "younger"), Vec::<String>::new());
    answers(&ns, "older");

    ns.ok("delete service older");
    answers(&ns, "younger");

    let at = format!("{}:{PORT}", addresses(&ns, "younger")[0]);
    ns.apply(&service("younger", &["198.51.100.0/24"]));
    eventually("nobody but those to be let in", SOON, || match http_get(&at, "/index.html") {
        Err(_) => Ok(()),
        Ok(page) => Err(page),
    });
    ns.apply(&service("younger", &["0.0.0.0/0"]));
    answers(&ns, "younger");
    ns.ok("delete service younger");
    eventually("the port to be free", SOON, || match http_get(&at, "/index.html") {
        Err(_) => Ok(()),
        Ok(page) => Err(page),
    });
}

/// The lab names no pool.
#[test]
fn a_service_of_the_pool_waits_and_is_told_why() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("pool");
    let mut pooled: Value = serde_json::from_str(&service("pooled", &[])).unwrap();
    pooled["spec"]["loadBalancerClass"] = json!("corten.io/address-pool");
    ns.apply(&pooled.to_string());
    eventually("it to be told", SOON, || {
        let events = ns.ok("get events --field-selector involvedObject.name=pooled,involvedObject.kind=Service");
        if events.contains("no IPv4 address of the pool is free") { Ok(()) } else { Err(events) }
    });
    assert_eq!(addresses(&ns, "pooled"), Vec::<String>::new(), "nor those of nodes");
    ns.ok("delete service pooled");
}
