//! Files below a directory that a container may have written to: each step starts from an open directory and follows no link.
//!
//! A path would be resolved anew by every call, and whoever can write below it could put a symlink there in between.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use nix::errno::Errno;
use nix::fcntl::{
    AT_FDCWD, AtFlags, OFlag, OpenHow, RenameFlags, ResolveFlag, openat, openat2, readlinkat, renameat, renameat2,
};
use nix::sys::stat::{FchmodatFlags, FileStat, Mode, SFlag, fchmod, fchmodat, fstat, fstatat, mkdirat};
use nix::unistd::{Gid, UnlinkatFlags, fchown, fchownat, symlinkat, unlinkat};
use rustix::fs::{RawDir, SeekFrom, fsync, seek};

/// Entries of a directory that are held in memory at a time while a tree is removed.
const ENTRIES_AT_ONCE: usize = 4096;
/// After so many looks at a tree that is removed it is opened anew.
const LOOKS_AT_ONCE: usize = 1 << 16;
/// What a mode says of who may do what, and of set-user-ID and the like.
const PERMISSIONS: u32 = 0o7777;
/// Looks at a file that is there now and gone the next moment.
const FILE_ATTEMPTS_MAX: usize = 16;
/// What one look at a part of a directory takes at most: some hundred entries, or a dozen with the longest names.
const PART_BYTES: usize = 4096;

/// An open directory. Everything asked of it happens below it, on its own mount, and follows no symlink.
#[derive(Debug)]
pub struct Dir(OwnedFd);

impl Dir {
    /// By a path that no container can change.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        Ok(Self(nix::fcntl::open(path, flags, Mode::empty())?))
    }

    pub fn dir(&self, path: impl AsRef<Path>) -> io::Result<Self> {
        Ok(Self(self.open_below(path.as_ref(), OFlag::O_RDONLY | OFlag::O_DIRECTORY, 0)?))
    }

    /// A regular file; anything else that stands there is an error, and is not opened. `mode` is for a new one.
    pub fn file(&self, path: impl AsRef<Path>, flags: OFlag, mode: u32) -> io::Result<File> {
        let path = path.as_ref();
        let makes = flags.contains(OFlag::O_CREAT);
        for _ in 0..FILE_ATTEMPTS_MAX {
            if !flags.contains(OFlag::O_EXCL) {
                match self.open_below(path, OFlag::O_PATH, 0) {
                    Ok(held) => return open_regular(&held, flags),
                    Err(Errno::ENOENT) if makes => {}
                    Err(errno) => return Err(errno.into()),
                }
            }
            match self.open_below(path, flags | OFlag::O_EXCL, mode) {
                // It came between the two looks.
                Err(Errno::EEXIST) if !flags.contains(OFlag::O_EXCL) => {}
                made => return Ok(made?.into()),
            }
        }
        Err(io::Error::new(io::ErrorKind::ResourceBusy, "somebody makes and removes it again and again"))
    }

    /// The directory at `path`, made with all that leads to it where it is missing. What is made has exactly this mode.
    pub fn make_dir(&self, path: impl AsRef<Path>, mode: u32) -> io::Result<Self> {
        let mut here = self.dir(".")?;
        for part in path.as_ref().components() {
            let Component::Normal(name) = part else {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "the path does not only lead down"));
            };
            let made = match mkdirat(&here.0, name, Mode::from_bits_truncate(mode)) {
                Ok(()) => true,
                Err(Errno::EEXIST) => false,
                Err(errno) => return Err(errno.into()),
            };
            here = here.dir(name)?;
            // The umask must not decide what a pod may read.
            if made {
                here.set_mode(mode)?;
            }
        }
        Ok(here)
    }

    /// Returns once what was made, renamed or removed in this directory outlives a power cut.
    pub fn sync(&self) -> io::Result<()> {
        match fsync(&self.0) {
            // A filesystem that is never written to: nothing was made there.
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::ROFS) => Ok(()),
            other => Ok(other?),
        }
    }

    pub fn set_mode(&self, mode: u32) -> io::Result<()> {
        Ok(fchmod(&self.0, Mode::from_bits_truncate(mode))?)
    }

    pub fn set_group(&self, gid: u32) -> io::Result<()> {
        Ok(fchown(&self.0, None, Some(Gid::from_raw(gid)))?)
    }

    /// Gives what stands at the name to the group, and adds to its mode: `file_mode` to a file's, `dir_mode` to a directory's. A
    /// symlink itself is given, as it has no mode. What is gone is fine, and so is what is mounted there.
    pub fn give(&self, name: &OsStr, gid: u32, file_mode: u32, dir_mode: u32) -> io::Result<()> {
        let held = match openat(&self.0, name, OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty()) {
            Err(Errno::ENOENT) => return Ok(()),
            other => other?,
        };
        let (here, stat) = (self.stat()?, fstat(&held)?);
        if stat.st_dev != here.st_dev {
            return Ok(());
        }
        fchownat(&held, "", None, Some(Gid::from_raw(gid)), AtFlags::AT_EMPTY_PATH)?;
        if is_a(&stat, SFlag::S_IFLNK) {
            return Ok(());
        }
        let adds = if is_dir(&stat) { dir_mode } else { file_mode };
        let mode = (stat.st_mode & PERMISSIONS) | adds;
        // The very file that was looked at: this leads to it whatever its name leads to by now.
        let path = format!("/proc/self/fd/{}", held.as_raw_fd());
        let mode = Mode::from_bits_truncate(mode);
        Ok(fchmodat(AT_FDCWD, path.as_str(), mode, FchmodatFlags::FollowSymlink)?)
    }

    /// Of the directory itself.
    pub fn stat(&self) -> io::Result<FileStat> {
        Ok(fstat(&self.0)?)
    }

    /// What stands at the name, if anything does. A symlink is shown as itself.
    pub fn look(&self, name: &OsStr) -> io::Result<Option<FileStat>> {
        match fstatat(&self.0, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    pub fn has_dir(&self, name: &OsStr) -> io::Result<bool> {
        Ok(self.look(name)?.is_some_and(|stat| is_dir(&stat)))
    }

    /// Something else is mounted on the directory of that name.
    pub fn has_mount(&self, name: &OsStr) -> io::Result<bool> {
        match self.open_below(name.as_ref(), OFlag::O_PATH, 0) {
            Ok(_) | Err(Errno::ENOENT | Errno::ELOOP) => Ok(false),
            Err(Errno::EXDEV) => Ok(true),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Where a symlink leads; `None` for anything else and for nothing.
    pub fn link_target(&self, name: &OsStr) -> io::Result<Option<PathBuf>> {
        match readlinkat(&self.0, name) {
            Ok(target) => Ok(Some(target.into())),
            Err(Errno::EINVAL | Errno::ENOENT) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    pub fn symlink(&self, target: &Path, name: &OsStr) -> io::Result<()> {
        Ok(symlinkat(target, &self.0, name)?)
    }

    pub fn rename(&self, from: &OsStr, to: &OsStr) -> io::Result<()> {
        Ok(renameat(&self.0, from, &self.0, to)?)
    }

    /// Names and whether each is a directory, at most `max` of them.
    pub fn entries(&self, max: usize) -> io::Result<Vec<(OsString, bool)>> {
        let entries = std::fs::read_dir(format!("/proc/self/fd/{}", self.0.as_raw_fd()))?;
        let one =
            |entry: io::Result<std::fs::DirEntry>| entry.and_then(|e| Ok((e.file_name(), e.file_type()?.is_dir())));
        entries.take(max).map(one).collect()
    }

    /// The names from `position` on, as many as one look takes, and where the next begin; `None` at the end. The first position
    /// is 0. However many entries there are, no more than this is held in memory, and no file stays open for the rest.
    pub fn part(&self, position: u64) -> io::Result<(Vec<OsString>, Option<u64>)> {
        seek(&self.0, SeekFrom::Start(position))?;
        let mut buffer = [MaybeUninit::uninit(); PART_BYTES];
        let mut entries = RawDir::new(&self.0, &mut buffer);
        let mut names = Vec::new();
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let (name, next) = (OsStr::from_bytes(entry.file_name().to_bytes()), entry.next_entry_cookie());
            if name != "." && name != ".." {
                names.push(name.to_owned());
            }
            if entries.is_buffer_empty() {
                return Ok((names, Some(next)));
            }
        }
        Ok((names, None))
    }

    /// The directory that this one is in, if that is the one that is expected: whoever can write here may have moved this one.
    pub fn parent(&self, expected: &Inode) -> io::Result<Option<Self>> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let parent = match openat(&self.0, "..", flags, Mode::empty()) {
            Err(Errno::ENOENT) => return Ok(None),
            other => Self(other?),
        };
        let is_expected = Inode::of(&parent.stat()?) == *expected;
        Ok(is_expected.then_some(parent))
    }

    /// Removes a file, a symlink or a tree. What is gone is fine. A tree with something mounted in it is an error: what is
    /// mounted there is not ours to remove.
    ///
    /// Containers make trees of any depth: directories are moved up until none is deep, so that neither the stack nor the
    /// number of open files grows with it.
    pub fn remove(&self, name: impl AsRef<OsStr>) -> io::Result<()> {
        let name = name.as_ref();
        while !self.remove_within(name, LOOKS_AT_ONCE)? {}
        Ok(())
    }

    /// As `remove`, with no more looks at the tree than `looks_max`; false: something is left, and less than there was unless
    /// somebody writes to it.
    pub fn remove_within(&self, name: &OsStr, looks_max: usize) -> io::Result<bool> {
        if self.unlink(name)? {
            return Ok(true);
        }
        let top = self.dir(name)?;
        for _ in 0..looks_max {
            let entries = top.entries(ENTRIES_AT_ONCE)?;
            if entries.is_empty() {
                unlinkat(&self.0, name, UnlinkatFlags::RemoveDir)?;
                return Ok(true);
            }
            for (entry, _) in entries {
                if !top.unlink(&entry)? {
                    top.flatten(&entry)?;
                }
            }
        }
        Ok(false)
    }

    /// Removes a directory that is empty; false: there is something in it. What is gone is fine.
    pub fn remove_empty(&self, name: &OsStr) -> io::Result<bool> {
        match unlinkat(&self.0, name, UnlinkatFlags::RemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(true),
            Err(Errno::ENOTEMPTY | Errno::EEXIST) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Whether nothing but a directory can be there now.
    fn unlink(&self, name: &OsStr) -> io::Result<bool> {
        match unlinkat(&self.0, name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(true),
            Err(Errno::EISDIR) => match unlinkat(&self.0, name, UnlinkatFlags::RemoveDir) {
                Ok(()) | Err(Errno::ENOENT) => Ok(true),
                Err(Errno::ENOTEMPTY | Errno::EEXIST) => Ok(false),
                Err(errno) => Err(errno.into()),
            },
            Err(errno) => Err(errno.into()),
        }
    }

    /// Moves the directories in `name` beside it and removes all else in it, as far as one look shows.
    fn flatten(&self, name: &OsStr) -> io::Result<()> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let below = self.dir(name)?;
        for (entry, _) in below.entries(ENTRIES_AT_ONCE)? {
            while !below.unlink(&entry)? {
                let place = format!("..removing-{}", NEXT.fetch_add(1, Ordering::Relaxed));
                match renameat2(&below.0, entry.as_os_str(), &self.0, place.as_str(), RenameFlags::RENAME_NOREPLACE) {
                    Ok(()) => break,
                    // The container had that name too; the next one then.
                    Err(Errno::EEXIST) => {}
                    Err(errno) => return Err(errno.into()),
                }
            }
        }
        Ok(())
    }

    fn open_below(&self, path: &Path, flags: OFlag, mode: u32) -> nix::Result<OwnedFd> {
        // O_CLOEXEC, and a mode only where a file may be made: the kernel refuses one elsewhere.
        let mut how = OpenHow::new().flags(flags | OFlag::O_CLOEXEC).resolve(
            ResolveFlag::RESOLVE_BENEATH
                | ResolveFlag::RESOLVE_NO_SYMLINKS
                | ResolveFlag::RESOLVE_NO_MAGICLINKS
                | ResolveFlag::RESOLVE_NO_XDEV,
        );
        if flags.contains(OFlag::O_CREAT) {
            how = how.mode(Mode::from_bits_truncate(mode));
        }
        openat2(self.0.as_fd(), path, how)
    }
}

/// Opens what `held` (`O_PATH`) stands for if it is a regular file. To open a device is to use it (a watchdog then wants to be
/// fed), and a pipe wakes who waits at its other end: so the look comes first.
pub fn open_regular(held: &OwnedFd, flags: OFlag) -> io::Result<File> {
    if !is_a(&fstat(held)?, SFlag::S_IFREG) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    // The very file that was looked at: its name may lead to another by now. Not blocking, as somebody may have a lease on it.
    let flags = flags.difference(OFlag::O_CREAT | OFlag::O_EXCL) | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let path = format!("/proc/self/fd/{}", held.as_raw_fd());
    Ok(nix::fcntl::open(path.as_str(), flags, Mode::empty())?.into())
}

/// What a file or a directory is, under whatever name it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Inode {
    device: u64,
    number: u64,
}

impl Inode {
    pub fn of(stat: &FileStat) -> Self {
        Self { device: stat.st_dev, number: stat.st_ino }
    }
}

pub fn is_dir(stat: &FileStat) -> bool {
    is_a(stat, SFlag::S_IFDIR)
}

fn is_a(stat: &FileStat, kind: SFlag) -> bool {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == kind
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn temp() -> (tempfile::TempDir, Dir) {
        let held = tempfile::tempdir().unwrap();
        let dir = Dir::open(held.path()).unwrap();
        (held, dir)
    }

    #[test]
    fn no_link_leads_anywhere() {
        let (held, dir) = temp();
        let (outside, _) = temp();
        std::fs::write(outside.path().join("secret"), "x").unwrap();
        symlink(outside.path(), held.path().join("out")).unwrap();
        symlink(outside.path().join("secret"), held.path().join("file")).unwrap();
        std::fs::create_dir(held.path().join("in")).unwrap();
        symlink("in", held.path().join("same")).unwrap();
        let write = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_APPEND;
        for path in ["out", "out/x", "same", "..", "in/../..", "/etc"] {
            assert!(dir.dir(path).is_err(), "{path}");
            assert!(dir.make_dir(path, 0o755).is_err(), "{path}");
        }
        for path in ["file", "out/secret", "out/new", "/etc/passwd"] {
            assert!(dir.file(path, write, 0o600).is_err(), "{path}");
        }
        assert!(dir.file("in/new", write, 0o600).is_ok());
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 1);
    }

    /// To open one says more than that there is one: a pipe without a reader and a socket have errors of their own.
    #[test]
    fn what_is_no_regular_file_is_not_even_opened() {
        let (held, dir) = temp();
        nix::unistd::mkfifo(&held.path().join("pipe"), Mode::from_bits_truncate(0o600)).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(held.path().join("socket")).unwrap();
        let device = nix::sys::stat::makedev(511, 0);
        // Only root may; no driver has that number.
        let _ = nix::sys::stat::mknod(&held.path().join("device"), SFlag::S_IFCHR, Mode::empty(), device);
        for name in ["pipe", "socket", "device"].iter().filter(|name| held.path().join(name).exists()) {
            for flags in [OFlag::O_RDONLY, OFlag::O_WRONLY, OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_APPEND] {
                let refused = dir.file(name, flags, 0o600).unwrap_err();
                assert_eq!(refused.to_string(), "it is not a regular file", "{name} {flags:?}");
            }
        }
    }

    #[test]
    fn a_file_is_made_where_there_is_none_and_opened_where_there_is_one() {
        use std::io::Write as _;
        let (held, dir) = temp();
        let append = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_APPEND;
        assert_eq!(dir.file("f", OFlag::O_WRONLY, 0).unwrap_err().kind(), io::ErrorKind::NotFound);
        for text in ["a", "b"] {
            dir.file("f", append, 0o600).unwrap().write_all(text.as_bytes()).unwrap();
        }
        assert_eq!(std::fs::read_to_string(held.path().join("f")).unwrap(), "ab");
        assert_eq!(dir.file("f", append | OFlag::O_EXCL, 0o600).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        dir.file("f", append | OFlag::O_TRUNC, 0o600).unwrap();
        assert_eq!(std::fs::metadata(held.path().join("f")).unwrap().len(), 0);
    }

    #[test]
    fn a_tree_goes_whatever_its_depth_and_what_its_links_lead_to_stays() {
        let (held, dir) = temp();
        let (outside, _) = temp();
        std::fs::write(outside.path().join("kept"), "x").unwrap();
        let mut here = dir.make_dir("tree", 0o755).unwrap();
        // Deeper than any stack or any limit of open files allows for.
        for depth in 0..3_000 {
            here = here.make_dir("d", 0o755).unwrap();
            if depth % 500 == 0 {
                here.symlink(outside.path(), "out".as_ref()).unwrap();
                here.make_dir("..removing-1/x", 0o755).unwrap();
            }
        }
        drop(here);
        dir.remove("tree").unwrap();
        assert_eq!(std::fs::read_dir(held.path()).unwrap().count(), 0);
        assert!(outside.path().join("kept").exists());
        dir.remove("tree").expect("what is gone is fine");
    }

    #[test]
    fn a_tree_goes_in_parts() {
        let (held, dir) = temp();
        dir.make_dir("d/".repeat(40), 0o755).unwrap();
        let name = OsStr::new("d");
        let mut times = 1;
        while !dir.remove_within(name, 10).unwrap() {
            times += 1;
        }
        assert!((2..=10).contains(&times), "{times}");
        assert_eq!(std::fs::read_dir(held.path()).unwrap().count(), 0);
        assert!(dir.remove_within(name, 0).unwrap(), "what is gone is fine");
    }

    #[test]
    fn a_directory_and_what_it_is_in_are_written_to_the_disk() {
        let (_held, dir) = temp();
        dir.make_dir("d", 0o755).unwrap().sync().unwrap();
        Dir::open(Path::new("/proc")).unwrap().sync().expect("there is no disk below it");
        dir.sync().unwrap();
        dir.remove("d").unwrap();
        dir.sync().unwrap();
    }

    #[test]
    fn what_is_mounted_in_a_tree_is_not_removed() {
        let (held, dir) = temp();
        let (outside, _) = temp();
        std::fs::write(outside.path().join("kept"), "x").unwrap();
        dir.make_dir("tree/mounted", 0o755).unwrap();
        let point = held.path().join("tree/mounted");
        let bound =
            nix::mount::mount(Some(outside.path()), &point, None::<&str>, nix::mount::MsFlags::MS_BIND, None::<&str>);
        // Only root may mount.
        if bound.is_err() {
            return;
        }
        let removed = dir.remove("tree");
        nix::mount::umount2(&point, nix::mount::MntFlags::MNT_DETACH).unwrap();
        assert!(removed.is_err());
        assert!(outside.path().join("kept").exists());
        dir.remove("tree").unwrap();
    }
}
