//! What is to be known of a machine before it may become a master.
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use ipnet::Ipv4Net;

use super::firewalls::Firewall;

/// The numbers that a version begins with.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u32, pub u32);

impl Version {
    /// The first thing in a text that looks like one: `containerd github.com/… 1.6.20~ds1`, `nftables v1.0.6`, `6.1.0-18-amd64`.
    pub fn find(text: &str) -> Option<Self> {
        text.split_whitespace().find_map(|word| {
            let word = word.strip_prefix('v').unwrap_or(word);
            let mut parts = word.split('.');
            let number = |text: &str| {
                let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
                digits.parse::<u32>().ok()
            };
            let major = parts.next().filter(|part| part.chars().all(|c| c.is_ascii_digit())).and_then(number)?;
            Some(Self(major, parts.next().and_then(number)?))
        })
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

/// What a kernel has of something that may be a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feature {
    /// Built in, loaded, or there to be loaded.
    Present,
    Absent,
    /// The kernel does not say which modules it has.
    Unknown,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CgroupVersion {
    #[default]
    None,
    V1,
    V2,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cgroups {
    pub version: CgroupVersion,
    /// `cpu`, `memory`, `pids`, …
    pub controllers: BTreeSet<String>,
}

/// A port that somebody listens on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    pub port: u16,
    /// Who it is, where that can be seen.
    pub process: Option<Process>,
}

impl Listener {
    pub fn program(&self) -> Option<&str> {
        self.process.as_ref().map(|process| process.program.as_str())
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    pub pid: String,
    /// Its program's file name.
    pub program: String,
}

/// An etcd that listens where ours will.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunningEtcd {
    pub data: PathBuf,
    /// None: it does not say.
    pub keys: Option<u64>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    pub is_root: bool,
    pub has_systemd: bool,
    /// As `uname -r` has it.
    pub kernel: String,
    pub features: BTreeMap<&'static str, Feature>,
    pub cgroups: Cgroups,
    pub listeners: Vec<Listener>,
    pub etcd: Option<RunningEtcd>,
    /// `init` has started it on this machine.
    pub etcd_is_ours: bool,
    /// None: nobody on this machine knows.
    pub time_is_synchronized: Option<bool>,
    /// Free bytes of the file systems that these directories are on, or will be.
    pub free_bytes: BTreeMap<PathBuf, u64>,
    /// Where containerd lays file systems over each other, if that is on an overlay itself. Other data may be on one.
    pub on_overlay: Vec<PathBuf>,
    /// Programs that were looked for where units look, and what they say of themselves; None: there is no such program.
    pub versions: BTreeMap<&'static str, Option<String>>,
    /// Units of other packages that systemd does not have, or may not start.
    pub missing_units: Vec<String>,
    /// Our own programs that are not where units look for them.
    pub missing_programs: Vec<PathBuf>,
    /// Users that programs run as, and that there are not.
    pub missing_users: Vec<String>,
    pub has_swap: bool,
    pub memory_bytes: u64,
    /// This machine's addresses with their networks.
    pub addresses: Vec<Ipv4Net>,
    pub localhost_resolves: bool,
    /// Who throws packets between pods away.
    pub firewalls: BTreeSet<Firewall>,
    /// The variables of the `node.env` that is here.
    pub node_env: BTreeMap<String, String>,
    /// etcd has data, and there is no authority that its certificates could be of.
    pub has_foreign_etcd_data: bool,
}
