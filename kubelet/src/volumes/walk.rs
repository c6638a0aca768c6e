//! A walk through a tree that containers may change meanwhile: wide and deep ones, directories that are moved. Blocking I/O.

use std::ffi::{OsStr, OsString};
use std::io;

use nix::errno::Errno;
use nix::sys::stat::FileStat;

use crate::beneath::{Dir, Inode, is_dir};

/// Twice as deep as the longest path that a program can name.
pub(super) const DEPTH_MAX: usize = 4096;
/// How often the way back may be lost because a directory was moved while it was looked into.
pub(super) const MOVES_MAX: usize = 1000;

#[derive(Debug, thiserror::Error)]
pub(super) enum WalkError {
    #[error("its directories are nested more than {DEPTH_MAX} deep")]
    TooDeep,
    #[error("its directories are moved all the time")]
    Restless,
    #[error("it cannot be looked into")]
    Io(#[from] io::Error),
}

/// What is done with a name in a directory.
pub(super) type Visit<'a> = dyn FnMut(&Dir, &OsStr, &FileStat) -> io::Result<()> + 'a;

/// A directory that is being looked into.
pub(super) struct Level {
    /// In the level above.
    pub(super) name: OsString,
    inode: Inode,
    /// Directories in it that come next.
    below: Vec<OsString>,
    /// Where its next entries begin, if there are more.
    next: Option<u64>,
}

/// A walk through a tree of any width that has two directories open, however deep it is.
pub(super) struct Walk {
    root: Dir,
    /// The last of the levels.
    here: Dir,
    pub(super) levels: Vec<Level>,
    pub(super) moves: usize,
}

impl Walk {
    /// What is mounted below `root` is not walked through.
    pub(super) fn of(root: Dir) -> io::Result<Self> {
        let (here, inode) = (root.dir(".")?, Inode::of(&root.stat()?));
        let level = Level { name: ".".into(), inode, below: Vec::new(), next: Some(0) };
        Ok(Self { root, here, levels: vec![level], moves: 0 })
    }

    /// One look, one step down or one step up; false at the end. `visit` is given what one look shows, directories too, each
    /// with the directory that it is in.
    pub(super) fn step(&mut self, visit: &mut Visit<'_>) -> Result<bool, WalkError> {
        let Some(level) = self.levels.last_mut() else { return Ok(false) };
        if let Some(name) = level.below.pop() {
            self.descend(name)?;
        } else if let Some(position) = level.next.take() {
            self.look(position, visit)?;
        } else {
            self.levels.pop();
            self.ascend()?;
        }
        Ok(!self.levels.is_empty())
    }

    fn look(&mut self, position: u64, visit: &mut Visit<'_>) -> io::Result<()> {
        let (names, next) = match self.here.part(position) {
            // Removed since it was opened.
            Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        };
        let Some(level) = self.levels.last_mut() else { return Ok(()) };
        level.next = next;
        for name in names {
            let Some(stat) = self.here.look(&name)? else { continue };
            visit(&self.here, &name, &stat)?;
            if is_dir(&stat) {
                level.below.push(name);
            }
        }
        Ok(())
    }

    fn descend(&mut self, name: OsString) -> Result<(), WalkError> {
        let below = match self.here.dir(&name) {
            Ok(below) => below,
            Err(err) if is_no_directory_of_ours(&err) => return Ok(()),
            Err(err) => return Err(err.into()),
        };
        if self.levels.len() > DEPTH_MAX {
            return Err(WalkError::TooDeep);
        }
        let inode = Inode::of(&below.stat()?);
        self.levels.push(Level { name, inode, below: Vec::new(), next: Some(0) });
        self.here = below;
        Ok(())
    }

    fn ascend(&mut self) -> Result<(), WalkError> {
        let Some(level) = self.levels.last() else { return Ok(()) };
        if let Some(parent) = self.here.parent(&level.inode)? {
            self.here = parent;
            return Ok(());
        }
        self.moves += 1;
        if self.moves > MOVES_MAX {
            return Err(WalkError::Restless);
        }
        Ok(self.find_back()?)
    }

    /// From the top to the deepest level that is still in its place. What was moved is visited where it is now, if the walk has
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
pub(super) fn is_no_directory_of_ours(err: &io::Error) -> bool {
    let errno = err.raw_os_error().map(Errno::from_raw);
    matches!(errno, Some(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP | Errno::EXDEV))
}
