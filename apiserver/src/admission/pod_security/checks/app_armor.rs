//! AppArmor's default profile is not switched off.

use std::collections::BTreeSet;

use corten_api::pod::annotations::APP_ARMOR_PREFIX;
use k8s_openapi::api::core::v1::AppArmorProfile;

use crate::admission::pod_security::evaluate::{Check, Violation};
use crate::admission::pod_security::policy::Level;
use crate::admission::pod_security::subject::Subject;
use crate::admission::pod_security::words;

pub(super) const CHECK: Check =
    Check { id: "appArmorProfile", level: Level::Baseline, revisions: &[(0, judge)], overrides: None };

fn judge(subject: &Subject<'_>) -> Option<Violation> {
    let mut values = BTreeSet::new();
    let mut bad = |profile: Option<&AppArmorProfile>| {
        let bad = profile.filter(|profile| !matches!(profile.type_.as_str(), "RuntimeDefault" | "Localhost"));
        bad.is_some_and(|profile| {
            values.insert(profile.type_.clone());
            true
        })
    };
    let pod = bad(subject.security().and_then(|context| context.app_armor_profile.as_ref()));
    let containers = subject.which_with(|context| bad(context.app_armor_profile.as_ref()));
    let annotations: Vec<String> = subject
        .annotations()
        .filter(|(key, value)| key.starts_with(APP_ARMOR_PREFIX) && !is_good_annotation(value))
        .map(|(key, value)| format!("{key}={value:?}"))
        .collect();
    let mut setters: Vec<String> = words::setters(pod, &containers).into_iter().collect();
    if !annotations.is_empty() {
        setters.push(words::plural(annotations.len(), "annotation", "annotations").into());
    }
    let values: Vec<String> = values.into_iter().chain(annotations).collect();
    (!setters.is_empty()).then(|| Violation {
        reason: words::plural(values.len(), "forbidden AppArmor profile", "forbidden AppArmor profiles"),
        detail: format!("{} must not set AppArmor profile type to {}", setters.join(" and "), words::quoted(values)),
    })
}

fn is_good_annotation(value: &str) -> bool {
    value.is_empty() || value == "runtime/default" || value.starts_with("localhost/")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::admission::pod_security::evaluate::testing::{pair, said_of};

    #[test]
    fn table() {
        let of = |kind: &str| json!({"appArmorProfile": {"type": kind}});
        let annotated = |value: &str| json!({"annotations": {format!("{APP_ARMOR_PREFIX}a"): value}});
        let good = of("Localhost");
        for (meta, spec, expected) in [
            (json!({}), pair(of("RuntimeDefault"), good.clone(), json!({})), ""),
            (annotated("localhost/x"), pair(json!({}), json!({}), json!({})), ""),
            (annotated(""), pair(json!({}), json!({}), json!({})), ""),
            (json!({"annotations": {"x": "unconfined"}}), pair(json!({}), json!({}), json!({})), ""),
            (
                json!({}),
                pair(of("Unconfined"), good.clone(), json!({})),
                r#"forbidden AppArmor profile: pod must not set AppArmor profile type to "Unconfined""#,
            ),
            (
                json!({}),
                pair(of("Unconfined"), of("Unconfined"), of("X")),
                r#"forbidden AppArmor profiles: pod and containers "a", "b" must not set AppArmor profile type to "Unconfined", "X""#,
            ),
            (
                annotated("unconfined"),
                pair(json!({}), of("X"), good),
                r#"forbidden AppArmor profiles: container "a" and annotation must not set AppArmor profile type to "X", "container.apparmor.security.beta.kubernetes.io/a="unconfined"""#,
            ),
        ] {
            assert_eq!(said_of(&CHECK, 0, json!({"metadata": meta, "spec": spec})), expected, "{meta} {spec}");
        }
    }
}
