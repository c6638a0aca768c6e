//! Looks at processes through /proc and ends those of the lab.
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::bail;
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::cgroups;

/// How long killed processes may take to be gone (a D-state write may hold one up).
const GONE_WITHIN: Duration = Duration::from_secs(15);
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// The first process of a node as the host sees it, if the node runs.
pub(crate) fn node_init(lab: &str, node: &str) -> anyhow::Result<Option<i32>> {
    let pids = cgroups::processes(lab, Some(node))?;
    Ok(pids.into_iter().find(|pid| is_first_of_node(&status(*pid))))
}

/// `NSpid:` lists a process's ids from our namespace inwards: the node's first process has two, the inner one 1.
/// The first process of a container is deeper and has three.
fn is_first_of_node(status: &str) -> bool {
    let ids: Vec<&str> = field(status, "NSpid:").collect();
    ids.len() == 2 && ids[1] == "1"
}

/// The daemon's process: a child of the node's first process that runs the program of that name.
pub(crate) fn daemon(lab: &str, node: &str, program: &str) -> anyhow::Result<Option<i32>> {
    let Some(init) = node_init(lab, node)? else { return Ok(None) };
    let pids = cgroups::processes(lab, Some(node))?;
    Ok(pids.into_iter().find(|pid| parent(*pid) == Some(init) && program_of(*pid).as_deref() == Some(program)))
}

/// The lab's image registry, which runs on the host.
pub(crate) fn registry(lab: &str) -> anyhow::Result<Option<i32>> {
    let pids = cgroups::processes(lab, Some(cgroups::HOST))?;
    Ok(pids.into_iter().find(|pid| program_of(*pid).as_deref() == Some("docker-registry")))
}

/// Everything that runs in a node's cgroups.
pub(crate) fn of_node(lab: &str, node: &str) -> anyhow::Result<BTreeSet<i32>> {
    cgroups::processes(lab, Some(node))
}

/// The base name of what a process was started as.
pub(crate) fn program_of(pid: i32) -> Option<String> {
    let cmdline = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let first = cmdline.split(|byte| *byte == 0).next().filter(|first| !first.is_empty())?;
    let path = String::from_utf8_lossy(first).into_owned();
    Some(Path::new(&path).file_name()?.to_string_lossy().into_owned())
}

fn parent(pid: i32) -> Option<i32> {
    field(&status(pid), "PPid:").next()?.parse().ok()
}

fn status(pid: i32) -> String {
    fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default()
}

fn field<'a>(status: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().split_whitespace()
}

/// Sends a signal; a process that is gone is not an error.
pub(crate) fn signal(pid: i32, signal: Signal) -> anyhow::Result<()> {
    match kill(Pid::from_raw(pid), signal) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(error) => bail!("cannot send {signal} to process {pid}: {error}"),
    }
}

/// Kills everything in the cgroups of a node (or the lab) and waits until they are empty.
pub(crate) fn end_all(lab: &str, node: Option<&str>) -> anyhow::Result<usize> {
    let deadline = Instant::now() + GONE_WITHIN;
    let mut ended: BTreeSet<i32> = BTreeSet::new();
    loop {
        let left = cgroups::processes(lab, node)?;
        if left.is_empty() {
            return Ok(ended.len());
        }
        // The first processes of namespaces first: with them the kernel ends all others inside.
        let (first, rest): (Vec<i32>, Vec<i32>) = left.iter().partition(|pid| is_first_of_node(&status(**pid)));
        for pid in first.into_iter().chain(rest) {
            signal(pid, Signal::SIGKILL)?;
        }
        ended.extend(&left);
        if Instant::now() > deadline {
            let names: Vec<String> =
                left.iter().map(|pid| format!("{pid} ({})", program_of(*pid).unwrap_or_default())).collect();
            bail!(
                "killed, but still there after {GONE_WITHIN:?}: {}: look at /proc/PID/stack, then run hack/down again",
                names.join(", ")
            );
        }
        sleep(LOOK_EVERY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_process_one_namespace_down_is_a_nodes_init() {
        let cases = [
            ("a node's init", "Name:\tx\nNSpid:\t812\t1\n", true),
            ("a daemon of the node", "NSpid:\t813\t14\n", false),
            ("a container's first process", "NSpid:\t900\t60\t1\n", false),
            ("a process of the host", "NSpid:\t1\n", false),
            ("gone meanwhile", "", false),
        ];
        for (why, status, expected) in cases {
            assert_eq!(is_first_of_node(status), expected, "{why}");
        }
    }
}
