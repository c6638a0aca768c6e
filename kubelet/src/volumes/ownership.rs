//! fsGroup: a volume belongs to a group, whose members may write what the owner may.

use std::io;

use crate::beneath::Dir;

/// The group may do what the owner may, and what is made in the directory belongs to the group too.
const OF_GROUP: u32 = 0o2770;
const SET_GID: u32 = 0o2000;
const PERMISSIONS: u32 = 0o7777;

/// Gives a volume to the group. Only its top: it is empty when it is made, and what containers put into it later they made
/// themselves. To walk through that as root would follow links that they planted.
pub(super) fn give_to_group(dir: &Dir, gid: i64) -> io::Result<()> {
    let Ok(gid) = u32::try_from(gid) else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "fsGroup is not a group id"));
    };
    let stat = dir.stat()?;
    if stat.st_gid == gid && stat.st_mode & SET_GID != 0 {
        return Ok(());
    }
    dir.set_group(gid)?;
    dir.set_mode((stat.st_mode & PERMISSIONS) | OF_GROUP)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

    use super::*;

    #[test]
    fn what_a_container_put_into_a_volume_is_not_touched() {
        let held = tempfile::tempdir().unwrap();
        let (volume, outside) = (held.path().join("v"), held.path().join("passwd"));
        std::fs::create_dir(&volume).unwrap();
        std::fs::write(&outside, "x").unwrap();
        std::fs::set_permissions(&outside, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::hard_link(&outside, volume.join("planted")).unwrap();
        std::os::unix::fs::symlink(&outside, volume.join("link")).unwrap();
        let before = std::fs::metadata(&outside).unwrap();
        let dir = Dir::open(&volume).unwrap();
        let gid = before.gid();
        give_to_group(&dir, i64::from(gid)).unwrap();
        let (top, after) = (std::fs::metadata(&volume).unwrap(), std::fs::metadata(&outside).unwrap());
        assert_eq!((top.gid(), top.mode() & OF_GROUP), (gid, OF_GROUP));
        assert_eq!((after.gid(), after.mode()), (before.gid(), before.mode()));
    }
}
