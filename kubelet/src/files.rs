//! What every container finds in /etc: hosts, hostname and resolv.conf. Pure texts; the worker writes them.

use std::net::IpAddr;

use corten_api::names::fnv32a;
use k8s_openapi::api::core::v1::{Pod, PodSpec};

/// Longest hostname the kernel takes, less one.
const HOSTNAME_MAX: usize = 63;
/// Limits of resolv.conf: <https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/#pod-dns-config>.
const NAMESERVERS_MAX: usize = 3;
const SEARCHES_MAX: usize = 32;

/// How the cluster's DNS is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterDns {
    pub server: IpAddr,
    pub domain: String,
}

/// The pod's hostname, and its name with domain if it has a subdomain.
pub fn hostname(pod: &Pod, dns: &ClusterDns) -> (String, Option<String>) {
    let spec = pod.spec.as_ref();
    let given = |f: fn(&PodSpec) -> Option<&String>| spec.and_then(f).filter(|s| !s.is_empty()).cloned();
    let name = pod.metadata.name.clone().unwrap_or_default();
    let mut host = given(|s| s.hostname.as_ref()).unwrap_or(name);
    if host.len() > HOSTNAME_MAX {
        host.truncate(HOSTNAME_MAX);
        host = host.trim_end_matches(['-', '.']).to_owned();
    }
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let full = given(|s| s.subdomain.as_ref()).map(|sub| format!("{host}.{sub}.{namespace}.svc.{}", dns.domain));
    match given(|s| s.hostname_override.as_ref()) {
        Some(forced) => (forced, None),
        None => (host, full),
    }
}

/// `/etc/hosts` of a pod with a network of its own.
pub fn hosts(pod: &Pod, addresses: &[IpAddr], dns: &ClusterDns) -> String {
    let mut text = String::from(
        "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n",
    );
    let (host, full) = hostname(pod, dns);
    for ip in addresses {
        match &full {
            Some(full) => text.push_str(&format!("{ip}\t{full}\t{host}\n")),
            None => text.push_str(&format!("{ip}\t{host}\n")),
        }
    }
    text + &aliases(pod)
}

/// `/etc/hosts` of a pod on the host network: the node's own, and the pod's aliases.
pub fn host_network_hosts(pod: &Pod, of_node: &str) -> String {
    format!("# Kubernetes-managed hosts file (host network).\n{of_node}{}", aliases(pod))
}

fn aliases(pod: &Pod) -> String {
    let list = pod.spec.iter().flat_map(|s| s.host_aliases.iter().flatten());
    let lines: String =
        list.map(|a| format!("{}\t{}\n", a.ip, a.hostnames.as_deref().unwrap_or_default().join("\t"))).collect();
    if lines.is_empty() { lines } else { format!("\n# Entries added by HostAliases.\n{lines}") }
}

/// `/etc/resolv.conf`; `of_node` is the text of the node's own.
pub fn resolv_conf(pod: &Pod, of_node: &str, dns: &ClusterDns) -> String {
    let spec = pod.spec.as_ref();
    let host_network = spec.and_then(|s| s.host_network) == Some(true);
    let policy = spec.and_then(|s| s.dns_policy.as_deref()).unwrap_or("ClusterFirst");
    let mut conf = match policy {
        "None" => ResolvConf::default(),
        // On the host network ClusterFirst means Default, unless asked for by its long name.
        "ClusterFirst" if host_network => ResolvConf::parse(of_node),
        "Default" => ResolvConf::parse(of_node),
        _ => cluster_first(pod, of_node, dns),
    };
    if let Some(more) = spec.and_then(|s| s.dns_config.as_ref()) {
        conf.nameservers.extend(more.nameservers.iter().flatten().cloned());
        conf.searches.extend(more.searches.iter().flatten().cloned());
        for option in more.options.iter().flatten() {
            let name = option.name.clone().unwrap_or_default();
            conf.options.retain(|have| have.split(':').next() != Some(name.as_str()));
            conf.options.push(match &option.value {
                Some(value) if !value.is_empty() => format!("{name}:{value}"),
                _ => name,
            });
        }
    }
    conf.print()
}

fn cluster_first(pod: &Pod, of_node: &str, dns: &ClusterDns) -> ResolvConf {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let domain = &dns.domain;
    let mut searches = vec![format!("{namespace}.svc.{domain}"), format!("svc.{domain}"), domain.clone()];
    searches.extend(ResolvConf::parse(of_node).searches);
    ResolvConf { nameservers: vec![dns.server.to_string()], searches, options: vec!["ndots:5".into()] }
}

#[derive(Clone, Debug, Default, PartialEq)]
struct ResolvConf {
    nameservers: Vec<String>,
    searches: Vec<String>,
    options: Vec<String>,
}

impl ResolvConf {
    fn parse(text: &str) -> Self {
        let mut conf = Self::default();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            let keyword = words.next().unwrap_or_default();
            let rest = words.map(str::to_owned);
            match keyword {
                "nameserver" => conf.nameservers.extend(rest.take(1)),
                // The last one wins.
                "search" | "domain" => conf.searches = rest.filter(|s| s != ".").collect(),
                "options" => conf.options = rest.collect(),
                _ => {}
            }
        }
        conf
    }
    fn print(mut self) -> String {
        dedupe(&mut self.nameservers);
        dedupe(&mut self.searches);
        self.nameservers.truncate(NAMESERVERS_MAX);
        self.searches.truncate(SEARCHES_MAX);
        let mut text = String::new();
        if !self.searches.is_empty() {
            text.push_str(&format!("search {}\n", self.searches.join(" ")));
        }
        for server in &self.nameservers {
            text.push_str(&format!("nameserver {server}\n"));
        }
        if !self.options.is_empty() {
            text.push_str(&format!("options {}\n", self.options.join(" ")));
        }
        text
    }
}

fn dedupe(list: &mut Vec<String>) {
    let mut seen = std::collections::BTreeSet::new();
    list.retain(|item| seen.insert(item.clone()));
}

/// A short stable name for a text, for directories and annotations.
pub fn short_hash(text: &[u8]) -> String {
    format!("{:08x}", fnv32a(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::{HostAlias, PodDNSConfig, PodDNSConfigOption};
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

    const NODE: &str = "nameserver 9.9.9.9\nsearch example.org\n";

    fn dns() -> ClusterDns {
        ClusterDns { server: "10.96.0.10".parse().unwrap(), domain: "cluster.local".into() }
    }
    fn pod(spec: PodSpec) -> Pod {
        let metadata = ObjectMeta { name: Some("web".into()), namespace: Some("ns".into()), ..Default::default() };
        Pod { metadata, spec: Some(spec), status: None }
    }

    #[test]
    fn resolv_conf_by_policy() {
        let of = |policy: &str, host_network| {
            let config = (policy == "None").then(|| PodDNSConfig {
                nameservers: Some(vec!["1.1.1.1".into()]),
                searches: Some(vec!["x.y".into()]),
                options: Some(vec![PodDNSConfigOption { name: Some("ndots".into()), value: Some("2".into()) }]),
            });
            let spec = PodSpec {
                dns_policy: Some(policy.into()),
                host_network: Some(host_network),
                dns_config: config,
                ..Default::default()
            };
            resolv_conf(&pod(spec), NODE, &dns())
        };
        let cluster = "search ns.svc.cluster.local svc.cluster.local cluster.local example.org\nnameserver 10.96.0.10\noptions ndots:5\n";
        let node = "search example.org\nnameserver 9.9.9.9\n";
        let cases = [
            ("ClusterFirst", false, cluster),
            ("ClusterFirst", true, node),
            ("ClusterFirstWithHostNet", true, cluster),
            ("Default", false, node),
            ("None", false, "search x.y\nnameserver 1.1.1.1\noptions ndots:2\n"),
        ];
        for (policy, host_network, expected) in cases {
            assert_eq!(of(policy, host_network), expected, "{policy}, host network {host_network}");
        }
    }

    #[test]
    fn hosts_names_the_pod_and_its_aliases() {
        let alias = HostAlias { ip: "10.1.1.1".into(), hostnames: Some(vec!["a".into(), "b".into()]) };
        let spec = PodSpec { subdomain: Some("sub".into()), host_aliases: Some(vec![alias]), ..Default::default() };
        let text = hosts(&pod(spec), &["10.244.1.2".parse().unwrap()], &dns());
        assert!(text.contains("10.244.1.2\tweb.sub.ns.svc.cluster.local\tweb\n"), "{text}");
        assert!(text.ends_with("# Entries added by HostAliases.\n10.1.1.1\ta\tb\n"), "{text}");
    }
}
