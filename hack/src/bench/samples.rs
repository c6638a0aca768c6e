//! Sums up measured times: median and 99th percentile.
use std::time::Duration;

/// Times of many operations of one kind.
#[derive(Clone, Debug, Default)]
pub(super) struct Samples {
    times: Vec<Duration>,
}

impl Samples {
    pub(super) fn add(&mut self, time: Duration) {
        self.times.push(time);
    }

    pub(super) fn join(&mut self, other: Self) {
        self.times.extend(other.times);
    }

    pub(super) fn count(&self) -> usize {
        self.times.len()
    }

    /// The smallest time that `percent` of all do not exceed; zero when there is none.
    pub(super) fn percentile(&self, percent: usize) -> Duration {
        let mut sorted = self.times.clone();
        sorted.sort_unstable();
        let rank = (sorted.len() * percent).div_ceil(100);
        sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles() {
        let ms = Duration::from_millis;
        let of = |count: u64| Samples { times: (1..=count).rev().map(ms).collect() };
        let cases = [
            ("none", of(0), 50, ms(0)),
            ("one", of(1), 99, ms(1)),
            ("the median of four is the lower middle", of(4), 50, ms(2)),
            ("99 of 100", of(100), 99, ms(99)),
            ("99 of 10 is the largest", of(10), 99, ms(10)),
        ];
        for (why, samples, percent, expected) in cases {
            assert_eq!(samples.percentile(percent), expected, "{why}");
        }
    }
}
