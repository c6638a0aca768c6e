//! Reads and writes PEM files. A file is either the old one or the new one, never half; keys are for the owner alone.
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use super::PkiError;
use super::issue::PemPair;

const PRIVATE_MODE: u32 = 0o600;
const PUBLIC_MODE: u32 = 0o644;
/// How deep certificates are looked for (`nodes/<name>/kubelet.crt`).
const DEPTH_MAX: usize = 3;

/// The mode of a file of the PKI directory: keys are for their owner alone, all else is for everybody.
pub fn mode_of(file: &str) -> u32 {
    if file.ends_with(".key") { PRIVATE_MODE } else { PUBLIC_MODE }
}

pub(super) fn read(path: &Path) -> Result<String, PkiError> {
    fs::read_to_string(path).map_err(|source| PkiError::File { doing: "read", path: path.into(), source })
}

/// Two files cannot be changed as one: after a crash in between, the next run sees that they do not fit.
pub(super) fn write_pair(cert: &Path, key: &Path, pair: &PemPair) -> Result<(), PkiError> {
    write_private(key, &pair.key)?;
    write_public(cert, &pair.cert)
}

pub(super) fn write_private(path: &Path, text: &str) -> Result<(), PkiError> {
    write(path, text, PRIVATE_MODE)
}

pub(super) fn write_public(path: &Path, text: &str) -> Result<(), PkiError> {
    write(path, text, PUBLIC_MODE)
}

fn write(path: &Path, text: &str, mode: u32) -> Result<(), PkiError> {
    let failed = |doing| move |source| PkiError::File { doing, path: path.into(), source };
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(failed("make the directory of"))?;
    }
    let new = path.with_extension("new");
    // One that a crash left behind may have wider permissions than `mode`, which only applies to a new file.
    match fs::remove_file(&new) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed("replace")(error)),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&new).map_err(failed("create"))?;
    // The umask has taken from it.
    file.set_permissions(Permissions::from_mode(mode)).map_err(failed("set the mode of"))?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed("write"))?;
    keep_owner(path, &file).map_err(failed("keep the owner of"))?;
    fs::rename(&new, path).map_err(failed("rename into"))
}

/// etcd's keys are etcd's: what is renewed must be readable by who reads it.
fn keep_owner(old: &Path, new: &File) -> std::io::Result<()> {
    let old = match fs::metadata(old) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        found => found?,
    };
    let is = new.metadata()?;
    if (old.uid(), old.gid()) == (is.uid(), is.gid()) {
        return Ok(());
    }
    fchown(new, Some(old.uid()), Some(old.gid()))
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
