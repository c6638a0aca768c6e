//! What Services claim: tables of specs and plans.

use serde_json::{Value, json};

use super::*;

fn spec(json: Value) -> ServiceSpec {
    serde_json::from_value(json).unwrap()
}

fn run(new: Value, old: Option<Value>, held: &[&str]) -> (ServiceSpec, Result<Plan, Refusal>) {
    run_in(&["10.96.0.0/24"], new, old, held)
}
fn run_in(cidrs: &[&str], new: Value, old: Option<Value>, held: &[&str]) -> (ServiceSpec, Result<Plan, Refusal>) {
    let ranges = Ranges { cidrs: cidrs.iter().map(|cidr| cidr.parse().unwrap()).collect(), ports: 31000..=31003 };
    let held = |claim: Claim| match claim {
        Claim::Ip(ip) => held.contains(&&*ip.to_string()),
        Claim::Port(port) => held.contains(&&*port.to_string()),
    };
    let world = World { ranges: &ranges, held: &held, random: &|_| 0 };
    let (mut new, old) = (spec(new), old.map(spec));
    let plan = plan(&mut new, old.as_ref(), &world);
    (new, plan)
}

fn words(refused: Result<Plan, Refusal>) -> String {
    match refused.unwrap_err() {
        Refusal::Invalid(problems) => problems.causes().iter().map(ToString::to_string).collect(),
        Refusal::Full(why) => why.into(),
    }
}

#[test]
fn what_is_left_open_is_filled_in() {
    let (new, plan) =
        run(json!({"type": "NodePort", "ports": [{"port": 1}, {"port": 2, "nodePort": 31000}]}), None, &[]);
    assert_eq!(new.cluster_ips, Some(vec!["10.96.0.16".into()]), "behind the static band");
    let ports: Vec<_> = new.ports.unwrap().iter().map(|p| p.node_port).collect();
    assert_eq!(ports, [Some(31001), Some(31000)], "not the one that is asked for by number");
    assert_eq!(plan.unwrap().take, [Claim::Ip("10.96.0.16".parse().unwrap()), Claim::Port(31000), Claim::Port(31001)]);
    let (new, plan) = run(json!({"clusterIP": "None"}), None, &[]);
    assert_eq!((new.cluster_ip.as_deref(), plan.unwrap()), (Some("None"), Plan::default()));
    assert_eq!(run(json!({"type": "ExternalName"}), None, &[]).1.unwrap(), Plan::default());
}

#[test]
fn updates_take_and_free_the_difference() {
    let node_port = json!({"type": "NodePort", "clusterIP": "10.96.0.20", "ports": [{"port": 1, "nodePort": 31002}]});
    let cluster_ip = json!({"type": "ClusterIP", "clusterIP": "10.96.0.20", "ports": [{"port": 1}]});
    let (_, plan) = run(cluster_ip.clone(), Some(node_port.clone()), &["10.96.0.20", "31002"]);
    assert_eq!(plan.unwrap(), Plan { take: vec![], free: vec![Claim::Port(31002)] });
    let (_, plan) = run(node_port.clone(), Some(cluster_ip), &["10.96.0.20"]);
    assert_eq!(plan.unwrap(), Plan { take: vec![Claim::Port(31002)], free: vec![] });
    let (_, plan) = run(json!({"type": "ExternalName"}), Some(node_port), &["10.96.0.20", "31002"]);
    assert_eq!(plan.unwrap().free.len(), 2);
}

#[test]
fn what_others_hold_or_nobody_has_is_refused_in_words() {
    let cases = [
        (
            json!({"clusterIP": "10.96.0.20"}),
            r#"spec.clusterIPs: Invalid value: ["10.96.0.20"]: failed to allocate IP 10.96.0.20: provided IP is already allocated"#,
        ),
        (
            json!({"clusterIP": "10.97.0.1"}),
            r#"spec.clusterIPs: Invalid value: ["10.97.0.1"]: failed to allocate IP 10.97.0.1: the provided network does not match the current range"#,
        ),
        (
            json!({"clusterIP": "10.96.0.255"}),
            r#"spec.clusterIPs: Invalid value: ["10.96.0.255"]: failed to allocate IP 10.96.0.255: the provided IP (10.96.0.255) is not in the valid range. The range of valid IPs is 10.96.0.0/24"#,
        ),
        (
            json!({"type": "NodePort", "ports": [{"port": 1, "nodePort": 31001}]}),
            "spec.ports[0].nodePort: Invalid value: 31001: provided port is already allocated",
        ),
        (
            json!({"type": "NodePort", "ports": [{"port": 1, "nodePort": 80}]}),
            "spec.ports[0].nodePort: Invalid value: 80: provided port is not in the valid range. The range of valid ports is 31000-31003",
        ),
        (
            json!({"type": "NodePort", "ports": [{"port": 1}, {"port": 2}, {"port": 3}, {"port": 4}]}),
            "failed to allocate a nodePort: range is full",
        ),
        (
            json!({"ipFamilies": ["IPv6"]}),
            r#"spec.ipFamilies[0]: Invalid value: "IPv6": not configured on this cluster"#,
        ),
    ];
    for (new, expected) in cases {
        assert_eq!(words(run(new, None, &["10.96.0.20", "31001"]).1), expected);
    }
}

#[test]
fn the_static_band_is_the_last_resort_and_dns_is_never_given_away() {
    let mut held: BTreeSet<String> = (16..=254).map(|n| format!("10.96.0.{n}")).collect();
    let mut given = Vec::new();
    loop {
        let names: Vec<&str> = held.iter().map(String::as_str).collect();
        match run(json!({}), None, &names) {
            (new, Ok(_)) => {
                let ip = new.cluster_ip.unwrap();
                given.push(ip.clone());
                assert!(held.insert(ip), "given once");
            }
            (_, refused) => {
                assert_eq!(words(refused), "failed to allocate a serviceIP: range is full");
                break;
            }
        }
    }
    assert_eq!(given.len(), 14, "1 to 15 without 10");
    assert!(!given.contains(&"10.96.0.10".to_owned()));
}

#[test]
fn what_one_range_does_not_have_comes_from_the_next() {
    let cidrs = ["2001:db8::/64", "10.96.0.0/30", "10.97.0.0/29"];
    let mut held: Vec<String> = Vec::new();
    while let (new, Ok(_)) = run_in(&cidrs, json!({}), None, &held.iter().map(String::as_str).collect::<Vec<_>>()) {
        held.push(new.cluster_ip.unwrap());
    }
    let expected = ["0.1", "0.2"].map(|ip| format!("10.96.{ip}"));
    assert_eq!(held[..2], expected);
    assert_eq!((held.len(), held[2..].iter().all(|ip| ip.starts_with("10.97.0."))), (2 + 6, true), "{held:?}");
    let asked = run_in(&cidrs, json!({"clusterIP": "10.97.0.3"}), None, &[]).1.unwrap();
    assert_eq!(asked.take, [Claim::Ip("10.97.0.3".parse().unwrap())]);
}
