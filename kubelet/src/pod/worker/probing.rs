//! The probes of a pod's containers: one task for each that should be probed now.

use std::collections::HashMap;
use std::sync::Arc;

use corten_api::Object as _;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Probe};
use tokio::task::AbortHandle;

use super::{Answer, Msg, Worker, supervise};
use crate::pod::backoff::between;
use crate::pod::container;
use crate::pod::model::{Event, Now, ProbeKind, Stage};
use crate::probes::run::{self, NotHealthy};
use crate::probes::threshold::{Row, Timing};

/// Tasks by container and kind; each knows which instance of the container it probes.
#[derive(Default)]
pub(super) struct Probes {
    tasks: HashMap<(String, ProbeKind), (String, AbortHandle)>,
}

impl Drop for Probes {
    fn drop(&mut self) {
        self.tasks.values().for_each(|(_, task)| task.abort());
    }
}

impl ProbeKind {
    fn of(self, container: &Container) -> Option<&Probe> {
        match self {
            Self::Startup => container.startup_probe.as_ref(),
            Self::Liveness => container.liveness_probe.as_ref(),
            Self::Readiness => container.readiness_probe.as_ref(),
        }
    }
    fn word(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Liveness => "Liveness",
            Self::Readiness => "Readiness",
        }
    }
}

impl Worker {
    /// Starts the probes that are due and stops those that are not.
    pub(super) fn watch_probes(&mut self) {
        let mut wanted: HashMap<(String, ProbeKind), String> = HashMap::new();
        for c in &self.machine.containers {
            let Some(id) = c.running_id().filter(|_| c.hooked) else { continue };
            // What is ending is asked whether it is still ready for as long as it runs, and nothing else.
            let lives = self.machine.stage == Stage::Live && c.ending.is_none();
            let kinds: &[ProbeKind] = match (c.started, lives) {
                (false, true) => &[ProbeKind::Startup],
                (true, true) => &[ProbeKind::Liveness, ProbeKind::Readiness],
                (true, false) => &[ProbeKind::Readiness],
                (false, false) => &[],
            };
            wanted.extend(kinds.iter().map(|kind| ((c.want.name.clone(), *kind), id.to_owned())));
        }
        self.probes.tasks.retain(|key, (id, task)| {
            let keep = wanted.get(key) == Some(id);
            if !keep {
                task.abort();
            }
            keep
        });
        for (key, id) in wanted {
            if !self.probes.tasks.contains_key(&key)
                && let Some(task) = self.start_probe(&key.0, key.1, &id)
            {
                self.probes.tasks.insert(key, (id, task));
            }
        }
    }

    fn start_probe(&self, name: &str, kind: ProbeKind, id: &str) -> Option<AbortHandle> {
        let runs_since = match self.machine.container(name).map(|c| &c.now) {
            Some(Now::Running { started_at, .. }) => *started_at,
            _ => return None,
        };
        let container = container::find(&self.pod, name)?;
        let probe = kind.of(&container)?.clone();
        let ip = self.addresses().first().copied();
        let (place, pod, tx, name) = (Arc::clone(&self.place), Arc::clone(&self.pod), self.tx.clone(), name.to_owned());
        let timing = Timing::of(&probe);
        let id = id.to_owned();
        // The delay counts from the container's start, whenever this kubelet or the startup probe was done.
        let delay = timing.initial_delay.saturating_sub(between(runs_since, Timestamp::now()));
        let told_tx = tx.clone();
        let probing = async move {
            tokio::time::sleep(delay).await;
            let mut beat = tokio::time::interval(timing.period);
            beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            let mut row = Row::default();
            let mut told = None;
            loop {
                beat.tick().await;
                let result = run::probe(&probe, timing.timeout, &container, &id, ip, &place.runtime).await;
                if let Err(why) = &result {
                    let mut about = pod.reference();
                    about.field_path = Some(container::field_path(&pod, &name));
                    place.cluster.event(&about, true, "Unhealthy", &format!("{} {why}", kind.word()));
                }
                if let Err(NotHealthy::Unknown(_)) = result {
                    continue;
                }
                let healthy = result.is_ok();
                let verdict = row.add(healthy, &timing);
                if verdict.is_none() || verdict == told {
                    continue;
                }
                told = verdict;
                let event = Event::Probe { container: name.clone(), id: id.clone(), probe: kind, healthy };
                if tx.send(Msg::Answer(Answer::Event(event))).await.is_err() {
                    return;
                }
            }
        };
        let task = tokio::spawn(async move { supervise::contained(&told_tx, probing).await });
        Some(task.abort_handle())
    }
}
