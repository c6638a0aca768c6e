//! What is masked in /proc stays masked.

use std::collections::BTreeSet;

use crate::admission::pod_security::evaluate::{Check, Violation};
use crate::admission::pod_security::policy::Level;
use crate::admission::pod_security::subject::Subject;
use crate::admission::pod_security::words;

pub(super) const BASELINE: Check = Check {
    id: "procMount",
    level: Level::Baseline,
    revisions: &[(0, judge), (35, |subject| if subject.has_own_users() { None } else { judge(subject) })],
    overrides: None,
};
/// From when on the baseline is lax where pods have their own users.
pub(super) const RESTRICTED: Check = Check {
    id: "procMount_restricted",
    level: Level::Restricted,
    revisions: &[(35, judge)],
    overrides: Some("procMount"),
};

fn judge(subject: &Subject<'_>) -> Option<Violation> {
    let mut types = BTreeSet::new();
    let bad = subject.which_with(|context| {
        let bad = context.proc_mount.as_ref().filter(|mount| *mount != "Default");
        types.extend(bad);
        bad.is_some()
    });
    (!bad.is_empty()).then(|| {
        let (containers, types) = (words::containers(&bad), words::quoted(types));
        Violation {
            reason: "procMount",
            detail: format!("{containers} must not set securityContext.procMount to {types}"),
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::admission::pod_security::evaluate::testing::{pair, said};

    #[test]
    fn table() {
        let set = |value: &str| json!({"procMount": value});
        let bad = r#"procMount: container "a" must not set securityContext.procMount to "Unmasked""#;
        let masked = pair(json!({}), set("Default"), json!({}));
        let unmasked = pair(json!({}), set("Unmasked"), json!({}));
        let mut own_users = unmasked.clone();
        own_users["hostUsers"] = json!(false);
        for (check, minor, spec, expected) in [
            (&BASELINE, 0, &masked, ""),
            (&BASELINE, 0, &unmasked, bad),
            (&BASELINE, 34, &own_users, bad),
            (&BASELINE, 35, &own_users, ""),
            (&BASELINE, 35, &unmasked, bad),
            (&RESTRICTED, 34, &unmasked, ""),
            (&RESTRICTED, 35, &own_users, bad),
            (&RESTRICTED, 35, &masked, ""),
        ] {
            assert_eq!(said(check, minor, spec.clone()), expected, "{} {minor} {spec}", check.id);
        }
    }
}
