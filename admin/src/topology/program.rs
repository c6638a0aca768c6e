//! What is said of one program: how it is started, what it reads, when it is ready, and what it may do.
use std::fmt::Display;
use std::path::PathBuf;

use super::layout::Layout;
use super::name::ProgramName;
use super::variable::{Values, Variable};
use crate::pki;

/// `RestartSec` of our units, and of etcd's as we set it.
pub const RESTART_SECS: u32 = 1;
pub const ROOT: &str = "root";
const OTHERS_READ: u32 = 0o004;
const SHARED_MODE: u32 = 0o755;

/// When what depends on a program may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// It tells systemd.
    Notify,
    /// It says nothing: it counts as ready when it runs.
    Started,
}

/// A file of the PKI directory that a program reads.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PkiFile {
    /// Path in the PKI directory: `ca.crt`, `nodes/worker1/kubelet.key`.
    pub file: String,
    pub mode: u32,
    pub owner: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    pub path: PathBuf,
    /// When it is made.
    pub mode: u32,
    pub owner: &'static str,
    /// Others have use for it: whose it is and who may read it is left to be as it is.
    pub shared: bool,
}

/// Settings of a unit that go together, with the reason for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    pub why: &'static str,
    pub lines: &'static [&'static str],
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    pub name: ProgramName,
    /// A line for people.
    pub about: &'static str,
    /// Path, or a name on PATH.
    pub binary: String,
    pub args: Vec<String>,
    pub reads: Vec<PkiFile>,
    /// What has to be there before it starts.
    pub directories: Vec<Directory>,
    pub user: &'static str,
    /// It is started after these, where they run on the same machine.
    pub after: Vec<ProgramName>,
    /// Started with it.
    pub wants: Vec<ProgramName>,
    pub readiness: Readiness,
    /// The pause before it is started again, whatever it ended with and however often.
    pub restart_secs: u32,
    /// Limits, confinement and how it is stopped, as systemd has them.
    pub settings: Vec<Setting>,
}

/// Builds up a program: what names a file of the PKI is remembered as read.
pub(super) struct Builder<'a> {
    values: Values<'a>,
    layout: &'a Layout,
    program: Program,
}

impl<'a> Builder<'a> {
    pub(super) fn new(name: ProgramName, about: &'static str, values: Values<'a>, layout: &'a Layout) -> Self {
        let dir = if name.is_ours() { Some(&layout.bin_dir) } else { layout.system_bin_dir.as_ref() };
        let binary = dir.map_or_else(|| name.binary().to_owned(), |dir| dir.join(name.binary()).display().to_string());
        let program = Program {
            name,
            about,
            binary,
            args: Vec::new(),
            reads: Vec::new(),
            directories: Vec::new(),
            user: ROOT,
            after: Vec::new(),
            wants: Vec::new(),
            readiness: Readiness::Started,
            restart_secs: RESTART_SECS,
            settings: Vec::new(),
        };
        Self { values, layout, program }
    }

    /// Whom it runs as, and to whom its keys and directories belong: said before they are named.
    pub(super) fn user(mut self, user: &'static str) -> Self {
        self.program.user = user;
        self
    }

    pub(super) fn flag(mut self, name: &str, value: impl Display) -> Self {
        self.program.args.push(format!("--{name}={value}"));
        self
    }

    /// A flag that names a file of the PKI.
    pub(super) fn pki(mut self, name: &str, file: impl Into<String>) -> Self {
        let file = file.into();
        let path = self.layout.pki_dir.join(&file);
        self.program.args.push(format!("--{name}={}", path.display()));
        let (mode, user) = (pki::mode_of(&file), self.program.user);
        // What all may read needs no owner but the administrator.
        let owner = if mode & OTHERS_READ == 0 { user } else { ROOT };
        self.program.reads.push(PkiFile { file, mode, owner });
        self
    }

    /// How a client of the apiservers is started: `stem` is its certificate.
    pub(super) fn client(self, stem: &str, metrics_port: u16) -> Self {
        let apiservers = self.values.get(Variable::Apiservers);
        let metrics = format!("{}:{metrics_port}", self.layout.metrics_host);
        self.flag("apiserver", apiservers)
            .pki("ca-file", "ca.crt")
            .pki("cert-file", format!("{stem}.crt"))
            .pki("key-file", format!("{stem}.key"))
            .flag("metrics-address", metrics)
    }

    pub(super) fn directory(mut self, path: impl Into<PathBuf>, mode: u32) -> Self {
        let owner = self.program.user;
        self.program.directories.push(Directory { path: path.into(), mode, owner, shared: false });
        self
    }

    /// One that is not this program's alone.
    pub(super) fn shared_directory(mut self, path: impl Into<PathBuf>) -> Self {
        self.program.directories.push(Directory { path: path.into(), mode: SHARED_MODE, owner: ROOT, shared: true });
        self
    }

    pub(super) fn after(mut self, other: ProgramName) -> Self {
        self.program.after.push(other);
        self
    }

    pub(super) fn wants(mut self, other: ProgramName) -> Self {
        self.program.wants.push(other);
        self.after(other)
    }

    pub(super) fn notifies(mut self) -> Self {
        self.program.readiness = Readiness::Notify;
        self
    }

    pub(super) fn restart_secs(mut self, secs: u32) -> Self {
        self.program.restart_secs = secs;
        self
    }

    pub(super) fn settings(mut self, settings: &[Setting]) -> Self {
        self.program.settings.extend_from_slice(settings);
        self
    }

    /// What an administrator adds comes last, and so is what counts where a flag may be given once.
    pub(super) fn done(mut self) -> Program {
        self.program.args.extend(self.values.extra(self.program.name));
        self.program
    }
}
