//! Work of containerd's that may take as long as it needs, as long as it gets on.

use std::time::Duration;

use super::RuntimeError;

/// How often it is looked whether work gets on, while it is under way.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// Work that has not got on for so long never will: containerd or the disk hangs.
const STALL_MAX: Duration = Duration::from_secs(120);

pub(super) fn stalled(doing: &'static str) -> RuntimeError {
    RuntimeError::Refused { doing, message: format!("containerd has not got on with it for {}s", STALL_MAX.as_secs()) }
}

/// Waits for `work` while what `progress` says goes on changing. `None`: it said the same (or nothing) for [`STALL_MAX`]; the
/// work is dropped then.
///
/// Not an `AsyncFnMut`: the futures of those are not `Send` for callers that are spawned.
pub(super) async fn unless_stalled<T, P: PartialEq, F: Future<Output = Option<P>>>(
    work: impl Future<Output = T>,
    mut progress: impl FnMut() -> F,
) -> Option<T> {
    tokio::pin!(work);
    let mut last = None;
    let mut changed_at = tokio::time::Instant::now();
    loop {
        tokio::select! {
            done = &mut work => return Some(done),
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        // The question itself may hang where the work does.
        let now = tokio::select! {
            done = &mut work => return Some(done),
            now = tokio::time::timeout(LOOK_EVERY, progress()) => now.ok().flatten(),
        };
        if now.is_some() && now != last {
            last = now;
            changed_at = tokio::time::Instant::now();
        } else if changed_at.elapsed() >= STALL_MAX {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn work_is_cut_off_when_it_does_not_get_on_and_never_for_being_long() {
        let hour = Duration::from_secs(3600);
        // How long the work takes, how long it gets on, how long an answer about it takes, and whether it may end.
        let cases = [
            ("short", Duration::from_secs(1), hour, Duration::ZERO, true),
            ("long, and always getting on", hour, hour, Duration::ZERO, true),
            ("one that stops getting on", hour, Duration::from_secs(600), Duration::ZERO, false),
            ("one that never got on", hour, Duration::ZERO, Duration::ZERO, false),
            ("slow to say how far it is", hour, hour, Duration::from_secs(5), true),
            ("never saying so", hour, hour, hour, false),
        ];
        for (why, takes, gets_on, answers_in, ends) in cases {
            let begun = tokio::time::Instant::now();
            let progress = || async {
                tokio::time::sleep(answers_in).await;
                Some(begun.elapsed().min(gets_on))
            };
            let done = unless_stalled(tokio::time::sleep(takes), progress).await;
            assert_eq!(done.is_some(), ends, "{why}");
            if !ends {
                let after = begun.elapsed().saturating_sub(gets_on.min(Duration::from_secs(600)));
                let said = if answers_in == hour { begun.elapsed() } else { after };
                assert!(said <= STALL_MAX + LOOK_EVERY * 3, "{why}: {said:?}");
            }
        }
    }
}
