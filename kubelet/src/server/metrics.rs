//! Prometheus metrics: the kubelet's own, the resources that metrics-server asks for, and containers as cAdvisor names them.
//!
//! <https://kubernetes.io/docs/reference/instrumentation/metrics/>

use std::collections::HashMap;
use std::fmt::Write;

use corten_api::version;
use jiff::Timestamp;

use super::stats::used;
use super::{PodView, Server};
use crate::cgroup::Usage;
use crate::runtime::{RuntimeError, Stats};

/// The media type of the text format.
pub(super) const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

type Figure = fn(&Stats) -> f64;
type ByContainer = HashMap<String, Stats>;

/// `/metrics`.
pub(super) fn own(server: &Server) -> String {
    let mut text = Text::default();
    of_pods(&mut text, &server.pods.all());
    text.family(
        "kubelet_pod_worker_panics_total",
        "counter",
        "Panics over single pods, each contained and tried again.",
    );
    text.sample(
        "kubelet_pod_worker_panics_total",
        &[],
        corten_client::panics::count(crate::pod::worker::WORKER) as f64,
    );
    text.family("kubelet_node_name", "gauge", "The node's name. The count is always 1.");
    text.sample("kubelet_node_name", &[("node", &server.node_name)], 1.0);
    text.family("kubernetes_build_info", "gauge", "The version of this program. The count is always 1.");
    text.sample("kubernetes_build_info", &[("git_version", version::GIT)], 1.0);
    match of_process() {
        Ok(process) => of_this_process(&mut text, process),
        Err(why) => tracing::debug!(%why, "cannot measure this process"),
    }
    text.0
}

fn of_pods(text: &mut Text, pods: &[PodView]) {
    let containers = || pods.iter().flat_map(|p| &p.containers);
    let running = containers().filter_map(|c| c.current.as_ref()).filter(|i| i.running).count();
    let exited = containers().filter_map(|c| c.current.as_ref()).filter(|i| !i.running).count();
    let runs = |pod: &&PodView| pod.containers.iter().any(|c| c.current.as_ref().is_some_and(|i| i.running));
    text.family("kubelet_running_pods", "gauge", "Pods with a running container.");
    text.sample("kubelet_running_pods", &[], pods.iter().filter(runs).count() as f64);
    text.family("kubelet_running_containers", "gauge", "Containers, the newest of each name, by state.");
    for (state, count) in [("running", running), ("exited", exited)] {
        text.sample("kubelet_running_containers", &[("container_state", state)], count as f64);
    }
}

/// What this process has used: (cpu seconds, resident bytes, start in seconds since 1970, open files).
fn of_process() -> Result<(f64, f64, f64, f64), procfs::ProcError> {
    let process = procfs::process::Process::myself()?;
    let stat = process.stat()?;
    let ticks = procfs::ticks_per_second() as f64;
    let cpu = (stat.utime + stat.stime) as f64 / ticks;
    let resident = stat.rss as f64 * procfs::page_size() as f64;
    let started = procfs::boot_time_secs()? as f64 + stat.starttime as f64 / ticks;
    Ok((cpu, resident, started, process.fd_count()? as f64))
}

fn of_this_process(text: &mut Text, (cpu, resident, started, files): (f64, f64, f64, f64)) {
    let figures = [
        ("process_cpu_seconds_total", "counter", "Cpu time of this process, in seconds.", cpu),
        ("process_resident_memory_bytes", "gauge", "Resident memory of this process.", resident),
        ("process_start_time_seconds", "gauge", "Start of this process, since 1970.", started),
        ("process_open_fds", "gauge", "Open files of this process.", files),
    ];
    for (name, kind, help, value) in figures {
        text.family(name, kind, help);
        text.sample(name, &[], value);
    }
}

/// `/metrics/resource`.
pub(super) async fn resource(server: &Server) -> Result<String, RuntimeError> {
    let stats = super::stats::by_container(server).await?;
    let node = server.hierarchy.usage(&server.cgroup_root);
    Ok(of_resources(&server.pods.all(), &stats, node.as_ref(), Timestamp::now()))
}

/// Each with the time it was measured at, as upstream; metrics-server divides by the difference.
fn of_resources(pods: &[PodView], stats: &ByContainer, node: Option<&Usage>, now: Timestamp) -> String {
    let mut text = Text::default();
    let at = Some(now);
    let families: [(&str, &str, &str, &str, Figure); 2] = [
        (
            "container_cpu_usage_seconds_total",
            "pod_cpu_usage_seconds_total",
            "counter",
            "Cpu time used, in core-seconds.",
            |s| s.usage.cpu.as_secs_f64(),
        ),
        (
            "container_memory_working_set_bytes",
            "pod_memory_working_set_bytes",
            "gauge",
            "Memory in use, without the page cache that the kernel would drop first.",
            |s| s.usage.memory_working_set_bytes as f64,
        ),
    ];
    for (of_container, of_pod, kind, help, figure) in families {
        text.family(of_container, kind, help);
        for pod in pods {
            for (container, stats) in used(pod, stats) {
                let labels = [("container", container), ("namespace", &pod.namespace), ("pod", &pod.name)];
                text.sample_at(of_container, &labels, figure(stats), at);
            }
        }
        text.family(of_pod, kind, help);
        for pod in pods.iter().filter(|pod| used(pod, stats).next().is_some()) {
            let sum = used(pod, stats).map(|(_, stats)| figure(stats)).sum();
            text.sample_at(of_pod, &[("namespace", &pod.namespace), ("pod", &pod.name)], sum, at);
        }
    }
    text.family("container_start_time_seconds", "gauge", "Start of the container, since 1970.");
    for pod in pods {
        for (container, stats) in used(pod, stats) {
            let Some(started_at) = stats.started_at else { continue };
            let labels = [("container", container), ("namespace", &pod.namespace), ("pod", &pod.name)];
            let secs = started_at.as_duration().as_secs_f64();
            text.sample("container_start_time_seconds", &labels, secs);
        }
    }
    if let Some(usage) = node {
        text.family("node_cpu_usage_seconds_total", "counter", "Cpu time used by the node, in core-seconds.");
        text.sample_at("node_cpu_usage_seconds_total", &[], usage.cpu.as_secs_f64(), at);
        text.family("node_memory_working_set_bytes", "gauge", "Memory that the node has in use.");
        text.sample_at("node_memory_working_set_bytes", &[], usage.memory_working_set_bytes as f64, at);
    }
    text.family("resource_scrape_error", "gauge", "1 if something could not be measured.");
    text.sample("resource_scrape_error", &[], if node.is_none() { 1.0 } else { 0.0 });
    text.0
}

/// `/metrics/cadvisor`: what the containers have used, under the names that dashboards know.
pub(super) async fn cadvisor(server: &Server) -> Result<String, RuntimeError> {
    Ok(of_containers(&server.pods.all(), &super::stats::by_container(server).await?))
}

fn of_containers(pods: &[PodView], stats: &ByContainer) -> String {
    let mut text = Text::default();
    let families: [(&str, &str, &str, Figure); 4] = [
        ("container_cpu_usage_seconds_total", "counter", "Cpu time used, in core-seconds.", |s| {
            s.usage.cpu.as_secs_f64()
        }),
        ("container_memory_usage_bytes", "gauge", "Memory in use, with all page cache.", |s| {
            s.usage.memory_bytes as f64
        }),
        ("container_memory_working_set_bytes", "gauge", "Memory in use, without the inactive page cache.", |s| {
            s.usage.memory_working_set_bytes as f64
        }),
        ("container_memory_rss", "gauge", "Anonymous memory in use.", |s| s.usage.memory_rss_bytes as f64),
    ];
    for (name, kind, help, figure) in families {
        text.family(name, kind, help);
        for pod in pods {
            for (container, stats) in used(pod, stats) {
                let image = pod.containers.iter().find(|c| c.name == container).map(|c| c.image.as_str());
                let labels = [
                    ("container", container),
                    ("image", image.unwrap_or_default()),
                    ("name", &stats.container_id),
                    ("namespace", &pod.namespace),
                    ("pod", &pod.name),
                ];
                text.sample(name, &labels, figure(stats));
            }
        }
    }
    text.0
}

/// Prometheus' text format. Writing to a String cannot fail.
#[derive(Default)]
struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }
    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        self.sample_at(name, labels, value, None);
    }
    fn sample_at(&mut self, name: &str, labels: &[(&str, &str)], value: f64, at: Option<Timestamp>) {
        let escaped = |v: &str| v.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let labels: Vec<String> = labels.iter().map(|(k, v)| format!("{k}=\"{}\"", escaped(v))).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let at = at.map(|at| format!(" {}", at.as_millisecond())).unwrap_or_default();
        let _ = writeln!(self.0, "{name}{labels} {value}{at}");
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::{ContainerView, Instance};
    use super::*;

    fn pods() -> Vec<PodView> {
        let instance = |id: &str, running| Some(Instance { id: id.into(), running, log_path: "/l".into() });
        let container = |name: &str, current| ContainerView {
            name: name.into(),
            image: "docker.io/library/web:1".into(),
            current,
            previous: None,
        };
        vec![PodView {
            namespace: "default".into(),
            name: "web".into(),
            uid: "u".into(),
            started_at: None,
            network: None,
            containers: vec![
                container("a", instance("ida", true)),
                container("b", instance("idb", true)),
                container("done", instance("idc", false)),
                container("waiting", None),
            ],
            default_container: "a".into(),
        }]
    }

    fn stats() -> ByContainer {
        let of = |id: &str, secs| Stats {
            container_id: id.into(),
            started_at: Timestamp::from_millisecond(1500).ok(),
            usage: Usage { cpu: Duration::from_secs(secs), memory_working_set_bytes: 10, ..Usage::default() },
        };
        [("ida".to_owned(), of("ida", 2)), ("idb".to_owned(), of("idb", 3))].into()
    }

    fn samples(text: &str) -> Vec<&str> {
        text.lines().filter(|line| !line.starts_with('#')).collect()
    }

    #[test]
    fn pods_and_containers_are_counted() {
        let mut text = Text::default();
        of_pods(&mut text, &pods());
        let expected = [
            "kubelet_running_pods 1",
            "kubelet_running_containers{container_state=\"running\"} 2",
            "kubelet_running_containers{container_state=\"exited\"} 1",
        ];
        assert_eq!(samples(&text.0), expected);
    }

    #[test]
    fn metrics_server_finds_what_it_asks_for() {
        let text = of_resources(&pods(), &stats(), Some(&Usage::default()), Timestamp::from_millisecond(2000).unwrap());
        for expected in [
            "container_cpu_usage_seconds_total{container=\"a\",namespace=\"default\",pod=\"web\"} 2 2000",
            "container_start_time_seconds{container=\"a\",namespace=\"default\",pod=\"web\"} 1.5",
            "pod_cpu_usage_seconds_total{namespace=\"default\",pod=\"web\"} 5 2000",
            "pod_memory_working_set_bytes{namespace=\"default\",pod=\"web\"} 20 2000",
            "node_cpu_usage_seconds_total 0 2000",
            "node_memory_working_set_bytes 0 2000",
            "resource_scrape_error 0",
        ] {
            assert!(samples(&text).contains(&expected), "{expected}: {text}");
        }
        assert!(!text.contains("done"), "what has ended uses nothing");
    }

    #[test]
    fn dashboards_find_containers_by_their_labels() {
        let text = of_containers(&pods(), &stats());
        let expected = "container_cpu_usage_seconds_total{container=\"b\",image=\"docker.io/library/web:1\",name=\"idb\",namespace=\"default\",pod=\"web\"} 3";
        assert!(samples(&text).contains(&expected), "{text}");
    }

    #[test]
    fn the_process_measures_itself() {
        let (_, resident, started, files) = of_process().unwrap();
        assert!(resident > 0.0 && started > 1.6e9 && files > 0.0);
    }

    #[test]
    fn labels_are_escaped() {
        let mut text = Text::default();
        text.sample("m", &[("l", "a\"b\\c\nd")], 1.0);
        assert_eq!(text.0, "m{l=\"a\\\"b\\\\c\\nd\"} 1\n");
    }
}
