//! How much CPU the nodes of each zone have, kept as nodes change. Pure.

use std::collections::{BTreeMap, HashMap};

use corten_api::k8s_openapi::api::core::v1::Node;
use corten_api::quantity::Quantity;
use corten_api::{Object, node};

use super::ZONE_LABEL;

/// Nodes with one of these carry no load that is to be shared out.
const EXCLUDED_LABELS: [&str; 2] = ["node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master"];

/// The part of all CPU that each zone has; there are two zones at least.
pub type Ratios = BTreeMap<String, f64>;

/// What counts of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Share {
    Of {
        zone: String,
        cpu_millis: i64,
    },
    /// It is ready, and does not say where it is or what it has.
    Unknown,
}

impl Share {
    /// `None`: the node does not count.
    fn of(node: &Node) -> Option<Self> {
        if EXCLUDED_LABELS.iter().any(|label| node.label(label).is_some()) || !node::is_ready(node) {
            return None;
        }
        let allocatable = node.status.as_ref().and_then(|status| status.allocatable.as_ref()?.get("cpu"));
        let cpu_millis = allocatable.and_then(|cpu| Quantity::from_wire(cpu).ok()).map_or(0, Quantity::millis);
        match node.label(ZONE_LABEL).filter(|zone| !zone.is_empty() && cpu_millis > 0) {
            Some(zone) => Some(Self::Of { zone: zone.to_owned(), cpu_millis }),
            None => Some(Self::Unknown),
        }
    }
}

/// The sums over all nodes. A node's change costs as much as that node.
#[derive(Debug, Default)]
pub struct ZoneCpu {
    shares: HashMap<String, Share>,
    unknown: usize,
    /// Nodes and their CPU.
    by_zone: BTreeMap<String, (usize, i64)>,
}

impl ZoneCpu {
    /// `None`: the node is gone. True if anything is shared out otherwise now.
    pub fn set(&mut self, name: &str, node: Option<&Node>) -> bool {
        let new = node.and_then(Share::of);
        if self.shares.get(name) == new.as_ref() {
            return false;
        }
        let old = match &new {
            Some(share) => self.shares.insert(name.to_owned(), share.clone()),
            None => self.shares.remove(name),
        };
        match old {
            Some(Share::Of { zone, cpu_millis }) => self.take(&zone, cpu_millis),
            Some(Share::Unknown) => self.unknown -= 1,
            None => {}
        }
        match new {
            Some(Share::Of { zone, cpu_millis }) => {
                let (nodes, cpu) = self.by_zone.entry(zone).or_default();
                (*nodes, *cpu) = (*nodes + 1, cpu.saturating_add(cpu_millis));
            }
            Some(Share::Unknown) => self.unknown += 1,
            None => {}
        }
        true
    }

    fn take(&mut self, zone: &str, cpu_millis: i64) {
        let Some((nodes, cpu)) = self.by_zone.get_mut(zone) else { return };
        (*nodes, *cpu) = (*nodes - 1, *cpu - cpu_millis);
        if *nodes == 0 {
            self.by_zone.remove(zone);
        }
    }

    /// `None`: a node does not say enough, or all are in one zone.
    pub fn ratios(&self) -> Option<Ratios> {
        let total = self.by_zone.values().fold(0_i64, |sum, (_, cpu)| sum.saturating_add(*cpu));
        if self.unknown > 0 || self.by_zone.len() < 2 || total <= 0 {
            return None;
        }
        let ratio = |cpu: i64| cpu as f64 / total as f64;
        Some(self.by_zone.iter().map(|(zone, (_, cpu))| (zone.clone(), ratio(*cpu))).collect())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn node(zone: &str, cpu: &str, ready: &str, role: Option<&str>) -> Node {
        let mut labels = json!({});
        if !zone.is_empty() {
            labels[ZONE_LABEL] = json!(zone);
        }
        if let Some(role) = role {
            labels[format!("node-role.kubernetes.io/{role}")] = json!("");
        }
        let conditions = json!([{"type": "Ready", "status": ready}]);
        let status = json!({"allocatable": {"cpu": cpu}, "conditions": conditions});
        serde_json::from_value(json!({"metadata": {"name": "n", "labels": labels}, "status": status})).unwrap()
    }

    #[test]
    fn ratios_follow_the_nodes() {
        let mut cpu = ZoneCpu::default();
        let said = |cpu: &ZoneCpu| {
            let all = cpu.ratios()?;
            Some(all.iter().map(|(zone, ratio)| format!("{zone}:{ratio:.2}")).collect::<Vec<_>>().join(" "))
        };
        // node, what it is now, whether that changes anything, ratios
        let steps = [
            ("a1", Some(node("a", "2", "True", None)), true, None),
            ("b1", Some(node("b", "1", "True", None)), true, Some("a:0.67 b:0.33")),
            ("b1", Some(node("b", "1000m", "True", None)), false, Some("a:0.67 b:0.33")),
            ("c1", Some(node("c", "5", "False", None)), false, Some("a:0.67 b:0.33")),
            ("m1", Some(node("", "8", "True", Some("control-plane"))), false, Some("a:0.67 b:0.33")),
            ("c1", Some(node("c", "5", "True", None)), true, Some("a:0.25 b:0.12 c:0.62")),
            ("x", Some(node("", "1", "True", None)), true, None),
            ("x", Some(node("b", "0", "True", None)), false, None),
            ("x", Some(node("b", "2", "True", None)), true, Some("a:0.20 b:0.30 c:0.50")),
            ("c1", None, true, Some("a:0.40 b:0.60")),
            ("a1", Some(node("a", "2", "Unknown", None)), true, None),
        ];
        for (name, node, changes, expected) in steps {
            assert_eq!(cpu.set(name, node.as_ref()), changes, "{name}");
            assert_eq!(said(&cpu).as_deref(), expected, "{name}");
        }
        for name in ["a1", "b1", "x"] {
            cpu.set(name, None);
        }
        assert!(cpu.shares.is_empty() && cpu.by_zone.is_empty() && cpu.unknown == 0);
    }
}
