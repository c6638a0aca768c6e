//! Parts of times and durations.

use jiff::Zoned;
use jiff::tz::{Offset, TimeZone};

use crate::error::EvalError;
use crate::time::NANOS;
use crate::value::{Value, brief};

pub(super) fn call<'a>(function: &str, args: &[Value<'a>]) -> Option<Result<Value<'a>, EvalError>> {
    match args {
        [Value::Timestamp(at)] => Some(part(function, &at.to_zoned(TimeZone::UTC))?),
        [Value::Timestamp(at), Value::String(zone)] => match zone_of(zone) {
            Ok(zone) => part(function, &at.to_zoned(zone)),
            Err(e) => Some(Err(e)),
        },
        [Value::Duration(nanos)] => {
            let by = match function {
                "getHours" => 3600 * NANOS,
                "getMinutes" => 60 * NANOS,
                "getSeconds" => NANOS,
                "getMilliseconds" => NANOS / 1000,
                _ => return None,
            };
            Some(Ok(Value::Int(nanos / by)))
        }
        _ => None,
    }
}

fn part<'a>(function: &str, at: &Zoned) -> Option<Result<Value<'a>, EvalError>> {
    let number = match function {
        "getFullYear" => i64::from(at.year()),
        "getMonth" => i64::from(at.month()) - 1,
        "getDayOfYear" => i64::from(at.day_of_year()) - 1,
        "getDayOfMonth" => i64::from(at.day()) - 1,
        "getDate" => i64::from(at.day()),
        "getDayOfWeek" => i64::from(at.weekday().to_sunday_zero_offset()),
        "getHours" => i64::from(at.hour()),
        "getMinutes" => i64::from(at.minute()),
        "getSeconds" => i64::from(at.second()),
        "getMilliseconds" => i64::from(at.millisecond()),
        _ => return None,
    };
    Some(Ok(Value::Int(number)))
}

/// By name, or as `+01:30`.
fn zone_of(text: &str) -> Result<TimeZone, EvalError> {
    let unknown = || EvalError::function(format!("unknown time zone {}", brief(text)));
    let Some((hours, minutes)) = text.split_once(':') else {
        return match text {
            "" | "UTC" => Ok(TimeZone::UTC),
            // Names differ by their case, which the look-up does not care for.
            name => match TimeZone::get(name) {
                Ok(zone) if zone.iana_name() == Some(name) => Ok(zone),
                _ => Err(unknown()),
            },
        };
    };
    let hours: i32 = hours.parse().map_err(|_| unknown())?;
    let minutes: i32 = minutes.parse().map_err(|_| unknown())?;
    let minutes = if text.starts_with('-') { minutes.checked_neg() } else { Some(minutes) };
    let seconds = hours.checked_mul(60).and_then(|h| h.checked_add(minutes?)).and_then(|m| m.checked_mul(60));
    let offset = seconds.and_then(|seconds| Offset::from_seconds(seconds).ok()).ok_or_else(unknown)?;
    Ok(TimeZone::fixed(offset))
}
