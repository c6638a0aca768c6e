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

/// Binds `volume/sub_path` to `target`; directories that are missing are made, with the volume's own permissions: who may write
/// in the volume may write in them.
pub(super) fn bind(volume: &Path, sub_path: &Path, target: &Path) -> io::Result<()> {
    if sub_path.is_absolute() || sub_path.components().any(|c| c == Component::ParentDir) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "subPath must be relative and without \"..\""));
    }
    let root = nix::fcntl::open(volume, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?;
    let inside = match open_beneath(&root, sub_path) {
        Err(Errno::ENOENT) => make_beneath(&root, sub_path)?,
        other => other?,
    };
    let link = by_descriptor(&inside);
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
    let mode = std::fs::metadata(by_descriptor(root))?.permissions();
    for part in path.components() {
        let made = match mkdirat(&here, Path::new(&part), Mode::from_bits_truncate(0o700)) {
            Ok(()) => true,
            Err(Errno::EEXIST) => false,
            Err(errno) => return Err(errno.into()),
        };
        here = open_beneath(&here, Path::new(&part))?;
        if made {
            // Not with the making: the process's umask must not decide what a pod may write.
            std::fs::set_permissions(by_descriptor(&here), mode.clone())?;
        }
    }
    Ok(here)
}

/// What is open, by a name that leads to nothing else.
fn by_descriptor(open: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", open.as_raw_fd())
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
    fn directories_for_a_sub_path_have_the_volumes_permissions() {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        for of_volume in [0o777, 0o2770, 0o750] {
            let dir = tempfile::tempdir().unwrap();
            std::fs::create_dir(dir.path().join("old")).unwrap();
            std::fs::set_permissions(dir.path().join("old"), std::fs::Permissions::from_mode(0o711)).unwrap();
            std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(of_volume)).unwrap();
            let root = nix::fcntl::open(dir.path(), OFlag::O_PATH, Mode::empty()).unwrap();
            make_beneath(&root, Path::new("a/b")).unwrap();
            make_beneath(&root, Path::new("old/c")).unwrap();
            let got = ["a", "a/b", "old", "old/c"].map(|name| mode(&dir.path().join(name)));
            assert_eq!(got, [of_volume, of_volume, 0o711, of_volume], "{of_volume:o}");
        }
    }

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
