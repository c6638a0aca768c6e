//! Signals that tell a container to stop, instead of its image's.
//!
//! <https://kubernetes.io/docs/concepts/containers/container-lifecycle-hooks/#stop-signals>

use corten_api::Problems;

use super::os;
use crate::registry::check;
use crate::registry::path::Path;

const OF_WINDOWS: &[&str] = &["SIGKILL", "SIGTERM"];
/// Sorted, as they are listed when another is asked for.
const OF_LINUX: &[&str] = &[
    "SIGABRT",
    "SIGALRM",
    "SIGBUS",
    "SIGCHLD",
    "SIGCLD",
    "SIGCONT",
    "SIGFPE",
    "SIGHUP",
    "SIGILL",
    "SIGINT",
    "SIGIO",
    "SIGIOT",
    "SIGKILL",
    "SIGPIPE",
    "SIGPOLL",
    "SIGPROF",
    "SIGPWR",
    "SIGQUIT",
    "SIGRTMAX",
    "SIGRTMAX-1",
    "SIGRTMAX-10",
    "SIGRTMAX-11",
    "SIGRTMAX-12",
    "SIGRTMAX-13",
    "SIGRTMAX-14",
    "SIGRTMAX-2",
    "SIGRTMAX-3",
    "SIGRTMAX-4",
    "SIGRTMAX-5",
    "SIGRTMAX-6",
    "SIGRTMAX-7",
    "SIGRTMAX-8",
    "SIGRTMAX-9",
    "SIGRTMIN",
    "SIGRTMIN+1",
    "SIGRTMIN+10",
    "SIGRTMIN+11",
    "SIGRTMIN+12",
    "SIGRTMIN+13",
    "SIGRTMIN+14",
    "SIGRTMIN+15",
    "SIGRTMIN+2",
    "SIGRTMIN+3",
    "SIGRTMIN+4",
    "SIGRTMIN+5",
    "SIGRTMIN+6",
    "SIGRTMIN+7",
    "SIGRTMIN+8",
    "SIGRTMIN+9",
    "SIGSEGV",
    "SIGSTKFLT",
    "SIGSTOP",
    "SIGSYS",
    "SIGTERM",
    "SIGTRAP",
    "SIGTSTP",
    "SIGTTIN",
    "SIGTTOU",
    "SIGURG",
    "SIGUSR1",
    "SIGUSR2",
    "SIGVTALRM",
    "SIGWINCH",
    "SIGXCPU",
    "SIGXFSZ",
];

/// `os`: of the pod, as far as it says.
pub(super) fn validate(signal: &str, os: Option<&str>, at: &Path<'_>, problems: &mut Problems) {
    match os {
        None => problems.forbidden(at, "may not be set for containers with empty `spec.os.name`"),
        Some(os::WINDOWS) => check::known_word(problems, at, signal, OF_WINDOWS),
        Some(os::LINUX) => check::known_word(problems, at, signal, OF_LINUX),
        // Which is refused itself.
        Some(_) => {}
    }
}
