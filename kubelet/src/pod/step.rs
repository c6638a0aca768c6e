//! The pod state machine: an event comes in with the time it happened, orders come out. No I/O, no clock of its own.
//!
//! `record` notes what happened, then `live` or `stop` decides what to do about the whole, so the same decision is made
//! whichever way a state was reached. No arm goes back: a stopping pod stays stopping, whatever arrives, and a second
//! delete can only shorten the grace.

mod compare;
mod live;
mod record;
mod recover;
mod resize;
mod stop;

use std::time::Duration;

use jiff::Timestamp;

use super::backoff::{Backoff, SETUP_RETRY_FIRST, SETUP_RETRY_MAX, later};
use super::model::*;
use super::plan::{Kind, Plan};

pub use compare::{Differences, Unseen};
pub use recover::{FoundContainer, FoundPod, FoundState};
pub use resize::{RESIZE_COMPLETED, Resizing};

/// The shortest time between the first signal and the last, even for a forced delete.
pub const GRACE_MIN: Duration = Duration::from_secs(2);

/// A pod on this node.
#[derive(Clone, Debug, PartialEq)]
pub struct Machine {
    pub plan: Plan,
    pub stage: Stage,
    pub prepared: Setup<()>,
    pub sandbox: Setup<SandboxUp>,
    /// How many sandboxes this pod has had.
    pub sandboxes: u32,
    /// In the plan's order.
    pub containers: Vec<Ctr>,
    /// All init containers are done; main ones may run. It stays so until the sandbox is replaced.
    pub initialized: bool,
    pub started_at: Timestamp,
    pub resizing: Resizing,
    pub fate: Option<Fate>,
    pub deleted: bool,
    /// It was asked to end without any grace: no hooks run any more.
    forced: bool,
    setup: Backoff,
    /// Between `Quiet` or `Clear` being ordered and done.
    under_way: bool,
}

impl Machine {
    /// A pod that is new to this node.
    pub fn new(plan: Plan, now: Timestamp) -> Self {
        let containers = plan.containers.iter().cloned().map(Ctr::new).collect();
        let initialized = !plan.containers.iter().any(|w| matches!(w.kind, Kind::Init | Kind::Sidecar));
        Self {
            plan,
            stage: Stage::Live,
            prepared: Setup::Todo { retry_at: None },
            sandbox: Setup::Todo { retry_at: None },
            sandboxes: 0,
            containers,
            initialized,
            started_at: now,
            resizing: Resizing::new(),
            fate: None,
            deleted: false,
            forced: false,
            setup: Backoff::new(SETUP_RETRY_FIRST, SETUP_RETRY_MAX),
            under_way: false,
        }
    }

    /// Notes what happened and says what to do.
    pub fn on(&mut self, event: Event, now: Timestamp) -> Vec<Order> {
        let mut orders = Vec::new();
        self.record(event, now, &mut orders);
        if self.stage == Stage::Live {
            self.live(now, &mut orders);
        }
        // Live may have found that the pod is over; then the ending begins in the same step.
        if self.stage != Stage::Live {
            self.stop(now, &mut orders);
        }
        orders
    }

    /// When to call again with [`Event::Looked`] if nothing happens before.
    pub fn wake_at(&self, now: Timestamp) -> Option<Timestamp> {
        let mut times = Vec::new();
        for c in &self.containers {
            match &c.now {
                Now::Idle { retry_at } if self.stage == Stage::Live => times.extend(*retry_at),
                Now::Exited { restart_at, .. } if self.stage == Stage::Live => times.extend(*restart_at),
                _ => {}
            }
            times.extend(c.ending.filter(|e| c.is_running() && e.step != EndStep::Killed).map(|e| e.deadline));
        }
        match self.stage {
            Stage::Live => {
                for retry in [retry_of(&self.prepared), retry_of(&self.sandbox), self.resizing.retry_at()] {
                    times.extend(retry);
                }
                times.extend(self.backoff_shows_at());
                times.extend(self.plan.active_deadline.map(|d| later(self.started_at, d)));
            }
            Stage::Stopping { deadline } if self.containers.iter().any(|c| c.is_running() && !is_killed(c)) => {
                times.push(deadline);
            }
            _ => {}
        }
        // What is past and was not acted on waits for something else to happen.
        times.into_iter().filter(|t| *t > now).min()
    }

    pub fn container(&self, name: &str) -> Option<&Ctr> {
        self.containers.iter().find(|c| c.want.name == name)
    }

    /// No container of this pod will ever run again.
    pub fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Quiet | Stage::Stopped | Stage::Clearing | Stage::Gone)
    }

    /// The attempts of sandboxes of which something may be left in the runtime: those that were up, and one whose making failed
    /// or was cut off.
    pub fn sandboxes_made(&self) -> std::ops::Range<u32> {
        0..self.sandboxes + u32::from(self.sandbox.done().is_none())
    }

    fn container_mut(&mut self, name: &str) -> Option<&mut Ctr> {
        self.containers.iter_mut().find(|c| c.want.name == name)
    }

    /// Leaves `Live`, or brings the end nearer. Never moves it away.
    fn begin_stopping(&mut self, grace: Duration, now: Timestamp) {
        let asked = later(now, grace.max(GRACE_MIN));
        match &mut self.stage {
            Stage::Live => self.stage = Stage::Stopping { deadline: asked },
            Stage::Stopping { deadline } => *deadline = (*deadline).min(asked),
            Stage::Quiet | Stage::Stopped | Stage::Clearing | Stage::Gone => {}
        }
        self.forced |= grace.is_zero();
        for ending in self.containers.iter_mut().filter_map(|c| c.ending.as_mut()) {
            // Not the pod's deadline, which may be over: a process that outlived its hook has a moment more than that.
            let hook_is_over = self.forced && ending.step == EndStep::PreStop;
            ending.deadline = ending.deadline.min(if hook_is_over { now } else { asked });
        }
    }
}

fn is_killed(c: &Ctr) -> bool {
    c.ending.is_some_and(|e| e.step == EndStep::Killed)
}

fn retry_of<T>(setup: &Setup<T>) -> Option<Timestamp> {
    match setup {
        Setup::Todo { retry_at } => *retry_at,
        Setup::Doing | Setup::Done(_) => None,
    }
}

/// A try that failed may be made again.
fn is_due(retry_at: Option<Timestamp>, now: Timestamp) -> bool {
    retry_at.is_none_or(|t| t <= now)
}

fn tell(container: &str, warning: bool, reason: &'static str, message: impl Into<String>) -> Order {
    Order::Tell(Tell { container: Some(container.into()), warning, reason, message: message.into() })
}

fn tell_pod(warning: bool, reason: &'static str, message: impl Into<String>) -> Order {
    Order::Tell(Tell { container: None, warning, reason, message: message.into() })
}

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
