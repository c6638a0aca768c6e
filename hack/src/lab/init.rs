//! The first process of a node: sets up its mounts, keeps its daemons running, and reaps what is orphaned there.
//!
//! It stands where systemd stands on a real machine, and starts a daemon that ended again after as long a pause as its unit
//! has. `lab kill` leaves a file `down/<daemon>`: such a daemon stays down until `lab start` removes the file and sends
//! SIGHUP.
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::errno::Errno;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, sethostname};
use serde::{Deserialize, Serialize};
use tokio::signal::unix::{SignalKind, signal};

use super::cgroups::Hierarchy;
use super::daemons::Daemon;
use super::mounts;

/// What a node's first process must know; a JSON file beside the node's logs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct NodeSpec {
    pub(crate) name: String,
    /// The lab's directory, seen at the same path inside.
    pub(crate) lab_dir: PathBuf,
    /// The node's own directory below it.
    pub(crate) node_dir: PathBuf,
    /// Content of /etc/hosts.
    pub(crate) hosts: String,
    /// (mount point, v1 options) of every cgroup hierarchy.
    pub(crate) cgroups: Vec<(PathBuf, Option<String>)>,
    /// What its daemons want to be there, with modes.
    pub(crate) directories: Vec<(PathBuf, u32)>,
    pub(crate) daemons: Vec<Daemon>,
}

impl NodeSpec {
    pub(crate) fn with_cgroups(mut self, hierarchies: Vec<Hierarchy>) -> Self {
        self.cgroups = hierarchies.into_iter().map(|each| (each.mount_point, each.v1_options)).collect();
        self
    }
}

/// Never returns while the node lives.
pub(crate) fn node_init(spec: &Path) -> anyhow::Result<()> {
    let text = fs::read_to_string(spec).with_context(|| format!("cannot read {}", spec.display()))?;
    let spec: NodeSpec = serde_json::from_str(&text).context("the node's spec is not what `up` writes")?;
    sethostname(&spec.name).context("cannot set the host name")?;
    mounts::prepare(&spec)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(keep_running(&spec))
}

/// One daemon and what became of it.
struct Kept {
    daemon: Daemon,
    pid: Option<Pid>,
    started: Instant,
    due: Option<Instant>,
}

async fn keep_running(spec: &NodeSpec) -> anyhow::Result<()> {
    let mut child_ended = signal(SignalKind::child())?;
    let mut look_again = signal(SignalKind::hangup())?;
    let booted = booted_marker(&spec.node_dir);
    let mut kept: Vec<Kept> = spec.daemons.iter().cloned().map(Kept::new).collect();
    loop {
        for each in &mut kept {
            each.start_if_due(spec);
        }
        // `node::start` waits for this: before, a command sent into the node would find the host's files.
        if !booted.exists() {
            fs::write(&booted, "").with_context(|| format!("cannot write {}", booted.display()))?;
        }
        let next = kept.iter().filter_map(|each| each.due).min();
        tokio::select! {
            _ = child_ended.recv() => {}
            _ = look_again.recv() => kept.iter_mut().for_each(|each| each.forgive(spec)),
            () = until(next) => {}
        }
        for (pid, how) in reap() {
            if let Some(each) = kept.iter_mut().find(|each| each.pid == Some(pid)) {
                each.ended(&how);
            }
        }
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

/// Everything that ended, orphans of containers among it.
fn reap() -> BTreeMap<Pid, String> {
    let mut ended = BTreeMap::new();
    loop {
        match waitpid(Pid::from_raw(-1), Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) => ended.insert(pid, format!("exit code {code}")),
            Ok(WaitStatus::Signaled(pid, signal, _)) => ended.insert(pid, signal.to_string()),
            Err(Errno::EINTR) => continue,
            Ok(_) | Err(_) => return ended,
        };
    }
}

impl Kept {
    fn new(daemon: Daemon) -> Self {
        let now = Instant::now();
        Self { daemon, pid: None, started: now, due: Some(now) }
    }

    fn start_if_due(&mut self, spec: &NodeSpec) {
        if self.pid.is_some() || self.due.is_none_or(|due| due > Instant::now()) {
            return;
        }
        self.due = None;
        if down_marker(&spec.node_dir, &self.daemon.name).exists() {
            return;
        }
        match spawn(spec, &self.daemon) {
            Ok(pid) => {
                say!("{} started as {pid}", self.daemon.name);
                (self.pid, self.started) = (Some(pid), Instant::now());
            }
            Err(error) => {
                say!("{} cannot be started: {error:#}", self.daemon.name);
                self.retry_later();
            }
        }
    }

    fn ended(&mut self, how: &str) {
        let ran = self.started.elapsed();
        say!("{} ended after {:.1} s: {how}", self.daemon.name, ran.as_secs_f64());
        self.pid = None;
        self.retry_later();
    }

    fn retry_later(&mut self) {
        self.due = Some(Instant::now() + Duration::from_secs(self.daemon.restart_secs.into()));
    }

    /// `lab start` was called: who may run again runs at once.
    fn forgive(&mut self, spec: &NodeSpec) {
        if self.pid.is_none() && !down_marker(&spec.node_dir, &self.daemon.name).exists() {
            self.due = Some(Instant::now());
        }
    }
}

/// The file that says that a node's mounts are made and its daemons started.
pub(crate) fn booted_marker(node_dir: &Path) -> PathBuf {
    node_dir.join("booted")
}

/// The file that keeps a daemon down.
pub(crate) fn down_marker(node_dir: &Path, daemon: &str) -> PathBuf {
    node_dir.join("down").join(daemon)
}

fn spawn(spec: &NodeSpec, daemon: &Daemon) -> anyhow::Result<Pid> {
    let log = open_log(&spec.node_dir.join("logs").join(format!("{}.log", daemon.name)))?;
    let child = Command::new(&daemon.program)
        .args(&daemon.args)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .with_context(|| format!("cannot run {}", daemon.program))?;
    Ok(Pid::from_raw(i32::try_from(child.id())?))
}

fn open_log(path: &Path) -> anyhow::Result<File> {
    let opened = OpenOptions::new().create(true).append(true).open(path);
    opened.with_context(|| format!("cannot open {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_that_ends_again_and_again_is_started_after_the_same_pause_each_time() {
        let daemon = Daemon { name: "kubelet".into(), program: "false".into(), args: Vec::new(), restart_secs: 7 };
        let mut kept = Kept::new(daemon);
        let pause = Duration::from_secs(7);
        for time in 0..5 {
            let before = Instant::now();
            kept.ended("exit code 1");
            let due = kept.due.unwrap();
            assert!(due >= before + pause && due <= Instant::now() + pause, "the {time}th");
        }
    }
}
