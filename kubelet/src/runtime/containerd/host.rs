//! What this host lets containers have, found out once: capabilities, the lowest OOM score, device nodes.

use std::collections::BTreeSet;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use oci_spec::runtime::{LinuxDevice, LinuxDeviceType};

pub(super) use super::oci::Host;
use super::oci::MASKED_PATHS;
use crate::runtime::{ContainerSpec, RuntimeError};

const OOM_SCORE_ADJ_MIN: i32 = -1000;
/// Directories of /dev that are a container's own.
const OWN_DIRS: &[&str] = &["pts", "shm", "mqueue", "fd"];

/// Without its capabilities known, containers would silently get none: that is an error at the start.
pub(super) fn look() -> Result<Host, RuntimeError> {
    let read =
        |set| caps::read(None, set).map_err(RuntimeError::internal("finding out the capabilities of this process"));
    let (bounding, permitted) = (read(caps::CapSet::Bounding)?, read(caps::CapSet::Permitted)?);
    let names = bounding.iter().map(|cap| cap.to_string().trim_start_matches("CAP_").to_owned());
    let capabilities: BTreeSet<String> = names.collect();
    // Without CAP_SYS_RESOURCE a score may not go below the one it was last set to with that capability: runc would fail
    // with "can't get final child's PID" instead of saying so.
    let oom_score_adj_min = if permitted.contains(&caps::Capability::CAP_SYS_RESOURCE) {
        OOM_SCORE_ADJ_MIN
    } else {
        // Where it cannot be read, 0 is what every process may have.
        let own =
            std::fs::read_to_string("/proc/self/oom_score_adj").ok().and_then(|s| s.trim().parse().ok()).unwrap_or(0);
        tracing::warn!(lowest = own, "no CAP_SYS_RESOURCE here: containers' OOM scores are raised to what may be set");
        own
    };
    Ok(Host { oom_score_adj_min, capabilities, masked_paths: masked_paths(Path::new("/sys/devices/system/cpu")) })
}

/// With the counters by which one can tell what else a processor does.
fn masked_paths(cpus: &Path) -> Vec<String> {
    let mut all: Vec<String> = MASKED_PATHS.map(str::to_owned).into();
    // Where the processors cannot be listed, as in some virtual machines, they have no such counters.
    let counters =
        std::fs::read_dir(cpus).into_iter().flatten().flatten().map(|cpu| cpu.path().join("thermal_throttle"));
    all.extend(counters.filter(|path| path.is_dir()).map(|path| path.display().to_string()));
    all
}

/// The device nodes a container is given: a privileged one has the node's.
pub(super) fn devices(spec: &ContainerSpec) -> Vec<LinuxDevice> {
    let mut found = Vec::new();
    if spec.security.privileged {
        all_below(Path::new("/dev"), &mut found);
    }
    found
}

fn all_below(dir: &Path, found: &mut Vec<LinuxDevice>) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        match entry.metadata() {
            Ok(meta) if meta.is_dir() && is_own(&entry.file_name()) => {}
            Ok(meta) if meta.is_dir() => all_below(&path, found),
            // The container's console is its own.
            Ok(meta) if path != Path::new("/dev/console") => found.extend(device(&path, &meta)),
            // Gone meanwhile, as devices do.
            _ => {}
        }
    }
}

fn is_own(name: &std::ffi::OsStr) -> bool {
    name.to_str().is_some_and(|name| OWN_DIRS.contains(&name))
}

fn device(path: &Path, meta: &std::fs::Metadata) -> Option<LinuxDevice> {
    let kind = match meta.file_type() {
        t if t.is_block_device() => LinuxDeviceType::B,
        t if t.is_char_device() => LinuxDeviceType::C,
        _ => return None,
    };
    let mut device = LinuxDevice::default();
    let (major, minor) = (nix::sys::stat::major(meta.rdev()), nix::sys::stat::minor(meta.rdev()));
    device.set_path(path.into()).set_typ(kind).set_major(major.cast_signed()).set_minor(minor.cast_signed());
    device.set_file_mode(Some(meta.mode())).set_uid(Some(meta.uid())).set_gid(Some(meta.gid()));
    Some(device)
}
