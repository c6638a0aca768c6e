//! hostPath volumes: a path of the node, checked or made as its type says.
//!
//! <https://kubernetes.io/docs/concepts/storage/volumes/#hostpath-volume-types>

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::HostPathVolumeSource;

use super::{Cause, io_error};

/// Of a file that is made, less the umask.
const FILE_MODE: u32 = 0o644;

/// Returns the path if it is what its type wants.
pub(super) fn check(source: &HostPathVolumeSource) -> Result<PathBuf, Cause> {
    let path = Path::new(&source.path);
    let is = |wanted: &'static str, test: fn(&std::fs::FileType) -> bool| match std::fs::metadata(path) {
        Ok(meta) if test(&meta.file_type()) => Ok(()),
        Ok(_) => Err(Cause::HostPathType { path: source.path.clone(), wanted }),
        Err(err) if err.kind() == io::ErrorKind::NotFound => {
            Err(Cause::HostPathType { path: source.path.clone(), wanted })
        }
        Err(err) => Err(io_error("cannot look at", path)(err)),
    };
    match source.type_.as_deref().unwrap_or_default() {
        "" => {
            // containerd would refuse a source that is missing; Docker made a directory, and upstream's users rely on it.
            if !path.exists() {
                std::fs::create_dir_all(path).map_err(io_error("cannot make", path))?;
            }
        }
        "DirectoryOrCreate" => {
            std::fs::create_dir_all(path).map_err(io_error("cannot make", path))?;
            is("directory", std::fs::FileType::is_dir)?;
        }
        "FileOrCreate" => {
            make_file(path).map_err(io_error("cannot make", path))?;
            is("file", std::fs::FileType::is_file)?;
        }
        "Directory" => is("directory", std::fs::FileType::is_dir)?,
        "File" => is("file", std::fs::FileType::is_file)?,
        "Socket" => is("socket file", std::fs::FileType::is_socket)?,
        "CharDevice" => is("character device", std::fs::FileType::is_char_device)?,
        "BlockDevice" => is("block device", std::fs::FileType::is_block_device)?,
        other => return Err(Cause::HostPathTypeUnknown { given: other.into() }),
    }
    Ok(path.to_owned())
}

/// An empty file, unless something is there. Whatever came there a moment ago keeps its contents, and nothing is made where a
/// link that a container has planted leads.
fn make_file(path: &Path) -> io::Result<()> {
    match OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(path) {
        Err(err) if err.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other.map(drop),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn file_or_create(path: &Path) -> Result<PathBuf, String> {
        let source = HostPathVolumeSource { path: path.display().to_string(), type_: Some("FileOrCreate".into()) };
        check(&source).map_err(|err| err.to_string())
    }

    #[test]
    fn a_file_that_somebody_makes_at_the_same_time_keeps_its_contents() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        std::fs::write(&path, "theirs").unwrap();
        // It was not there when we looked.
        make_file(&path).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "theirs");
        assert_eq!(file_or_create(&path), Ok(path));
    }

    #[test]
    fn a_file_is_made_where_nothing_is_and_not_where_a_planted_link_leads() {
        let dir = tempfile::tempdir().unwrap();
        let (new, link, elsewhere) = (dir.path().join("new"), dir.path().join("link"), dir.path().join("elsewhere"));
        assert_eq!(file_or_create(&new), Ok(new.clone()));
        assert_eq!(std::fs::metadata(&new).unwrap().len(), 0);
        symlink(&elsewhere, &link).unwrap();
        assert_eq!(file_or_create(&link), Err(format!("hostPath type check failed: {} is not a file", link.display())));
        assert!(!elsewhere.exists());
        // A link that an administrator made to a file is fine.
        std::fs::write(&elsewhere, "x").unwrap();
        assert_eq!(file_or_create(&link), Ok(link));
    }
}
