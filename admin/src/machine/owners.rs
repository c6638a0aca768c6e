//! To whom files belong, and how they are given away: by handles of the files themselves, so that whoever may write in a
//! directory cannot put a link in between that makes another file theirs.
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag};
use nix::unistd::{Uid, User, fchownat};

use super::{Look, MachineError};

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
