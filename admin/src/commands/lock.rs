//! One `cortenadm` at a time changes a machine: two would each undo the half of what the other does.
use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

use super::Failure;

const LOCK: &str = "/run/cortenadm.lock";
const OWNER_ONLY: u32 = 0o600;

/// Held as long as the file is open: a process that dies leaves nothing behind.
pub(crate) fn take() -> Result<File, Failure> {
    take_at(&path())
}

/// Who is not root changes no machine, but makes certificates in a directory of its own.
fn path() -> PathBuf {
    let user = nix::unistd::geteuid();
    if user.is_root() { LOCK.into() } else { std::env::temp_dir().join(format!("cortenadm-{user}.lock")) }
}

fn take_at(path: &Path) -> Result<File, Failure> {
    let failed = |source| Failure::File { doing: "lock", path: path.into(), source };
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(OWNER_ONLY)
        .custom_flags(OFlag::O_NOFOLLOW.bits())
        .open(path)
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Failure::Busy { path: path.into() }),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holds_it_until_it_ends() {
        let path = std::env::temp_dir().join(format!("cortenadm-lock-{}", std::process::id()));
        let first = take_at(&path).unwrap();
        let error = take_at(&path).unwrap_err().to_string();
        assert!(error.starts_with("another cortenadm is at work on this machine"), "{error}");
        drop(first);
        take_at(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
    }
}
