//! Stories of a pool: who gets which address, who waits, and who is woken.

use std::sync::Arc;

use serde_json::{Value, json};

use super::*;

fn ledger(pool: &str) -> Ledger {
    let ranges: Vec<_> = pool.split(' ').filter(|text| !text.is_empty()).map(|text| text.parse().unwrap()).collect();
    Ledger::new(&Ranges::of(&ranges))
}

/// Of this name, made at this second, which shows these addresses, with more in its spec.
fn service(name: &str, second: u32, shows: &[&str], spec: Value) -> Arc<Service> {
    let ingress: Vec<Value> = shows.iter().map(|ip| json!({"ip": ip})).collect();
    let mut all = json!({"type": "LoadBalancer", "clusterIP": "10.96.0.7"});
    spec.as_object().unwrap().iter().for_each(|(field, value)| all[field] = value.clone());
    let made = format!("2030-01-01T00:00:{second:02}Z");
    let metadata =
        json!({"name": name, "namespace": "shop", "uid": format!("{name}-{second}"), "creationTimestamp": made});
    let value = json!({"metadata": metadata, "spec": all, "status": {"loadBalancer": {"ingress": ingress}}});
    Arc::new(serde_json::from_value(value).unwrap())
}

fn plain(name: &str, second: u32, shows: &[&str]) -> Arc<Service> {
    service(name, second, shows, json!({}))
}

fn names(woken: Vec<Key>) -> String {
    woken.into_iter().map(|key| key.name).collect::<Vec<_>>().join(" ")
}

fn set(ledger: &mut Ledger, service: &Arc<Service>) -> String {
    names(ledger.follow(&Change::Set { key: &service.key(), old: None, new: service }))
}

fn gone(ledger: &mut Ledger, service: &Arc<Service>) -> String {
    names(ledger.follow(&Change::Removed { key: &service.key(), old: service }))
}

/// `addresses refusal; woken`.
fn give(ledger: &mut Ledger, service: &Arc<Service>) -> String {
    let (given, woken) = ledger.give(service);
    let mut words: Vec<String> = given.addresses.iter().map(IpAddr::to_string).collect();
    words.extend(given.refusal.map(|refusal| format!("{refusal:?}")));
    let woken = names(woken);
    if !woken.is_empty() {
        words.push(format!("wakes {woken}"));
    }
    words.join(" ")
}

#[test]
fn each_gets_the_lowest_that_is_free_and_keeps_it() {
    let mut ledger = ledger("192.0.2.1-192.0.2.2 192.0.2.9");
    let (a, b, c) = (plain("a", 1, &[]), plain("b", 2, &[]), plain("c", 3, &[]));
    assert_eq!(give(&mut ledger, &a), "192.0.2.1");
    assert_eq!(give(&mut ledger, &b), "192.0.2.2", "promised is not free, though nobody shows it yet");
    assert_eq!(give(&mut ledger, &a), "192.0.2.1", "asked again after a write that failed");
    let a = plain("a", 1, &["192.0.2.1"]);
    set(&mut ledger, &a);
    ledger.settle(&a);
    assert_eq!(give(&mut ledger, &c), "192.0.2.9", "of the next range");
    assert_eq!(give(&mut ledger, &plain("d", 4, &[])), "Full(V4)");
    assert_eq!(give(&mut ledger, &a), "192.0.2.1");
}

#[test]
fn what_is_let_go_of_goes_to_who_has_waited_longest() {
    let mut ledger = ledger("192.0.2.1-192.0.2.2");
    let (a, b) = (plain("a", 1, &["192.0.2.1"]), plain("b", 2, &["192.0.2.2"]));
    set(&mut ledger, &a);
    set(&mut ledger, &b);
    let (young, old) = (plain("young", 5, &[]), plain("old", 4, &[]));
    assert_eq!(give(&mut ledger, &young), "Full(V4)");
    assert_eq!(give(&mut ledger, &old), "Full(V4)");
    assert_eq!(ledger.next_waiting(), None, "nothing is free");
    assert_eq!(gone(&mut ledger, &a), "old");
    assert_eq!(gone(&mut ledger, &old), "", "but it went, too");
    assert_eq!(ledger.next_waiting().map(|key| key.name), Some("young".into()), "so the next is looked at");
    assert_eq!(give(&mut ledger, &young), "192.0.2.1");
    assert_eq!(ledger.next_waiting(), None);
    assert_eq!(give(&mut ledger, &plain("last", 6, &[])), "Full(V4)");
    let b = plain("b", 2, &[]);
    assert_eq!(set(&mut ledger, &b), "last", "of another type now: the apiserver has cleared its status");
}

#[test]
fn one_that_is_asked_for_is_given_if_it_is_of_the_pool_and_free() {
    let asks = |name: &str, second, ip: &str| service(name, second, &[], json!({"loadBalancerIP": ip}));
    let mut ledger = ledger("192.0.2.1-192.0.2.4 2001:db8::1");
    assert_eq!(give(&mut ledger, &asks("a", 1, "192.0.2.3")), "192.0.2.3");
    let cases = [
        ("had by another", "192.0.2.3", "Taken(192.0.2.3)"),
        ("of no pool", "192.0.2.7", r#"NotOfPool("192.0.2.7")"#),
        ("no address", "web", r#"NotOfPool("web")"#),
        ("of another family", "2001:db8::1", r#"NotOfPool("2001:db8::1")"#),
        ("not asked for", "", "192.0.2.1"),
    ];
    for (why, ip, expected) in cases {
        assert_eq!(give(&mut ledger, &asks("b", 2, ip)), expected, "{why}");
    }
    assert_eq!(give(&mut ledger, &asks("b", 2, "192.0.2.3")), "Taken(192.0.2.3)", "it lets go of what it had");
    assert_eq!(give(&mut ledger, &plain("c", 3, &[])), "192.0.2.1");
    assert_eq!(gone(&mut ledger, &asks("a", 1, "192.0.2.3")), "b", "who asked for it comes first");
    assert_eq!(give(&mut ledger, &asks("b", 2, "192.0.2.3")), "192.0.2.3");
    let moved = service("c", 3, &["192.0.2.1"], json!({"loadBalancerIP": "192.0.2.4"}));
    assert_eq!(give(&mut ledger, &moved), "192.0.2.4");
}

#[test]
fn what_works_stays_until_what_is_asked_for_instead_can_be_had() {
    let mut ledger = ledger("192.0.2.1-192.0.2.4 2001:db8::1");
    let has = |ip: &str| service("a", 2, &["192.0.2.1"], json!({"loadBalancerIP": ip}));
    set(&mut ledger, &plain("other", 1, &["192.0.2.3"]));
    set(&mut ledger, &has("192.0.2.3"));
    let cases = [
        ("had by another", "192.0.2.3", "192.0.2.1 Taken(192.0.2.3)"),
        ("of no pool", "192.0.2.7", r#"192.0.2.1 NotOfPool("192.0.2.7")"#),
        ("no address", "web", r#"192.0.2.1 NotOfPool("web")"#),
        ("of another family", "2001:db8::1", r#"192.0.2.1 NotOfPool("2001:db8::1")"#),
        ("had by another", "192.0.2.3", "192.0.2.1 Taken(192.0.2.3)"),
    ];
    for (why, ip, expected) in cases {
        assert_eq!(give(&mut ledger, &has(ip)), expected, "{why}");
        ledger.settle(&has(ip));
        assert_eq!(give(&mut ledger, &plain("b", 3, &[])), "192.0.2.2", "{why}: it is not free meanwhile");
    }
    assert_eq!(gone(&mut ledger, &plain("other", 1, &["192.0.2.3"])), "a");
    assert_eq!(give(&mut ledger, &has("192.0.2.3")), "192.0.2.3", "what it shows is held until it shows the other");
    assert_eq!(give(&mut ledger, &plain("c", 4, &[])), "192.0.2.4");
    let swapped = service("a", 2, &["192.0.2.3"], json!({"loadBalancerIP": "192.0.2.3"}));
    set(&mut ledger, &swapped);
    assert_eq!(give(&mut ledger, &swapped), "192.0.2.3");
    assert_eq!(give(&mut ledger, &plain("d", 5, &[])), "192.0.2.1", "which is free by now");
    let mut late = self::ledger("192.0.2.1-192.0.2.2");
    set(&mut late, &plain("old", 1, &["192.0.2.1"]));
    let young = service("young", 2, &["192.0.2.1"], json!({"loadBalancerIP": "web"}));
    set(&mut late, &young);
    assert_eq!(give(&mut late, &young), r#"NotOfPool("web")"#, "what is an older one's is not kept");
}

#[test]
fn of_two_that_show_one_address_the_older_keeps_it() {
    let mut ledger = ledger("192.0.2.1-192.0.2.2");
    let (young, old) = (plain("young", 2, &["192.0.2.1"]), plain("old", 1, &["192.0.2.1"]));
    set(&mut ledger, &young);
    assert_eq!(set(&mut ledger, &old), "young", "who has it as well is looked at");
    assert_eq!(give(&mut ledger, &old), "192.0.2.1");
    assert_eq!(give(&mut ledger, &young), "192.0.2.2");
    let mut same_second = ledger_of_two();
    assert_eq!(give(&mut same_second, &plain("b", 1, &["192.0.2.1"])), "192.0.2.2", "of one second: by uid");
}

fn ledger_of_two() -> Ledger {
    let mut ledger = ledger("192.0.2.1-192.0.2.2");
    set(&mut ledger, &plain("a", 1, &["192.0.2.1"]));
    set(&mut ledger, &plain("b", 1, &["192.0.2.1"]));
    ledger
}

#[test]
fn a_service_of_two_families_has_one_of_each() {
    let mut ledger = ledger("192.0.2.1 2001:db8::1");
    let both = |name: &str, second| service(name, second, &[], json!({"ipFamilies": ["IPv6", "IPv4"]}));
    assert_eq!(give(&mut ledger, &both("a", 1)), "2001:db8::1 192.0.2.1");
    ledger.forget(&both("a", 1).key());
    assert_eq!(give(&mut ledger, &plain("b", 2, &[])), "192.0.2.1");
    assert_eq!(give(&mut ledger, &both("a", 1)), "2001:db8::1 Full(V4)", "and what there is, if one is missing");
    assert_eq!(names(ledger.forget(&Key::new("shop", "b"))), "a");
}

/// The listeners may be behind the cache.
#[test]
fn a_promise_ends_by_the_service_that_was_looked_at() {
    let mut ledger = ledger("192.0.2.1-192.0.2.4");
    assert_eq!(give(&mut ledger, &plain("a", 1, &[])), "192.0.2.1");
    let shows = plain("a", 1, &["192.0.2.1"]);
    ledger.settle(&shows);
    assert_eq!(give(&mut ledger, &plain("b", 2, &[])), "192.0.2.2", "the first is a's, who is not told of yet");
    set(&mut ledger, &shows);
    ledger.settle(&shows);
    set(&mut ledger, &plain("a", 1, &[]));
    assert_eq!(give(&mut ledger, &plain("c", 3, &[])), "192.0.2.1", "what was shown is promised no more");
    ledger.settle(&plain("c", 3, &[]));
    assert_eq!(
        give(&mut ledger, &plain("d", 4, &[])),
        "192.0.2.1",
        "nor what the Service that was looked at does not show"
    );
    ledger.settle(&plain("d", 9, &["192.0.2.1"]));
    assert_eq!(give(&mut ledger, &plain("e", 5, &[])), "192.0.2.3", "one of another uid says nothing of it");
}

#[test]
fn one_that_is_made_anew_has_nothing_of_the_one_before() {
    let mut ledger = ledger("192.0.2.1");
    let before = plain("a", 1, &["192.0.2.1"]);
    set(&mut ledger, &before);
    assert_eq!(give(&mut ledger, &plain("b", 2, &[])), "Full(V4)");
    assert_eq!(set(&mut ledger, &plain("a", 3, &[])), "b");
    assert_eq!(give(&mut ledger, &plain("b", 2, &[])), "192.0.2.1");
    assert_eq!(give(&mut ledger, &plain("a", 3, &[])), "Full(V4)");
}

#[test]
fn what_is_a_nodes_own_is_nobody_elses() {
    let mut ledger = ledger("192.0.2.1-192.0.2.3");
    let node = |ledger: &mut Ledger, name: &str, all: &[&str]| {
        names(ledger.follow_node(name, all.iter().map(|ip| ip.parse().unwrap()).collect()))
    };
    assert_eq!(node(&mut ledger, "n1", &["192.0.2.1", "10.0.0.7"]), "");
    assert_eq!(give(&mut ledger, &plain("a", 1, &[])), "192.0.2.2");
    let asks = service("b", 2, &[], json!({"loadBalancerIP": "192.0.2.1"}));
    assert_eq!(give(&mut ledger, &asks), "OfNode(192.0.2.1)");
    assert_eq!(node(&mut ledger, "n2", &["192.0.2.1"]), "", "two say so");
    assert_eq!(node(&mut ledger, "n1", &[]), "", "one still does");
    assert_eq!(node(&mut ledger, "n2", &["192.0.2.2"]), "a b", "one moves to what a has, and b gets what it leaves");
    let a = plain("a", 1, &["192.0.2.2"]);
    assert_eq!(give(&mut ledger, &asks), "192.0.2.1");
    assert_eq!(give(&mut ledger, &a), "192.0.2.3", "it goes from what is a node's by now");
    assert_eq!(give(&mut ledger, &plain("c", 3, &[])), "Full(V4)");
    assert_eq!(gone(&mut ledger, &a), "c", "whatever a had");
    assert_eq!(give(&mut ledger, &plain("c", 3, &[])), "192.0.2.3");
    assert_eq!(give(&mut ledger, &plain("d", 4, &[])), "Full(V4)");
    assert_eq!(node(&mut ledger, "n2", &[]), "d");
    assert_eq!(give(&mut ledger, &plain("d", 4, &[])), "192.0.2.2");
}

#[test]
fn a_pool_of_none_gives_none() {
    assert_eq!(give(&mut ledger(""), &plain("a", 1, &[])), "Full(V4)");
}

/// Each taken and let go of once, in a pool that is larger than anybody would wait for if each were looked at each time.
#[test]
fn a_large_pool_costs_no_more() {
    let mut ledger = ledger("10.0.0.0/8");
    let many: Vec<Arc<Service>> = (0..2000).map(|n| plain(&format!("s{n}"), 1, &[])).collect();
    let given: BTreeSet<String> = many.iter().map(|service| give(&mut ledger, service)).collect();
    assert_eq!(given.len(), many.len(), "each once");
    many.iter().for_each(|service| drop(ledger.forget(&service.key())));
    assert_eq!(give(&mut ledger, &many[7]), "10.0.0.0");
    assert_eq!((ledger.holders.len(), ledger.services.len()), (1, 1), "what is free is not remembered");
}
