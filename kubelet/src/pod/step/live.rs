//! What a living pod needs next: its setting up, its sandbox, and the containers whose turn it is.

use jiff::Timestamp;

use super::super::backoff::{between, later};
use super::super::model::*;
use super::super::plan::Kind;
use super::{Machine, is_due, tell, tell_pod};

/// How long a failed pull shows as `ErrImagePull` before it shows as `ImagePullBackOff`.
const PULL_ERROR_SHOWN: std::time::Duration = std::time::Duration::from_secs(2);

impl Machine {
    pub(super) fn live(&mut self, now: Timestamp, orders: &mut Vec<Order>) {
        if self.is_past_deadline(now) {
            let message = "Pod was active on the node longer than the specified deadline";
            self.fate = Some(Fate { reason: "DeadlineExceeded".into(), message: message.into() });
            orders.push(tell_pod(false, "DeadlineExceeded", message));
            self.begin_stopping(self.plan.grace, now);
            return;
        }
        self.end_what_changed(now, orders);
        if self.is_finished() {
            // Sidecars may still run; they get the pod's grace.
            self.begin_stopping(self.plan.grace, now);
            return;
        }
        self.set_up(now, orders);
        self.initialized |= self.is_initialized();
        self.containers.iter_mut().for_each(|c| c.had_its_turn |= c.has_tried());
        for index in self.startable(now) {
            self.bring_forward(index, orders);
        }
        self.resize(now, orders);
        self.show_backoff(now, orders);
        self.drive_endings(now, orders);
    }

    fn is_past_deadline(&self, now: Timestamp) -> bool {
        self.plan.active_deadline.is_some_and(|limit| between(self.started_at, now) >= limit)
    }

    fn set_up(&mut self, now: Timestamp, orders: &mut Vec<Order>) {
        if let Setup::Todo { retry_at } = self.prepared
            && is_due(retry_at, now)
        {
            self.prepared = Setup::Doing;
            // Of what runs already the usage is looked at before a limit is set.
            let fresh = !self.containers.iter().any(Ctr::is_alive);
            self.resizing.pod_ordered = fresh.then_some(self.plan.size);
            orders.push(Order::Prepare { fresh });
        }
        // A replaced sandbox waits until nothing of the old one runs.
        if let Setup::Todo { retry_at } = self.sandbox
            && is_due(retry_at, now)
            && self.prepared.done().is_some()
            && !self.containers.iter().any(Ctr::is_alive)
        {
            self.sandbox = Setup::Doing;
            orders.push(Order::MakeSandbox { attempt: self.sandboxes });
        }
    }

    /// Every init container has ended well, every sidecar runs and has started up.
    fn is_initialized(&self) -> bool {
        self.containers.iter().all(|c| match c.want.kind {
            Kind::Init => matches!(&c.now, Now::Exited { ended, .. } if ended.exit_code == 0),
            Kind::Sidecar => c.is_running() && c.hooked && c.started,
            Kind::Main | Kind::Ephemeral => true,
        })
    }

    /// Which containers may be brought a step forward now. Main containers start in their order, each with its image and its hook
    /// before the next one: what a postStart sets up is there for those after it. Whether they run well, or are restarted later,
    /// holds up nobody. Who debugs may look at a pod that does not get so far.
    fn startable(&self, now: Timestamp) -> Vec<usize> {
        let mut found = Vec::new();
        let mut main_before_has_its_turn = false;
        let mut is_held_up = false;
        for (index, c) in self.containers.iter().enumerate() {
            if is_held_up && c.want.kind != Kind::Ephemeral {
                continue;
            }
            let ready_to_go = match &c.now {
                Now::Idle { retry_at } => is_due(*retry_at, now),
                Now::ImageReady => true,
                Now::Exited { restart_at, .. } => restart_at.is_some_and(|t| t <= now),
                Now::Pulling | Now::Starting { .. } | Now::Running { .. } => false,
            };
            let may = match c.want.kind {
                Kind::Init => !self.initialized,
                Kind::Sidecar => true,
                Kind::Main => self.initialized && !main_before_has_its_turn,
                Kind::Ephemeral => true,
            };
            main_before_has_its_turn |= c.want.kind == Kind::Main && !c.had_its_turn;
            if ready_to_go && may {
                found.push(index);
            }
            // The next init container waits for this one.
            let holds_up = match c.want.kind {
                Kind::Init => !matches!(&c.now, Now::Exited { ended, .. } if ended.exit_code == 0),
                Kind::Sidecar => !(c.is_running() && c.hooked && c.started),
                Kind::Main | Kind::Ephemeral => false,
            };
            is_held_up |= holds_up && !self.initialized;
        }
        found
    }

    /// One step for one container: first its image, then, in a sandbox that is up, its process.
    fn bring_forward(&mut self, index: usize, orders: &mut Vec<Order>) {
        // After a restart of the kubelet the sandbox may be up before it is known where the volumes are.
        let set_up = self.sandbox.done().is_some() && self.prepared.done().is_some();
        let c = &mut self.containers[index];
        match &c.now {
            Now::Idle { .. } => {
                c.now = Now::Pulling;
                orders.push(Order::EnsureImage { container: c.want.name.clone() });
            }
            Now::Exited { ended, .. } => {
                // The image is looked for again, as its policy may be Always; the old end becomes `lastState`.
                let ended = ended.clone();
                c.again(ended);
                c.now = Now::Pulling;
                orders.push(Order::EnsureImage { container: c.want.name.clone() });
            }
            Now::ImageReady if set_up => {
                let attempt = if c.made_before { c.restarts + 1 } else { c.restarts };
                c.restarts = attempt;
                c.made_before = true;
                c.now = Now::Starting { id: None };
                c.image_in_use.clone_from(&c.want.image);
                c.size_in_use = c.want.size;
                orders.push(Order::Start { container: c.want.name.clone(), attempt });
            }
            Now::ImageReady | Now::Pulling | Now::Starting { .. } | Now::Running { .. } => {}
        }
    }

    /// A failed pull that was shown for a moment turns into a back-off.
    fn show_backoff(&mut self, now: Timestamp, orders: &mut Vec<Order>) {
        for c in &mut self.containers {
            let Now::Idle { retry_at: Some(retry_at) } = c.now else { continue };
            let Some(why) = c.why.as_mut().filter(|w| w.reason == "ErrImagePull") else { continue };
            let failed_at = c.pull_failed_at.unwrap_or(now);
            if between(failed_at, now) < PULL_ERROR_SHOWN || retry_at <= now {
                continue;
            }
            let text = format!("Back-off pulling image \"{}\"", c.want.image);
            *why = Why::new("ImagePullBackOff", format!("{text}: ErrImagePull: {}", why.message));
            orders.push(tell(&c.want.name, false, "BackOff", text));
            orders.push(tell(&c.want.name, true, "Failed", "Error: ImagePullBackOff"));
        }
    }

    /// When [`Self::show_backoff`] has something to say.
    pub(super) fn backoff_shows_at(&self) -> impl Iterator<Item = Timestamp> + '_ {
        let waiting = self.containers.iter().filter(|c| {
            matches!(c.now, Now::Idle { retry_at: Some(_) })
                && c.why.as_ref().is_some_and(|w| w.reason == "ErrImagePull")
        });
        waiting.filter_map(|c| c.pull_failed_at).map(|at| later(at, PULL_ERROR_SHOWN))
    }

    /// A container whose image was changed in the spec is ended, to be made anew from the new one; likewise one that is to get
    /// another size only with a new process.
    fn end_what_changed(&mut self, now: Timestamp, orders: &mut Vec<Order>) {
        for index in 0..self.containers.len() {
            let c = &self.containers[index];
            if c.is_running() && c.ending.is_none() && c.is_outdated() {
                let message = format!("Container {} definition changed, will be restarted", c.want.name);
                let deadline = later(now, self.plan.grace);
                self.end(index, deadline, now, message, orders);
            } else if c.is_running() && c.ending.is_none() && c.resizes_by_restart() {
                let message = format!("Container {} resize requires restart", c.want.name);
                let deadline = later(now, self.plan.grace);
                self.end(index, deadline, now, message, orders);
            }
        }
        // Without its sandbox nothing can stay.
        if self.sandbox.done().is_none() {
            for index in 0..self.containers.len() {
                if self.containers[index].is_running() && self.containers[index].ending.is_none() {
                    let message = format!("Stopping container {}", self.containers[index].want.name);
                    let deadline = later(now, self.plan.grace);
                    self.end(index, deadline, now, message, orders);
                }
            }
        }
    }

    /// The main containers are done for good, or an init container failed for good.
    pub(super) fn is_finished(&self) -> bool {
        let done = |c: &Ctr| matches!(&c.now, Now::Exited { ended, .. } if !c.want.restarts(ended.exit_code));
        let failed_init = self.containers.iter().any(|c| {
            c.want.kind == Kind::Init && done(c) && matches!(&c.now, Now::Exited { ended, .. } if ended.exit_code != 0)
        });
        let mut mains = self.containers.iter().filter(|c| c.want.kind == Kind::Main).peekable();
        failed_init || mains.peek().is_some() && mains.all(done)
    }
}
