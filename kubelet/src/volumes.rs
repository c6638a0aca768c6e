//! Volumes of pods: what should be in them, how it gets there, and where a container finds it. Blocking I/O throughout.
//!
//! Layout of a pod's directory (`<root-dir>/pods/<uid>`): `volumes/<name>`, `volume-subpaths/<volume>/<container>/<n>`,
//! `etc-hosts`, `resolv.conf`, `hostname`, `containers/<name>/<attempt>` (termination messages).

pub mod atomic;
mod host_path;
pub mod limits;
mod mounts;
mod ownership;
pub mod payload;
mod subpath;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use corten_api::quantity::Quantity;
use k8s_openapi::api::core::v1::{EmptyDirVolumeSource, Pod, Volume};
use nix::mount::MsFlags;

use crate::downward::{Downward, FieldError};
use crate::sources::{Missing, Sources};

pub use mounts::{MountError, container_mounts};
use payload::Payload;

/// Tmpfs for data that must not reach a disk (secrets): bytes at most.
const SECRET_TMPFS_BYTES: u64 = 16 << 20;

#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    #[error("MountVolume.SetUp failed for volume {volume:?} : {source}")]
    Volume {
        volume: String,
        #[source]
        source: Cause,
    },
    #[error("cannot take down the volumes in {}", path.display())]
    TearDown {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// What is wrong with one volume.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    #[error(transparent)]
    Missing(#[from] Missing),
    #[error(transparent)]
    Field(#[from] FieldError),
    #[error("references non-existent {kind} key: {key}")]
    NoKey { kind: &'static str, key: String },
    #[error("path {path:?} in the volume must be relative and must not contain \"..\"")]
    BadPath { path: String },
    #[error("hostPath type check failed: {path} is not a {wanted}")]
    HostPathType { path: String, wanted: &'static str },
    #[error("hostPath type {given:?} is not known")]
    HostPathTypeUnknown { given: String },
    #[error("volumes of type {kind} are not supported by this node")]
    Unsupported { kind: &'static str },
    #[error("sizeLimit {given:?} is not a quantity")]
    SizeLimit { given: String },
    #[error("{doing} {}: {source}", path.display())]
    Io {
        doing: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

pub(crate) fn io_error(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Cause {
    let path = path.to_owned();
    move |source| Cause::Io { doing, path, source }
}

/// Where each volume of a pod is on the node.
pub type Paths = BTreeMap<String, PathBuf>;

/// Makes all volumes of the pod, or brings what is in them up to date. May be repeated.
pub fn set_up(pod: &Pod, pod_dir: &Path, sources: &Sources, downward: &Downward<'_>) -> Result<Paths, VolumeError> {
    let mut paths = Paths::new();
    let spec = pod.spec.as_ref();
    let fs_group = spec.and_then(|s| s.security_context.as_ref()).and_then(|c| c.fs_group);
    for volume in spec.iter().flat_map(|s| s.volumes.iter().flatten()) {
        let fail = |source| VolumeError::Volume { volume: volume.name.clone(), source };
        let path = set_up_one(volume, pod_dir, sources, downward, fs_group).map_err(fail)?;
        paths.insert(volume.name.clone(), path);
    }
    Ok(paths)
}

fn set_up_one(
    volume: &Volume,
    pod_dir: &Path,
    sources: &Sources,
    downward: &Downward<'_>,
    fs_group: Option<i64>,
) -> Result<PathBuf, Cause> {
    let path = pod_dir.join("volumes").join(&volume.name);
    if let Some(host) = &volume.host_path {
        return host_path::check(host);
    }
    if let Some(empty) = &volume.empty_dir {
        empty_dir(empty, &path)?;
    } else {
        let payload = payload::of(volume, sources, downward)?;
        write(&payload, &path, fs_group)?;
        return Ok(path);
    }
    if let Some(gid) = fs_group {
        ownership::give_to_group(&path, gid).map_err(io_error("cannot give to fsGroup", &path))?;
    }
    Ok(path)
}

fn write(payload: &Payload, path: &Path, fs_group: Option<i64>) -> Result<(), Cause> {
    make_dir(path, 0o755)?;
    if payload.secret && !is_mount_point(path) {
        mount_tmpfs(path, SECRET_TMPFS_BYTES)?;
    }
    atomic::write(path, &payload.files, fs_group).map_err(io_error("cannot write", path))
}

fn empty_dir(source: &EmptyDirVolumeSource, path: &Path) -> Result<(), Cause> {
    let fresh = !path.exists();
    make_dir(path, 0o777)?;
    if source.medium.as_deref() == Some("Memory") && !is_mount_point(path) {
        let limit = match &source.size_limit {
            None => None,
            Some(q) => Some(Quantity::from_wire(q).map_err(|_| Cause::SizeLimit { given: q.0.clone() })?.units()),
        };
        // Without a limit: what the kernel gives a tmpfs, half of the memory.
        mount_tmpfs(path, limit.and_then(|n| u64::try_from(n).ok()).unwrap_or(0))?;
        chmod(path, 0o777)?;
    } else if fresh {
        chmod(path, 0o777)?;
    }
    Ok(())
}

fn make_dir(path: &Path, mode: u32) -> Result<(), Cause> {
    let fresh = !path.exists();
    std::fs::create_dir_all(path).map_err(io_error("cannot make", path))?;
    if fresh { chmod(path, mode) } else { Ok(()) }
}

/// The process's umask must not decide what a pod may write.
fn chmod(path: &Path, mode: u32) -> Result<(), Cause> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).map_err(io_error("cannot set mode of", path))
}

/// `bytes` 0: the kernel's default size.
fn mount_tmpfs(path: &Path, bytes: u64) -> Result<(), Cause> {
    let options = if bytes == 0 { "mode=0777".to_owned() } else { format!("mode=0777,size={bytes}") };
    nix::mount::mount(
        Some("tmpfs"),
        path,
        Some("tmpfs"),
        MsFlags::MS_NOSUID | MsFlags::MS_NODEV,
        Some(options.as_str()),
    )
    .map_err(|errno| io_error("cannot mount a tmpfs on", path)(errno.into()))
}

/// Whether something is mounted exactly there.
fn is_mount_point(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let parent = path.parent().unwrap_or(path);
    match (std::fs::symlink_metadata(path), std::fs::symlink_metadata(parent)) {
        (Ok(here), Ok(above)) => here.dev() != above.dev(),
        _ => false,
    }
}

/// Unmounts everything below the pod's directory and removes its volumes. May be repeated.
pub fn tear_down(pod_dir: &Path) -> Result<(), VolumeError> {
    let fail = |source| VolumeError::TearDown { path: pod_dir.to_owned(), source };
    unmount_below(pod_dir).map_err(fail)?;
    for part in ["volume-subpaths", "volumes"] {
        remove_tree(&pod_dir.join(part)).map_err(fail)?;
    }
    Ok(())
}

/// Removes the pod's whole directory.
pub fn remove_pod_dir(pod_dir: &Path) -> Result<(), VolumeError> {
    tear_down(pod_dir)?;
    remove_tree(pod_dir).map_err(|source| VolumeError::TearDown { path: pod_dir.to_owned(), source })
}

fn remove_tree(path: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn unmount_below(dir: &Path) -> io::Result<()> {
    let table = std::fs::read_to_string("/proc/self/mountinfo")?;
    let prefix = format!("{}/", dir.display());
    let mut points: Vec<String> = table
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(|point| point.replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\"))
        .filter(|point| point.starts_with(&prefix))
        .collect();
    // What is mounted on top goes first.
    points.reverse();
    for point in points {
        nix::mount::umount2(Path::new(&point), nix::mount::MntFlags::MNT_DETACH).map_err(io::Error::from)?;
    }
    Ok(())
}
