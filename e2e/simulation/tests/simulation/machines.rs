//! What runs on the machines of all nodes. It outlives the kubelets, and knows if two pods of one name run at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use corten_api::{Key, Object};
use k8s_openapi::api::core::v1::Pod;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::court::Court;
use crate::net::Net;

const START_MILLIS: usize = 3000;
const STOP_MILLIS: usize = 2000;
const WORK_MILLIS: usize = 8000;
const FAILS_PERCENT: usize = 25;

/// What runs on all machines, by the pods' uids.
#[derive(Clone, Default)]
pub(crate) struct Machines(Arc<Mutex<BTreeMap<String, Run>>>);

#[derive(Clone)]
pub(crate) struct Run {
    node: String,
    key: Key,
    pub(crate) ready_at: Instant,
    /// When its work is done, and whether it succeeds.
    pub(crate) ends: Option<(Instant, bool)>,
    pub(crate) stops_at: Option<Instant>,
    pub(crate) has_stopped: bool,
}

impl Machines {
    /// What runs of a pod, from now on if nothing did.
    pub(crate) fn start(&self, (net, court): (&Net, &Court), node: &str, pod: &Pod, now: Instant) -> Run {
        let mut all = self.0.lock();
        if let Some(run) = all.get(pod.uid()) {
            return run.clone();
        }
        let key = pod.key();
        let twin = all.iter().find(|(_, run)| run.key == key && !run.has_stopped);
        if let Some((uid, twin)) = twin {
            court.violated(format!(
                "one pod of a name at a time: {key} starts on {node} as {}, and {uid} still runs on {}",
                pod.uid(),
                twin.node
            ));
        }
        let millis = |end| Duration::from_millis(net.chance(|chance| chance.below(end)) as u64);
        let ready_at = now + Duration::from_millis(100) + millis(START_MILLIS);
        let succeeds = !net.chance(|chance| chance.percent(FAILS_PERCENT));
        let ends = is_of_job(pod).then(|| (ready_at + millis(WORK_MILLIS), succeeds));
        let run = Run { node: node.into(), key, ready_at, ends, stops_at: None, has_stopped: false };
        all.insert(pod.uid().to_owned(), run.clone());
        run
    }

    /// What runs of a pod that is to stop. None: nothing ever did.
    pub(crate) fn stop(&self, net: &Net, uid: &str, now: Instant) -> Option<Run> {
        let mut all = self.0.lock();
        let run = all.get_mut(uid)?;
        let millis = || net.chance(|chance| chance.below(STOP_MILLIS));
        run.stops_at.get_or_insert_with(|| now + Duration::from_millis(millis() as u64));
        Some(run.clone())
    }

    /// What nobody wants any more of a node's pods.
    pub(crate) fn stop_all_but(&self, node: &str, wanted: &BTreeSet<String>) {
        let mut all = self.0.lock();
        let gone = all.iter_mut().filter(|(uid, run)| run.node == node && !wanted.contains(*uid));
        gone.for_each(|(_, run)| run.has_stopped = true);
    }

    pub(crate) fn stopped(&self, uid: &str) {
        if let Some(run) = self.0.lock().get_mut(uid) {
            run.has_stopped = true;
        }
    }
}

pub(crate) fn is_of_job(pod: &Pod) -> bool {
    pod.metadata.owner_references.iter().flatten().any(|owner| owner.kind == "Job")
}
