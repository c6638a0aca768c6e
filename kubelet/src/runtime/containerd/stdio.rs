//! Standard input and outputs of processes: FIFOs, and the logger that reads them where the shim starts none.
#![allow(unsafe_code, reason = "a logger of ours gets its pipes under the numbers that the shim would use")]

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::stat::Mode;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;

use super::RuntimeError;
use crate::logs::logger;

/// A logger opens its log in well under this, or never.
const LOGGER_READY_MAX: Duration = Duration::from_secs(10);

fn io(doing: &'static str, path: &Path, source: std::io::Error) -> RuntimeError {
    RuntimeError::Io { doing, path: path.display().to_string(), source }
}

/// The three FIFOs of a process, in a directory of their own.
pub(super) struct Fifos {
    pub(super) dir: PathBuf,
    pub(super) stdin: PathBuf,
    pub(super) stdout: PathBuf,
    pub(super) stderr: PathBuf,
}

impl Fifos {
    pub(super) fn make(dir: &Path) -> Result<Self, RuntimeError> {
        let fifos =
            Self { dir: dir.into(), stdin: dir.join("stdin"), stdout: dir.join("stdout"), stderr: dir.join("stderr") };
        let failed = |e| io("making FIFOs in", dir, e);
        std::fs::create_dir_all(dir).map_err(failed)?;
        for path in [&fifos.stdin, &fifos.stdout, &fifos.stderr] {
            match nix::unistd::mkfifo(path, Mode::S_IRUSR | Mode::S_IWUSR) {
                Ok(()) | Err(nix::errno::Errno::EEXIST) => {}
                Err(e) => return Err(failed(e.into())),
            }
        }
        Ok(fifos)
    }

    /// Readers that need no writer yet. They see an end until the shim has opened its side, so they are read later.
    pub(super) fn open_outputs(&self) -> Result<[File; 2], RuntimeError> {
        let open = |path: &PathBuf| {
            let opened = File::options().read(true).custom_flags(nix::libc::O_NONBLOCK).open(path);
            opened.map_err(|e| io("opening", path, e))
        };
        Ok([open(&self.stdout)?, open(&self.stderr)?])
    }
}

/// A process's standard input. Read-write, so that it opens at once, whether or not the shim has opened its side.
pub(super) fn open_input(path: &Path) -> Result<pipe::Sender, RuntimeError> {
    pipe::OpenOptions::new().read_write(true).open_sender(path).map_err(|e| io("opening", path, e))
}

/// Starts the logger as the shim would, for a container whose output cannot go to it directly, and waits as the shim does
/// until it has opened the log.
pub(super) async fn start_logger(program: &Path, log: &Path, outputs: [File; 2]) -> Result<(), RuntimeError> {
    let failed = |e: std::io::Error| io("starting the logger", program, e);
    let (ready, ready_writer) = nix::unistd::pipe2(OFlag::O_CLOEXEC).map_err(|e| failed(e.into()))?;
    spawn_logger(program, log, &outputs, ready_writer).map_err(failed)?;
    let mut ready = pipe::Receiver::from_owned_fd(ready).map_err(failed)?;
    let mut nothing = [0; 1];
    match tokio::time::timeout(LOGGER_READY_MAX, ready.read(&mut nothing)).await {
        Ok(end) => end.map(drop).map_err(failed),
        Err(elapsed) => Err(failed(elapsed.into())),
    }
}

fn spawn_logger(program: &Path, log: &Path, outputs: &[File; 2], ready: OwnedFd) -> std::io::Result<()> {
    // Above the numbers they go to, so that moving one does not overwrite another.
    const ABOVE: i32 = 10;
    let up = |fd: std::os::fd::BorrowedFd<'_>| {
        let number = fcntl(fd, FcntlArg::F_DUPFD_CLOEXEC(ABOVE))?;
        // SAFETY: made just now, and known to nobody else.
        Ok::<_, std::io::Error>(unsafe { <OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(number) })
    };
    for output in outputs {
        // The logger's reads wait.
        fcntl(output.as_fd(), FcntlArg::F_SETFL(OFlag::empty()))?;
    }
    let moved = [up(outputs[0].as_fd())?, up(outputs[1].as_fd())?, up(ready.as_fd())?];
    drop(ready);
    let numbers = [(moved[0].as_raw_fd(), 3), (moved[1].as_raw_fd(), 4), (moved[2].as_raw_fd(), 5)];
    let mut command = std::process::Command::new(program);
    command.arg(logger::QUERY_KEY).arg(log).stdin(std::process::Stdio::null());
    // SAFETY: dup2 and setsid are async-signal-safe, and nothing is allocated between fork and exec.
    unsafe {
        command.pre_exec(move || {
            for (from, to) in numbers {
                if nix::libc::dup2(from, to) < 0 {
                    return Err(std::io::Error::last_os_error());
                }
            }
            nix::unistd::setsid()?;
            Ok(())
        });
    }
    let mut child = command.spawn()?;
    // Reaped when it ends, which is when the container does.
    std::thread::Builder::new().name("logger-reaper".into()).spawn(move || child.wait())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_input_opens_without_a_reader_and_not_without_its_fifo() {
        let dir = tempfile::tempdir().unwrap();
        let fifos = Fifos::make(&dir.path().join("exec")).unwrap();
        open_input(&fifos.stdin).expect("nobody reads yet");
        std::fs::remove_file(&fifos.stdin).unwrap();
        let refused = open_input(&fifos.stdin).unwrap_err();
        assert!(matches!(refused, RuntimeError::Io { doing: "opening", .. }), "{refused:?}");
    }
}
