//! What each subcommand does: arguments in, text and an exit code out.
pub(crate) mod config;
pub(crate) mod init;
pub(crate) mod kubeconfig;
pub(crate) mod lock;
pub(crate) mod pki;
pub(crate) mod preflight;
pub(crate) mod units;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use cortenadm::config::ConfigError;
use cortenadm::pki::PkiError;
use cortenadm::preflight::PreflightError;
use cortenadm::steps::StepError;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Pki(#[from] PkiError),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Preflight(#[from] PreflightError),
    #[error(transparent)]
    Step(#[from] StepError),
    #[error("cannot {doing} {}", path.display())]
    File { doing: &'static str, path: PathBuf, source: std::io::Error },
    #[error(
        "`init` made nothing on this machine (there is neither /etc/corten/cluster.yaml nor anything in /var/lib/corten/admin): \
         what was set up by hand is taken back by hand"
    )]
    NeverBegun,
    #[error("another cortenadm is at work on this machine: wait until it ends ({} is locked)", path.display())]
    Busy { path: PathBuf },
    #[error("{} is not a certificate in PEM", path.display())]
    NotPem { path: PathBuf },
    #[error("cannot render the kubeconfig")]
    Render(#[from] serde_json::Error),
}

/// A reader that has seen enough (`| head`) is no failure.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(source) if source.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::File { doing: "write to", path: "standard output".into(), source })
        }
        _ => Ok(()),
    }
}

pub(crate) fn read(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(|source| Failure::File { doing: "read", path: path.into(), source })
}
