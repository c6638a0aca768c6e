//! What a pod of the simulation is at first, and how its author changes his mind.

use k8s_openapi::api::core::v1::ContainerResizePolicy;

use super::*;
use crate::pod::plan::{RestartPolicy, Want};
use crate::pod::size::ResizeRestarts;

pub(super) fn random_plan(dice: &mut Chance) -> Plan {
    let restart = [RestartPolicy::Always, RestartPolicy::OnFailure, RestartPolicy::Never][dice.below(3)];
    let mut containers = Vec::new();
    let mut add = |dice: &mut Chance, name: &str, kind: Kind, restart: RestartPolicy| {
        containers.push(Want {
            name: name.into(),
            kind,
            image: "img".into(),
            restart,
            restart_rules: vec![],
            startup_probe: false,
            readiness_probe: dice.percent(20),
            startup_grace: None,
            liveness_grace: None,
            pre_stop: kind != Kind::Init && dice.percent(30),
            post_start: kind != Kind::Init && dice.percent(30),
            size: random_size(dice),
            resize_restarts: random_policy(dice),
        });
    };
    if dice.percent(40) {
        let of_init = if restart == RestartPolicy::Never { restart } else { RestartPolicy::OnFailure };
        add(dice, "i", Kind::Init, of_init);
    }
    if dice.percent(30) {
        add(dice, "side", Kind::Sidecar, RestartPolicy::Always);
    }
    add(dice, "a", Kind::Main, restart);
    if dice.percent(50) {
        add(dice, "b", Kind::Main, restart);
    }
    Plan {
        full_name: "web_default(u)".into(),
        restart,
        grace: Duration::from_secs(10),
        active_deadline: None,
        size: size_of_pod(&containers),
        containers,
    }
}

fn random_size(dice: &mut Chance) -> Size {
    let memory_limit = [100, 200, 300][dice.below(3)];
    Size { memory_limit, cpu_request: [1, 2][dice.below(2)], ..Size::default() }
}
/// Some containers get more memory only with a new process.
fn random_policy(dice: &mut Chance) -> ResizeRestarts {
    let restart_policy = if dice.percent(30) { "RestartContainer" } else { "NotRequired" };
    let policy = ContainerResizePolicy { resource_name: "memory".into(), restart_policy: restart_policy.into() };
    ResizeRestarts::of(Some(&vec![policy]))
}
fn size_of_pod(containers: &[Want]) -> PodLimits {
    let all = containers.iter().map(|w| w.size.memory_limit).sum();
    PodLimits { memory_limit_bytes: Some(all), ..PodLimits::default() }
}

impl World {
    pub(super) fn resize(&mut self) {
        for at in 0..self.plan.containers.len() {
            if self.plan.containers[at].kind != Kind::Ephemeral {
                self.plan.containers[at].size = random_size(&mut self.dice);
            }
        }
        self.plan.size = size_of_pod(&self.plan.containers);
        self.feed(Event::Planned(Box::new(self.plan.clone())));
    }

    pub(super) fn add_debugger(&mut self) {
        let name = format!("d{}", self.plan.containers.len());
        let mut debugger = self.plan.containers[self.plan.containers.len() - 1].clone();
        (debugger.name, debugger.kind, debugger.restart) = (name, Kind::Ephemeral, RestartPolicy::Never);
        (debugger.pre_stop, debugger.post_start, debugger.readiness_probe) = (false, false, false);
        (debugger.size, debugger.resize_restarts) = (Size::default(), ResizeRestarts::default());
        self.plan.containers.push(debugger);
        self.feed(Event::Planned(Box::new(self.plan.clone())));
    }
}
