//! What 10,000 Services with 100,000 endpoints cost: elements written at a start and for each change. The kernel's half runs in
//! a network namespace of its own; it needs root and says so and passes without. Times are printed, for an eye on them.
#![expect(clippy::unwrap_used, reason = "a test: what fails here fails the test")]

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Instant;

use corten_api::Key;
use corten_proxy::nft::kernel::{Kernel, Mended};
use corten_proxy::ruleset::elements::{self, Elements};
use corten_proxy::ruleset::ledger::{Claims, Ledger};
use corten_proxy::ruleset::{Owner, Place, desired, diff};
use corten_proxy::view::{Endpoint, Hints, Protocol, Service, ServicePort, Slice, SlicePort};
use nix::sched::{CloneFlags, unshare};

const SERVICES: u32 = 10_000;
const ENDPOINTS_EACH: u32 = 10;
/// The slot of each end, and the front's verdict.
const ELEMENTS_EACH: u32 = ENDPOINTS_EACH + 1;
/// One endpoint changes its slot, the last slot, and the verdict that counts the slots.
const ELEMENTS_PER_ENDPOINT: usize = 3;

fn place() -> Place {
    Place {
        addresses: BTreeSet::from([Ipv4Addr::new(192, 0, 2, 1)]),
        pod_cidr: Some("10.244.0.0/24".parse().unwrap()),
        nodes: BTreeSet::from([Ipv4Addr::new(192, 0, 2, 1)]),
        cluster_dns: Ipv4Addr::new(10, 96, 0, 10),
        cluster_cidr: "10.128.0.0/9".parse().unwrap(),
        bridge_sees_ip: true,
        drop_invalid: true,
        zone: None,
    }
}

/// Service `n`, without its first `gone` endpoints.
fn claims(n: u32, gone: u32) -> (Owner, Claims) {
    let key = Key::new("default", format!("service-{n}"));
    let port = ServicePort { name: String::new(), protocol: Protocol::Tcp, port: 80, node_port: None };
    let cluster_ips = vec![Ipv4Addr::from(0x0a60_0000 + 256 + n)];
    let service = Service { key: key.clone(), cluster_ips, ports: vec![port], ..Service::default() };
    let endpoint = |e: u32| Endpoint {
        address: Ipv4Addr::from(0x0a80_0000 + n * ENDPOINTS_EACH + e),
        ready: true,
        serving: true,
        terminating: false,
        local: false,
        hostname: None,
        hints: Hints::default(),
    };
    let ports = vec![SlicePort { name: String::new(), protocol: Protocol::Tcp, port: 8080 }];
    let endpoints = (gone..ENDPOINTS_EACH).map(endpoint).collect();
    let slice = Slice { key: key.clone(), service: key.clone(), ports, endpoints };
    (Owner::Service(key), desired::service(&service, &[&slice], &place()))
}

fn all() -> Ledger {
    let mut ledger = Ledger::default();
    for n in 0..SERVICES {
        let (owner, claims) = claims(n, 0);
        ledger.set(&owner, claims);
    }
    ledger
}

fn wanted(ledger: &Ledger) -> Elements {
    let fronts = ledger.iter().flat_map(|(front, rules)| elements::of_front(front, rules));
    elements::of_place(&place()).into_iter().chain(fronts).collect()
}

#[test]
fn a_change_in_a_cluster_of_a_hundred_thousand_endpoints_costs_what_it_costs_in_a_small_one() {
    let mut ledger = all();
    let began = Instant::now();
    for (what, n, gone, most) in [
        ("an endpoint leaves", 17, 1, ELEMENTS_PER_ENDPOINT),
        ("it comes back", 17, 0, ELEMENTS_PER_ENDPOINT),
        ("nothing changes", 17, 0, 0),
        ("three leave at once", 17, 3, 2 * ELEMENTS_PER_ENDPOINT + 1),
        ("a Service comes", SERVICES, 0, ELEMENTS_EACH as usize),
    ] {
        let (owner, claims) = claims(n, gone);
        let edits = diff::edits(&ledger.set(&owner, claims));
        assert!(edits.len() <= most, "{what}: {} elements", edits.len());
    }
    let (owner, _) = claims(SERVICES, 0);
    assert_eq!(diff::edits(&ledger.set(&owner, Claims::default())).len(), ELEMENTS_EACH as usize, "it goes");
    println!("six changes decided in {:?}", began.elapsed());
}

#[test]
fn ten_thousand_services_with_a_hundred_thousand_endpoints_load_in_one_batch_and_a_restart_rewrites_none() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: making network namespaces takes root");
        return;
    }
    // Each test has a thread, and a namespace ends with the last thread in it.
    unshare(CloneFlags::CLONE_NEWNET).unwrap();
    let (mut kernel, began) = (Kernel::open().unwrap(), Instant::now());
    let mut ledger = all();
    let want = wanted(&ledger);
    println!(
        "{SERVICES} Services with {ENDPOINTS_EACH} endpoints each: {} elements in {:?}",
        want.len(),
        began.elapsed()
    );
    assert_eq!(want.len() - elements::of_place(&place()).len(), (SERVICES * ELEMENTS_EACH) as usize);
    let began = Instant::now();
    assert_eq!(kernel.reconcile(&place(), &want).unwrap().added, want.len());
    println!("written in {:?}", began.elapsed());

    let began = Instant::now();
    let (owner, left) = claims(17, 1);
    kernel.apply(&diff::edits(&ledger.set(&owner, left))).unwrap();
    println!("one endpoint of one of them changed in {:?}", began.elapsed());

    // A new process knows nothing of slots that moved.
    let (mut kernel, mut ledger, began) = (Kernel::open().unwrap(), all(), Instant::now());
    let (owner, left) = claims(17, 1);
    ledger.set(&owner, left);
    let found = kernel.prepare(&place()).unwrap();
    ledger.adopt(&found.elements);
    assert_eq!(kernel.mend(&found, &wanted(&ledger)).unwrap(), Mended::default());
    println!("compared after a restart in {:?}", began.elapsed());
}
