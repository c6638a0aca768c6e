//! The words of the pod state machine: what it remembers, what may happen to it, what it may order.

use std::net::IpAddr;
use std::time::Duration;

use jiff::Timestamp;

use super::backoff::{BACKOFF_FIRST, BACKOFF_MAX, Backoff, CrashBackoff, SETUP_RETRY_FIRST, SETUP_RETRY_MAX};
use super::plan::{Kind, Want};
use super::size::{ResizeStep, Size};
use crate::runtime::Network;

/// How a container ended, as the API shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The runtime's id; empty when no process was ever made.
    pub id: String,
    pub exit_code: i32,
    /// `Completed`, `Error`, `OOMKilled`, `ContainerCannotRun`, …
    pub reason: String,
    /// The termination message.
    pub message: String,
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
}

/// Why a container waits: `reason` and `message` of its waiting state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Why {
    pub reason: String,
    pub message: String,
}

impl Why {
    pub fn new(reason: &str, message: impl Into<String>) -> Self {
        Self { reason: reason.into(), message: message.into() }
    }
}

/// How far the ending of a running container is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EndStep {
    PreStop,
    /// Nothing is left to do before the signal, which waits for those that need the container.
    Waits,
    Termed,
    Killed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending {
    pub deadline: Timestamp,
    pub step: EndStep,
}

/// What a container does now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Now {
    /// It has no process and none is under way; `retry_at` says when something that failed is tried again.
    Idle {
        retry_at: Option<Timestamp>,
    },
    /// Its image is being looked for.
    Pulling,
    /// Its image is there; it waits for the sandbox.
    ImageReady,
    /// Its process is being made. `id` is known once the runtime named it.
    Starting {
        id: Option<String>,
    },
    Running {
        id: String,
        started_at: Timestamp,
    },
    /// It ended. `restart_at` is set when it will run again.
    Exited {
        ended: Ended,
        restart_at: Option<Timestamp>,
    },
}

/// A container and its history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ctr {
    pub want: Want,
    pub now: Now,
    pub why: Option<Why>,
    /// The end before the present state: `lastState`.
    pub last: Option<Ended>,
    /// The end before `last`: it is `lastState` as long as `last` is shown as the present state.
    pub earlier: Option<Ended>,
    pub restarts: u32,
    /// Whether any process of it was ever made in this pod.
    pub made_before: bool,
    pub crash: CrashBackoff,
    pub pull: Backoff,
    pub setup: Backoff,
    /// The image was changed while the old one was being pulled.
    pub pull_is_stale: bool,
    /// When the last pull failed.
    pub pull_failed_at: Option<Timestamp>,
    pub ending: Option<Ending>,
    pub pre_stop_ordered: bool,
    /// The postStart hook is done (or there is none).
    pub hooked: bool,
    /// Its first start is over, hook and all, or failed: it holds up nobody's any more.
    pub had_its_turn: bool,
    /// The startup probe succeeded (or there is none).
    pub started: bool,
    pub ready: bool,
    /// The image the running process was made from, as the spec named it.
    pub image_in_use: String,
    /// How large its process runs.
    pub size_in_use: Size,
    /// `status.image` and `status.imageID`.
    pub image_name: String,
    pub image_id: String,
}

impl Ctr {
    pub fn new(want: Want) -> Self {
        Self {
            now: Now::Idle { retry_at: None },
            why: None,
            last: None,
            earlier: None,
            restarts: 0,
            made_before: false,
            crash: CrashBackoff::new(),
            pull: Backoff::new(BACKOFF_FIRST, BACKOFF_MAX),
            setup: Backoff::new(SETUP_RETRY_FIRST, SETUP_RETRY_MAX),
            pull_is_stale: false,
            pull_failed_at: None,
            ending: None,
            pre_stop_ordered: false,
            hooked: false,
            had_its_turn: false,
            started: false,
            ready: false,
            image_in_use: String::new(),
            size_in_use: want.size,
            image_name: want.image.clone(),
            image_id: String::new(),
            want,
        }
    }
    pub fn running_id(&self) -> Option<&str> {
        match &self.now {
            Now::Running { id, .. } => Some(id),
            _ => None,
        }
    }
    pub fn is_running(&self) -> bool {
        matches!(self.now, Now::Running { .. })
    }
    /// What runs is made from another image than is wanted now. One that debugs stays as it is.
    pub fn is_outdated(&self) -> bool {
        self.want.kind != Kind::Ephemeral && self.image_in_use != self.want.image
    }
    /// What runs, or is about to, is not of the size that is wanted.
    pub fn is_missized(&self) -> bool {
        self.is_alive() && self.size_in_use != self.want.size
    }
    /// Only a new process can have the size that is wanted.
    pub fn resizes_by_restart(&self) -> bool {
        self.want.resize_restarts.needed(self.size_in_use, self.want.size)
    }
    /// A process exists or is about to.
    pub fn is_alive(&self) -> bool {
        matches!(self.now, Now::Running { .. } | Now::Starting { .. })
    }
    /// Something came of the start that is under way: a process whose hook is done, an end, or a failure that is tried again later.
    pub fn has_tried(&self) -> bool {
        match &self.now {
            Now::Idle { retry_at } => retry_at.is_some(),
            Now::Pulling | Now::ImageReady | Now::Starting { .. } => false,
            Now::Running { .. } => self.hooked,
            Now::Exited { .. } => true,
        }
    }
    /// The number of the process that a status is about: one that is being made is none yet, and its number may be given
    /// again. `None`: there was none.
    pub fn attempt_shown(&self) -> Option<u32> {
        match &self.now {
            Now::Starting { .. } => self.restarts.checked_sub(1),
            _ => self.made_before.then_some(self.restarts),
        }
    }
    /// It ran, and its end is the newest that there is.
    pub(super) fn again(&mut self, ended: Ended) {
        self.earlier = self.last.replace(ended);
    }
    /// The newest end, whether or not it is shown as the present state.
    pub fn ended(&self) -> Option<&Ended> {
        match &self.now {
            Now::Exited { ended, .. } => Some(ended),
            _ => self.last.as_ref(),
        }
    }
}

/// A piece of setting up that is done once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Setup<T> {
    Todo { retry_at: Option<Timestamp> },
    Doing,
    Done(T),
}

impl<T> Setup<T> {
    pub fn done(&self) -> Option<&T> {
        match self {
            Self::Done(t) => Some(t),
            _ => None,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SandboxUp {
    pub id: String,
    /// The pod's addresses; those of the node for the host network.
    pub addresses: Vec<IpAddr>,
    pub network: Network,
}

/// The pod's life. It only ever moves down this list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// What should run is made to run.
    Live,
    /// Everything that runs is being ended, at the latest at `deadline`.
    Stopping {
        deadline: Timestamp,
    },
    /// Nothing runs; network and sandbox are being taken down.
    Quiet,
    /// Nothing runs and nothing is held but what `kubectl logs` reads. The status is final.
    Stopped,
    /// Deleted: the last remains are being removed.
    Clearing,
    Gone,
}

/// Reason and message of the pod itself: why it was ended from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fate {
    pub reason: String,
    pub message: String,
}

/// Which probe spoke.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProbeKind {
    Startup,
    Liveness,
    Readiness,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Time passed, or the spec changed.
    Looked,
    Planned(Box<super::plan::Plan>),
    Prepared,
    PrepareFailed,
    SandboxUp(SandboxUp),
    SandboxFailed {
        message: String,
    },
    SandboxExited {
        id: String,
    },
    Pulling {
        container: String,
    },
    ImageReady {
        container: String,
        image: String,
        image_id: String,
        message: String,
    },
    ImageFailed {
        container: String,
        reason: &'static str,
        message: String,
    },
    /// The runtime made the container; its process does not run yet.
    Created {
        container: String,
        id: String,
    },
    Started {
        container: String,
        id: String,
        at: Timestamp,
    },
    /// Nothing came of it: `CreateContainerConfigError`, `CreateContainerError`.
    CreateFailed {
        container: String,
        reason: &'static str,
        message: String,
    },
    /// The runtime made the container, but its process could not be run.
    StartFailed {
        container: String,
        id: String,
        message: String,
    },
    PostStart {
        container: String,
        id: String,
        failure: Option<String>,
    },
    PreStopDone {
        container: String,
        id: String,
        failure: Option<String>,
    },
    Exited {
        id: String,
        ended: Ended,
    },
    Probe {
        container: String,
        id: String,
        probe: ProbeKind,
        healthy: bool,
    },
    /// How far a resize has come, and what went wrong then.
    Resized {
        done: Vec<ResizeStep>,
        failure: Option<String>,
    },
    DeleteRequested {
        grace: Duration,
    },
    /// The node wants the pod away (eviction, failed admission).
    Evicted {
        fate: Fate,
        grace: Duration,
    },
    Quieted,
    Cleared,
}

/// What shall be done. Every order but `Tell` is answered by an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Directories, cgroup, volumes. `fresh`: nothing of the pod runs yet, so the cgroup's limits harm nobody.
    Prepare {
        fresh: bool,
    },
    MakeSandbox {
        attempt: u32,
    },
    EnsureImage {
        container: String,
    },
    Start {
        container: String,
        attempt: u32,
    },
    PreStop {
        container: String,
        id: String,
        within: Duration,
    },
    Terminate {
        container: String,
        id: String,
    },
    Kill {
        id: String,
    },
    /// Make what runs larger or smaller.
    Resize {
        steps: Vec<ResizeStep>,
    },
    /// Stop the sandbox, detach the network, unmount volumes.
    Quiet,
    /// Remove containers, sandbox, directories, cgroup.
    Clear,
    /// Delete the API object; the last order of a deleted pod.
    Finalize,
    /// An event for the user.
    Tell(Tell),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tell {
    /// The container it is about; `None` for the pod.
    pub container: Option<String>,
    pub warning: bool,
    pub reason: &'static str,
    pub message: String,
}
