//! What the server counts of itself, for Prometheus, under upstream's names where upstream has one.
//!
//! <https://kubernetes.io/docs/reference/instrumentation/metrics/>.

pub mod api_services;

use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use self::api_services::ApiServices;
use crate::flowcontrol::FlowControl;

/// What is counted apart. Only names of kinds that are served stand here, so that no client can make new series.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RequestLabels {
    pub verb: &'static str,
    pub group: Arc<str>,
    pub resource: Arc<str>,
    pub code: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LatencyLabels {
    verb: &'static str,
    group: Arc<str>,
    resource: Arc<str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabels {
    request_kind: &'static str,
}

/// Seconds; upstream's SLO buckets, fewer.
const BUCKETS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    latency: Family<LatencyLabels, Histogram>,
    in_flight: Family<KindLabels, Gauge<i64, AtomicI64>>,
    long_running: Gauge,
    pub connections: Gauge,
    pub api_services: ApiServices,
}

impl Metrics {
    /// With those of `flow`.
    pub fn new(flow: &FlowControl) -> Self {
        let mut registry = Registry::default();
        let requests = Family::default();
        let latency = Family::new_with_constructor((|| Histogram::new(BUCKETS)) as fn() -> Histogram);
        let in_flight = Family::default();
        let (long_running, connections) = (Gauge::default(), Gauge::default());
        registry.register("apiserver_request", "Requests answered", requests.clone());
        let help = "Time from a request's arrival to its response's head, without watches";
        registry.register("apiserver_request_duration_seconds", help, latency.clone());
        registry.register("apiserver_current_inflight_requests", "Requests at work", in_flight.clone());
        registry.register(
            "apiserver_longrunning_requests",
            "Watches, logs, execs and the like at work",
            long_running.clone(),
        );
        registry.register("apiserver_connections", "Open client connections", connections.clone());
        flow.register(&mut registry);
        let api_services = ApiServices::default();
        api_services.register(&mut registry);
        Self { registry, requests, latency, in_flight, long_running, connections, api_services }
    }

    /// `unreadable`: counted by the cache, from its start on.
    pub fn count_unreadable(&mut self, unreadable: Counter) {
        let help = "Keys and values in the store that are nothing of the API and were left out";
        self.registry.register("corten_apiserver_storage_unreadable", help, unreadable);
    }

    /// What others count.
    pub fn register(&mut self, others: impl FnOnce(&mut Registry)) {
        others(&mut self.registry);
    }

    /// `took`: `None` for long-running requests.
    pub fn answered(&self, labels: RequestLabels, took: Option<Duration>) {
        if let Some(took) = took {
            let labels =
                LatencyLabels { verb: labels.verb, group: labels.group.clone(), resource: labels.resource.clone() };
            self.latency.get_or_create(&labels).observe(took.as_secs_f64());
        }
        self.requests.get_or_create(&labels).inc();
    }

    /// The text form of OpenMetrics.
    pub fn render(&self, flow: &FlowControl) -> Result<String, std::fmt::Error> {
        let (mutating, read_only) = flow.executing();
        for (request_kind, count) in [("mutating", mutating), ("readOnly", read_only)] {
            self.in_flight.get_or_create(&KindLabels { request_kind }).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        self.long_running.set(i64::try_from(flow.long_running()).unwrap_or(i64::MAX));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rendered_names() {
        let flow = FlowControl::default();
        let metrics = Metrics::new(&flow);
        let labels = RequestLabels { verb: "list", group: "".into(), resource: "pods".into(), code: 200 };
        metrics.answered(labels, Some(Duration::from_millis(3)));
        let text = metrics.render(&flow).unwrap();
        for line in [
            r#"apiserver_request_total{verb="list",group="",resource="pods",code="200"} 1"#,
            r#"apiserver_request_duration_seconds_bucket{le="0.005",verb="list",group="",resource="pods"} 1"#,
            r#"apiserver_current_inflight_requests{request_kind="mutating"} 0"#,
        ] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
    }
}
