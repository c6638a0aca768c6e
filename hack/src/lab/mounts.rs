//! A node's view of the file system, made by its first process: own /run, /var/lib, /var/log, /etc, /sys, cgroups.
//!
//! All else (/usr, the programs) is the host's. Nothing here is seen outside of the node's mount namespace.
use std::fs;
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::Context;
use cortenadm::topology::kernel::{SYSCTLS, sysctl_path};
use nix::mount::{MsFlags, mount};

use super::init::NodeSpec;

const ROOT_FS: &str = "/";
const CGROUPS: &str = "/sys/fs/cgroup";

pub(super) fn prepare(spec: &NodeSpec) -> anyhow::Result<()> {
    change_propagation(MsFlags::MS_PRIVATE)?;
    let resolv = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    own_var_lib(spec)?;
    bind(&own(spec, "var-log")?, Path::new("/var/log"))?;
    own_etc(spec, &resolv)?;
    mount_fs("tmpfs", Path::new("/run"), Some("mode=755"))?;
    for (dir, mode) in &spec.directories {
        let made = fs::DirBuilder::new().recursive(true).mode(*mode).create(dir);
        made.with_context(|| format!("cannot make {}", dir.display()))?;
    }
    // A host's CNI configuration is not this node's.
    bind(&own(spec, "cni")?, Path::new("/etc/cni/net.d"))?;
    mount_fs("sysfs", Path::new("/sys"), None)?;
    own_cgroups(spec)?;
    kernel_settings();
    // As systemd does: mounts made by pods with mountPropagation reach their containers.
    change_propagation(MsFlags::MS_SHARED)
}

/// The node's disk. The lab's own directory, which may lie below /var/lib, stays where it is.
fn own_var_lib(spec: &NodeSpec) -> anyhow::Result<()> {
    let disk = own(spec, "var-lib")?;
    if let Ok(inside) = spec.lab_dir.strip_prefix("/var/lib") {
        let seen_at = disk.join(inside);
        fs::create_dir_all(&seen_at)?;
        bind(&spec.lab_dir, &seen_at)?;
    }
    bind(&disk, Path::new("/var/lib"))
}

/// The host's /etc with the node's changes on top.
fn own_etc(spec: &NodeSpec, resolv: &str) -> anyhow::Result<()> {
    let (upper, work) = (own(spec, "etc-changes")?, own(spec, "etc-work")?);
    let options = format!("lowerdir=/etc,upperdir={},workdir={}", upper.display(), work.display());
    mount_fs("overlay", Path::new("/etc"), Some(&options))?;
    for (file, text) in
        [("/etc/hosts", &spec.hosts), ("/etc/hostname", &spec.name), ("/etc/resolv.conf", &resolv.to_owned())]
    {
        // A symlink (systemd-resolved's, say) would lead into the /run that is hidden now.
        fs::remove_file(file).ok();
        fs::write(file, text).with_context(|| format!("cannot write the node's {file}"))?;
    }
    Ok(())
}

/// The node sees its own cgroup as the root of each hierarchy: it was put there before its cgroup namespace was made.
fn own_cgroups(spec: &NodeSpec) -> anyhow::Result<()> {
    let unified_only = spec.cgroups.iter().all(|(_, v1)| v1.is_none());
    if !unified_only {
        mount_fs("tmpfs", Path::new(CGROUPS), Some("mode=755"))?;
    }
    for (at, v1_options) in &spec.cgroups {
        fs::create_dir_all(at).with_context(|| format!("cannot make {}", at.display()))?;
        match v1_options {
            Some(controllers) => {
                mount_fs("cgroup", at, Some(controllers))?;
                link_each_controller(at, controllers);
            }
            None => {
                mount_fs("cgroup2", at, None)?;
                super::cgroups::delegate(at)?;
            }
        }
    }
    Ok(())
}

/// `cpu` and `cpuacct` lead to `cpu,cpuacct`, where a host mounts the two together.
fn link_each_controller(at: &Path, controllers: &str) {
    if let (Some(parent), Some(name)) = (at.parent(), at.file_name()) {
        for controller in controllers.split(',').filter(|controller| !controller.contains('=')) {
            // There already, where the mount point has the controller's own name.
            symlink(name, parent.join(controller)).ok();
        }
    }
}

/// What an administrator sets in sysctl.d on a node. br_netfilter may be absent: hack/setup loads it where it is a module.
fn kernel_settings() {
    for (name, value) in SYSCTLS {
        let path = sysctl_path(name);
        if let Err(error) = fs::write(&path, value) {
            say!("cannot set {}: {error}", path.display());
        }
    }
}

fn own(spec: &NodeSpec, name: &str) -> anyhow::Result<PathBuf> {
    let dir = spec.node_dir.join(name);
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    Ok(dir)
}

fn bind(from: &Path, to: &Path) -> anyhow::Result<()> {
    mount(Some(from), to, None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>)
        .with_context(|| format!("cannot bind {} to {}", from.display(), to.display()))
}

fn mount_fs(kind: &str, at: &Path, options: Option<&str>) -> anyhow::Result<()> {
    mount(Some(kind), at, Some(kind), MsFlags::empty(), options)
        .with_context(|| format!("cannot mount {kind} on {}", at.display()))
}

fn change_propagation(kind: MsFlags) -> anyhow::Result<()> {
    mount(None::<&str>, ROOT_FS, None::<&str>, MsFlags::MS_REC | kind, None::<&str>)
        .context("cannot change the propagation of the node's mounts")
}
