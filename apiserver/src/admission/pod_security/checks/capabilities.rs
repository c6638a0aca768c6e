//! What of root's powers containers may have.

use std::collections::BTreeSet;

use crate::admission::pod_security::evaluate::{Check, Violation};
use crate::admission::pod_security::policy::Level;
use crate::admission::pod_security::subject::Subject;
use crate::admission::pod_security::words;

/// What containers have unless they say otherwise, but for raw sockets.
const DEFAULTS: &[&str] = &[
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];
/// What those may add that must drop all.
const RESTORABLE: &[&str] = &["NET_BIND_SERVICE"];

pub(super) const BASELINE: Check = Check {
    id: "capabilities_baseline",
    level: Level::Baseline,
    revisions: &[(0, |subject| {
        let detail = added(subject, DEFAULTS)?;
        Some(Violation { reason: "non-default capabilities", detail })
    })],
    overrides: None,
};
pub(super) const RESTRICTED: Check = Check {
    id: "capabilities_restricted",
    level: Level::Restricted,
    revisions: &[(22, restricted), (25, |subject| if subject.is_windows() { None } else { restricted(subject) })],
    overrides: Some("capabilities_baseline"),
};

/// Which containers add others than these.
fn added(subject: &Subject<'_>, good: &[&str]) -> Option<String> {
    let mut bad = BTreeSet::new();
    let containers = subject.which_with(|context| {
        let capabilities = context.capabilities.iter().flat_map(|capabilities| capabilities.add.iter().flatten());
        let here: Vec<&String> = capabilities.filter(|name| !good.contains(&name.as_str())).collect();
        bad.extend(here.iter().copied());
        !here.is_empty()
    });
    (!containers.is_empty()).then(|| {
        let containers = words::containers(&containers);
        format!("{containers} must not include {} in securityContext.capabilities.add", words::quoted(bad))
    })
}

fn restricted(subject: &Subject<'_>) -> Option<Violation> {
    let keeping = subject.which(|container| {
        let dropped = container.security.and_then(|context| context.capabilities.as_ref()?.drop.as_ref());
        !dropped.is_some_and(|dropped| dropped.iter().any(|name| name == "ALL"))
    });
    let kept = (!keeping.is_empty())
        .then(|| format!("{} must set securityContext.capabilities.drop=[\"ALL\"]", words::containers(&keeping)));
    let details: Vec<String> = kept.into_iter().chain(added(subject, RESTORABLE)).collect();
    (!details.is_empty()).then(|| Violation { reason: "unrestricted capabilities", detail: details.join("; ") })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::admission::pod_security::evaluate::testing::{pair, said};

    #[test]
    fn table() {
        let add = |names: &[&str]| json!({"capabilities": {"add": names}});
        let drop = |names: &[&str], add: &[&str]| json!({"capabilities": {"drop": names, "add": add}});
        let none = json!({});
        let mut windows = pair(json!({}), json!({}), json!({}));
        windows["os"] = json!({"name": "windows"});
        for (check, minor, spec, expected) in [
            (&BASELINE, 0, pair(json!({}), add(&["CHOWN"]), none.clone()), ""),
            (
                &BASELINE,
                0,
                pair(json!({}), add(&["SYS_ADMIN", "NET_RAW"]), add(&["NET_RAW"])),
                r#"non-default capabilities: containers "a", "b" must not include "NET_RAW", "SYS_ADMIN" in securityContext.capabilities.add"#,
            ),
            (&RESTRICTED, 21, pair(json!({}), none.clone(), none.clone()), ""),
            (&RESTRICTED, 22, pair(json!({}), drop(&["ALL"], &["NET_BIND_SERVICE"]), drop(&["KILL", "ALL"], &[])), ""),
            (
                &RESTRICTED,
                22,
                pair(json!({}), none.clone(), drop(&["KILL"], &[])),
                r#"unrestricted capabilities: containers "a", "b" must set securityContext.capabilities.drop=["ALL"]"#,
            ),
            (
                &RESTRICTED,
                22,
                pair(json!({}), drop(&["ALL"], &["CHOWN"]), none),
                r#"unrestricted capabilities: container "b" must set securityContext.capabilities.drop=["ALL"]; container "a" must not include "CHOWN" in securityContext.capabilities.add"#,
            ),
            (
                &RESTRICTED,
                24,
                windows.clone(),
                r#"unrestricted capabilities: containers "a", "b" must set securityContext.capabilities.drop=["ALL"]"#,
            ),
            (&RESTRICTED, 25, windows, ""),
        ] {
            assert_eq!(said(check, minor, spec.clone()), expected, "{minor} {spec}");
        }
    }
}
