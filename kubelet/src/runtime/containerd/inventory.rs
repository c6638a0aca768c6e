//! The list of everything that exists, from containerd's containers and tasks.

use std::collections::HashMap;

use containerd_client::services::v1::ListTasksRequest;
use containerd_client::types::v1::{Process, Status};
use jiff::Timestamp;

use super::record::Record;
use super::rpc::{MESSAGE_MAX_BYTES, Rpc, timestamp};
use super::{Containerd, Known, RuntimeError};
use crate::runtime::{Exit, Inventory, State};

/// What a shell says of a program that cannot be run.
pub(super) const EXIT_NOT_STARTED: i32 = 128;
/// Nobody saw the end.
const EXIT_UNKNOWN: i32 = 255;
pub(super) const EXIT_KILLED: i32 = 137;

impl Containerd {
    pub(super) async fn inventory(&self) -> Result<Inventory, RuntimeError> {
        // Tasks first: a container made in between then shows without one, and `being_made` explains that.
        let tasks = self.tasks().await?;
        let objects = self.objects(Vec::new()).await?;
        let mut all = Inventory::default();
        let mut seen = Vec::new();
        for object in objects {
            let Some(record) = Record::from_labels(&object.labels) else { continue };
            let created_at = timestamp(object.created_at.as_ref());
            let known = self.know(&object.id, &record);
            let task = tasks.get(&object.id);
            seen.push(object.id.clone());
            match record {
                Record::Sandbox(record) => {
                    let is_up = !known.being_made && self.sandbox_is_up(&object.id, &record, task);
                    all.sandboxes.push(record.listed(object.id, is_up, created_at));
                }
                Record::Container(record) => {
                    let state = match &record.exit {
                        Some(exit) if !known.being_made => State::Exited(exit.clone()),
                        _ => self.state(&object.id, &known, task, created_at),
                    };
                    self.settle_found(&object.id, &state, task);
                    all.containers.push(record.listed(object.id, state, created_at));
                }
            }
        }
        self.inner.known.lock().retain(|id, known| known.being_made || seen.contains(id));
        Ok(all)
    }

    async fn tasks(&self) -> Result<HashMap<String, Process>, RuntimeError> {
        let mut client = self.rpc().client().tasks().max_decoding_message_size(MESSAGE_MAX_BYTES);
        let found =
            self.rpc().ask("listing processes", "", client.list(Rpc::request(ListTasksRequest::default()))).await?;
        Ok(found.tasks.into_iter().map(|task| (task.id.clone(), task)).collect())
    }

    /// What this process knows of it; for something from before its time, what is on record.
    pub(super) fn know(&self, id: &str, record: &Record) -> Known {
        let from_record = || match record {
            Record::Sandbox(r) => Known::new(&r.pod_uid, true, format!("{}/{id}", r.cgroup_parent)),
            Record::Container(r) => Known::new(&r.pod_uid, false, r.cgroup.clone()),
        };
        self.inner.known.lock().entry(id.into()).or_insert_with(from_record).clone()
    }

    fn state(&self, id: &str, known: &Known, task: Option<&Process>, created_at: Timestamp) -> State {
        let status = task.and_then(|t| Status::try_from(t.status).ok()).unwrap_or(Status::Unknown);
        let started_at = known.started_at.unwrap_or(created_at);
        if known.being_made {
            return State::Created;
        }
        if let Some(exit) = &known.exit {
            return State::Exited(exit.clone());
        }
        match (task, status) {
            // Of one that it has replaced since the tasks were listed.
            (Some(task), _) if known.pid.is_some_and(|pid| pid != task.pid) => State::Created,
            (Some(task), Status::Running | Status::Paused | Status::Pausing) => {
                let started_at = known.started_at.or_else(|| process_start(task.pid)).unwrap_or(created_at);
                // For when it ends: then its process can't be asked any more.
                self.update_known(id, |known| known.started_at = Some(started_at));
                State::Running { pid: task.pid, started_at }
            }
            (Some(task), Status::Stopped) => {
                let (exit_code, finished_at) = (task.exit_status.cast_signed(), timestamp(task.exited_at.as_ref()));
                let oom_killed = self.oom_killed(known, exit_code);
                let exit = Exit { exit_code, started_at, finished_at, oom_killed, unseen: false };
                State::Exited(self.note_exit(id, exit))
            }
            (Some(_), Status::Created) => State::Created,
            // The node went down under it: it ended some time before now, and after its start.
            (None, _) | (Some(_), Status::Unknown) => {
                let finished_at = known.missed_at.unwrap_or_else(Timestamp::now);
                self.update_known(id, |known| known.missed_at = Some(finished_at));
                let exit_code = EXIT_UNKNOWN;
                State::Exited(Exit { exit_code, started_at, finished_at, oom_killed: false, unseen: true })
            }
        }
    }

    /// Of a container that ended while no kubelet looked, or whose end was not yet settled when one was stopped.
    fn settle_found(&self, id: &str, state: &State, task: Option<&Process>) {
        let (State::Exited(exit), Some(task)) = (state, task) else { return };
        if task.status == Status::Stopped as i32 {
            self.adopt_pid(id, task.pid);
            self.settle(id, task.pid, exit.clone());
        }
    }

    /// Of a container from before our time the process is the one that is found.
    pub(super) fn adopt_pid(&self, id: &str, pid: u32) {
        self.update_known(id, |known| {
            if !known.being_made {
                known.pid.get_or_insert(pid);
            }
        });
    }

    /// The kernel counts its OOM kills by group, and the group stays until the task is deleted: no race with an event.
    pub(super) fn oom_killed(&self, known: &Known, exit_code: i32) -> bool {
        exit_code == EXIT_KILLED && self.inner.hierarchy.oom_kills(&known.cgroup) > 0
    }
}

/// When a process started, from its start tick after boot.
fn process_start(pid: u32) -> Option<Timestamp> {
    let process = procfs::process::Process::new(pid.cast_signed()).ok()?;
    let ticks = process.stat().ok()?.starttime;
    let boot = std::fs::read_to_string("/proc/stat").ok()?;
    let boot_secs: i64 = boot.lines().find_map(|l| l.strip_prefix("btime ")?.parse().ok())?;
    let millis = ticks.saturating_mul(1000) / procfs::ticks_per_second();
    Timestamp::from_millisecond(boot_secs * 1000 + i64::try_from(millis).ok()?).ok()
}
