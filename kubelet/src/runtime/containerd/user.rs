//! Who a container's process is, from the pod, the image and the image's `/etc/passwd` and `/etc/group`. Pure.

use std::collections::BTreeSet;

use crate::runtime::{BadSpec, User};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) additional_gids: Vec<u32>,
}

/// `image_user` is `user`, `uid`, `user:group` or `uid:gid`. A uid from the pod wins over the image's user, and then the
/// group is the pod's, else the user's own from passwd, else 0.
pub(super) fn resolve(user: &User, image_user: &str, passwd: &str, group: &str) -> Result<Identity, BadSpec> {
    let (name, group_name) = image_user.split_once(':').unwrap_or((image_user, ""));
    let (uid, named_gid) = match user.uid {
        Some(uid) => (uid, None),
        None => (find_uid(name, passwd)?, Some(group_name).filter(|g| !g.is_empty())),
    };
    let entry = passwd.lines().map(fields).find(|f| f.get(2).and_then(|u| u.parse().ok()) == Some(uid));
    let own_gid = entry.as_ref().and_then(|f| f.get(3)).and_then(|g| g.parse().ok()).unwrap_or(0);
    let gid = match (user.gid, named_gid) {
        (Some(gid), _) => gid,
        (None, Some(named)) => find_gid(named, group)?,
        (None, None) => own_gid,
    };
    let member_name = entry.as_ref().and_then(|f| f.first().copied()).unwrap_or("");
    let mut additional: BTreeSet<u32> = user.additional_gids.iter().copied().collect();
    if !member_name.is_empty() && !user.strict_groups {
        let groups = group.lines().map(fields);
        let member = groups.filter(|f| f.get(3).is_some_and(|members| members.split(',').any(|m| m == member_name)));
        additional.extend(member.filter_map(|f| f.get(2)?.parse::<u32>().ok()));
    }
    // The primary group is listed too: a container without it would lose what its group may do after setgid.
    additional.insert(gid);
    Ok(Identity { uid, gid, additional_gids: additional.into_iter().collect() })
}

fn fields(line: &str) -> Vec<&str> {
    line.split(':').collect()
}
fn find_uid(name: &str, passwd: &str) -> Result<u32, BadSpec> {
    if name.is_empty() {
        return Ok(0);
    }
    let named = passwd.lines().map(fields).find(|f| f.first() == Some(&name));
    let found = named.and_then(|f| f.get(2)?.parse().ok()).or_else(|| name.parse().ok());
    found.ok_or_else(|| BadSpec::UnknownUser(name.to_owned()))
}
fn find_gid(name: &str, group: &str) -> Result<u32, BadSpec> {
    let named = group.lines().map(fields).find(|f| f.first() == Some(&name));
    let found = named.and_then(|f| f.get(2)?.parse().ok()).or_else(|| name.parse().ok());
    found.ok_or_else(|| BadSpec::UnknownGroup(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nwww:x:33:33::/:/bin/false\n";
    const GROUP: &str = "root:x:0:\nwww:x:33:\nlogs:x:44:www,other\n";

    #[test]
    fn whatever_an_image_says_of_its_users_is_read_or_refused() {
        let tokens: &[&[u8]] = &[b":", b",", b"\n", b"4294967295", b"4294967296", b"-1", b"www", b"\0"];
        let inputs =
            corten_fuzz::Inputs { valid: &[PASSWD.as_bytes(), GROUP.as_bytes(), b"www:logs", b"33:44"], tokens };
        corten_fuzz::run("whatever_an_image_says_of_its_users_is_read_or_refused", |random| {
            let mut text = || String::from_utf8_lossy(&inputs.mutate(random)).into_owned();
            let (image_user, passwd, group) = (text(), text(), text());
            let asked = User { uid: (passwd.len().is_multiple_of(2)).then_some(33), ..User::default() };
            if let Ok(found) = resolve(&asked, &image_user, &passwd, &group) {
                assert!(found.additional_gids.contains(&found.gid));
                assert!(asked.uid.is_none_or(|uid| uid == found.uid));
            }
        });
    }

    #[test]
    fn identities() {
        let pod = |uid, gid, more: &[u32]| User { uid, gid, additional_gids: more.to_vec(), strict_groups: false };
        let strict = User { strict_groups: true, ..pod(None, None, &[9]) };
        let cases = [
            ("nothing said: root", pod(None, None, &[]), "", Some((0, 0, vec![0]))),
            ("image's user by name, with its groups", pod(None, None, &[]), "www", Some((33, 33, vec![33, 44]))),
            ("strict: the image's groups count for nothing", strict, "www", Some((33, 33, vec![9, 33]))),
            ("image's uid without entry", pod(None, None, &[]), "1000", Some((1000, 0, vec![0]))),
            ("image's user and group", pod(None, None, &[]), "www:logs", Some((33, 44, vec![44]))),
            ("image's uid and gid", pod(None, None, &[]), "7:8", Some((7, 8, vec![8]))),
            ("pod's uid wins and drops the image's group", pod(Some(5), None, &[]), "www:logs", Some((5, 0, vec![0]))),
            ("pod's uid and gid, fsGroup added", pod(Some(5), Some(6), &[9]), "", Some((5, 6, vec![6, 9]))),
            ("unknown name", pod(None, None, &[]), "nobody", None),
            ("unknown group", pod(None, None, &[]), "www:none", None),
        ];
        for (why, user, image_user, expected) in cases {
            let got = resolve(&user, image_user, PASSWD, GROUP).ok();
            let expected = expected.map(|(uid, gid, additional_gids)| Identity { uid, gid, additional_gids });
            assert_eq!(got, expected, "{why}");
        }
    }
}
