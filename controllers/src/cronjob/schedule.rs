//! Which of a CronJob's times have come, and how long it is until the next.

use std::time::Duration;

use corten_api::cron::Schedule;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// From so many on, a warning says so: something is wrong with clocks, or nobody looked for long.
const MANY: i64 = 100;
/// Clocks of several machines differ: who wakes a little later finds that the time has come.
const PADDING: SignedDuration = SignedDuration::from_millis(100);

/// Times that have come since the last one that was dealt with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Missed {
    /// Only this one is still of interest.
    pub last: Option<Timestamp>,
    /// An estimate, for schedules that are not even.
    pub count: i64,
}

impl Missed {
    pub fn are_many(self) -> bool {
        self.count > MANY
    }
}

/// Such as the 30th of February.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("time difference between two schedules is less than 1 second")]
pub struct NoTimes;

/// `since` is when the last time was dealt with, or the CronJob was made.
pub fn missed(schedule: &Schedule, zone: &TimeZone, since: Timestamp, now: Timestamp) -> Result<Missed, NoTimes> {
    let next = |after| schedule.next(after, zone);
    let first = next(since).ok_or(NoTimes)?;
    if now < first {
        return Ok(Missed::default());
    }
    let second = next(first).ok_or(NoTimes)?;
    if now < second {
        return Ok(Missed { last: Some(first), count: 1 });
    }
    // Nobody walks through years of minutes: by the first interval, go to shortly before now. As upstream, which so finds
    // none where a schedule pauses for longer than that.
    let interval = second.duration_since(first).as_secs();
    if interval < 1 {
        return Err(NoTimes);
    }
    let count = now.duration_since(first).as_secs() / interval + 1;
    let skipped = SignedDuration::from_secs(interval.saturating_mul(count - 2));
    let last = last_until(next, first.saturating_add(skipped).unwrap_or(now), now);
    Ok(Missed { last, count })
}

/// The last time after `from` that is not after `now`. Of an interval that is left as even steps only a few are to go; of a schedule
/// whose times are dense after a long pause (all minutes of a month) there may be any number: they are searched by halves.
fn last_until(next: impl Fn(Timestamp) -> Option<Timestamp>, from: Timestamp, now: Timestamp) -> Option<Timestamp> {
    let next = |after| next(after).filter(|at| *at <= now);
    let mut last = next(from)?;
    for _ in 0..MANY {
        let Some(at) = next(last) else { return Some(last) };
        last = at;
    }
    // Nothing comes after `end`.
    let mut end = now;
    while end.duration_since(last).as_secs() > 1 {
        let middle = last.saturating_add(end.duration_since(last) / 2).unwrap_or(end);
        match next(middle) {
            Some(at) => last = at,
            None => end = middle,
        }
    }
    Some(next(last).unwrap_or(last))
}

/// `None`: there is no next time.
pub fn wait(schedule: &Schedule, zone: &TimeZone, since: Timestamp, now: Timestamp) -> Option<Duration> {
    let from = match missed(schedule, zone, since, now) {
        Ok(Missed { last: Some(last), .. }) => last,
        Ok(Missed { last: None, count: 0 }) => since,
        Ok(_) | Err(NoTimes) => now,
    };
    let next = schedule.next(from, zone)?.saturating_add(PADDING).ok()?;
    Duration::try_from(next.duration_since(now)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use corten_api::cron::time_zone;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap_or_else(|err| panic!("{err}: {text}"))
    }

    #[test]
    fn missed_table() {
        let cases = [
            ("not yet", "0 * * * *", "10:00:00", "10:59:59", None, 0),
            ("just now", "0 * * * *", "10:00:00", "11:00:00", Some("11:00:00"), 1),
            ("one, a while ago", "0 * * * *", "10:00:00", "11:40:00", Some("11:00:00"), 1),
            ("the last of three", "0 * * * *", "10:00:00", "13:00:01", Some("13:00:00"), 3),
            ("the last of very many", "* * * * *", "00:00:00", "23:30:30", Some("23:30:00"), 1410),
            ("an interval goes on from where it began", "@every 7m", "10:01:00", "10:30:00", Some("10:29:00"), 4),
            (
                "long after the last of an uneven schedule: none is found",
                "*/20 9-10 * * *",
                "09:15:00",
                "22:00:00",
                None,
                39,
            ),
        ];
        for (why, schedule, since, now, last, count) in cases {
            let day = |time: &str| at(&format!("2026-03-02T{time}Z"));
            let schedule = Schedule::parse(schedule).unwrap();
            let expected = Missed { last: last.map(day), count };
            assert_eq!(missed(&schedule, &TimeZone::UTC, day(since), day(now)), Ok(expected), "{why}");
        }
        let never = Schedule::parse("0 0 30 2 *").unwrap();
        assert_eq!(
            missed(&never, &TimeZone::UTC, at("2026-01-01T00:00:00Z"), at("2026-01-02T00:00:00Z")),
            Err(NoTimes)
        );
    }

    #[test]
    fn the_last_of_very_many_times_is_found_in_few_steps() {
        let january = Schedule::parse("* * * 1 *").unwrap();
        let asked = std::cell::Cell::new(0);
        for (from, now, expected) in [
            ("2025-01-31T23:59:00Z", "2026-07-01T00:00:00Z", Some("2026-01-31T23:59:00Z")),
            ("2025-12-31T23:59:00Z", "2026-01-20T11:30:30Z", Some("2026-01-20T11:30:00Z")),
            ("2025-12-31T23:59:00Z", "2026-01-20T11:30:00Z", Some("2026-01-20T11:30:00Z")),
            ("2025-12-31T23:59:00Z", "2026-01-01T00:02:00Z", Some("2026-01-01T00:02:00Z")),
            ("2025-02-01T00:00:00Z", "2025-12-31T23:59:59Z", None),
        ] {
            asked.set(0);
            let next = |after| {
                asked.set(asked.get() + 1);
                january.next(after, &TimeZone::UTC)
            };
            assert_eq!(last_until(next, at(from), at(now)), expected.map(at), "{from} {now}");
            assert!(asked.get() < 200, "{} steps", asked.get());
        }
    }

    #[test]
    fn waits_table() {
        let cases = [
            ("the rest of the hour", "0 * * * *", "2026-03-02T10:00:00Z", "2026-03-02T10:59:58Z", Some(2_100)),
            ("after one that was missed", "0 * * * *", "2026-03-02T10:00:00Z", "2026-03-02T11:59:58Z", Some(2_100)),
            ("after many", "* * * * *", "2026-01-01T00:00:00Z", "2026-03-02T11:00:30Z", Some(30_100)),
            ("never", "0 0 30 2 *", "2026-03-02T10:00:00Z", "2026-03-02T11:00:00Z", None),
        ];
        for (why, schedule, since, now, millis) in cases {
            let schedule = Schedule::parse(schedule).unwrap();
            let expected = millis.map(Duration::from_millis);
            assert_eq!(wait(&schedule, &TimeZone::UTC, at(since), at(now)), expected, "{why}");
        }
    }

    #[test]
    fn a_time_zone_says_when_the_day_begins() {
        let daily = Schedule::parse("30 2 * * *").unwrap();
        let berlin = time_zone("Europe/Berlin").unwrap();
        // 02:30 is skipped on the 29th of March.
        let got = missed(&daily, &berlin, at("2026-03-28T00:00:00Z"), at("2026-03-30T00:00:00Z")).unwrap();
        assert_eq!(got.last, Some(at("2026-03-28T01:30:00Z")));
        let summer = missed(&daily, &berlin, at("2026-03-29T12:00:00Z"), at("2026-03-30T12:00:00Z")).unwrap();
        assert_eq!(summer.last, Some(at("2026-03-30T00:30:00Z")));
    }
}
