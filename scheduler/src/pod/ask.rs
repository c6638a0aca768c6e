//! What a pod asks of a node, whatever other pods there are: amounts, ports, labels, tolerated taints, images.

use std::collections::BTreeSet;

use corten_api::pod::{self, Amounts};
use k8s_openapi::api::core::v1::{Container, NodeAffinity, Pod, PodSpec, ResourceRequirements, Toleration};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// What scoring counts for a container that asks for nothing, so that such pods spread too.
/// <https://kubernetes.io/docs/concepts/scheduling-eviction/resource-bin-packing/>
pub const DEFAULT_CPU_MILLIS: i64 = 100;
pub const DEFAULT_MEMORY_BYTES: i64 = 200 << 20;
/// The one field by which node affinity can choose.
const NAME_FIELD: &str = "metadata.name";

/// Keys what was found out of nodes for the pods that ask the same.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ask {
    pub requests: Amounts,
    /// cpu and memory, with defaults for containers that ask for nothing.
    pub non_zero: [i64; 2],
    pub host_ports: Vec<HostPort>,
    pub node_selector: Vec<(String, String)>,
    pub node_affinity: Option<NodeAffinity>,
    /// The nodes that its required affinity names, in order; `None`: it may match others too.
    pub node_names: Option<Vec<String>>,
    pub tolerations: Vec<Toleration>,
    /// Of each container and init container, with its tag.
    pub images: Vec<String>,
}

impl Eq for Ask {}

impl std::hash::Hash for Ask {
    // What is equal hashes alike; the types of the rest cannot be hashed, and few pods differ in that alone.
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        (&self.requests, &self.host_ports, &self.node_selector, &self.images).hash(state);
        self.tolerations.len().hash(state);
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostPort {
    pub ip: String,
    pub protocol: String,
    pub port: i32,
}

impl HostPort {
    /// Whether both cannot be had on one node: an unset address is all of them.
    pub fn clashes(&self, other: &Self) -> bool {
        let any = |ip: &str| ip.is_empty() || ip == "0.0.0.0";
        self.port == other.port
            && self.protocol == other.protocol
            && (any(&self.ip) || any(&other.ip) || self.ip == other.ip)
    }
}

impl Ask {
    pub fn of(pod: &Pod, spec: &PodSpec) -> Self {
        let mut requests = pod::requests_in_fact(pod);
        requests.retain(|_, amount| *amount > 0);
        Self {
            requests,
            non_zero: non_zero(pod),
            host_ports: host_ports(spec),
            node_selector: spec.node_selector.clone().unwrap_or_default().into_iter().collect(),
            node_affinity: spec.affinity.as_ref().and_then(|a| a.node_affinity.clone()),
            node_names: node_names(spec),
            tolerations: spec.tolerations.clone().unwrap_or_default(),
            images: images(spec),
        }
    }
}

/// cpu and memory as scoring counts them: what a container does not ask for is a default.
fn non_zero(pod: &Pod) -> [i64; 2] {
    let mut filled = pod.clone();
    let fill = |resources: &mut Option<ResourceRequirements>| {
        let requests = resources.get_or_insert_default().requests.get_or_insert_default();
        let mut default = |name: &str, amount: i64, unit: &str| {
            requests.entry(name.to_owned()).or_insert_with(|| Quantity(format!("{amount}{unit}")));
        };
        default("cpu", DEFAULT_CPU_MILLIS, "m");
        default("memory", DEFAULT_MEMORY_BYTES, "");
    };
    if let Some(spec) = &mut filled.spec {
        spec.containers.iter_mut().for_each(|c| fill(&mut c.resources));
        spec.init_containers.iter_mut().flatten().for_each(|c| fill(&mut c.resources));
    }
    let all = pod::requests_in_fact(&filled);
    ["cpu", "memory"].map(|name| all.get(name).copied().unwrap_or(0))
}

/// Terms are alternatives, and what a term says of names all holds. A daemon's pod names its one node so.
fn node_names(spec: &PodSpec) -> Option<Vec<String>> {
    let affinity = spec.affinity.as_ref()?.node_affinity.as_ref()?;
    let terms = &affinity.required_during_scheduling_ignored_during_execution.as_ref()?.node_selector_terms;
    let mut names = BTreeSet::new();
    for term in terms {
        let fields = term.match_fields.iter().flatten();
        let named = fields.filter(|field| field.key == NAME_FIELD && field.operator == "In");
        let named = named.map(|field| field.values.iter().flatten().cloned().collect::<BTreeSet<String>>());
        names.extend(named.reduce(|all, also| &all & &also)?);
    }
    (!terms.is_empty()).then(|| names.into_iter().collect())
}

/// Ports of the node itself; sidecars hold theirs too, other init containers only for a while and are not counted.
fn host_ports(spec: &PodSpec) -> Vec<HostPort> {
    let sidecars = spec.init_containers.iter().flatten().filter(|c| pod::is_sidecar(c));
    let ports = spec.containers.iter().chain(sidecars).flat_map(|c: &Container| c.ports.iter().flatten());
    ports
        .filter_map(|p| {
            let port = p.host_port.filter(|n| *n > 0)?;
            let text = |s: &Option<String>, or: &str| s.clone().unwrap_or_else(|| or.into());
            Some(HostPort { ip: text(&p.host_ip, ""), protocol: text(&p.protocol, "TCP"), port })
        })
        .collect()
}

fn images(spec: &PodSpec) -> Vec<String> {
    let containers = spec.init_containers.iter().flatten().chain(&spec.containers);
    containers.map(|c| with_tag(c.image.as_deref().unwrap_or_default())).collect()
}

/// Nodes tell of images with their tags; one that is named without has `latest`.
pub fn with_tag(image: &str) -> String {
    let after_path = image.rfind('/').map_or(0, |at| at + 1);
    if image[after_path..].contains(':') { image.into() } else { format!("{image}:latest") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn host_ports_clash_by_address() {
        let port = |ip: &str, port| HostPort { ip: ip.into(), protocol: "TCP".into(), port };
        assert!(port("", 80).clashes(&port("10.0.0.1", 80)));
        assert!(!port("10.0.0.2", 80).clashes(&port("10.0.0.1", 80)));
        assert!(!port("", 80).clashes(&port("", 81)));
        assert!(port("10.0.0.1", 80).clashes(&port("10.0.0.1", 80)), "the same");
        assert!(port("10.0.0.1", 80).clashes(&port("", 80)), "an unset address is all, whosever it is");
        assert!(port("10.0.0.1", 80).clashes(&port("0.0.0.0", 80)), "so is this one");
        let udp = HostPort { protocol: "UDP".into(), ..port("", 80) };
        assert!(!udp.clashes(&port("", 80)), "another protocol");
    }

    fn ask(spec: serde_json::Value) -> Ask {
        let pod: Pod = serde_json::from_value(json!({"metadata": {"name": "a"}, "spec": spec})).unwrap();
        Ask::of(&pod, pod.spec.as_ref().unwrap())
    }

    #[test]
    fn what_a_pod_asks() {
        let ask = ask(json!({
            "nodeSelector": {"disk": "ssd"},
            "containers": [{"name": "c", "image": "nginx", "resources": {"requests": {"cpu": "1", "x/gpu": "0"}}, "ports": [
                {"containerPort": 80}, {"containerPort": 81, "hostPort": 0},
                {"containerPort": 82, "hostPort": 8082},
                {"containerPort": 83, "hostPort": 8083, "hostIP": "10.0.0.1", "protocol": "UDP"}]}],
            "initContainers": [
                {"name": "i", "image": "r:5000/a", "ports": [{"containerPort": 84, "hostPort": 8084}]},
                {"name": "s", "restartPolicy": "Always", "ports": [{"containerPort": 85, "hostPort": 8085}]}],
        }));
        assert_eq!(ask.requests, [("cpu".to_owned(), 1000)].into(), "what is asked none of is not asked");
        let port = |ip: &str, protocol: &str, port| HostPort { ip: ip.into(), protocol: protocol.into(), port };
        let ports = [port("", "TCP", 8082), port("10.0.0.1", "UDP", 8083), port("", "TCP", 8085)];
        assert_eq!(ask.host_ports, ports, "an init container's are free again when it has ended");
        assert_eq!(ask.node_selector, [("disk".to_owned(), "ssd".to_owned())]);
        assert_eq!(ask.images, ["r:5000/a:latest", ":latest", "nginx:latest"]);
    }

    #[test]
    fn scoring_counts_a_default_for_each_container_that_asks_for_nothing() {
        let cpu = |cpu: &str| json!({"name": "c", "resources": {"requests": {"cpu": cpu}}});
        let nothing = json!({"name": "d"});
        let defaults = [DEFAULT_CPU_MILLIS, DEFAULT_MEMORY_BYTES];
        assert_eq!(ask(json!({"containers": [nothing]})).non_zero, defaults);
        let two = ask(json!({"containers": [cpu("1"), nothing]})).non_zero;
        assert_eq!(two, [1100, 2 * DEFAULT_MEMORY_BYTES]);
        assert_eq!(ask(json!({"containers": [cpu("0")]})).non_zero, [0, DEFAULT_MEMORY_BYTES], "none is asked for");
        let whole = json!({"requests": {"cpu": "2", "memory": "5"}});
        assert_eq!(ask(json!({"containers": [nothing], "resources": whole})).non_zero, [2000, 5], "the pod's own");
    }

    #[test]
    fn named_nodes_table() {
        let field =
            |operator: &str, names: &[&str]| json!({"key": "metadata.name", "operator": operator, "values": names});
        let is = |names: &[&str]| field("In", names);
        let label = json!([{"key": "disk", "operator": "Exists"}]);
        let cases = [
            ("one", json!([{"matchFields": [is(&["n1"])]}]), Some("n1")),
            ("with a label", json!([{"matchFields": [is(&["n1"])], "matchExpressions": label}]), Some("n1")),
            ("alternatives", json!([{"matchFields": [is(&["n2"])]}, {"matchFields": [is(&["n1"])]}]), Some("n1 n2")),
            ("both hold", json!([{"matchFields": [is(&["n1", "n2"]), is(&["n2"])]}]), Some("n2")),
            ("both cannot hold", json!([{"matchFields": [is(&["n1"]), is(&["n2"])]}]), Some("")),
            ("any but one", json!([{"matchFields": [field("NotIn", &["n1"])]}]), None),
            ("or others by a label", json!([{"matchFields": [is(&["n1"])]}, {"matchExpressions": label}]), None),
            ("no terms", json!([]), None),
        ];
        for (why, terms, expected) in cases {
            let required = json!({"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}});
            let names = ask(json!({"containers": [], "affinity": {"nodeAffinity": required}})).node_names;
            assert_eq!(names.map(|names| names.join(" ")).as_deref(), expected, "{why}");
        }
        assert_eq!(ask(json!({"containers": []})).node_names, None, "no affinity");
    }
}
