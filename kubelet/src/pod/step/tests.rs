//! Stories of one pod: what happens, and what the machine orders.

mod begin;
mod crashes;
mod end;
mod recover;
mod resize;
mod restart;
mod turns;

use std::time::Duration;

use jiff::Timestamp;

use super::*;
use crate::cgroup::PodLimits;
use crate::pod::plan::{RestartPolicy, Want};
use crate::pod::size::{ResizeRestarts, ResizeStep, Size};

const START: i64 = 1_800_000_000;

fn at(secs: u64) -> Timestamp {
    later(Timestamp::from_second(START).unwrap(), Duration::from_secs(secs))
}

fn want(name: &str, kind: Kind, restart: RestartPolicy) -> Want {
    Want {
        name: name.into(),
        kind,
        image: "img".into(),
        restart,
        restart_rules: vec![],
        startup_probe: false,
        readiness_probe: false,
        startup_grace: None,
        liveness_grace: None,
        pre_stop: false,
        post_start: false,
        size: Size::default(),
        resize_restarts: ResizeRestarts::default(),
    }
}

fn plan(containers: Vec<Want>) -> Plan {
    Plan {
        full_name: "web_default(u)".into(),
        restart: RestartPolicy::Always,
        grace: Duration::from_secs(30),
        active_deadline: None,
        size: PodLimits::default(),
        containers,
    }
}

/// A machine and a world that does at once whatever is ordered, but for what the story does itself.
struct Story {
    machine: Machine,
    /// Orders, in short, since they were last read.
    log: Vec<String>,
    /// Orders that the world leaves undone.
    undone: Vec<&'static str>,
}

impl Story {
    fn new(containers: Vec<Want>) -> Self {
        Self { machine: Machine::new(plan(containers), at(0)), log: vec![], undone: vec![] }
    }
    fn happens(&mut self, secs: u64, event: Event) {
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            for order in self.machine.on(event, at(secs)) {
                self.log.push(short(&order));
                if !self.undone.iter().any(|u| short(&order).starts_with(u)) {
                    events.splice(0..0, answers(&order, secs));
                }
            }
        }
    }
    fn exit(&mut self, secs: u64, id: &str, code: i32) {
        let ended = Ended {
            id: id.into(),
            exit_code: code,
            reason: if code == 0 { "Completed" } else { "Error" }.into(),
            message: String::new(),
            started_at: Some(at(secs.saturating_sub(1))),
            finished_at: Some(at(secs)),
        };
        self.happens(secs, Event::Exited { id: id.into(), ended });
    }
    fn told(&mut self) -> Vec<String> {
        std::mem::take(&mut self.log)
    }
    fn state(&self, name: &str) -> &Now {
        &self.machine.container(name).unwrap().now
    }
}

/// What a world that works says to an order.
fn answers(order: &Order, secs: u64) -> Vec<Event> {
    match order.clone() {
        Order::Prepare { .. } => vec![Event::Prepared],
        Order::Resize { steps } => vec![Event::Resized { done: steps, failure: None }],
        Order::MakeSandbox { attempt } => {
            vec![Event::SandboxUp(SandboxUp {
                id: format!("s{attempt}"),
                addresses: vec![],
                network: crate::runtime::Network::Host,
            })]
        }
        Order::EnsureImage { container } => vec![Event::ImageReady {
            container,
            image: "img".into(),
            image_id: "img@sha".into(),
            message: "present".into(),
        }],
        Order::Start { container, attempt } => {
            let id = format!("{container}{attempt}");
            // Popped from the end: the first to happen stands last.
            vec![
                Event::Started { container: container.clone(), id: id.clone(), at: at(secs) },
                Event::Created { container, id },
            ]
        }
        Order::PreStop { container, id, .. } => vec![Event::PreStopDone { container, id, failure: None }],
        Order::Quiet => vec![Event::Quieted],
        Order::Clear => vec![Event::Cleared],
        Order::Terminate { .. } | Order::Kill { .. } | Order::Finalize | Order::Tell(_) => vec![],
    }
}

fn short(order: &Order) -> String {
    match order {
        Order::Prepare { .. } => "prepare".into(),
        Order::Resize { steps } => format!("resize {}", steps.iter().map(resize::short).collect::<Vec<_>>().join(", ")),
        Order::MakeSandbox { attempt } => format!("sandbox {attempt}"),
        Order::EnsureImage { container } => format!("image {container}"),
        Order::Start { container, attempt } => format!("start {container}{attempt}"),
        Order::PreStop { container, .. } => format!("prestop {container}"),
        Order::Terminate { id, .. } => format!("term {id}"),
        Order::Kill { id } => format!("kill {id}"),
        Order::Quiet => "quiet".into(),
        Order::Clear => "clear".into(),
        Order::Finalize => "finalize".into(),
        Order::Tell(tell) => tell.reason.to_string(),
    }
}

fn orders(log: Vec<String>) -> Vec<String> {
    log.into_iter().filter(|l| l.chars().next().is_some_and(char::is_lowercase)).collect()
}

fn with_image(image: &str) -> Event {
    let mut changed = plan(vec![want("a", Kind::Main, RestartPolicy::Always)]);
    changed.containers[0].image = image.into();
    Event::Planned(Box::new(changed))
}
