//! What webhooks did, under upstream's names.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::admission::asking::Operation;
use crate::admission::conditions::Outcome;

/// Seconds. Upstream's.
const BUCKETS: [f64; 8] = [0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 10.0, 25.0];
/// Of conditions.
const CONDITION_BUCKETS: [f64; 7] = [0.001, 0.005, 0.01, 0.025, 0.1, 0.2, 0.25];
/// What webhooks that change objects are called, and those that judge.
pub(super) const ADMIT: &str = "admit";
pub(super) const VALIDATING: &str = "validating";
/// Names of webhooks that are counted apart: who makes and deletes configurations without end makes no series without end.
const NAMES_MAX: usize = 1000;
const OTHERS: &str = "others";
/// Codes above are counted as this one.
const CODE_MAX: u16 = 600;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DurationLabels {
    name: Arc<str>,
    r#type: &'static str,
    operation: &'static str,
    rejected: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    name: Arc<str>,
    r#type: &'static str,
    operation: &'static str,
    code: u16,
    rejected: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RejectionLabels {
    name: Arc<str>,
    r#type: &'static str,
    operation: &'static str,
    error_type: &'static str,
    rejection_code: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FailOpenLabels {
    name: Arc<str>,
    r#type: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ConditionLabels {
    name: Arc<str>,
    kind: &'static str,
    r#type: &'static str,
    operation: &'static str,
}

/// A counter whose name does not end in `_total`, which the format wants of counters.
type Count<L> = Family<L, Gauge<i64, AtomicI64>>;

pub(super) struct Metrics {
    durations: Family<DurationLabels, Histogram, fn() -> Histogram>,
    requests: Family<RequestLabels, Counter>,
    rejections: Count<RejectionLabels>,
    failed_open: Count<FailOpenLabels>,
    condition_durations: Family<ConditionLabels, Histogram, fn() -> Histogram>,
    condition_errors: Family<ConditionLabels, Counter>,
    exclusions: Family<ConditionLabels, Counter>,
    names: Mutex<HashSet<Arc<str>>>,
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rejection {
    /// The webhook said no.
    Said,
    CallingWebhook,
    Internal,
}

/// A call that is over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Called<'a> {
    pub(super) name: &'a Arc<str>,
    pub(super) kind: &'static str,
    pub(super) operation: Operation,
    pub(super) took: Duration,
    pub(super) code: u16,
    pub(super) rejection: Option<Rejection>,
}

/// Conditions that were looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Evaluated<'a> {
    pub(super) name: &'a Arc<str>,
    pub(super) r#type: &'static str,
    pub(super) operation: Operation,
    pub(super) took: Duration,
    pub(super) outcome: &'a Outcome,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            durations: Family::new_with_constructor((|| Histogram::new(BUCKETS)) as fn() -> Histogram),
            requests: Family::default(),
            rejections: Family::default(),
            failed_open: Family::default(),
            condition_durations: Family::new_with_constructor(
                (|| Histogram::new(CONDITION_BUCKETS)) as fn() -> Histogram,
            ),
            condition_errors: Family::default(),
            exclusions: Family::default(),
            names: Mutex::default(),
        }
    }
}

impl Metrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        let name = "apiserver_admission_webhook_admission_duration_seconds";
        registry.register(name, "Time that webhooks took", self.durations.clone());
        registry.register("apiserver_admission_webhook_request", "Calls of webhooks", self.requests.clone());
        let help = "Requests that were refused by webhooks, or for them";
        registry.register("apiserver_admission_webhook_rejection_count", help, self.rejections.clone());
        let help = "Requests that went on though a webhook could not be asked";
        registry.register("apiserver_admission_webhook_fail_open_count", help, self.failed_open.clone());
        let name = "apiserver_admission_match_condition_evaluation_seconds";
        registry.register(name, "Time that match conditions took", self.condition_durations.clone());
        let name = "apiserver_admission_match_condition_evaluation_errors";
        registry.register(name, "Match conditions without a value", self.condition_errors.clone());
        let name = "apiserver_admission_match_condition_exclusions";
        registry.register(name, "Webhooks that were not asked for their match conditions", self.exclusions.clone());
    }

    pub(super) fn called(&self, called: Called<'_>) {
        let (name, r#type, operation) = (self.name(called.name), called.kind, called.operation.as_str());
        let (code, rejected) = (called.code.min(CODE_MAX), called.rejection.is_some());
        let labels = DurationLabels { name: name.clone(), r#type, operation, rejected };
        self.durations.get_or_create(&labels).observe(called.took.as_secs_f64());
        let labels = RequestLabels { name: name.clone(), r#type, operation, code, rejected };
        self.requests.get_or_create(&labels).inc();
        let error_type = match called.rejection {
            None => return,
            Some(Rejection::Said) => "no_error",
            Some(Rejection::CallingWebhook) => "calling_webhook_error",
            Some(Rejection::Internal) => "apiserver_internal_error",
        };
        self.rejections
            .get_or_create(&RejectionLabels { name, r#type, operation, error_type, rejection_code: code })
            .inc();
    }

    pub(super) fn evaluated(&self, evaluated: Evaluated<'_>) {
        let Evaluated { name, r#type, operation, took, outcome } = evaluated;
        let labels = ConditionLabels { name: self.name(name), kind: "webhook", r#type, operation: operation.as_str() };
        self.condition_durations.get_or_create(&labels).observe(took.as_secs_f64());
        match outcome {
            Outcome::Hold => {}
            Outcome::DoNotHold => {
                self.exclusions.get_or_create(&labels).inc();
            }
            Outcome::Errors(_) => {
                self.condition_errors.get_or_create(&labels).inc();
            }
        }
    }

    pub(super) fn failed_open(&self, name: &Arc<str>, r#type: &'static str) {
        self.failed_open.get_or_create(&FailOpenLabels { name: self.name(name), r#type }).inc();
    }

    fn name(&self, name: &Arc<str>) -> Arc<str> {
        let mut names = self.names.lock();
        if names.contains(name) || names.len() < NAMES_MAX && names.insert(name.clone()) {
            return name.clone();
        }
        OTHERS.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_under_upstreams_names_and_no_more_names_than_there_is_room_for() {
        let metrics = Metrics::default();
        let mut registry = Registry::default();
        metrics.register(&mut registry);
        let took = Duration::from_millis(20);
        let call = |name: &str, code, rejection| {
            let (name, operation) = (&Arc::from(name), Operation::Create);
            metrics.called(Called { name, kind: "admit", operation, took, code, rejection });
        };
        call("a.b.c", 200, None);
        call("a.b.c", 700, Some(Rejection::Said));
        metrics.failed_open(&"a.b.c".into(), "validating");
        (0..NAMES_MAX).for_each(|n| call(&n.to_string(), 200, None));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        let prefix = "apiserver_admission_webhook";
        for line in [
            format!(
                r#"{prefix}_admission_duration_seconds_bucket{{le="0.025",name="a.b.c",type="admit",operation="CREATE",rejected="false"}} 1"#
            ),
            format!(
                r#"{prefix}_request_total{{name="a.b.c",type="admit",operation="CREATE",code="600",rejected="true"}} 1"#
            ),
            format!(
                r#"{prefix}_rejection_count{{name="a.b.c",type="admit",operation="CREATE",error_type="no_error",rejection_code="600"}} 1"#
            ),
            format!(r#"{prefix}_fail_open_count{{name="a.b.c",type="validating"}} 1"#),
            format!(
                r#"{prefix}_request_total{{name="others",type="admit",operation="CREATE",code="200",rejected="false"}} 1"#
            ),
        ] {
            assert!(text.contains(&line), "{line} in\n{text}");
        }
    }
}
