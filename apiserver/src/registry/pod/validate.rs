//! Whether a pod's description makes sense. Split by subject; the order is that of upstream's messages.
//!
//! Rules: <https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/>.

mod annotations;
mod claims;
mod container;
mod devices;
mod env;
mod ephemeral;
mod every;
mod handlers;
mod hosts;
mod label_keys;
pub mod newer;
mod os;
mod placement;
mod resources;
mod security;
mod signals;
mod volumes;
mod whole;

use std::collections::{BTreeMap, HashMap, HashSet};

use corten_api::Problems;
use k8s_openapi::api::core::v1::{PodSpec, ResourceRequirements, Volume};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
pub use placement::tolerations;
pub use security::app_armor_profile;

use crate::registry::path::Path;
use crate::registry::{check, resource_names};

const RESTART_POLICIES: &[&str] = &["Always", "Never", "OnFailure"];
const DNS_POLICIES: &[&str] = &["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"];
const NAMESERVERS_MAX: usize = 3;
const SEARCHES_MAX: usize = 32;
/// Of all search domains together, with the spaces between them.
const SEARCH_CHARS_MAX: usize = 2048;
const DEADLINE_RANGE: &str = "must be between 1 and 2147483647, inclusive";

/// Whose spec it is.
#[derive(Clone, Copy, Debug)]
pub enum Of<'a> {
    Pod(&'a ObjectMeta),
    /// Of the workload that is `owner`.
    Template {
        meta: Option<&'a ObjectMeta>,
        owner: &'a ObjectMeta,
    },
}

impl<'a> Of<'a> {
    /// Empty where it is not known: in templates, and in pods that cannot be named so.
    fn pod_name(self) -> &'a str {
        match self {
            Self::Pod(meta) => check::text(meta.name.as_ref()),
            Self::Template { .. } => "",
        }
    }
    fn is_pod(self) -> bool {
        matches!(self, Self::Pod(_))
    }
    /// Never stored: held to rules that came later than what may be stored.
    fn is_new(self) -> bool {
        let (Self::Pod(meta) | Self::Template { owner: meta, .. }) = self;
        check::is_new(meta)
    }
    fn annotations(self) -> Option<&'a BTreeMap<String, String>> {
        match self {
            Self::Pod(meta) => meta.annotations.as_ref(),
            Self::Template { meta, .. } => meta.and_then(|meta| meta.annotations.as_ref()),
        }
    }
}

/// What the parts of a spec need to know of each other.
struct Around<'a> {
    of: Of<'a>,
    volumes: HashMap<&'a str, &'a Volume>,
    claims: claims::Names<'a>,
    host_network: bool,
    /// The pod's restartPolicy lets containers begin anew.
    restarts: bool,
    /// Whether root in a container is root of the node.
    host_users: bool,
    /// How long the pod is given to end.
    grace_secs: Option<i64>,
    os: Option<&'a str>,
}

/// A pod's spec and its annotations, or a template's. `at` and `spec_at` are their paths.
pub fn validate(spec: &PodSpec, of: Of<'_>, at: &Path<'_>, spec_at: &Path<'_>, problems: &mut Problems) {
    annotations::validate(spec, of, at, spec_at, problems);
    if of.is_new() {
        let described = newer::Described { spec, annotations: of.annotations() };
        newer::validate(described, newer::Paths { annotations: at, spec: spec_at }, problems);
    }
    pod_spec(spec, of, spec_at, problems);
}

fn pod_spec(spec: &PodSpec, of: Of<'_>, at: &Path<'_>, problems: &mut Problems) {
    let around = Around {
        of,
        volumes: volumes::validate(spec, of, &at.field("volumes"), problems),
        claims: claims::of_pod(spec, of, &at.field("resourceClaims"), problems),
        host_network: spec.host_network == Some(true),
        restarts: spec.restart_policy.as_deref() != Some("Never"),
        host_users: spec.host_users != Some(false),
        grace_secs: spec.termination_grace_period_seconds,
        os: spec.os.as_ref().map(|os| os.name.as_str()),
    };
    containers(spec, &around, at, problems);
    whole::validate(spec, at, problems);
    check::word(problems, &at.field("restartPolicy"), spec.restart_policy.as_ref(), RESTART_POLICIES);
    dns(spec, at, problems);
    check::selector(problems, &at.field("nodeSelector"), spec.node_selector.as_ref());
    security::pod(spec, at, problems);
    placement::validate(spec, at, problems);
    security::windows::host_processes(spec, at, problems);
    hosts::users(spec, at, problems);
    hosts::name(spec, at, problems);
    names(spec, at, problems);
    if let Some(secs) = spec.active_deadline_seconds.filter(|s| !(1..=i64::from(i32::MAX)).contains(s)) {
        problems.invalid(at.field("activeDeadlineSeconds"), secs, DEADLINE_RANGE);
    }
    host_aliases(spec, at, problems);
    let preemption = at.field("preemptionPolicy");
    check::optional_word(problems, &preemption, spec.preemption_policy.as_ref(), &["Never", "PreemptLowerPriority"]);
    resources::overhead(spec.overhead.as_ref(), &at.field("overhead"), problems);
    os::validate(spec, at, problems);
    if spec.ephemeral_containers.as_ref().is_some_and(|list| !list.is_empty()) {
        let why = match of {
            // An update may carry what the ephemeralcontainers subresource has put there; a new pod may not.
            Of::Pod(meta) if !check::is_new(meta) => None,
            Of::Pod(_) => Some("cannot be set on create"),
            Of::Template { .. } => Some("ephemeral containers not allowed in pod template"),
        };
        why.into_iter().for_each(|why| problems.forbidden(at.field("ephemeralContainers"), why));
    }
}

/// Amounts that stand elsewhere, by the rules of a container's.
pub fn container_resources(amounts: &ResourceRequirements, at: &Path<'_>, problems: &mut Problems) {
    resources::validate(amounts, resource_names::of_containers, at, problems);
}

fn containers(spec: &PodSpec, around: &Around<'_>, at: &Path<'_>, problems: &mut Problems) {
    let list = at.field("containers");
    if spec.containers.is_empty() {
        problems.required(list, "");
    }
    let mut names = HashSet::new();
    for (i, c) in spec.containers.iter().enumerate() {
        container::validate(c, around, &mut names, &list.index(i), problems);
    }
    host_ports(spec, at, problems);
    let list = at.field("initContainers");
    for (i, c) in spec.init_containers.iter().flatten().enumerate() {
        container::validate_init(c, around, &mut names, &list.index(i), problems);
    }
    ephemeral::validate(spec, around, &at.field("ephemeralContainers"), problems);
}

/// No two containers may want the same port of the node.
fn host_ports(spec: &PodSpec, at: &Path<'_>, problems: &mut Problems) {
    let list = at.field("containers");
    let mut taken = HashSet::new();
    for (i, c) in spec.containers.iter().enumerate() {
        let ports_at = list.index(i);
        let ports_at = ports_at.field("ports");
        for (j, port) in c.ports.iter().flatten().enumerate() {
            let Some(host_port) = port.host_port.filter(|p| *p != 0) else { continue };
            let (protocol, ip) = (check::text(port.protocol.as_ref()), check::text(port.host_ip.as_ref()));
            let text = format!("{protocol}/{ip}/{host_port}");
            if !taken.insert(text.clone()) {
                problems.duplicate(ports_at.index(j).field("hostPort"), text);
            }
        }
    }
}

fn dns(spec: &PodSpec, at: &Path<'_>, problems: &mut Problems) {
    check::word(problems, &at.field("dnsPolicy"), spec.dns_policy.as_ref(), DNS_POLICIES);
    let config_at = at.field("dnsConfig");
    let servers_at = config_at.field("nameservers");
    let servers = spec.dns_config.as_ref().and_then(|c| c.nameservers.as_deref()).unwrap_or_default();
    if spec.dns_policy.as_deref() == Some("None") && servers.is_empty() {
        problems.required(servers_at, "must provide at least one DNS nameserver when `dnsPolicy` is None");
    }
    let Some(config) = &spec.dns_config else { return };
    if servers.len() > NAMESERVERS_MAX {
        problems.invalid(servers_at, servers, &format!("must not have more than {NAMESERVERS_MAX} nameservers"));
    }
    for (i, server) in servers.iter().enumerate() {
        check::ip(problems, &servers_at.index(i), server);
    }
    let searches_at = config_at.field("searches");
    let searches = config.searches.as_deref().unwrap_or_default();
    if searches.len() > SEARCHES_MAX {
        problems.invalid(searches_at, searches, &format!("must not have more than {SEARCHES_MAX} search paths"));
    }
    if searches.join(" ").len() > SEARCH_CHARS_MAX {
        let why =
            format!("must not have more than {SEARCH_CHARS_MAX} characters (including spaces) in the search list");
        problems.invalid(searches_at, searches, &why);
    }
    for (i, search) in searches.iter().enumerate() {
        let plain = search.strip_suffix('.').filter(|s| !s.is_empty()).unwrap_or(search);
        // "." alone, and names with underscores, are what people have.
        if plain != "." && !corten_api::names::is_dns1123_subdomain(&plain.replace('_', "a")) {
            check::dns_subdomain(problems, &searches_at.index(i), plain);
        }
    }
    for (i, option) in config.options.iter().flatten().enumerate() {
        if check::text(option.name.as_ref()).is_empty() {
            problems.required(config_at.field("options").index(i), "must not be empty");
        }
    }
}

/// Fields that are names of other things, or of the pod itself.
fn names(spec: &PodSpec, at: &Path<'_>, problems: &mut Problems) {
    let subdomains = [
        ("serviceAccountName", &spec.service_account_name),
        ("nodeName", &spec.node_name),
        ("priorityClassName", &spec.priority_class_name),
        ("runtimeClassName", &spec.runtime_class_name),
    ];
    for (field, name) in subdomains {
        if let Some(name) = name.as_ref().filter(|n| !n.is_empty()) {
            check::dns_subdomain(problems, &at.field(field), name);
        }
    }
    for (field, name) in [("hostname", &spec.hostname), ("subdomain", &spec.subdomain)] {
        if let Some(name) = name.as_ref().filter(|n| !n.is_empty()) {
            check::dns_label(problems, &at.field(field), name);
        }
    }
}

fn host_aliases(spec: &PodSpec, at: &Path<'_>, problems: &mut Problems) {
    let list = at.field("hostAliases");
    for (i, alias) in spec.host_aliases.iter().flatten().enumerate() {
        let at = list.index(i);
        check::ip(problems, &at.field("ip"), &alias.ip);
        for (j, name) in alias.hostnames.iter().flatten().enumerate() {
            check::dns_subdomain(problems, &at.field("hostnames").index(j), name);
        }
    }
}

#[cfg(test)]
mod tests;
