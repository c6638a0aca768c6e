//! What the scheduler knows and has decided, without I/O and clock: changes and outcomes in, decisions out.

use std::time::Instant;

use corten_api::{ApiError, Key, Reason};
use corten_client::panics;
use k8s_openapi::api::core::v1::Node;

use crate::cycle::{self, Decision, Profile};
use crate::pod::PodInfo;
use crate::queue::Queue;
use crate::snapshot::{Helps, Snapshot};

/// What panics are counted under.
pub(crate) const PANICS: &str = "scheduler";

#[derive(Debug)]
pub struct Core {
    name: String,
    profile: Profile,
    snapshot: Snapshot,
    queue: Queue,
    /// Counts decisions, so that equally good nodes take turns.
    decided: usize,
}

impl Core {
    /// `name`: pods that name this scheduler are ours.
    pub fn new(name: &str) -> Self {
        let (profile, snapshot, queue) = (Profile::default(), Snapshot::new(), Queue::default());
        Self { name: name.into(), profile, snapshot, queue, decided: 0 }
    }

    /// Takes in a node as it is now, or that it is gone; says what about it could help a waiting pod.
    pub fn node_changed(&mut self, name: &str, node: Option<&Node>) -> Helps {
        match node {
            Some(node) => self.snapshot.set_node(node),
            None => {
                self.snapshot.remove_node(name);
                Helps::NOTHING
            }
        }
    }

    /// As `node_changed`, for a pod.
    pub fn pod_changed(&mut self, key: &Key, pod: Option<&PodInfo>, now: Instant) -> Helps {
        let Some(pod) = pod else {
            self.queue.remove(key);
            return self.snapshot.remove_pod(key);
        };
        let helps = self.snapshot.set_pod(pod);
        if !pod.is_pending_for(&self.name) {
            self.queue.remove(key);
        } else if !self.snapshot.is_assumed(key, &pod.uid) {
            self.queue.set(pod, now);
        }
        helps
    }

    /// Pods that this could help come again.
    pub fn helped(&mut self, by: Helps, now: Instant) {
        self.queue.helped(by, now);
    }
    /// The pod to decide on next.
    pub fn next(&mut self, now: Instant) -> Option<Key> {
        self.queue.pop(now)
    }
    /// When to ask `next` again though nothing happened.
    pub fn next_timer(&self) -> Option<Instant> {
        self.queue.next_timer()
    }

    /// Decides on a pod, as it is now, that `next` named. A placement counts on its node from now on, until the pod shows
    /// it or `settled` takes it back. `None`: it needs no node any more.
    pub fn decide(&mut self, key: &Key, pod: Option<&PodInfo>, now: Instant) -> Option<Decision> {
        let Some(pod) = pod.filter(|pod| pod.is_pending_for(&self.name)) else {
            // It changed since the queue heard of it; its change is on the way to us.
            self.queue.remove(key);
            return None;
        };
        self.decided = self.decided.wrapping_add(1);
        let (profile, snapshot, tie) = (&self.profile, &mut self.snapshot, self.decided);
        // A fault in one plugin over one pod must not end the scheduling of all others. A cycle changes nothing in the
        // snapshot but the list of its columns.
        let decision = match panics::catch(PANICS, || cycle::decide(profile, snapshot, pod, tie)) {
            Ok(decision) => decision,
            Err(panicked) => {
                tracing::error!(pod = %key, %panicked, "a bug: the decision on this pod is tried again later");
                self.queue.failed(key, now);
                return None;
            }
        };
        match &decision {
            Decision::Place { node } => self.snapshot.assume(pod, node),
            Decision::Refuse { retry_on, .. } => self.queue.refused(key, *retry_on, now),
        }
        Some(decision)
    }

    /// What came of the placement of the pod with this uid. There may be another of its name by now.
    pub fn settled(&mut self, key: &Key, uid: &str, result: Result<(), &ApiError>, now: Instant) {
        let is_queued = self.queue.has(key, uid);
        match result {
            // The assumption stands until the watch shows the pod bound.
            Ok(()) if is_queued => self.queue.remove(key),
            Ok(()) => {}
            Err(err) => {
                let helps = self.snapshot.forget(key, uid);
                if is_queued && err.is(Reason::NotFound) {
                    self.queue.remove(key);
                } else if is_queued {
                    self.queue.failed(key, now);
                }
                self.queue.helped(helps, now);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filters::{Asked, Filter};
    use crate::pod::Wants;
    use crate::snapshot::NodeInfo;
    use crate::snapshot::tests::{node, pod};

    fn pending(uid: &str) -> PodInfo {
        let wants = Wants { scheduler: "me".into(), ..Wants::default() };
        PodInfo { uid: uid.into(), wants: Some(Box::new(wants)), ..pod("a", "", 10) }
    }

    /// Panics over the pod `a`.
    #[derive(Debug)]
    struct Faulty;

    impl Filter for Faulty {
        fn check(&self, asked: &Asked<'_>, _: &NodeInfo, _: &Snapshot) -> Vec<crate::filters::Reason> {
            assert_ne!(asked.pod.key.name, "a", "a fault");
            Vec::new()
        }
    }

    #[test]
    fn a_panic_over_one_pod_stops_no_other_is_counted_and_tried_again_later() {
        let before = panics::count(PANICS);
        let (mut core, now) = (Core::new("me"), Instant::now());
        core.profile.filters.push(Box::new(Faulty));
        core.node_changed("n1", Some(&node("n1", "4", "8Gi")));
        let bad = pending("one");
        let good = PodInfo { key: Key::new("default", "b"), ..pending("two") };
        for pod in [&bad, &good] {
            core.pod_changed(&pod.key, Some(pod), now);
        }
        assert_eq!(core.next(now).as_ref(), Some(&bad.key));
        assert_eq!(core.decide(&bad.key, Some(&bad), now), None);
        assert_eq!(panics::count(PANICS), before + 1);
        assert_eq!(core.next(now).as_ref(), Some(&good.key));
        assert!(matches!(core.decide(&good.key, Some(&good), now), Some(Decision::Place { .. })));
        assert_eq!(core.next(now), None, "not before its backoff");
        assert_eq!(core.next(core.next_timer().unwrap()), Some(bad.key));
    }

    #[test]
    fn what_came_of_a_pod_says_nothing_of_the_next_of_its_name() {
        let gone = ApiError::not_found("", "pods", "a");
        for result in [Ok(()), Err(&gone)] {
            let (mut core, now) = (Core::new("me"), Instant::now());
            core.node_changed("n1", Some(&node("n1", "4", "8Gi")));
            let (first, second) = (pending("one"), pending("two"));
            core.pod_changed(&first.key, Some(&first), now);
            let key = core.next(now).unwrap();
            assert!(matches!(core.decide(&key, Some(&first), now), Some(Decision::Place { .. })));
            core.pod_changed(&key, None, now);
            core.pod_changed(&key, Some(&second), now);
            core.settled(&key, "one", result, now);
            assert_eq!(core.next(now), Some(key), "the second still wants a node after {result:?}");
        }
    }
}
