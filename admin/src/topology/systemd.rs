//! A machine's programs as systemd has them: units of our own, additions to those of other packages, and `node.env`.
//!
//! Units name variables; `node.env` gives them. So units come in a package, and one small file differs from machine to
//! machine. Settings: <https://www.freedesktop.org/software/systemd/man/latest/systemd.exec.html>.
use std::path::PathBuf;

use super::name::ProgramName;
use super::program::{Program, Readiness};
use super::variable::{Values, Variable};
use super::{Cluster, Layout, Machine, Role, containerd_toml, kernel, programs};

/// What systemd and the programs read a machine's own values from.
pub const NODE_ENV: &str = "/etc/corten/node.env";
const UNITS: &str = "/etc/systemd/system";
const MADE: &str = "Made from admin/src/topology by `cortenadm units`: what is written here by hand is lost.";

/// One file of a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// Where the machine has it.
    pub path: PathBuf,
    /// What it is called among others, in one directory: `corten-kubelet.service`, `etcd.conf`.
    pub name: String,
    pub text: String,
}

impl Rendered {
    fn new(path: impl Into<PathBuf>, name: impl Into<String>, text: String) -> Self {
        Self { path: path.into(), name: name.into(), text }
    }
}

/// All files of a machine of this role but `node.env`: the same on every such machine.
pub fn files(role: Role, layout: &Layout) -> Vec<Rendered> {
    let mut files: Vec<Rendered> = programs(role, Values::Variables, layout).iter().map(unit_file).collect();
    files.push(Rendered::new(&layout.containerd_toml, "containerd.toml", commented(MADE) + &containerd_toml()));
    let (modules, sysctl) = (kernel::modules_load(), kernel::sysctl_conf());
    files.push(Rendered::new("/etc/modules-load.d/corten.conf", "corten.modules", commented(MADE) + &modules));
    // After 99-sysctl.conf, which is an administrator's /etc/sysctl.conf: a node does not work without these.
    files.push(Rendered::new("/etc/sysctl.d/zz-corten.conf", "corten.sysctl", commented(MADE) + &sysctl));
    files
}

/// The one file that differs: this machine's values of all variables that its units name.
pub fn node_env(cluster: &Cluster, machine: &Machine) -> Rendered {
    let values = Values::Of(cluster, machine);
    let mut text =
        commented("What differs from machine to machine and from cluster to cluster. All units of Corten read it.");
    for variable in Variable::ALL {
        if machine.role == Role::Master || !variable.is_of_masters() {
            text.push_str(&commented(variable.about()));
            text.push_str(&format!("{}={}\n", variable.name(), values.get(variable)));
        }
    }
    text.push_str(&commented("What programs are given besides, separated by spaces."));
    for program in programs(machine.role, values, &Layout::machine()) {
        let (variable, more) = (program.name.extra_args_variable(), values.extra(program.name));
        text.push_str(&format!("{variable}={}\n", more.join(" ")));
    }
    Rendered::new(NODE_ENV, "node.env", text)
}

fn unit_file(program: &Program) -> Rendered {
    let unit = program.name.unit();
    if program.name.is_ours() {
        return Rendered::new(PathBuf::from(UNITS).join(&unit), unit, unit_of_ours(program));
    }
    let path = PathBuf::from(UNITS).join(format!("{unit}.d/corten.conf"));
    Rendered::new(path, format!("{}.conf", program.name.as_str()), addition(program))
}

fn unit_of_ours(program: &Program) -> String {
    let after = units(&program.after);
    let wants = units(&program.wants);
    let mut text = commented(MADE);
    text.push_str(&format!(
        "[Unit]\nDescription={}\nAfter=network-online.target{after}\nWants=network-online.target{wants}\n",
        program.about
    ));
    text.push_str(&commented(
        "Tried again for ever: an apiserver or etcd that comes late must not leave this one failed.",
    ));
    text.push_str("StartLimitIntervalSec=0\n\n[Service]\n");
    if program.readiness == Readiness::Notify {
        text.push_str("Type=notify\n");
        text.push_str(&waits_for_ever());
    }
    text.push_str(&format!("EnvironmentFile={NODE_ENV}\n{}", exec_start(program)));
    text.push_str(&format!("Restart=always\nRestartSec={}\n", program.restart_secs));
    text.push_str(&settings(program));
    text.push_str("\n[Install]\nWantedBy=multi-user.target\n");
    text
}

/// An addition to the unit that came with another package: that unit's command and variables give way to ours.
fn addition(program: &Program) -> String {
    let mut text = commented(MADE);
    text.push_str(&commented(&format!("An addition to {}, which comes with its own package.", program.name.unit())));
    if program.name == ProgramName::Etcd {
        text.push_str("[Unit]\nStartLimitIntervalSec=0\n\n[Service]\n");
        text.push_str(&commented(
            "The package's variables go: etcd refuses to start when it is given a flag and a variable for one thing.",
        ));
        text.push_str("Environment=\nEnvironmentFile=\n");
        text.push_str(&waits_for_ever());
        text.push_str(&format!("User={}\nRestart=always\nRestartSec={}\n", program.user, program.restart_secs));
    } else {
        text.push_str("[Service]\n");
    }
    text.push_str(&format!("EnvironmentFile={NODE_ENV}\nExecStart=\n{}", exec_start(program)));
    text + &settings(program)
}

/// etcd, too: a member of several is ready when most of them run, and one with much to read when it has read it.
fn waits_for_ever() -> String {
    commented("It says when it is ready, which may be long after its start: as long as those that it waits for.")
        + "TimeoutStartSec=infinity\n"
}

/// Each argument on a line of its own, so that a change shows as one.
fn exec_start(program: &Program) -> String {
    let mut text = format!("ExecStart={}", program.binary);
    for arg in &program.args {
        text.push_str(&format!(" \\\n    {arg}"));
    }
    text + "\n"
}

fn settings(program: &Program) -> String {
    program.settings.iter().map(|setting| format!("{}{}\n", commented(setting.why), setting.lines.join("\n"))).collect()
}

fn units(programs: &[ProgramName]) -> String {
    programs.iter().map(|program| format!(" {}", program.unit())).collect()
}

fn commented(text: &str) -> String {
    text.lines().map(|line| format!("# {line}\n")).collect()
}
