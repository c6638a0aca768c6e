//! Services of type LoadBalancer are given the nodes' addresses, and let go of them.

use std::collections::BTreeMap;

use corten_api::Key;
use corten_client::CancellationToken;
use corten_client::seeds::for_each_seed;
use corten_controllers::balancers::Rules;
use corten_controllers::balancers::ranges::Ranges;
use corten_controllers::servicelb;
use corten_controllers::servicelb::decide::FINALIZER;
use serde_json::{Value, json};

use crate::apiserver::ApiServer;
use crate::store::{At, State};
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

/// No two Services show the same address.
fn each_once(objects: &BTreeMap<At, Value>) -> Result<(), String> {
    let mut holders = BTreeMap::new();
    for ((plural, key), service) in objects {
        let ingress = service["status"]["loadBalancer"]["ingress"].as_array().into_iter().flatten();
        for ip in ingress.filter(|_| plural == "services").filter_map(|ingress| ingress["ip"].as_str()) {
            if let Some(other) = holders.insert(ip.to_owned(), key.name.clone()) {
                return Err(format!("{ip} is that of {other} and of {}", key.name));
            }
        }
    }
    Ok(())
}

#[test]
fn services_have_addresses_of_the_pool_each_its_own_and_who_waits_gets_what_is_let_go_of() {
    for_each_seed(SEEDS, |seed| {
        play(async {
            let (server, stop) = (ApiServer::new(seed), CancellationToken::new());
            server.with(|state| {
                state.check = Box::new(each_once);
                state.create("nodes", node("n1", "10.1.0.1", "True")).unwrap();
                for name in ["a", "b", "c", "d"] {
                    state.create("services", service(name, 80, "Cluster")).unwrap();
                }
                let mut asks = service("e", 80, "Cluster");
                asks["spec"]["loadBalancerIP"] = json!("192.0.2.2");
                state.create("services", asks).unwrap();
            });
            server.set_faults(FAULTS);
            let mut world = World::new(&server, &stop).await;
            let pool = Ranges::of(&["192.0.2.1-192.0.2.2".parse().unwrap()]);
            world.setup.settings.balancers = Rules { pool, ..Rules::default() };
            world.start("service-lb", servicelb::controller);
            let count = |state: &State, wanted: &str| {
                ["a", "b", "c", "d", "e"].into_iter().filter(|name| seen(state, name) == wanted).count()
            };
            let all = |waiting: usize| {
                move |state: &State| {
                    let given = [count(state, "192.0.2.1"), count(state, "192.0.2.2")];
                    given == [1, 1] && count(state, "") == waiting
                }
            };
            until(&server, "both addresses to be given, and three Services to wait", all(3)).await;
            let holder = |ip: &'static str| {
                server.with(|state| ["a", "b", "c", "d", "e"].into_iter().find(|name| seen(state, name) == ip).unwrap())
            };
            let first = holder("192.0.2.1");
            server.with(|state| state.delete(&at(first), &json!({})).unwrap());
            until(&server, "another to have what a deleted one had", all(2)).await;
            let second = holder("192.0.2.2");
            server.with(|state| {
                let mut plain = state.objects[&at(second)].clone();
                plain["spec"]["type"] = json!("ClusterIP");
                plain["status"]["loadBalancer"] = json!({});
                state.replace(&at(second), plain).unwrap();
            });
            until(&server, "another to have what one of another type had", all(1)).await;
            stop.cancel();
        });
    });
}
