//! What containers of a pod share, and what they do not.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use corten_kubelet::network::netns;
use corten_kubelet::runtime::{Network, Runtime, RuntimeError, SandboxSpec, State};

use crate::node::Node;
use crate::pods::{self, Pods, shell};

/// A pod of two containers in namespaces of its own; what the two say to the same question.
struct Pair<'a> {
    pods: &'a Pods,
    sandbox: String,
    containers: [String; 2],
}

impl<'a> Pair<'a> {
    async fn start(pods: &'a Pods, spec: &SandboxSpec) -> Self {
        let sandbox = pods.runtime.create_sandbox(spec).await.unwrap();
        let first = pods.run(&sandbox, &pods.container("first", &[])).await;
        let second = pods.run(&sandbox, &pods.container("second", &[])).await;
        Self { pods, sandbox, containers: [first, second] }
    }

    /// As the node sees them.
    async fn namespaces(&self, kind: &str) -> [PathBuf; 2] {
        let of = async |id: &str| {
            let state = pods::state(&self.pods.runtime, id).await;
            let Some(State::Running { pid, .. }) = state else { panic!("{state:?}") };
            std::fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap()
        };
        [of(&self.containers[0]).await, of(&self.containers[1]).await]
    }

    async fn ask(&self, script: &str) -> [String; 2] {
        let answer = async |id: &str| {
            let result = self.pods.runtime.exec_sync(id, &shell(script), Duration::from_secs(10)).await.unwrap();
            String::from_utf8(result.output).unwrap().trim().to_owned()
        };
        [answer(&self.containers[0]).await, answer(&self.containers[1]).await]
    }
}

fn with_network(pods: &Pods, uid: &str) -> (PathBuf, SandboxSpec) {
    let path = pods.dir.join("netns").join(uid);
    netns::create(&path).unwrap();
    let sysctls = [("net.core.somaxconn".to_owned(), "321".to_owned())].into();
    let network = Network::Pod { netns: path.clone() };
    (path, SandboxSpec { network, sysctls, ..pods.sandbox(uid) })
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_share_their_pods_namespaces_and_no_others() {
    let Some(node) = Node::start().await else { return };
    let pods = Pods::of(&node).await;
    for (uid, shares_pids) in [("own", false), ("shared", true)] {
        let (netns, spec) = with_network(&pods, uid);
        let spec = SandboxSpec { share_process_namespace: shares_pids, ..spec };
        let pair = Pair::start(&pods, &spec).await;
        for (kind, is_shared) in [("net", true), ("uts", true), ("ipc", true), ("pid", shares_pids), ("mnt", false)] {
            let [first, second] = pair.namespaces(kind).await;
            assert_eq!(first == second, is_shared, "{uid}: {kind}");
            let hosts = std::fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
            assert_ne!(first, hosts, "{uid}: {kind} is not the node's");
        }
        assert_eq!(
            pair.ask("cat /proc/sys/kernel/hostname /proc/sys/net/core/somaxconn").await,
            ["web-0\n321", "web-0\n321"]
        );
        let [_, seen] = pair.ask("[ -f /dev/shm/note ] && cat /dev/shm/note || echo here > /dev/shm/note").await;
        assert_eq!(seen, "here", "{uid}: one shared memory");
        // The pod's mounts end with it, and a stop is the end of all that runs.
        pods.runtime.stop_sandbox(&pair.sandbox).await.unwrap();
        let listed = pods.runtime.list().await.unwrap();
        assert!(listed.sandboxes.iter().filter(|s| s.id == pair.sandbox).all(|s| !s.is_up), "{uid}");
        pods.runtime.stop_sandbox(&pair.sandbox).await.expect("stopping twice is fine");
        pods.runtime.remove_sandbox(&pair.sandbox).await.unwrap();
        netns::remove(&netns).unwrap();
    }
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let left: BTreeSet<&str> =
        mounts.lines().filter(|l| l.contains(&*pods.dir.join("runtime").to_string_lossy())).collect();
    assert!(left.is_empty(), "{left:?}");
    pods.clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sandbox_that_lost_its_namespaces_is_down_and_another_kubelet_knows_one_that_has_them() {
    let Some(node) = Node::start().await else { return };
    let pods = Pods::of(&node).await;
    let (netns, spec) = with_network(&pods, "u1");
    let sandbox = pods.runtime.create_sandbox(&spec).await.unwrap();
    let again = Pods::again(&node, &pods);
    let is_up = async || again.runtime.list().await.unwrap().sandboxes.iter().any(|s| s.id == sandbox && s.is_up);
    assert!(is_up().await, "as it was made");
    // As after a reboot: the files are there, nothing is mounted on them.
    let uts = pods.dir.join("runtime/sandboxes").join(&sandbox).join("uts");
    nix::mount::umount(&uts).unwrap();
    assert!(!is_up().await);
    let made = again.runtime.create_container(&sandbox, &pods.container("web", &[])).await;
    assert!(matches!(made, Err(RuntimeError::NotRunning { .. })), "{made:?}");
    assert_eq!(again.runtime.create_sandbox(&spec).await.unwrap(), sandbox, "it is made anew");
    assert!(is_up().await);
    pods.clean().await;
    netns::remove(&netns).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sysctl_of_the_node_is_refused() {
    let Some(node) = Node::start().await else { return };
    let pods = Pods::of(&node).await;
    let sysctls = [("kernel.panic".to_owned(), "1".to_owned())].into();
    let refused = pods.runtime.create_sandbox(&SandboxSpec { sysctls, ..pods.sandbox("u1") }).await;
    assert!(matches!(refused, Err(RuntimeError::BadSpec(_))), "{refused:?}");
    assert!(pods.runtime.list().await.unwrap().sandboxes.is_empty(), "nothing is left of it");
    pods.clean().await;
}
