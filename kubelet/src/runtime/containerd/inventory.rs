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
const EXIT_NOT_STARTED: i32 = 128;
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
                    let state = self.state(&object.id, &known, task, created_at);
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
        let from_record = || {
            let (pod_uid, is_sandbox, cgroup) = match record {
                Record::Sandbox(r) => (r.pod_uid.clone(), true, format!("{}/{id}", r.cgroup_parent)),
                Record::Container(r) => (r.pod_uid.clone(), false, r.cgroup.clone()),
            };
            Known {
                pod_uid,
                is_sandbox,
                cgroup,
                started_at: None,
                being_made: false,
                failed_at: None,
                pid: None,
                missed_at: None,
            }
        };
        self.inner.known.lock().entry(id.into()).or_insert_with(from_record).clone()
    }

    fn state(&self, id: &str, known: &Known, task: Option<&Process>, created_at: Timestamp) -> State {
        let status = task.and_then(|t| Status::try_from(t.status).ok()).unwrap_or(Status::Unknown);
        let started_at = known.started_at.unwrap_or(created_at);
        let exit = |exit_code, finished_at, oom_killed| {
            State::Exited(Exit { exit_code, started_at, finished_at, oom_killed, unseen: false })
        };
        match (task, status) {
            _ if known.being_made => State::Created,
            _ if known.failed_at.is_some() => exit(EXIT_NOT_STARTED, known.failed_at.unwrap_or(created_at), false),
            (Some(task), Status::Running | Status::Paused | Status::Pausing) => {
                let started_at = known.started_at.or_else(|| process_start(task.pid)).unwrap_or(created_at);
                // For when it ends: then its process can't be asked any more.
                self.update_known(id, |known| known.started_at = Some(started_at));
                State::Running { pid: task.pid, started_at }
            }
            (Some(task), Status::Stopped) => {
                let code = task.exit_status.cast_signed();
                exit(code, timestamp(task.exited_at.as_ref()), self.oom_killed(known, code))
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
