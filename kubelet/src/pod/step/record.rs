//! Notes an event in the machine's memory. It decides nothing but what follows from the event alone.

use jiff::Timestamp;

use super::super::backoff::{CrashBackoff, between, go_duration, later};
use super::super::model::*;
use super::super::plan::{Kind, Plan};
use super::{Machine, tell, tell_pod};

/// Exit code of a container whose process could not be run.
const START_ERROR_EXIT_CODE: i32 = 128;

impl Machine {
    pub(super) fn record(&mut self, event: Event, now: Timestamp, orders: &mut Vec<Order>) {
        match event {
            Event::Looked => {}
            Event::Planned(plan) => self.replan(*plan, now),
            Event::Prepared => {
                self.prepared = Setup::Done(());
                self.resizing.pod = self.resizing.pod_ordered;
                self.setup.reset();
            }
            Event::PrepareFailed => self.prepared = self.setup_failed(now),
            Event::SandboxUp(up) => {
                self.sandbox = Setup::Done(up);
                self.sandboxes += 1;
                self.setup.reset();
            }
            Event::SandboxFailed { message } => {
                self.sandbox = self.setup_failed(now);
                let message = format!("Failed to create pod sandbox: {message}");
                orders.push(tell_pod(true, "FailedCreatePodSandBox", message));
            }
            Event::SandboxExited { id } => self.lost_sandbox(&id, orders),
            Event::Pulling { container } => {
                if let Some(c) = self.container_mut(&container) {
                    orders.push(tell(&container, false, "Pulling", format!("Pulling image \"{}\"", c.want.image)));
                }
            }
            Event::ImageReady { container, image, image_id, message } => {
                self.image_ready(&container, image, image_id, message, orders);
            }
            Event::ImageFailed { container, reason, message } => {
                self.image_failed(&container, reason, message, now, orders);
            }
            Event::Created { container, id } => self.created(&container, id, orders),
            Event::Started { container, id, at } => self.started(&container, id, at, orders),
            Event::CreateFailed { container, reason, message } => {
                self.create_failed(&container, reason, message, now, orders);
            }
            Event::StartFailed { container, id, message } => {
                self.start_failed(&container, id, message, now, orders);
            }
            Event::PostStart { container, id, failure } => self.post_start(&container, &id, failure, now, orders),
            Event::PreStopDone { container, id, failure } => self.pre_stop_done(&container, &id, failure, orders),
            Event::Exited { id, ended } => self.exited(&id, ended, now, orders),
            Event::Probe { container, id, probe, healthy } => {
                self.probed(&container, &id, probe, healthy, now, orders);
            }
            Event::Resized { done, failure } => self.resized(done, failure, now, orders),
            Event::DeleteRequested { grace } => {
                self.deleted = true;
                self.begin_stopping(grace, now);
            }
            Event::Evicted { fate, grace } => {
                if self.stage == Stage::Live {
                    orders.push(tell_pod(true, "Evicted", fate.message.clone()));
                    self.fate = Some(fate);
                }
                self.begin_stopping(grace, now);
            }
            Event::Quieted => self.quieted(),
            Event::Cleared => self.cleared(orders),
        }
    }

    fn setup_failed<T>(&mut self, now: Timestamp) -> Setup<T> {
        let wait = self.setup.fail();
        Setup::Todo { retry_at: Some(later(now, wait)) }
    }

    fn quieted(&mut self) {
        if self.stage == Stage::Quiet {
            self.under_way = false;
            self.stage = Stage::Stopped;
        }
    }

    fn cleared(&mut self, orders: &mut Vec<Order>) {
        if self.stage == Stage::Clearing {
            self.stage = Stage::Gone;
            orders.push(Order::Finalize);
        }
    }

    /// The spec changed where the API lets it: images, sizes, the deadline, ephemeral containers.
    fn replan(&mut self, plan: Plan, now: Timestamp) {
        let sizes = |plan: &Plan| plan.containers.iter().map(|w| (w.name.clone(), w.size)).collect::<Vec<_>>();
        // A container that is new is made in its size.
        if self.plan.size != plan.size || !sizes(&plan).starts_with(&sizes(&self.plan)) {
            self.resizing.wanted_anew();
        }
        for want in &plan.containers {
            match self.containers.iter_mut().find(|c| c.want.name == want.name) {
                Some(c) => {
                    if c.want.image != want.image {
                        change_image(c, now);
                    }
                    c.want = want.clone();
                }
                None => self.containers.push(Ctr::new(want.clone())),
            }
        }
        self.plan = plan;
    }

    fn lost_sandbox(&mut self, id: &str, orders: &mut Vec<Order>) {
        if self.sandbox.done().is_none_or(|up| up.id != id) || self.stage != Stage::Live {
            return;
        }
        orders.push(tell_pod(false, "SandboxChanged", "Pod sandbox changed, it will be killed and re-created."));
        self.sandbox = Setup::Todo { retry_at: None };
        self.initialize_again();
    }

    /// The network and the memory that the containers share are new: what the init containers did there has to be done again.
    pub(super) fn initialize_again(&mut self) {
        let has_init = self.containers.iter().any(|c| matches!(c.want.kind, Kind::Init | Kind::Sidecar));
        self.initialized = !has_init;
        for c in self.containers.iter_mut().filter(|c| c.want.kind == Kind::Init) {
            if let Now::Exited { ended, .. } = &c.now {
                let ended = ended.clone();
                c.again(ended);
                c.now = Now::Idle { retry_at: None };
            }
        }
    }

    fn image_ready(&mut self, name: &str, image: String, image_id: String, message: String, orders: &mut Vec<Order>) {
        let Some(c) = self.pulling(name) else { return };
        c.now = Now::ImageReady;
        c.pull.reset();
        c.pull_failed_at = None;
        c.image_name = image;
        c.image_id = image_id;
        orders.push(tell(name, false, "Pulled", message));
    }

    /// The container whose pull was answered. The answer about an image that is not wanted any more counts for nothing.
    fn pulling(&mut self, name: &str) -> Option<&mut Ctr> {
        let c = self.container_mut(name).filter(|c| c.now == Now::Pulling)?;
        if std::mem::take(&mut c.pull_is_stale) {
            c.now = Now::Idle { retry_at: None };
            return None;
        }
        Some(c)
    }

    fn image_failed(
        &mut self,
        name: &str,
        reason: &'static str,
        message: String,
        now: Timestamp,
        orders: &mut Vec<Order>,
    ) {
        let Some(c) = self.pulling(name) else { return };
        let wait = c.pull.fail();
        c.now = Now::Idle { retry_at: Some(later(now, wait)) };
        c.pull_failed_at = Some(now);
        let (event, text) = match reason {
            "InvalidImageName" => {
                ("InspectFailed", format!("Failed to apply default image tag \"{}\": {message}", c.want.image))
            }
            "ErrImageNeverPull" => (reason, message.clone()),
            _ => ("Failed", format!("Failed to pull image \"{}\": {message}", c.want.image)),
        };
        orders.push(tell(name, true, event, text.clone()));
        orders.push(tell(name, true, "Failed", format!("Error: {reason}")));
        let shown = if reason == "InvalidImageName" { text } else { message };
        c.why = Some(Why::new(reason, shown));
    }

    fn created(&mut self, name: &str, id: String, orders: &mut Vec<Order>) {
        let Some(c) = self.container_mut(name) else { return };
        if let Now::Starting { id: slot } = &mut c.now {
            *slot = Some(id);
            orders.push(tell(name, false, "Created", "Container created"));
        }
    }

    fn started(&mut self, name: &str, id: String, at: Timestamp, orders: &mut Vec<Order>) {
        let Some(c) = self.container_mut(name) else { return };
        // Its exit may have been seen before the answer to our own call: then it has been and gone.
        let been = matches!(&c.now, Now::Exited { ended, .. } if ended.id == id);
        if been || matches!(c.now, Now::Starting { .. }) {
            orders.push(tell(name, false, "Started", "Container started"));
        }
        if !matches!(c.now, Now::Starting { .. }) {
            return;
        }
        c.now = Now::Running { id, started_at: at };
        c.why = None;
        c.setup.reset();
        c.ending = None;
        c.pre_stop_ordered = false;
        c.hooked = !c.want.post_start;
        c.started = c.hooked && !c.want.startup_probe;
        c.ready = c.started && !c.want.readiness_probe;
    }

    fn create_failed(
        &mut self,
        name: &str,
        reason: &'static str,
        message: String,
        now: Timestamp,
        orders: &mut Vec<Order>,
    ) {
        let Some(c) = self.container_mut(name).filter(|c| matches!(c.now, Now::Starting { .. })) else { return };
        // The number was not used up: the runtime replaces what was half made.
        c.made_before = c.restarts > 0;
        c.restarts = c.restarts.saturating_sub(1);
        let wait = c.setup.fail();
        c.now = Now::Idle { retry_at: Some(later(now, wait)) };
        orders.push(tell(name, true, "Failed", format!("Error: {message}")));
        c.why = Some(Why::new(reason, message));
    }

    fn start_failed(&mut self, name: &str, id: String, message: String, now: Timestamp, orders: &mut Vec<Order>) {
        orders.push(tell(name, true, "Failed", format!("Error: {message}")));
        let ended = Ended {
            id: id.clone(),
            exit_code: START_ERROR_EXIT_CODE,
            reason: "StartError".into(),
            message: message.clone(),
            started_at: None,
            finished_at: Some(now),
        };
        self.exited(&id, ended, now, orders);
        if let Some(c) = self.container_mut(name)
            && matches!(c.now, Now::Exited { restart_at: Some(_), .. })
        {
            c.why.get_or_insert_with(|| Why::new("RunContainerError", message));
        }
    }

    fn post_start(&mut self, name: &str, id: &str, failure: Option<String>, now: Timestamp, orders: &mut Vec<Order>) {
        let grace = self.plan.grace;
        let Some(index) = self.position_running(name, id) else { return };
        match failure {
            None => {
                let c = &mut self.containers[index];
                c.hooked = true;
                c.started = !c.want.startup_probe;
                c.ready = c.started && !c.want.readiness_probe;
            }
            Some(_) if self.containers[index].ending.is_none() => {
                orders.push(tell(name, true, "FailedPostStartHook", "PostStartHook failed"));
                self.end(index, later(now, grace), now, "FailedPostStartHook".into(), orders);
            }
            Some(_) => {}
        }
    }

    fn pre_stop_done(&mut self, name: &str, id: &str, failure: Option<String>, orders: &mut Vec<Order>) {
        let Some(index) = self.position_running(name, id) else { return };
        if failure.is_some() {
            orders.push(tell(name, true, "FailedPreStopHook", "PreStopHook failed"));
        }
        // `drive_endings` orders the signal, at once or when its turn has come. The hook may have used up the grace; the process
        // gets a moment of its own all the same.
        if let Some(ending) = self.containers[index].ending.as_mut().filter(|e| e.step == EndStep::PreStop) {
            ending.step = EndStep::Waits;
        }
    }

    fn position_running(&self, name: &str, id: &str) -> Option<usize> {
        self.containers.iter().position(|c| c.want.name == name && c.running_id() == Some(id))
    }

    fn exited(&mut self, id: &str, mut ended: Ended, now: Timestamp, orders: &mut Vec<Order>) {
        let full_name = self.plan.full_name.clone();
        let live = self.stage == Stage::Live;
        let Some(c) = self.containers.iter_mut().find(|c| match &c.now {
            Now::Running { id: have, .. } | Now::Starting { id: Some(have) } => have == id,
            _ => false,
        }) else {
            return;
        };
        // Who saw the end may not know of the beginning: one from before a restart of the kubelet.
        if let Now::Running { started_at, .. } = &c.now {
            ended.started_at = Some(*started_at);
        }
        let ran = match (ended.started_at, ended.finished_at) {
            (Some(start), Some(end)) => between(start, end),
            _ => std::time::Duration::ZERO,
        };
        // A changed image is no crash, nor is another size.
        let changed = c.is_outdated() || c.resizes_by_restart();
        c.ready = false;
        c.started = false;
        c.ending = None;
        c.why = None;
        let restarts = live && (c.want.restarts(ended.exit_code) || changed);
        let restart_at = restarts.then(|| {
            let wait = if changed { std::time::Duration::ZERO } else { c.crash.exited(ran) };
            if !wait.is_zero() {
                let what = format!("restarting failed container {} in pod {full_name}", c.want.name);
                orders.push(tell(&c.want.name, true, "BackOff", format!("Back-off {what}")));
                let what = format!("restarting failed container={} pod={full_name}", c.want.name);
                c.why = Some(Why::new("CrashLoopBackOff", format!("back-off {} {what}", go_duration(wait))));
            }
            later(now, wait)
        });
        c.now = Now::Exited { ended, restart_at };
    }

    fn probed(
        &mut self,
        name: &str,
        id: &str,
        probe: ProbeKind,
        healthy: bool,
        now: Timestamp,
        orders: &mut Vec<Order>,
    ) {
        let pod_grace = self.plan.grace;
        let Some(index) = self.position_running(name, id) else { return };
        let c = &mut self.containers[index];
        match (probe, healthy) {
            (ProbeKind::Startup, true) => {
                c.started = true;
                c.ready = !c.want.readiness_probe;
            }
            (ProbeKind::Readiness, healthy) => c.ready = healthy && c.started,
            (ProbeKind::Liveness, true) => {}
            (ProbeKind::Startup | ProbeKind::Liveness, false) if c.ending.is_none() && self.stage == Stage::Live => {
                let (which, own_grace) = match probe {
                    ProbeKind::Startup => ("startup", c.want.startup_grace),
                    ProbeKind::Liveness | ProbeKind::Readiness => ("liveness", c.want.liveness_grace),
                };
                let message = format!("Container {name} failed {which} probe, will be restarted");
                let grace = own_grace.unwrap_or(pod_grace);
                self.end(index, later(now, grace), now, message, orders);
            }
            (ProbeKind::Startup | ProbeKind::Liveness, false) => {}
        }
    }
}

/// A wrong image may have been put right: no reason to wait any longer, and what is under way is for the old one.
fn change_image(c: &mut Ctr, now: Timestamp) {
    c.pull.reset();
    c.crash = CrashBackoff::new();
    match &mut c.now {
        Now::Idle { retry_at } => *retry_at = None,
        Now::ImageReady => c.now = Now::Idle { retry_at: None },
        Now::Pulling => c.pull_is_stale = true,
        Now::Exited { restart_at: Some(at), .. } => {
            *at = now;
            c.why = None;
        }
        // One that runs is ended and replaced, see `end_what_changed`.
        Now::Starting { .. } | Now::Running { .. } | Now::Exited { restart_at: None, .. } => {}
    }
}
