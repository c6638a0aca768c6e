//! Services of type LoadBalancer are given the nodes' addresses, and let go of them.

use corten_api::Key;
use corten_client::CancellationToken;
use corten_client::seeds::for_each_seed;
use corten_controllers::servicelb;
use corten_controllers::servicelb::decide::FINALIZER;
use serde_json::{Value, json};

use crate::apiserver::ApiServer;
use crate::store::State;
use crate::world::{World, play, until};

const SEEDS: u64 = 6;
const FAULTS: usize = 8;

fn at(name: &str) -> (String, Key) {
    ("services".to_owned(), Key::new("shop", name))
}

fn node(name: &str, ip: &str, ready: &str) -> Value {
    let addresses = json!([{"type": "InternalIP", "address": ip}]);
    let conditions = json!([{"type": "Ready", "status": ready}]);
    json!({"metadata": {"name": name}, "status": {"addresses": addresses, "conditions": conditions}})
}

fn service(name: &str, port: u16, policy: &str) -> Value {
    let spec = json!({
        "type": "LoadBalancer", "clusterIP": "10.96.0.7", "externalTrafficPolicy": policy,
        "ports": [{"port": port, "protocol": "TCP"}],
    });
    json!({"metadata": {"name": name, "namespace": "shop"}, "spec": spec})
}

fn slice(service: &str, node: &str, ready: bool) -> Value {
    let labels = json!({"kubernetes.io/service-name": service});
    let endpoint = json!({"addresses": ["10.244.1.2"], "nodeName": node, "conditions": {"ready": ready}});
    let meta = json!({"name": format!("{service}-1"), "namespace": "shop", "labels": labels});
    json!({"metadata": meta, "addressType": "IPv4", "endpoints": [endpoint]})
}

/// The addresses of a Service, and whether something holds it.
fn seen(state: &State, name: &str) -> String {
    let Some(service) = state.objects.get(&at(name)) else { return "gone".into() };
    let ingress = service["status"]["loadBalancer"]["ingress"].as_array().cloned().unwrap_or_default();
    let addresses: Vec<&str> = ingress.iter().filter_map(|ingress| ingress["ip"].as_str()).collect();
    let held = service["metadata"]["finalizers"].as_array().is_some_and(|all| all.contains(&json!(FINALIZER)));
    format!("{}{}", addresses.join(" "), if held { "" } else { " free" })
}

#[test]
fn services_have_the_addresses_of_the_nodes_that_take_their_traffic_and_the_older_has_a_port() {
    for_each_seed(SEEDS, |seed| {
        play(async {
            let (server, stop) = (ApiServer::new(seed), CancellationToken::new());
            server.with(|state| {
                state.create("nodes", node("n1", "10.1.0.1", "True")).unwrap();
                state.create("nodes", node("n2", "10.1.0.2", "Unknown")).unwrap();
                for (name, port, policy) in [("a", 80, "Cluster"), ("b", 80, "Cluster"), ("c", 81, "Local")] {
                    state.create("services", service(name, port, policy)).unwrap();
                }
                state.create("endpointslices", slice("c", "n2", true)).unwrap();
            });
            server.set_faults(FAULTS);
            let world = World::new(&server, &stop).await;
            world.start("service-lb", servicelb::controller);
            let all = |a: &'static str, b: &'static str, c: &'static str| {
                move |state: &State| [seen(state, "a"), seen(state, "b"), seen(state, "c")] == [a, b, c]
            };
            until(&server, "a to be reached at both nodes", all("10.1.0.1 10.1.0.2", "", "")).await;
            let edit = |at: (String, Key), edit: &dyn Fn(&mut Value)| {
                server.with(|state| {
                    let mut object = state.objects[&at].clone();
                    edit(&mut object);
                    state.replace(&at, object).unwrap();
                });
            };
            edit(("nodes".into(), Key::cluster("n2")), &|node| {
                node["status"]["conditions"][0]["status"] = json!("True")
            });
            until(
                &server,
                "c to be reached where its endpoint is, once that node is ready",
                all("10.1.0.1 10.1.0.2", "", "10.1.0.2"),
            )
            .await;
            let of_c = ("endpointslices".to_owned(), Key::new("shop", "c-1"));
            edit(of_c, &|slice| slice["endpoints"][0]["nodeName"] = json!("n1"));
            until(&server, "c to follow its endpoint", all("10.1.0.1 10.1.0.2", "", "10.1.0.1")).await;
            server.with(|state| state.delete(&at("a"), &json!({})).unwrap());
            until(&server, "b to get the port", all("gone", "10.1.0.1 10.1.0.2", "10.1.0.1")).await;
            // Of another type the apiserver itself leaves no address.
            edit(at("b"), &|service| {
                service["spec"]["type"] = json!("ClusterIP");
                service["status"]["loadBalancer"] = json!({});
            });
            until(&server, "b to be let go", all("gone", " free", "10.1.0.1")).await;
            stop.cancel();
        });
    });
}
