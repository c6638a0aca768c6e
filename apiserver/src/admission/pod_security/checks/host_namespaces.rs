//! The node's own network, processes and shared memory stay the node's.

use crate::admission::pod_security::evaluate::{Check, Violation};
use crate::admission::pod_security::policy::Level;
use crate::admission::pod_security::subject::Subject;

pub(super) const CHECK: Check =
    Check { id: "hostNamespaces", level: Level::Baseline, revisions: &[(0, judge)], overrides: None };

fn judge(subject: &Subject<'_>) -> Option<Violation> {
    let spec = subject.spec;
    let flags =
        [(spec.host_network, "hostNetwork=true"), (spec.host_pid, "hostPID=true"), (spec.host_ipc, "hostIPC=true")];
    let bad: Vec<&str> = flags.into_iter().filter(|(flag, _)| *flag == Some(true)).map(|(_, text)| text).collect();
    (!bad.is_empty()).then(|| Violation { reason: "host namespaces", detail: bad.join(", ") })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::admission::pod_security::evaluate::testing::said;

    #[test]
    fn table() {
        for (spec, expected) in [
            (json!({"hostNetwork": false}), ""),
            (json!({"hostPID": true}), "host namespaces: hostPID=true"),
            (
                json!({"hostNetwork": true, "hostPID": true, "hostIPC": true}),
                "host namespaces: hostNetwork=true, hostPID=true, hostIPC=true",
            ),
        ] {
            assert_eq!(said(&CHECK, 0, spec.clone()), expected, "{spec}");
        }
    }
}
