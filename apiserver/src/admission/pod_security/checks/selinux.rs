//! SELinux's labels are those of containers.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::SELinuxOptions;

use crate::admission::pod_security::evaluate::{Check, Violation};
use crate::admission::pod_security::policy::Level;
use crate::admission::pod_security::subject::Subject;
use crate::admission::pod_security::words;

const TYPES: &[&str] = &["", "container_t", "container_init_t", "container_kvm_t"];
const TYPES_31: &[&str] = &["", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"];

pub(super) const CHECK: Check = Check {
    id: "seLinuxOptions",
    level: Level::Baseline,
    revisions: &[(0, |subject| judge(subject, TYPES)), (31, |subject| judge(subject, TYPES_31))],
    overrides: None,
};

fn judge(subject: &Subject<'_>, types: &[&str]) -> Option<Violation> {
    let (mut bad_types, mut user, mut role) = (BTreeSet::new(), false, false);
    let mut bad = |options: Option<&SELinuxOptions>| {
        let Some(options) = options else { return false };
        let given = |text: Option<&String>| text.is_some_and(|text| !text.is_empty());
        let bad_type = options.type_.as_deref().filter(|kind| !types.contains(kind));
        bad_types.extend(bad_type.map(str::to_owned));
        user |= given(options.user.as_ref());
        role |= given(options.role.as_ref());
        bad_type.is_some() || given(options.user.as_ref()) || given(options.role.as_ref())
    };
    let pod = bad(subject.security().and_then(|context| context.se_linux_options.as_ref()));
    let containers = subject.which_with(|context| bad(context.se_linux_options.as_ref()));
    let setters = words::setters(pod, &containers)?;
    let kinds = (!bad_types.is_empty())
        .then(|| format!("{} {}", words::plural(bad_types.len(), "type", "types"), words::quoted(&bad_types)));
    let user = user.then(|| "user may not be set".to_owned());
    let role = role.then(|| "role may not be set".to_owned());
    let what = [kinds, user, role].into_iter().flatten().collect::<Vec<_>>().join("; ");
    let detail = format!("{setters} set forbidden securityContext.seLinuxOptions: {what}");
    Some(Violation { reason: "seLinuxOptions", detail })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::admission::pod_security::evaluate::testing::{pair, said};

    #[test]
    fn table() {
        let set = |field: &str, value: &str| json!({"seLinuxOptions": {field: value}});
        let none = json!({});
        for (minor, spec, expected) in [
            (0, pair(set("type", "container_t"), set("type", ""), set("level", "s0")), ""),
            (0, pair(set("user", ""), set("role", ""), none.clone()), ""),
            (
                0,
                pair(set("type", "spc_t"), none.clone(), none.clone()),
                r#"seLinuxOptions: pod set forbidden securityContext.seLinuxOptions: type "spc_t""#,
            ),
            (
                0,
                pair(set("type", "b"), set("type", "a"), set("user", "u")),
                r#"seLinuxOptions: pod and containers "a", "b" set forbidden securityContext.seLinuxOptions: types "a", "b"; user may not be set"#,
            ),
            (
                0,
                pair(none.clone(), set("role", "r"), none.clone()),
                r#"seLinuxOptions: container "a" set forbidden securityContext.seLinuxOptions: role may not be set"#,
            ),
            (
                30,
                pair(set("type", "container_engine_t"), none.clone(), none.clone()),
                r#"seLinuxOptions: pod set forbidden securityContext.seLinuxOptions: type "container_engine_t""#,
            ),
            (31, pair(set("type", "container_engine_t"), none.clone(), none), ""),
        ] {
            assert_eq!(said(&CHECK, minor, spec.clone()), expected, "{minor} {spec}");
        }
    }
}
