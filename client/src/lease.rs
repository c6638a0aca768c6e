//! Leadership through a Lease: one of several instances works, the others wait.
//!
//! Assumes clocks that run at about the same speed, not that show the same time: a lease is old when *we* have not
//! seen it change for its duration. A leader that cannot renew stops before anybody else may begin. Where clocks fail (a
//! process that is paused and goes on later), the fence holds: the apiserver refuses what a leader writes that leads no
//! more.
//! Shape: <https://kubernetes.io/docs/concepts/architecture/leases/#leader-election>.

mod thread;

use std::sync::LazyLock;
use std::time::Duration;

use corten_api::{ApiError, Key, Object, Reason};
use corten_proto::api::Fence;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::client::Client;
use crate::writes::Writes;
pub use thread::lead;
#[cfg(feature = "test-support")]
pub use thread::lead_in_place;
#[cfg(test)]
pub(crate) use thread::renewing;

const LEASE_SECS: i32 = 6;
const RENEW_EVERY: Duration = Duration::from_secs(2);
/// A leader that could not renew for this long stops; shorter than the lease, so that two never lead.
const GIVE_UP_AFTER: Duration = Duration::from_secs(4);
const RETRY_EVERY: Duration = Duration::from_secs(1);
/// How long who could not work as the leader stands by, the first time: another candidate needs two seconds to take a lease
/// that was given up.
const STAND_BY: Duration = Duration::from_secs(5);
/// It doubles with each such term in a row, up to this.
const STAND_BY_MAX: Duration = Duration::from_secs(60);
/// Work that ends by itself after so long has worked: it is no term in a row.
const WORKED_AFTER: Duration = Duration::from_secs(120);

static ENDED_BY_THEMSELVES: LazyLock<Counter> = LazyLock::new(Counter::default);

/// Registers the metrics of all leases of this process.
pub(crate) fn register(registry: &mut Registry) {
    let help = "Terms that were given up because the leader's work ended by itself, as where it could not take over";
    registry.register("corten_leader_terms_given_up", help, ENDED_BY_THEMSELVES.clone());
}

/// One leadership.
#[derive(Clone, Debug)]
struct Term {
    fence: Fence,
    ends: Ends,
}

/// How a leadership ends.
#[derive(Clone, Debug)]
struct Ends {
    /// Cancelled as soon as it does.
    leading: CancellationToken,
    /// Cancelled by who hears from the apiserver that it is over.
    lost: CancellationToken,
    /// What it has under way then.
    writes: Writes,
}

impl Ends {
    /// With `stop`, if not before.
    fn with(stop: &CancellationToken) -> Self {
        let leading = stop.child_token();
        Self { writes: Writes::until(&leading), lost: CancellationToken::new(), leading }
    }
}

/// Competes for `lease` until `stop`, and runs `work` whenever it leads. `work` gets the leadership that its writes are part
/// of. On `stop` no write of it begins any more; once those under way have ended it is dropped where it stands, and the
/// lease is given up. Work that ends by itself cannot be done here: the lease is given up then too, and stays another's to
/// take for longer and longer. When the lease is lost the work is dropped at once, as another may lead already: what must
/// not outlive it belongs to its future.
async fn compete<F: Future<Output = ()> + Send>(
    candidate: &mut impl Hold,
    lease: &Key,
    stop: &CancellationToken,
    mut work: impl FnMut(Term) -> F + Send,
) {
    let mut in_a_row = 0;
    while !stop.is_cancelled() {
        let asked = Instant::now();
        let mut next = RETRY_EVERY;
        match tokio::time::timeout(GIVE_UP_AFTER, candidate.try_hold()).await {
            Ok(Ok(true)) => {
                info!(%lease, "leading");
                let ends = Ends::with(stop);
                let working = work(Term { fence: candidate.fence(), ends: ends.clone() });
                let ended = lead_once(candidate, asked, stop, &ends, working).await;
                info!(%lease, ?ended, "no longer leading");
                if ended == Ended::ByItself {
                    in_a_row = if asked.elapsed() < WORKED_AFTER { in_a_row + 1 } else { 1 };
                    next = stand_by(in_a_row);
                    ENDED_BY_THEMSELVES.inc();
                    warn!(%lease, again_in = ?next, "our work as the leader has ended: the lease is given up");
                } else {
                    in_a_row = 0;
                }
                if ended != Ended::Lost {
                    give_up(candidate, lease).await;
                }
                candidate.end_term();
            }
            Ok(Ok(false)) => {}
            Ok(Err(err)) => warn!(%lease, %err, "cannot compete for the lease"),
            Err(_) => warn!(%lease, "no answer in time to who holds the lease"),
        }
        stop.run_until_cancelled(tokio::time::sleep(next)).await;
    }
}

/// How long to stand by after so many terms in a row that ended by themselves.
fn stand_by(in_a_row: u32) -> Duration {
    STAND_BY.saturating_mul(1 << in_a_row.saturating_sub(1).min(8)).min(STAND_BY_MAX)
}

async fn give_up(candidate: &mut impl Hold, lease: &Key) {
    match tokio::time::timeout(GIVE_UP_AFTER, candidate.release()).await {
        Ok(Ok(())) => {}
        Ok(Err(err)) => warn!(%lease, %err, "cannot give the lease up; it will expire"),
        Err(_) => warn!(%lease, "no answer in time to giving the lease up; it will expire"),
    }
}

/// What can be held by one at a time.
trait Hold: Send {
    /// Takes or renews it; false while another holds it.
    fn try_hold(&mut self) -> impl Future<Output = Result<bool, ApiError>> + Send;
    /// Gives it up, so that another need not wait until it expires.
    fn release(&mut self) -> impl Future<Output = Result<(), ApiError>> + Send;
    /// What the writes of the present term carry.
    fn fence(&self) -> Fence;
    /// What is taken next is another term.
    fn end_term(&mut self);
}

/// Why a term is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    /// The work has ended: it cannot be done here.
    ByItself,
    Stopped,
    /// The lease is another's, or could be.
    Lost,
}

/// One term: goes on with the work until it ends by itself, `stop`, or the loss of the lease, which the apiserver may tell of
/// first. `renewed` is the time before the request that took the lease: what the others see can only be later.
async fn lead_once(
    lease: &mut impl Hold,
    mut renewed: Instant,
    stop: &CancellationToken,
    Ends { leading, lost, writes }: &Ends,
    working: impl Future<Output = ()> + Send,
) -> Ended {
    tokio::pin!(working);
    // Side by side: slow work must not delay a renewal, nor a slow apiserver the work.
    let finished = tokio::select! {
        () = &mut working => true,
        () = keep(lease, &mut renewed, leading) => false,
        () = lost.cancelled() => {
            warn!("the apiserver says that another leads: a write was refused");
            false
        }
    };
    leading.cancel();
    if lost.is_cancelled() {
        return Ended::Lost;
    }
    let ended = match (finished, stop.is_cancelled()) {
        (_, true) => Ended::Stopped,
        (true, false) => Ended::ByItself,
        (false, false) => return Ended::Lost,
    };
    // Whatever waits for a cache, or to write, was decided by who leads no more, and ends here with the work.
    let all_written = writes.ended();
    tokio::pin!(all_written);
    let all_written = async {
        tokio::select! {
            () = &mut all_written => {}
            () = &mut working, if !finished => all_written.await,
        }
    };
    if tokio::time::timeout_at(renewed + GIVE_UP_AFTER, all_written).await.is_err() {
        warn!("what was under way did not end in time and is dropped");
    }
    ended
}

/// Renews until the lease is lost, could be lost, or `leading` is cancelled.
async fn keep(lease: &mut impl Hold, renewed: &mut Instant, leading: &CancellationToken) {
    let mut next = *renewed + RENEW_EVERY;
    while leading.run_until_cancelled(tokio::time::sleep_until(next)).await.is_some() {
        let (asked, give_up) = (Instant::now(), *renewed + GIVE_UP_AFTER);
        if asked >= give_up {
            return;
        }
        match tokio::time::timeout_at(give_up, lease.try_hold()).await {
            Ok(Ok(true)) => {
                *renewed = asked;
                next = asked + RENEW_EVERY;
            }
            Ok(Ok(false)) | Err(_) => return,
            Ok(Err(err)) => {
                warn!(%err, "cannot renew the lease");
                next = (asked + RETRY_EVERY).min(give_up);
            }
        }
    }
}

struct Candidate {
    client: Client,
    key: Key,
    identity: String,
    /// The revision that the lease had when we last saw it change, and when that was.
    seen: Option<(i64, Instant)>,
    /// The transitions of the lease in the present term. Every term has its own, also when we follow ourselves: what is
    /// under way of the term before must not be written into this one.
    term: Option<i32>,
}

impl Hold for Candidate {
    async fn try_hold(&mut self) -> Result<bool, ApiError> {
        let lease: Lease = match self.client.get(&self.key).await {
            Ok(lease) => lease,
            Err(err) if err.is(Reason::NotFound) => return self.create().await,
            Err(err) => return Err(err),
        };
        if self.seen.is_none_or(|(revision, _)| revision != lease.revision()) {
            self.seen = Some((lease.revision(), Instant::now()));
        }
        let spec = lease.spec.clone().unwrap_or_default();
        let duration =
            Duration::from_secs(u64::try_from(spec.lease_duration_seconds.unwrap_or(LEASE_SECS)).unwrap_or(0));
        let expired = self.seen.is_some_and(|(_, at)| at.elapsed() > duration);
        let claim = claim(&spec, &self.identity, self.term, expired);
        let taken_over = match claim {
            Claim::Lost | Claim::Wait => return Ok(false),
            Claim::Take => true,
            Claim::Renew => false,
        };
        let mut next = lease;
        next.spec = Some(self.held(&spec, taken_over));
        match self.client.update(&next).await {
            Ok(lease) => {
                self.took(&lease);
                Ok(true)
            }
            Err(err) if err.is(Reason::Conflict) => Ok(false),
            Err(err) => Err(err),
        }
    }

    async fn release(&mut self) -> Result<(), ApiError> {
        let mut lease: Lease = self.client.get(&self.key).await?;
        let spec = lease.spec.get_or_insert_default();
        if spec.holder_identity.as_deref() == Some(self.identity.as_str()) {
            spec.holder_identity = Some(String::new());
            spec.lease_duration_seconds = Some(1);
            self.client.update(&lease).await?;
        }
        Ok(())
    }

    fn fence(&self) -> Fence {
        Fence {
            lease_namespace: self.key.namespace.clone(),
            lease_name: self.key.name.clone(),
            holder: self.identity.clone(),
            transitions: self.term.unwrap_or(0),
        }
    }

    fn end_term(&mut self) {
        self.term = None;
    }
}

/// What may be done with a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Claim {
    /// It is ours.
    Renew,
    Take,
    /// Another holds it.
    Wait,
    /// It was ours in this term, and is not any more.
    Lost,
}

/// `term`: the transitions of the term that we are in. Only what this term took may be renewed in it.
fn claim(spec: &LeaseSpec, identity: &str, term: Option<i32>, expired: bool) -> Claim {
    let holder = spec.holder_identity.as_deref().unwrap_or_default();
    match term {
        Some(term) if holder == identity && spec.lease_transitions == Some(term) => Claim::Renew,
        Some(_) => Claim::Lost,
        None if holder == identity || holder.is_empty() || expired => Claim::Take,
        None => Claim::Wait,
    }
}

impl Candidate {
    /// `identity` (the host's name, say) is made unique to this process: two of one name would both take the lease for theirs.
    fn new(client: &Client, key: &Key, identity: &str) -> Self {
        let identity = format!("{identity}_{}", uuid::Uuid::new_v4());
        Self { client: client.unfenced(), key: key.clone(), identity, seen: None, term: None }
    }

    fn took(&mut self, lease: &Lease) {
        self.seen = Some((lease.revision(), Instant::now()));
        self.term = lease.spec.as_ref().and_then(|spec| spec.lease_transitions);
    }

    fn held(&self, before: &LeaseSpec, taken_over: bool) -> LeaseSpec {
        let now = Some(MicroTime(Timestamp::now()));
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: Some(LEASE_SECS),
            renew_time: now.clone(),
            acquire_time: if taken_over { now } else { before.acquire_time.clone() },
            lease_transitions: Some(before.lease_transitions.unwrap_or(0) + i32::from(taken_over)),
            ..before.clone()
        }
    }

    async fn create(&mut self) -> Result<bool, ApiError> {
        let metadata = ObjectMeta {
            name: Some(self.key.name.clone()),
            namespace: Some(self.key.namespace.clone()),
            ..Default::default()
        };
        let lease = Lease { metadata, spec: Some(self.held(&LeaseSpec::default(), true)) };
        match self.client.create(&lease).await {
            Ok(lease) => {
                self.took(&lease);
                Ok(true)
            }
            Err(err) if err.is(Reason::AlreadyExists) => Ok(false),
            Err(err) => Err(err),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;

    /// Answers as the script says, each after so many milliseconds; then never again.
    struct Script(VecDeque<(u64, Result<bool, ApiError>)>);

    impl Hold for Script {
        async fn try_hold(&mut self) -> Result<bool, ApiError> {
            let Some((millis, answer)) = self.0.pop_front() else { return std::future::pending().await };
            tokio::time::sleep(Duration::from_millis(millis)).await;
            answer
        }

        async fn release(&mut self) -> Result<(), ApiError> {
            Ok(())
        }

        fn fence(&self) -> Fence {
            Fence::default()
        }

        fn end_term(&mut self) {}
    }

    const FOR_EVER: Duration = Duration::from_secs(1 << 30);

    /// A lease that its candidates share, by their names.
    #[derive(Clone)]
    struct Shared(&'static str, Arc<Mutex<Option<&'static str>>>);

    impl Hold for Shared {
        async fn try_hold(&mut self) -> Result<bool, ApiError> {
            Ok(*self.1.lock().get_or_insert(self.0) == self.0)
        }

        async fn release(&mut self) -> Result<(), ApiError> {
            self.1.lock().take_if(|holder| *holder == self.0);
            Ok(())
        }

        fn fence(&self) -> Fence {
            Fence::default()
        }

        fn end_term(&mut self) {}
    }

    /// The seconds at which each term began, and whose it was, in the first `secs`. Who is of `able` works for ever, others
    /// for so long.
    async fn terms(candidates: &[&'static str], able: &[&str], work: Duration, secs: u64) -> Vec<(u64, &'static str)> {
        let (lease, stop, key) = (Arc::default(), CancellationToken::new(), Key::new("kube-system", "leader"));
        let (began, begun) = (Instant::now(), Arc::new(Mutex::new(Vec::new())));
        let mut competing = tokio::task::JoinSet::new();
        for &name in candidates {
            let (begun, key, stop) = (Arc::clone(&begun), key.clone(), stop.clone());
            let (mut lease, lasts) =
                (Shared(name, Arc::clone(&lease)), if able.contains(&name) { FOR_EVER } else { work });
            let work = move |_: Term| {
                begun.lock().push((began.elapsed().as_secs(), name));
                tokio::time::sleep(lasts)
            };
            competing.spawn(async move { compete(&mut lease, &key, &stop, work).await });
        }
        let ended = tokio::time::timeout(Duration::from_secs(secs), competing.join_next()).await;
        assert!(ended.is_err(), "they compete until a stop");
        begun.lock().clone()
    }

    #[tokio::test(start_paused = true)]
    async fn who_cannot_work_as_the_leader_gives_way_and_stands_by_for_longer_and_longer() {
        let cannot = Duration::from_millis(100);
        let both = terms(&["a", "b"], &["b"], cannot, 3600).await;
        assert_eq!(both, [(0, "a"), (1, "b")], "the lease is given up, and taken within two seconds");
        let alone = terms(&["a"], &[], cannot, 300).await;
        let at: Vec<u64> = alone.iter().map(|(at, _)| *at).collect();
        assert_eq!(
            at,
            [0, 5, 15, 35, 75, 135, 195, 255],
            "alone: again, and no more often than every minute in the end"
        );
        let works = terms(&["a"], &[], WORKED_AFTER, 300).await;
        assert_eq!(works, [(0, "a"), (125, "a"), (250, "a")], "what has worked before is no failure in a row");
    }

    /// Seconds that a term lasts whose renewals are answered so.
    async fn term(script: Vec<(u64, Result<bool, ApiError>)>) -> f32 {
        let (started, stop) = (Instant::now(), CancellationToken::new());
        lead_once(&mut Script(script.into()), started, &stop, &Ends::with(&stop), std::future::pending()).await;
        started.elapsed().as_secs_f32()
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_write_ends_the_term_at_once() {
        let (stop, started) = (CancellationToken::new(), Instant::now());
        let ends = Ends::with(&stop);
        ends.lost.cancel();
        lead_once(&mut Script(VecDeque::new()), started, &stop, &ends, std::future::pending()).await;
        assert_eq!(started.elapsed(), Duration::ZERO);
    }

    #[test]
    fn claims_table() {
        let held = |holder: &str, transitions| LeaseSpec {
            holder_identity: Some(holder.into()),
            lease_transitions: Some(transitions),
            ..LeaseSpec::default()
        };
        let cases = [
            ("another holds it", held("you", 3), None, false, Claim::Wait),
            ("another let it expire", held("you", 3), None, true, Claim::Take),
            ("given up", held("", 3), None, false, Claim::Take),
            ("ours from a term before: a new term", held("me", 3), None, false, Claim::Take),
            ("ours", held("me", 3), Some(3), false, Claim::Renew),
            ("another took it", held("you", 4), Some(3), false, Claim::Lost),
            (
                "another took it and let it expire: the term is over all the same",
                held("you", 4),
                Some(3),
                true,
                Claim::Lost,
            ),
            ("somebody counted on", held("me", 5), Some(3), false, Claim::Lost),
        ];
        for (why, spec, term, expired, expected) in cases {
            assert_eq!(claim(&spec, "me", term, expired), expected, "{why}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn terms_table() {
        let fails = || (0, Err(ApiError::unavailable("no answer")));
        let cases = [
            ("nobody answers: over before another may lead", vec![], 4.0),
            ("another has it", vec![(0, Ok(false))], 2.0),
            ("an answer that took long counts from the question", vec![(1500, Ok(true))], 6.0),
            ("failures do not prolong it", vec![fails(), fails(), fails()], 4.0),
            ("one failure between", vec![fails(), (0, Ok(true))], 7.0),
        ];
        for (why, script, secs) in cases {
            let lasted = term(script).await;
            assert!((lasted - secs).abs() < 0.05, "{why}: {lasted} s instead of {secs}");
        }
    }

    /// A write that has begun, takes so long, and says if it was done; then another is decided on.
    async fn writing(writes: Writes, secs: u64, done: Arc<Mutex<Vec<&'static str>>>) {
        let under_way = writes.begin().await;
        tokio::time::sleep(Duration::from_secs(secs)).await;
        drop(under_way);
        done.lock().push("the one under way");
        let _under_way = writes.begin().await;
        done.lock().push("one more");
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_lets_a_write_end_and_none_begin_and_a_loss_drops_all() {
        let cases = [
            ("a stop: what is under way may end", true, 1, vec!["the one under way"], 1),
            ("a stop: but not for longer than the lease is ours", true, 60, vec![], 4),
            ("a loss: it is dropped", false, 1, vec![], 0),
        ];
        for (why, stops, secs, expected, lasts) in cases {
            let (done, stop, started) = (Arc::default(), CancellationToken::new(), Instant::now());
            let ends = Ends::with(&stop);
            let mut working = Box::pin(writing(ends.writes.clone(), secs, Arc::clone(&done)));
            tokio::select! {
                biased;
                () = &mut working => panic!("{why}: it takes its time"),
                () = std::future::ready(()) => {}
            }
            if stops {
                stop.cancel();
            } else {
                ends.lost.cancel();
            }
            let mut lease = Script([(0, Ok(false))].into());
            lead_once(&mut lease, started, &stop, &ends, working).await;
            assert_eq!((done.lock().clone(), started.elapsed().as_secs()), (expected, lasts), "{why}");
        }
    }
}
