//! Which capabilities a container's process gets. Pure.

use std::collections::BTreeSet;

use oci_spec::runtime::{Capabilities, Capability, LinuxCapabilities};

use crate::runtime::{BadSpec, Security};

/// What a container may do if nothing is said: the set that every runtime gives.
const DEFAULT: &[&str] = &[
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "NET_RAW",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

pub(super) fn none() -> LinuxCapabilities {
    same(&BTreeSet::new())
}

/// `available` is what the host has to give; a capability that is known but not there is left out, as no process on this
/// host could have it.
pub(super) fn of(security: &Security, available: &BTreeSet<String>) -> Result<LinuxCapabilities, BadSpec> {
    let plain = |name: &String| {
        let upper = name.to_ascii_uppercase();
        upper.strip_prefix("CAP_").unwrap_or(&upper).to_owned()
    };
    let add: Vec<String> = security.capabilities_add.iter().map(plain).collect();
    let drop: Vec<String> = security.capabilities_drop.iter().map(plain).collect();
    if let Some(bad) = add.iter().chain(&drop).find(|name| *name != "ALL" && known(name).is_none()) {
        return Err(BadSpec::UnknownCapability(bad.clone()));
    }
    let all = |list: &[String]| list.iter().any(|name| name == "ALL");
    let mut names: BTreeSet<String> = match (security.privileged || all(&add), all(&drop)) {
        (true, _) => available.clone(),
        (false, true) => BTreeSet::new(),
        (false, false) => DEFAULT.iter().map(|name| (*name).to_owned()).collect(),
    };
    if !security.privileged {
        names.retain(|name| !drop.contains(name));
        names.extend(add.into_iter().filter(|name| name != "ALL"));
    }
    names.retain(|name| available.contains(name));
    Ok(same(&names))
}

fn known(name: &str) -> Option<Capability> {
    name.parse().ok()
}

fn same(names: &BTreeSet<String>) -> LinuxCapabilities {
    let set: Capabilities = names.iter().filter_map(|name| known(name)).collect();
    let mut all = LinuxCapabilities::default();
    all.set_bounding(Some(set.clone())).set_effective(Some(set.clone())).set_permitted(Some(set));
    // Inheritable ones would leak into programs that the container's root starts as another user (CVE-2022-24769).
    all.set_inheritable(None).set_ambient(None);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_the_fourteen_that_every_runtime_gives() {
        let all: BTreeSet<String> =
            caps::all().iter().map(|c| c.to_string().trim_start_matches("CAP_").to_owned()).collect();
        let got = of(&Security::default(), &all).unwrap();
        let expected = [
            Capability::AuditWrite,
            Capability::Chown,
            Capability::DacOverride,
            Capability::Fowner,
            Capability::Fsetid,
            Capability::Kill,
            Capability::Mknod,
            Capability::NetBindService,
            Capability::NetRaw,
            Capability::Setfcap,
            Capability::Setgid,
            Capability::Setpcap,
            Capability::Setuid,
            Capability::SysChroot,
        ];
        let expected: Capabilities = expected.into();
        assert_eq!((got.bounding(), got.effective()), (&Some(expected.clone()), &Some(expected)));
        assert_eq!((got.inheritable(), got.ambient()), (&None, &None));
    }

    #[test]
    fn capabilities_table() {
        let host: BTreeSet<String> = ["CHOWN", "KILL", "NET_ADMIN", "SYS_ADMIN"].map(str::to_owned).into();
        type Names = &'static [&'static str];
        let cases: [(&str, bool, Names, Names, Option<Names>); 8] = [
            ("default, as far as the host has them", false, &[], &[], Some(&["CHOWN", "KILL"])),
            (
                "add with and without prefix",
                false,
                &["CAP_NET_ADMIN", "sys_admin"],
                &[],
                Some(&["CHOWN", "KILL", "NET_ADMIN", "SYS_ADMIN"]),
            ),
            ("drop one", false, &[], &["KILL"], Some(&["CHOWN"])),
            ("drop all but one", false, &["KILL"], &["ALL"], Some(&["KILL"])),
            ("add all but one", false, &["ALL"], &["KILL"], Some(&["CHOWN", "NET_ADMIN", "SYS_ADMIN"])),
            ("privileged has all", true, &[], &["KILL"], Some(&["CHOWN", "KILL", "NET_ADMIN", "SYS_ADMIN"])),
            ("known but not on this host", false, &["SYS_RESOURCE"], &["ALL"], Some(&[])),
            ("unknown", false, &["NO_SUCH"], &[], None),
        ];
        for (why, privileged, add, drop, expected) in cases {
            let owned = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
            let security = Security {
                privileged,
                capabilities_add: owned(add),
                capabilities_drop: owned(drop),
                ..Security::default()
            };
            let got = of(&security, &host).ok().map(|caps| caps.bounding().clone().unwrap());
            let expected = expected.map(|names| names.iter().map(|n| known(n).unwrap()).collect::<Capabilities>());
            assert_eq!(got, expected, "{why}");
        }
    }
}
