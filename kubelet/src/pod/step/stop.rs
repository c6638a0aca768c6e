//! How a pod ends: hooks, signals, sidecars last, and then what it held.

use jiff::Timestamp;

use super::super::backoff::between;
use super::super::model::*;
use super::super::plan::Kind;
use super::{Machine, tell};

impl Machine {
    pub(super) fn stop(&mut self, now: Timestamp, orders: &mut Vec<Order>) {
        if let Stage::Stopping { deadline } = self.stage {
            for index in self.whose_turn_to_end() {
                let message = format!("Stopping container {}", self.containers[index].want.name);
                self.end(index, deadline, message, orders);
            }
            self.drive_endings(now, orders);
            let busy = matches!(self.prepared, Setup::Doing) || matches!(self.sandbox, Setup::Doing);
            if !busy && !self.containers.iter().any(Ctr::is_alive) {
                self.stage = Stage::Quiet;
            }
        }
        if self.stage == Stage::Quiet && !self.under_way {
            self.under_way = true;
            orders.push(Order::Quiet);
        }
        if self.stage == Stage::Stopped && self.deleted && !self.under_way {
            self.under_way = true;
            self.stage = Stage::Clearing;
            orders.push(Order::Clear);
        }
    }

    /// Main containers end at once and together; sidecars after them, the last one first, so that what they serve is
    /// served to the end. At the deadline all of them are killed, whoever's turn it is.
    fn whose_turn_to_end(&self) -> Vec<usize> {
        let fresh = |i: &usize| self.containers[*i].is_running() && self.containers[*i].ending.is_none();
        let is_sidecar = |i: &usize| self.containers[*i].want.kind == Kind::Sidecar;
        let all = 0..self.containers.len();
        if self.containers.iter().any(|c| c.is_alive() && c.want.kind != Kind::Sidecar) {
            return all.filter(|i| !is_sidecar(i)).filter(fresh).collect();
        }
        let last_alive = all.rev().find(|i| self.containers[*i].is_alive());
        last_alive.into_iter().filter(fresh).collect()
    }

    /// Begins to end one running container.
    pub(super) fn end(&mut self, index: usize, deadline: Timestamp, message: String, orders: &mut Vec<Order>) {
        let c = &mut self.containers[index];
        let Now::Running { id, .. } = &c.now else { return };
        let (id, name) = (id.clone(), c.want.name.clone());
        orders.push(tell(&name, false, "Killing", message));
        let step = if c.want.pre_stop { EndStep::PreStop } else { EndStep::Termed };
        c.ending = Some(Ending { deadline, step });
        if step == EndStep::Termed {
            orders.push(Order::Terminate { container: name, id });
        }
        // The hook is ordered by `drive_endings`, which knows the time that is left for it.
    }

    /// Moves every ending that is due: the hook to begin with, the kill at the deadline.
    pub(super) fn drive_endings(&mut self, now: Timestamp, orders: &mut Vec<Order>) {
        let pod_deadline = match self.stage {
            Stage::Stopping { deadline } => Some(deadline),
            _ => None,
        };
        for c in &mut self.containers {
            let Now::Running { id, .. } = &c.now else { continue };
            let overdue = pod_deadline.is_some_and(|d| d <= now) && c.ending.is_none();
            if overdue {
                c.ending = Some(Ending { deadline: now, step: EndStep::Termed });
            }
            let Some(ending) = &mut c.ending else { continue };
            if ending.step == EndStep::PreStop && !c.pre_stop_ordered {
                c.pre_stop_ordered = true;
                let within = between(now, ending.deadline);
                orders.push(Order::PreStop { container: c.want.name.clone(), id: id.clone(), within });
            }
            if ending.step != EndStep::Killed && ending.deadline <= now {
                ending.step = EndStep::Killed;
                orders.push(Order::Kill { id: id.clone() });
            }
        }
    }
}
