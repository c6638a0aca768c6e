//! A container's volumeMounts as mounts for the runtime.

use std::io;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{Container, VolumeMount};

use super::{Paths, subpath};
use crate::env::ExpandError;
use crate::runtime::{Mount, Propagation};

#[derive(Debug, thiserror::Error)]
pub enum MountError {
    #[error("volumeMount {mount:?} names a volume that the pod does not have")]
    NoVolume { mount: String },
    /// In `subPathExpr`.
    #[error(transparent)]
    Variable(#[from] ExpandError),
    #[error("failed to prepare subPath for volumeMount {mount:?} of container {container:?}: {source}")]
    SubPath {
        mount: String,
        container: String,
        #[source]
        source: io::Error,
    },
}

/// `expand` replaces `$(NAME)` in subPathExpr.
pub fn container_mounts(
    container: &Container,
    paths: &Paths,
    pod_dir: &Path,
    expand: impl Fn(&str) -> Result<String, ExpandError>,
) -> Result<Vec<Mount>, MountError> {
    let mut mounts = Vec::new();
    for (index, mount) in container.volume_mounts.iter().flatten().enumerate() {
        let volume = paths.get(&mount.name).ok_or_else(|| MountError::NoVolume { mount: mount.name.clone() })?;
        let sub_path = match (&mount.sub_path, &mount.sub_path_expr) {
            (Some(path), _) if !path.is_empty() => Some(path.clone()),
            (_, Some(expr)) if !expr.is_empty() => Some(expand(expr)?),
            _ => None,
        };
        let host_path = match sub_path {
            None => volume.path.clone(),
            Some(sub) => bound_sub_path(mount, index, &volume.path, &sub, container, pod_dir)?,
        };
        mounts.push(Mount {
            host_path,
            container_path: absolute(&mount.mount_path),
            read_only: volume.read_only || mount.read_only == Some(true),
            propagation: match mount.mount_propagation.as_deref() {
                Some("HostToContainer") => Propagation::HostToContainer,
                Some("Bidirectional") => Propagation::Bidirectional,
                _ => Propagation::None,
            },
        });
    }
    Ok(mounts)
}

fn bound_sub_path(
    mount: &VolumeMount,
    index: usize,
    volume: &Path,
    sub: &str,
    container: &Container,
    pod_dir: &Path,
) -> Result<PathBuf, MountError> {
    let place = pod_dir.join("volume-subpaths").join(&mount.name).join(&container.name).join(index.to_string());
    // A restart binds anew: the file may have been replaced since.
    let fail = |source| MountError::SubPath { mount: mount.name.clone(), container: container.name.clone(), source };
    match nix::mount::umount2(&place, nix::mount::MntFlags::MNT_DETACH) {
        // Not mounted, or not there.
        Ok(()) | Err(nix::errno::Errno::EINVAL | nix::errno::Errno::ENOENT) => {}
        Err(errno) => return Err(fail(errno.into())),
    }
    subpath::bind(volume, Path::new(sub), &place).map_err(fail)?;
    Ok(place)
}

/// Validation lets relative mount paths through; they are taken from the root.
fn absolute(path: &str) -> PathBuf {
    if path.starts_with('/') { path.into() } else { Path::new("/").join(path) }
}
