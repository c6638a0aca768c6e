//! Fuzz targets as ordinary tests: a function is tried with made-up inputs, for a moment in every run, for longer when asked.
//!
//! ```
//! use corten_fuzz::{Inputs, run};
//!
//! const NUMBERS: Inputs<'_> = Inputs { valid: &[b"0", b"-17"], tokens: &[b"-", b"9999999999999999999"] };
//!
//! run("numbers_are_read_or_refused", |random| {
//!     let bytes = NUMBERS.mutate(random);
//!     if let Ok(text) = std::str::from_utf8(&bytes) {
//!         let _read: Result<i64, _> = text.parse();
//!     }
//! });
//! ```
//!
//! - `CORTEN_FUZZ_SECS=60` tries each target for a minute instead of half a second.
//! - A failure prints `CORTEN_FUZZ_SEED=…`; with that set, the same inputs are tried again, and no others.
//! - [`one_byte_handshakes`] floods a door; the test says who must get in all the same.
//! - Inputs run on a thread with the stack of a tokio worker, named after the seed: an overflow, which ends the whole
//!   process, still tells it.

mod handshakes;
mod inputs;
mod random;

use std::any::Any;
use std::hash::{BuildHasher, RandomState};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::thread;
use std::time::{Duration, Instant};

pub use handshakes::one_byte_handshakes;
pub use inputs::Inputs;
pub use random::Random;

const SECS: &str = "CORTEN_FUZZ_SECS";
const SEED: &str = "CORTEN_FUZZ_SEED";
/// For each target in an ordinary run of the tests.
const SHORT: Duration = Duration::from_millis(500);
/// Inputs made from one seed.
const CASES_PER_SEED: u32 = 64;
/// tokio's for its workers, which is where most of what is tried runs.
const STACK_BYTES: usize = 2 * 1024 * 1024;
/// One seed's inputs may take so long. It finds what is quadratic or never ends, and is far above what a busy machine needs.
const SEED_TIME_MAX: Duration = Duration::from_secs(60);

/// Tries `case` with fresh seeds until the time is up. Whatever it panics with fails the test and names the seed.
///
/// `case` makes its input from the [`Random`] it is given and from nothing else, so that a seed gives the same input again.
#[expect(clippy::panic, reason = "a test fails by panicking")]
pub fn run(target: &str, case: impl Fn(&mut Random) + Sync) {
    if let Some(seed) = number(SEED) {
        return try_seed(target, seed, &case);
    }
    let time = number(SECS).map_or(SHORT, Duration::from_secs);
    let began = Instant::now();
    let mut seeds = 0_u64;
    while seeds == 0 || began.elapsed() < time {
        // Every RandomState has keys of its own, taken from the system's randomness.
        let seed = RandomState::new().hash_one(seeds);
        let seed_began = Instant::now();
        try_seed(target, seed, &case);
        let took = seed_began.elapsed();
        if took > SEED_TIME_MAX {
            panic!("{target}: {CASES_PER_SEED} inputs took {took:?}; again with {SEED}={seed}");
        }
        seeds += 1;
    }
}

#[expect(clippy::panic, reason = "a test fails by panicking")]
fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    let parsed = text.parse();
    Some(parsed.unwrap_or_else(|_| panic!("{variable} is a whole number, not {text:?}")))
}

#[expect(clippy::panic, reason = "a test fails by panicking")]
fn try_seed(target: &str, seed: u64, case: &(impl Fn(&mut Random) + Sync)) {
    let mut random = Random::new(seed);
    let cases = || catch_unwind(AssertUnwindSafe(|| (0..CASES_PER_SEED).for_each(|_| case(&mut random))));
    let thread = thread::Builder::new().name(format!("{target} {SEED}={seed}")).stack_size(STACK_BYTES);
    let ended = thread::scope(|scope| match thread.spawn_scoped(scope, cases) {
        Ok(running) => running.join().unwrap_or_else(|lost| resume_unwind(lost)),
        Err(err) => panic!("{target}: no thread to try inputs on: {err}"),
    });
    if let Err(panicked) = ended {
        panic!("{target}: {}; again with {SEED}={seed}", text_of(&*panicked));
    }
}

fn text_of(panicked: &(dyn Any + Send)) -> &str {
    let text = panicked.downcast_ref::<&str>().copied();
    text.or_else(|| panicked.downcast_ref::<String>().map(String::as_str)).unwrap_or("a panic without a text")
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn a_failure_names_a_seed_that_fails_again() {
        let case = |random: &mut Random| assert_ne!(random.below(500), 7, "seven");
        let failed = catch_unwind(AssertUnwindSafe(|| {
            loop {
                run("sevens", case);
            }
        }));
        let text = text_of(&*failed.unwrap_err()).to_owned();
        assert!(text.contains("seven"), "{text}");
        let seed = text.rsplit('=').next().unwrap().parse().unwrap();
        assert!(catch_unwind(AssertUnwindSafe(|| try_seed("sevens", seed, &case))).is_err());
    }

    #[test]
    fn a_seed_gives_the_same_inputs_again() {
        let inputs = Inputs { valid: &[b"one", b"two, three"], tokens: &[b"{", b"\xff"] };
        let made = || {
            let all = Mutex::new(Vec::new());
            try_seed("same", 17, &|random: &mut Random| all.lock().unwrap().push(inputs.mutate(random)));
            all.into_inner().unwrap()
        };
        assert_eq!(made(), made());
        assert!(made().iter().any(|input| input != b"one" && input != b"two, three"));
    }
}
