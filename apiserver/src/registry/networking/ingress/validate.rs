//! Whether an Ingress makes sense: hosts, paths, and where its requests go.

use std::net::IpAddr;

use corten_api::{Problems, names};
use k8s_openapi::api::core::v1::TypedLocalObjectReference;
use k8s_openapi::api::networking::v1::{
    HTTPIngressPath, Ingress, IngressBackend, IngressLoadBalancerIngress, IngressRule, IngressServiceBackend,
    IngressSpec, IngressTLS,
};

use super::CLASS_ANNOTATION;
use crate::registry::check;
use crate::registry::path::Path;

const PATH_TYPES: &[&str] = &["Exact", "ImplementationSpecific", "Prefix"];
/// Servers disagree on what such paths mean.
const BAD_SEQUENCES: &[&str] = &["//", "/./", "/../", "%2f", "%2F"];
const BAD_SUFFIXES: &[&str] = &["/..", "/."];
const NOT_A_PATH: &str = "must be an absolute path";
const NOT_A_NAME: &str = "must be a DNS name, not an IP address";
const HOST_BYTES_MAX: usize = 253;
const WILDCARD_WHY: &str = "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character (e.g. '*.example.com', regex used for validation is '\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";

pub fn spec(spec: &IngressSpec, at: &Path<'_>, problems: &mut Problems) {
    let rules = spec.rules.as_deref().unwrap_or_default();
    if rules.is_empty() && spec.default_backend.is_none() {
        problems.invalid(at, &spec.rules, "either `defaultBackend` or `rules` must be specified");
    }
    if let Some(default) = &spec.default_backend {
        backend(default, &at.field("defaultBackend"), problems);
    }
    let list = at.field("rules");
    for (i, one) in rules.iter().enumerate() {
        rule(one, &list.index(i), problems);
    }
    let list = at.field("tls");
    for (i, one) in spec.tls.iter().flatten().enumerate() {
        tls(one, &list.index(i), problems);
    }
    if let Some(class) = &spec.ingress_class_name {
        check::dns_subdomain(problems, &at.field("ingressClassName"), class);
    }
}

/// A new Ingress may name its class in both ways only if they agree.
pub fn one_class(ingress: &Ingress, problems: &mut Problems) {
    let said = ingress.metadata.annotations.as_ref().and_then(|all| all.get(CLASS_ANNOTATION));
    let class = ingress.spec.as_ref().and_then(|s| s.ingress_class_name.as_ref());
    if let (Some(said), Some(class)) = (said, class)
        && said != class
    {
        let why = "must match `ingressClassName` when both are specified";
        problems.invalid(Path::root("annotations").field(CLASS_ANNOTATION), said, why);
    }
}

fn tls(tls: &IngressTLS, at: &Path<'_>, problems: &mut Problems) {
    let list = at.field("hosts");
    for (i, one) in tls.hosts.iter().flatten().enumerate() {
        host(one, &list.index(i), problems);
    }
    if let Some(secret) = tls.secret_name.as_ref().filter(|name| !name.is_empty()) {
        check::dns_subdomain(problems, &at.field("secretName"), secret);
    }
}

/// A name, or `*.` and a name.
fn host(host: &str, at: &Path<'_>, problems: &mut Problems) {
    if !host.contains('*') {
        check::dns_subdomain(problems, at, host);
    } else if host.len() > HOST_BYTES_MAX {
        problems.invalid(at, host, &format!("must be no more than {HOST_BYTES_MAX} bytes"));
    } else if !host.strip_prefix("*.").is_some_and(names::is_dns1123_subdomain) {
        problems.invalid(at, host, WILDCARD_WHY);
    }
}

fn rule(rule: &IngressRule, at: &Path<'_>, problems: &mut Problems) {
    if let Some(name) = rule.host.as_ref().filter(|host| !host.is_empty()) {
        let at = at.field("host");
        if name.parse::<IpAddr>().is_ok() {
            problems.invalid(at, name, NOT_A_NAME);
        }
        host(name, &at, problems);
    }
    let Some(http) = &rule.http else { return };
    let at = at.field("http");
    let list = at.field("paths");
    if http.paths.is_empty() {
        problems.required(list, "");
    }
    for (i, path) in http.paths.iter().enumerate() {
        http_path(path, &list.index(i), problems);
    }
}

fn http_path(path: &HTTPIngressPath, at: &Path<'_>, problems: &mut Problems) {
    let (path_at, text) = (at.field("path"), check::text(path.path.as_ref()));
    let kind = path.path_type.as_str();
    match kind {
        "" => return problems.required(at.field("pathType"), "pathType must be specified"),
        "Exact" | "Prefix" => {
            if !text.starts_with('/') {
                problems.invalid(path_at, text, NOT_A_PATH);
            }
            for bad in BAD_SEQUENCES.iter().filter(|bad| text.contains(**bad)) {
                problems.invalid(path_at, text, &format!("must not contain '{bad}'"));
            }
            for bad in BAD_SUFFIXES.iter().filter(|bad| text.ends_with(**bad)) {
                problems.invalid(path_at, text, &format!("cannot end with '{bad}'"));
            }
        }
        "ImplementationSpecific" => {
            if !text.is_empty() && !text.starts_with('/') {
                problems.invalid(path_at, text, NOT_A_PATH);
            }
        }
        _ => problems.unsupported(at.field("pathType"), kind, PATH_TYPES),
    }
    backend(&path.backend, &at.field("backend"), problems);
}

fn backend(backend: &IngressBackend, at: &Path<'_>, problems: &mut Problems) {
    match (&backend.resource, &backend.service) {
        (Some(_), Some(_)) => problems.invalid(at, "", "cannot set both resource and service backends"),
        (Some(resource), None) => resource_backend(resource, &at.field("resource"), problems),
        (None, Some(service)) => service_backend(service, at, problems),
        (None, None) => problems.invalid(at, "", "resource or service backend is required"),
    }
}

fn resource_backend(resource: &TypedLocalObjectReference, at: &Path<'_>, problems: &mut Problems) {
    if let Some(group) = &resource.api_group {
        check::dns_subdomain(problems, &at.field("apiGroup"), group);
    }
    check::path_segment(problems, &at.field("kind"), &resource.kind);
    check::path_segment(problems, &at.field("name"), &resource.name);
}

/// `at`: of the backend.
fn service_backend(service: &IngressServiceBackend, at: &Path<'_>, problems: &mut Problems) {
    let service_at = at.field("service");
    match service.name.as_str() {
        "" => problems.required(service_at.field("name"), ""),
        name => check::dns_label(problems, &service_at.field("name"), name),
    }
    let port_at = service_at.field("port");
    let port = service.port.as_ref();
    let name = check::text(port.and_then(|p| p.name.as_ref()));
    match (name, port.and_then(|p| p.number).unwrap_or(0)) {
        ("", 0) => problems.required(at, "port name or number is required"),
        ("", number) => check::port_number(problems, &port_at.field("number"), number),
        (name, 0) => check::port_name(problems, &port_at.field("name"), name),
        _ => problems.invalid(at, "", "cannot set both port name & port number"),
    }
}

/// What a load balancer says of itself.
pub fn status(balancers: &[IngressLoadBalancerIngress], problems: &mut Problems) {
    let list = Path::root("status.loadBalancer.ingress");
    for (i, one) in balancers.iter().enumerate() {
        let at = list.index(i);
        if let Some(ip) = one.ip.as_ref().filter(|ip| !ip.is_empty()) {
            check::ip(problems, &at.field("ip"), ip);
        }
        if let Some(name) = one.hostname.as_ref().filter(|name| !name.is_empty()) {
            let at = at.field("hostname");
            check::dns_subdomain(problems, &at, name);
            if name.parse::<IpAddr>().is_ok() {
                problems.invalid(at, name, NOT_A_NAME);
            }
        }
    }
}
