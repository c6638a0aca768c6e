//! What the node, its pods and containers have used: upstream's stats summary.
//!
//! <https://kubernetes.io/docs/reference/instrumentation/node-metrics/>

use std::collections::HashMap;
use std::time::Instant;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{PodView, Server};
use crate::cgroup::Usage;
use crate::runtime::{RuntimeError, Stats};

/// What stands for the node among the names of containers.
const NODE: &str = "";

/// Upstream's `Summary` as JSON.
pub(super) async fn summary(server: &Server) -> Result<Vec<u8>, RuntimeError> {
    let (now, stats) = (Timestamp::now(), by_container(server).await?);
    let node = server.hierarchy.usage(&server.cgroup_root);
    let all = stats.iter().map(|(id, stats)| (id.as_str(), stats.usage.cpu));
    let all = all.chain(node.map(|usage| (NODE, usage.cpu)));
    let rates = server.rates.nano_cores(Instant::now(), all);
    let figures = Figures { now: now.to_string(), rates };
    let pods: Vec<Value> = server.pods.all().iter().map(|pod| figures.of_pod(pod, &stats)).collect();
    let node = figures.of_node(&server.node_name, node.as_ref(), booted_at(), memory_total());
    serde_json::to_vec(&json!({"node": node, "pods": pods})).map_err(RuntimeError::internal("writing the summary"))
}

fn booted_at() -> Option<Timestamp> {
    let secs = procfs::boot_time_secs().ok()?;
    Timestamp::from_second(i64::try_from(secs).ok()?).ok()
}

fn memory_total() -> Option<u64> {
    use procfs::Current as _;
    procfs::Meminfo::current().ok().map(|memory| memory.mem_total)
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

/// How usages are written: what is not known is left out, as upstream does.
struct Figures {
    now: String,
    rates: HashMap<String, u64>,
}

impl Figures {
    fn of_node(&self, name: &str, usage: Option<&Usage>, booted: Option<Timestamp>, memory: Option<u64>) -> Value {
        let mut node = json!({"nodeName": name, "startTime": booted.map(|at| at.to_string())});
        if let Some(usage) = usage {
            let limit = usage.memory_limit_bytes.into_iter().chain(memory).min();
            node["cpu"] = self.cpu(usage, self.rates.get(NODE).copied());
            node["memory"] = self.memory(&Usage { memory_limit_bytes: limit, ..*usage });
        }
        node
    }

    fn of_pod(&self, pod: &PodView, stats: &HashMap<String, Stats>) -> Value {
        let (mut sum, mut rate) = (Usage::default(), Some(0));
        let mut containers = Vec::new();
        for (name, stats) in used(pod, stats) {
            let own = self.rates.get(&stats.container_id).copied();
            containers.push(json!({
                "name": name,
                "startTime": stats.started_at.map(|at| at.to_string()),
                "cpu": self.cpu(&stats.usage, own),
                "memory": self.memory(&stats.usage),
            }));
            sum = sum.and(&stats.usage);
            rate = rate.zip(own).map(|(sum, own)| sum + own);
        }
        let mut summary = json!({
            "podRef": {"name": pod.name, "namespace": pod.namespace, "uid": pod.uid},
            "startTime": pod.started_at.map(|at| at.to_string()),
            "containers": containers,
        });
        if !containers.is_empty() {
            summary["cpu"] = self.cpu(&sum, rate);
            summary["memory"] = self.memory(&sum);
            summary["process_stats"] = json!({"process_count": sum.pids});
        }
        summary
    }

    fn cpu(&self, usage: &Usage, nano_cores: Option<u64>) -> Value {
        let nanos = u64::try_from(usage.cpu.as_nanos()).unwrap_or(u64::MAX);
        let mut cpu = json!({"time": self.now, "usageCoreNanoSeconds": nanos});
        if let Some(nano_cores) = nano_cores {
            cpu["usageNanoCores"] = nano_cores.into();
        }
        cpu
    }

    fn memory(&self, usage: &Usage) -> Value {
        let mut memory = json!({
            "time": self.now,
            "usageBytes": usage.memory_bytes,
            "workingSetBytes": usage.memory_working_set_bytes,
            "rssBytes": usage.memory_rss_bytes,
            "pageFaults": usage.page_faults,
            "majorPageFaults": usage.major_page_faults,
        });
        if let Some(limit) = usage.memory_limit_bytes {
            memory["availableBytes"] = limit.saturating_sub(usage.memory_working_set_bytes).into();
        }
        memory
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::{ContainerView, Instance};
    use super::*;

    fn usage(secs: u64, limit: Option<u64>) -> Usage {
        Usage {
            cpu: Duration::from_secs(secs),
            memory_bytes: 120,
            memory_working_set_bytes: 100,
            memory_rss_bytes: 50,
            memory_limit_bytes: limit,
            page_faults: 7,
            major_page_faults: 1,
            pids: 2,
        }
    }

    fn pod(containers: &[&str]) -> PodView {
        let view = |name: &&str| ContainerView {
            name: (*name).into(),
            image: "web:1".into(),
            current: Some(Instance { id: format!("id-{name}"), running: true, log_path: "/l".into() }),
            previous: None,
        };
        PodView {
            namespace: "default".into(),
            name: "web".into(),
            uid: "u".into(),
            started_at: Some(Timestamp::UNIX_EPOCH),
            network: None,
            containers: containers.iter().map(view).collect(),
            default_container: "a".into(),
        }
    }

    #[test]
    fn a_summary_says_what_is_used_now_since_when_and_what_is_left() {
        let started_at = Some(Timestamp::UNIX_EPOCH);
        let of = |id: &str, secs, limit| Stats { container_id: id.into(), started_at, usage: usage(secs, limit) };
        let stats = [("id-a".to_owned(), of("id-a", 2, Some(130))), ("id-b".to_owned(), of("id-b", 3, None))].into();
        let rates = HashMap::from([("id-a".to_owned(), 250), ("id-b".to_owned(), 500), (NODE.to_owned(), 9)]);
        let figures = Figures { now: "now".into(), rates };
        let both = figures.of_pod(&pod(&["a", "b"]), &stats);
        let none = figures.of_pod(&pod(&["c"]), &stats);
        let first = Figures { now: "now".into(), rates: HashMap::new() }.of_pod(&pod(&["a"]), &stats);
        let node = figures.of_node("n", Some(&usage(9, None)), started_at, Some(1000));
        let cases = [
            ("a container's cpu", &both["containers"][0]["cpu"]["usageNanoCores"], json!(250)),
            ("and its time", &both["containers"][0]["cpu"]["usageCoreNanoSeconds"], json!(2_000_000_000_u64)),
            ("its start", &both["containers"][0]["startTime"], json!("1970-01-01T00:00:00Z")),
            ("what its limit leaves", &both["containers"][0]["memory"]["availableBytes"], json!(30)),
            ("no limit", &both["containers"][1]["memory"]["availableBytes"], Value::Null),
            ("page faults", &both["containers"][1]["memory"]["pageFaults"], json!(7)),
            ("a pod is the sum", &both["cpu"]["usageNanoCores"], json!(750)),
            ("of memory too", &both["memory"]["workingSetBytes"], json!(200)),
            ("without a limit where one has none", &both["memory"]["availableBytes"], Value::Null),
            ("its processes", &both["process_stats"]["process_count"], json!(4)),
            ("its start", &both["startTime"], json!("1970-01-01T00:00:00Z")),
            ("nothing runs: nothing is used", &none["cpu"], Value::Null),
            ("asked for the first time", &first["cpu"]["usageNanoCores"], Value::Null),
            ("the node's cpu", &node["cpu"]["usageNanoCores"], json!(9)),
            ("what the machine has left", &node["memory"]["availableBytes"], json!(900)),
            ("its boot", &node["startTime"], json!("1970-01-01T00:00:00Z")),
        ];
        for (why, got, expected) in cases {
            assert_eq!(*got, expected, "{why}");
        }
    }
}
