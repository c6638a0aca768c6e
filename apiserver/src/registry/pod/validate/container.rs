//! One container: its name, image, ports and mounts.

use std::collections::HashSet;

use corten_api::{Problems, pod};
use k8s_openapi::api::core::v1::{Container, ContainerPort, VolumeMount};

use super::{Around, claims, devices, env, handlers, resources, security, volumes};
use crate::registry::path::Path;
use crate::registry::{check, resource_names};

const PULL_POLICIES: &[&str] = &["Always", "IfNotPresent", "Never"];
const MESSAGE_POLICIES: &[&str] = &["FallbackToLogsOnError", "File"];
const PROPAGATIONS: &[&str] = &["Bidirectional", "HostToContainer", "None"];
const READ_ONLY_MODES: &[&str] = &["Disabled", "Enabled", "IfPossible"];
const RESTART_ACTIONS: &[&str] = &["Restart", "RestartAllContainers"];
const RESTART_RULES_MAX: usize = 20;
const EXIT_CODES_MAX: usize = 255;
const SIDECAR_ONLY: &str = "may not be set for init containers without restartPolicy=Always";

/// `names` holds the names of the pod's containers so far.
pub(super) fn validate<'a>(
    container: &'a Container,
    around: &Around<'_>,
    names: &mut HashSet<&'a str>,
    at: &Path<'_>,
    problems: &mut Problems,
) {
    name(container, names, at, problems);
    image(container, around, at, problems);
    handlers::lifecycle(container.lifecycle.as_ref(), around, &at.field("lifecycle"), problems);
    handlers::probes(container, at, problems);
    ports(container, around, &at.field("ports"), problems);
    env::validate(container, around, at, problems);
    mounts(container, around, &at.field("volumeMounts"), problems);
    devices::validate(container, around, &at.field("volumeDevices"), problems);
    if let Some(amounts) = &container.resources {
        let at = at.field("resources");
        resources::validate(amounts, resource_names::of_containers, &at, problems);
        let claims = amounts.claims.as_deref().unwrap_or_default();
        claims::of_container(claims, &around.claims, &at.field("claims"), problems);
    }
    let policies = container.resize_policy.as_deref().unwrap_or_default();
    resources::resize_policies(policies, around.restarts, at, problems);
    if let Some(context) = &container.security_context {
        security::container(context, around, &at.field("securityContext"), problems);
    }
    let policy = container.termination_message_policy.as_ref();
    check::word(problems, &at.field("terminationMessagePolicy"), policy, MESSAGE_POLICIES);
    check::optional_word(
        problems,
        &at.field("restartPolicy"),
        container.restart_policy.as_ref(),
        super::RESTART_POLICIES,
    );
    restart_rules(container, at, problems);
}

/// <https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#container-restart-rules>
fn restart_rules(container: &Container, at: &Path<'_>, problems: &mut Problems) {
    let rules = container.restart_policy_rules.as_deref().unwrap_or_default();
    if !rules.is_empty() && container.restart_policy.is_none() {
        problems.required(at.field("restartPolicy"), "must specify restartPolicy when restart rules are used");
    }
    let list = at.field("restartPolicyRules");
    if rules.len() > RESTART_RULES_MAX {
        problems.too_many(list, rules.len(), RESTART_RULES_MAX);
    }
    for (i, rule) in rules.iter().enumerate() {
        let at = list.index(i);
        check::optional_word(problems, &at.field("action"), Some(&rule.action), RESTART_ACTIONS);
        let codes_at = at.field("exitCodes");
        let Some(codes) = &rule.exit_codes else {
            problems.required(codes_at, "must be specified");
            continue;
        };
        check::optional_word(problems, &codes_at.field("operator"), Some(&codes.operator), &["In", "NotIn"]);
        let values = codes.values.as_ref().map_or(0, Vec::len);
        if values > EXIT_CODES_MAX {
            problems.too_many(codes_at.field("values"), values, EXIT_CODES_MAX);
        }
    }
}

/// An init container runs to its end before the others start, so it has no probes; unless it is a sidecar.
pub(super) fn validate_init<'a>(
    container: &'a Container,
    around: &Around<'_>,
    names: &mut HashSet<&'a str>,
    at: &Path<'_>,
    problems: &mut Problems,
) {
    validate(container, around, names, at, problems);
    if pod::is_sidecar(container) {
        if container.restart_policy_rules.as_ref().is_some_and(|rules| !rules.is_empty()) {
            let why = "restartPolicyRules are not allowed for init containers with restart policy Always";
            problems.forbidden(at.field("restartPolicyRules"), why);
        }
        return;
    }
    for (field, is_set) in [
        ("lifecycle", container.lifecycle.is_some()),
        ("livenessProbe", container.liveness_probe.is_some()),
        ("readinessProbe", container.readiness_probe.is_some()),
        ("startupProbe", container.startup_probe.is_some()),
    ] {
        if is_set {
            problems.forbidden(at.field(field), SIDECAR_ONLY);
        }
    }
}

fn name<'a>(container: &'a Container, names: &mut HashSet<&'a str>, at: &Path<'_>, problems: &mut Problems) {
    let name = container.name.as_str();
    if name.is_empty() {
        return problems.required(at.field("name"), "");
    }
    check::dns_label(problems, &at.field("name"), name);
    if !names.insert(name) {
        problems.duplicate(at.field("name"), name);
    }
}

fn image(container: &Container, around: &Around<'_>, at: &Path<'_>, problems: &mut Problems) {
    match check::text(container.image.as_ref()) {
        "" => problems.required(at.field("image"), ""),
        // In templates a blank can stand for an image that somebody else is to fill in.
        image if around.of.is_pod() && image.trim() != image => {
            problems.invalid(at.field("image"), image, "must not have leading or trailing whitespace");
        }
        _ => {}
    }
    check::word(problems, &at.field("imagePullPolicy"), container.image_pull_policy.as_ref(), PULL_POLICIES);
}

fn ports(container: &Container, around: &Around<'_>, list: &Path<'_>, problems: &mut Problems) {
    let mut names = HashSet::new();
    for (i, port) in container.ports.iter().flatten().enumerate() {
        let at = list.index(i);
        let name = check::text(port.name.as_ref());
        if !name.is_empty() {
            check::port_name(problems, &at.field("name"), name);
            if !names.insert(name) {
                problems.duplicate(at.field("name"), name);
            }
        }
        one_port(port, around, &at, problems);
    }
}

fn one_port(port: &ContainerPort, around: &Around<'_>, at: &Path<'_>, problems: &mut Problems) {
    match port.container_port {
        0 => problems.required(at.field("containerPort"), ""),
        number => check::port_number(problems, &at.field("containerPort"), number),
    }
    if let Some(number) = port.host_port.filter(|p| *p != 0) {
        check::port_number(problems, &at.field("hostPort"), number);
        if around.host_network && number != port.container_port {
            let why = "must match `hostPort` when `hostNetwork` is true";
            problems.invalid(at.field("containerPort"), port.container_port, why);
        }
    }
    if let Some(ip) = port.host_ip.as_ref().filter(|ip| !ip.is_empty()) {
        check::ip(problems, &at.field("hostIP"), ip);
    }
    check::word(problems, &at.field("protocol"), port.protocol.as_ref(), check::PROTOCOLS);
}

fn mounts(container: &Container, around: &Around<'_>, list: &Path<'_>, problems: &mut Problems) {
    let mut paths = HashSet::new();
    let privileged = container.security_context.as_ref().and_then(|s| s.privileged) == Some(true);
    for (i, mount) in container.volume_mounts.iter().flatten().enumerate() {
        let at = list.index(i);
        if mount.name.is_empty() {
            problems.required(at.field("name"), "");
        } else if !around.volumes.contains_key(mount.name.as_str()) {
            problems.not_found(at.field("name"), &mount.name);
        }
        if mount.mount_path.is_empty() {
            problems.required(at.field("mountPath"), "");
        } else if !paths.insert(mount.mount_path.as_str()) {
            problems.invalid(at.field("mountPath"), &mount.mount_path, "must be unique");
        }
        sub_paths(mount, &at, problems);
        propagation(mount, privileged, &at, problems);
    }
}

fn sub_paths(mount: &VolumeMount, at: &Path<'_>, problems: &mut Problems) {
    let (plain, expression) = (check::text(mount.sub_path.as_ref()), check::text(mount.sub_path_expr.as_ref()));
    if !plain.is_empty() && !expression.is_empty() {
        problems.invalid(at.field("subPathExpr"), expression, "subPathExpr and subPath are mutually exclusive");
    }
    for (field, path) in [("subPath", plain), ("subPathExpr", expression)] {
        if !path.is_empty() {
            volumes::descending(path, &at.field(field), problems);
        }
    }
}

fn propagation(mount: &VolumeMount, privileged: bool, at: &Path<'_>, problems: &mut Problems) {
    let propagation = mount.mount_propagation.as_ref();
    check::optional_word(problems, &at.field("mountPropagation"), propagation, PROPAGATIONS);
    if propagation.is_some_and(|p| p == "Bidirectional") && !privileged {
        let why = "Bidirectional mount propagation is available only to privileged containers";
        problems.forbidden(at.field("mountPropagation"), why);
    }
    let mode = mount.recursive_read_only.as_ref();
    let mode_at = at.field("recursiveReadOnly");
    check::optional_word(problems, &mode_at, mode, READ_ONLY_MODES);
    if mode.is_some_and(|m| m != "Disabled") {
        if mount.read_only != Some(true) {
            problems.forbidden(mode_at, "may only be specified when readOnly is true");
        }
        if propagation.is_some_and(|p| p != "None") {
            problems.forbidden(mode_at, "may only be specified when mountPropagation is None or not specified");
        }
    }
}
