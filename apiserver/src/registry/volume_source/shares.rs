//! File systems and object stores that a node reaches over the network.

use corten_api::Problems;
use k8s_openapi::api::core::v1::{FlockerVolumeSource, NFSVolumeSource, QuobyteVolumeSource};

use super::required;
use crate::registry::check;
use crate::registry::path::Path;

const TENANT_BYTES_MAX: usize = 64;
const HOST_PORT: &str = "must be a host:port pair or multiple pairs separated by commas";

pub fn nfs(nfs: &NFSVolumeSource, at: &Path<'_>, problems: &mut Problems) {
    required(&[("server", &nfs.server), ("path", &nfs.path)], at, problems);
    if !nfs.path.is_empty() && !nfs.path.starts_with('/') {
        problems.invalid(at.field("path"), &nfs.path, "must be an absolute path");
    }
}

/// CephFS, and with an image RBD.
pub fn ceph(monitors: &[String], image: Option<&str>, at: &Path<'_>, problems: &mut Problems) {
    if monitors.is_empty() {
        problems.required(at.field("monitors"), "");
    }
    if let Some(image) = image {
        required(&[("image", image)], at, problems);
    }
}

pub fn quobyte(quobyte: &QuobyteVolumeSource, at: &Path<'_>, problems: &mut Problems) {
    let registry = quobyte.registry.as_str();
    if registry.is_empty() {
        problems.required(at.field("registry"), HOST_PORT);
    } else if check::text(quobyte.tenant.as_ref()).len() > TENANT_BYTES_MAX {
        problems.required(at.field("tenant"), "must be a UUID and may not exceed a length of 64 characters");
    } else if !registry.split(',').all(is_host_port) {
        problems.invalid(at.field("registry"), registry, HOST_PORT);
    }
    required(&[("volume", &quobyte.volume)], at, problems);
}

/// `host:port`, `[address]:port`; what stands for either is the client's business.
fn is_host_port(pair: &str) -> bool {
    let Some((host, port)) = pair.rsplit_once(':') else { return false };
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let none_of = |text: &str, letters: &[char]| !text.contains(letters);
    none_of(port, &['[', ']'])
        && match bare {
            Some(address) => none_of(address, &['[', ']']),
            None => none_of(host, &['[', ']', ':']),
        }
}

pub fn flocker(flocker: &FlockerVolumeSource, at: &Path<'_>, problems: &mut Problems) {
    let (name, uuid) = (check::text(flocker.dataset_name.as_ref()), check::text(flocker.dataset_uuid.as_ref()));
    match (name.is_empty(), uuid.is_empty()) {
        (true, true) => problems.required(at, "one of datasetName and datasetUUID is required"),
        (false, false) => {
            problems.invalid(at, "resource", "datasetName and datasetUUID can not be specified simultaneously");
        }
        _ => {}
    }
    if name.contains('/') {
        problems.invalid(at.field("datasetName"), name, "must not contain '/'");
    }
}

/// `gateway`, `system`, and the name of the volume.
pub fn scale_io(gateway: &str, system: &str, volume: Option<&String>, at: &Path<'_>, problems: &mut Problems) {
    let fields = [("gateway", gateway), ("system", system), ("volumeName", check::text(volume))];
    required(&fields, at, problems);
}

pub fn storage_os(volume: Option<&String>, namespace: Option<&String>, at: &Path<'_>, problems: &mut Problems) {
    match check::text(volume) {
        "" => problems.required(at.field("volumeName"), ""),
        name => check::dns_label(problems, &at.field("volumeName"), name),
    }
    if let Some(namespace) = namespace.filter(|n| !n.is_empty()) {
        check::dns_label(problems, &at.field("volumeNamespace"), namespace);
    }
}
