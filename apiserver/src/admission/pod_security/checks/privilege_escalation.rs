//! No process gets more than its parent has.

use crate::admission::pod_security::evaluate::{Check, Violation};
use crate::admission::pod_security::policy::Level;
use crate::admission::pod_security::subject::Subject;
use crate::admission::pod_security::words;

pub(super) const CHECK: Check = Check {
    id: "allowPrivilegeEscalation",
    level: Level::Restricted,
    revisions: &[(8, judge), (25, |subject| if subject.is_windows() { None } else { judge(subject) })],
    overrides: None,
};

fn judge(subject: &Subject<'_>) -> Option<Violation> {
    let bad = subject.which(|c| c.security.and_then(|context| context.allow_privilege_escalation) != Some(false));
    (!bad.is_empty()).then(|| Violation {
        reason: "allowPrivilegeEscalation != false",
        detail: format!("{} must set securityContext.allowPrivilegeEscalation=false", words::containers(&bad)),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::admission::pod_security::evaluate::testing::{pair, said};

    #[test]
    fn table() {
        let set = |value: bool| json!({"allowPrivilegeEscalation": value});
        let bad = |names: &str| {
            format!(
                "allowPrivilegeEscalation != false: {names} must set securityContext.allowPrivilegeEscalation=false"
            )
        };
        let mut windows = pair(json!({}), json!({}), json!({}));
        windows["os"] = json!({"name": "windows"});
        for (minor, spec, expected) in [
            (7, pair(json!({}), json!({}), json!({})), String::new()),
            (8, pair(json!({}), set(false), set(false)), String::new()),
            (8, pair(json!({}), set(true), set(false)), bad(r#"container "a""#)),
            (8, pair(json!({}), set(true), json!({})), bad(r#"containers "a", "b""#)),
            (24, windows.clone(), bad(r#"containers "a", "b""#)),
            (25, windows, String::new()),
        ] {
            assert_eq!(said(&CHECK, minor, spec.clone()), expected, "{minor} {spec}");
        }
    }
}
