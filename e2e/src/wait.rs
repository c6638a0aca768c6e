//! Waiting for a condition, with a deadline, and with what was seen on the way when it passes.

use std::time::{Duration, Instant};

/// Enough for anything that should happen promptly, on a machine that does much else.
pub const SOON: Duration = Duration::from_secs(60);

const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Distinct states remembered for the report.
const HISTORY_MAX: usize = 30;

/// Looks until `look` gives a value; `Err` says what was seen instead. Panics at the deadline with the history.
#[track_caller]
pub fn eventually<T>(what: &str, within: Duration, mut look: impl FnMut() -> Result<T, String>) -> T {
    let start = Instant::now();
    let mut history: Vec<(Duration, String)> = Vec::new();
    loop {
        match look() {
            Ok(value) => return value,
            Err(seen) => {
                if history.last().is_none_or(|(_, last)| *last != seen) {
                    if history.len() == HISTORY_MAX {
                        history.remove(0);
                    }
                    history.push((start.elapsed(), seen));
                }
            }
        }
        if start.elapsed() > within {
            let lines: Vec<String> =
                history.iter().map(|(at, seen)| format!("  {:7.2} s  {seen}", at.as_secs_f64())).collect();
            panic!("gave up after {within:?} waiting for {what}; seen meanwhile:\n{}", lines.join("\n"));
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "second state")]
    fn the_history_is_shown_when_it_gives_up() {
        let mut looks = 0;
        eventually("never", Duration::from_millis(200), || -> Result<(), String> {
            looks += 1;
            Err(if looks < 2 { "first state".into() } else { "second state".into() })
        });
    }
}
