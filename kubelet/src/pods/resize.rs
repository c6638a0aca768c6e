//! Pods that ask for another size than they were given: whether the node can give it, now or later.

use std::sync::Arc;

use corten_api::Object as _;
use k8s_openapi::api::core::v1::Pod;
use tracing::{info, warn};

use super::allocation::{self, Allocation};
use super::{Manager, tell};
use crate::pod::size::{DEFERRED, Pending, Share, Wish};
use crate::pod::worker::Msg;

/// A pod that asks for what it was not given.
pub(super) struct Waiting {
    /// Which was first: of two that are alike it comes first.
    since: u64,
    /// The last answer.
    wish: Wish,
}

impl Manager {
    /// A pod that is admitted: it has what it asks for, or what a kubelet before this one gave it.
    pub(super) fn admitted(&mut self, pod: &Arc<Pod>) -> (Arc<Pod>, Share) {
        let dir = self.place.pod_dir(pod.uid());
        if self.allocations.recall(pod.uid(), &dir).is_none()
            && let Err(err) = self.allocations.give(pod.uid(), &dir, Allocation::of(pod))
        {
            // The pod gets it all the same: where nothing can be written nothing will start.
            warn!(%err, pod = %pod.key(), "cannot keep on disk what the pod was given");
        }
        self.judged(pod)
    }

    /// A pod that is here, as the API has it now: with what it is given, and what is to be said of the rest.
    pub(super) fn judged(&mut self, pod: &Arc<Pod>) -> (Arc<Pod>, Share) {
        let uid = pod.uid().to_owned();
        let Some(have) = self.allocations.get(&uid) else {
            return (Arc::clone(pod), Share { generation: pod.metadata.generation, wish: Wish::Granted });
        };
        if have.grants(pod) || corten_api::pod::is_terminal(pod) || pod.is_deleting() {
            let share = Share { generation: have.generation, wish: Wish::Granted };
            let given = have.given(pod);
            self.waiting.remove(&uid);
            return (given, share);
        }
        let wish = self.judge(pod);
        if wish == Wish::Granted {
            self.waiting.remove(&uid);
        } else {
            self.tell_pending(pod, &wish);
            self.waited += 1;
            let since = self.waited;
            self.waiting.entry(uid.clone()).or_insert(Waiting { since, wish: Wish::Unjudged }).wish = wish.clone();
        }
        let have = self.allocations.get(&uid).cloned().unwrap_or_default();
        (have.given(pod), Share { generation: have.generation, wish })
    }

    /// Gives the pod what it asks for, if it can.
    fn judge(&mut self, pod: &Arc<Pod>) -> Wish {
        // What the others have is not known before all of them are.
        if self.api_unheard || self.statics_unheard {
            return Wish::Unjudged;
        }
        let others: Vec<_> = self.those_who_stay().into_iter().filter(|other| other.uid() != pod.uid()).collect();
        if let Some(pending) = allocation::refusal(pod, &others, &(self.place.node)()) {
            return Wish::Pending(pending);
        }
        let dir = self.place.pod_dir(pod.uid());
        match self.allocations.give(pod.uid(), &dir, Allocation::of(pod)) {
            Ok(()) => {
                info!(pod = %pod.key(), generation = pod.metadata.generation, "the pod is given another size");
                let message = "Pod resize started";
                self.place.cluster.event(&pod.reference(), false, "ResizeStarted", message);
                Wish::Granted
            }
            Err(err) => Wish::Pending(Pending {
                reason: DEFERRED,
                message: format!("cannot keep on disk what the pod is given: {err}"),
                generation: pod.metadata.generation,
            }),
        }
    }

    fn tell_pending(&self, pod: &Pod, wish: &Wish) {
        let Wish::Pending(pending) = wish else { return };
        if self.waiting.get(pod.uid()).is_some_and(|before| before.wish == *wish) {
            return;
        }
        let reason = if pending.reason == DEFERRED { "ResizeDeferred" } else { "ResizeInfeasible" };
        let message = format!("Pod resize {}: {}", pending.reason, pending.message);
        self.place.cluster.event(&pod.reference(), true, reason, &message);
    }

    /// Something may have become free: those that wait are judged again, each in its turn.
    pub(super) async fn judge_again(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        let pods = self.api.values().filter(|pod| self.waiting.contains_key(pod.uid())).cloned();
        let turn = |pod: &Arc<Pod>| {
            let given = self.allocations.get(pod.uid()).map_or_else(|| Arc::clone(pod), |have| have.given(pod));
            let since = self.waiting.get(pod.uid()).map_or(u64::MAX, |waiting| waiting.since);
            (allocation::turn(pod, &given), since)
        };
        let mut pods: Vec<_> = pods.map(|pod| (turn(&pod), pod)).collect();
        pods.sort_by_key(|(turn, _)| *turn);
        self.waiting.retain(|uid, _| pods.iter().any(|(_, pod)| pod.uid() == uid));
        for (_, pod) in pods {
            let before = self.waiting.get(pod.uid()).map(|waiting| waiting.wish.clone());
            let (given, share) = self.judged(&pod);
            if Some(&share.wish) == before.as_ref() {
                continue;
            }
            if let Some(handle) = self.table.get(pod.uid()) {
                tell(&handle, Msg::Pod { pod: given, share }).await;
            }
            // What another pod counts as has changed.
            self.count_pods();
        }
    }
}
