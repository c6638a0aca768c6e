//! What every container finds in /etc: hosts and hostname; resolv.conf has its own file. Pure texts; the worker writes them.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Pod, PodSpec};

/// Longest hostname the kernel takes, less one.
const HOSTNAME_MAX: usize = 63;

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

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::HostAlias;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

    pub(crate) fn dns() -> ClusterDns {
        ClusterDns { server: "10.96.0.10".parse().unwrap(), domain: "cluster.local".into() }
    }
    pub(crate) fn pod(spec: PodSpec) -> Pod {
        let metadata = ObjectMeta { name: Some("web".into()), namespace: Some("ns".into()), ..Default::default() };
        Pod { metadata, spec: Some(spec), status: None }
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
