//! What is done to a machine, as steps that may be run again: each says whether it is done, and is done only if it is not.
//!
//! A plan of steps is data, made by pure functions (`init`); `apply` looks at a machine and changes it; this file runs a plan
//! to its end, or to the first step that does not get done.
mod apply;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::time::Duration;

use crate::machine::{Certificates, Machine, MachineError};
use crate::topology::program::Directory;

/// One thing that is to be so.
#[derive(Clone, Debug)]
pub struct Step {
    /// What is so when it is done.
    pub name: String,
    pub action: Action,
    /// How long it may take from its doing until it is done.
    pub within: Duration,
}

#[derive(Clone, Debug)]
pub enum Action {
    Certificates {
        dir: PathBuf,
        wanted: Box<Certificates>,
    },
    Directories(Vec<Directory>),
    /// To whom files and directories are to belong, another user's with all that is in them, and who may read them.
    Owners(Vec<Owned>),
    Files(Vec<File>),
    /// The administrator's.
    Kubeconfig {
        path: PathBuf,
        cluster: String,
        server: String,
    },
    /// A kernel module; where it shows that the kernel has it.
    Module {
        name: String,
        seen_at: PathBuf,
    },
    /// Names and values; the files that say so at boot are there already.
    Sysctls(Vec<(String, String)>),
    /// A unit runs, will after a boot, and does so with these files and arguments.
    Unit {
        name: String,
        /// The file that has the fingerprint with which it was last started; there is one from before the first start on.
        applied: PathBuf,
        fingerprint: String,
        whose: Whose,
        /// How long it has to run on after a start: one that does not tell when it is ready may end at once.
        settles: Duration,
    },
    /// The apiserver says that it is.
    ApiserverReady,
    NodeReady {
        node: String,
    },
    NodeLabel {
        node: String,
        label: String,
    },
}

/// Whether a unit is stopped when what was done is undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// Ours, wherever it is.
    Ours,
    /// Another package's, and ours where we have started it.
    Taken,
    /// Others may have use for it.
    Shared,
}

/// Something that steps made and that is taken back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Made {
    File(PathBuf),
    /// With all that is in it.
    Dir(PathBuf),
    Unit(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owned {
    pub path: PathBuf,
    pub user: String,
    pub mode: u32,
    /// Whose they are: it does not run while its data become another user's.
    pub unit: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    pub path: PathBuf,
    pub text: String,
    pub mode: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    Done,
    /// What is not as it should be.
    Lacks(String),
}

/// What became of a step, for whoever watches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// It was done before.
    Kept,
    Done(Duration),
    /// A dry run says what a run would change.
    Would(String),
    Failed(Duration),
    Undone,
}

#[derive(Debug, thiserror::Error)]
pub enum StepError {
    #[error("{step}: this cannot be done; run it again when it is mended: what is done is kept")]
    Machine { step: String, source: MachineError },
    #[error("{step}: not so after {secs} s: {lacks}; run it again when it is mended: what is done is kept")]
    NotDone { step: String, secs: u64, lacks: String },
}

/// Runs the steps that are not done, in their order.
pub fn run(steps: &[Step], machine: &dyn Machine, tell: &mut dyn FnMut(&Step, Told)) -> Result<(), StepError> {
    for step in steps {
        let failed = |source| StepError::Machine { step: step.name.clone(), source };
        if step.action.state(machine).map_err(failed)? == State::Done {
            tell(step, Told::Kept);
            continue;
        }
        let started = machine.elapsed();
        let done = step.action.act(machine).map_err(failed).and_then(|()| wait(step, machine, started));
        let took = machine.elapsed().saturating_sub(started);
        tell(step, if done.is_ok() { Told::Done(took) } else { Told::Failed(took) });
        done?;
    }
    Ok(())
}

fn wait(step: &Step, machine: &dyn Machine, started: Duration) -> Result<(), StepError> {
    let settles = step.action.settles();
    let mut done_since = None;
    loop {
        let state = step.action.state(machine);
        let now = machine.elapsed();
        match state.map_err(|source| StepError::Machine { step: step.name.clone(), source })? {
            State::Done => {
                let since = *done_since.get_or_insert(now);
                if now.saturating_sub(since) >= settles {
                    return Ok(());
                }
            }
            State::Lacks(lacks) if now.saturating_sub(started) >= step.within => {
                return Err(StepError::NotDone { step: step.name.clone(), secs: step.within.as_secs(), lacks });
            }
            State::Lacks(_) => done_since = None,
        }
        machine.pause();
    }
}

/// Says what a run would do, and changes nothing. What cannot be looked at yet is not done.
pub fn dry_run(steps: &[Step], machine: &dyn Machine, tell: &mut dyn FnMut(&Step, Told)) {
    for step in steps {
        match step.action.state(machine) {
            Ok(State::Done) => tell(step, Told::Kept),
            Ok(State::Lacks(lacks)) => tell(step, Told::Would(lacks)),
            Err(error) => tell(step, Told::Would(error.to_string())),
        }
    }
}

/// What there is to be taken back, in that order.
pub fn made(steps: &[Step], machine: &dyn Machine) -> Result<Vec<Made>, StepError> {
    let mut all = Vec::new();
    for step in steps.iter().rev() {
        let made = step.action.made(machine);
        all.extend(made.map_err(|source| StepError::Machine { step: step.name.clone(), source })?);
    }
    Ok(all)
}

/// Takes back what steps did, the last first.
pub fn undo(steps: &[Step], machine: &dyn Machine, tell: &mut dyn FnMut(&Step, Told)) -> Result<(), StepError> {
    for step in steps.iter().rev() {
        let undone = step.action.undo(machine);
        if undone.map_err(|source| StepError::Machine { step: step.name.clone(), source })? {
            tell(step, Told::Undone);
        }
    }
    Ok(())
}
