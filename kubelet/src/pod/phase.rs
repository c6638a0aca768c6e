//! The pod's phase: <https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-phase>.

use super::model::*;
use super::plan::Kind;
use super::step::Machine;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Pending,
    Running,
    Succeeded,
    Failed,
}

impl Phase {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Running => "Running",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
        }
    }
}

/// A phase that was final stays what it was.
pub fn phase(machine: &Machine, reported: Option<&str>) -> Phase {
    match reported {
        Some("Succeeded") => return Phase::Succeeded,
        Some("Failed") => return Phase::Failed,
        _ => {}
    }
    let over = machine.is_over();
    if machine.fate.is_some() {
        // Ended from outside: it has failed, but may not say so while something still runs.
        return if over { Phase::Failed } else { of_containers(machine, false) };
    }
    of_containers(machine, over)
}

fn of_containers(machine: &Machine, over: bool) -> Phase {
    let failed_init = machine.containers.iter().any(|c| {
        c.want.kind == Kind::Init
            && matches!(&c.now, Now::Exited { ended, .. } if ended.exit_code != 0 && !c.want.restarts(ended.exit_code))
    });
    if failed_init {
        return Phase::Failed;
    }
    let mains = || machine.containers.iter().filter(|c| c.want.kind == Kind::Main);
    let anything_ran = mains().any(|c| c.made_before);
    if !machine.initialized && !anything_ran {
        return if over { Phase::Failed } else { Phase::Pending };
    }
    // What never ran and does not run now is waited for.
    if mains().any(|c| !c.is_running() && c.ended().is_none()) {
        return if over { Phase::Failed } else { Phase::Pending };
    }
    if mains().any(Ctr::is_running) {
        return Phase::Running;
    }
    let all_well = mains().all(|c| c.ended().is_some_and(|e| e.exit_code == 0));
    let again = |c: &Ctr| c.ended().is_none_or(|e| c.want.restarts(e.exit_code));
    if over {
        return if all_well { Phase::Succeeded } else { Phase::Failed };
    }
    match (mains().any(again), all_well) {
        (true, _) => Phase::Running,
        (false, true) if sidecars_gone(machine) => Phase::Succeeded,
        (false, false) if sidecars_gone(machine) => Phase::Failed,
        (false, _) => Phase::Running,
    }
}

/// A pod is not done before its sidecars are.
fn sidecars_gone(machine: &Machine) -> bool {
    !machine.containers.iter().any(|c| c.want.kind == Kind::Sidecar && c.is_alive())
}
