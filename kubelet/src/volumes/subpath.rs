//! subPath: a place inside a volume, bound to a place of our own so that a symlink cannot lead a container out of it.
//!
//! The kernel resolves the path beneath the volume (openat2, RESOLVE_BENEATH), and what is bound is the open file, not the
//! name: a container that changes the volume meanwhile changes nothing.

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Component, Path};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::mount::MsFlags;
use nix::sys::stat::{Mode, mkdirat};

/// Binds `volume/sub_path` to `target`; directories that are missing are made.
pub(super) fn bind(volume: &Path, sub_path: &Path, target: &Path) -> io::Result<()> {
    if sub_path.is_absolute() || sub_path.components().any(|c| c == Component::ParentDir) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "subPath must be relative and without \"..\""));
    }
    let root = nix::fcntl::open(volume, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?;
    let inside = match open_beneath(&root, sub_path) {
        Err(Errno::ENOENT) => make_beneath(&root, sub_path)?,
        other => other?,
    };
    let link = format!("/proc/self/fd/{}", inside.as_raw_fd());
    let is_dir = std::fs::metadata(&link)?.is_dir();
    make_target(target, is_dir)?;
    nix::mount::mount(Some(link.as_str()), target, None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>)?;
    Ok(())
}

fn open_beneath(root: &OwnedFd, path: &Path) -> nix::Result<OwnedFd> {
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    openat2(root, path, how)
}

fn make_beneath(root: &OwnedFd, path: &Path) -> io::Result<OwnedFd> {
    let mut here = open_beneath(root, Path::new("."))?;
    for part in path.components() {
        match mkdirat(&here, Path::new(&part), Mode::from_bits_truncate(0o750)) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(errno) => return Err(errno.into()),
        }
        here = open_beneath(&here, Path::new(&part))?;
    }
    Ok(here)
}

fn make_target(target: &Path, is_dir: bool) -> io::Result<()> {
    if is_dir {
        return std::fs::create_dir_all(target);
    }
    if let Some(parent) = target.parent() {
        std::fs::create_dir_all(parent)?;
    }
    std::fs::File::options().create(true).append(true).open(target).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_symlink_cannot_lead_out() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("in")).unwrap();
        std::os::unix::fs::symlink("/etc", dir.path().join("out")).unwrap();
        std::os::unix::fs::symlink("in", dir.path().join("same")).unwrap();
        let root = nix::fcntl::open(dir.path(), OFlag::O_PATH, Mode::empty()).unwrap();
        assert_eq!(open_beneath(&root, Path::new("out/passwd")).unwrap_err(), Errno::EXDEV);
        assert_eq!(open_beneath(&root, Path::new("out")).unwrap_err(), Errno::EXDEV);
        assert!(open_beneath(&root, Path::new("same")).is_ok(), "one that stays inside is fine");
        assert!(make_beneath(&root, Path::new("a/b")).is_ok() && dir.path().join("a/b").is_dir());
    }
}
