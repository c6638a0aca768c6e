//! Puts files into a volume so that a reader sees either all of the old ones or all of the new ones.
//!
//! The files live in a directory with a time for a name; `..data` is a symlink to it that is replaced by rename, and
//! what users see are symlinks through `..data`. The layout is upstream's, as programs that watch it depend on it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use super::payload::File;

const DATA: &str = "..data";
const DATA_NEXT: &str = "..data_tmp";

/// Makes `dir` hold exactly `files`. Nothing is touched if it already does.
pub fn write(dir: &Path, files: &BTreeMap<String, File>, fs_group: Option<i64>) -> io::Result<()> {
    let current = std::fs::read_link(dir.join(DATA)).ok().map(|name| dir.join(name));
    if current.as_deref().is_some_and(|current| holds(current, files, fs_group)) {
        return link_top_level(dir, files);
    }
    let stamp = jiff::Timestamp::now().strftime("..%Y_%m_%d_%H_%M_%S.%N").to_string();
    let fresh = dir.join(&stamp);
    std::fs::create_dir(&fresh)?;
    std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(0o755))?;
    for (path, file) in files {
        write_file(&fresh, path, file, fs_group)?;
    }
    let next = dir.join(DATA_NEXT);
    match std::fs::remove_file(&next) {
        Err(err) if err.kind() != io::ErrorKind::NotFound => return Err(err),
        _ => {}
    }
    symlink(&stamp, &next)?;
    std::fs::rename(&next, dir.join(DATA))?;
    link_top_level(dir, files)?;
    remove_leftovers(dir, files, &stamp)
}

fn write_file(base: &Path, path: &str, file: &File, fs_group: Option<i64>) -> io::Result<()> {
    let target = base.join(path);
    if let Some(parent) = target.parent() {
        std::fs::create_dir_all(parent)?;
    }
    std::fs::write(&target, &file.bytes)?;
    std::fs::set_permissions(&target, std::fs::Permissions::from_mode(mode_for(file, fs_group)))?;
    if let Some(gid) = fs_group.and_then(|g| u32::try_from(g).ok()) {
        std::os::unix::fs::chown(&target, None, Some(gid))?;
    }
    Ok(())
}

/// With an fsGroup its members may read whatever the owner may.
fn mode_for(file: &File, fs_group: Option<i64>) -> u32 {
    if fs_group.is_some() { file.mode | 0o440 } else { file.mode }
}

fn holds(current: &Path, files: &BTreeMap<String, File>, fs_group: Option<i64>) -> bool {
    let mut seen = BTreeSet::new();
    if list(current, Path::new(""), &mut seen).is_err() || seen.len() != files.len() {
        return false;
    }
    files.iter().all(|(path, file)| {
        let target = current.join(path);
        let mode = std::fs::metadata(&target).map(|m| m.permissions().mode() & 0o777);
        seen.contains(Path::new(path))
            && mode.is_ok_and(|m| m == mode_for(file, fs_group))
            && std::fs::read(&target).is_ok_and(|have| have == file.bytes)
    })
}

fn list(base: &Path, below: &Path, found: &mut BTreeSet<PathBuf>) -> io::Result<()> {
    for entry in std::fs::read_dir(base.join(below))? {
        let entry = entry?;
        let path = below.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            list(base, &path, found)?;
        } else {
            found.insert(path);
        }
    }
    Ok(())
}

fn top_level(files: &BTreeMap<String, File>) -> BTreeSet<&str> {
    files.keys().filter_map(|path| path.split('/').next()).collect()
}

fn link_top_level(dir: &Path, files: &BTreeMap<String, File>) -> io::Result<()> {
    for name in top_level(files) {
        match symlink(Path::new(DATA).join(name), dir.join(name)) {
            Err(err) if err.kind() == io::ErrorKind::AlreadyExists => {}
            other => other?,
        }
    }
    Ok(())
}

/// Old data and links to files that are no more.
fn remove_leftovers(dir: &Path, files: &BTreeMap<String, File>, stamp: &str) -> io::Result<()> {
    let wanted = top_level(files);
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        if name == DATA || name == stamp || wanted.contains(name) {
            continue;
        }
        if entry.file_type()?.is_dir() {
            std::fs::remove_dir_all(entry.path())?;
        } else {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(list: &[(&str, &str)]) -> BTreeMap<String, File> {
        list.iter().map(|(p, t)| ((*p).to_owned(), File { bytes: t.as_bytes().to_vec(), mode: 0o644 })).collect()
    }

    #[test]
    fn an_update_replaces_everything_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        write(dir, &files(&[("a", "1"), ("sub/b", "2")]), None).unwrap();
        assert_eq!(std::fs::read_to_string(dir.join("sub/b")).unwrap(), "2");
        let first = std::fs::read_link(dir.join(DATA)).unwrap();

        write(dir, &files(&[("a", "1"), ("sub/b", "2")]), None).unwrap();
        assert_eq!(std::fs::read_link(dir.join(DATA)).unwrap(), first, "the same files are left alone");

        write(dir, &files(&[("a", "new")]), None).unwrap();
        assert_eq!(std::fs::read_to_string(dir.join("a")).unwrap(), "new");
        assert!(!dir.join("sub").exists() && !dir.join(first).exists(), "nothing old is left");
    }
}
