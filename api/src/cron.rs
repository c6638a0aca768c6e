//! When a CronJob runs: cron's five fields or an interval, and the next time that fits, in a time zone.
//!
//! What is a schedule: <https://pkg.go.dev/github.com/robfig/cron/v3#hdr-CRON_Expression_Format>. A time fits if a clock on
//! the wall of the time zone shows it. One that the clock skips in spring does not fit that day; one that it shows twice in
//! autumn fits twice.

mod field;

use jiff::civil::{Date, Time};
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{SignedDuration, Timestamp};

pub use field::FieldError;
use field::Values;

use crate::duration::{self, DurationError};

/// Years that are looked through for a time that fits, as upstream has it.
const SEARCH_YEARS: i16 = 5;
const HOUR_SECS: i64 = 3600;
/// The time zone of whoever asks.
const LOCAL: &str = "Local";

/// When something is to be done, again and again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    times: Times,
    /// Named by the schedule itself (`TZ=Asia/Tokyo 0 5 * * *`).
    zone: Option<TimeZone>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Times {
    Cron(Fields),
    Every { secs: i64 },
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Fields {
    minutes: Values,
    hours: Values,
    /// Of the month.
    days: Values,
    months: Values,
    weekdays: Values,
}

/// In the words of upstream's parser.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    #[error("empty spec string")]
    Empty,
    #[error("provided bad location {0}: unknown time zone {0}")]
    TimeZone(String),
    #[error("expected exactly 5 fields, found {}: [{}]", .0.len(), .0.join(" "))]
    FieldCount(Vec<String>),
    #[error(transparent)]
    Field(#[from] FieldError),
    #[error("unrecognized descriptor: {0}")]
    Descriptor(String),
    #[error("failed to parse duration {text}: {why}")]
    Interval { text: String, why: DurationError },
}

impl Schedule {
    /// `*/5 * * * *`, `@hourly`, `@every 1h30m`; `TZ=` or `CRON_TZ=` and a time zone may stand before it.
    pub fn parse(text: &str) -> Result<Self, ScheduleError> {
        if text.is_empty() {
            return Err(ScheduleError::Empty);
        }
        let named = text.strip_prefix("TZ=").or_else(|| text.strip_prefix("CRON_TZ="));
        let Some(named) = named else { return Ok(Self { times: parse_times(text)?, zone: None }) };
        let (name, rest) = named.split_once(' ').unwrap_or((named, ""));
        let zone = match name {
            LOCAL => None,
            "" => Some(TimeZone::UTC),
            _ => Some(time_zone(name).ok_or_else(|| ScheduleError::TimeZone(name.into()))?),
        };
        Ok(Self { times: parse_times(rest.trim())?, zone })
    }

    /// The first time after `after`, in whole seconds; `None` if there is none in five years (`0 0 30 2 *`). `zone` is for
    /// schedules that name none themselves. Intervals count from `after`. The work is bounded: months that do not fit, the
    /// days of those that do, the hours of one day.
    pub fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        match &self.times {
            Times::Every { secs } => Timestamp::from_second(after.as_second().checked_add(*secs)?).ok(),
            Times::Cron(fields) => fields.next(after, self.zone.as_ref().unwrap_or(zone)),
        }
    }
}

/// A time zone of IANA's database, by its exact name. The database is built in, so that all machines have the same.
pub fn time_zone(name: &str) -> Option<TimeZone> {
    let zone = TimeZoneDatabase::bundled().get(name).ok()?;
    // It is found by its name in any case, but files, by which upstream finds it, are not.
    (zone.iana_name() == Some(name)).then_some(zone)
}

fn parse_times(text: &str) -> Result<Times, ScheduleError> {
    let spec = match text {
        "@yearly" | "@annually" => "0 0 1 1 *",
        "@monthly" => "0 0 1 * *",
        "@weekly" => "0 0 * * 0",
        "@daily" | "@midnight" => "0 0 * * *",
        "@hourly" => "0 * * * *",
        _ => text,
    };
    if let Some(interval) = spec.strip_prefix("@every ") {
        let length = duration::parse(interval).map_err(|why| ScheduleError::Interval { text: text.into(), why })?;
        return Ok(Times::Every { secs: length.as_secs().max(1) });
    }
    if spec.starts_with('@') {
        return Err(ScheduleError::Descriptor(text.into()));
    }
    let found: Vec<&str> = spec.split_whitespace().collect();
    let [minutes, hours, days, months, weekdays] = found.as_slice() else {
        return Err(ScheduleError::FieldCount(found.into_iter().map(str::to_owned).collect()));
    };
    Ok(Times::Cron(Fields {
        minutes: field::MINUTES.parse(minutes)?,
        hours: field::HOURS.parse(hours)?,
        days: field::DAYS.parse(days)?,
        months: field::MONTHS.parse(months)?,
        weekdays: field::WEEKDAYS.parse(weekdays)?,
    }))
}

impl Fields {
    fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        // A field such as "," is empty: no minute fits, and each would be looked at.
        if [self.minutes, self.hours].iter().any(|values| values.is_empty()) {
            return None;
        }
        let mut at = Timestamp::from_second(after.as_second().checked_add(1)?).ok()?;
        let last_year = zone.to_datetime(at).year().saturating_add(SEARCH_YEARS);
        loop {
            let local = zone.to_datetime(at);
            let date = local.date();
            if local.year() > last_year {
                return None;
            }
            let later = if !self.months.has(local.month()) {
                start_of(date.last_of_month().tomorrow().ok()?, zone, at)?
            } else if !self.fits_day(date) {
                start_of(date.tomorrow().ok()?, zone, at)?
            } else {
                match self.wait_secs(local.time()) {
                    0 => return Some(at),
                    secs => at.checked_add(SignedDuration::from_secs(secs)).ok()?,
                }
            };
            // What the clock shows can be told until it is next put forward or back, and no further.
            at = zone.following(at).next().map_or(later, |change| later.min(change.timestamp()));
        }
    }

    /// Where both the day of the month and that of the week are given, one that fits is enough.
    fn fits_day(&self, date: Date) -> bool {
        let month_day = self.days.has(date.day());
        let weekday = self.weekdays.has(date.weekday().to_sunday_zero_offset());
        if self.days.is_any() || self.weekdays.is_any() { month_day && weekday } else { month_day || weekday }
    }

    /// Seconds until a time may fit again, within the hour; 0 if this one does.
    fn wait_secs(&self, time: Time) -> i64 {
        let passed = i64::from(time.minute()) * 60 + i64::from(time.second());
        let minute = self.minutes.first_from((passed + 59) / 60).filter(|_| self.hours.has(time.hour()));
        minute.map_or(HOUR_SECS, |minute| minute * 60) - passed
    }
}

/// The first moment of a day that comes after `after`.
fn start_of(date: Date, zone: &TimeZone, after: Timestamp) -> Option<Timestamp> {
    let midnight = zone.to_ambiguous_timestamp(date.at(0, 0, 0, 0));
    // It can be there twice, around `after`.
    [midnight.compatible(), midnight.later()].into_iter().flatten().find(|start| *start > after)
}

#[cfg(test)]
mod tests;
