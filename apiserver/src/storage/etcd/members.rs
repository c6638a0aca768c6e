//! The members of etcd: a connection to each, the one in use, and whether it lives.
//!
//! The first one named is preferred: it is the local one. A probe (an empty linearizable read) tells within a second
//! that the one in use is dead or has lost its cluster; the next that answers is used then, and its connection is
//! there already. Calls that were under way are told, and are sent again. So they are when etcd has a new leader: what
//! was on its way to the old one is lost, and etcd itself says so only after seven seconds.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use etcd_client::{Client, GetOptions, KvClient, LeaseClient, WatchClient};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::MESSAGE_BYTES_MAX;

/// Between two probes of the member in use. With two that are not answered, a dead one is left after a second.
const PROBE_EVERY: Duration = Duration::from_millis(250);
const PROBE_DEADLINE: Duration = Duration::from_millis(350);
/// Between two questions to a member that refuses them: a new leader is found soon, and nobody is flooded.
const ASK_AGAIN: Duration = Duration::from_millis(50);
/// So much longer than another the member in use may take to answer, and be kept.
const KEPT_WITHIN: Duration = Duration::from_millis(100);
/// The other members are asked so often, so that their connections are there when they are needed.
const WARM_EVERY: Duration = Duration::from_secs(5);
/// The preferred member is used again once it has answered for so long.
const RETURN_AFTER: Duration = Duration::from_secs(10);
/// What the old leader had passed on may still be done by the new one, and be answered, within this time.
const LEADER_GRACE: Duration = Duration::from_millis(150);

/// Which member is used, and what would make its answer not come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct View {
    member: usize,
    /// How often a member in use was left for dead.
    failovers: u64,
    /// Raft's term: a larger one has another leader. 0: not known yet.
    term: u64,
}

/// All members. Cheap to clone; the probes end with the last clone.
#[derive(Clone)]
pub(super) struct Members {
    shared: Arc<Shared>,
    _probing: Arc<DropGuard>,
}

struct Shared {
    clients: Vec<Client>,
    view: watch::Sender<View>,
    /// A call has failed as if the member were dead.
    suspicion: Notify,
    /// The newest revision that any answer told.
    revision: AtomicI64,
}

impl Members {
    /// `clients`: not none, the preferred one first.
    pub(super) fn new(clients: Vec<Client>) -> Self {
        let shared = Arc::new(Shared {
            clients,
            view: watch::Sender::default(),
            suspicion: Notify::new(),
            revision: AtomicI64::new(0),
        });
        let stop = CancellationToken::new();
        // With one member there is no choice, and no leader but it.
        if shared.clients.len() > 1 {
            tokio::spawn(stop.clone().run_until_cancelled_owned(Prober::new(shared.clone()).run()));
        }
        Self { shared, _probing: Arc::new(stop.drop_guard()) }
    }
    pub(super) fn view(&self) -> View {
        *self.shared.view.borrow()
    }
    pub(super) fn kv(&self, view: View) -> KvClient {
        self.shared.clients[view.member].kv_client().max_decoding_message_size(MESSAGE_BYTES_MAX)
    }
    pub(super) fn lease(&self, view: View) -> LeaseClient {
        self.shared.clients[view.member].lease_client()
    }
    pub(super) fn watch(&self, view: View) -> WatchClient {
        self.shared.clients[view.member].watch_client().max_decoding_message_size(MESSAGE_BYTES_MAX)
    }
    /// A revision that the store has reached.
    pub(super) fn revision(&self) -> i64 {
        self.shared.revision.load(Ordering::Relaxed)
    }
    pub(super) fn saw(&self, revision: i64) {
        self.shared.revision.fetch_max(revision, Ordering::Relaxed);
    }
    /// A call to the member in use has failed. Waits until another is used, but not longer than `at_most`.
    pub(super) async fn failed(&self, view: View, at_most: Duration) {
        self.shared.suspicion.notify_one();
        // Late is as good: the next try tells.
        drop(timeout(at_most, self.until(|now| now.member != view.member)).await);
    }
    /// Returns once an answer to what was sent at `view` is not to be expected any more.
    pub(super) async fn overtaken(&self, view: View) {
        let has_new_leader = |now: &View| view.term != 0 && now.term > view.term;
        self.until(|now| now.failovers != view.failovers || has_new_leader(now)).await;
        if self.view().failovers == view.failovers {
            sleep(LEADER_GRACE).await;
        }
    }
    /// Returns once another member is used.
    pub(super) async fn left(self, view: View) {
        self.until(|now| now.member != view.member).await;
    }
    async fn until(&self, is_so: impl FnMut(&View) -> bool) {
        if self.shared.view.subscribe().wait_for(is_so).await.is_err() {
            // The sender lives as long as this.
            std::future::pending::<()>().await;
        }
    }
}

/// Asks the members, and decides which is used.
struct Prober {
    shared: Arc<Shared>,
    warmed: Instant,
    /// Since when the preferred member answers, while another is used.
    preferred_since: Option<Instant>,
}

impl Prober {
    fn new(shared: Arc<Shared>) -> Self {
        Self { shared, warmed: Instant::now(), preferred_since: None }
    }

    async fn run(mut self) {
        self.warm().await;
        loop {
            let used = self.shared.view.borrow().member;
            if let Some(term) = self.probe(used).await {
                self.learn(term);
                self.consider_return(used).await;
                if self.warmed.elapsed() >= WARM_EVERY {
                    self.warm().await;
                }
                // A suspicion is looked into at once.
                drop(timeout(PROBE_EVERY, self.shared.suspicion.notified()).await);
                continue;
            }
            // None: they choose a leader, or are down.
            let found = search(self.shared.clients.len(), used, |member| self.probe(member)).await;
            if let Some((member, term)) = found {
                if member != used {
                    tracing::warn!(left = used, used = member, "a member of etcd does not answer; another is used");
                    self.shared.view.send_modify(|view| {
                        view.member = member;
                        view.failovers += 1;
                    });
                }
                self.learn(term);
            }
        }
    }

    /// The term in which a member answered, if it did.
    async fn probe(&self, member: usize) -> Option<u64> {
        let mut kv = self.shared.clients[member].kv_client();
        let nothing = GetOptions::new().with_count_only();
        let answer = timeout(PROBE_DEADLINE, kv.get("\0", Some(nothing))).await.ok()?;
        match answer {
            Ok(response) => Some(response.0.header.map_or(0, |header| header.raft_term)),
            Err(err) => {
                tracing::debug!(member, %err, "a member of etcd does not answer a probe");
                None
            }
        }
    }
    fn learn(&self, term: u64) {
        self.shared.view.send_if_modified(|view| {
            let news = term > view.term;
            view.term = view.term.max(term);
            news
        });
    }
    /// Back to the preferred member, once it has been well for a while. Calls under way stay where they are.
    async fn consider_return(&mut self, used: usize) {
        if used == 0 || self.probe(0).await.is_none() {
            self.preferred_since = None;
            return;
        }
        let since = *self.preferred_since.get_or_insert_with(Instant::now);
        if since.elapsed() >= RETURN_AFTER {
            tracing::info!(left = used, "the preferred member of etcd answers again and is used");
            self.preferred_since = None;
            self.shared.view.send_modify(|view| view.member = 0);
        }
    }
    async fn warm(&mut self) {
        self.warmed = Instant::now();
        let others = (0..self.shared.clients.len()).map(|member| self.probe(member));
        drop(futures::future::join_all(others).await);
    }
}

/// Asks all members at once, those that refuse again and again, for `PROBE_DEADLINE`. Without a leader all refuse or are silent, and
/// none is at fault: the one in use is kept if it is not much later than another. Nobody waits for one that is silent because it
/// is dead.
async fn search<F: Future<Output = Option<u64>>>(
    members: usize,
    used: usize,
    probe: impl Fn(usize) -> F,
) -> Option<(usize, u64)> {
    let ask = async |member| loop {
        if let Some(term) = probe(member).await {
            return (member, term);
        }
        sleep(ASK_AGAIN).await;
    };
    let mut asked: FuturesUnordered<_> = (0..members).map(ask).collect();
    let mut deadline = Instant::now() + PROBE_DEADLINE;
    let mut other: Option<(usize, u64)> = None;
    while let Ok(Some(answer)) = timeout_at(deadline, asked.next()).await {
        if answer.0 == used {
            return Some(answer);
        }
        other = Some(other.map_or(answer, |before| before.min(answer)));
        deadline = deadline.min(Instant::now() + KEPT_WITHIN);
    }
    other
}

#[cfg(test)]
mod tests;
