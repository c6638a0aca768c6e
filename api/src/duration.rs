//! Lengths of time as upstream's language writes them: `1h30m`, `1.5s`, `-2m`.
//!
//! <https://pkg.go.dev/time#ParseDuration>

use jiff::SignedDuration;

const UNITS: &[(&str, u128)] = &[
    ("ns", 1),
    ("us", 1_000),
    // The sign of micro, and the Greek letter.
    ("\u{b5}s", 1_000),
    ("\u{3bc}s", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];
/// Digits after the point that count. Finer ones are below a nanosecond, whatever the unit.
const FRACTION_DIGITS: usize = 18;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    #[error("time: invalid duration {0:?}")]
    Invalid(String),
    #[error("time: missing unit in duration {0:?}")]
    NoUnit(String),
    #[error("time: unknown unit {unit:?} in duration {text:?}")]
    UnknownUnit { unit: String, text: String },
}

/// `text` may begin with a sign.
pub fn parse(text: &str) -> Result<SignedDuration, DurationError> {
    let invalid = || DurationError::Invalid(text.into());
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if unsigned == "0" {
        return Ok(SignedDuration::ZERO);
    }
    if unsigned.is_empty() {
        return Err(invalid());
    }
    let mut nanos: u128 = 0;
    let mut rest = unsigned;
    while !rest.is_empty() {
        let (whole, after) = digits(rest);
        let (fraction, after) = after.strip_prefix('.').map_or(("", after), digits);
        if whole.is_empty() && fraction.is_empty() {
            return Err(invalid());
        }
        let unit_len = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_len);
        let scale = match UNITS.iter().find(|(name, _)| *name == unit) {
            Some((_, scale)) => *scale,
            None if unit.is_empty() => return Err(DurationError::NoUnit(text.into())),
            None => return Err(DurationError::UnknownUnit { unit: unit.into(), text: text.into() }),
        };
        nanos = sum(nanos, whole, fraction, scale).ok_or_else(invalid)?;
        rest = after;
    }
    let nanos = i64::try_from(nanos).map_err(|_| invalid())?;
    Ok(SignedDuration::from_nanos(if text.starts_with('-') { -nanos } else { nanos }))
}

fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

/// `None`: no such number is a length of time.
fn sum(nanos: u128, whole: &str, fraction: &str, scale: u128) -> Option<u128> {
    let value = |digits: &str| {
        digits.bytes().try_fold(0_u128, |sum, digit| sum.checked_mul(10)?.checked_add(u128::from(digit - b'0')))
    };
    let fraction = fraction.get(..FRACTION_DIGITS).unwrap_or(fraction);
    let parts = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    nanos.checked_add(value(whole)?.checked_mul(scale)?)?.checked_add(value(fraction)? * scale / parts)
}
