//! When a row of probe results changes what we believe of a container. Pure.

use std::time::Duration;

use k8s_openapi::api::core::v1::Probe;

use crate::pod::plan::seconds;

const PERIOD_DEFAULT: i32 = 10;
const TIMEOUT_DEFAULT: i32 = 1;
const SUCCESSES_DEFAULT: i32 = 1;
const FAILURES_DEFAULT: i32 = 3;

/// A probe's timing with its defaults filled in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    pub initial_delay: Duration,
    pub period: Duration,
    pub timeout: Duration,
    pub successes: u32,
    pub failures: u32,
}

impl Timing {
    pub fn of(probe: &Probe) -> Self {
        let positive = |n: Option<i32>, default: i32| n.filter(|n| *n > 0).unwrap_or(default);
        let secs = |n: i32| seconds(i64::from(n));
        Self {
            initial_delay: secs(probe.initial_delay_seconds.unwrap_or(0)),
            period: secs(positive(probe.period_seconds, PERIOD_DEFAULT)),
            timeout: secs(positive(probe.timeout_seconds, TIMEOUT_DEFAULT)),
            successes: positive(probe.success_threshold, SUCCESSES_DEFAULT).unsigned_abs(),
            failures: positive(probe.failure_threshold, FAILURES_DEFAULT).unsigned_abs(),
        }
    }
}

/// The row so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Row {
    last: Option<bool>,
    length: u32,
}

impl Row {
    /// Counts a result; says what is to be believed now if the row is long enough to say it. A row that goes on says it
    /// again each time.
    pub fn add(&mut self, healthy: bool, timing: &Timing) -> Option<bool> {
        self.length = if self.last == Some(healthy) { self.length.saturating_add(1) } else { 1 };
        self.last = Some(healthy);
        let enough = if healthy { timing.successes } else { timing.failures };
        (self.length >= enough).then_some(healthy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows() {
        let timing =
            Timing::of(&Probe { failure_threshold: Some(3), success_threshold: Some(2), ..Default::default() });
        let (t, f) = (true, false);
        let cases: &[(&str, &[bool], Option<bool>)] = &[
            ("one failure is nothing", &[f], None),
            ("three in a row are", &[f, f, f], Some(false)),
            ("a success between starts anew", &[f, f, t, f], None),
            ("two successes in a row", &[t, t], Some(true)),
            ("one success after failures", &[f, f, f, t], None),
        ];
        for (why, results, expected) in cases {
            let mut row = Row::default();
            let last = results.iter().map(|r| row.add(*r, &timing)).last().flatten();
            assert_eq!(last, *expected, "{why}");
        }
    }
}
