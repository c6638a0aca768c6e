//! An early look at a node that no apiserver may have a connection of any more: does the machine still answer?
//!
//! An answer or a refused connection means that it lives, however its kubelet is: then nothing changes, and its lease
//! decides as always. Only silence, several times, of an address that has answered before, means that it is dead.

use std::collections::HashSet;
use std::future::Future;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use corten_api::k8s_openapi::api::core::v1::Node;
use corten_api::{Object, node};
use futures::FutureExt;
use futures::future::BoxFuture;
use nix::errno::Errno;
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tracing::{debug, info};

use super::nodes::Nodes;
use super::reach;

const KUBELET_PORT: u16 = 10250;
const TRIES: u32 = 3;
/// Each try takes so long, also one that fails at once: a network that is changed is away for a moment.
pub(super) const TRY_FOR: Duration = Duration::from_secs(1);
/// Probes under way at a time. When more nodes than this fall silent together, most of a zone is lost, or we are.
const WIDTH: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Lives,
    IsSilent,
}

/// Why a node is not looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Declined {
    /// It is not ready, its silence would mean nothing, or it is being looked at.
    NeedsNone,
    /// Too many are lost, suspected or being looked at: later, perhaps.
    TooMany,
}

/// Where the node's kubelet listens.
pub fn address(node: &Node) -> Option<SocketAddr> {
    let ip: IpAddr = node::address(node, "InternalIP")?.parse().ok()?;
    let endpoints = node.status.as_ref().and_then(|s| s.daemon_endpoints.as_ref());
    let port = endpoints.and_then(|e| e.kubelet_endpoint.as_ref()).and_then(|e| u16::try_from(e.port).ok());
    Some(SocketAddr::new(ip, port.unwrap_or(KUBELET_PORT)))
}

/// What one try says; `None`: it timed out.
fn judge(tried: Option<io::Result<()>>) -> Verdict {
    let Some(Err(err)) = tried else {
        return if tried.is_some() { Verdict::Lives } else { Verdict::IsSilent };
    };
    let errno = err.raw_os_error().map(Errno::from_raw);
    let no_way = matches!(errno, Some(Errno::EHOSTUNREACH | Errno::EHOSTDOWN | Errno::ETIMEDOUT));
    // A refusal is an answer. All else (no route of ours, no file handle) says something of us and nothing of the node.
    if no_way || err.kind() == ErrorKind::TimedOut { Verdict::IsSilent } else { Verdict::Lives }
}

/// Whether one try was answered by the machine. What is an error of ours is neither an answer nor silence.
pub(super) fn is_answer(tried: Option<&io::Result<()>>) -> bool {
    let refused = |err: &io::Error| matches!(err.kind(), ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset);
    tried.is_some_and(|tried| tried.as_ref().err().is_none_or(refused))
}

/// Tries several times; one answer is enough.
pub async fn probe<F: Future<Output = io::Result<()>>>(mut connect: impl FnMut() -> F) -> Verdict {
    for _ in 0..TRIES {
        let over = Instant::now() + TRY_FOR;
        if judge(tokio::time::timeout_at(over, connect()).await.ok()) == Verdict::Lives {
            return Verdict::Lives;
        }
        tokio::time::sleep_until(over).await;
    }
    Verdict::IsSilent
}

/// Opens a connection to an address and closes it again: the port to the network.
pub type Dial = Arc<dyn Fn(SocketAddr) -> BoxFuture<'static, io::Result<()>> + Send + Sync>;

pub fn tcp() -> Dial {
    Arc::new(|address| async move { TcpStream::connect(address).await.map(drop) }.boxed())
}

/// Looks at nodes on a hint. Cheap to clone.
#[derive(Clone)]
pub struct Prober {
    nodes: Arc<Nodes>,
    dial: Dial,
    width: Arc<Semaphore>,
    /// Nodes that are looked at now: a second hint changes nothing.
    under_way: Arc<Mutex<HashSet<String>>>,
}

impl Prober {
    pub fn new(nodes: Arc<Nodes>, dial: Dial) -> Self {
        Self { nodes, dial, width: Arc::new(Semaphore::new(WIDTH)), under_way: Arc::default() }
    }

    /// An apiserver has lost the node: begins to look at it, if it counts as ready and its silence would mean something.
    pub fn look_at(&self, node: &Node) {
        if let Ok(looking) = self.begin(node, "its connections to an apiserver have ended") {
            tokio::spawn(looking);
        }
    }

    /// As `look_at`, and returns once the verdict is known and noted. `why`: what made it suspect.
    pub async fn look(&self, node: &Node, why: &'static str) -> Result<Verdict, Declined> {
        Ok(self.begin(node, why)?.await)
    }

    fn begin(&self, node: &Node, why: &'static str) -> Result<impl Future<Output = Verdict> + use<>, Declined> {
        let name = node.name().to_owned();
        if !node::is_ready(node) {
            return Err(Declined::NeedsNone);
        }
        let Some(address) = reach::answered(node) else {
            debug!(node = name, "no early look: it has never answered us, so its silence would be nothing new");
            return Err(Declined::NeedsNone);
        };
        if !self.under_way.lock().insert(name.clone()) {
            return Err(Declined::NeedsNone);
        }
        let Some((place, heard_at)) = self.place_for(&name) else {
            debug!(node = name, "no early look: too many nodes are lost or suspected");
            self.under_way.lock().remove(&name);
            return Err(Declined::TooMany);
        };
        let own = self.clone();
        Ok(async move {
            let verdict = probe(|| (own.dial)(address)).await;
            info!(node = name, %address, ?verdict, why, "has been looked at");
            match verdict {
                Verdict::Lives => own.nodes.unsuspect(&name),
                Verdict::IsSilent => own.nodes.found_silent(&name, heard_at),
            }
            own.under_way.lock().remove(&name);
            drop(place);
            verdict
        })
    }

    /// One of the few places to look from, and when the node was heard of last. It is suspected from now on.
    fn place_for(&self, name: &str) -> Option<(OwnedSemaphorePermit, Instant)> {
        let heard_at = self.nodes.suspect(name)?;
        let place = Arc::clone(&self.width).try_acquire_owned().ok()?;
        Some((place, heard_at))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use corten_api::k8s_openapi::api::core::v1::{NodeAddress, NodeCondition, NodeStatus};
    use corten_client::{Change, WorkQueue};
    use jiff::Timestamp;

    use super::*;

    /// A node that is ready, at this address.
    pub(in super::super) fn ready_at(name: &str, ip: &str) -> Node {
        let ready = NodeCondition { type_: "Ready".into(), status: "True".into(), ..NodeCondition::default() };
        let address = NodeAddress { type_: "InternalIP".into(), address: ip.into() };
        let status =
            NodeStatus { conditions: Some(vec![ready]), addresses: Some(vec![address]), ..NodeStatus::default() };
        let mut node = Node { status: Some(status), ..Node::default() };
        node.metadata.name = Some(name.into());
        node
    }

    /// As [`ready_at`], and it has answered there.
    pub(in super::super) fn answered_at(name: &str, ip: &str) -> Node {
        let mut node = ready_at(name, ip);
        let list = node.metadata.annotations.get_or_insert_default();
        list.insert(reach::ANSWERED_ANNOTATION.into(), format!("{ip}:{KUBELET_PORT}"));
        node
    }

    pub(in super::super) fn seen(all: &[Node]) -> Arc<Nodes> {
        let nodes = Nodes::new(WorkQueue::new(), corten_client::Cache::default());
        for node in all {
            nodes.on_lease(node.name(), Some(Timestamp::UNIX_EPOCH));
            nodes.on_node(&Change::Set { key: &node.key(), old: None, new: &Arc::new(node.clone()) });
        }
        Arc::new(nodes)
    }

    pub(in super::super) fn is_lost(nodes: &Nodes, node: &Node) -> bool {
        nodes.decide(node, Timestamp::now()).0.conditions.is_some()
    }

    #[tokio::test(start_paused = true)]
    async fn silence_counts_only_from_an_address_that_has_answered_before() {
        let mut moved = answered_at("moved", "10.0.0.3");
        moved.status = ready_at("moved", "10.0.0.4").status;
        let all = [ready_at("firewalled", "10.0.0.1"), answered_at("dead", "10.0.0.2"), moved];
        let nodes = seen(&all);
        let prober = Prober::new(Arc::clone(&nodes), Arc::new(|_| std::future::pending().boxed()));
        for (node, expected) in all.iter().zip([false, true, false]) {
            prober.look_at(node);
            tokio::time::sleep(Duration::from_secs(4)).await;
            assert_eq!(is_lost(&nodes, node), expected, "{}", node.name());
        }
    }

    #[test]
    fn verdicts_of_one_try() {
        let os = |errno: Errno| Some(Err(io::Error::from_raw_os_error(errno as i32)));
        let cases = [
            ("it answers", Some(Ok(())), Verdict::Lives),
            ("nobody listens: the machine says so", os(Errno::ECONNREFUSED), Verdict::Lives),
            ("cut off by the machine", os(Errno::ECONNRESET), Verdict::Lives),
            ("silence", None, Verdict::IsSilent),
            ("silence, as the kernel found", os(Errno::ETIMEDOUT), Verdict::IsSilent),
            ("no answer to ARP", os(Errno::EHOSTUNREACH), Verdict::IsSilent),
            ("we have no route to anybody", os(Errno::ENETUNREACH), Verdict::Lives),
            ("we have no file handle", os(Errno::EMFILE), Verdict::Lives),
        ];
        for (why, tried, expected) in cases {
            assert_eq!(judge(tried), expected, "{why}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_answer_of_several_tries_is_enough_and_silence_is_known_within_four_seconds() {
        let began = Instant::now();
        assert_eq!(probe(std::future::pending).await, Verdict::IsSilent);
        assert!(began.elapsed() <= Duration::from_secs(4), "{:?}", began.elapsed());
        let mut tries = 0;
        let late = probe(|| {
            tries += 1;
            let answers = tries == TRIES;
            async move { if answers { Ok(()) } else { std::future::pending().await } }
        });
        assert_eq!(late.await, Verdict::Lives);
    }
}
