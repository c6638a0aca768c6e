//! Whether a volume takes more of the disk than it may, whatever a container has put there: hard links, wide and deep trees,
//! directories that are moved meanwhile. Blocking I/O.

use std::collections::HashSet;
use std::io;
use std::path::Path;

use nix::sys::stat::FileStat;

use super::walk::{Walk, WalkError};
use crate::beneath::{Dir, Inode, is_dir};

/// Files with several names that are remembered, so that each counts once: 16 bytes each.
const LINKED_MAX: usize = 65_536;
/// What `st_blocks` counts in.
const BLOCK_BYTES: u64 = 512;

/// Whether what is below `path` takes more than `limit_bytes`; stops looking where it does. What vanishes meanwhile counts as
/// nothing, and so does what is mounted there.
pub(super) fn exceeds(path: &Path, limit_bytes: u64) -> Result<bool, WalkError> {
    let root = match Dir::open(path) {
        Ok(root) => root,
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(err) => return Err(err.into()),
    };
    let mut usage = Usage::of(root)?;
    while usage.used_bytes <= limit_bytes {
        if !usage.step()? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// What has been counted so far.
struct Usage {
    walk: Walk,
    used_bytes: u64,
    linked: Linked,
}

impl Usage {
    fn of(root: Dir) -> io::Result<Self> {
        let used_bytes = bytes(&root.stat()?);
        let linked = Linked { seen: HashSet::new(), max: LINKED_MAX };
        Ok(Self { walk: Walk::of(root)?, used_bytes, linked })
    }

    /// False at the end.
    fn step(&mut self) -> Result<bool, WalkError> {
        let Self { walk, used_bytes, linked } = self;
        walk.step(&mut |_, _, stat| {
            let adds = if is_dir(stat) { bytes(stat) } else { linked.bytes(stat) };
            *used_bytes = used_bytes.saturating_add(adds);
            Ok(())
        })
    }
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
