//! The runtime and the other ports of the simulation: what orders come to, late, in any order, or not at all.

use super::*;

/// A container in the runtime.
#[derive(Clone, Debug)]
pub(super) struct Made {
    pub(super) name: String,
    pub(super) attempt: u32,
    pub(super) image: String,
    pub(super) size: Size,
    pub(super) state: FoundState,
}

/// What of the pod an order was given with: it is carried out later, and the pod may have changed by then.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    pub(super) image: String,
    pub(super) size: Size,
    pub(super) pod_size: PodLimits,
}

/// What is under way outside of the machine.
#[derive(Clone, Debug)]
pub(super) enum Job {
    Order(Order, Seen),
    Run {
        name: String,
        id: String,
    },
    PostStart {
        name: String,
        id: String,
    },
    /// The runtime's answer, on its way: what it says may be old when it arrives.
    Listed(FoundPod, u64),
}

impl World {
    fn sandbox_of(attempt: u32) -> SandboxUp {
        SandboxUp { id: format!("s{attempt}"), addresses: vec![], network: crate::runtime::Network::Host }
    }

    pub(super) fn found(&self) -> FoundPod {
        let newest = self.sandboxes.iter().next_back();
        let container = |(id, c): (&String, &Made)| FoundContainer {
            id: id.clone(),
            name: c.name.clone(),
            attempt: c.attempt,
            image: c.image.clone(),
            image_id: String::new(),
            size: Some(c.size),
            stop_signal: 15,
            state: c.state.clone(),
        };
        FoundPod {
            sandbox: newest.filter(|(_, up)| **up).map(|(attempt, _)| Self::sandbox_of(*attempt)),
            sandboxes: newest.map_or(0, |(attempt, _)| attempt + 1),
            containers: self.containers.iter().map(container).collect(),
        }
    }

    /// The process ends; now and then nobody hears of it.
    pub(super) fn exit(&mut self, id: &str, code: i32) {
        let Some(made) = self.containers.get_mut(id) else { return };
        let FoundState::Running { since } = made.state else { return };
        let ended = Ended {
            id: id.into(),
            exit_code: code,
            reason: "Error".into(),
            message: String::new(),
            started_at: Some(since),
            finished_at: Some(self.now),
        };
        made.state = FoundState::Exited(ended.clone());
        if !self.fails(10) {
            self.say(Event::Exited { id: id.into(), ended });
        }
    }

    pub(super) fn running(&self) -> Vec<String> {
        let up = self.containers.iter().filter(|(_, c)| matches!(c.state, FoundState::Running { .. }));
        up.map(|(id, _)| id.clone()).collect()
    }

    pub(super) fn do_job(&mut self, at: usize) {
        let job = self.jobs.remove(at);
        self.history.push(format!("  done: {job:?}"));
        match job {
            Job::Order(order, seen) => self.do_order(order, seen),
            Job::Listed(found, asked_at) => self.mail.push(Mail::Found(found, asked_at)),
            Job::Run { name, id } => {
                let failed = self.fails(15);
                // A failure can also be that only the answer was lost.
                if !failed || self.dice.percent(30) {
                    let now = self.now;
                    self.containers.get_mut(&id).unwrap().state = FoundState::Running { since: now };
                }
                if failed {
                    self.say(Event::StartFailed { container: name, id, message: "no".into() });
                    return;
                }
                self.say(Event::Started { container: name.clone(), id: id.clone(), at: self.now });
                self.jobs.push(Job::PostStart { name, id });
            }
            Job::PostStart { name, id } => {
                if self.plan.containers.iter().any(|w| w.name == name && w.post_start) {
                    let failure = self.fails(20).then(|| "no".to_owned());
                    self.say(Event::PostStart { container: name, id, failure });
                }
            }
        }
    }

    fn do_order(&mut self, order: Order, seen: Seen) {
        match order {
            Order::Prepare { fresh } => {
                if self.fails(20) {
                    return self.say(Event::PrepareFailed);
                }
                if fresh {
                    self.pod_limits = seen.pod_size;
                }
                self.say(Event::Prepared);
            }
            Order::Resize { steps } => self.resize_what_runs(steps),
            Order::MakeSandbox { attempt } => {
                if self.fails(20) {
                    return self.say(Event::SandboxFailed { message: "no".into() });
                }
                self.sandboxes.insert(attempt, true);
                self.say(Event::SandboxUp(Self::sandbox_of(attempt)));
            }
            Order::EnsureImage { container } => {
                let event = if self.fails(20) {
                    Event::ImageFailed { container, reason: "ErrImagePull", message: "no".into() }
                } else {
                    Event::ImageReady { container, image: seen.image, image_id: String::new(), message: String::new() }
                };
                self.say(event);
            }
            Order::Start { container, attempt } => self.create(container, attempt, seen),
            Order::PreStop { container, id, .. } => {
                let failure = self.fails(20).then(|| "no".to_owned());
                self.say(Event::PreStopDone { container, id, failure });
            }
            Order::Terminate { id, .. } => {
                if self.dice.percent(60) {
                    self.exit(&id, 143);
                }
            }
            Order::Kill { id } => self.exit(&id, 137),
            Order::Quiet => {
                self.running().iter().for_each(|id| self.exit(id, 137));
                self.sandboxes.values_mut().for_each(|up| *up = false);
                self.say(Event::Quieted);
            }
            Order::Clear => {
                self.running().iter().for_each(|id| self.exit(id, 137));
                self.containers.clear();
                self.sandboxes.clear();
                self.say(Event::Cleared);
            }
            Order::Finalize | Order::Tell(_) => {}
        }
    }

    /// Step by step, to the first that fails; now and then nobody hears how far it came.
    fn resize_what_runs(&mut self, steps: Vec<ResizeStep>) {
        let mut done = Vec::new();
        for step in steps {
            let of_container = match &step {
                ResizeStep::Pod(limits) => {
                    if self.fails(15) {
                        return self.say(Event::Resized { done, failure: Some("no".into()) });
                    }
                    self.pod_limits = *limits;
                    true
                }
                ResizeStep::Container { id, to, .. } => {
                    let failed = self.fails(15);
                    let made = self.containers.get_mut(id).filter(|c| matches!(c.state, FoundState::Running { .. }));
                    made.filter(|_| !failed).map(|made| made.size = *to).is_some()
                }
            };
            if !of_container {
                return self.say(Event::Resized { done, failure: Some("it does not run".into()) });
            }
            done.push(step);
        }
        self.say(Event::Resized { done, failure: None });
    }

    fn create(&mut self, container: String, attempt: u32, seen: Seen) {
        let id = format!("{container}#{attempt}");
        let up = self.sandboxes.values().next_back() == Some(&true);
        let runs = self.containers.get(&id).is_some_and(|c| matches!(c.state, FoundState::Running { .. }));
        if !up || runs || self.fails(15) {
            return self.say(Event::CreateFailed { container, reason: "CreateContainerError", message: "no".into() });
        }
        let (image, size) = (seen.image, seen.size);
        let made = Made { name: container.clone(), attempt, image, size, state: FoundState::Created };
        self.containers.insert(id.clone(), made);
        self.say(Event::Created { container: container.clone(), id: id.clone() });
        self.jobs.push(Job::Run { name: container, id });
    }

    pub(super) fn ask_runtime(&mut self) {
        self.tick += 1;
        let asked_at = self.tick;
        let listed = self.found();
        if self.faults {
            self.jobs.push(Job::Listed(listed, asked_at));
        } else {
            self.mail.push(Mail::Found(listed, asked_at));
        }
    }
}
