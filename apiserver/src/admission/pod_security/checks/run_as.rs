//! Nobody runs as root.

use crate::admission::pod_security::evaluate::{Check, Violation};
use crate::admission::pod_security::policy::Level;
use crate::admission::pod_security::subject::Subject;
use crate::admission::pod_security::words;

pub(super) const NON_ROOT: Check = Check {
    id: "runAsNonRoot",
    level: Level::Restricted,
    revisions: &[(0, non_root), (35, |subject| if subject.has_own_users() { None } else { non_root(subject) })],
    overrides: None,
};
pub(super) const USER: Check = Check {
    id: "runAsUser",
    level: Level::Restricted,
    revisions: &[(23, user), (35, |subject| if subject.has_own_users() { None } else { user(subject) })],
    overrides: None,
};

fn non_root(subject: &Subject<'_>) -> Option<Violation> {
    let pod = subject.security().and_then(|context| context.run_as_non_root);
    let refusing = subject.which_with(|context| context.run_as_non_root == Some(false));
    let detail = match words::setters(pod == Some(false), &refusing) {
        Some(setters) => format!("{setters} must not set securityContext.runAsNonRoot=false"),
        None if pod == Some(true) => return None,
        None => {
            let silent = subject.which(|c| c.security.and_then(|context| context.run_as_non_root).is_none());
            if silent.is_empty() {
                return None;
            }
            format!("pod or {} must set securityContext.runAsNonRoot=true", words::containers(&silent))
        }
    };
    Some(Violation { reason: "runAsNonRoot != true", detail })
}

fn user(subject: &Subject<'_>) -> Option<Violation> {
    let pod = subject.security().and_then(|context| context.run_as_user) == Some(0);
    let containers = subject.which_with(|context| context.run_as_user == Some(0));
    let setters = words::setters(pod, &containers)?;
    Some(Violation { reason: "runAsUser=0", detail: format!("{setters} must not set runAsUser=0") })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::admission::pod_security::evaluate::testing::{pair, said};

    #[test]
    fn non_root_table() {
        let set = |value: bool| json!({"runAsNonRoot": value});
        let none = json!({});
        let mut own_users = pair(set(false), none.clone(), none.clone());
        own_users["hostUsers"] = json!(false);
        let pod = "runAsNonRoot != true: pod must not set securityContext.runAsNonRoot=false";
        for (minor, spec, expected) in [
            (0, pair(set(true), none.clone(), set(true)), ""),
            (0, pair(none.clone(), set(true), set(true)), ""),
            (0, pair(set(false), set(true), set(true)), pod),
            (
                0,
                pair(none.clone(), set(false), none.clone()),
                r#"runAsNonRoot != true: container "a" must not set securityContext.runAsNonRoot=false"#,
            ),
            (
                0,
                pair(set(true), set(false), none.clone()),
                r#"runAsNonRoot != true: container "a" must not set securityContext.runAsNonRoot=false"#,
            ),
            (
                0,
                pair(none.clone(), set(true), none.clone()),
                r#"runAsNonRoot != true: pod or container "b" must set securityContext.runAsNonRoot=true"#,
            ),
            (
                0,
                pair(none.clone(), none.clone(), none),
                r#"runAsNonRoot != true: pod or containers "a", "b" must set securityContext.runAsNonRoot=true"#,
            ),
            (34, own_users.clone(), pod),
            (35, own_users, ""),
        ] {
            assert_eq!(said(&NON_ROOT, minor, spec.clone()), expected, "{minor} {spec}");
        }
    }

    #[test]
    fn user_table() {
        let set = |value: i64| json!({"runAsUser": value});
        let none = json!({});
        let mut own_users = pair(set(0), none.clone(), none.clone());
        own_users["hostUsers"] = json!(false);
        for (minor, spec, expected) in [
            (22, pair(set(0), none.clone(), none.clone()), ""),
            (23, pair(set(1), set(2), none.clone()), ""),
            (23, pair(set(0), set(2), none.clone()), "runAsUser=0: pod must not set runAsUser=0"),
            (23, pair(none, set(0), set(0)), r#"runAsUser=0: containers "a", "b" must not set runAsUser=0"#),
            (34, own_users.clone(), "runAsUser=0: pod must not set runAsUser=0"),
            (35, own_users, ""),
        ] {
            assert_eq!(said(&USER, minor, spec.clone()), expected, "{minor} {spec}");
        }
    }
}
