//! Fills a directory with an image's files: Debian packages, BusyBox's applets, files of our own.
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use super::catalog::Image;
use crate::run;

/// What a package brings and a container does not need.
const LEFT_OUT: [&str; 6] = [
    "usr/share/doc",
    "usr/share/man",
    "usr/share/locale",
    "usr/share/lintian",
    "usr/share/initramfs-tools",
    "etc/init.d",
];
const BUSYBOX: &str = "bin/busybox";

/// The root of the image below `work`; packages are kept in `packages`.
pub(super) fn fill(work: &Path, packages: &Path, image: &Image) -> anyhow::Result<PathBuf> {
    let root = work.join("root");
    if work.exists() {
        fs::remove_dir_all(work).with_context(|| format!("cannot remove {}", work.display()))?;
    }
    for dir in ["bin", "dev", "etc", "proc", "root", "run", "sys", "tmp", "usr/bin", "var/tmp"].iter().chain(image.dirs)
    {
        make_dir(&root.join(dir))?;
    }
    fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777))?;
    for package in image.packages {
        let file = download(packages, package)?;
        run::output("dpkg-deb", &["-x".as_ref(), file.as_os_str(), root.as_os_str()])?;
    }
    for dir in LEFT_OUT {
        if root.join(dir).exists() {
            fs::remove_dir_all(root.join(dir))?;
        }
    }
    for (path, text) in image.files {
        let path = root.join(path);
        make_dir(path.parent().unwrap_or(&root))?;
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    for (link, target) in image.links {
        symlink(target, root.join(link)).with_context(|| format!("cannot link {link}"))?;
    }
    if image.with_echo {
        let to = root.join("bin/corten-echo");
        fs::copy(super::echo_program()?, &to).context("cannot copy the echo server")?;
    }
    link_applets(&root)?;
    Ok(root)
}

/// `sh`, `ls`, … lead to BusyBox, where no package brought its own.
fn link_applets(root: &Path) -> anyhow::Result<()> {
    let busybox = root.join(BUSYBOX);
    let applets = run::output(&busybox.display().to_string(), &["--list"])?;
    for applet in applets.lines().filter(|applet| *applet != "busybox") {
        let taken = ["bin", "sbin", "usr/bin", "usr/sbin"].iter().any(|dir| root.join(dir).join(applet).exists());
        if !taken {
            symlink("/bin/busybox", root.join("bin").join(applet)).with_context(|| format!("cannot link {applet}"))?;
        }
    }
    Ok(())
}

/// The package's file, from the cache or by apt.
fn download(dir: &Path, package: &str) -> anyhow::Result<PathBuf> {
    make_dir(dir)?;
    if let Some(file) = cached(dir, package)? {
        return Ok(file);
    }
    if apt_download(dir, package).is_err() {
        // Its list may be older than the archive, which keeps only the newest version of a package.
        run::output("apt-get", &["-qq", "update"]).context("apt cannot read its package lists: is there a network?")?;
        apt_download(dir, package).with_context(|| format!("cannot get Debian's package {package}"))?;
    }
    let found = cached(dir, package)?;
    found.with_context(|| format!("apt-get downloaded {package}, but no file {package}_*.deb is in {}", dir.display()))
}

fn apt_download(dir: &Path, package: &str) -> anyhow::Result<()> {
    // apt's own user may not write into the cache.
    let mut apt = Command::new("apt-get");
    apt.args(["-o", "APT::Sandbox::User=root", "-qq", "download", package]).current_dir(dir);
    run::finish("apt-get download", &mut apt).map(drop)
}

fn cached(dir: &Path, package: &str) -> anyhow::Result<Option<PathBuf>> {
    let prefix = format!("{package}_");
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with(&prefix) && name.ends_with(".deb") {
            found.push(path);
        }
    }
    if found.len() > 1 {
        bail!("more than one {prefix}*.deb is in {}: keep one", dir.display());
    }
    Ok(found.pop())
}

fn make_dir(dir: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))
}
