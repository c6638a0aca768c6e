//! Routes and the DNS link in a network namespace of their own. Needs root; says so and passes without.
#![expect(clippy::unwrap_used, reason = "a test: what fails here fails the test")]

use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use corten_proxy::dns::link;
use corten_proxy::routes::desired::{Edit, Routes};
use corten_proxy::routes::{apply, events};
use ipnet::Ipv4Net;
use nix::sched::{CloneFlags, unshare};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

fn ip(command: &str) -> String {
    let output = Command::new("ip").args(command.split_whitespace()).output().unwrap();
    assert!(output.status.success(), "ip {command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Runs `test` in a new namespace with a link eth0 at 192.0.2.1/24.
fn in_namespace<F: Future<Output = ()>>(test: impl FnOnce(rtnetlink::Handle) -> F) {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: making network namespaces takes root");
        return;
    }
    // Each test has a thread, and a namespace ends with the last thread in it.
    unshare(CloneFlags::CLONE_NEWNET).unwrap();
    ip("link set lo up");
    ip("link add eth0 type bridge");
    ip("link set eth0 up");
    ip("address add 192.0.2.1/24 dev eth0");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (connection, handle, _) = rtnetlink::new_connection().unwrap();
        tokio::spawn(connection);
        test(handle).await;
    });
}

#[test]
fn routes_are_set_moved_and_removed_and_others_stay() {
    in_namespace(|handle| async move {
        ip("route add 203.0.113.0/24 via 192.0.2.9");
        let pods: Ipv4Net = "10.244.2.0/24".parse().unwrap();
        let (first, second) = (Ipv4Addr::new(192, 0, 2, 2), Ipv4Addr::new(192, 0, 2, 3));
        apply::apply(&handle, Edit::Set(pods, first)).await.unwrap();
        assert_eq!(apply::ours(&handle).await.unwrap(), Routes::from([(pods, first)]));
        apply::apply(&handle, Edit::Set(pods, second)).await.unwrap();
        assert_eq!(apply::ours(&handle).await.unwrap(), Routes::from([(pods, second)]), "moved, not doubled");
        for _ in 0..2 {
            apply::apply(&handle, Edit::Remove(pods, second)).await.unwrap();
        }
        assert_eq!(apply::ours(&handle).await.unwrap(), Routes::new());
        assert!(ip("route").contains("203.0.113.0/24 via 192.0.2.9"), "another's route stays");
    });
}

#[test]
fn a_link_that_was_down_is_noticed_and_so_is_a_route_of_ours_that_somebody_took() {
    in_namespace(|handle| async move {
        let stop = CancellationToken::new();
        let told = Arc::new(Notify::new());
        let teller = Arc::clone(&told);
        events::watch(&stop, move || teller.notify_one()).unwrap();
        let hears = async |what: &str| {
            let told = tokio::time::timeout(Duration::from_secs(5), told.notified()).await;
            assert!(told.is_ok(), "nobody heard that {what}");
        };
        let pods: Ipv4Net = "10.244.2.0/24".parse().unwrap();
        apply::apply(&handle, Edit::Set(pods, Ipv4Addr::new(192, 0, 2, 2))).await.unwrap();
        ip("route del 10.244.2.0/24");
        hears("the route is gone").await;
        apply::apply(&handle, Edit::Set(pods, Ipv4Addr::new(192, 0, 2, 2))).await.unwrap();
        ip("link set eth0 down");
        ip("link set eth0 up");
        assert_eq!(apply::ours(&handle).await.unwrap(), Routes::new(), "the kernel has dropped it");
        hears("the link was down").await;
    });
}

#[test]
fn the_dns_link_has_one_address_and_is_none_of_the_nodes() {
    in_namespace(|handle| async move {
        link::ensure(&handle, Ipv4Addr::new(10, 96, 0, 11)).await.unwrap();
        for _ in 0..2 {
            link::ensure(&handle, Ipv4Addr::new(10, 96, 0, 10)).await.unwrap();
        }
        let shown = ip("-4 -o address show dev corten-dns");
        assert!(shown.contains("10.96.0.10/32") && !shown.contains("10.96.0.11"), "{shown}");
        let own = apply::own_networks(&handle, link::LINK).await.unwrap();
        assert_eq!(own, ["192.0.2.1/24".parse().unwrap()]);
    });
}
