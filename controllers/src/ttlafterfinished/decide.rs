//! When the time of a finished Job is over.

use std::time::Duration;

use corten_api::Object;
use corten_api::k8s_openapi::api::batch::v1::Job;
use jiff::{SignedDuration, Timestamp};

use crate::job::conditions;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Nothing but a change of the Job could alter that.
    Keep,
    KeepFor(Duration),
    Delete,
}

pub fn decide(job: &Job, now: Timestamp) -> Decision {
    let ttl = job.spec.as_ref().and_then(|spec| spec.ttl_seconds_after_finished);
    let finished = conditions::finished(job).and_then(|end| Some(end.last_transition_time.as_ref()?.0));
    let (Some(ttl), Some(finished), false) = (ttl, finished, job.is_deleting()) else { return Decision::Keep };
    let over = finished.saturating_add(SignedDuration::from_secs(ttl.into())).unwrap_or(Timestamp::MAX);
    match Duration::try_from(over.duration_since(now)) {
        Ok(left) if !left.is_zero() => Decision::KeepFor(left),
        _ => Decision::Delete,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn decide_table() {
        let end = |kind: &str, status: &str| json!([{"type": kind, "status": status, "lastTransitionTime": "2026-01-01T00:00:00Z"}]);
        let deleting = json!({"deletionTimestamp": "2026-01-01T00:00:00Z"});
        let secs = |secs| Decision::KeepFor(Duration::from_secs(secs));
        type Row = (&'static str, Value, Value, Option<i32>, i64, Decision);
        let cases: [Row; 9] = [
            ("it runs", json!({}), json!([]), Some(10), 99, Decision::Keep),
            ("it is about to fail", json!({}), end("FailureTarget", "True"), Some(10), 99, Decision::Keep),
            ("it has not failed", json!({}), end("Failed", "False"), Some(10), 99, Decision::Keep),
            ("it may stay", json!({}), end("Complete", "True"), None, 99, Decision::Keep),
            ("it goes already", deleting, end("Complete", "True"), Some(0), 99, Decision::Keep),
            ("some time is left", json!({}), end("Complete", "True"), Some(10), 7, secs(3)),
            ("its time is over", json!({}), end("Complete", "True"), Some(10), 10, Decision::Delete),
            ("no time at all", json!({}), end("Failed", "True"), Some(0), 0, Decision::Delete),
            ("it finished in the future", json!({}), end("Failed", "True"), Some(10), -5, secs(15)),
        ];
        for (why, meta, conditions, ttl, now, expected) in cases {
            let spec = json!({"ttlSecondsAfterFinished": ttl, "template": {}});
            let job: Job =
                serde_json::from_value(json!({"metadata": meta, "spec": spec, "status": {"conditions": conditions}}))
                    .unwrap();
            let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
            assert_eq!(decide(&job, start + SignedDuration::from_secs(now)), expected, "{why}");
        }
    }
}
