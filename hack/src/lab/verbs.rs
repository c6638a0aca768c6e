//! What tests do to a running lab: run commands in nodes, kill and start daemons, crash and boot nodes.
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, bail};
use nix::sys::signal::Signal;

use super::daemons::{self, Daemon};
use super::init::down_marker;
use super::plan::NodePlan;
use super::ready::wait_until;
use super::state::{Lab, State};
use super::{cgroups, network, node, process};

const DAEMON_WITHIN: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// After these a daemon is meant to be down.
const ENDING: [Signal; 5] = [Signal::SIGKILL, Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGABRT];

/// Joins the node's cgroups, then its namespaces. `$1` is the node's first process, `$2` how many cgroup files follow.
const ENTER: &str = "pid=$1 count=$2; shift 2; \
    while [ $count -gt 0 ]; do echo $$ > \"$1\" || exit 1; shift; count=$((count - 1)); done; \
    exec nsenter -t \"$pid\" -m -u -i -n -p -C --wd=/ -- \"$@\"";

/// Runs a command in a node; its exit code, 128 + n when a signal ended it.
pub(crate) fn exec(lab: &Lab, node: &str, command: &[String]) -> anyhow::Result<ExitCode> {
    let (state, node) = lab.running_node(node)?;
    let init = init_of(&state, &node)?;
    let procs: Vec<PathBuf> = cgroups_of(init, &state, &node)?;
    let status = Command::new("sh")
        .args(["-c", ENTER, "sh", &init.to_string(), &procs.len().to_string()])
        .args(&procs)
        .args(command)
        .status()
        .context("cannot run sh")?;
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}

/// Where the node's own daemons are: below its cgroup on v2, in it on v1.
fn cgroups_of(init: i32, state: &State, node: &NodePlan) -> anyhow::Result<Vec<PathBuf>> {
    let dirs = cgroups::dirs(&state.plan.lab, Some(&node.name))?;
    let holds = |dir: &PathBuf| {
        let procs = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
        procs.lines().any(|line| line.parse() == Ok(init))
    };
    let place = |dir: PathBuf| if holds(&dir) { dir } else { dir.join(cgroups::DAEMONS) };
    Ok(dirs.into_iter().map(|dir| place(dir).join("cgroup.procs")).filter(|procs| procs.exists()).collect())
}

pub(crate) fn kill(lab: &Lab, node: &str, daemon: &str, signal: &str, restart: bool) -> anyhow::Result<()> {
    let signal = parse_signal(signal)?;
    let (state, node, daemon) = find(lab, node, daemon)?;
    let pid = pid_of(&state, &node, &daemon)?;
    let marker = down_marker(&lab.node_dir(&node.name), &daemon.name);
    let ending = ENDING.contains(&signal);
    if ending && !restart {
        fs::write(&marker, "").with_context(|| format!("cannot write {}", marker.display()))?;
    }
    process::signal(pid, signal)?;
    if !ending {
        return Ok(());
    }
    let what = format!("{} on {} is gone after {signal}", daemon.name, node.name);
    wait_until(&what, DAEMON_WITHIN, LOOK_EVERY, || {
        Ok((process::daemon(&state.plan.lab, &node.name, program(&daemon))? != Some(pid)).then_some(()))
    })
}

pub(crate) fn start(lab: &Lab, node: &str, daemon: &str) -> anyhow::Result<()> {
    let (state, node, daemon) = find(lab, node, daemon)?;
    let init = init_of(&state, &node)?;
    match fs::remove_file(down_marker(&lab.node_dir(&node.name), &daemon.name)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).context("cannot remove the mark");
        }
        _ => {}
    }
    process::signal(init, Signal::SIGHUP)?;
    let what = format!("{} on {} runs", daemon.name, node.name);
    wait_until(&what, DAEMON_WITHIN, LOOK_EVERY, || process::daemon(&state.plan.lab, &node.name, program(&daemon)))
        .map(drop)
}

pub(crate) fn pid(lab: &Lab, node: &str, daemon: &str) -> anyhow::Result<i32> {
    let (state, node, daemon) = find(lab, node, daemon)?;
    pid_of(&state, &node, &daemon)
}

pub(crate) fn log_path(lab: &Lab, node: &str, daemon: &str) -> anyhow::Result<PathBuf> {
    let (_, node, daemon) = find(lab, node, daemon)?;
    Ok(lab.log(&node.name, &daemon.name))
}

pub(crate) fn stop_node(lab: &Lab, node: &str) -> anyhow::Result<()> {
    let (state, node) = lab.running_node(node)?;
    init_of(&state, &node)?;
    node::crash(&state.plan, &node)
}

pub(crate) fn start_node(lab: &Lab, node: &str) -> anyhow::Result<()> {
    let (state, node) = lab.running_node(node)?;
    if process::node_init(&state.plan.lab, &node.name)?.is_some() {
        bail!("{} runs: crash it first with lab stop-node {}", node.name, node.name);
    }
    // What a boot that failed half-way may have left.
    node::crash(&state.plan, &node)?;
    network::make_node(&state.plan, &node)?;
    node::start(lab, &state.plan, &node)
}

pub(crate) fn print_nodes(lab: &Lab) -> anyhow::Result<()> {
    for node in &lab.running()?.plan.nodes {
        say!("{} {}", node.name, node.ip);
    }
    Ok(())
}

fn find(lab: &Lab, node: &str, daemon: &str) -> anyhow::Result<(State, NodePlan, Daemon)> {
    let (state, node) = lab.running_node(node)?;
    let all = daemons::of_node(lab, &state.plan, &node);
    let Some(found) = all.iter().find(|each| each.name == daemon).cloned() else {
        let names: Vec<&str> = all.iter().map(|each| each.name.as_str()).collect();
        bail!("{} has no daemon {daemon}: it has {}", node.name, names.join(", "));
    };
    Ok((state, node, found))
}

fn program(daemon: &Daemon) -> &'static str {
    daemons::program_of(&daemon.name).unwrap_or_default()
}

fn init_of(state: &State, node: &NodePlan) -> anyhow::Result<i32> {
    process::node_init(&state.plan.lab, &node.name)?
        .with_context(|| format!("{} does not run: boot it with lab start-node {}", node.name, node.name))
}

fn pid_of(state: &State, node: &NodePlan, daemon: &Daemon) -> anyhow::Result<i32> {
    init_of(state, node)?;
    process::daemon(&state.plan.lab, &node.name, program(daemon))?.with_context(|| {
        format!("{} does not run on {}: start it with lab start {} {}", daemon.name, node.name, node.name, daemon.name)
    })
}

fn parse_signal(name: &str) -> anyhow::Result<Signal> {
    let upper = name.to_ascii_uppercase();
    let full = if upper.starts_with("SIG") { upper } else { format!("SIG{upper}") };
    Signal::from_str(&full).with_context(|| format!("{name} is no signal: use KILL, TERM, STOP, CONT, HUP, …"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_named_as_people_name_them() {
        let cases = [
            ("KILL", Some(Signal::SIGKILL)),
            ("sigstop", Some(Signal::SIGSTOP)),
            ("cont", Some(Signal::SIGCONT)),
            ("9", None),
        ];
        for (name, expected) in cases {
            assert_eq!(parse_signal(name).ok(), expected, "{name}");
        }
    }
}
