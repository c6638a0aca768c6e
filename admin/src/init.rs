//! What makes a machine the first master of a cluster, as steps: pure.
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::{KEPT, Plan};
use crate::machine::{Certificates, Machine};
use crate::pki::{self, node_plan};
use crate::steps::{Action, File, Owned, Step, Whose};
use crate::topology::cluster::MASTER_LABEL;
use crate::topology::program::{Directory, ROOT};
use crate::topology::systemd::{self, Rendered};
use crate::topology::{self, Cluster, Layout, Program, ProgramName, Readiness, Role, Values, kernel};

/// The administrator's kubeconfig.
pub const ADMIN_CONF: &str = "/etc/corten/admin.conf";
/// What each unit was last started with.
const APPLIED_DIR: &str = "/var/lib/corten/admin";
/// Files and commands are done when they return.
const AT_ONCE: Duration = Duration::from_secs(10);
const UNIT_WITHIN: Duration = Duration::from_secs(90);
/// Longer than the pause before a unit that ended is started again.
const SETTLES: Duration = Duration::from_secs(2);
const READY_WITHIN: Duration = Duration::from_secs(90);
const PUBLIC: u32 = 0o644;
const PUBLIC_DIR: u32 = 0o755;
const OUR_DIR: &str = "/etc/corten";

/// The file that is there when `init` has started a program on this machine.
pub fn mark(program: ProgramName) -> PathBuf {
    PathBuf::from(APPLIED_DIR).join(program.unit())
}

/// Whether `init` was ever begun here. What was set up by hand is nobody's to take back.
pub fn was_begun(machine: &dyn Machine) -> bool {
    machine.exists(Path::new(KEPT)) || ProgramName::ALL.into_iter().any(|program| machine.exists(&mark(program)))
}

/// What `reset` takes back: the same on every master, whatever its settings.
pub fn any_steps(layout: &Layout) -> Vec<Step> {
    let machine = topology::Machine { name: "any".into(), ip: Ipv4Addr::LOCALHOST.into(), role: Role::Master };
    let cluster = Cluster::new("any", vec![machine.clone()]);
    let plan = Plan { cluster, machine, cert_extra_sans: Vec::new(), ignore_preflight_errors: Vec::new() };
    steps(&plan, "", layout)
}

/// `settings` are what the plan was made of, as a file.
pub fn steps(plan: &Plan, settings: &str, layout: &Layout) -> Vec<Step> {
    let machine = &plan.machine;
    let programs = topology::programs(machine.role, Values::Of(&plan.cluster, machine), layout);
    let rendered = systemd::files(machine.role, layout);
    let directories: Vec<Directory> = programs.iter().flat_map(|program| program.directories.clone()).collect();
    let server = plan.cluster.api_urls().into_iter().next().unwrap_or_default();
    let wanted =
        Certificates { control_plane: plan.certificates(), node: node_plan(&machine.name, &[machine.ip.to_string()]) };
    let node = machine.name.clone();
    let kubeconfig = Action::Kubeconfig { path: ADMIN_CONF.into(), cluster: plan.cluster.name.clone(), server };
    let owners = owners(&programs, &wanted, layout);
    let certificates = Action::Certificates { dir: layout.pki_dir.clone(), wanted: Box::new(wanted) };
    let kept = File { path: KEPT.into(), text: settings.to_owned(), mode: PUBLIC };
    let mut steps = vec![
        step("the settings are kept", Action::Files(vec![kept]), AT_ONCE),
        step("certificates and keys are made", certificates, AT_ONCE),
        step("the administrator's kubeconfig is written", kubeconfig, AT_ONCE),
        step("directories are made", Action::Directories(directories), AT_ONCE),
        step("keys and data belong to who uses them", Action::Owners(owners), AT_ONCE),
        step("settings and units are written", Action::Files(files(plan, &rendered)), AT_ONCE),
    ];
    steps.extend(kernel::MODULES.into_iter().map(module));
    let sysctls = kernel::SYSCTLS.map(|(name, value)| (name.to_owned(), value.to_owned()));
    steps.push(step("the kernel's settings are set", Action::Sysctls(sysctls.into()), AT_ONCE));
    steps.extend(programs.iter().map(|program| start(program, &rendered)));
    steps.push(step("the apiserver is ready", Action::ApiserverReady, READY_WITHIN));
    steps.push(step("the node is Ready", Action::NodeReady { node: node.clone() }, READY_WITHIN));
    let label = Action::NodeLabel { node, label: MASTER_LABEL.to_owned() };
    steps.push(step("the node is marked as a master", label, AT_ONCE));
    steps
}

fn step(name: impl Into<String>, action: Action, within: Duration) -> Step {
    Step { name: name.into(), action, within }
}

/// All certificates, keys and directories that are ours alone: whose they are and who may read them.
fn owners(programs: &[Program], certificates: &Certificates, layout: &Layout) -> Vec<Owned> {
    let root = |path: PathBuf, mode| Owned { path, user: ROOT.to_owned(), mode, unit: String::new() };
    // Who reads a key of another user's has to come as far as there.
    let above = [PathBuf::from(OUR_DIR), layout.pki_dir.clone(), layout.pki_dir.join("etcd")];
    let mut all: BTreeMap<PathBuf, Owned> = above.into_iter().map(|dir| (dir.clone(), root(dir, PUBLIC_DIR))).collect();
    for file in certificates.files() {
        let path = layout.pki_dir.join(&file);
        all.insert(path.clone(), root(path, pki::mode_of(&file)));
    }
    for program in programs {
        let files = program.reads.iter().map(|file| (layout.pki_dir.join(&file.file), file.owner, file.mode));
        let dirs = program.directories.iter().filter(|dir| !dir.shared);
        for (path, owner, mode) in files.chain(dirs.map(|dir| (dir.path.clone(), dir.owner, dir.mode))) {
            let owned = Owned { path: path.clone(), user: owner.to_owned(), mode, unit: program.name.unit() };
            all.insert(path, owned);
        }
    }
    all.into_values().collect()
}

fn files(plan: &Plan, rendered: &[Rendered]) -> Vec<File> {
    let env = systemd::node_env(&plan.cluster, &plan.machine);
    let file = |each: &Rendered| File { path: each.path.clone(), text: each.text.clone(), mode: PUBLIC };
    rendered.iter().chain([&env]).map(file).collect()
}

fn module(module: kernel::Module) -> Step {
    let action = Action::Module { name: module.name.to_owned(), seen_at: module.seen_at.into() };
    step(format!("the kernel has {}", module.name), action, AT_ONCE)
}

/// Started again when its unit, its arguments or its settings are others than before, and not for those of others.
fn start(program: &Program, rendered: &[Rendered]) -> Step {
    let unit = program.name.unit();
    let of_unit = |file: &&Rendered| {
        let is_unit = file.name == unit || file.name == format!("{}.conf", program.name.as_str());
        is_unit || (program.name == ProgramName::Containerd && file.name == "containerd.toml")
    };
    let texts: Vec<&str> = rendered.iter().filter(of_unit).map(|file| file.text.as_str()).collect();
    let fingerprint = format!("{}\n{}", program.args.join("\n"), texts.concat());
    let applied = mark(program.name);
    let name = format!("{} runs", program.name.as_str());
    let whose = match program.name {
        ProgramName::Containerd => Whose::Shared,
        _ if program.name.is_ours() => Whose::Ours,
        _ => Whose::Taken,
    };
    let settles = match program.readiness {
        Readiness::Notify => Duration::ZERO,
        Readiness::Started => SETTLES,
    };
    step(name, Action::Unit { name: unit, applied, fingerprint, whose, settles }, UNIT_WITHIN)
}
