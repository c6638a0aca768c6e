//! What can go wrong with a container runtime, by what its callers do about it.

use std::path::PathBuf;
use std::time::Duration;

/// Which of the four refusals an answer is, is found in `runtime/containerd/rpc.rs`; nobody else reads their messages.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    #[error("no container runtime answers on {address}: start containerd, or set --containerd")]
    Unavailable {
        address: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("there is no container or sandbox {id}")]
    NotFound { id: String },
    #[error("container {id} is not running")]
    NotRunning { id: String },
    /// The spec cannot be run, whoever tries: wording for `CreateContainerConfigError`.
    #[error(transparent)]
    BadSpec(#[from] BadSpec),
    /// The runtime refused, for a reason that nothing depends on: wording for `CreateContainerError`, `RunContainerError`
    /// or `FailedCreatePodSandBox`.
    #[error("{doing}: {message}")]
    Refused { doing: &'static str, message: String },
    /// Refused: the command does not exist or may not be run, what a shell calls 126 and 127.
    #[error("{doing}: {message}")]
    BadCommand { doing: &'static str, message: String },
    /// Refused: the process has ended, or never ran.
    #[error("{doing}: {message}")]
    ProcessOver { doing: &'static str, message: String },
    /// Refused: the shim that was asked is on its way out. Asked again, another one answers, or there is no process.
    #[error("{doing}: {message}")]
    ShimGone { doing: &'static str, message: String },
    #[error("command timed out after {}s", after.as_secs_f64())]
    Timeout { after: Duration },
    #[error("{id} exists already")]
    Exists { id: String },
    #[error("the runtime closed the session with {id} before the process ended")]
    SessionLost { id: String },
    #[error("its output cannot be followed")]
    Log(#[source] crate::logs::LogError),
    #[error("{doing} {path}")]
    Io {
        doing: &'static str,
        path: String,
        #[source]
        source: std::io::Error,
    },
    #[error("{id} is larger than the {max_bytes} bytes that a document of its kind may have")]
    TooLarge { id: String, max_bytes: u64 },
    /// Nothing that the caller or the runtime did: the node, or a bug of ours.
    #[error("{doing}")]
    Internal {
        doing: &'static str,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// What is wrong with a spec.
#[derive(Debug, thiserror::Error)]
pub enum BadSpec {
    #[error("no command specified: neither the pod nor the image names one")]
    NoCommand,
    #[error("you must specify at least one command for the container")]
    NoExecCommand,
    #[error("unknown capability \"CAP_{0}\" to add or drop")]
    UnknownCapability(String),
    #[error("unable to find user {0}: no matching entries in passwd file")]
    UnknownUser(String),
    #[error("unable to find group {0}: no matching entries in group file")]
    UnknownGroup(String),
    #[error("sysctl {0:?} is not in a namespace of the pod's own")]
    ForeignSysctl(String),
    #[error("cannot read /{name} of the image")]
    UserFile {
        name: &'static str,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot load seccomp profile {}", path.display())]
    SeccompProfile {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

impl RuntimeError {
    /// For `map_err`.
    pub(crate) fn internal<E>(doing: &'static str) -> impl FnOnce(E) -> Self
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        move |source| Self::Internal { doing, source: source.into() }
    }

    /// The runtime answered, and did not do what it was asked.
    pub fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::Refused { .. } | Self::BadCommand { .. } | Self::ProcessOver { .. } | Self::ShimGone { .. }
        )
    }
}
