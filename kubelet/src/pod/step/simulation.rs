//! Any order of things: random runtimes, failures, API changes and kubelet restarts, after which every pod must settle.
//!
//! Nothing here waits: time is a number. A seed that fails is printed and fails again.

mod plans;
mod runtime;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use corten_client::seeds::{Chance, for_each_seed};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;

use self::plans::random_plan;
use self::runtime::{Job, Made, Seen};
use super::*;
use crate::cgroup::PodLimits;
use crate::pod::size::{ResizeStep, Size};
use crate::pod::status::status_of;

/// Seeds that every run tries, before fresh ones.
const SEEDS: u64 = 3000;
/// Things that happen to one pod before the world calms down.
const TROUBLES: u32 = 80;
/// In a calm world a pod has settled after so many things.
const CALM_MAX: u32 = 600;

/// The runtime is asked for everything now and then, whatever else goes on.
const COMPARE_EVERY: u32 = 20;

/// What waits in the worker's queue.
#[derive(Clone, Debug)]
enum Mail {
    Event(Event),
    Found(FoundPod, u64),
}

struct World {
    dice: Chance,
    machine: Machine,
    plan: Plan,
    pod: Pod,
    deleted: bool,
    /// Asked to end without any grace.
    forced: bool,
    finalized: bool,
    faults: bool,
    now: Timestamp,
    /// Counts what happens: our monotonic clock.
    tick: u64,
    heard_at: HashMap<String, u64>,
    sandboxes: BTreeMap<u32, bool>,
    containers: BTreeMap<String, Made>,
    /// The limits of the pod's cgroup.
    pod_limits: PodLimits,
    /// The image that was last brought for each container.
    pulled: BTreeMap<String, String>,
    /// Containers whose first start was over, as far as any kubelet heard.
    tried: BTreeSet<String>,
    jobs: Vec<Job>,
    mail: Vec<Mail>,
    history: Vec<String>,
}

fn rank(stage: Stage) -> u8 {
    match stage {
        Stage::Live => 0,
        Stage::Stopping { .. } => 1,
        Stage::Quiet => 2,
        Stage::Stopped => 3,
        Stage::Clearing => 4,
        Stage::Gone => 5,
    }
}

impl World {
    fn new(seed: u64) -> Self {
        let mut dice = Chance(seed);
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let plan = random_plan(&mut dice);
        Self {
            machine: Machine::new(plan.clone(), now),
            plan,
            dice,
            pod: Pod::default(),
            deleted: false,
            forced: false,
            finalized: false,
            faults: true,
            now,
            tick: 0,
            heard_at: HashMap::new(),
            sandboxes: BTreeMap::new(),
            containers: BTreeMap::new(),
            pod_limits: PodLimits::default(),
            pulled: BTreeMap::new(),
            tried: BTreeSet::new(),
            jobs: Vec::new(),
            mail: Vec::new(),
            history: Vec::new(),
        }
    }

    fn fails(&mut self, percent: usize) -> bool {
        self.faults && self.dice.percent(percent)
    }

    fn feed(&mut self, event: Event) {
        self.tick += 1;
        self.history.push(format!("{event:?}"));
        match &event {
            Event::SandboxUp(up) => drop(self.heard_at.insert(up.id.clone(), self.tick)),
            Event::Started { id, .. } => drop(self.heard_at.insert(id.clone(), self.tick)),
            Event::ImageReady { container, image, .. } => drop(self.pulled.insert(container.clone(), image.clone())),
            _ => {}
        }
        self.note_try(&event);
        let before = rank(self.machine.stage);
        let orders = self.machine.on(event, self.now);
        assert!(rank(self.machine.stage) >= before, "a pod never goes back");
        for order in orders {
            match order {
                Order::Tell(_) => {}
                Order::Finalize => self.finalized = true,
                order => {
                    self.history.push(format!("  -> {order:?}"));
                    match &order {
                        Order::Terminate { container, .. } => self.check_turn(container),
                        Order::Start { container, .. } => self.check_order(container),
                        _ => {}
                    }
                    let image = match &order {
                        Order::EnsureImage { container } => {
                            self.machine.container(container).unwrap().want.image.clone()
                        }
                        Order::Start { container, .. } => self.pulled[container].clone(),
                        _ => String::new(),
                    };
                    let size = match &order {
                        Order::Start { container, .. } => self.machine.container(container).unwrap().want.size,
                        _ => Size::default(),
                    };
                    let pod_size = self.machine.plan.size;
                    self.jobs.push(Job::Order(order, Seen { image, size, pod_size }));
                }
            }
        }
        if !self.faults || self.dice.percent(70) {
            self.pod.status = Some(status_of(&self.machine, &self.pod, &[], self.now));
        }
    }

    fn note_try(&mut self, event: &Event) {
        let has_hook = |name: &str| self.plan.containers.iter().any(|w| w.name == name && w.post_start);
        let name = match event {
            Event::Started { container, .. } if !has_hook(container) => container.clone(),
            Event::PostStart { container, failure: None, .. }
            | Event::ImageFailed { container, .. }
            | Event::CreateFailed { container, .. }
            | Event::StartFailed { container, .. } => container.clone(),
            Event::Exited { id, .. } => id.split('#').next().unwrap_or_default().to_owned(),
            _ => return,
        };
        self.tried.insert(name);
    }

    /// No main container starts while one before it was never tried.
    fn check_order(&self, container: &str) {
        let before = self.machine.containers.iter().take_while(|c| c.want.name != container);
        let is_main = self.machine.container(container).is_some_and(|c| c.want.kind == Kind::Main);
        for c in before.filter(|c| is_main && c.want.kind == Kind::Main) {
            assert!(self.tried.contains(&c.want.name), "{container} starts before {}", c.want.name);
        }
    }

    /// While there is time, a sidecar of an ending pod is asked to end after all that may need it, and the hooks run already.
    fn check_turn(&self, container: &str) {
        let Stage::Stopping { deadline } = self.machine.stage else { return };
        let kind = |name: &str| self.machine.container(name).unwrap().want.kind;
        let early = deadline > self.now && !self.forced;
        if early && kind(container) == Kind::Sidecar {
            let needs_it = |c: &&Ctr| c.is_alive() && c.want.kind != Kind::Sidecar;
            assert_eq!(self.machine.containers.iter().find(needs_it), None, "{container} goes before it");
        }
        let hooks = self.machine.containers.iter().filter(|c| c.is_running() && c.want.pre_stop);
        hooks.for_each(|c| assert!(c.ending.is_some(), "the hook of {} has not begun", c.want.name));
    }

    fn say(&mut self, event: Event) {
        self.mail.push(Mail::Event(event));
    }

    fn deliver(&mut self) {
        if self.mail.is_empty() {
            return;
        }
        match self.mail.remove(0) {
            Mail::Event(event) => self.feed(event),
            Mail::Found(found, asked_at) => {
                let heard = self.heard_at.clone();
                let differences = self.machine.compare(&found, |id| heard.get(id).is_none_or(|at| *at < asked_at));
                for unseen in differences.ended {
                    let id = unseen.id;
                    // Nobody may take a running container for a dead one.
                    let runs = self.containers.get(&id).is_some_and(|c| matches!(c.state, FoundState::Running { .. }));
                    assert!(!runs, "{id} runs, and was taken for ended");
                    let ended = unseen.ended.unwrap_or_else(|| Ended {
                        id: id.clone(),
                        exit_code: 137,
                        reason: "ContainerStatusUnknown".into(),
                        message: String::new(),
                        started_at: None,
                        finished_at: Some(self.now),
                    });
                    self.feed(Event::Exited { id, ended });
                }
                for id in differences.strays {
                    self.jobs.push(Job::Order(Order::Kill { id }, Seen::default()));
                }
                if let Some(id) = differences.lost_sandbox {
                    self.feed(Event::SandboxExited { id });
                }
            }
        }
    }

    /// The kubelet is killed: what was under way has happened or not, and nobody heard of it.
    fn restart_kubelet(&mut self) {
        while let Some(job) = self.jobs.pop() {
            if self.dice.percent(50) {
                self.jobs.push(job);
                self.do_job(self.jobs.len() - 1);
            }
        }
        self.mail.clear();
        self.heard_at.clear();
        self.history.push("the kubelet restarts".into());
        self.machine = Machine::recover(self.plan.clone(), &self.found(), self.pod.status.as_ref(), self.now);
        // What ran or ended before this kubelet was tried by the last one.
        let made = self.machine.containers.iter().filter(|c| c.made_before).map(|c| c.want.name.clone());
        self.tried.extend(made);
        self.feed(Event::Looked);
        if self.deleted {
            self.feed(Event::DeleteRequested { grace: self.plan.grace });
        }
    }

    fn pass_time(&mut self, secs: u64) {
        let until = later(self.now, Duration::from_secs(secs));
        match self.machine.wake_at(self.now).filter(|at| *at <= until) {
            Some(at) => {
                self.now = at;
                self.feed(Event::Looked);
            }
            None => self.now = until,
        }
    }

    fn trouble(&mut self) {
        match self.dice.below(100) {
            0..30 => self.deliver(),
            30..62 if !self.jobs.is_empty() => {
                let at = self.dice.below(self.jobs.len());
                self.do_job(at);
            }
            62..70 => {
                let (running, code) = (self.running(), [0, 1, 137][self.dice.below(3)]);
                if !running.is_empty() {
                    let id = running[self.dice.below(running.len())].clone();
                    self.exit(&id, code);
                }
            }
            70..73 => {
                if let Some((attempt, up)) = self.sandboxes.iter_mut().next_back().filter(|(_, up)| **up) {
                    *up = false;
                    let id = format!("s{attempt}");
                    if !self.fails(20) {
                        self.say(Event::SandboxExited { id });
                    }
                }
            }
            73..85 => {
                let secs = 1 + self.dice.below(40) as u64;
                self.pass_time(secs);
            }
            85..90 => self.ask_runtime(),
            90..93 => self.restart_kubelet(),
            93..96 => {
                let image = ["img", "img2", "img3"][self.dice.below(3)];
                self.plan.containers.iter_mut().for_each(|w| w.image = image.into());
                self.feed(Event::Planned(Box::new(self.plan.clone())));
            }
            96..98 => self.probe(),
            99 if self.dice.percent(70) => self.resize(),
            99 => self.add_debugger(),
            98 if self.dice.percent(40) => {
                self.deleted = true;
                self.forced |= self.dice.percent(20);
                let grace = if self.forced { Duration::ZERO } else { self.plan.grace };
                self.feed(Event::DeleteRequested { grace });
            }
            _ => {}
        }
    }

    fn probe(&mut self) {
        let running: Vec<(String, String)> = self
            .machine
            .containers
            .iter()
            .filter_map(|c| Some((c.want.name.clone(), c.running_id()?.to_owned())))
            .collect();
        if let Some((container, id)) = running.first().cloned() {
            let probe = [ProbeKind::Liveness, ProbeKind::Readiness][self.dice.below(2)];
            let healthy = self.dice.percent(50);
            self.feed(Event::Probe { container, id, probe, healthy });
        }
    }

    /// Nothing fails any more: everything that is under way comes to its end.
    fn calm_down(&mut self) {
        self.faults = false;
        for round in 1..CALM_MAX {
            if round % COMPARE_EVERY == 0 {
                self.ask_runtime();
            }
            let init = |id: &String| self.containers[id].name == "i";
            if let Some(id) = self.running().into_iter().find(init) {
                self.exit(&id, 0);
            } else if !self.mail.is_empty() {
                self.deliver();
            } else if !self.jobs.is_empty() {
                self.do_job(0);
            } else if self.machine.wake_at(self.now).is_some() {
                self.pass_time(3600);
            } else {
                let before = self.history.len();
                self.pass_time(60);
                self.ask_runtime();
                self.deliver();
                if self.jobs.is_empty() && self.history.len() == before {
                    return;
                }
            }
        }
        panic!("it never comes to rest");
    }

    fn check(&self) {
        let running = self.running();
        if self.deleted {
            assert_eq!(self.machine.stage, Stage::Gone);
            assert!(self.finalized && running.is_empty() && self.sandboxes.is_empty());
            return;
        }
        if self.machine.stage == Stage::Stopped {
            assert!(running.is_empty(), "over, and yet there runs {running:?}");
            return;
        }
        assert_eq!(self.machine.stage, Stage::Live);
        let mut wanted = Vec::new();
        for c in &self.machine.containers {
            match (&c.now, c.want.kind) {
                (Now::Running { id, .. }, Kind::Main | Kind::Sidecar) => {
                    assert_eq!(self.containers[id].image, c.want.image, "{id} is made from the wanted image");
                    assert_eq!(self.containers[id].size, c.want.size, "{id} has the wanted size");
                    wanted.push(id.clone());
                }
                (Now::Running { id, .. }, Kind::Ephemeral) => wanted.push(id.clone()),
                (Now::Exited { restart_at, .. }, Kind::Ephemeral) => assert_eq!(*restart_at, None),
                (Now::Exited { ended, .. }, Kind::Init) => assert_eq!(ended.exit_code, 0),
                (Now::Exited { ended, .. }, Kind::Main) => assert!(!c.want.restarts(ended.exit_code)),
                // It was done before the last kubelet began; nothing keeps what is not needed any more.
                (Now::Idle { .. }, Kind::Init) if self.machine.initialized => {}
                (now, kind) => panic!("{kind:?} {} has come to rest as {now:?}", c.want.name),
            }
        }
        wanted.sort();
        assert_eq!(running, wanted, "what runs is what should");
        assert_eq!(self.pod_limits, self.plan.size, "the pod has the wanted size");
        assert!(!self.machine.is_resizing() && self.machine.resizing.failure.is_none());
        for c in self.machine.containers.iter().filter(|c| c.want.kind == Kind::Ephemeral) {
            let of_it = self.containers.values().filter(|made| made.name == c.want.name);
            assert!(of_it.filter(|made| made.state != FoundState::Created).count() <= 1, "a debugger runs once");
        }
        assert_eq!(self.sandboxes.values().next_back(), Some(&true));
    }
}

#[test]
fn whatever_happens_every_pod_settles() {
    for_each_seed(SEEDS, |seed| {
        let mut world = World::new(seed);
        let history = std::panic::AssertUnwindSafe(&mut world);
        let told = std::panic::catch_unwind(move || {
            let world = history;
            world.0.feed(Event::Looked);
            for _ in 0..TROUBLES {
                world.0.trouble();
            }
            world.0.calm_down();
            world.0.check();
        });
        if told.is_err() {
            let tail = world.history.len().saturating_sub(60);
            panic!("seed {seed}:\n{}\n{:#?}", world.history[tail..].join("\n"), world.machine);
        }
    });
}
