//! The port to a machine that is set up: its files, its programs, its clock and its apiserver.
//!
//! [`ThisMachine`] is the real one. Tests have one in memory (`memory`); one contract test holds both.
mod owners;
mod real;

#[cfg(test)]
pub(crate) mod memory;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

pub use real::ThisMachine;

use crate::api::ApiError;
use crate::pki::{Authority, CertPlan, ClusterPlan, PkiError};

#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    #[error("cannot {doing} {}", path.display())]
    File { doing: &'static str, path: PathBuf, source: std::io::Error },
    #[error("there is no user {0}: it comes with a package that is not installed")]
    NoUser(String),
    #[error(
        "{} is a link: what belongs to another user than root has to be there itself; put it there, or mount a disk there",
        .0.display()
    )]
    Link(PathBuf),
    #[error("cannot run {program}: is it installed?")]
    Start { program: String, source: std::io::Error },
    #[error("{command} failed: {said}")]
    Failed { command: String, said: String },
    #[error(transparent)]
    Pki(#[from] PkiError),
    #[error(transparent)]
    Api(#[from] ApiError),
}

/// The certificates of a master.
#[derive(Clone, Debug)]
pub struct Certificates {
    pub control_plane: ClusterPlan,
    pub node: Vec<CertPlan>,
}

impl Certificates {
    /// The files of all, in the PKI directory.
    pub fn files(&self) -> Vec<String> {
        let authorities = Authority::ALL.map(|authority| authority.file_stem().to_owned());
        let plans = self.control_plane.certificates().into_iter().chain(self.node.iter().cloned());
        let stems = authorities.into_iter().chain(plans.map(|plan| plan.file_stem));
        let pairs = stems.flat_map(|stem| [format!("{stem}.crt"), format!("{stem}.key")]);
        pairs.chain(["sa.key", "sa.pub"].map(str::to_owned)).collect()
    }
}

/// What is at a path itself: a link is not followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    pub user: String,
    pub mode: u32,
    pub is_link: bool,
}

/// Everything that steps do to a machine.
pub trait Machine {
    /// None: there is no such file.
    fn read(&self, path: &Path) -> Result<Option<String>, MachineError>;
    /// Whole or not at all; makes the directories above it.
    fn write(&self, path: &Path, text: &str, mode: u32) -> Result<(), MachineError>;
    /// Fine if there is none.
    fn remove(&self, path: &Path) -> Result<(), MachineError>;
    fn exists(&self, path: &Path) -> bool;
    /// Fine if it is there, whatever its mode.
    fn make_dir(&self, path: &Path, mode: u32) -> Result<(), MachineError>;
    /// None: there is no such thing.
    fn look(&self, path: &Path) -> Result<Option<Look>, MachineError>;
    /// Gives a file or a directory away, and nothing that is in it. Links are refused.
    fn set_owner(&self, path: &Path, user: &str) -> Result<(), MachineError>;
    /// Links are refused.
    fn set_mode(&self, path: &Path, mode: u32) -> Result<(), MachineError>;
    /// What is in a directory, at any depth, and not this user's: some of it. Links are refused.
    fn others_in(&self, dir: &Path, user: &str) -> Result<Vec<PathBuf>, MachineError>;
    /// Gives away all that is in a directory, at any depth. Links are refused.
    fn give_all_in(&self, dir: &Path, user: &str) -> Result<(), MachineError>;
    /// With all that is in it; fine if there is none.
    fn remove_dir(&self, path: &Path) -> Result<(), MachineError>;
    /// Runs a program to its end; what it wrote to standard output.
    fn run(&self, program: &str, args: &[&str]) -> Result<String, MachineError>;
    /// The stems of certificates that would be issued now.
    fn lacking(&self, wanted: &Certificates) -> Result<Vec<String>, MachineError>;
    fn issue(&self, wanted: &Certificates) -> Result<(), MachineError>;
    /// The administrator's kubeconfig for this server, from the certificates.
    fn kubeconfig(&self, cluster: &str, server: &str) -> Result<String, MachineError>;
    /// What the apiserver has at a path, as its administrator; None: there is no such thing.
    fn get(&self, path: &str) -> Result<Option<Value>, MachineError>;
    /// A strategic merge patch.
    fn patch(&self, path: &str, patch: &Value) -> Result<(), MachineError>;
    /// Since this value was made.
    fn elapsed(&self) -> Duration;
    /// A moment, between two looks at something that comes by itself.
    fn pause(&self);
}
