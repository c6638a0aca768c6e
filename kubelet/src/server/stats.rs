//! What the node, its pods and containers have used: upstream's stats summary.
//!
//! <https://kubernetes.io/docs/reference/instrumentation/node-metrics/>

use std::collections::HashMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{PodView, Server};
use crate::cgroup::Usage;
use crate::runtime::{RuntimeError, Stats};

/// Upstream's `Summary` as JSON.
pub(super) async fn summary(server: &Server) -> Result<Vec<u8>, RuntimeError> {
    let (now, stats) = (Timestamp::now().to_string(), by_container(server).await?);
    let pods: Vec<Value> = server.pods.all().iter().map(|pod| pod_summary(pod, &stats, &now)).collect();
    let mut node = json!({"nodeName": server.node_name});
    if let Some(usage) = server.hierarchy.usage(&server.cgroup_root) {
        node["cpu"] = json!({"time": now, "usageCoreNanoSeconds": usage.cpu.as_nanos() as u64});
        node["memory"] = node_memory(&usage, &now);
    }
    serde_json::to_vec(&json!({"node": node, "pods": pods})).map_err(|e| RuntimeError::BadSpec(e.to_string()))
}

fn node_memory(usage: &Usage, now: &str) -> Value {
    json!({
        "time": now,
        "usageBytes": usage.memory_bytes,
        "workingSetBytes": usage.memory_working_set_bytes,
        "rssBytes": usage.memory_rss_bytes,
    })
}

pub(super) async fn by_container(server: &Server) -> Result<HashMap<String, Stats>, RuntimeError> {
    Ok(server.runtime.stats().await?.into_iter().map(|s| (s.container_id.clone(), s)).collect())
}

/// The running containers of a pod with what they have used.
pub(super) fn used<'a>(
    pod: &'a PodView,
    stats: &'a HashMap<String, Stats>,
) -> impl Iterator<Item = (&'a str, &'a Stats)> {
    let running = pod.containers.iter().filter_map(|c| Some((c.name.as_str(), c.current.as_ref()?)));
    running.filter_map(|(name, instance)| Some((name, stats.get(&instance.id)?)))
}

fn cpu_nanos(stats: &Stats) -> u64 {
    u64::try_from(stats.cpu_usage.as_nanos()).unwrap_or(u64::MAX)
}

fn pod_summary(pod: &PodView, stats: &HashMap<String, Stats>, now: &str) -> Value {
    let figures = |stats: &Stats| {
        let cpu = json!({"time": now, "usageCoreNanoSeconds": cpu_nanos(stats)});
        let memory = json!({
            "time": now,
            "usageBytes": stats.memory_usage_bytes,
            "workingSetBytes": stats.memory_working_set_bytes,
            "rssBytes": stats.memory_rss_bytes,
        });
        (cpu, memory)
    };
    let mut sum = Stats::default();
    let mut containers = Vec::new();
    for (name, stats) in used(pod, stats) {
        let (cpu, memory) = figures(stats);
        containers.push(json!({"name": name, "cpu": cpu, "memory": memory}));
        sum.cpu_usage += stats.cpu_usage;
        sum.memory_usage_bytes += stats.memory_usage_bytes;
        sum.memory_working_set_bytes += stats.memory_working_set_bytes;
        sum.memory_rss_bytes += stats.memory_rss_bytes;
    }
    let (cpu, memory) = figures(&sum);
    json!({
        "podRef": {"name": pod.name, "namespace": pod.namespace, "uid": pod.uid},
        "containers": containers, "cpu": cpu, "memory": memory,
    })
}
