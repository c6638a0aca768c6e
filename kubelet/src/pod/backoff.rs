//! How long to wait before something that failed is tried again: doubles each time, and forgets after a good while.

use std::time::Duration;

use jiff::Timestamp;

/// First wait after a second crash or a failed pull.
pub const BACKOFF_FIRST: Duration = Duration::from_secs(10);
/// The longest wait: <https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#restart-policy>.
pub const BACKOFF_MAX: Duration = Duration::from_secs(300);
/// A container that ran this long starts with a clean slate.
pub const BACKOFF_RESET_AFTER: Duration = Duration::from_secs(600);

/// First wait after the pod could not be set up (volumes, sandbox, configuration).
pub const SETUP_RETRY_FIRST: Duration = Duration::from_secs(1);
pub const SETUP_RETRY_MAX: Duration = Duration::from_secs(30);

/// A wait that doubles from `first` to `max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    pub failures: u32,
    first: Duration,
    max: Duration,
}

impl Backoff {
    pub fn new(first: Duration, max: Duration) -> Self {
        Self { failures: 0, first, max }
    }
    /// Counts one more failure and says how long to wait for the next try.
    pub fn fail(&mut self) -> Duration {
        let doublings = self.failures.min(16);
        self.failures = self.failures.saturating_add(1);
        self.first.saturating_mul(1 << doublings).min(self.max)
    }
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

/// Back-off of a container's restarts. The first restart is free of charge, as upstream's is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CrashBackoff {
    exits: u32,
}

impl CrashBackoff {
    pub fn new() -> Self {
        Self { exits: 0 }
    }
    /// After a restart of the kubelet: the count of restarts, of a container that last ended so long ago. Where that is long ago
    /// or not known the count is of other days.
    pub fn after(restarts: u32, ended_ago: Option<Duration>) -> Self {
        let counts = ended_ago.is_some_and(|ago| ago < BACKOFF_RESET_AFTER);
        Self { exits: if counts { restarts } else { 0 } }
    }
    /// The wait after an exit of a container that ran for `ran`.
    pub fn exited(&mut self, ran: Duration) -> Duration {
        if ran >= BACKOFF_RESET_AFTER {
            self.exits = 0;
        }
        let exits = self.exits;
        self.exits = exits.saturating_add(1);
        match exits {
            0 => Duration::ZERO,
            n => BACKOFF_FIRST.saturating_mul(1 << (n - 1).min(16)).min(BACKOFF_MAX),
        }
    }
}

/// `now + wait`, without overflow.
pub fn later(now: Timestamp, wait: Duration) -> Timestamp {
    now.saturating_add(wait).unwrap_or(Timestamp::MAX)
}

/// How long from `start` to `end`; zero if the clock went back.
pub fn between(start: Timestamp, end: Timestamp) -> Duration {
    Duration::try_from(end.duration_since(start)).unwrap_or(Duration::ZERO)
}

/// As Go prints a duration of whole milliseconds: `234ms`, `1.2s`, `2m40s`, `5m0s`.
pub fn go_duration(wait: Duration) -> String {
    let (secs, millis) = (wait.as_secs(), wait.subsec_millis());
    let fraction = format!(".{millis:03}").trim_end_matches(['0', '.']).to_owned();
    match (secs / 3600, secs / 60 % 60, secs % 60) {
        (0, 0, 0) if millis > 0 => format!("{millis}ms"),
        (0, 0, s) => format!("{s}{fraction}s"),
        (0, m, s) => format!("{m}m{s}{fraction}s"),
        (h, m, s) => format!("{h}h{m}m{s}{fraction}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crashes_wait_longer_and_longer_until_one_runs_well() {
        let mut b = CrashBackoff::new();
        let short = Duration::from_secs(1);
        let waits: Vec<u64> = (0..8).map(|_| b.exited(short).as_secs()).collect();
        assert_eq!(waits, [0, 10, 20, 40, 80, 160, 300, 300]);
        assert_eq!(b.exited(BACKOFF_RESET_AFTER), Duration::ZERO, "it ran ten minutes: forgiven");
    }

    #[test]
    fn failures_wait_twice_as_long_each_time_until_one_try_works() {
        let mut b = Backoff::new(SETUP_RETRY_FIRST, SETUP_RETRY_MAX);
        let waits: Vec<u64> = (0..7).map(|_| b.fail().as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30]);
        b.reset();
        assert_eq!(b.fail(), SETUP_RETRY_FIRST);
    }

    /// A kubelet that comes back does not let a crashing container run hot again, and holds nothing old against it.
    #[test]
    fn restarts_from_before_count_while_they_are_fresh() {
        let cases = [
            (0, Some(5), 0),
            (1, Some(5), 10),
            (3, Some(599), 40),
            (u32::MAX, Some(0), 300),
            (7, Some(600), 0),
            (7, None, 0),
        ];
        for (restarts, ago, wait) in cases {
            let mut backoff = CrashBackoff::after(restarts, ago.map(Duration::from_secs));
            assert_eq!(backoff.exited(Duration::ZERO).as_secs(), wait, "{restarts} {ago:?}");
        }
    }

    #[test]
    fn durations_read_as_go_writes_them() {
        let cases = [
            (0, "0s"),
            (234, "234ms"),
            (1_200, "1.2s"),
            (10_000, "10s"),
            (65_012, "1m5.012s"),
            (160_000, "2m40s"),
            (300_000, "5m0s"),
            (3_661_000, "1h1m1s"),
        ];
        for (millis, expected) in cases {
            assert_eq!(go_duration(Duration::from_millis(millis)), expected);
        }
    }
}
