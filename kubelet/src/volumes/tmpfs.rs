//! Volumes in memory, and what is mounted below a pod's directory. Mounts outlive the kubelet; all of it may be repeated.

use std::io;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags};

use super::payload::Payload;
use super::split;
use crate::beneath::Dir;

const PAGE_BYTES: u64 = 4096;
/// Room for a volume with next to nothing in it.
const BYTES_MIN: u64 = 64 << 10;

/// Two generations of the files: the new ones are written before the old ones go.
pub(super) fn bytes_for(payload: &Payload) -> u64 {
    let pages = payload.files.values().map(|file| (file.bytes.len() as u64).div_ceil(PAGE_BYTES) + 1).sum::<u64>();
    BYTES_MIN + 2 * pages * PAGE_BYTES
}

/// Mounts one on the directory, or makes the one that is there large enough. `None`: as large as the kernel makes them, half
/// of the memory.
pub(super) fn mount(path: &Path, mode: u32, bytes: Option<u64>) -> io::Result<()> {
    let (parent, name) = split(path)?;
    if !Dir::open(parent)?.has_mount(name)? {
        return put(path, mode, bytes, MsFlags::empty());
    }
    let have = nix::sys::statfs::statfs(path)?;
    let have = have.blocks().saturating_mul(u64::try_from(have.block_size()).unwrap_or(0));
    match bytes {
        Some(bytes) if have < bytes => put(path, mode, Some(bytes), MsFlags::MS_REMOUNT),
        _ => Ok(()),
    }
}

fn put(path: &Path, mode: u32, bytes: Option<u64>, more: MsFlags) -> io::Result<()> {
    let size = bytes.map(|bytes| format!(",size={bytes}")).unwrap_or_default();
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | more;
    let mount = |options: &str| nix::mount::mount(Some("tmpfs"), path, Some("tmpfs"), flags, Some(options));
    // Swap is a disk. Kernels before 6.4 cannot keep a tmpfs out of it.
    match mount(&format!("mode={mode:o}{size},noswap")) {
        Err(Errno::EINVAL) => Ok(mount(&format!("mode={mode:o}{size}"))?),
        other => Ok(other?),
    }
}

/// Unmounts all that is mounted below the directory, whoever mounted it and whenever.
pub(super) fn unmount_below(dir: &Path) -> io::Result<()> {
    // The kernel's table has no symlinks in its paths.
    let dir = match dir.canonicalize() {
        Ok(dir) => dir,
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(err) => return Err(err),
    };
    let table = std::fs::read_to_string("/proc/self/mountinfo")?;
    let below = |point: &PathBuf| point.starts_with(&dir) && *point != dir;
    let mut points: Vec<PathBuf> = table.lines().filter_map(mount_point).filter(below).collect();
    // What is mounted on top goes first.
    points.reverse();
    for point in points {
        match nix::mount::umount2(&point, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
            // It went with the one it was mounted in.
            Ok(()) | Err(Errno::EINVAL | Errno::ENOENT) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

/// <https://man7.org/linux/man-pages/man5/proc_pid_mountinfo.5.html>: blanks and backslashes are written as octal numbers.
fn mount_point(line: &str) -> Option<PathBuf> {
    let mut rest = line.split(' ').nth(4)?.as_bytes();
    let mut path = Vec::with_capacity(rest.len());
    while let [first, tail @ ..] = rest {
        let octal = tail.get(..3).filter(|_| *first == b'\\').and_then(|o| std::str::from_utf8(o).ok());
        match octal.and_then(|o| u8::from_str_radix(o, 8).ok()) {
            Some(byte) => {
                path.push(byte);
                rest = &tail[3..];
            }
            None => {
                path.push(*first);
                rest = tail;
            }
        }
    }
    Some(std::ffi::OsString::from_vec(path).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_read_as_the_kernel_writes_them() {
        let cases = [
            ("36 35 98:0 / /pods/u/volumes/v rw - tmpfs tmpfs rw", Some("/pods/u/volumes/v")),
            (r"36 35 98:0 / /a\040b\134\011 rw - tmpfs tmpfs rw", Some("/a b\\\t")),
            (r"36 35 98:0 / /odd\9 rw", Some("/odd\\9")),
            ("36 35", None),
        ];
        for (line, expected) in cases {
            assert_eq!(mount_point(line), expected.map(PathBuf::from), "{line}");
        }
    }
}
