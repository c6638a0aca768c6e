//! What every pod network must do, run against the fake and the real one.

use std::path::PathBuf;

use super::bridge::BridgeNetwork;
use super::fake::FakeNetwork;
use super::{NetworkError, PodNetwork, PodRef};

fn pod(uid: &str) -> PodRef {
    PodRef { uid: uid.into(), namespace: "default".into(), name: uid.into() }
}

async fn keeps_the_contract(network: &dyn PodNetwork) {
    assert!(matches!(network.attach(&pod("a")).await, Err(NetworkError::NoPodCidr)));
    assert!(network.ready().await.is_err());
    let small = "10.77.3.0/29";
    assert!(network.set_pod_cidr("10.77.3.0/31".parse().unwrap()).await.is_err(), "too small");
    network.set_pod_cidr(small.parse().unwrap()).await.unwrap();
    network.set_pod_cidr(small.parse().unwrap()).await.expect("the same again is fine");
    network.ready().await.unwrap();

    let a = network.attach(&pod("a")).await.unwrap();
    assert_eq!(a.addresses, ["10.77.3.2".parse::<std::net::IpAddr>().unwrap()]);
    assert_eq!(network.attach(&pod("a")).await.unwrap(), a, "attaching twice changes nothing");
    let b = network.attach(&pod("b")).await.unwrap();
    assert_ne!(a.addresses, b.addresses);
    assert_eq!(network.list().await.unwrap(), [a.clone(), b]);

    for uid in ["c", "d", "e"] {
        network.attach(&pod(uid)).await.unwrap();
    }
    assert!(matches!(network.attach(&pod("f")).await, Err(NetworkError::Exhausted { .. })));
    network.detach("a").await.unwrap();
    network.detach("a").await.expect("detaching twice is fine");
    assert_eq!(network.attach(&pod("f")).await.unwrap().addresses, a.addresses, "a freed address is used again");
    for attachment in network.list().await.unwrap() {
        network.detach(&attachment.pod_uid).await.unwrap();
    }
    assert!(network.list().await.unwrap().is_empty());
}

#[tokio::test]
async fn the_fake_keeps_the_contract() {
    keeps_the_contract(&FakeNetwork::default()).await;
}

/// A node of its own: the whole test lives in a fresh network namespace, so the host's links are never touched.
fn on_a_node_of_its_own(test: impl FnOnce(PathBuf) + Send) {
    if !nix::unistd::geteuid().is_root() {
        return eprintln!("skipped: needs root");
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("netns");
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
            test(path);
        });
        thread.join().unwrap();
    });
}

/// All threads that a runtime starts from here are in the namespace of this thread.
fn run<F: Future>(test: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test)
}

#[test]
fn the_bridge_keeps_the_contract() {
    on_a_node_of_its_own(|dir| run(async { keeps_the_contract(&BridgeNetwork::new(&dir).unwrap()).await }));
}

#[test]
fn a_pod_that_takes_another_hardware_address_reaches_nobody() {
    on_a_node_of_its_own(|dir| {
        run(async {
            let network = BridgeNetwork::new(&dir).unwrap();
            network.set_pod_cidr("10.77.5.0/24".parse().unwrap()).await.unwrap();
            let (pod_a, pod_b) = (pod("a"), pod("b"));
            let (a, b) = tokio::try_join!(network.attach(&pod_a), network.attach(&pod_b)).unwrap();
            let address = std::net::SocketAddr::new(b.addresses[0], 8080);
            let _listener = super::netns::inside(&b.netns, move || std::net::TcpListener::bind(address)).unwrap();
            let reaches = |wait| {
                super::netns::inside(&a.netns, move || std::net::TcpStream::connect_timeout(&address, wait)).is_ok()
            };
            let takes = |hardware: [u8; 6]| {
                let text = hardware.map(|byte| format!("{byte:02x}")).join(":");
                super::netns::inside(&a.netns, move || {
                    let change = ["link", "set", "eth0", "address", text.as_str()];
                    std::process::Command::new("ip").args(change).status().map(|status| assert!(status.success()))
                })
                .unwrap();
            };
            let (long, short) = (std::time::Duration::from_secs(5), std::time::Duration::from_millis(300));
            let of = |attachment: &super::Attachment| corten_api::hardware_address::of(attachment.addresses[0]);
            assert!(reaches(long), "under its own");
            takes(of(&b));
            assert!(!reaches(short), "under its neighbour's");
            takes([2, 1, 2, 3, 4, 5]);
            assert!(!reaches(short), "under one that nobody has");
            takes(of(&a));
            assert!(reaches(long), "under its own again");
        });
    });
}

#[test]
fn pods_reach_each_other_and_a_restart_gives_no_address_twice() {
    on_a_node_of_its_own(|dir| {
        run(async {
            let network = BridgeNetwork::new(&dir).unwrap();
            network.set_pod_cidr("10.77.4.0/24".parse().unwrap()).await.unwrap();
            let (pod_a, pod_b) = (pod("a"), pod("b"));
            let (a, b) = tokio::try_join!(network.attach(&pod_a), network.attach(&pod_b)).unwrap();

            let address = std::net::SocketAddr::new(b.addresses[0], 8080);
            let netns = b.netns.clone();
            let listener = super::netns::inside(&netns, move || std::net::TcpListener::bind(address)).unwrap();
            let netns = a.netns.clone();
            super::netns::inside(&netns, move || {
                std::net::TcpStream::connect_timeout(&address, std::time::Duration::from_secs(5))
            })
            .expect("pod to pod over the bridge");
            std::net::TcpStream::connect_timeout(&address, std::time::Duration::from_secs(5)).expect("node to pod");
            let (_, peer) = listener.accept().unwrap();
            assert_eq!(peer.ip(), a.addresses[0], "no address translation between pods");

            drop(network);
            let again = BridgeNetwork::new(&dir).unwrap();
            assert_eq!(again.list().await.unwrap(), [a.clone(), b]);
            assert_eq!(again.attach(&pod("a")).await.unwrap(), a, "known before the podCIDR is");
            again.set_pod_cidr("10.77.4.0/24".parse().unwrap()).await.unwrap();
            let c = again.attach(&pod("c")).await.unwrap();
            assert_eq!(c.addresses, ["10.77.4.4".parse::<std::net::IpAddr>().unwrap()]);
            for uid in ["a", "b", "c"] {
                again.detach(uid).await.unwrap();
            }
        });
    });
}
