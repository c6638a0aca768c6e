//! fsGroup: a volume belongs to a group, whose members may write what the owner may.

use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

const GROUP_ACCESS: u32 = 0o660;
/// New files in it belong to the group too.
const SET_GID_AND_ENTER: u32 = 0o2110;

/// Gives the tree at `path` to the group. Symlinks are not followed.
pub(super) fn give_to_group(path: &Path, gid: i64) -> io::Result<()> {
    let Ok(gid) = u32::try_from(gid) else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "fsGroup is not a group id"));
    };
    let meta = std::fs::symlink_metadata(path)?;
    // The top has it already: so has what is below.
    if meta.gid() == gid && meta.permissions().mode() & 0o2000 != 0 {
        return Ok(());
    }
    below(path, gid)
}

fn below(path: &Path, gid: u32) -> io::Result<()> {
    let meta = std::fs::symlink_metadata(path)?;
    if meta.is_dir() {
        for entry in std::fs::read_dir(path)? {
            below(&entry?.path(), gid)?;
        }
    }
    std::os::unix::fs::lchown(path, None, Some(gid))?;
    if meta.is_symlink() {
        return Ok(());
    }
    let more = if meta.is_dir() { GROUP_ACCESS | SET_GID_AND_ENTER } else { GROUP_ACCESS };
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(meta.permissions().mode() | more))
}
