//! NodeMetrics and PodMetrics as JSON and as rows of a table, as metrics-server has them.

use corten_api::quantity::{Format, Quantity};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use super::samples::{PodUsed, Used};
use super::{GROUP, Kind, VERSION};

/// An object, and its cells in a table.
#[derive(Clone, Debug, PartialEq)]
pub struct Shown {
    pub object: Value,
    pub cells: [String; 4],
}

/// (name, type, format) of a table's columns.
pub const COLUMNS: [(&str, &str, &str); 4] = [
    ("Name", "string", "name"),
    ("cpu", "string", "quantity"),
    ("memory", "string", "quantity"),
    ("Window", "string", "duration"),
];

/// Labels as the measured object has them. `now`: the object is made as it is asked for.
pub fn node(name: &str, labels: Map<String, Value>, used: &Used, now: Timestamp) -> Shown {
    let mut object = head(Kind::Nodes, json!({"name": name}), labels, (used.at, used.window), now);
    object["usage"] = usage(used);
    Shown { object, cells: cells(name, used.nano_cores, used.memory_bytes, used.window) }
}

pub fn pod(namespace: &str, name: &str, labels: Map<String, Value>, used: &PodUsed<'_>, now: Timestamp) -> Shown {
    let meta = json!({"name": name, "namespace": namespace});
    let mut object = head(Kind::Pods, meta, labels, (used.at, used.window), now);
    let containers = used.containers.iter().map(|(name, used)| json!({"name": name, "usage": usage(used)}));
    object["containers"] = containers.collect();
    let nano_cores = used.containers.iter().map(|(_, used)| used.nano_cores).sum();
    let memory_bytes = used.containers.iter().map(|(_, used)| used.memory_bytes).sum();
    Shown { object, cells: cells(name, nano_cores, memory_bytes, used.window) }
}

fn head(
    kind: Kind,
    mut metadata: Value,
    labels: Map<String, Value>,
    (at, window): (Timestamp, SignedDuration),
    now: Timestamp,
) -> Value {
    metadata["creationTimestamp"] = seconds(now).into();
    if !labels.is_empty() {
        metadata["labels"] = Value::Object(labels);
    }
    json!({
        "kind": kind.name(),
        "apiVersion": format!("{GROUP}/{VERSION}"),
        "metadata": metadata,
        "timestamp": seconds(at),
        "window": go_duration(window),
    })
}

fn usage(used: &Used) -> Value {
    json!({"cpu": cpu(used.nano_cores), "memory": memory(used.memory_bytes)})
}

fn cells(name: &str, nano_cores: u64, memory_bytes: u64, window: SignedDuration) -> [String; 4] {
    [name.to_owned(), cpu(nano_cores), memory(memory_bytes), go_duration(window)]
}

fn cpu(nano_cores: u64) -> String {
    let text = format!("{nano_cores}n");
    Quantity::parse(&text).map_or(text, |quantity| quantity.to_string())
}
fn memory(bytes: u64) -> String {
    Quantity::from_units(i64::try_from(bytes).unwrap_or(i64::MAX), Format::BinarySi).to_string()
}

/// As the API writes times.
fn seconds(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// As Go writes a duration: `15.3s`, `1m5s`, `850ms`.
fn go_duration(of: SignedDuration) -> String {
    const NANOS: [(i128, &str); 3] = [(1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "µs")];
    let nanos = of.as_nanos().max(0);
    let fraction = |nanos: i128, unit: i128| {
        let digits = format!("{:09}", nanos % unit * (1_000_000_000 / unit));
        let digits = digits.trim_end_matches('0');
        if digits.is_empty() { String::new() } else { format!(".{digits}") }
    };
    if nanos == 0 {
        return "0s".into();
    }
    let Some((unit, name)) = NANOS.into_iter().find(|(unit, _)| nanos >= *unit) else { return format!("{nanos}ns") };
    if name != "s" {
        return format!("{}{}{name}", nanos / unit, fraction(nanos, unit));
    }
    let (secs, rest) = (nanos / unit, fraction(nanos, unit));
    match (secs / 3600, secs / 60 % 60, secs % 60) {
        (0, 0, secs) => format!("{secs}{rest}s"),
        (0, mins, secs) => format!("{mins}m{secs}{rest}s"),
        (hours, mins, secs) => format!("{hours}h{mins}m{secs}{rest}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(nano_cores: u64, memory_bytes: u64) -> Used {
        let at = "2026-01-01T00:00:15.25Z".parse().unwrap();
        Used { nano_cores, memory_bytes, at, window: SignedDuration::from_millis(15_250) }
    }
    fn now() -> Timestamp {
        "2026-01-01T00:00:20Z".parse().unwrap()
    }

    #[test]
    fn a_node_and_a_pod_as_metrics_server_has_them() {
        let labels = Map::from_iter([("a".to_owned(), json!("b"))]);
        let shown = node("n1", labels, &used(250_000_000, 3 << 20), now());
        let expected = json!({
            "kind": "NodeMetrics", "apiVersion": "metrics.k8s.io/v1beta1",
            "metadata": {"name": "n1", "creationTimestamp": "2026-01-01T00:00:20Z", "labels": {"a": "b"}},
            "timestamp": "2026-01-01T00:00:15Z", "window": "15.25s",
            "usage": {"cpu": "250m", "memory": "3Mi"},
        });
        assert_eq!(shown, Shown { object: expected, cells: ["n1", "250m", "3Mi", "15.25s"].map(str::to_owned) });
        let containers = vec![("a", used(1_234_567, 1000)), ("b", used(433, 24))];
        let of_pod = PodUsed { at: containers[0].1.at, window: containers[0].1.window, containers };
        let shown = pod("ns", "web", Map::new(), &of_pod, now());
        let expected = json!({
            "kind": "PodMetrics", "apiVersion": "metrics.k8s.io/v1beta1",
            "metadata": {"name": "web", "namespace": "ns", "creationTimestamp": "2026-01-01T00:00:20Z"},
            "timestamp": "2026-01-01T00:00:15Z", "window": "15.25s",
            "containers": [
                {"name": "a", "usage": {"cpu": "1234567n", "memory": "1k"}},
                {"name": "b", "usage": {"cpu": "433n", "memory": "24"}},
            ],
        });
        assert_eq!(shown, Shown { object: expected, cells: ["web", "1235u", "1Ki", "15.25s"].map(str::to_owned) });
    }

    #[test]
    fn durations_are_written_as_go_does() {
        for (nanos, expected) in [
            (0, "0s"),
            (15, "15ns"),
            (1_500, "1.5µs"),
            (850_000_000, "850ms"),
            (15_000_000_000, "15s"),
            (15_000_000_001, "15.000000001s"),
            (65_500_000_000, "1m5.5s"),
            (3_600_000_000_000, "1h0m0s"),
        ] {
            assert_eq!(go_duration(SignedDuration::from_nanos(nanos)), expected);
        }
    }
}
