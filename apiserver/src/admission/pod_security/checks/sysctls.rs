//! Only those kernel parameters that concern the pod alone.

use crate::admission::pod_security::evaluate::{Check, Violation};
use crate::admission::pod_security::policy::Level;
use crate::admission::pod_security::subject::Subject;

/// And from which minor version on they are known to be harmless.
const HARMLESS: &[(&str, u64)] = &[
    ("kernel.shm_rmid_forced", 0),
    ("net.ipv4.ip_local_port_range", 0),
    ("net.ipv4.tcp_syncookies", 0),
    ("net.ipv4.ping_group_range", 0),
    ("net.ipv4.ip_unprivileged_port_start", 0),
    ("net.ipv4.ip_local_reserved_ports", 27),
    ("net.ipv4.tcp_keepalive_time", 29),
    ("net.ipv4.tcp_fin_timeout", 29),
    ("net.ipv4.tcp_keepalive_intvl", 29),
    ("net.ipv4.tcp_keepalive_probes", 29),
    ("net.ipv4.tcp_rmem", 32),
    ("net.ipv4.tcp_wmem", 32),
    ("net.ipv4.tcp_slow_start_after_idle", 37),
    ("net.ipv4.tcp_notsent_lowat", 37),
];

pub(super) const CHECK: Check = Check {
    id: "sysctls",
    level: Level::Baseline,
    revisions: &[
        (0, |subject| judge(subject, 0)),
        (27, |subject| judge(subject, 27)),
        (29, |subject| judge(subject, 29)),
        (32, |subject| judge(subject, 32)),
        (37, |subject| judge(subject, 37)),
    ],
    overrides: None,
};

fn judge(subject: &Subject<'_>, minor: u64) -> Option<Violation> {
    let harmless = |name: &str| HARMLESS.iter().any(|(known, since)| *known == name && *since <= minor);
    let all = subject.security().into_iter().flat_map(|context| context.sysctls.iter().flatten());
    let bad: Vec<&str> = all.map(|sysctl| sysctl.name.as_str()).filter(|name| !harmless(name)).collect();
    (!bad.is_empty()).then(|| Violation { reason: "forbidden sysctls", detail: bad.join(", ") })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::admission::pod_security::evaluate::testing::said;

    #[test]
    fn table() {
        for (minor, names, expected) in [
            (0, &["kernel.shm_rmid_forced", "net.ipv4.tcp_syncookies"][..], ""),
            (0, &["net.core.somaxconn", "kernel.msgmax"], "forbidden sysctls: net.core.somaxconn, kernel.msgmax"),
            (26, &["net.ipv4.ip_local_reserved_ports"], "forbidden sysctls: net.ipv4.ip_local_reserved_ports"),
            (27, &["net.ipv4.ip_local_reserved_ports"], ""),
            (28, &["net.ipv4.tcp_fin_timeout"], "forbidden sysctls: net.ipv4.tcp_fin_timeout"),
            (29, &["net.ipv4.tcp_fin_timeout"], ""),
            (31, &["net.ipv4.tcp_rmem"], "forbidden sysctls: net.ipv4.tcp_rmem"),
            (32, &["net.ipv4.tcp_rmem"], ""),
            (36, &["net.ipv4.tcp_notsent_lowat"], "forbidden sysctls: net.ipv4.tcp_notsent_lowat"),
            (37, &["net.ipv4.tcp_notsent_lowat"], ""),
        ] {
            let sysctls: Vec<_> = names.iter().map(|name| json!({"name": name, "value": "1"})).collect();
            let spec = json!({"securityContext": {"sysctls": sysctls}});
            assert_eq!(said(&CHECK, minor, spec), expected, "{minor} {names:?}");
        }
    }
}
