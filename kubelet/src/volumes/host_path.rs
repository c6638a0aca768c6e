//! hostPath volumes: a path of the node, checked or made as its type says.
//!
//! <https://kubernetes.io/docs/concepts/storage/volumes/#hostpath-volume-types>

use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::HostPathVolumeSource;

use super::{Cause, io_error};

/// Returns the path if it is what its type wants.
pub(super) fn check(source: &HostPathVolumeSource) -> Result<PathBuf, Cause> {
    let path = Path::new(&source.path);
    let is = |wanted: &'static str, test: fn(&std::fs::FileType) -> bool| match std::fs::metadata(path) {
        Ok(meta) if test(&meta.file_type()) => Ok(()),
        Ok(_) => Err(Cause::HostPathType { path: source.path.clone(), wanted }),
        Err(err) if err.kind() == std::io::ErrorKind::NotFound => {
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
            if !path.exists() {
                std::fs::File::create(path).map_err(io_error("cannot make", path))?;
            }
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
