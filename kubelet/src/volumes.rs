//! Volumes of pods: what should be in them, how it gets there, and where a container finds it. Blocking I/O throughout.
//!
//! Layout of a pod's directory (`<root-dir>/pods/<uid>`): `volumes/<name>`, `volume-subpaths/<volume>/<container>/<n>`,
//! `etc-hosts`, `resolv.conf`, `hostname`, `containers/<name>/<attempt>` (termination messages).

pub mod atomic;
mod host_path;
pub mod limits;
mod mounts;
mod nested;
mod ownership;
pub mod payload;
mod persistent;
mod subpath;
mod tmpfs;
mod usage;
mod walk;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::path::{Component, Path, PathBuf};

use corten_api::quantity::Quantity;
use k8s_openapi::api::core::v1::{EmptyDirVolumeSource, Pod, Volume};
use nix::errno::Errno;

use crate::beneath::Dir;
use crate::directories::given::GIVEN;
use crate::downward::{Downward, FieldError};
use crate::node_facts::NodeFacts;
use crate::sources::{Bound, ClaimError, Missing, Sources};

pub use mounts::{MountError, container_mounts};
use payload::Payload;

/// Any user may write to an emptyDir, and read what else is in a volume as the files' own modes say.
const EMPTY_DIR_MODE: u32 = 0o777;
const PAYLOAD_DIR_MODE: u32 = 0o755;

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
    #[error("fsGroup is not a group id")]
    FsGroup,
    #[error("runAsUser, or the user of a volume's item, is not a user id")]
    User,
    #[error(transparent)]
    Claim(#[from] ClaimError),
    #[error("NodeAffinity check failed for volume {volume:?} : no matching NodeSelectorTerms")]
    ElsewhereThanHere { volume: String },
    #[error("Mount options are not supported for this volume type")]
    MountOptions,
    #[error("path {path:?} does not exist")]
    NoPath { path: String },
    #[error("cannot give {} to fsGroup: {why}", path.display())]
    Tree { path: PathBuf, why: String },
    #[error("it would hold {bytes} bytes, more than the {max} that a volume of this kind may")]
    TooLarge { bytes: u64, max: u64 },
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

/// Where a volume is on the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumePath {
    pub path: PathBuf,
    /// No container may write to it, whatever its volumeMount says.
    pub read_only: bool,
}

/// The volumes of a pod by their names.
pub type Paths = BTreeMap<String, VolumePath>;

/// Makes all volumes of the pod, or brings what is in them up to date. May be repeated.
pub fn set_up(
    pod: &Pod,
    pod_dir: &Path,
    sources: &Sources,
    downward: &Downward<'_>,
    node: &NodeFacts,
) -> Result<Paths, VolumeError> {
    let mut paths = Paths::new();
    let spec = pod.spec.as_ref();
    for volume in spec.iter().flat_map(|s| s.volumes.iter().flatten()) {
        let fail = |source| VolumeError::Volume { volume: volume.name.clone(), source };
        let path = match sources.claims.get(&volume.name) {
            Some(bound) => set_up_claim(volume, pod, bound, sources, node),
            None => set_up_one(volume, pod, pod_dir, sources, downward),
        };
        let path = path.map_err(fail)?;
        paths.insert(volume.name.clone(), path);
    }
    Ok(paths)
}

fn set_up_claim(
    volume: &Volume,
    pod: &Pod,
    bound: &Result<Bound, ClaimError>,
    sources: &Sources,
    node: &NodeFacts,
) -> Result<VolumePath, Cause> {
    let bound = bound.as_ref().map_err(Clone::clone)?;
    let read_only = volume.persistent_volume_claim.as_ref().and_then(|claim| claim.read_only) == Some(true);
    let at = persistent::path_of(bound, node, read_only)?;
    // While the pod runs its volume is as its programs have it.
    let context = pod.spec.as_ref().and_then(|spec| spec.security_context.as_ref()).filter(|_| !sources.pod_runs);
    if let Some(context) = context {
        persistent::give_to_group(bound, &at, context)?;
    }
    Ok(at)
}

fn set_up_one(
    volume: &Volume,
    pod: &Pod,
    pod_dir: &Path,
    sources: &Sources,
    downward: &Downward<'_>,
) -> Result<VolumePath, Cause> {
    if let Some(host) = &volume.host_path {
        return Ok(VolumePath { path: host_path::check(host)?, read_only: false });
    }
    // Files of the static pod directory are not validated by anybody else.
    if !matches!(Path::new(&volume.name).components().collect::<Vec<_>>()[..], [Component::Normal(_)]) {
        return Err(Cause::BadPath { path: volume.name.clone() });
    }
    let fs_group = pod.spec.as_ref().and_then(|s| s.security_context.as_ref()).and_then(|c| c.fs_group);
    let path = pod_dir.join("volumes").join(&volume.name);
    if let Some(empty) = &volume.empty_dir {
        empty_dir(empty, &path)?;
        if let Some(gid) = fs_group {
            let give = |dir: Dir| ownership::give_to_group(&dir, gid);
            Dir::open(&path).and_then(give).map_err(io_error("cannot give to fsGroup", &path))?;
        }
        return Ok(VolumePath { path, read_only: false });
    }
    let payload = match payload::of(volume, sources, downward) {
        // Nobody could say what should be in it. What an earlier kubelet put there is what was last known.
        Err(Cause::Missing(missing)) if missing.is_unknown() && is_filled(&path) => {
            return Ok(VolumePath { path, read_only: true });
        }
        other => other?,
    };
    write(&payload, &path, fs_group, &nested::mount_points(pod, &volume.name))?;
    Ok(VolumePath { path, read_only: true })
}

fn is_filled(path: &Path) -> bool {
    Dir::open(path).and_then(|dir| atomic::is_filled(&dir)).unwrap_or(false)
}

/// `mount_points` are directories for other volumes, which nobody could make later in a volume that is read-only.
fn write(payload: &Payload, path: &Path, fs_group: Option<i64>, mount_points: &[PathBuf]) -> Result<(), Cause> {
    let fs_group = fs_group.map(u32::try_from).transpose().map_err(|_| Cause::FsGroup)?;
    make_dir(path, PAYLOAD_DIR_MODE)?;
    if payload.in_memory {
        tmpfs::mount(path, PAYLOAD_DIR_MODE, Some(tmpfs::bytes_for(payload)))
            .map_err(io_error("cannot mount a tmpfs on", path))?;
    }
    let fill = |dir: Dir| {
        for point in mount_points {
            match dir.make_dir(point, PAYLOAD_DIR_MODE) {
                // The volume itself has something there. The runtime says so when it mounts the other one.
                Err(err) if matches!(err.raw_os_error().map(Errno::from_raw), Some(Errno::ELOOP | Errno::ENOTDIR)) => {}
                other => drop(other?),
            }
        }
        atomic::write(&dir, &payload.files, fs_group)
    };
    Dir::open(path).and_then(fill).map_err(io_error("cannot write", path))
}

fn empty_dir(source: &EmptyDirVolumeSource, path: &Path) -> Result<(), Cause> {
    match source.medium.as_deref().unwrap_or_default() {
        "" => make_dir(path, EMPTY_DIR_MODE),
        "Memory" => {
            let limit = match &source.size_limit {
                None => None,
                Some(q) => Some(Quantity::from_wire(q).map_err(|_| Cause::SizeLimit { given: q.0.clone() })?.units()),
            };
            let limit = limit.and_then(|n| u64::try_from(n).ok()).filter(|n| *n > 0);
            make_dir(path, EMPTY_DIR_MODE)?;
            tmpfs::mount(path, EMPTY_DIR_MODE, limit).map_err(io_error("cannot mount a tmpfs on", path))
        }
        // On a disk it would be another thing than what was asked for.
        _ => Err(Cause::Unsupported { kind: "emptyDir with a medium other than Memory" }),
    }
}

/// A directory that is there already keeps its mode: containers may have changed it.
fn make_dir(path: &Path, mode: u32) -> Result<(), Cause> {
    let made = || {
        let (parent, name) = split(path)?;
        std::fs::create_dir_all(parent)?;
        Dir::open(parent)?.make_dir(name, mode).map(drop)
    };
    match made() {
        // What is mounted there was made by us before.
        Err(err) if err.raw_os_error() == Some(Errno::EXDEV as i32) => Ok(()),
        other => other.map_err(io_error("cannot make", path)),
    }
}

fn split(path: &Path) -> io::Result<(&Path, &OsStr)> {
    let parts = path.parent().zip(path.file_name());
    parts.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the path has no last part"))
}

/// Unmounts everything below the pod's directory, removes its volumes, and forgets which directories of the node it was given: no
/// container of it runs. May be repeated.
pub fn tear_down(pod_dir: &Path) -> Result<(), VolumeError> {
    let fail = |source| VolumeError::TearDown { path: pod_dir.to_owned(), source };
    tmpfs::unmount_below(pod_dir).map_err(fail)?;
    let Some(dir) = open_if_there(pod_dir).map_err(fail)? else { return Ok(()) };
    ["volume-subpaths", "volumes", GIVEN].iter().try_for_each(|part| dir.remove(part)).map_err(fail)
}

/// Removes the pod's whole directory.
pub fn remove_pod_dir(pod_dir: &Path) -> Result<(), VolumeError> {
    tear_down(pod_dir)?;
    remove_tree(pod_dir).map_err(|source| VolumeError::TearDown { path: pod_dir.to_owned(), source })
}

/// Removes a directory, but nothing that a link in it leads to or that is mounted in it. One that is gone is fine.
pub fn remove_tree(path: &Path) -> io::Result<()> {
    let (parent, name) = split(path)?;
    open_if_there(parent)?.map_or(Ok(()), |parent| parent.remove(name))
}

fn open_if_there(path: &Path) -> io::Result<Option<Dir>> {
    match Dir::open(path) {
        Ok(dir) => Ok(Some(dir)),
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(err) => Err(err),
    }
}

#[cfg(test)]
mod tests;
