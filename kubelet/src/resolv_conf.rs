//! `/etc/resolv.conf` of a pod: by its DNS policy from the cluster's DNS and the node's own file, within the resolver's limits.
//!
//! <https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/#pod-s-dns-policy>

use std::io;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{Pod, PodDNSConfig};

use crate::files::ClusterDns;

/// What resolvers read at most; the rest is left out, and said so.
const NAMESERVERS_MAX: usize = 3;
const SEARCHES_MAX: usize = 32;
const SEARCH_LINE_MAX_BYTES: usize = 2048;
/// Some resolvers end the process over a longer domain.
const SEARCH_MAX_BYTES: usize = 253;
/// A larger file of the node is no resolv.conf.
const FILE_MAX_BYTES: u64 = 10 << 20;

/// systemd's stub listens on the node's loopback, where no pod reaches it; the file beside it names who it asks.
const STUB: &str = "127.0.0.53";
const BEHIND_STUB: &str = "/run/systemd/resolve/resolv.conf";

/// The node's own file: `--resolv-conf`, `None` where pods get nothing of the node's.
#[derive(Clone, Debug)]
pub struct NodeFile(pub Option<PathBuf>);

impl NodeFile {
    /// The text to start from; one that names systemd's stub alone is seen through. Blocks.
    pub fn read(&self) -> io::Result<Option<String>> {
        self.read_through(Path::new(BEHIND_STUB))
    }

    fn read_through(&self, behind_stub: &Path) -> io::Result<Option<String>> {
        let Some(path) = &self.0 else { return Ok(None) };
        let text = read(path)?;
        let seen = if names_only_the_stub(&text) { read(behind_stub)? } else { String::new() };
        Ok(Some(if seen.is_empty() { text } else { seen }))
    }
}

/// A node without the file has nothing to say in it.
fn read(path: &Path) -> io::Result<String> {
    use std::io::Read as _;
    let file = match std::fs::File::open(path) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(String::new()),
        other => other?,
    };
    let mut text = String::new();
    file.take(FILE_MAX_BYTES).read_to_string(&mut text)?;
    Ok(text)
}

fn names_only_the_stub(text: &str) -> bool {
    let servers = ResolvConf::parse(text).nameservers;
    !servers.is_empty() && servers.iter().all(|server| server == STUB)
}

/// A file for a pod, and what of it had to be left out, as messages of `DNSConfigForming` events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Formed {
    pub text: String,
    pub left_out: Vec<String>,
}

/// The pod's file. `of_node` is the text of the node's own; `None` where `--resolv-conf` is empty.
pub fn of(pod: &Pod, of_node: Option<&str>, dns: &ClusterDns) -> Formed {
    let spec = pod.spec.as_ref();
    let host_network = spec.and_then(|s| s.host_network) == Some(true);
    let policy = spec.and_then(|s| s.dns_policy.as_deref()).unwrap_or("ClusterFirst");
    let mut conf = match policy {
        "None" => ResolvConf::default(),
        // On the host network ClusterFirst means Default, unless asked for by its long name.
        "ClusterFirst" if host_network => node(of_node),
        "Default" => node(of_node),
        _ => cluster_first(pod, of_node, dns),
    };
    if let Some(more) = spec.and_then(|s| s.dns_config.as_ref()) {
        conf.add(more);
    }
    dedupe(&mut conf.nameservers);
    dedupe(&mut conf.searches);
    let left_out = conf.fit();
    Formed { text: conf.print(), left_out }
}

/// Without a file of the node pods ask themselves, which is how a look-up is switched off.
fn node(of_node: Option<&str>) -> ResolvConf {
    match of_node {
        Some(text) => ResolvConf::parse(text),
        None => ResolvConf { nameservers: vec!["127.0.0.1".into()], searches: vec![".".into()], options: Vec::new() },
    }
}

fn cluster_first(pod: &Pod, of_node: Option<&str>, dns: &ClusterDns) -> ResolvConf {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let domain = &dns.domain;
    let mut searches = vec![format!("{namespace}.svc.{domain}"), format!("svc.{domain}"), domain.clone()];
    searches.extend(of_node.map(ResolvConf::parse).unwrap_or_default().searches);
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
                // The last one wins. The same domain with and without its dot is one.
                "search" | "domain" => {
                    conf.searches =
                        rest.filter(|s| s != ".").map(|s| s.strip_suffix('.').unwrap_or(&s).to_owned()).collect();
                }
                "options" => rest.for_each(|option| conf.set_option(option)),
                _ => {}
            }
        }
        conf
    }

    fn add(&mut self, more: &PodDNSConfig) {
        self.nameservers.extend(more.nameservers.iter().flatten().cloned());
        self.searches.extend(more.searches.iter().flatten().cloned());
        for option in more.options.iter().flatten() {
            let name = option.name.clone().unwrap_or_default();
            self.set_option(match &option.value {
                Some(value) if !value.is_empty() => format!("{name}:{value}"),
                _ => name,
            });
        }
    }

    /// Of two by one name the later counts.
    fn set_option(&mut self, option: String) {
        let name = |option: &str| option.split(':').next().unwrap_or_default().to_owned();
        self.options.retain(|have| name(have) != name(&option));
        self.options.push(option);
    }

    /// Leaves out what is too much; what that was, for the user.
    fn fit(&mut self) -> Vec<String> {
        let mut said = Vec::new();
        if self.nameservers.len() > NAMESERVERS_MAX {
            self.nameservers.truncate(NAMESERVERS_MAX);
            said.push(format!(
                "Nameserver limits were exceeded, some nameservers have been omitted, the applied nameserver line is: {}",
                self.nameservers.join(" ")
            ));
        }
        let before = self.searches.len();
        self.searches.truncate(SEARCHES_MAX);
        self.searches.retain(|search| search.len() <= SEARCH_MAX_BYTES);
        while self.searches.join(" ").len() > SEARCH_LINE_MAX_BYTES {
            self.searches.pop();
        }
        if self.searches.len() < before {
            said.push(format!(
                "Search Line limits were exceeded, some search paths have been omitted, the applied search line is: {}",
                self.searches.join(" ")
            ));
        }
        said
    }

    fn print(&self) -> String {
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

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{PodDNSConfigOption, PodSpec};

    use super::*;
    use crate::files::tests::{dns, pod};

    const NODE: &str = "nameserver 9.9.9.9\nsearch example.org. example.org\noptions edns0\noptions timeout:1 edns0\n";

    #[test]
    fn resolv_conf_by_policy() {
        let formed = |policy: &str, host_network, of_node| {
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
            of(&pod(spec), of_node, &dns())
        };
        let cluster = "search ns.svc.cluster.local svc.cluster.local cluster.local example.org\nnameserver 10.96.0.10\noptions ndots:5\n";
        let alone =
            "search ns.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n";
        let node = "search example.org\nnameserver 9.9.9.9\noptions timeout:1 edns0\n";
        let none = "search x.y\nnameserver 1.1.1.1\noptions ndots:2\n";
        let itself = "search .\nnameserver 127.0.0.1\n";
        let cases = [
            ("ClusterFirst", false, Some(NODE), cluster),
            ("ClusterFirst", true, Some(NODE), node),
            ("ClusterFirstWithHostNet", true, Some(NODE), cluster),
            ("Default", false, Some(NODE), node),
            ("None", false, Some(NODE), none),
            ("ClusterFirst", false, None, alone),
            ("Default", false, None, itself),
            ("None", false, None, none),
        ];
        for (policy, host_network, of_node, text) in cases {
            let expected = Formed { text: text.into(), left_out: vec![] };
            assert_eq!(formed(policy, host_network, of_node), expected, "{policy}, {host_network}, {of_node:?}");
        }
    }

    #[test]
    fn what_a_resolver_would_not_read_is_left_out_and_said() {
        let with = |nameservers: Vec<String>, searches: Vec<String>| {
            let config =
                PodDNSConfig { nameservers: Some(nameservers), searches: Some(searches), ..Default::default() };
            let spec = PodSpec { dns_policy: Some("None".into()), dns_config: Some(config), ..Default::default() };
            let formed = of(&pod(spec), None, &dns());
            let counts = [formed.text.matches("nameserver ").count(), formed.text.matches(".search").count()];
            (counts, formed.left_out.len())
        };
        let servers = |n: usize| (0..n).map(|i| format!("10.0.0.{i}")).collect::<Vec<_>>();
        let searches = |n: usize, bytes: usize| {
            let name = |i: usize| format!("{}{i:02}.search", "x".repeat(bytes - 9));
            (0..n).map(name).collect::<Vec<_>>()
        };
        let cases = [
            ("as much as there may be", servers(3), searches(32, 20), [3, 32], 0),
            ("a nameserver too many", servers(4), searches(1, 20), [3, 1], 1),
            ("the same one twice", [servers(3), servers(3)].concat(), searches(1, 20), [3, 1], 0),
            ("a domain too many", servers(1), searches(33, 20), [1, 32], 1),
            ("a domain that is too long", servers(1), [searches(1, 254), searches(1, 20)].concat(), [1, 1], 1),
            ("a line that is too long", servers(1), searches(10, 253), [1, 8], 1),
            ("both", servers(4), searches(33, 20), [3, 32], 2),
        ];
        for (why, servers, searches, counts, said) in cases {
            assert_eq!(with(servers, searches), (counts, said), "{why}");
        }
    }

    #[test]
    fn the_stub_of_systemd_is_seen_through() {
        let cases = [
            ("the stub", "nameserver 127.0.0.53\noptions edns0 trust-ad\n", true),
            ("the stub and another", "nameserver 127.0.0.53\nnameserver 9.9.9.9\n", false),
            ("no stub", "nameserver 9.9.9.9\n", false),
            ("commented out", "# nameserver 127.0.0.53\nnameserver 9.9.9.9\n", false),
            ("nothing", "", false),
        ];
        for (why, text, expected) in cases {
            assert_eq!(names_only_the_stub(text), expected, "{why}");
        }
    }

    #[test]
    fn a_node_without_the_file_has_nothing_to_say_and_an_empty_flag_is_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("resolv.conf");
        assert_eq!(NodeFile(Some(path.clone())).read().unwrap(), Some(String::new()));
        std::fs::write(&path, NODE).unwrap();
        assert_eq!(NodeFile(Some(path.clone())).read().unwrap().as_deref(), Some(NODE));
        let (stub, behind) = ("nameserver 127.0.0.53\n", dir.path().join("behind"));
        std::fs::write(&path, stub).unwrap();
        let seen = || NodeFile(Some(path.clone())).read_through(&behind).unwrap();
        assert_eq!(seen().as_deref(), Some(stub), "nobody is behind it");
        std::fs::write(&behind, NODE).unwrap();
        assert_eq!(seen().as_deref(), Some(NODE));
        assert_eq!(NodeFile(None).read().unwrap(), None);
    }
}
