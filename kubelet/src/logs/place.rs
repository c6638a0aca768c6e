//! Where logs are, and how they are opened: a pod that has the node's log directory mounted can plant links in it, and the
//! kubelet and the loggers, who are root, must not follow them.

use std::fs::File;
use std::io;
use std::path::Path;

use nix::fcntl::OFlag;

use crate::beneath::Dir;

/// `<pod>/<container>/<attempt>.log`: what of a log's path is ours, below `--log-dir`.
const OWN_PARTS: usize = 3;
const DIR_MODE: u32 = 0o755;
/// As upstream's runtimes make them.
const FILE_MODE: u32 = 0o640;

/// Opens a log, or makes it where `flags` say so.
pub(crate) fn open(log: &Path, flags: OFlag) -> io::Result<File> {
    let (root, below) = split(log)?;
    Dir::open(root)?.file(below, flags, FILE_MODE)
}

/// The directory that the log and its rotated parts are in.
pub(crate) fn dir_of(log: &Path) -> io::Result<Dir> {
    let (root, below) = split(log)?;
    Dir::open(root)?.dir(below.parent().unwrap_or(Path::new(".")))
}

/// Makes the log's directory if it is missing.
pub(crate) fn make_dir_of(log: &Path) -> io::Result<()> {
    let (root, below) = split(log)?;
    std::fs::create_dir_all(root)?;
    Dir::open(root)?.make_dir(below.parent().unwrap_or(Path::new(".")), DIR_MODE).map(drop)
}

/// Makes the directory of a pod's logs if it is missing.
pub(crate) fn make_pod_dir(dir: &Path) -> io::Result<()> {
    let (Some(root), Some(name)) = (dir.parent(), dir.file_name()) else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the path has no last part"));
    };
    std::fs::create_dir_all(root)?;
    Dir::open(root)?.make_dir(name, DIR_MODE).map(drop)
}

fn split(log: &Path) -> io::Result<(&Path, &Path)> {
    let root = log.ancestors().nth(OWN_PARTS).unwrap_or(Path::new("/"));
    let below = log.strip_prefix(root).map_err(io::Error::other)?;
    Ok((root, below))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_link_in_the_log_directory_is_neither_read_nor_written_through() {
        let held = tempfile::tempdir().unwrap();
        let outside = held.path().join("outside");
        std::fs::create_dir_all(outside.join("c")).unwrap();
        std::fs::write(outside.join("c/0.log"), "kept").unwrap();
        let logs = held.path().join("logs");
        type Plant = fn(logs: &Path, outside: &Path);
        let plants: [(&str, Plant); 3] = [
            ("the log", |logs, outside| {
                std::fs::create_dir_all(logs.join("pod/c")).unwrap();
                symlink(outside.join("c/0.log"), logs.join("pod/c/0.log")).unwrap();
            }),
            ("the container's directory", |logs, outside| {
                std::fs::create_dir_all(logs.join("pod")).unwrap();
                symlink(outside.join("c"), logs.join("pod/c")).unwrap();
            }),
            ("the pod's directory", |logs, outside| {
                std::fs::create_dir_all(logs).unwrap();
                symlink(outside, logs.join("pod")).unwrap();
            }),
        ];
        for (why, plant) in plants {
            plant(&logs, &outside);
            let log = logs.join("pod/c/0.log");
            assert!(open(&log, OFlag::O_RDONLY).is_err(), "{why}");
            assert!(open(&log, OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_APPEND).is_err(), "{why}");
            crate::volumes::remove_tree(&logs).unwrap();
            assert_eq!(std::fs::read_to_string(outside.join("c/0.log")).unwrap(), "kept", "{why}");
        }
        let log = logs.join("pod/c/0.log");
        make_dir_of(&log).unwrap();
        open(&log, OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_APPEND)
            .expect("without links there is nothing to refuse");
    }
}
