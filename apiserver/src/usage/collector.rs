//! Asks kubelets what is used, for as long as somebody wants to know.
//!
//! Nobody asks: nothing runs and nothing is kept. The first request starts one task; it measures twice, a few seconds apart, and
//! the request waits for that. From then on it measures each [`ROUND_EVERY`], so many kubelets at once, and ends when nobody has
//! asked for [`IDLE_AFTER`].

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use corten_api::ApiError;
use corten_api::error::with_causes;
use corten_proto::node::StatsRequest;
use futures::StreamExt;
use k8s_openapi::api::core::v1::Node;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::samples::NodeSamples;
use super::summary::{Summary, SummaryError};
use crate::connect::kubelets::KubeletAddress;
use crate::connect::{Kubelets, pod};
use crate::resources::{Authorized, ListOptions, ReadAt, Resources, target};

/// As upstream's metrics-server.
const ROUND_EVERY: Duration = Duration::from_secs(15);
/// From the first round to the second: the sooner it comes, the sooner there is something to tell.
const WARM_UP: Duration = Duration::from_secs(4);
/// A request waits so long for the second round, and then has what there is.
const FIRST_WAIT: Duration = Duration::from_secs(15);
const IDLE_AFTER: Duration = Duration::from_secs(300);
/// Kubelets that are asked at once.
const AT_ONCE: usize = 64;
/// For one kubelet's answer.
const NODE_DEADLINE: Duration = Duration::from_secs(5);
/// For all of them. Who was not asked by then is asked in the next round.
const ROUND_DEADLINE: Duration = Duration::from_secs(14);
/// What a kubelet told is not shown for longer.
const STALE_AFTER: Duration = Duration::from_secs(60);
/// Points of all nodes together, of some 200 bytes each: 10,000 nodes with 100 containers each.
const POINTS_MAX: usize = 1_000_000;

/// What was found in one round and those before, by node.
pub type Found = HashMap<Arc<str>, Heard>;

/// What one kubelet told, and when.
#[derive(Clone, Debug)]
pub struct Heard {
    pub samples: Arc<NodeSamples>,
    at: Instant,
}

/// Cheap to clone.
#[derive(Clone, Debug)]
pub struct Collector(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    resources: Resources,
    kubelets: Kubelets,
    found: ArcSwap<Found>,
    /// Rounds since the task began; 0 while there is none.
    rounds: watch::Sender<u64>,
    task: Mutex<Task>,
}

#[derive(Debug)]
struct Task {
    runs: bool,
    asked_at: Instant,
}

impl Collector {
    pub fn new(resources: Resources, kubelets: Kubelets) -> Self {
        let task = Mutex::new(Task { runs: false, asked_at: Instant::now() });
        Self(Arc::new(Inner { resources, kubelets, found: ArcSwap::default(), rounds: watch::Sender::new(0), task }))
    }

    /// What is known now. Starts to measure where nobody has asked of late, and waits until there is something.
    pub async fn found(&self) -> Arc<Found> {
        let mut rounds = self.0.rounds.subscribe();
        self.start();
        // Too slow, or ended meanwhile: there is what there is.
        let _measured = timeout(FIRST_WAIT, rounds.wait_for(|rounds| *rounds >= 2)).await;
        self.0.found.load_full()
    }

    fn start(&self) {
        let mut task = self.0.task.lock();
        task.asked_at = Instant::now();
        if task.runs {
            return;
        }
        task.runs = true;
        let drained = self.0.resources.drained();
        tokio::spawn(drained.run_until_cancelled_owned(run(Arc::downgrade(&self.0))));
    }

    #[cfg(test)]
    fn runs(&self) -> bool {
        self.0.task.lock().runs
    }
}

async fn run(inner: Weak<Inner>) {
    let mut addresses = Addresses::default();
    loop {
        let began = Instant::now();
        let rounds = {
            let Some(inner) = inner.upgrade() else { return };
            if let Err(err) = inner.round(&mut addresses, began).await {
                tracing::warn!(%err, "what nodes and pods use could not be asked for; again soon");
            }
            let rounds = *inner.rounds.borrow() + 1;
            inner.rounds.send_replace(rounds);
            rounds
        };
        sleep_until(began + if rounds == 1 { WARM_UP } else { ROUND_EVERY }).await;
        let Some(inner) = inner.upgrade() else { return };
        if inner.ends() {
            return;
        }
    }
}

/// The kubelets, by node: most do not change from round to round.
type Addresses = HashMap<Arc<str>, Known>;

#[derive(Clone, Debug)]
struct Known {
    /// Of the Node that says where it serves.
    revision: i64,
    address: KubeletAddress,
    asked_at: Option<Instant>,
    has_failed: bool,
}

/// In which order they are asked: those first that answer, so that however many are dead, these are heard in each round; of
/// the others who was not asked for longest.
fn in_turn(addresses: &Addresses) -> Vec<(Arc<str>, KubeletAddress)> {
    let mut known: Vec<(&Arc<str>, &Known)> = addresses.iter().collect();
    known.sort_by_key(|(_, known)| (known.has_failed, known.asked_at));
    known.into_iter().map(|(node, known)| (node.clone(), known.address.clone())).collect()
}

impl Inner {
    /// Whether nobody has asked for long; then all is forgotten.
    fn ends(&self) -> bool {
        let mut task = self.task.lock();
        if task.asked_at.elapsed() < IDLE_AFTER {
            return false;
        }
        task.runs = false;
        self.found.store(Arc::default());
        self.rounds.send_replace(0);
        true
    }

    async fn round(&self, addresses: &mut Addresses, began: Instant) -> Result<(), ApiError> {
        self.find(addresses).await?;
        let mut found = Found::clone(&self.found.load());
        found.retain(|node, heard| addresses.contains_key(node) && heard.at.elapsed() < STALE_AFTER);
        let nodes = in_turn(addresses);
        let (asked, mut failed, mut left_out) = (nodes.len(), 0_usize, 0_usize);
        let mut points: usize = found.values().map(|heard| heard.samples.weight()).sum();
        let answers = futures::stream::iter(nodes).map(|(node, address)| async move {
            let answer = self.ask(&address).await;
            (node, answer)
        });
        let mut answers = answers.buffer_unordered(AT_ONCE);
        while let Ok(Some((node, answer))) = timeout_at(began + ROUND_DEADLINE, answers.next()).await {
            if let Some(known) = addresses.get_mut(&node) {
                (known.asked_at, known.has_failed) = (Some(Instant::now()), answer.is_err());
            }
            match answer {
                Ok(summary) => {
                    let old = found.get(&node).map(|heard| heard.samples.clone());
                    let samples = NodeSamples::then(old.as_deref(), summary);
                    let others = points - old.map_or(0, |old| old.weight());
                    if others + samples.weight() > POINTS_MAX {
                        left_out += 1;
                        continue;
                    }
                    points = others + samples.weight();
                    found.insert(node, Heard { samples: Arc::new(samples), at: Instant::now() });
                }
                Err(err) => {
                    tracing::debug!(%node, why = with_causes(&err), "a kubelet does not tell what is used");
                    failed += 1;
                }
            }
        }
        drop(answers);
        if left_out > 0 {
            tracing::warn!(left_out, "what is used on more nodes than fit is not told: {POINTS_MAX} points at most");
        }
        tracing::debug!(asked, failed, points, took = ?began.elapsed(), "asked what nodes and pods use");
        self.found.store(Arc::new(found));
        Ok(())
    }

    /// The nodes as they are now.
    async fn find(&self, addresses: &mut Addresses) -> Result<(), ApiError> {
        let options = ListOptions { at: ReadAt::Any, ..ListOptions::default() };
        let nodes = self.resources.list_items(&Authorized::own(target("", "nodes", "", "")), options).await?;
        let mut now = Addresses::with_capacity(nodes.items.len());
        for item in &nodes.items {
            let known = addresses.get_key_value(item.name()).filter(|(_, known)| known.revision == item.revision);
            if let Some((node, known)) = known {
                now.insert(node.clone(), known.clone());
                continue;
            }
            let Ok(node) = serde_json::from_slice::<Node>(&item.object()) else { continue };
            // A node that has told no address yet has nobody to ask.
            let Ok(address) = pod::address_of(&node) else { continue };
            let (asked_at, has_failed) = known_before(addresses, item.name());
            now.insert(item.name().into(), Known { revision: item.revision, address, asked_at, has_failed });
        }
        *addresses = now;
        Ok(())
    }

    async fn ask(&self, address: &KubeletAddress) -> Result<Summary, AskError> {
        let mut client = self.kubelets.client(address).map_err(AskError::Channel)?;
        let told = timeout(NODE_DEADLINE, client.stats(StatsRequest {})).await;
        let told = told.map_err(|_| AskError::Silent).and_then(|told| Ok(told?.into_inner()));
        // The next round makes a new connection, with the certificate that the file has then.
        let told = told.inspect_err(|_| self.kubelets.forget(address))?;
        Ok(Summary::parse(&told.summary_json)?)
    }
}

/// Why nothing is known of a node in this round.
#[derive(Debug, thiserror::Error)]
enum AskError {
    #[error("the way to the kubelet cannot be made")]
    Channel(#[source] ApiError),
    #[error("the kubelet refuses, or cannot be reached")]
    Refused(#[from] tonic::Status),
    #[error("the kubelet does not answer within {NODE_DEADLINE:?}")]
    Silent,
    #[error(transparent)]
    Summary(#[from] SummaryError),
}

fn known_before(addresses: &Addresses, node: &str) -> (Option<Instant>, bool) {
    addresses.get(node).map_or((None, false), |known| (known.asked_at, known.has_failed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connect::KubeletTls;
    use crate::registry::Registry;
    use crate::resources::testing::settings;
    use crate::storage::memory::Memory;

    #[test]
    fn those_that_answer_come_first_and_then_who_was_left_out_longest() {
        let now = Instant::now();
        let after = |secs: Option<u64>| secs.map(|secs| now + Duration::from_secs(secs));
        let known = |(node, asked, has_failed): (&str, Option<u64>, bool)| {
            let address = KubeletAddress { node: node.into(), host: "10.0.0.1".into(), port: 10250 };
            (Arc::from(node), Known { revision: 1, address, asked_at: after(asked), has_failed })
        };
        let all = [
            ("dead", Some(5), true),
            ("dead-longer", Some(1), true),
            ("well", Some(9), false),
            ("well-too", Some(8), false),
            ("new", None, false),
        ];
        let order = in_turn(&all.map(known).into());
        let names: Vec<&str> = order.iter().map(|(node, _)| &**node).collect();
        assert_eq!(names, ["new", "well-too", "well", "dead-longer", "dead"]);
    }

    /// Time passes at once while nobody has anything to do.
    #[tokio::test(start_paused = true)]
    async fn it_measures_while_somebody_asks_and_rests_when_nobody_does() {
        let resources = Resources::start(Arc::new(Memory::default()), Registry::default(), settings()).await.unwrap();
        let none = || "/nowhere".into();
        let kubelets = Kubelets::new(KubeletTls { cert: none(), key: none(), ca: none() });
        let collector = Collector::new(resources, kubelets);
        assert!(!collector.runs(), "nobody has asked");
        let began = Instant::now();
        assert!(collector.found().await.is_empty());
        assert_eq!(began.elapsed().as_secs(), WARM_UP.as_secs(), "the second round is waited for");
        collector.found().await;
        assert_eq!(began.elapsed().as_secs(), WARM_UP.as_secs(), "and then nobody waits");
        tokio::time::sleep(IDLE_AFTER / 2).await;
        collector.found().await;
        tokio::time::sleep(IDLE_AFTER - ROUND_EVERY).await;
        assert!(collector.runs() && *collector.0.rounds.borrow() > 20, "each fifteen seconds");
        tokio::time::sleep(2 * ROUND_EVERY).await;
        assert!(!collector.runs() && *collector.0.rounds.borrow() == 0);
        collector.found().await;
        assert!(collector.runs(), "and it begins anew");
    }
}
