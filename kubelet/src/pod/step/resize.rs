//! A pod that is to be larger or smaller than it runs: what is changed, and in which order.

use jiff::Timestamp;

use super::super::backoff::{Backoff, SETUP_RETRY_FIRST, SETUP_RETRY_MAX, later};
use super::super::model::*;
use super::super::plan::Kind;
use super::super::size::{ResizeStep, Size, larger};
use super::{Machine, is_due, tell_pod};
use crate::cgroup::PodLimits;

/// The event at the end; who tells it knows the amounts.
pub const RESIZE_COMPLETED: &str = "ResizeCompleted";

/// How far the sizes of a pod that runs are from what is wanted.
#[derive(Clone, Debug, PartialEq)]
pub struct Resizing {
    /// The limits of the pod's cgroup; `None`: not known, as after a restart of the kubelet.
    pub pod: Option<PodLimits>,
    /// What they are once the setting up that is under way is done.
    pub(super) pod_ordered: Option<PodLimits>,
    under_way: bool,
    retry_at: Option<Timestamp>,
    backoff: Backoff,
    /// Why the last try came to nothing.
    pub failure: Option<String>,
    /// It is to be told when all is done.
    begun: bool,
}

impl Resizing {
    pub(super) fn new() -> Self {
        Self {
            pod: None,
            pod_ordered: None,
            under_way: false,
            retry_at: None,
            backoff: Backoff::new(SETUP_RETRY_FIRST, SETUP_RETRY_MAX),
            failure: None,
            begun: false,
        }
    }
    /// When a try that failed is made again.
    pub(super) fn retry_at(&self) -> Option<Timestamp> {
        self.retry_at
    }
    /// Other sizes are wanted: what failed may go well now.
    pub(super) fn wanted_anew(&mut self) {
        self.begun = true;
        self.failure = None;
        self.retry_at = None;
        self.backoff.reset();
    }
}

impl Machine {
    /// Something runs that does not have the size it was given.
    pub fn is_resizing(&self) -> bool {
        let pod = self.resizing.pod.is_some_and(|pod| pod != self.plan.size);
        self.stage == Stage::Live && (pod || self.containers.iter().any(Ctr::is_missized))
    }

    pub(super) fn resize(&mut self, now: Timestamp, orders: &mut Vec<Order>) {
        let is_set_up = self.prepared.done().is_some();
        if !is_set_up || self.resizing.under_way || !is_due(self.resizing.retry_at, now) {
            return;
        }
        let steps = self.resize_steps();
        if steps.is_empty() {
            if !self.is_resizing() {
                self.resizing.failure = None;
                if std::mem::take(&mut self.resizing.begun) {
                    orders.push(tell_pod(false, RESIZE_COMPLETED, ""));
                }
            }
            return;
        }
        self.resizing.under_way = true;
        orders.push(Order::Resize { steps });
    }

    /// The pod grows before its containers and shrinks after them, and of these the ones that shrink come first: at no time may
    /// they have more together than the pod has. A container that gets its size with a new process is still running with the
    /// old one, so the pod waits with its shrinking.
    pub(super) fn resize_steps(&self) -> Vec<ResizeStep> {
        let want = self.plan.size;
        let mut changes: Vec<(Size, Size, &Ctr, &str)> = Vec::new();
        let mut waits = false;
        for c in self.containers.iter().filter(|c| c.is_missized()) {
            match c.running_id().filter(|_| c.ending.is_none() && !c.resizes_by_restart()) {
                Some(id) => changes.push((c.size_in_use, c.want.size, c, id)),
                None => waits = true,
            }
        }
        changes.sort_by_key(|(from, to, ..)| (to.memory_limit > from.memory_limit, to.cpu_limit > from.cpu_limit));
        let have = self.resizing.pod;
        let grown = match have {
            Some(have) => larger(have, want),
            None if changes.is_empty() => want,
            None => larger(self.limits_in_use(), want),
        };
        let mut steps = Vec::new();
        if have != Some(grown) {
            steps.push(ResizeStep::Pod(grown));
        }
        let one = |(from, to, c, id): (Size, Size, &Ctr, &str)| {
            let (name, id) = (c.want.name.clone(), id.to_owned());
            ResizeStep::Container { name, id, from, to }
        };
        steps.extend(changes.into_iter().map(one));
        if grown != want && !waits {
            steps.push(ResizeStep::Pod(want));
        }
        steps
    }

    /// What the pod must have at least for what runs in it.
    fn limits_in_use(&self) -> PodLimits {
        let counted = || self.containers.iter().filter(|c| c.is_running() && c.want.kind != Kind::Ephemeral);
        // One without a limit leaves all without one.
        let all = |get: fn(&Size) -> i64| counted().map(|c| Some(get(&c.size_in_use)).filter(|n| *n > 0)).sum();
        PodLimits {
            cpu_limit_millis: all(|size| size.cpu_limit),
            memory_limit_bytes: all(|size| size.memory_limit),
            ..PodLimits::default()
        }
    }

    pub(super) fn resized(
        &mut self,
        done: Vec<ResizeStep>,
        failure: Option<String>,
        now: Timestamp,
        orders: &mut Vec<Order>,
    ) {
        self.resizing.under_way = false;
        for step in done {
            match step {
                ResizeStep::Pod(limits) => self.resizing.pod = Some(limits),
                ResizeStep::Container { name, id, to, .. } => {
                    // It may have ended meanwhile, and another be on its way with a size of its own.
                    if let Some(c) = self.container_mut(&name).filter(|c| c.running_id() == Some(id.as_str())) {
                        c.size_in_use = to;
                    }
                }
            }
        }
        match failure {
            None => {
                self.resizing.failure = None;
                self.resizing.retry_at = None;
                self.resizing.backoff.reset();
            }
            Some(why) => {
                let wait = self.resizing.backoff.fail();
                self.resizing.retry_at = Some(later(now, wait));
                if self.resizing.failure.as_ref() != Some(&why) {
                    orders.push(tell_pod(true, "ResizeError", why.clone()));
                }
                self.resizing.failure = Some(why);
            }
        }
    }
}
