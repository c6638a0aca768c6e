//! Probes and hooks go to the pod and not wherever it likes, with the kubelet's own hands.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{HTTPGetAction, TCPSocketAction};

use crate::admission::pod_security::evaluate::{Check, Violation};
use crate::admission::pod_security::policy::Level;
use crate::admission::pod_security::subject::{Container, Subject};
use crate::admission::pod_security::words;

pub(super) const CHECK: Check =
    Check { id: "hostProbesAndHostLifecycle", level: Level::Baseline, revisions: &[(34, judge)], overrides: None };

fn judge(subject: &Subject<'_>) -> Option<Violation> {
    let mut hosts = BTreeSet::new();
    let bad: BTreeSet<&str> = subject
        .containers()
        .filter_map(|container| {
            let here: Vec<&str> = hosts_of(&container).collect();
            hosts.extend(here.iter().copied());
            (!here.is_empty()).then_some(container.name)
        })
        .collect();
    let bad: Vec<&str> = bad.into_iter().collect();
    (!bad.is_empty()).then(|| {
        let use_ = words::plural(bad.len(), "uses", "use");
        let what = words::plural(hosts.len(), "probe or lifecycle host", "probe or lifecycle hosts");
        let detail = format!("{} {use_} {what} {}", words::containers(&bad), words::quoted(hosts));
        Violation { reason: "probe or lifecycle host", detail }
    })
}

fn hosts_of<'o>(container: &Container<'o>) -> impl Iterator<Item = &'o str> {
    let host = |get: Option<&'o HTTPGetAction>, socket: Option<&'o TCPSocketAction>| {
        let hosts = [get.and_then(|get| get.host.as_deref()), socket.and_then(|socket| socket.host.as_deref())];
        hosts.into_iter().flatten().filter(|host| !host.is_empty())
    };
    let probes = container.probes.into_iter().flatten();
    let hooks = container.lifecycle.into_iter().flat_map(|hooks| [&hooks.post_start, &hooks.pre_stop]).flatten();
    let probes = probes.flat_map(move |probe| host(probe.http_get.as_ref(), probe.tcp_socket.as_ref()));
    probes.chain(hooks.flat_map(move |hook| host(hook.http_get.as_ref(), hook.tcp_socket.as_ref())))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::admission::pod_security::evaluate::testing::said;

    #[test]
    fn table() {
        let get = |host: &str| json!({"httpGet": {"port": 80, "host": host}});
        let socket = |host: &str| json!({"tcpSocket": {"port": 80, "host": host}});
        let container = |name: &str, field: &str, action: Value| json!({"name": name, field: action});
        let bad = |what: &str| format!("probe or lifecycle host: {what}");
        let one = bad(r#"container "a" uses probe or lifecycle host "h""#);
        for (minor, containers, expected) in [
            (33, json!([container("a", "livenessProbe", get("h"))]), String::new()),
            (34, json!([container("a", "livenessProbe", get(""))]), String::new()),
            (34, json!([container("a", "livenessProbe", get("h"))]), one.clone()),
            (34, json!([container("a", "readinessProbe", socket("h"))]), one.clone()),
            (34, json!([container("a", "startupProbe", get("h"))]), one.clone()),
            (34, json!([container("a", "lifecycle", json!({"postStart": get("h")}))]), one.clone()),
            (34, json!([container("a", "lifecycle", json!({"preStop": socket("h"), "postStart": get("h")}))]), one),
            (
                34,
                json!([container("b", "livenessProbe", get("h")), container("a", "livenessProbe", get("g"))]),
                bad(r#"containers "a", "b" use probe or lifecycle hosts "g", "h""#),
            ),
        ] {
            assert_eq!(said(&CHECK, minor, json!({ "containers": containers })), expected, "{minor} {containers}");
        }
    }
}
