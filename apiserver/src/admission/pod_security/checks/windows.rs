//! No container is a process of a Windows node.

use k8s_openapi::api::core::v1::WindowsSecurityContextOptions;

use crate::admission::pod_security::evaluate::{Check, Violation};
use crate::admission::pod_security::policy::Level;
use crate::admission::pod_security::subject::Subject;
use crate::admission::pod_security::words;

pub(super) const CHECK: Check =
    Check { id: "windowsHostProcess", level: Level::Baseline, revisions: &[(0, judge)], overrides: None };

fn judge(subject: &Subject<'_>) -> Option<Violation> {
    let bad = |options: Option<&WindowsSecurityContextOptions>| options.is_some_and(|o| o.host_process == Some(true));
    let pod = bad(subject.security().and_then(|context| context.windows_options.as_ref()));
    let containers = subject.which_with(|context| bad(context.windows_options.as_ref()));
    let setters = words::setters(pod, &containers)?;
    let detail = format!("{setters} must not set securityContext.windowsOptions.hostProcess=true");
    Some(Violation { reason: "hostProcess", detail })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::admission::pod_security::evaluate::testing::{pair, said};

    #[test]
    fn table() {
        let set = |value: bool| json!({"windowsOptions": {"hostProcess": value}});
        for (spec, expected) in [
            (pair(set(false), set(false), json!({})), ""),
            (
                pair(set(true), set(true), json!({})),
                r#"hostProcess: pod and container "a" must not set securityContext.windowsOptions.hostProcess=true"#,
            ),
            (
                pair(json!({}), set(true), set(true)),
                r#"hostProcess: containers "a", "b" must not set securityContext.windowsOptions.hostProcess=true"#,
            ),
        ] {
            assert_eq!(said(&CHECK, 0, spec.clone()), expected, "{spec}");
        }
    }
}
