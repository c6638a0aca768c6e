//! Asks this machine for its facts. What cannot be read is a fact as well: that it is not known, or not there.
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::ToSocketAddrs;
use std::path::{Path, PathBuf};
use std::process::Command;

use ipnet::Ipv4Net;
use nix::sys::statfs::{OVERLAYFS_SUPER_MAGIC, statfs};

use super::checks::{FEATURES, PROGRAMS};
use super::facts::{CgroupVersion, Cgroups, Facts, Feature, Listener, Process, RunningEtcd};
use super::firewalls::{self, Firewall};
use super::running_etcd;
use crate::config::Plan;
use crate::init;
use crate::topology::cluster::{ETCD_CLIENT_PORT, ETCD_PEER_PORT};
use crate::topology::systemd::NODE_ENV;
use crate::topology::{self, Layout, ProgramName, Values};

/// What the kernel says behind a program's path when there is another file now, as after an update.
const REPLACED: &str = " (deleted)";
/// Containers' file systems.
const CONTAINERD_DIR: &str = "/var/lib/containerd";
/// The state of a listening socket in /proc/net/tcp.
const LISTENS: &str = "0A";
/// The pods' bridge, and the link that has the address of the cluster's DNS.
const OUR_LINKS: &str = "corten-";
/// systemd's own: where what units start looks for other programs.
const UNITS_PATH: [&str; 6] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

pub fn gather(plan: &Plan, layout: &Layout) -> Facts {
    let data = [CONTAINERD_DIR, "/var/lib/corten", "/var/log/pods"].map(PathBuf::from);
    let data: Vec<PathBuf> = data.into_iter().chain([layout.etcd_data_dir.clone()]).collect();
    let listeners = listeners(&text("/proc/net/tcp"), &text("/proc/net/tcp6"), &owners());
    let kernel = text("/proc/sys/kernel/osrelease").trim().to_owned();
    let programs = topology::programs(plan.machine.role, Values::Of(&plan.cluster, &plan.machine), layout);
    let ours = programs.iter().filter(|program| program.name.is_ours()).map(|program| PathBuf::from(&program.binary));
    Facts {
        is_root: nix::unistd::geteuid().is_root(),
        has_systemd: Path::new("/run/systemd/system").is_dir(),
        features: features(&kernel),
        kernel,
        cgroups: cgroups(),
        etcd: etcd_of(&listeners),
        etcd_is_ours: init::mark(ProgramName::Etcd).exists(),
        listeners,
        time_is_synchronized: time_is_synchronized(),
        free_bytes: data.iter().filter_map(|dir| Some((dir.clone(), free_bytes(dir)?))).collect(),
        on_overlay: [PathBuf::from(CONTAINERD_DIR)].into_iter().filter(|dir| is_overlay(dir)).collect(),
        versions: PROGRAMS.iter().map(|(program, _, _)| (*program, version(program, layout))).collect(),
        missing_units: programs.iter().filter_map(missing_unit).collect(),
        missing_programs: ours.filter(|path| !path.is_file()).collect(),
        missing_users: programs
            .iter()
            .map(|program| program.user)
            .filter(|user| !is_user(user))
            .map(str::to_owned)
            .collect(),
        has_swap: text("/proc/swaps").lines().count() > 1,
        memory_bytes: memory_bytes(&text("/proc/meminfo")),
        addresses: addresses(),
        firewalls: firewalls(),
        node_env: variables(&text(NODE_ENV)),
        localhost_resolves: ("localhost", 0).to_socket_addrs().is_ok(),
        has_foreign_etcd_data: !is_empty(&layout.etcd_data_dir) && !layout.pki_dir.join("etcd/ca.crt").exists(),
    }
}

/// Lines of a file for systemd: `NAME=value`.
pub(super) fn variables(text: &str) -> BTreeMap<String, String> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let pair = |line: &str| line.split_once('=').map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()));
    lines.filter_map(pair).collect()
}

fn is_user(name: &str) -> bool {
    nix::unistd::User::from_name(name).is_ok_and(|user| user.is_some())
}

/// A file of /proc or /sys; nothing where it is not there.
fn text(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn features(kernel: &str) -> BTreeMap<&'static str, Feature> {
    let modules = Path::new("/lib/modules").join(kernel);
    let listed = text(modules.join("modules.builtin")) + &text(modules.join("modules.dep"));
    let known: BTreeSet<&str> = listed.lines().filter_map(module_of).collect();
    let filesystems = text("/proc/filesystems");
    let state = |name: &str| {
        let module_dir = Path::new("/sys/module").join(name);
        let seen = match name {
            "overlay" => filesystems.lines().any(|line| line.trim_start_matches("nodev").trim() == "overlay"),
            "br_netfilter" => Path::new("/proc/sys/net/bridge").exists(),
            "nf_conntrack" => Path::new("/proc/sys/net/netfilter/nf_conntrack_max").exists(),
            _ => false,
        };
        match (seen || module_dir.exists() || known.contains(name), known.is_empty()) {
            (true, _) => Feature::Present,
            (false, true) => Feature::Unknown,
            (false, false) => Feature::Absent,
        }
    };
    FEATURES.iter().map(|(name, _)| (*name, state(name))).collect()
}

/// `kernel/net/bridge/br_netfilter.ko.xz: kernel/net/bridge/bridge.ko.xz` is of `br_netfilter`.
fn module_of(line: &str) -> Option<&str> {
    let path = line.split(':').next()?;
    path.rsplit('/').next()?.split('.').next()
}

fn cgroups() -> Cgroups {
    let unified = text("/sys/fs/cgroup/cgroup.controllers");
    if !unified.trim().is_empty() {
        let controllers = unified.split_whitespace().map(str::to_owned).collect();
        return Cgroups { version: CgroupVersion::V2, controllers };
    }
    // Lines read `memory 5 112 1`: name, hierarchy (0: none), cgroups, whether it is enabled.
    let of_line = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        matches!(fields[..], [_, hierarchy, _, "1"] if hierarchy != "0").then(|| fields[0].to_owned())
    };
    let table = text("/proc/cgroups");
    let controllers: BTreeSet<String> =
        table.lines().filter(|line| !line.starts_with('#')).filter_map(of_line).collect();
    let version = if controllers.is_empty() { CgroupVersion::None } else { CgroupVersion::V1 };
    Cgroups { version, controllers }
}

/// Who has which socket, by its inode: only root sees those of others.
fn owners() -> BTreeMap<String, Process> {
    let mut owners = BTreeMap::new();
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        // Processes end while they are looked at.
        for open in fs::read_dir(process.path().join("fd")).into_iter().flatten().flatten() {
            let target = fs::read_link(open.path()).unwrap_or_default();
            let target = target.to_string_lossy();
            if let Some(inode) = target.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']')) {
                let pid = process.file_name().to_string_lossy().into_owned();
                owners.insert(inode.to_owned(), Process { pid, program: program_of(&process.path()) });
            }
        }
    }
    owners
}

/// The file's name that it runs: what it calls itself is its own choice. One that was replaced since has that said behind it.
pub(super) fn program_of(process: &Path) -> String {
    let file = fs::read_link(process.join("exe")).unwrap_or_default();
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    name.strip_suffix(REPLACED).map(str::to_owned).unwrap_or(name)
}

/// Lines of /proc/net/tcp read `0: 0100007F:0016 00000000:0000 0A … uid timeout inode …`.
pub(super) fn listeners(tcp: &str, tcp6: &str, owners: &BTreeMap<String, Process>) -> Vec<Listener> {
    let of_line = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (local, state, inode) = (fields.get(1)?, fields.get(3)?, fields.get(9)?);
        let port = u16::from_str_radix(local.rsplit(':').next()?, 16).ok()?;
        (*state == LISTENS).then(|| Listener { port, process: owners.get(*inode).cloned() })
    };
    tcp.lines().chain(tcp6.lines()).filter_map(of_line).collect()
}

fn etcd_of(listeners: &[Listener]) -> Option<RunningEtcd> {
    let is_etcds = |listener: &&Listener| {
        [ETCD_CLIENT_PORT, ETCD_PEER_PORT].contains(&listener.port)
            && listener.program() == Some(ProgramName::Etcd.binary())
    };
    let process = listeners.iter().find(is_etcds)?.process.as_ref()?;
    Some(running_etcd::ask(&process.pid))
}

fn time_is_synchronized() -> Option<bool> {
    match says("timedatectl", &["show", "--property=NTPSynchronized", "--value"])?.trim() {
        "yes" => Some(true),
        "no" => Some(false),
        _ => None,
    }
}

/// The directory, or the nearest above it that is there already.
fn existing(dir: &Path) -> &Path {
    dir.ancestors().find(|dir| dir.exists()).unwrap_or(Path::new("/"))
}

fn free_bytes(dir: &Path) -> Option<u64> {
    let stat = statfs(existing(dir)).ok()?;
    Some(stat.blocks_available() * u64::try_from(stat.block_size()).ok()?)
}

fn is_overlay(dir: &Path) -> bool {
    statfs(existing(dir)).is_ok_and(|stat| stat.filesystem_type() == OVERLAYFS_SUPER_MAGIC)
}

fn is_empty(dir: &Path) -> bool {
    fs::read_dir(dir).map_or(true, |mut entries| entries.next().is_none())
}

/// What the program says that a unit would start: one with a unit is started from one place alone.
fn version(program: &str, layout: &Layout) -> Option<String> {
    let has_unit = ProgramName::parse(program).is_some();
    match layout.system_bin_dir.as_ref().filter(|_| has_unit) {
        Some(dir) => says_at(&dir.join(program), &["--version"]),
        None => says(program, &["--version"]),
    }
}

/// A unit that comes with another package: `loaded`, `not-found`, `masked`, …
fn missing_unit(program: &topology::Program) -> Option<String> {
    if program.name.is_ours() {
        return None;
    }
    let unit = program.name.unit();
    // Where systemd does not run, that is another check's.
    let state = says("systemctl", &["show", &unit, "--property=LoadState", "--value"])?;
    (state.trim() != "loaded").then(|| format!("{unit} ({})", state.trim()))
}

fn firewalls() -> BTreeSet<Firewall> {
    let of = |program: &str, args: &[&str]| says_all(&on_path(program)?, args);
    // Asked for, the older iptables makes tables that are not there.
    let is_older = text("/proc/net/ip_tables_names").lines().any(|table| table == "filter");
    let legacy = is_older.then(|| of("iptables-legacy", &["-S", "FORWARD"])).flatten();
    firewalls::that_drop(&of("nft", &["list", "chains"]).unwrap_or_default(), &legacy.unwrap_or_default())
}

fn on_path(program: &str) -> Option<PathBuf> {
    UNITS_PATH.iter().map(|dir| Path::new(dir).join(program)).find(|file| file.is_file())
}

/// The first line of what a program says; none where it is not there or fails.
fn says(program: &str, args: &[&str]) -> Option<String> {
    says_at(&on_path(program)?, args)
}

fn says_at(file: &Path, args: &[&str]) -> Option<String> {
    says_all(file, args).map(|text| text.lines().next().unwrap_or_default().to_owned())
}

fn says_all(file: &Path, args: &[&str]) -> Option<String> {
    let output = Command::new(file).args(args).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

pub(super) fn memory_bytes(meminfo: &str) -> u64 {
    let kib = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:")?.split_whitespace().next()?.parse().ok());
    kib.unwrap_or(0_u64) << 10
}

fn addresses() -> Vec<Ipv4Net> {
    let of_link = |link: nix::ifaddrs::InterfaceAddress| {
        // Those of an earlier run of this cluster's own.
        if link.interface_name.starts_with(OUR_LINKS) {
            return None;
        }
        let address = link.address?.as_sockaddr_in()?.ip();
        let mask = link.netmask?.as_sockaddr_in()?.ip();
        (!address.is_loopback()).then(|| Ipv4Net::with_netmask(address, mask).ok())?
    };
    nix::ifaddrs::getifaddrs().into_iter().flatten().filter_map(of_link).collect()
}
