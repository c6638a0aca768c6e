//! How much cpu is used at present: the average between two times at which somebody asked.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Questions that follow each other more quickly get the same answer: a shorter time says little.
const WINDOW_MIN: Duration = Duration::from_secs(1);

/// What was used when it was last asked, by container, and for the node by the empty name. Cheap to clone; clones share one
/// state. It holds no more than what was measured last.
#[derive(Clone, Debug, Default)]
pub struct Rates {
    seen: Arc<Mutex<HashMap<String, Sample>>>,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Instant,
    cpu: Duration,
    nano_cores: Option<u64>,
}

impl Rates {
    /// Billionths of a cpu, as an average since the question before; `None` for what was not there then. `all` are the cpu
    /// times of everything that is there at `now`: all else is forgotten.
    pub(super) fn nano_cores<'a>(
        &self,
        now: Instant,
        all: impl Iterator<Item = (&'a str, Duration)>,
    ) -> HashMap<String, u64> {
        let mut seen = self.seen.lock();
        let next = all.map(|(name, cpu)| (name.to_owned(), following(seen.get(name).copied(), now, cpu)));
        let next: HashMap<String, Sample> = next.collect();
        *seen = next;
        seen.iter().filter_map(|(name, sample)| Some((name.clone(), sample.nano_cores?))).collect()
    }
}

fn following(before: Option<Sample>, at: Instant, cpu: Duration) -> Sample {
    let Some(before) = before else { return Sample { at, cpu, nano_cores: None } };
    // A counter that went back is another group's of the same name.
    let Some(used) = cpu.checked_sub(before.cpu) else { return Sample { at, cpu, nano_cores: None } };
    let window = at.saturating_duration_since(before.at);
    if window < WINDOW_MIN {
        return before;
    }
    let nano_cores = used.as_nanos() * 1_000_000_000 / window.as_nanos();
    Sample { at, cpu, nano_cores: u64::try_from(nano_cores).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_in_use_is_the_average_since_the_last_question() {
        let (rates, begun) = (Rates::default(), Instant::now());
        let millis = Duration::from_millis;
        // When it is asked, the cpu time used by then, and what is said of it.
        let story = [
            ("nothing to compare with", 0, Some(1000), None),
            ("half a cpu for two seconds", 2000, Some(2000), Some(500_000_000)),
            ("too soon for another answer", 2500, Some(2500), Some(500_000_000)),
            ("the time that gave no answer counts", 4000, Some(4000), Some(1_000_000_000)),
            ("idle", 6000, Some(4000), Some(0)),
            ("another of that name", 8000, Some(10), None),
            ("gone", 9000, None, None),
            ("and back", 10_000, Some(20), None),
        ];
        for (why, at, cpu, expected) in story {
            let all = cpu.map(|cpu| ("a", millis(cpu)));
            let got = rates.nano_cores(begun + millis(at), all.into_iter());
            assert_eq!(got.get("a").copied(), expected, "{why}");
        }
    }
}
