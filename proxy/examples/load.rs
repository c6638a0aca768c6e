//! Times the kernel: 10,000 Services loaded as one batch, one added, one changed, all read back. Runs in a network
//! namespace of its own: `cargo run --release -p corten-proxy --example load` (as root).

use std::collections::BTreeSet;
use std::error::Error;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Instant;

use corten_api::Key;
use corten_proxy::nft::kernel::Kernel;
use corten_proxy::ruleset::ledger::{Claim, Claims, Ledger, Rank};
use corten_proxy::ruleset::{End, Fate, Front, FrontRules, Owner, Place, diff, elements};
use corten_proxy::view::Protocol;
use nix::sched::{CloneFlags, unshare};

const SERVICES: u32 = 10_000;

fn service(n: u32, ends: u32) -> (Owner, Claims) {
    let front = Front { address: Ipv4Addr::from(0x0a60_0000 + 256 + n), protocol: Protocol::Tcp, port: 80 };
    let ends: Arc<[End]> =
        (0..ends).map(|e| End { address: Ipv4Addr::from(0x0af4_0000 + n * 4 + e), port: 8080 }).collect();
    let rules = FrontRules { inside: Fate::Balance(ends), outside: None, affinity_secs: None };
    let claim = Claim { front, rank: Rank::ClusterIp, rules };
    (Owner::Service(Key::new("default", format!("service-{n}"))), Claims { fronts: vec![claim], ..Claims::default() })
}

fn main() -> Result<(), Box<dyn Error>> {
    unshare(CloneFlags::CLONE_NEWNET)?;
    let place = Place {
        addresses: BTreeSet::from(["192.0.2.1".parse()?]),
        pod_cidr: Some("10.244.0.0/24".parse()?),
        nodes: BTreeSet::from(["192.0.2.1".parse()?]),
        cluster_dns: "10.96.0.10".parse()?,
        cluster_cidr: "10.244.0.0/16".parse()?,
        bridge_sees_ip: true,
        drop_invalid: true,
    };
    let mut kernel = Kernel::open()?;
    let mut ledger = Ledger::default();
    let mut want = elements::of_place(&place);
    let started = Instant::now();
    kernel.reconcile(&place, &want)?;
    println!("base table and {} elements of the node: {:?}", want.len(), started.elapsed());

    let started = Instant::now();
    let mut changes = Vec::new();
    for n in 0..SERVICES {
        let (owner, claims) = service(n, 2);
        changes.extend(ledger.set(&owner, claims));
    }
    let edits = diff::edits(&changes);
    let decided = started.elapsed();
    let started = Instant::now();
    kernel.apply(&edits)?;
    println!(
        "{SERVICES} Services, {} elements in one batch: {:?} (decided in {decided:?})",
        edits.len(),
        started.elapsed()
    );

    for (what, ends) in [("one added", 2), ("its ends grow from 2 to 3", 3)] {
        let started = Instant::now();
        let (owner, claims) = service(SERVICES, ends);
        let edits = diff::edits(&ledger.set(&owner, claims));
        kernel.apply(&edits)?;
        println!("{what}: {:?} ({} edits)", started.elapsed(), edits.len());
    }

    for (front, rules) in ledger.iter() {
        want.extend(elements::of_front(front, rules));
    }
    let started = Instant::now();
    let mended = kernel.reconcile(&place, &want)?;
    println!("full comparison of {} elements: {:?}, {mended:?}", want.len(), started.elapsed());
    Ok(())
}
