//! Brings pod statuses to the API: one writer for all pods, the latest status wins, equal ones are not written.
//!
//! A write that finds the pod changed reads it again and keeps what others put into its status. While the apiservers are
//! away everything waits here, one status per pod: one writer tries, and when it is answered all others go on at once.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use corten_api::{ApiError, Key, Object as _, Reason};
use corten_client::WorkQueue;
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::cluster::Cluster;

/// Writes in flight at a time.
const WRITERS: usize = 4;
/// Reads-and-writes of one pod before it goes to the back of the queue.
const CONFLICTS_MAX: usize = 5;
/// Between two tries while no apiserver answers, for all pods together.
const OUTAGE_REST: Duration = Duration::from_millis(500);
/// Between tries of one pod whose status an apiserver answered with an error; doubles from here to there.
const REFUSED_FIRST: Duration = Duration::from_millis(100);
const REFUSED_MAX: Duration = Duration::from_secs(10);

/// Cheap to clone; clones share the statuses.
#[derive(Clone)]
pub struct StatusWriter {
    slots: Arc<Mutex<HashMap<String, Slot>>>,
    queue: WorkQueue<String>,
    outage: Arc<Outage>,
}

/// Whether the last write was not answered.
#[derive(Default)]
struct Outage {
    lasts: AtomicBool,
    /// Who tries while it lasts.
    turn: tokio::sync::Mutex<()>,
}

/// What is known and wanted of one pod.
struct Slot {
    /// The newest version we have seen.
    pod: Arc<Pod>,
    wanted: Option<PodStatus>,
    /// The pod is to be removed once its last status is written.
    finalize: bool,
    /// How often in a row an apiserver answered with an error.
    refusals: u32,
}

impl Default for StatusWriter {
    fn default() -> Self {
        Self::new()
    }
}

impl StatusWriter {
    pub fn new() -> Self {
        Self { slots: Arc::default(), queue: WorkQueue::new(), outage: Arc::default() }
    }

    /// Starts the writers.
    pub fn start(&self, cluster: &Arc<dyn Cluster>, stop: &CancellationToken) {
        for _ in 0..WRITERS {
            let (this, cluster, stop) = (self.clone(), Arc::clone(cluster), stop.clone());
            tokio::spawn(async move { stop.run_until_cancelled_owned(this.write_all(cluster)).await });
        }
    }

    /// The API object that statuses under `uid` (the pod's own) go to. For a static pod this is its mirror.
    pub fn saw(&self, uid: &str, pod: &Arc<Pod>) {
        let mut slots = self.slots.lock();
        match slots.get_mut(uid) {
            Some(slot) if pod.revision() >= slot.pod.revision() || pod.uid() != slot.pod.uid() => {
                slot.pod = Arc::clone(pod);
                if slot.wanted.is_some() {
                    self.queue.add(uid.to_owned());
                }
            }
            Some(_) => {}
            None => {
                slots.insert(uid.to_owned(), Slot { pod: Arc::clone(pod), wanted: None, finalize: false, refusals: 0 });
            }
        }
    }

    /// The newest version of the pod that is known here, with its status as last written.
    pub fn known(&self, uid: &str) -> Option<Arc<Pod>> {
        self.slots.lock().get(uid).map(|slot| Arc::clone(&slot.pod))
    }

    pub fn report(&self, uid: &str, status: PodStatus) {
        if let Some(slot) = self.slots.lock().get_mut(uid) {
            slot.wanted = Some(status);
            self.queue.add(uid.to_owned());
        }
    }

    /// Removes the pod from the API after its last status is there.
    pub fn finalize(&self, uid: &str) {
        if let Some(slot) = self.slots.lock().get_mut(uid) {
            slot.finalize = true;
            self.queue.add(uid.to_owned());
        }
    }

    /// The pod is gone; what was not written is of no use.
    pub fn forget(&self, uid: &str) {
        self.slots.lock().remove(uid);
    }

    async fn write_all(self, cluster: Arc<dyn Cluster>) {
        loop {
            let turn = match self.outage.lasts.load(Ordering::Relaxed) {
                true => Some(self.outage.turn.lock().await),
                false => None,
            };
            let uid = self.queue.next().await;
            let written = self.write(&uid, cluster.as_ref()).await;
            let unanswered = written.as_ref().is_err_and(is_unanswered);
            self.outage.lasts.store(unanswered, Ordering::Relaxed);
            let failed = written.as_ref().is_err_and(|err| !is_unanswered(err));
            let wait = self.refused(&uid, failed);
            if let Err(err) = written {
                debug!(%err, uid, "a status waits to be written");
                if unanswered {
                    // Behind the others: if it is only this one that goes unanswered, it holds up none.
                    self.queue.add(uid.clone());
                } else {
                    self.queue.add_after(uid.clone(), wait);
                }
            }
            self.queue.done(&uid);
            if unanswered && turn.is_some() {
                tokio::time::sleep(OUTAGE_REST).await;
            }
        }
    }

    /// Counts an error that an apiserver answered with; says how long to wait for the next try.
    fn refused(&self, uid: &str, failed: bool) -> Duration {
        let mut slots = self.slots.lock();
        let Some(slot) = slots.get_mut(uid) else { return REFUSED_FIRST };
        let before = slot.refusals;
        slot.refusals = if failed { before.saturating_add(1) } else { 0 };
        REFUSED_FIRST.saturating_mul(1 << before.min(16)).min(REFUSED_MAX)
    }

    async fn write(&self, uid: &str, cluster: &dyn Cluster) -> Result<(), ApiError> {
        let (mut pod, wanted, finalize) = {
            let slots = self.slots.lock();
            let Some(slot) = slots.get(uid) else { return Ok(()) };
            (Arc::clone(&slot.pod), slot.wanted.clone(), slot.finalize)
        };
        if let Some(wanted) = wanted {
            match self.write_status(&pod, &wanted, cluster).await? {
                Some(written) => pod = Arc::new(written),
                // The API has another pod by that name, or none.
                None => {
                    self.forget(uid);
                    return Ok(());
                }
            }
            let mut slots = self.slots.lock();
            if let Some(slot) = slots.get_mut(uid) {
                if slot.wanted.as_ref() == Some(&wanted) {
                    slot.wanted = None;
                }
                if pod.revision() >= slot.pod.revision() {
                    slot.pod = Arc::clone(&pod);
                }
            }
        }
        if finalize {
            self.remove(&pod.key(), pod.uid(), cluster).await?;
            self.forget(uid);
        }
        Ok(())
    }

    /// `None`: the pod is not there any more.
    async fn write_status(
        &self,
        pod: &Arc<Pod>,
        wanted: &PodStatus,
        cluster: &dyn Cluster,
    ) -> Result<Option<Pod>, ApiError> {
        let mut base = Pod::clone(pod);
        let mut last = None;
        for _ in 0..CONFLICTS_MAX {
            let merged = merge(wanted, base.status.as_ref());
            if base.status.as_ref() == Some(&merged) {
                return Ok(Some(base));
            }
            let mut next = base.clone();
            next.status = Some(merged);
            match cluster.write_status(&next).await {
                Ok(written) => return Ok(Some(written)),
                Err(err) if err.is(Reason::NotFound) => return Ok(None),
                Err(err) if err.is(Reason::Conflict) || err.is(Reason::Forbidden) => {
                    last = Some(err);
                    match as_it_is(&base.key(), base.uid(), cluster).await? {
                        Some(fresh) => base = fresh,
                        None => return Ok(None),
                    }
                }
                Err(err) if err.is(Reason::Invalid) => {
                    // Written again it would be refused again.
                    warn!(%err, pod = %base.key(), "the apiserver refuses this status");
                    return Ok(Some(base));
                }
                Err(err) => return Err(err),
            }
        }
        Err(last.unwrap_or_else(|| ApiError::stale("", "pods", pod.name())))
    }

    async fn remove(&self, key: &Key, uid: &str, cluster: &dyn Cluster) -> Result<(), ApiError> {
        match cluster.remove_pod(key, uid).await {
            Err(err) if err.is(Reason::NotFound) || err.is(Reason::Conflict) => Ok(()),
            Err(err) if err.is(Reason::Forbidden) && as_it_is(key, uid, cluster).await?.is_none() => Ok(()),
            other => other,
        }
    }
}

/// Nobody was there to answer, or who was there has nobody to ask: it says nothing about this pod.
fn is_unanswered(err: &ApiError) -> bool {
    err.is(Reason::ServiceUnavailable) || err.is(Reason::Timeout)
}

/// `None`: the API has no such pod any more. Another node's pod of that name is forbidden to us.
async fn as_it_is(key: &Key, uid: &str, cluster: &dyn Cluster) -> Result<Option<Pod>, ApiError> {
    match cluster.pod(key).await {
        Ok(pod) => Ok(Some(pod).filter(|pod| pod.uid() == uid)),
        Err(err) if err.is(Reason::NotFound) || err.is(Reason::Forbidden) => Ok(None),
        Err(err) => Err(err),
    }
}

/// The wanted status with the conditions that others own as they are now.
fn merge(wanted: &PodStatus, have: Option<&PodStatus>) -> PodStatus {
    let mut merged = wanted.clone();
    let theirs = have.and_then(|s| s.conditions.as_ref()).into_iter().flatten();
    let conditions = merged.conditions.get_or_insert_default();
    // What of ours is not among the wanted ones has come to its end.
    for condition in theirs.filter(|c| !OWN_CONDITIONS.contains(&c.type_.as_str())) {
        match conditions.iter_mut().find(|c| c.type_ == condition.type_) {
            Some(ours) => *ours = condition.clone(),
            None => conditions.push(condition.clone()),
        }
    }
    merged
}

const OWN_CONDITIONS: &[&str] = &[
    "PodReadyToStartContainers",
    "Initialized",
    "Ready",
    "ContainersReady",
    "PodScheduled",
    "PodResizePending",
    "PodResizeInProgress",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::fake::FakeCluster;

    /// Pods that are on the API, and whose status is known here.
    fn pods(cluster: &FakeCluster, writer: &StatusWriter, count: usize) -> Vec<Arc<Pod>> {
        let make = |n| {
            let mut pod = Pod::default();
            (pod.metadata.name, pod.metadata.namespace) = (Some(format!("web-{n}")), Some("default".into()));
            pod.metadata.uid = Some(format!("u{n}"));
            let pod = Arc::new(cluster.put(pod));
            writer.saw(pod.uid(), &pod);
            pod
        };
        (0..count).map(make).collect()
    }

    fn in_phase(phase: &str) -> PodStatus {
        PodStatus { phase: Some(phase.into()), ..PodStatus::default() }
    }

    /// Lets time pass, which stands still otherwise, until all pods are in that phase; says how much it was.
    async fn until_all(cluster: &FakeCluster, pods: &[Arc<Pod>], phase: &str) -> Duration {
        let begun = tokio::time::Instant::now();
        let is_there = |pod: &Arc<Pod>| cluster.get(&pod.key()).is_some_and(|p| corten_api::pod::phase(&p) == phase);
        while !pods.iter().all(is_there) {
            assert!(begun.elapsed() < Duration::from_secs(3600), "they never come");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        begun.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn statuses_are_written_at_once_when_an_apiserver_is_back_however_long_it_was_away() {
        let (fake, writer, stop) = (FakeCluster::default(), StatusWriter::new(), CancellationToken::new());
        let cluster: Arc<dyn Cluster> = Arc::new(fake.clone());
        writer.start(&cluster, &stop);
        let pods = pods(&fake, &writer, 110);
        fake.shared.lock().away = true;
        pods.iter().for_each(|pod| writer.report(pod.uid(), in_phase("Running")));
        tokio::time::sleep(Duration::from_secs(3000)).await;
        let tries = fake.shared.lock().refused;
        assert!(tries < 3000 * 2 + 200, "one writer tries, now and then: {tries}");
        fake.shared.lock().away = false;
        let took = until_all(&fake, &pods, "Running").await;
        assert!(took <= OUTAGE_REST * 2, "{took:?}");
        stop.cancel();
    }

    #[tokio::test(start_paused = true)]
    async fn a_status_that_is_never_answered_holds_up_no_other() {
        let (fake, writer, stop) = (FakeCluster::default(), StatusWriter::new(), CancellationToken::new());
        let cluster: Arc<dyn Cluster> = Arc::new(fake.clone());
        writer.start(&cluster, &stop);
        let pods = pods(&fake, &writer, 20);
        fake.shared.lock().unanswered.insert(pods[0].key());
        pods.iter().for_each(|pod| writer.report(pod.uid(), in_phase("Running")));
        let took = until_all(&fake, &pods[1..], "Running").await;
        assert!(took <= OUTAGE_REST * 4, "{took:?}");
        tokio::time::sleep(Duration::from_secs(60)).await;
        pods[1..].iter().for_each(|pod| writer.report(pod.uid(), in_phase("Succeeded")));
        let took = until_all(&fake, &pods[1..], "Succeeded").await;
        assert!(took <= OUTAGE_REST * 4, "{took:?}");
        stop.cancel();
    }

    #[tokio::test]
    async fn a_pod_that_another_node_has_now_is_let_go() {
        let cluster = FakeCluster::default();
        let mut pod = Pod::default();
        (pod.metadata.name, pod.metadata.namespace) = (Some("web-0".into()), Some("default".into()));
        pod.metadata.uid = Some("old".into());
        let pod = Arc::new(cluster.put(pod));
        let running = PodStatus { phase: Some("Running".into()), ..PodStatus::default() };
        for finalizes in [false, true] {
            let writer = StatusWriter::new();
            writer.saw("old", &pod);
            if finalizes {
                writer.finalize("old")
            } else {
                writer.report("old", running.clone())
            }
            cluster.shared.lock().elsewhere.insert(pod.key());
            writer.write("old", &cluster).await.unwrap();
            assert!(writer.known("old").is_none(), "finalizes: {finalizes}");
        }
    }

    #[test]
    fn conditions_of_others_stay_and_our_own_go_when_they_are_over() {
        let of = |list: &[(&str, &str)]| {
            let one =
                |(kind, reason): &(&str, &str)| serde_json::json!({"type": kind, "status": "True", "reason": reason});
            let list: Vec<_> = list.iter().map(one).collect();
            serde_json::from_value::<PodStatus>(serde_json::json!({ "conditions": list })).unwrap()
        };
        let have = of(&[("Ready", "old"), ("PodResizePending", "Deferred"), ("example.com/gate", "theirs")]);
        let merged = merge(&of(&[("Ready", "new"), ("example.com/gate", "older")]), Some(&have));
        assert_eq!(merged, of(&[("Ready", "new"), ("example.com/gate", "theirs")]));
    }
}
