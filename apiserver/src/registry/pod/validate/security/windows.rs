//! What only containers of Windows nodes have: another way to name users, and processes of the node itself.
//!
//! <https://kubernetes.io/docs/tasks/configure-pod-container/create-hostprocess-pod/>

use corten_api::{Problems, names};
use k8s_openapi::api::core::v1::{PodSpec, WindowsSecurityContextOptions};

use crate::registry::check;
use crate::registry::path::Path;
use crate::registry::pod::validate::every;

const CREDENTIAL_SPEC_KIB_MAX: usize = 64;
const DOMAIN_BYTES_MAX: usize = 256;
const USER_BYTES_MAX: usize = 104;
const NETBIOS_CHARS_MAX: usize = 15;
const NOT_IN_NETBIOS: &[char] = &['\\', '/', ':', '*', '?', '"', '<', '>', '|'];
const NOT_IN_USERS: &[char] = &['"', '/', '\\', ':', ';', '|', '=', ',', '+', '*', '?', '<', '>', '@', '[', ']'];

pub(super) fn options(options: Option<&WindowsSecurityContextOptions>, at: &Path<'_>, problems: &mut Problems) {
    let Some(options) = options else { return };
    if let Some(name) = &options.gmsa_credential_spec_name {
        check::dns_subdomain(problems, &at.field("gmsaCredentialSpecName"), name);
    }
    let spec_at = at.field("gmsaCredentialSpec");
    match &options.gmsa_credential_spec {
        Some(spec) if spec.is_empty() => {
            problems.invalid(spec_at, spec, "gmsaCredentialSpec cannot be an empty string");
        }
        Some(spec) if spec.len() > CREDENTIAL_SPEC_KIB_MAX * 1024 => {
            let why = format!("gmsaCredentialSpec size must be under {CREDENTIAL_SPEC_KIB_MAX} KiB");
            problems.invalid(spec_at, spec, &why);
        }
        _ => {}
    }
    if let Some(name) = &options.run_as_user_name {
        user_name(name, &at.field("runAsUserName"), problems);
    }
}

/// `DOMAIN\user`, or the user alone.
fn user_name(name: &str, at: &Path<'_>, problems: &mut Problems) {
    let mut bad = |why: &str| problems.invalid(at, name, why);
    if name.is_empty() {
        return bad("runAsUserName cannot be an empty string");
    }
    if name.chars().any(|c| c.is_ascii_control()) {
        return bad("runAsUserName cannot contain control characters");
    }
    let (domain, user) = match name.split_once('\\') {
        Some((_, user)) if user.contains('\\') => return bad("runAsUserName cannot contain more than one backslash"),
        Some((domain, user)) => (Some(domain), user),
        None => (None, name),
    };
    if domain.is_some_and(|domain| domain.len() >= DOMAIN_BYTES_MAX) {
        bad(&format!("runAsUserName's Domain length must be under {DOMAIN_BYTES_MAX} characters"));
    }
    if domain.is_some_and(|domain| !is_netbios_name(domain) && !is_dns_name(domain)) {
        bad("runAsUserName's Domain doesn't match the NetBios nor the DNS format");
    }
    if user.is_empty() {
        return bad("runAsUserName's User cannot be empty");
    }
    if user.len() > USER_BYTES_MAX {
        bad(&format!("runAsUserName's User length must not be longer than {USER_BYTES_MAX} characters"));
    }
    if user.chars().all(|c| matches!(c, '.' | ' ')) {
        bad("runAsUserName's User cannot contain only periods or spaces");
    }
    if user.contains(NOT_IN_USERS) {
        bad(r#"runAsUserName's User cannot contain the following characters: "/\:;|=,+*?<>@[]"#);
    }
}

fn is_netbios_name(name: &str) -> bool {
    let chars = name.chars().count();
    (1..=NETBIOS_CHARS_MAX).contains(&chars) && !name.starts_with('.') && !name.contains(NOT_IN_NETBIOS)
}

/// Of any case.
fn is_dns_name(name: &str) -> bool {
    name.to_ascii_lowercase().split('.').all(names::is_dns1123_label)
}

/// Either all containers of a pod are processes of the node, or none is.
pub(in crate::registry::pod::validate) fn host_processes(spec: &PodSpec, at: &Path<'_>, problems: &mut Problems) {
    let of_options = |options: Option<&WindowsSecurityContextOptions>| options.and_then(|options| options.host_process);
    let of_pod = of_options(spec.security_context.as_ref().and_then(|context| context.windows_options.as_ref()));
    let (mut containers, mut host_processes) = (0, 0);
    for container in every::container(spec) {
        containers += 1;
        let own = of_options(container.context.and_then(|context| context.windows_options.as_ref()));
        if let (Some(of_pod), Some(own)) = (of_pod, own)
            && of_pod != own
        {
            let why = format!("pod hostProcess value must be identical if both are specified, was {of_pod}");
            container.at(at, |at| {
                problems.invalid(at.field("securityContext.windowsOptions.hostProcess"), own, &why);
            });
        }
        host_processes += usize::from(own.or(of_pod) == Some(true));
    }
    if host_processes == 0 {
        return;
    }
    if host_processes != containers {
        let why = "If pod contains any hostProcess containers then all containers must be HostProcess containers";
        problems.invalid(at, "", why);
    }
    if spec.host_network != Some(true) {
        let why = "hostNetwork must be true if pod contains any hostProcess containers";
        problems.invalid(at.field("hostNetwork"), false, why);
    }
}
