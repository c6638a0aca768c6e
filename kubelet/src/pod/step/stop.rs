//! How a pod ends: hooks, signals, sidecars last, and then what it held.

use jiff::Timestamp;

use super::super::backoff::{between, later};
use super::super::model::*;
use super::super::plan::Kind;
use super::{GRACE_MIN, Machine, tell};

impl Machine {
    pub(super) fn stop(&mut self, now: Timestamp, orders: &mut Vec<Order>) {
        if let Stage::Stopping { deadline } = self.stage {
            let fresh = |i: &usize| self.containers[*i].is_running() && self.containers[*i].ending.is_none();
            for index in (0..self.containers.len()).filter(fresh).collect::<Vec<_>>() {
                let message = format!("Stopping container {}", self.containers[index].want.name);
                self.end(index, deadline, now, message, orders);
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

    /// Whether a container that is being ended may get its signal. Hooks run at once and side by side, but of a pod that ends
    /// sidecars are asked after all others, the last one first, so that what they serve is served to the end. When the pod's
    /// time is up, or it gets none, it is everybody's turn.
    pub(super) fn has_its_turn(&self, index: usize, now: Timestamp) -> bool {
        let Stage::Stopping { deadline } = self.stage else { return true };
        if deadline <= now || self.forced || self.containers[index].want.kind != Kind::Sidecar {
            return true;
        }
        let goes_first = |i: usize, c: &Ctr| c.want.kind != Kind::Sidecar || i > index;
        !self.containers.iter().enumerate().any(|(i, c)| c.is_alive() && goes_first(i, c))
    }

    /// Begins to end one running container. Its hook runs where there is time for one; a process that can be asked to end is
    /// never killed without having had [`GRACE_MIN`] to do so.
    pub(super) fn end(
        &mut self,
        index: usize,
        deadline: Timestamp,
        now: Timestamp,
        message: String,
        orders: &mut Vec<Order>,
    ) {
        let has_time = deadline > now && !self.forced;
        let has_its_turn = self.has_its_turn(index, now);
        let c = &mut self.containers[index];
        let Now::Running { id, .. } = &c.now else { return };
        let (id, name) = (id.clone(), c.want.name.clone());
        orders.push(tell(&name, false, "Killing", message));
        if c.want.pre_stop && has_time {
            // The hook is ordered by `drive_endings`, which knows the time that is left for it.
            c.ending = Some(Ending { deadline, step: EndStep::PreStop });
        } else if !has_its_turn {
            c.ending = Some(Ending { deadline, step: EndStep::Waits });
        } else {
            c.ending = Some(Ending { deadline: deadline.max(later(now, GRACE_MIN)), step: EndStep::Termed });
            orders.push(Order::Terminate { container: name, id });
        }
    }

    /// Moves every ending that is due: the hook to begin with, the signal when its turn has come or the hook has used up the
    /// grace, the kill at the deadline.
    pub(super) fn drive_endings(&mut self, now: Timestamp, orders: &mut Vec<Order>) {
        for index in 0..self.containers.len() {
            let has_its_turn = self.has_its_turn(index, now);
            let c = &mut self.containers[index];
            let Now::Running { id, .. } = &c.now else { continue };
            let Some(ending) = &mut c.ending else { continue };
            let is_due = ending.deadline <= now;
            match ending.step {
                EndStep::PreStop if is_due => {
                    *ending = Ending { deadline: later(now, GRACE_MIN), step: EndStep::Termed };
                    orders.push(Order::Terminate { container: c.want.name.clone(), id: id.clone() });
                }
                EndStep::PreStop if !c.pre_stop_ordered => {
                    c.pre_stop_ordered = true;
                    let within = between(now, ending.deadline);
                    orders.push(Order::PreStop { container: c.want.name.clone(), id: id.clone(), within });
                }
                EndStep::Waits if is_due || has_its_turn => {
                    let deadline = ending.deadline.max(later(now, GRACE_MIN));
                    *ending = Ending { deadline, step: EndStep::Termed };
                    orders.push(Order::Terminate { container: c.want.name.clone(), id: id.clone() });
                }
                EndStep::Termed if is_due => {
                    ending.step = EndStep::Killed;
                    orders.push(Order::Kill { id: id.clone() });
                }
                EndStep::PreStop | EndStep::Waits | EndStep::Termed | EndStep::Killed => {}
            }
        }
    }
}
