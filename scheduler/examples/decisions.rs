//! How many decisions a second the scheduler's core makes, by the shape of pods and the size of the cluster, and what memory
//! 5,000 nodes with 150,000 pods take: `cargo run --release -p corten-scheduler --example decisions [NODES]...`.
#![expect(clippy::unwrap_used, reason = "a bench: what fails here ends it")]

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use corten_api::Key;
use corten_api::selector::Selector;
use corten_scheduler::core::Core;
use corten_scheduler::cycle::Decision;
use corten_scheduler::pod::terms::{Affinity, PodSelector, SpreadConstraint, Term};
use corten_scheduler::pod::{Ask, PodClass, PodInfo};
use k8s_openapi::api::core::v1::Node;
use serde_json::json;

const ZONES: usize = 10;
const SCHEDULER: &str = "default-scheduler";
/// A shape is given up on after this long.
const SHAPE_MAX: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Shape {
    Plain,
    NodeAffinity,
    PodAffinity,
    AntiAffinity,
    Spread,
    Preemption,
}

const SHAPES: [Shape; 6] =
    [Shape::Plain, Shape::NodeAffinity, Shape::PodAffinity, Shape::AntiAffinity, Shape::Spread, Shape::Preemption];

fn node(n: usize) -> Node {
    let name = format!("node-{n}");
    let labels = json!({"kubernetes.io/hostname": name, "topology.kubernetes.io/zone": format!("z{}", n % ZONES)});
    serde_json::from_value(json!({"metadata": {"name": name, "labels": labels},
        "status": {"allocatable": {"cpu": "32", "memory": "128Gi", "pods": "110"}}}))
    .unwrap()
}

fn term(topology_key: &str) -> Term {
    let pods = PodSelector::within("default", Selector::parse("app=bench").unwrap());
    Term { pods, topology_key: topology_key.into() }
}

fn ask(cpu_millis: i64) -> Ask {
    let requests = [("cpu".to_owned(), cpu_millis), ("memory".to_owned(), 64 << 20)].into();
    Ask { requests, non_zero: [cpu_millis, 64 << 20], ..Ask::default() }
}

fn class(shape: Shape) -> PodClass {
    let mut ask = ask(if shape == Shape::Preemption { 8000 } else { 100 });
    let mut class = PodClass {
        namespace: "default".into(),
        scheduler: SCHEDULER.into(),
        labels: [("app".to_owned(), "bench".to_owned())].into(),
        ..PodClass::default()
    };
    match shape {
        Shape::Plain => {}
        Shape::NodeAffinity => {
            let zones = json!({"key": "topology.kubernetes.io/zone", "operator": "In", "values": ["z1", "z2", "z3"]});
            let terms = json!({"nodeSelectorTerms": [{"matchExpressions": [zones]}]});
            let affinity = json!({"requiredDuringSchedulingIgnoredDuringExecution": terms});
            ask.node_affinity = Some(serde_json::from_value(affinity).unwrap());
        }
        Shape::PodAffinity => {
            let required = vec![term("topology.kubernetes.io/zone")];
            class.affinity = Affinity { required, ..Affinity::default() };
        }
        Shape::AntiAffinity => {
            class.affinity = Affinity { anti: vec![term("kubernetes.io/hostname")], ..Affinity::default() };
        }
        Shape::Spread => {
            class.spread = ["topology.kubernetes.io/zone", "kubernetes.io/hostname"].map(spread).to_vec();
        }
        Shape::Preemption => class.priority = 100,
    }
    class.ask = Arc::new(ask);
    class
}

fn spread(topology_key: &str) -> SpreadConstraint {
    let constraint = json!({"maxSkew": 1, "topologyKey": topology_key, "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "bench"}}});
    SpreadConstraint::of(&serde_json::from_value(constraint).unwrap(), "default").unwrap()
}

fn pod(name: &str, node: Option<String>, class: &Arc<PodClass>) -> PodInfo {
    PodInfo {
        key: Key::new("default", name),
        uid: format!("uid-{name}"),
        pending: node.is_none().then(Box::default),
        node,
        class: Arc::clone(class),
        ..PodInfo::default()
    }
}

/// Nodes, and pods of others on each.
fn cluster(nodes: usize, on_each: usize, cpu_millis: i64, now: Instant) -> Core {
    let mut core = Core::named(SCHEDULER);
    let other = Arc::new(PodClass {
        namespace: "default".into(),
        scheduler: SCHEDULER.into(),
        labels: [("app".to_owned(), "other".to_owned())].into(),
        ask: Arc::new(ask(cpu_millis)),
        ..PodClass::default()
    });
    for n in 0..nodes {
        core.node_changed(&format!("node-{n}"), Some(&node(n)));
        for m in 0..on_each {
            let there = pod(&format!("there-{n}-{m}"), Some(format!("node-{n}")), &other);
            core.pod_changed(&there.key, Some(&there), now);
        }
    }
    core.wake(now);
    core
}

fn measure(shape: Shape, nodes: usize) {
    let now = Instant::now();
    // Where all is full, four pods of 8 CPUs are on each.
    let (on_each, cpu_millis) = if shape == Shape::Preemption { (4, 8000) } else { (10, 100) };
    let mut core = cluster(nodes, on_each, cpu_millis, now);
    let class = Arc::new(class(shape));
    let wanted = match shape {
        Shape::Plain | Shape::NodeAffinity => 20_000.min(nodes * 15),
        Shape::PodAffinity | Shape::Spread => 5000.min(nodes * 5),
        Shape::AntiAffinity => 2000.min(nodes * 8 / 10),
        Shape::Preemption => 200.min(nodes / 2),
    };
    let pods: Vec<PodInfo> = (0..wanted).map(|n| pod(&format!("new-{n}"), None, &class)).collect();
    pods.iter().for_each(|pod| core.pod_changed(&pod.key, Some(pod), now));
    let by_key: HashMap<&Key, &PodInfo> = pods.iter().map(|pod| (&pod.key, pod)).collect();
    let mut took: Vec<Duration> = Vec::with_capacity(wanted);
    let mut done = 0;
    let started = Instant::now();
    while let Some(key) = core.next(now) {
        let pod = by_key.get(&key).copied();
        let begun = Instant::now();
        let decision = core.decide(&key, pod, now);
        took.push(begun.elapsed());
        done += usize::from(matches!(decision, Some(Decision::Place { .. } | Decision::Nominate { .. })));
        if started.elapsed() > SHAPE_MAX {
            break;
        }
    }
    let all: Duration = took.iter().sum();
    took.sort_unstable();
    let at = |percent: usize| took[(took.len() - 1) * percent / 100].as_nanos() as f64 / 1000.0;
    let per_second = took.len() as f64 / all.as_secs_f64();
    println!(
        "{:<14} {nodes:>6} {:>9} {done:>7} {per_second:>12.0} {:>10.1} {:>10.1}",
        format!("{shape:?}"),
        took.len(),
        at(50),
        at(99)
    );
}

fn memory_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

fn main() {
    let before = memory_mib();
    let core = cluster(5000, 30, 100, Instant::now());
    println!("5,000 nodes and 150,000 pods: {} MiB in the core", memory_mib() - before);
    drop(core);
    println!(
        "{:<14} {:>6} {:>9} {:>7} {:>12} {:>10} {:>10}",
        "shape", "nodes", "decisions", "placed", "decisions/s", "p50 µs", "p99 µs"
    );
    let sizes: Vec<usize> = std::env::args().skip(1).filter_map(|size| size.parse().ok()).collect();
    for nodes in if sizes.is_empty() { vec![100, 1000, 5000] } else { sizes } {
        SHAPES.iter().for_each(|shape| measure(*shape, nodes));
    }
}
