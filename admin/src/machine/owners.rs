//! To whom files belong, and how they are given away: by handles of the files themselves, so that whoever may write in a
//! directory cannot put a link in between that makes another file theirs.
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag};
use nix::unistd::{Uid, User, fchownat};

use super::{Look, MachineError};

/// etcd's data are three directories deep.
const DEPTH_MAX: usize = 16;
/// How many of another's files are named.
const NAMED_MAX: usize = 8;

pub(super) fn look(path: &Path) -> Result<Option<Look>, MachineError> {
    let failed = |source| MachineError::File { doing: "look at", path: path.into(), source };
    let meta = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        found => found.map_err(failed)?,
    };
    let uid = Uid::from_raw(meta.uid());
    let user = User::from_uid(uid).map_err(|errno| failed(errno.into()))?;
    Ok(Some(Look {
        user: user.map_or_else(|| uid.to_string(), |user| user.name),
        mode: meta.permissions().mode() & 0o7777,
        is_link: meta.is_symlink(),
    }))
}

pub(super) fn set_owner(path: &Path, user: &str) -> Result<(), MachineError> {
    let (user, file) = (user_of(user)?, no_link(path)?);
    give(path, &file, &user)
}

pub(super) fn others_in(dir: &Path, user: &str) -> Result<Vec<PathBuf>, MachineError> {
    let (user, mut others) = (user_of(user)?, Vec::new());
    walk(dir, &no_link(dir)?, DEPTH_MAX, &mut |path, _, meta| {
        if meta.uid() != user.uid.as_raw() && others.len() < NAMED_MAX {
            others.push(path.to_owned());
        }
        Ok(())
    })?;
    Ok(others)
}

/// A file with another name somewhere is not given away: it may be one of root's own.
pub(super) fn give_all_in(dir: &Path, user: &str) -> Result<(), MachineError> {
    let user = user_of(user)?;
    walk(dir, &no_link(dir)?, DEPTH_MAX, &mut |path, file, meta| {
        if meta.uid() == user.uid.as_raw() {
            return Ok(());
        }
        match meta.is_file() && meta.nlink() > 1 {
            true => Err(MachineError::Link(path.to_owned())),
            false => give(path, file, &user),
        }
    })
}

/// Shows everything in a directory, at any depth. What is no directory has nothing in it; links are refused.
fn walk(
    dir: &Path,
    handle_of_dir: &File,
    depth: usize,
    visit: &mut dyn FnMut(&Path, &File, &Metadata) -> Result<(), MachineError>,
) -> Result<(), MachineError> {
    let failed = |source| MachineError::File { doing: "list", path: dir.into(), source };
    if !handle_of_dir.metadata().map_err(failed)?.is_dir() {
        return Ok(());
    }
    if depth == 0 {
        return Err(failed(io::Error::other("its directories are too deep for data of a program")));
    }
    for entry in fs::read_dir(itself(handle_of_dir)).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let path = dir.join(&name);
        let file = match handle(&itself(handle_of_dir).join(&name)) {
            // Programs remove files while they are looked at.
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            opened => opened.map_err(failed)?,
        };
        let meta = file.metadata().map_err(failed)?;
        if meta.is_symlink() {
            return Err(MachineError::Link(path));
        }
        visit(&path, &file, &meta)?;
        walk(&path, &file, depth - 1, visit)?;
    }
    Ok(())
}

pub(super) fn set_mode(path: &Path, mode: u32) -> Result<(), MachineError> {
    let set = fs::set_permissions(itself(&no_link(path)?), fs::Permissions::from_mode(mode));
    set.map_err(|source| MachineError::File { doing: "set the mode of", path: path.into(), source })
}

fn user_of(name: &str) -> Result<User, MachineError> {
    let failed = |errno: Errno| MachineError::File { doing: "look for", path: name.into(), source: errno.into() };
    User::from_name(name).map_err(failed)?.ok_or_else(|| MachineError::NoUser(name.to_owned()))
}

fn give(path: &Path, file: &File, user: &User) -> Result<(), MachineError> {
    fchownat(file, "", Some(user.uid), Some(user.gid), AtFlags::AT_EMPTY_PATH).map_err(|errno| MachineError::File {
        doing: "give away",
        path: path.into(),
        source: errno.into(),
    })
}

/// A handle of what is at a path, and an error if that is a link.
fn no_link(path: &Path) -> Result<File, MachineError> {
    let failed = |source| MachineError::File { doing: "open", path: path.into(), source };
    let file = handle(path).map_err(failed)?;
    match file.metadata().map_err(failed)?.is_symlink() {
        true => Err(MachineError::Link(path.into())),
        false => Ok(file),
    }
}

/// Of a link itself, if it is one.
fn handle(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags((OFlag::O_PATH | OFlag::O_NOFOLLOW).bits()).open(path)
}

/// Where the kernel shows what a handle is of.
fn itself(file: &File) -> PathBuf {
    Path::new("/proc/self/fd").join(file.as_raw_fd().to_string())
}
