//! Whether a volume takes more of the disk than it may, whatever a container has put there: hard links, wide and deep trees,
//! directories that are moved meanwhile. Blocking I/O.

use std::collections::HashSet;
use std::ffi::OsString;
use std::io;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::stat::FileStat;

use crate::beneath::{Dir, Inode, is_dir};

/// Twice as deep as the longest path that a program can name.
const DEPTH_MAX: usize = 4096;
/// Files with several names that are remembered, so that each counts once: 16 bytes each.
const LINKED_MAX: usize = 65_536;
/// How often the way back may be lost because a directory was moved while it was looked into.
const MOVES_MAX: usize = 1000;
/// What `st_blocks` counts in.
const BLOCK_BYTES: u64 = 512;

#[derive(Debug, thiserror::Error)]
pub(super) enum UsageError {
    #[error("its directories are nested more than {DEPTH_MAX} deep")]
    TooDeep,
    #[error("its directories are moved all the time")]
    Restless,
    #[error("it cannot be looked into")]
    Io(#[from] io::Error),
}

/// Whether what is below `path` takes more than `limit_bytes`; stops looking where it does. What vanishes meanwhile counts as
/// nothing, and so does what is mounted there.
pub(super) fn exceeds(path: &Path, limit_bytes: u64) -> Result<bool, UsageError> {
    let mut walk = match Dir::open(path) {
        Ok(root) => Walk::of(root)?,
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(err) => return Err(err.into()),
    };
    while walk.used_bytes <= limit_bytes {
        if !walk.step()? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A directory that is being looked into.
struct Level {
    /// In the level above.
    name: OsString,
    inode: Inode,
    /// Directories in it that come next.
    below: Vec<OsString>,
    /// Where its next entries begin, if there are more.
    next: Option<u64>,
}

/// A walk through a tree of any width that has two directories open, however deep it is.
struct Walk {
    root: Dir,
    /// The last of the levels.
    here: Dir,
    levels: Vec<Level>,
    used_bytes: u64,
    linked: Linked,
    moves: usize,
}

impl Walk {
    fn of(root: Dir) -> io::Result<Self> {
        let (here, stat) = (root.dir(".")?, root.stat()?);
        let level = Level { name: ".".into(), inode: Inode::of(&stat), below: Vec::new(), next: Some(0) };
        let linked = Linked { seen: HashSet::new(), max: LINKED_MAX };
        Ok(Self { root, here, levels: vec![level], used_bytes: bytes(&stat), linked, moves: 0 })
    }

    /// One look, one step down or one step up; false at the end.
    fn step(&mut self) -> Result<bool, UsageError> {
        let Some(level) = self.levels.last_mut() else { return Ok(false) };
        if let Some(name) = level.below.pop() {
            self.descend(name)?;
        } else if let Some(position) = level.next.take() {
            self.look(position)?;
        } else {
            self.levels.pop();
            self.ascend()?;
        }
        Ok(!self.levels.is_empty())
    }

    fn look(&mut self, position: u64) -> io::Result<()> {
        let (names, next) = match self.here.part(position) {
            // Removed since it was opened.
            Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        };
        let Some(level) = self.levels.last_mut() else { return Ok(()) };
        level.next = next;
        for name in names {
            let Some(stat) = self.here.look(&name)? else { continue };
            if is_dir(&stat) {
                self.used_bytes = self.used_bytes.saturating_add(bytes(&stat));
                level.below.push(name);
            } else {
                self.used_bytes = self.used_bytes.saturating_add(self.linked.bytes(&stat));
            }
        }
        Ok(())
    }

    fn descend(&mut self, name: OsString) -> Result<(), UsageError> {
        let below = match self.here.dir(&name) {
            Ok(below) => below,
            Err(err) if is_no_directory_of_ours(&err) => return Ok(()),
            Err(err) => return Err(err.into()),
        };
        if self.levels.len() > DEPTH_MAX {
            return Err(UsageError::TooDeep);
        }
        let inode = Inode::of(&below.stat()?);
        self.levels.push(Level { name, inode, below: Vec::new(), next: Some(0) });
        self.here = below;
        Ok(())
    }

    fn ascend(&mut self) -> Result<(), UsageError> {
        let Some(level) = self.levels.last() else { return Ok(()) };
        if let Some(parent) = self.here.parent(&level.inode)? {
            self.here = parent;
            return Ok(());
        }
        self.moves += 1;
        if self.moves > MOVES_MAX {
            return Err(UsageError::Restless);
        }
        Ok(self.find_back()?)
    }

    /// From the top to the deepest level that is still in its place. What was moved is counted where it is now, if the walk has
    /// not been there yet.
    fn find_back(&mut self) -> io::Result<()> {
        self.here = self.root.dir(".")?;
        for depth in 1..self.levels.len() {
            let level = &self.levels[depth];
            let below = match self.here.dir(&level.name) {
                Ok(below) => Some(below),
                Err(err) if is_no_directory_of_ours(&err) => None,
                Err(err) => return Err(err),
            };
            match below {
                Some(below) if Inode::of(&below.stat()?) == level.inode => self.here = below,
                _ => {
                    self.levels.truncate(depth);
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

/// It has gone since it was seen, is a link now, or something is mounted on it.
fn is_no_directory_of_ours(err: &io::Error) -> bool {
    let errno = err.raw_os_error().map(Errno::from_raw);
    matches!(errno, Some(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP | Errno::EXDEV))
}

/// Files that have several names.
struct Linked {
    seen: HashSet<Inode>,
    max: usize,
}

impl Linked {
    /// What this name of a file adds. All names of a file are in the same volume, as no link leads from one mount to another: of
    /// a file that there is no room to remember each name adds its share, which comes to the same.
    fn bytes(&mut self, stat: &FileStat) -> u64 {
        if stat.st_nlink <= 1 {
            return bytes(stat);
        }
        let inode = Inode::of(stat);
        if self.seen.contains(&inode) {
            return 0;
        }
        if self.seen.len() < self.max {
            self.seen.insert(inode);
            return bytes(stat);
        }
        bytes(stat).div_ceil(stat.st_nlink)
    }
}

fn bytes(stat: &FileStat) -> u64 {
    u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(BLOCK_BYTES)
}

#[cfg(test)]
mod tests;
