//! No container is root on the node.

use crate::admission::pod_security::evaluate::{Check, Violation};
use crate::admission::pod_security::policy::Level;
use crate::admission::pod_security::subject::Subject;
use crate::admission::pod_security::words;

pub(super) const CHECK: Check =
    Check { id: "privileged", level: Level::Baseline, revisions: &[(0, judge)], overrides: None };

fn judge(subject: &Subject<'_>) -> Option<Violation> {
    let bad = subject.which_with(|context| context.privileged == Some(true));
    (!bad.is_empty()).then(|| Violation {
        reason: "privileged",
        detail: format!("{} must not set securityContext.privileged=true", words::containers(&bad)),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::admission::pod_security::evaluate::testing::{pair, said};

    #[test]
    fn table() {
        let set = |value: bool| json!({"privileged": value});
        for (spec, expected) in [
            (pair(json!({}), set(false), json!({})), ""),
            (
                pair(json!({}), set(true), set(false)),
                r#"privileged: container "a" must not set securityContext.privileged=true"#,
            ),
            (
                json!({"ephemeralContainers": [{"name": "e", "securityContext": {"privileged": true}}]}),
                r#"privileged: container "e" must not set securityContext.privileged=true"#,
            ),
        ] {
            assert_eq!(said(&CHECK, 0, spec.clone()), expected, "{spec}");
        }
    }
}
