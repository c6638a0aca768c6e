//! fsGroup: a volume belongs to a group, whose members may write what the owner may.

use std::io;

use super::walk::{Walk, WalkError};
use crate::beneath::Dir;

/// The group may do what the owner may, and what is made in the directory belongs to the group too.
const OF_GROUP: u32 = 0o2770;
/// The same for a file.
const FILE_OF_GROUP: u32 = 0o660;
const SET_GID: u32 = 0o2000;
const PERMISSIONS: u32 = 0o7777;

/// When a volume that keeps its contents is given to the group again.
/// <https://kubernetes.io/docs/tasks/configure-pod-container/security-context/#configure-volume-permission-and-ownership-change-policy-for-pods>
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Policy {
    Always,
    /// Not if its top is the group's already.
    OnRootMismatch,
}

/// Gives a persistent volume to the group, with all that earlier pods put into it. Their programs may go on at the same time: no
/// link that they plant is followed, and a file with several names has all of them in the volume, as no link leads from one
/// mount to another.
pub(super) fn give_tree_to_group(root: Dir, gid: u32, policy: Policy) -> Result<(), WalkError> {
    let stat = root.stat()?;
    let is_given = stat.st_gid == gid && stat.st_mode & OF_GROUP == OF_GROUP;
    if policy == Policy::OnRootMismatch && is_given {
        return Ok(());
    }
    let mut walk = Walk::of(root.dir(".")?)?;
    while walk.step(&mut |dir, name, _| dir.give(name, gid, FILE_OF_GROUP, OF_GROUP))? {}
    // The top comes last: who is interrupted finds a top that is not the group's, and begins again.
    root.set_group(gid)?;
    Ok(root.set_mode((stat.st_mode & PERMISSIONS) | OF_GROUP)?)
}

/// Gives a new volume to the group. Only its top: it is empty when it is made, and what containers put into it later they made
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

    #[test]
    fn a_persistent_volume_is_given_whole_and_links_are_not_followed() {
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let held = tempfile::tempdir().unwrap();
        let (volume, outside) = (held.path().join("v"), held.path().join("passwd"));
        std::fs::create_dir_all(volume.join("a/b")).unwrap();
        std::fs::write(&outside, "x").unwrap();
        std::fs::write(volume.join("a/b/f"), "x").unwrap();
        for path in [&outside, &volume.join("a/b/f")] {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
        }
        std::os::unix::fs::symlink(&outside, volume.join("a/link")).unwrap();
        std::os::unix::fs::symlink(held.path(), volume.join("a/up")).unwrap();
        let give = |gid, policy| give_tree_to_group(Dir::open(&volume).unwrap(), gid, policy).unwrap();
        let seen = |path: &str| {
            let meta = std::fs::symlink_metadata(volume.join(path)).unwrap();
            (meta.gid(), meta.mode() & PERMISSIONS)
        };
        give(1234, Policy::Always);
        assert_eq!(seen("a/b/f"), (1234, 0o660));
        assert_eq!(seen("a/b"), (1234, 0o2775));
        assert_eq!(seen(""), (1234, 0o2775));
        assert_eq!(seen("a/link").0, 1234, "the link itself");
        let after = std::fs::metadata(&outside).unwrap();
        assert_eq!((after.gid(), after.mode() & PERMISSIONS), (0, 0o600));

        std::fs::write(volume.join("new"), "x").unwrap();
        std::os::unix::fs::chown(volume.join("new"), None, Some(0)).unwrap();
        give(1234, Policy::OnRootMismatch);
        assert_eq!(seen("new").0, 0, "its top is the group's already");
        give(1234, Policy::Always);
        assert_eq!(seen("new").0, 1234);
    }
}
