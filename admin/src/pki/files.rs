//! Reads and writes PEM files. A file is either the old one or the new one, never half; keys are for the owner alone.
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use super::PkiError;
use super::issue::PemPair;

const PRIVATE_MODE: u32 = 0o600;
const PUBLIC_MODE: u32 = 0o644;
/// Of a group or of all.
const OTHERS_WRITE: u32 = 0o022;
/// How deep certificates are looked for (`nodes/<name>/kubelet.crt`).
const DEPTH_MAX: usize = 3;

/// The mode of a file of the PKI directory: keys are for their owner alone, all else is for everybody.
pub fn mode_of(file: &str) -> u32 {
    if file.ends_with(".key") { PRIVATE_MODE } else { PUBLIC_MODE }
}

pub(super) fn read(path: &Path) -> Result<String, PkiError> {
    fs::read_to_string(path).map_err(|source| PkiError::File { doing: "read", path: path.into(), source })
}

/// Whose a file is that is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// Whoever writes it.
    Writer,
    /// As that of the file that it replaces: etcd's keys are etcd's, and whoever reads a key reads the new one, too.
    AsBefore,
}

/// Two files cannot be changed as one: after a crash in between, the next run sees that they do not fit.
pub(super) fn write_pair(cert: &Path, key: &Path, pair: &PemPair, owner: Owner) -> Result<(), PkiError> {
    write(key, &pair.key, PRIVATE_MODE, owner)?;
    write(cert, &pair.cert, PUBLIC_MODE, owner)
}

pub(super) fn write_private(path: &Path, text: &str) -> Result<(), PkiError> {
    write(path, text, PRIVATE_MODE, Owner::Writer)
}

pub(super) fn write_public(path: &Path, text: &str) -> Result<(), PkiError> {
    write(path, text, PUBLIC_MODE, Owner::Writer)
}

fn write(path: &Path, text: &str, mode: u32, owner: Owner) -> Result<(), PkiError> {
    let failed = |doing| move |source| PkiError::File { doing, path: path.into(), source };
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(failed("make the directory of"))?;
    }
    // The whole name: a certificate and its key have the same, but for what comes last.
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    // One that a crash left behind may have wider permissions than `mode`, which only applies to a new file.
    match fs::remove_file(&new) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed("replace")(error)),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&new).map_err(failed("create"))?;
    // The umask has taken from it.
    file.set_permissions(Permissions::from_mode(mode)).map_err(failed("set the mode of"))?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed("write"))?;
    if owner == Owner::AsBefore {
        keep_owner(path, &file).map_err(failed("keep the owner of"))?;
    }
    fs::rename(&new, path).map_err(failed("rename into"))
}

/// Only where nobody but ourselves puts files: in the directory of another, he would choose by a file whose the new key is.
fn keep_owner(old: &Path, new: &File) -> std::io::Result<()> {
    let found = match fs::symlink_metadata(old) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        found => found?,
    };
    let is = new.metadata()?;
    let dir = fs::metadata(old.parent().unwrap_or(Path::new(".")))?;
    let ours = dir.uid() == is.uid() && dir.mode() & OTHERS_WRITE == 0;
    if !found.is_file() || !ours || (found.uid(), found.gid()) == (is.uid(), is.gid()) {
        return Ok(());
    }
    fchown(new, Some(found.uid()), Some(found.gid()))
}

pub(super) fn certificates_under(dir: &Path) -> Result<Vec<PathBuf>, PkiError> {
    let mut found = Vec::new();
    collect(dir, DEPTH_MAX, &mut found)?;
    found.sort();
    Ok(found)
}

fn collect(dir: &Path, depth: usize, found: &mut Vec<PathBuf>) -> Result<(), PkiError> {
    let failed = |source| PkiError::File { doing: "list", path: dir.into(), source };
    for entry in fs::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_dir() && depth > 1 {
            collect(&path, depth - 1, found)?;
        } else if path.extension().is_some_and(|extension| extension == "crt") {
            found.push(path);
        }
    }
    Ok(())
}
