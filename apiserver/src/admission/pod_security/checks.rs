//! All checks, in the order in which they speak: those of the lower level first, each level's by name.

mod app_armor;
mod capabilities;
mod host_namespaces;
mod host_ports;
mod host_probes;
mod privilege_escalation;
mod privileged;
mod proc_mount;
mod run_as;
mod seccomp;
mod selinux;
mod sysctls;
mod volumes;
mod windows;

use super::evaluate::Check;

pub(super) const CHECKS: &[Check] = &[
    app_armor::CHECK,
    capabilities::BASELINE,
    host_namespaces::CHECK,
    volumes::BASELINE,
    host_ports::CHECK,
    host_probes::CHECK,
    privileged::CHECK,
    proc_mount::BASELINE,
    selinux::CHECK,
    seccomp::BASELINE,
    sysctls::CHECK,
    windows::CHECK,
    privilege_escalation::CHECK,
    capabilities::RESTRICTED,
    proc_mount::RESTRICTED,
    volumes::RESTRICTED,
    run_as::NON_ROOT,
    run_as::USER,
    seccomp::RESTRICTED,
];
