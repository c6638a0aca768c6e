//! Starts one node: its directory, cgroup, and a first process in namespaces of its own.
use std::fs::{self, OpenOptions};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};

use super::init::{NodeSpec, booted_marker};
use super::plan::{NodePlan, Plan};
use super::ready::wait_until;
use super::state::Lab;
use super::{cgroups, daemons, network, process};

const STARTED_WITHIN: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(10);
const LOG_TAIL_LINES: usize = 15;

/// Puts the shell into the node's cgroups, makes them the roots of a cgroup namespace, moves on to the leaf (v2), then
/// becomes the parent of the node's first process. `$1` is the network namespace, `$2` this program, `$3` the spec,
/// `$4` how many cgroup.procs files follow, and after them come those of the leaf.
const ENTER: &str = "netns=$1 program=$2 spec=$3 count=$4; shift 4; \
    while [ $count -gt 0 ]; do echo $$ > \"$1\" || exit 1; shift; count=$((count - 1)); done; \
    exec unshare -C sh -c 'netns=$1 program=$2 spec=$3; shift 3; \
    for leaf in \"$@\"; do echo $$ > \"$leaf\" || exit 1; done; \
    exec nsenter --net=\"$netns\" unshare -m -u -i -p -f --mount-proc \"$program\" node-init \"$spec\"' \
    sh \"$netns\" \"$program\" \"$spec\" \"$@\"";

/// Starts the node's first process; the network must be there.
pub(crate) fn start(lab: &Lab, plan: &Plan, node: &NodePlan) -> anyhow::Result<()> {
    let dir = lab.node_dir(&node.name);
    for below in ["logs", "down"] {
        fs::create_dir_all(dir.join(below)).with_context(|| format!("cannot make {}", dir.display()))?;
    }
    fs::write(daemons::containerd_toml(lab, node), cortenadm::topology::containerd_toml())?;
    let spec_file = dir.join("node.json");
    fs::write(&spec_file, serde_json::to_vec_pretty(&spec(lab, plan, node)?)?)?;
    let booted = booted_marker(&dir);
    if booted.exists() {
        fs::remove_file(&booted).with_context(|| format!("cannot remove {}", booted.display()))?;
    }
    let entrances = cgroups::make(&plan.lab, &node.name)?;
    let log = OpenOptions::new().create(true).append(true).open(dir.join("logs").join("init.log"))?;
    Command::new("sh")
        .args(["-c", ENTER, "sh"])
        .arg(PathBuf::from("/run/netns").join(&node.netns))
        .arg(std::env::current_exe()?)
        .arg(&spec_file)
        .arg(entrances.procs.len().to_string())
        .args(&entrances.procs)
        .args(&entrances.leaves)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group_of_its_own()
        .spawn()
        .context("cannot run sh")?;
    let what = format!("{} has made its mounts and started its daemons", node.name);
    let found = wait_until(&what, STARTED_WITHIN, LOOK_EVERY, || Ok(booted.exists().then_some(())));
    if let Err(error) = found {
        bail!("{error}; its log says:\n{}", tail(&lab.log(&node.name, "init"), LOG_TAIL_LINES));
    }
    Ok(())
}

trait OwnGroup {
    fn process_group_of_its_own(&mut self) -> &mut Self;
}

impl OwnGroup for Command {
    /// So that Ctrl-C on `hack/up` does not reach a node.
    fn process_group_of_its_own(&mut self) -> &mut Self {
        std::os::unix::process::CommandExt::process_group(self, 0)
    }
}

/// Ends a node as a power cut would.
pub(crate) fn crash(plan: &Plan, node: &NodePlan) -> anyhow::Result<()> {
    network::remove_node(plan, node)?;
    let end_all = || process::end_all(&plan.lab, Some(&node.name));
    end_all()?;
    cgroups::remove(&plan.lab, Some(&node.name), end_all)
}

fn spec(lab: &Lab, plan: &Plan, node: &NodePlan) -> anyhow::Result<NodeSpec> {
    let mut hosts = "127.0.0.1 localhost\n::1 localhost ip6-localhost\n".to_owned();
    for each in &plan.nodes {
        hosts.push_str(&format!("{} {}\n", each.ip, each.name));
    }
    let spec = NodeSpec {
        name: node.name.clone(),
        lab_dir: lab.dir.clone(),
        node_dir: lab.node_dir(&node.name),
        hosts,
        cgroups: Vec::new(),
        directories: daemons::directories(lab, plan, node),
        daemons: daemons::of_node(lab, plan, node),
    };
    Ok(spec.with_cgroups(cgroups::hierarchies()?))
}

/// The last lines of a file; says so when there is none.
pub(crate) fn tail(path: &std::path::Path, lines: usize) -> String {
    let Ok(bytes) = fs::read(path) else { return format!("  (no {})", path.display()) };
    let text = String::from_utf8_lossy(&bytes);
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].iter().map(|line| format!("  | {line}\n")).collect()
}
