//! How long a Job waits before it replaces pods that failed: 10 s, 20 s, 40 s and so on up to ten minutes.
//!
//! <https://kubernetes.io/docs/concepts/workloads/controllers/job/#pod-backoff-failure-policy>

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use corten_api::k8s_openapi::api::batch::v1::Job;
use corten_api::{Key, Object};
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;

use crate::pods::SeenPod;

const FIRST: SignedDuration = SignedDuration::from_secs(10);
const MAX: SignedDuration = SignedDuration::from_mins(10);

/// Failures in a row. Known to the leader alone: another one starts from what fails from then on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backoff {
    failures: i32,
    last: Option<Timestamp>,
}

impl Backoff {
    /// A pod that succeeds ends the row: only failures after the last success count.
    #[must_use]
    pub fn after(self, succeeded: &[&SeenPod], failed: &[&SeenPod]) -> Self {
        let last_success = succeeded.iter().filter_map(|pod| pod.finished()).max();
        let before = if succeeded.is_empty() { self } else { Self::default() };
        let in_row = failed.iter().filter(|pod| last_success.is_none() || pod.finished() > last_success);
        let failures = i32::try_from(in_row.clone().count()).unwrap_or(i32::MAX);
        let last = in_row.filter_map(|pod| pod.finished()).max();
        Self { failures: before.failures.saturating_add(failures), last: last.or(before.last) }
    }

    /// `None`: pods may be made now.
    pub fn left(self, now: Timestamp) -> Option<Duration> {
        left(self.failures, self.last?, now)
    }
}

/// Of all Jobs that have not finished, with the uid of each. Cheap to clone; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Backoffs {
    by_job: Arc<Mutex<HashMap<Key, (String, Backoff)>>>,
}

impl Backoffs {
    pub fn get(&self, job: &Job) -> Backoff {
        let all = self.by_job.lock();
        all.get(&job.key()).filter(|(uid, _)| uid == job.uid()).map(|(_, backoff)| *backoff).unwrap_or_default()
    }
    pub fn set(&self, job: &Job, backoff: Backoff) {
        self.by_job.lock().insert(job.key(), (job.uid().to_owned(), backoff));
    }
    pub fn forget(&self, job: &Key) {
        self.by_job.lock().remove(job);
    }
}

/// The same of one index: `failed` is its last pod, which knows how many failed before it.
pub fn left_of_index(failed: &SeenPod, now: Timestamp) -> Option<Duration> {
    let of_job = failed.of_job.as_ref()?;
    let before = of_job.index_failures.saturating_add(of_job.index_ignored_failures);
    left(before.saturating_add(1), failed.finished()?, now)
}

fn left(failures: i32, last: Timestamp, now: Timestamp) -> Option<Duration> {
    let doublings = u32::try_from(failures.checked_sub(1)?).ok()?;
    let factor = 2_i32.checked_pow(doublings).unwrap_or(i32::MAX);
    let pause = FIRST.checked_mul(factor).unwrap_or(MAX).min(MAX);
    // Clocks of several machines differ: what ended in the future has ended now.
    let passed = now.duration_since(last).max(SignedDuration::ZERO);
    let left = Duration::try_from(pause.saturating_sub(passed)).ok()?;
    (!left.is_zero()).then_some(left)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pods::of_job::OfJob;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + secs).unwrap()
    }
    fn ended(secs: i64, failures_before: i32) -> SeenPod {
        let of_job = OfJob { finished: Some(at(secs)), index_failures: failures_before, ..OfJob::default() };
        SeenPod { of_job: Some(Box::new(of_job)), ..SeenPod::default() }
    }

    #[test]
    fn rows_table() {
        let none = Backoff::default();
        let two = Backoff { failures: 2, last: Some(at(5)) };
        let cases = [
            ("nothing ended", two, vec![], vec![], two),
            ("the first failure", none, vec![], vec![7], Backoff { failures: 1, last: Some(at(7)) }),
            ("two more at once", two, vec![], vec![9, 7], Backoff { failures: 4, last: Some(at(9)) }),
            ("a success ends the row", two, vec![8], vec![], none),
            ("failures before a success", two, vec![8], vec![7, 8], none),
            ("failures after a success", two, vec![6, 8], vec![7, 9, 10], Backoff { failures: 2, last: Some(at(10)) }),
        ];
        for (why, before, succeeded, failed, expected) in cases {
            let pods = |ends: Vec<i64>| ends.into_iter().map(|end| ended(end, 0)).collect::<Vec<_>>();
            let (succeeded, failed) = (pods(succeeded), pods(failed));
            let got = before.after(&succeeded.iter().collect::<Vec<_>>(), &failed.iter().collect::<Vec<_>>());
            assert_eq!(got, expected, "{why}");
        }
    }

    #[test]
    fn pauses_table() {
        for (failures, passed, expected) in [
            (0, 0, None),
            (1, 0, Some(10)),
            (1, 3, Some(7)),
            (1, 10, None),
            (1, -500, Some(10)),
            (2, 3, Some(17)),
            (4, 0, Some(80)),
            (7, 0, Some(600)),
            (40, 0, Some(600)),
            (i32::MAX, 700, None),
        ] {
            let backoff = Backoff { failures, last: Some(at(0)) };
            let expected = expected.map(Duration::from_secs);
            assert_eq!(backoff.left(at(passed)), expected, "{passed} s after {failures} failures");
            if failures > 0 {
                let pod = ended(0, failures - 1);
                assert_eq!(left_of_index(&pod, at(passed)), expected, "an index, {passed} s after {failures} failures");
            }
        }
        assert_eq!(Backoff::default().left(at(0)), None);
    }
}
