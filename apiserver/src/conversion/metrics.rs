//! What conversions by webhooks did, under upstream's names.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// Seconds. Upstream's.
const BUCKETS: [f64; 15] = [0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 45.0, 60.0];
/// Of those by definition: from a millisecond on, each twice the one before.
const BUCKETS_BY_DEFINITION: [f64; 15] =
    [0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024, 2.048, 4.096, 8.192, 16.384];
/// Definitions that are counted apart, with their versions: who makes and deletes definitions without end makes no series without end.
const DEFINITIONS_MAX: usize = 1000;
const OTHERS: &str = "others";

/// Why nothing was converted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    Call,
    MalformedResponse,
    PartialResponse,
    InvalidObject,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByOutcome {
    result: &'static str,
    failure_type: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByDefinition {
    crd_name: Arc<str>,
    from_version: Arc<str>,
    to_version: Arc<str>,
    succeeded: bool,
}

pub(super) struct Metrics {
    requests: Family<ByOutcome, Counter>,
    durations: Family<ByOutcome, Histogram, fn() -> Histogram>,
    by_definition: Family<ByDefinition, Histogram, fn() -> Histogram>,
    definitions: Mutex<HashSet<[Arc<str>; 3]>>,
}

/// A question that is over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    pub(super) definition: &'a str,
    pub(super) from: &'a str,
    pub(super) to: &'a str,
    pub(super) took: Duration,
    pub(super) failed: Option<Cause>,
}

impl Cause {
    fn as_str(self) -> &'static str {
        match self {
            Self::Call => "conversion_webhook_call_failure",
            Self::MalformedResponse => "conversion_webhook_malformed_response_failure",
            Self::PartialResponse => "conversion_webhook_partial_response_failure",
            Self::InvalidObject => "conversion_webhook_invalid_converted_object_failure",
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            requests: Family::default(),
            durations: Family::new_with_constructor((|| Histogram::new(BUCKETS)) as fn() -> Histogram),
            by_definition: Family::new_with_constructor(
                (|| Histogram::new(BUCKETS_BY_DEFINITION)) as fn() -> Histogram,
            ),
            definitions: Mutex::default(),
        }
    }
}

impl Metrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        let name = "apiserver_conversion_webhook_request";
        registry.register(name, "Calls of conversion webhooks, and what failed", self.requests.clone());
        let name = "apiserver_conversion_webhook_duration_seconds";
        registry.register(name, "Time that conversion webhooks took", self.durations.clone());
        let name = "apiserver_crd_conversion_webhook_duration_seconds";
        registry.register(name, "Time that conversion webhooks took, by definition", self.by_definition.clone());
    }

    pub(super) fn asked(&self, asked: Asked<'_>) {
        let Asked { definition, from, to, took, failed } = asked;
        let result = if failed.is_some() { "failure" } else { "success" };
        let labels = ByOutcome { result, failure_type: failed.map_or("", Cause::as_str) };
        self.requests.get_or_create(&labels).inc();
        self.durations.get_or_create(&labels).observe(took.as_secs_f64());
        let [crd_name, from_version, to_version] = self.names([definition, from, to].map(Arc::from));
        let labels = ByDefinition { crd_name, from_version, to_version, succeeded: failed.is_none() };
        self.by_definition.get_or_create(&labels).observe(took.as_secs_f64());
    }

    fn names(&self, names: [Arc<str>; 3]) -> [Arc<str>; 3] {
        let mut known = self.definitions.lock();
        if known.contains(&names) || known.len() < DEFINITIONS_MAX && known.insert(names.clone()) {
            return names;
        }
        [OTHERS; 3].map(Arc::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_counted_under_upstreams_names_and_no_more_definitions_than_there_is_room_for() {
        let (metrics, mut registry) = (Metrics::default(), Registry::default());
        metrics.register(&mut registry);
        let ask = |definition: &str, failed| {
            metrics.asked(Asked { definition, from: "v1", to: "v2", took: Duration::from_millis(20), failed });
        };
        ask("a.b.c", None);
        ask("a.b.c", Some(Cause::PartialResponse));
        (0..DEFINITIONS_MAX).for_each(|n| ask(&n.to_string(), None));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        let partial = r#"result="failure",failure_type="conversion_webhook_partial_response_failure""#;
        for line in [
            format!("apiserver_conversion_webhook_request_total{{{partial}}} 1"),
            format!("apiserver_conversion_webhook_duration_seconds_count{{{partial}}} 1"),
            r#"apiserver_crd_conversion_webhook_duration_seconds_bucket{le="0.032",crd_name="a.b.c",from_version="v1",to_version="v2",succeeded="true"} 1"#.to_owned(),
            r#"apiserver_crd_conversion_webhook_duration_seconds_count{crd_name="others",from_version="others",to_version="others",succeeded="true"} 1"#.to_owned(),
        ] {
            assert!(text.contains(&line), "{line} in\n{text}");
        }
    }
}
