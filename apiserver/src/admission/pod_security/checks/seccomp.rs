//! System calls are filtered.

use std::collections::BTreeSet;

use corten_api::pod::annotations::{SECCOMP, SECCOMP_PREFIX};
use k8s_openapi::api::core::v1::SeccompProfile;

use crate::admission::pod_security::evaluate::{Check, Violation};
use crate::admission::pod_security::policy::Level;
use crate::admission::pod_security::subject::Subject;
use crate::admission::pod_security::words;

const REASON: &str = "seccompProfile";

pub(super) const BASELINE: Check = Check {
    id: "seccompProfile_baseline",
    level: Level::Baseline,
    revisions: &[(0, annotated), (19, set)],
    overrides: None,
};
pub(super) const RESTRICTED: Check = Check {
    id: "seccompProfile_restricted",
    level: Level::Restricted,
    revisions: &[(19, restricted), (25, |subject| if subject.is_windows() { None } else { restricted(subject) })],
    overrides: Some("seccompProfile_baseline"),
};

fn annotated(subject: &Subject<'_>) -> Option<Violation> {
    let names: BTreeSet<&str> = subject.containers().map(|container| container.name).collect();
    let concerns =
        |key: &str| key == SECCOMP || key.strip_prefix(SECCOMP_PREFIX).is_some_and(|name| names.contains(name));
    let good = |value: &str| matches!(value, "runtime/default" | "docker/default") || value.starts_with("localhost/");
    let bad: BTreeSet<String> = subject
        .annotations()
        .filter(|(key, value)| concerns(key) && !good(value))
        .map(|(key, value)| format!("{key}={value:?}"))
        .collect();
    (!bad.is_empty()).then(|| {
        let what = words::plural(bad.len(), "annotation", "annotations");
        let bad = bad.into_iter().collect::<Vec<_>>().join(", ");
        Violation { reason: REASON, detail: format!("forbidden {what} {bad}") }
    })
}

/// Who set something bad.
fn set(subject: &Subject<'_>) -> Option<Violation> {
    let mut values = BTreeSet::new();
    let mut bad = |profile: Option<&SeccompProfile>| {
        let bad = profile.filter(|profile| !is_good(profile));
        bad.is_some_and(|profile| {
            values.insert(profile.type_.clone());
            true
        })
    };
    let pod = bad(subject.security().and_then(|context| context.seccomp_profile.as_ref()));
    let containers = subject.which_with(|context| bad(context.seccomp_profile.as_ref()));
    let setters = words::setters(pod, &containers)?;
    let detail = format!("{setters} must not set securityContext.seccompProfile.type to {}", words::quoted(values));
    Some(Violation { reason: REASON, detail })
}

/// Something good must be set.
fn restricted(subject: &Subject<'_>) -> Option<Violation> {
    if let Some(violation) = set(subject) {
        return Some(violation);
    }
    if subject.security().is_some_and(|context| context.seccomp_profile.is_some()) {
        return None;
    }
    let silent = subject.which(|c| c.security.and_then(|context| context.seccomp_profile.as_ref()).is_none());
    (!silent.is_empty()).then(|| {
        let containers = words::containers(&silent);
        let detail = format!(
            "pod or {containers} must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\""
        );
        Violation { reason: REASON, detail }
    })
}

fn is_good(profile: &SeccompProfile) -> bool {
    matches!(profile.type_.as_str(), "RuntimeDefault" | "Localhost")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::admission::pod_security::evaluate::testing::{pair, said, said_of};

    #[test]
    fn annotations_table() {
        let of_container = |name: &str| format!("{SECCOMP_PREFIX}{name}");
        for (annotations, expected) in [
            (
                json!({SECCOMP: "runtime/default", of_container("a"): "localhost/x", of_container("b"): "docker/default"}),
                "",
            ),
            (json!({of_container("nobody"): "unconfined"}), ""),
            (
                json!({SECCOMP: "unconfined"}),
                r#"seccompProfile: forbidden annotation seccomp.security.alpha.kubernetes.io/pod="unconfined""#,
            ),
            (
                json!({SECCOMP: "", of_container("b"): "x"}),
                r#"seccompProfile: forbidden annotations container.seccomp.security.alpha.kubernetes.io/b="x", seccomp.security.alpha.kubernetes.io/pod="""#,
            ),
        ] {
            let pod = json!({"metadata": {"annotations": annotations}, "spec": pair(json!({}), json!({}), json!({}))});
            assert_eq!(said_of(&BASELINE, 18, pod.clone()), expected, "{annotations}");
            assert_eq!(said_of(&BASELINE, 19, pod), "", "the field counts");
        }
    }

    #[test]
    fn fields_table() {
        let of = |kind: &str| json!({"seccompProfile": {"type": kind}});
        let none = json!({});
        let mut windows = pair(none.clone(), none.clone(), none.clone());
        windows["os"] = json!({"name": "windows"});
        let pod = r#"seccompProfile: pod must not set securityContext.seccompProfile.type to "Unconfined""#;
        let silent = r#"seccompProfile: pod or containers "a", "b" must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost""#;
        for (minor, spec, baseline, restricted) in [
            (19, pair(of("RuntimeDefault"), none.clone(), of("Localhost")), "", ""),
            (19, pair(none.clone(), of("RuntimeDefault"), of("Localhost")), "", ""),
            (19, pair(of("Unconfined"), of("Localhost"), of("Localhost")), pod, pod),
            (
                19,
                pair(of("Localhost"), of("Unconfined"), of("X")),
                r#"seccompProfile: containers "a", "b" must not set securityContext.seccompProfile.type to "Unconfined", "X""#,
                r#"seccompProfile: containers "a", "b" must not set securityContext.seccompProfile.type to "Unconfined", "X""#,
            ),
            (19, pair(none.clone(), none.clone(), none), "", silent),
            (24, windows.clone(), "", silent),
            (25, windows, "", ""),
        ] {
            assert_eq!(said(&BASELINE, minor, spec.clone()), baseline, "{minor} {spec}");
            assert_eq!(said(&RESTRICTED, minor, spec.clone()), restricted, "{minor} {spec}");
        }
    }
}
