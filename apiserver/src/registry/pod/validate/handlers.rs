//! What the kubelet does to a container: probes, and the hooks of its life.

use corten_api::Problems;
use k8s_openapi::api::core::v1::{
    Container, ExecAction, HTTPGetAction, Lifecycle, LifecycleHandler, Probe, SleepAction, TCPSocketAction,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{Around, signals};
use crate::registry::check;
use crate::registry::path::Path;

const NOT_A_HEADER: &str = "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')";

pub(super) fn probes(container: &Container, at: &Path<'_>, problems: &mut Problems) {
    for (field, probe) in [
        ("livenessProbe", &container.liveness_probe),
        ("readinessProbe", &container.readiness_probe),
        ("startupProbe", &container.startup_probe),
    ] {
        let Some(probe) = probe else { continue };
        let at = at.field(field);
        one_probe(probe, &at, problems);
        let readiness = field == "readinessProbe";
        if let Some(n) = probe.success_threshold.filter(|n| !readiness && *n != 1) {
            problems.invalid(at.field("successThreshold"), n, "must be 1");
        }
        match probe.termination_grace_period_seconds {
            Some(secs) if readiness => {
                problems.invalid(
                    at.field("terminationGracePeriodSeconds"),
                    secs,
                    "must not be set for readinessProbes",
                );
            }
            Some(secs) if secs <= 0 => {
                problems.invalid(at.field("terminationGracePeriodSeconds"), secs, check::NOT_POSITIVE);
            }
            _ => {}
        }
    }
}

fn one_probe(probe: &Probe, at: &Path<'_>, problems: &mut Problems) {
    let mut actions = Actions::new(at);
    actions.exec(probe.exec.as_ref(), problems);
    actions.http_get(probe.http_get.as_ref(), problems);
    actions.tcp_socket(probe.tcp_socket.as_ref(), problems);
    if let Some(grpc) = &probe.grpc
        && actions.is_first("grpc", problems)
    {
        check::port_number(problems, &at.field("grpc").field("port"), grpc.port);
    }
    actions.end(problems);
    for (field, value) in [
        ("initialDelaySeconds", probe.initial_delay_seconds),
        ("timeoutSeconds", probe.timeout_seconds),
        ("periodSeconds", probe.period_seconds),
        ("successThreshold", probe.success_threshold),
        ("failureThreshold", probe.failure_threshold),
    ] {
        check::not_negative(problems, &at.field(field), value);
    }
}

pub(super) fn lifecycle(lifecycle: Option<&Lifecycle>, around: &Around<'_>, at: &Path<'_>, problems: &mut Problems) {
    let Some(lifecycle) = lifecycle else { return };
    for (field, handler) in [("postStart", &lifecycle.post_start), ("preStop", &lifecycle.pre_stop)] {
        if let Some(handler) = handler {
            hook(handler, around.grace_secs, &at.field(field), problems);
        }
    }
    if let Some(signal) = &lifecycle.stop_signal {
        signals::validate(signal, around.os, &at.field("stopSignal"), problems);
    }
}

fn hook(handler: &LifecycleHandler, grace_secs: Option<i64>, at: &Path<'_>, problems: &mut Problems) {
    let mut actions = Actions::new(at);
    actions.exec(handler.exec.as_ref(), problems);
    actions.http_get(handler.http_get.as_ref(), problems);
    actions.tcp_socket(handler.tcp_socket.as_ref(), problems);
    actions.sleep(handler.sleep.as_ref(), grace_secs, problems);
    actions.end(problems);
}

/// Exactly one of several actions must be there.
struct Actions<'a> {
    at: &'a Path<'a>,
    seen: bool,
}

impl<'a> Actions<'a> {
    fn new(at: &'a Path<'a>) -> Self {
        Self { at, seen: false }
    }
    fn is_first(&mut self, field: &str, problems: &mut Problems) -> bool {
        if self.seen {
            problems.forbidden(self.at.field(field), "may not specify more than 1 handler type");
            return false;
        }
        self.seen = true;
        true
    }
    fn end(self, problems: &mut Problems) {
        if !self.seen {
            problems.required(self.at, "must specify a handler type");
        }
    }
    fn exec(&mut self, exec: Option<&ExecAction>, problems: &mut Problems) {
        if let Some(exec) = exec
            && self.is_first("exec", problems)
            && exec.command.as_ref().is_none_or(Vec::is_empty)
        {
            problems.required(self.at.field("exec").field("command"), "");
        }
    }
    fn http_get(&mut self, get: Option<&HTTPGetAction>, problems: &mut Problems) {
        let Some(get) = get else { return };
        if !self.is_first("httpGet", problems) {
            return;
        }
        let at = self.at.field("httpGet");
        if check::text(get.path.as_ref()).is_empty() {
            problems.required(at.field("path"), "");
        }
        port(&get.port, &at.field("port"), problems);
        check::word(problems, &at.field("scheme"), get.scheme.as_ref(), &["HTTP", "HTTPS"]);
        let list = at.field("httpHeaders");
        for (i, header) in get.http_headers.iter().flatten().enumerate() {
            let good = !header.name.is_empty() && header.name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-');
            if !good {
                problems.invalid(list.index(i).field("name"), &header.name, NOT_A_HEADER);
            }
        }
    }
    fn tcp_socket(&mut self, tcp: Option<&TCPSocketAction>, problems: &mut Problems) {
        if let Some(tcp) = tcp
            && self.is_first("tcpSocket", problems)
        {
            port(&tcp.port, &self.at.field("tcpSocket").field("port"), problems);
        }
    }
    /// Nobody sleeps longer than the pod is given to end.
    fn sleep(&mut self, sleep: Option<&SleepAction>, grace_secs: Option<i64>, problems: &mut Problems) {
        let Some(SleepAction { seconds }) = sleep else { return };
        if self.is_first("sleep", problems)
            && let Some(grace_secs) = grace_secs
            && (*seconds < 0 || *seconds > grace_secs)
        {
            let why = format!("must be non-negative and less than terminationGracePeriodSeconds ({grace_secs})");
            problems.invalid(self.at.field("sleep"), seconds, &why);
        }
    }
}

fn port(port: &IntOrString, at: &Path<'_>, problems: &mut Problems) {
    match port {
        IntOrString::Int(number) => check::port_number(problems, at, *number),
        IntOrString::String(name) => check::port_name(problems, at, name),
    }
}
