//! The checks, in the order in which they are told of: facts in, problems out.
use std::net::IpAddr;

use ipnet::Ipv4Net;

use super::facts::{CgroupVersion, Facts, Feature, RunningEtcd, Version};
use super::firewalls::Firewall;
use super::{PORT, Problem, Severity};
use crate::config::Plan;
use crate::topology::ProgramName;
use crate::topology::systemd::NODE_ENV;

/// The oldest kernel that is still looked after upstream.
const KERNEL_MIN: Version = Version(5, 10);
/// Without these no pod runs, or none is reached.
pub(super) const FEATURES: [(&str, &str); 6] = [
    ("overlay", "containers' file systems"),
    ("bridge", "pods' links"),
    ("veth", "pods' links"),
    ("br_netfilter", "Services between pods of one node"),
    ("nf_tables", "Services"),
    ("nf_conntrack", "Services"),
];
const CONTROLLERS: [&str; 4] = ["cpu", "cpuset", "memory", "pids"];
/// Programs of other packages, the oldest version that works, and the package on Debian and Ubuntu.
pub(super) const PROGRAMS: [(&str, Version, &str); 4] = [
    ("containerd", Version(1, 6), "containerd"),
    ("runc", Version(1, 1), "runc"),
    ("etcd", Version(3, 4), "etcd-server"),
    ("nft", Version(1, 0), "nftables"),
];
/// etcd alone may write 2 GiB.
const FREE_BYTES_MIN: u64 = 2 << 30;
/// Images and logs want more.
const FREE_BYTES_ADVISED: u64 = 10 << 30;
const MEMORY_BYTES_ADVISED: u64 = 1 << 30;

pub(super) struct Check {
    pub(super) name: &'static str,
    severity: Severity,
    judge: fn(&Facts, &Plan) -> Vec<Finding>,
}

/// What is wrong, and the remedy.
struct Finding {
    /// After the check's name.
    suffix: String,
    what: String,
    remedy: String,
}

impl Check {
    pub(super) fn run(&self, facts: &Facts, plan: &Plan) -> Vec<Problem> {
        let problem = |found: Finding| Problem {
            check: format!("{}{}", self.name, found.suffix),
            severity: self.severity,
            what: found.what,
            remedy: found.remedy,
        };
        (self.judge)(facts, plan).into_iter().map(problem).collect()
    }
}

const fn error(name: &'static str, judge: fn(&Facts, &Plan) -> Vec<Finding>) -> Check {
    Check { name, severity: Severity::Error, judge }
}

const fn warning(name: &'static str, judge: fn(&Facts, &Plan) -> Vec<Finding>) -> Check {
    Check { name, severity: Severity::Warning, judge }
}

pub(super) const CHECKS: &[Check] = &[
    error("IsPrivilegedUser", privileged),
    error("Systemd", systemd),
    error("KernelVersion", kernel_version),
    error("KernelFeatures", |facts, _| kernel_features(facts, Feature::Absent)),
    warning("KernelModules", |facts, _| kernel_features(facts, Feature::Unknown)),
    error("Cgroups", cgroups),
    error("Programs", programs),
    error("Versions", versions),
    error("Units", units),
    error("Users", users),
    error("Address", address),
    error("SingleMaster", single_master),
    error("Networks", networks),
    error("Localhost", localhost),
    error(PORT, ports),
    error("DiskSpace", |facts, _| disk_space(facts, 0, FREE_BYTES_MIN)),
    warning("DiskRoom", |facts, _| disk_space(facts, FREE_BYTES_MIN, FREE_BYTES_ADVISED)),
    error("FileSystem", file_system),
    error("DirAvailable--var-lib-etcd", foreign_etcd_data),
    warning("ForwardPolicy", forward_policy),
    warning("TimeSync", time_sync),
    warning("Swap", swap),
    warning("Mem", memory),
];

fn privileged(facts: &Facts, _: &Plan) -> Vec<Finding> {
    when(!facts.is_root, "only root may change what has to be changed", "run this again with sudo")
}

fn systemd(facts: &Facts, _: &Plan) -> Vec<Finding> {
    when(
        !facts.has_systemd,
        "systemd does not run this machine",
        "programs are systemd's units: use a machine, or a container, that systemd has booted",
    )
}

fn kernel_version(facts: &Facts, _: &Plan) -> Vec<Finding> {
    let old = Version::find(&facts.kernel).is_none_or(|version| version < KERNEL_MIN);
    let what = format!("the kernel is {}, and {KERNEL_MIN} is the oldest that is good enough", facts.kernel);
    when(old, what, "install a newer kernel (Debian 12 has 6.1, Ubuntu 24.04 has 6.8) and reboot")
}

fn kernel_features(facts: &Facts, state: Feature) -> Vec<Finding> {
    let lacking = FEATURES.iter().filter(|(name, _)| facts.features.get(name).copied() == Some(state));
    let lacking: Vec<String> = lacking.map(|(name, what)| format!("{name} ({what})")).collect();
    let (verb, remedy) = match state {
        Feature::Unknown => (
            "the kernel does not say whether it has",
            "look whether the modules of this kernel are installed below /lib/modules; if it has all built in, go on",
        ),
        Feature::Present | Feature::Absent => (
            "the kernel does not have",
            "install the modules of this kernel (linux-modules-extra on Ubuntu), or a kernel of the distribution's own",
        ),
    };
    when(!lacking.is_empty(), format!("{verb} {}", lacking.join(", ")), remedy)
}

fn cgroups(facts: &Facts, _: &Plan) -> Vec<Finding> {
    if facts.cgroups.version == CgroupVersion::None {
        return when(true, "no cgroups are mounted at /sys/fs/cgroup", "boot with systemd, which mounts them");
    }
    let lacking: Vec<&str> =
        CONTROLLERS.into_iter().filter(|controller| !facts.cgroups.controllers.contains(*controller)).collect();
    when(
        !lacking.is_empty(),
        format!("cgroups lack {}", lacking.join(", ")),
        "add cgroup_enable=memory and the like to the kernel's command line (GRUB_CMDLINE_LINUX), and reboot",
    )
}

fn programs(facts: &Facts, _: &Plan) -> Vec<Finding> {
    let missing: Vec<String> = facts.missing_programs.iter().map(|path| path.display().to_string()).collect();
    when(
        !missing.is_empty(),
        format!("there is no {}", missing.join(", ")),
        "build them (cargo build --release --workspace --bins) and copy them there",
    )
}

fn versions(facts: &Facts, _: &Plan) -> Vec<Finding> {
    let judge = |(program, min, package): &(&'static str, Version, &str)| {
        let what = match facts.versions.get(program) {
            Some(Some(says)) if Version::find(says).is_some_and(|version| version >= *min) => return None,
            Some(Some(says)) => format!("{program} is too old: it says {:?}, and {min} is needed", says.trim()),
            Some(None) | None => {
                // Units name the files of programs that have one; others are looked for.
                let has_unit = ProgramName::parse(program).is_some();
                let place = if has_unit { "/usr/bin" } else { "/usr/sbin, /usr/bin and the like" };
                format!("there is no {program} where units look for it ({place})")
            }
        };
        let remedy = format!("apt-get install {package} (Debian 12 and later, Ubuntu 24.04 and later)");
        Some(Finding { suffix: String::new(), what, remedy })
    };
    PROGRAMS.iter().filter_map(judge).collect()
}

fn units(facts: &Facts, _: &Plan) -> Vec<Finding> {
    when(
        !facts.missing_units.is_empty(),
        format!("systemd cannot start {}", facts.missing_units.join(", ")),
        "install the distribution's packages, which bring units: apt-get install etcd-server containerd; one that is masked is \
         let go by systemctl unmask",
    )
}

fn users(facts: &Facts, _: &Plan) -> Vec<Finding> {
    when(
        !facts.missing_users.is_empty(),
        format!("there is no user {}", facts.missing_users.join(", ")),
        "install the distribution's package, which makes it, or make it: adduser --system --group etcd",
    )
}

fn address(facts: &Facts, plan: &Plan) -> Vec<Finding> {
    let own = facts.addresses.iter().any(|network| IpAddr::V4(network.addr()) == plan.machine.ip);
    let have: Vec<String> = facts.addresses.iter().map(|network| network.addr().to_string()).collect();
    let what = format!("{} is none of this machine's addresses ({})", plan.machine.ip, have.join(", "));
    when(!own, what, "say which one other machines reach: --apiserver-advertise-address")
}

/// `init` knows of one master, and would take the others out of this one's settings.
fn single_master(facts: &Facts, plan: &Plan) -> Vec<Finding> {
    let value = |name: &str| facts.node_env.get(name).map(String::as_str).unwrap_or_default();
    let own = [plan.machine.ip.to_string(), value("NODE_IP").to_owned(), "127.0.0.1".to_owned()];
    let hosts = ["APISERVERS", "ETCD_MEMBERS", "ETCD_SERVERS"].into_iter().flat_map(|name| value(name).split(','));
    let mut others: Vec<&str> = hosts.filter_map(host_of).filter(|host| !own.iter().any(|own| own == host)).collect();
    others.sort_unstable();
    others.dedup();
    when(
        !others.is_empty(),
        format!("this machine is of a cluster that has others: {NODE_ENV} names {}", others.join(", ")),
        "init is for clusters of one master: change that file by hand (hack/systemd/README.md). To leave that cluster, take \
         this machine out of etcd's members on another (etcdctl member remove), then move the file away",
    )
}

/// `https://192.168.1.11:6443`, and `name=https://192.168.1.11:2380` of etcd's members.
fn host_of(url: &str) -> Option<&str> {
    let (_, address) = url.split_once("://")?;
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    Some(host.trim_start_matches('[').trim_end_matches(']'))
}

fn networks(facts: &Facts, plan: &Plan) -> Vec<Finding> {
    let clash = |text: &str, flag: &str| {
        let network: Ipv4Net = text.parse().ok()?;
        let with = facts.addresses.iter().find(|own| {
            let own = own.trunc();
            network.contains(&own.network()) || own.contains(&network.network())
        })?;
        let what = format!("{network} has addresses of the network that this machine is in, {}", with.trunc());
        let remedy = format!("choose one that nobody here uses: {flag}");
        Some(Finding { suffix: String::new(), what, remedy })
    };
    let pods = clash(&plan.cluster.cluster_cidr, "--pod-network-cidr");
    pods.into_iter().chain(clash(&plan.cluster.service_cidr, "--service-cidr")).collect()
}

fn localhost(facts: &Facts, _: &Plan) -> Vec<Finding> {
    when(!facts.localhost_resolves, "localhost has no address", "add the line \"127.0.0.1 localhost\" to /etc/hosts")
}

/// What is listened on by the program that should be is a machine that was set up before.
fn ports(facts: &Facts, plan: &Plan) -> Vec<Finding> {
    let taken = |(program, port): (ProgramName, u16)| {
        let listener = facts.listeners.iter().find(|listener| listener.port == port)?;
        let who = listener.program().unwrap_or("another program");
        let suffix = port.to_string();
        if who != program.binary() {
            let what = format!("{who} listens on {port}, which the {} needs", program.as_str());
            let remedy = match program {
                ProgramName::Apiserver => "end it, or choose another port: --apiserver-bind-port".to_owned(),
                _ => format!("end it: ss -tlnp 'sport = :{port}' shows its process"),
            };
            return Some(Finding { suffix, what, remedy });
        }
        let what = (program == ProgramName::Etcd).then(|| of_others(facts, port)).flatten()?;
        let remedy = "give that application an etcd on another machine, or on other ports with a unit of its own: etcd.service \
                      becomes this cluster's. If nobody needs those data: systemctl disable --now etcd";
        Some(Finding { suffix, what, remedy: remedy.to_owned() })
    };
    plan.cluster.ports(plan.machine.role).into_iter().filter_map(taken).collect()
}

/// An etcd that its package has started has an empty store.
fn of_others(facts: &Facts, port: u16) -> Option<String> {
    match &facts.etcd {
        _ if facts.etcd_is_ours => None,
        Some(RunningEtcd { keys: Some(0), .. }) => None,
        Some(RunningEtcd { data, keys: Some(keys) }) => {
            Some(format!("the etcd that listens on {port} has {keys} keys of somebody else in {}", data.display()))
        }
        Some(RunningEtcd { data, keys: None }) => {
            Some(format!("the etcd that listens on {port} does not say what it has in {}", data.display()))
        }
        None => Some(format!("it cannot be seen whose the etcd is that listens on {port}")),
    }
}

/// Directories with less room than `below`, and `from` at least.
fn disk_space(facts: &Facts, from: u64, below: u64) -> Vec<Finding> {
    let finding = |(dir, free): (&std::path::PathBuf, &u64)| Finding {
        suffix: String::new(),
        what: format!("{} has {} MiB left, and {} are wanted", dir.display(), free >> 20, below >> 20),
        remedy: "make room, or mount a larger disk there".to_owned(),
    };
    facts.free_bytes.iter().filter(|(_, free)| (from..below).contains(free)).map(finding).collect()
}

fn file_system(facts: &Facts, _: &Plan) -> Vec<Finding> {
    let dirs: Vec<String> = facts.on_overlay.iter().map(|dir| dir.display().to_string()).collect();
    when(
        !dirs.is_empty(),
        format!("{} is on an overlay file system, where containerd cannot lay others", dirs.join(", ")),
        "mount a disk there (ext4 or xfs)",
    )
}

fn foreign_etcd_data(facts: &Facts, _: &Plan) -> Vec<Finding> {
    when(
        facts.has_foreign_etcd_data,
        "etcd has data of another cluster, or of one whose certificates are gone",
        "bring /etc/corten/pki back from a backup, or move etcd's data away: mv /var/lib/etcd/corten \
         /var/lib/etcd/old-$(date +%s)",
    )
}

/// Two accept nothing for each other: each has to be told.
fn forward_policy(facts: &Facts, plan: &Plan) -> Vec<Finding> {
    let finding = |firewall: &Firewall| Finding {
        suffix: String::new(),
        what: format!("{} throws packets away that go from pod to pod", firewall.name()),
        remedy: firewall.remedy(&plan.cluster.cluster_cidr, &plan.cluster.service_cidr),
    };
    facts.firewalls.iter().map(finding).collect()
}

fn time_sync(facts: &Facts, _: &Plan) -> Vec<Finding> {
    match facts.time_is_synchronized {
        Some(synchronized) => when(
            !synchronized,
            "the clock is not synchronized: certificates and leases are wrong where clocks differ",
            "apt-get install systemd-timesyncd && timedatectl set-ntp true",
        ),
        None => when(
            true,
            "nobody knows whether the clock is synchronized",
            "timedatectl does not answer here: see that something sets the clock",
        ),
    }
}

fn swap(facts: &Facts, _: &Plan) -> Vec<Finding> {
    when(
        facts.has_swap,
        "swap is on: pods that should be stopped for their memory slow the machine down first",
        "swapoff -a, and take swap out of /etc/fstab",
    )
}

fn memory(facts: &Facts, _: &Plan) -> Vec<Finding> {
    let little = facts.memory_bytes < MEMORY_BYTES_ADVISED;
    let what = format!("there are {} MiB of memory: {} and more are good", facts.memory_bytes >> 20, 1024);
    when(little, what, "a small cluster runs, with little room for pods: give the machine more")
}

fn when(wrong: bool, what: impl Into<String>, remedy: impl Into<String>) -> Vec<Finding> {
    let finding = || Finding { suffix: String::new(), what: what.into(), remedy: remedy.into() };
    wrong.then(finding).into_iter().collect()
}
