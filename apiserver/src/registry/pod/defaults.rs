//! What a pod gets where its author said nothing.
//!
//! Values: <https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/>.

mod volumes;

pub use volumes::FILE_MODE;

use corten_api::pod::defaults;
use k8s_openapi::api::core::v1::{Container, EnvVar, EphemeralContainer, Lifecycle, Pod, PodSpec, Probe};
use k8s_openapi::api::core::v1::{ContainerPort, HTTPGetAction, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Wire;

use crate::registry::defaults::fill;
use crate::registry::quantities::canonical;

const GRACE_SECS: i64 = 30;

/// A pod's own, beyond what templates get.
pub fn pod(pod: &mut Pod) {
    let spec = pod.spec.get_or_insert_default();
    pod_spec(spec);
    spec.enable_service_links.get_or_insert(true);
    defaults::requests_from_limits(spec);
    defaults::host_ports(spec);
}

/// What pods and pod templates get alike.
pub fn pod_spec(spec: &mut PodSpec) {
    fill(&mut spec.dns_policy, "ClusterFirst");
    fill(&mut spec.restart_policy, "Always");
    fill(&mut spec.scheduler_name, "default-scheduler");
    spec.security_context.get_or_insert_default();
    spec.termination_grace_period_seconds.get_or_insert(GRACE_SECS);
    service_account(spec);
    for volume in spec.volumes.iter_mut().flatten() {
        volumes::volume(volume);
    }
    for init in spec.init_containers.iter_mut().flatten() {
        container(init);
    }
    spec.containers.iter_mut().for_each(container);
    for debug in spec.ephemeral_containers.iter_mut().flatten() {
        ephemeral(debug);
    }
    if let Some(resources) = &mut spec.resources {
        canonical_resources(resources);
    }
    canonical(spec.overhead.as_mut());
}

/// The account has two names, the older of which old clients still read.
pub fn service_account(spec: &mut PodSpec) {
    if spec.service_account_name.as_ref().is_none_or(String::is_empty) {
        spec.service_account_name = spec.service_account.take().filter(|name| !name.is_empty());
    }
    spec.service_account.clone_from(&spec.service_account_name);
}

fn container(container: &mut Container) {
    in_any_container(Parts {
        image: container.image.as_deref(),
        pull_policy: &mut container.image_pull_policy,
        message_path: &mut container.termination_message_path,
        message_policy: &mut container.termination_message_policy,
        ports: &mut container.ports,
        env: &mut container.env,
        resources: &mut container.resources,
        probes: [&mut container.liveness_probe, &mut container.readiness_probe, &mut container.startup_probe],
        lifecycle: &mut container.lifecycle,
    });
}
fn ephemeral(container: &mut EphemeralContainer) {
    in_any_container(Parts {
        image: container.image.as_deref(),
        pull_policy: &mut container.image_pull_policy,
        message_path: &mut container.termination_message_path,
        message_policy: &mut container.termination_message_policy,
        ports: &mut container.ports,
        env: &mut container.env,
        resources: &mut container.resources,
        probes: [&mut container.liveness_probe, &mut container.readiness_probe, &mut container.startup_probe],
        lifecycle: &mut container.lifecycle,
    });
}

/// What Container and EphemeralContainer have in common, to be filled in.
struct Parts<'a> {
    image: Option<&'a str>,
    pull_policy: &'a mut Option<String>,
    message_path: &'a mut Option<String>,
    message_policy: &'a mut Option<String>,
    ports: &'a mut Option<Vec<ContainerPort>>,
    env: &'a mut Option<Vec<EnvVar>>,
    resources: &'a mut Option<ResourceRequirements>,
    probes: [&'a mut Option<Probe>; 3],
    lifecycle: &'a mut Option<Lifecycle>,
}

fn in_any_container(parts: Parts<'_>) {
    fill(parts.pull_policy, pull_policy(parts.image.unwrap_or_default()));
    fill(parts.message_path, "/dev/termination-log");
    fill(parts.message_policy, "File");
    for port in parts.ports.iter_mut().flatten() {
        fill(&mut port.protocol, "TCP");
    }
    for source in parts.env.iter_mut().flatten().filter_map(|e| e.value_from.as_mut()) {
        if let Some(field) = &mut source.field_ref {
            fill(&mut field.api_version, "v1");
        }
        if let Some(resource) = &mut source.resource_field_ref {
            // Upstream writes the zero it computes with.
            resource.divisor.get_or_insert_with(|| Wire("0".into()));
        }
        if let Some(file) = &mut source.file_key_ref {
            file.optional.get_or_insert(false);
        }
    }
    match parts.resources {
        Some(resources) => canonical_resources(resources),
        None => *parts.resources = Some(ResourceRequirements::default()),
    }
    for probe in parts.probes.into_iter().flatten() {
        default_probe(probe);
    }
    if let Some(lifecycle) = parts.lifecycle {
        for handler in [&mut lifecycle.post_start, &mut lifecycle.pre_stop].into_iter().flatten() {
            if let Some(get) = &mut handler.http_get {
                http_get(get);
            }
        }
    }
}

/// `:latest`, said or meant, is pulled again each time.
pub fn pull_policy(image: &str) -> &'static str {
    let (name, digest) = image.split_once('@').map_or((image, None), |(name, digest)| (name, Some(digest)));
    let last = name.rsplit('/').next().unwrap_or(name);
    let tag = last.split_once(':').map(|(_, tag)| tag);
    match (tag, digest) {
        (Some("latest"), _) | (None, None) => "Always",
        _ => "IfNotPresent",
    }
}

fn default_probe(probe: &mut Probe) {
    let set = |field: &mut Option<i32>, value| {
        if field.unwrap_or(0) == 0 {
            *field = Some(value);
        }
    };
    set(&mut probe.timeout_seconds, 1);
    set(&mut probe.period_seconds, 10);
    set(&mut probe.success_threshold, 1);
    set(&mut probe.failure_threshold, 3);
    if let Some(get) = &mut probe.http_get {
        http_get(get);
    }
    if let Some(grpc) = &mut probe.grpc {
        grpc.service.get_or_insert_default();
    }
}
fn http_get(get: &mut HTTPGetAction) {
    fill(&mut get.path, "/");
    fill(&mut get.scheme, "HTTP");
}

fn canonical_resources(resources: &mut ResourceRequirements) {
    canonical(resources.limits.as_mut());
    canonical(resources.requests.as_mut());
}

#[cfg(test)]
mod tests;
