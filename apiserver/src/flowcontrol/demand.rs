//! How many seats a level could use, over time: what borrowing is decided on.

use std::time::Duration;

/// How much of the smoothed demand outlives one period of ten seconds: it falls by half in five minutes.
const SMOOTHING_COEFFICIENT: f64 = 0.977;
/// How often borrowing is decided anew.
pub(super) const ADJUSTMENT_PERIOD: Duration = Duration::from_secs(10);

/// Integrates the demand over a period.
#[derive(Clone, Debug)]
pub(super) struct Integrator {
    since: Duration,
    at: Duration,
    seats: f64,
    integral: f64,
    integral_of_squares: f64,
    high: f64,
}

/// A period's demand, in seats.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Demand {
    pub(super) average: f64,
    pub(super) deviation: f64,
    pub(super) high_watermark: f64,
    pub(super) lasted: Duration,
}

impl Integrator {
    pub(super) fn new(now: Duration) -> Self {
        Self { since: now, at: now, seats: 0.0, integral: 0.0, integral_of_squares: 0.0, high: 0.0 }
    }
    /// From `now` on so many seats are wanted.
    pub(super) fn set(&mut self, now: Duration, seats: u32) {
        self.advance(now);
        self.seats = f64::from(seats);
        self.high = self.high.max(self.seats);
    }
    fn advance(&mut self, now: Duration) {
        let secs = now.saturating_sub(self.at).as_secs_f64();
        self.integral += self.seats * secs;
        self.integral_of_squares += self.seats * self.seats * secs;
        self.at = self.at.max(now);
    }
    /// Ends a period and begins the next.
    pub(super) fn take(&mut self, now: Duration) -> Demand {
        self.advance(now);
        let lasted = self.at.saturating_sub(self.since);
        let secs = lasted.as_secs_f64();
        let (average, variance) = if secs > 0.0 {
            let average = self.integral / secs;
            (average, (self.integral_of_squares / secs - average * average).max(0.0))
        } else {
            (self.seats, 0.0)
        };
        let demand = Demand { average, deviation: variance.sqrt(), high_watermark: self.high, lasted };
        *self = Self { seats: self.seats, high: self.seats, ..Self::new(self.at) };
        demand
    }
}

impl Demand {
    /// Rises at once and falls slowly. A period may have been longer than [`ADJUSTMENT_PERIOD`]: nobody asked meanwhile.
    pub(super) fn smooth(self, before: f64) -> f64 {
        let envelope = self.average + self.deviation;
        let periods = (self.lasted.as_secs_f64() / ADJUSTMENT_PERIOD.as_secs_f64()).max(1.0);
        let kept = SMOOTHING_COEFFICIENT.powf(periods);
        envelope.max(kept * before + (1.0 - kept) * envelope)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn demand_over_a_period() {
        let secs = Duration::from_secs;
        let mut integrator = Integrator::new(secs(100));
        integrator.set(secs(102), 10);
        integrator.set(secs(107), 0);
        let demand = integrator.take(secs(110));
        assert_eq!(demand, Demand { average: 5.0, deviation: 5.0, high_watermark: 10.0, lasted: secs(10) });
        let quiet = integrator.take(secs(120));
        assert_eq!((quiet.average, quiet.high_watermark), (0.0, 0.0), "a period begins with what is wanted then");
        assert_eq!(demand.smooth(3.0), 10.0, "it rises at once");
        assert!((quiet.smooth(10.0) - 9.77).abs() < 1e-9, "and falls slowly");
        let night = Demand { lasted: secs(36_000), ..quiet };
        assert!(night.smooth(10.0) < 0.01, "as if it had been looked at all the while");
    }
}
