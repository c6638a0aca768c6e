//! No ports of the node.

use std::collections::BTreeSet;

use crate::admission::pod_security::evaluate::{Check, Violation};
use crate::admission::pod_security::policy::Level;
use crate::admission::pod_security::subject::Subject;
use crate::admission::pod_security::words;

pub(super) const CHECK: Check =
    Check { id: "hostPorts", level: Level::Baseline, revisions: &[(0, judge)], overrides: None };

fn judge(subject: &Subject<'_>) -> Option<Violation> {
    // As texts, and so in the order of texts.
    let mut ports = BTreeSet::new();
    let bad = subject.which(|container| {
        let here: Vec<i32> = container.ports.iter().filter_map(|p| p.host_port.filter(|port| *port != 0)).collect();
        ports.extend(here.iter().map(i32::to_string));
        !here.is_empty()
    });
    (!bad.is_empty()).then(|| {
        let (use_, port) =
            (words::plural(bad.len(), "uses", "use"), words::plural(ports.len(), "hostPort", "hostPorts"));
        let ports = ports.into_iter().collect::<Vec<_>>().join(", ");
        Violation { reason: "hostPort", detail: format!("{} {use_} {port} {ports}", words::containers(&bad)) }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::admission::pod_security::evaluate::testing::said;

    #[test]
    fn table() {
        let container = |name: &str, ports: &[i32]| {
            let ports: Vec<_> = ports.iter().map(|port| json!({"containerPort": 80, "hostPort": port})).collect();
            json!({"name": name, "ports": ports})
        };
        for (containers, expected) in [
            (json!([container("a", &[0]), container("b", &[])]), ""),
            (json!([container("a", &[80]), container("b", &[])]), r#"hostPort: container "a" uses hostPort 80"#),
            (
                json!([container("a", &[80, 443]), container("b", &[80])]),
                r#"hostPort: containers "a", "b" use hostPorts 443, 80"#,
            ),
        ] {
            assert_eq!(said(&CHECK, 0, json!({ "initContainers": containers })), expected, "{containers}");
        }
    }
}
