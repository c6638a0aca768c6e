//! Seeds for simulations: the same few in every run, fresh ones for a while, or one that is to be seen again.
//!
//! `CORTEN_SEED=17` runs seed 17 alone. `CORTEN_SEED_SECS=60` gives fresh seeds a minute instead of
//! [`FRESH_SEEDS_FOR`]. A seed that fails is printed.

use std::time::{Duration, Instant};

/// How long each run tries seeds that none before it had.
const FRESH_SEEDS_FOR: Duration = Duration::from_secs(1);
const ONE_SEED: &str = "CORTEN_SEED";
const FRESH_SECS: &str = "CORTEN_SEED_SECS";

/// SplitMix64: the same numbers for the same seed, everywhere.
#[derive(Clone, Debug)]
pub struct Chance(pub u64);

impl Chance {
    /// From 0 to `end`, without it; 0 if that is none.
    pub fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let end = u64::try_from(end).unwrap_or(u64::MAX).max(1);
        // Smaller than `end`, which was a usize.
        usize::try_from((z ^ (z >> 31)) % end).unwrap_or(0)
    }
    pub fn percent(&mut self, of_hundred: usize) -> bool {
        self.below(100) < of_hundred
    }
    pub fn pick<'a, T>(&mut self, list: &'a [T]) -> Option<&'a T> {
        list.get(self.below(list.len()))
    }
}

/// Tells `story` each seed of `0..always`, and then fresh ones for a while.
pub fn for_each_seed(always: u64, mut story: impl FnMut(u64)) {
    let mut run = |seed| {
        let told = Told(seed);
        story(seed);
        std::mem::forget(told);
    };
    if let Some(seed) = number(ONE_SEED) {
        return run(seed);
    }
    (0..always).for_each(&mut run);
    let fresh_for = number(FRESH_SECS).map_or(FRESH_SEEDS_FOR, Duration::from_secs);
    let started = Instant::now();
    while started.elapsed() < fresh_for {
        run(rand::random());
    }
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    match text.parse() {
        Ok(number) => Some(number),
        Err(_) => panic!("{variable}={text} is not a number"),
    }
}

/// Prints the seed when a story ends by a panic.
struct Told(u64);

impl Drop for Told {
    fn drop(&mut self) {
        eprintln!("seed {} failed; see it again with {ONE_SEED}={}", self.0, self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fixed_seeds_come_first_and_fresh_ones_follow() {
        if std::env::var(ONE_SEED).is_ok() || std::env::var(FRESH_SECS).is_ok() {
            return;
        }
        let mut seen = Vec::new();
        for_each_seed(3, |seed| {
            seen.push(seed);
            std::thread::sleep(Duration::from_millis(100));
        });
        assert!(seen.starts_with(&[0, 1, 2]) && seen.len() > 3, "{seen:?}");
    }
}
