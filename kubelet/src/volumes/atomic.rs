//! Puts files into a volume so that a reader sees either all of the old ones or all of the new ones.
//!
//! The files live in a directory with a time for a name; `..data` is a symlink to it that is replaced by rename, and
//! what users see are symlinks through `..data`. The layout is upstream's, as programs that watch it depend on it.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Component, Path, PathBuf};

use nix::fcntl::OFlag;

use super::payload::File;
use crate::beneath::Dir;

const DATA: &str = "..data";
const DATA_NEXT: &str = "..data_tmp";
/// What we make ourselves begins so: keys of a volume cannot.
const OURS: &str = "..";
const DIR_MODE: u32 = 0o755;
/// Only we can have the file open until it has its own mode.
const MODE_WHILE_WRITTEN: u32 = 0o600;
/// A volume holds one entry for each file and each directory on the way to it; more are not looked at.
const ENTRIES_MAX: usize = 65_536;
/// Paths in a volume are at most 4,096 bytes long, but nobody nests them like this.
const DEPTH_MAX: usize = 64;

/// Makes `dir` hold exactly `files`. Nothing is touched if it already does.
pub fn write(dir: &Dir, files: &BTreeMap<String, File>, fs_group: Option<u32>) -> io::Result<()> {
    if current(dir)?.is_some_and(|current| holds(&current, files, fs_group)) {
        return link_top_level(dir, files);
    }
    remove_unfinished(dir)?;
    let stamp = jiff::Timestamp::now().strftime("..%Y_%m_%d_%H_%M_%S.%N").to_string();
    let fresh = dir.make_dir(&stamp, DIR_MODE)?;
    for (path, file) in files {
        write_file(&fresh, Path::new(path), file, fs_group)?;
    }
    dir.remove(DATA_NEXT)?;
    dir.symlink(Path::new(&stamp), DATA_NEXT.as_ref())?;
    // A rename replaces a link, but no directory that somebody planted.
    if dir.has_dir(DATA.as_ref())? {
        dir.remove(DATA)?;
    }
    dir.rename(DATA_NEXT.as_ref(), DATA.as_ref())?;
    link_top_level(dir, files)?;
    remove_leftovers(dir, files, stamp.as_ref())
}

/// Whether [`write`] has put files there before.
pub fn is_filled(dir: &Dir) -> io::Result<bool> {
    current(dir).map(|found| found.is_some())
}

/// The directory with the present files.
fn current(dir: &Dir) -> io::Result<Option<Dir>> {
    let Some(target) = dir.link_target(DATA.as_ref())? else { return Ok(None) };
    // A link that is not one of ours leads nowhere that counts.
    let is_ours = target.to_str().is_some_and(|t| t.starts_with(OURS)) && target.components().count() == 1;
    Ok(if is_ours { dir.dir(target).ok() } else { None })
}

fn write_file(base: &Dir, path: &Path, file: &File, fs_group: Option<u32>) -> io::Result<()> {
    let name = path.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "a file has no name"))?;
    let parent = base.make_dir(path.parent().unwrap_or(Path::new("")), DIR_MODE)?;
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL;
    let mut target = parent.file(name, flags, MODE_WHILE_WRITTEN)?;
    target.write_all(&file.bytes)?;
    std::os::unix::fs::fchown(&target, file.owner, fs_group)?;
    target.set_permissions(std::fs::Permissions::from_mode(mode_for(file, fs_group)))
}

/// With an fsGroup its members may read whatever the owner may.
fn mode_for(file: &File, fs_group: Option<u32>) -> u32 {
    if fs_group.is_some() { file.mode | 0o440 } else { file.mode }
}

fn holds(current: &Dir, files: &BTreeMap<String, File>, fs_group: Option<u32>) -> bool {
    let mut seen = BTreeSet::new();
    if list(current, Path::new(""), DEPTH_MAX, &mut seen).is_err() || seen.len() != files.len() {
        return false;
    }
    files.iter().all(|(path, file)| {
        seen.contains(Path::new(path)) && is_same(current, path, file, fs_group).is_ok_and(|same| same)
    })
}

fn is_same(current: &Dir, path: &str, wanted: &File, fs_group: Option<u32>) -> io::Result<bool> {
    let file = current.file(path, OFlag::O_RDONLY, 0)?;
    let meta = file.metadata()?;
    let as_wanted = meta.mode() & 0o777 == mode_for(wanted, fs_group)
        && fs_group.is_none_or(|gid| meta.gid() == gid)
        && wanted.owner.is_none_or(|uid| meta.uid() == uid)
        && meta.len() == wanted.bytes.len() as u64;
    let mut bytes = Vec::new();
    if as_wanted {
        file.take(meta.len()).read_to_end(&mut bytes)?;
    }
    Ok(as_wanted && bytes == wanted.bytes)
}

fn list(base: &Dir, below: &Path, depth: usize, found: &mut BTreeSet<PathBuf>) -> io::Result<()> {
    let too_much = || io::Error::other("there is more than we put there");
    let dir = if below.as_os_str().is_empty() { base.dir(".")? } else { base.dir(below)? };
    for (name, is_dir) in dir.entries(ENTRIES_MAX)? {
        let path = below.join(name);
        if is_dir {
            list(base, &path, depth.checked_sub(1).ok_or_else(too_much)?, found)?;
        } else {
            found.insert(path);
        }
    }
    if found.len() < ENTRIES_MAX { Ok(()) } else { Err(too_much()) }
}

fn top_level(files: &BTreeMap<String, File>) -> BTreeSet<&str> {
    files.keys().filter_map(|path| path.split('/').next()).collect()
}

fn link_top_level(dir: &Dir, files: &BTreeMap<String, File>) -> io::Result<()> {
    for name in top_level(files) {
        let (wanted, name) = (Path::new(DATA).join(name), OsStr::new(name));
        if dir.link_target(name)?.as_ref() == Some(&wanted) {
            continue;
        }
        // Another volume is mounted there: it hides what this one has by that name.
        if dir.has_dir(name)? {
            continue;
        }
        dir.remove(name)?;
        dir.symlink(&wanted, name)?;
    }
    Ok(())
}

/// What is left of attempts that did not get to their end. They are made again and again, and would fill the disk, or the
/// memory that a volume may take: then none could succeed any more.
fn remove_unfinished(dir: &Dir) -> io::Result<()> {
    let used = dir.link_target(DATA.as_ref())?;
    for (name, _) in dir.entries(ENTRIES_MAX)? {
        let is_used = name == DATA || used.as_deref() == Some(Path::new(&name));
        if name.to_string_lossy().starts_with(OURS) && !is_used {
            dir.remove(&name)?;
        }
    }
    Ok(())
}

/// Old data and links to files that are no more. Directories that other volumes are mounted on stay.
fn remove_leftovers(dir: &Dir, files: &BTreeMap<String, File>, stamp: &OsStr) -> io::Result<()> {
    let wanted = top_level(files);
    let is_old = |name: &OsString| -> io::Result<bool> {
        let text = name.to_string_lossy();
        if text.starts_with(OURS) {
            return Ok(text != DATA && name != stamp);
        }
        let through_data =
            dir.link_target(name)?.is_some_and(|to| to.components().next() == Some(Component::Normal(DATA.as_ref())));
        Ok(through_data && !wanted.contains(&*text))
    };
    for (name, _) in dir.entries(ENTRIES_MAX)? {
        if is_old(&name)? {
            dir.remove(&name)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
