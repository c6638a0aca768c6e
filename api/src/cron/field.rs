//! One field of a schedule: `5`, `1-5`, `*/15`, `MON-FRI`, and lists of such.

use std::num::IntErrorKind;

/// What a field may name.
pub(super) struct Bounds {
    min: u8,
    max: u8,
    /// Of the values from `min` on.
    names: &'static [&'static str],
}

pub(super) const MINUTES: Bounds = Bounds { min: 0, max: 59, names: &[] };
pub(super) const HOURS: Bounds = Bounds { min: 0, max: 23, names: &[] };
pub(super) const DAYS: Bounds = Bounds { min: 1, max: 31, names: &[] };
pub(super) const MONTHS: Bounds = Bounds {
    min: 1,
    max: 12,
    names: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
};
/// Sunday is 0, and not 7 too.
pub(super) const WEEKDAYS: Bounds =
    Bounds { min: 0, max: 6, names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"] };

/// In the words of upstream's parser.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    #[error("failed to parse int from {0}: strconv.Atoi: parsing {0:?}: invalid syntax")]
    NotANumber(String),
    #[error("failed to parse int from {0}: strconv.Atoi: parsing {0:?}: value out of range")]
    HugeNumber(String),
    #[error("negative number ({number}) not allowed: {text}")]
    Negative { number: i64, text: String },
    #[error("too many hyphens: {0}")]
    Hyphens(String),
    #[error("too many slashes: {0}")]
    Slashes(String),
    #[error("beginning of range ({start}) below minimum ({min}): {text}")]
    BelowMinimum { start: u64, min: u8, text: String },
    #[error("end of range ({end}) above maximum ({max}): {text}")]
    AboveMaximum { end: u64, max: u8, text: String },
    #[error("beginning of range ({start}) beyond end of range ({end}): {text}")]
    Backwards { start: u64, end: u64, text: String },
    #[error("step of range should be a positive number: {0}")]
    NoStep(String),
}

/// The values of a field, each below 60.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Values {
    /// One bit for each.
    bits: u64,
    /// Whether a star says that every value is meant.
    is_any: bool,
}

impl Values {
    pub(super) fn has(self, value: i8) -> bool {
        u32::try_from(value).is_ok_and(|value| self.bits.checked_shr(value).unwrap_or(0) & 1 == 1)
    }
    pub(super) fn is_any(self) -> bool {
        self.is_any
    }
    pub(super) fn is_empty(self) -> bool {
        self.bits == 0
    }
    /// The first value that is not below `least`.
    pub(super) fn first_from(self, least: i64) -> Option<i64> {
        let above = u64::MAX.checked_shl(u32::try_from(least).ok()?).unwrap_or(0);
        let rest = self.bits & above;
        (rest != 0).then(|| i64::from(rest.trailing_zeros()))
    }
}

impl Bounds {
    /// A list of ranges. Empty items are skipped, so that a field of commas alone names nothing.
    pub(super) fn parse(&self, text: &str) -> Result<Values, FieldError> {
        let mut all = Values::default();
        for item in text.split(',').filter(|item| !item.is_empty()) {
            let range = self.range(item)?;
            all.bits |= range.bits;
            all.is_any |= range.is_any;
        }
        Ok(all)
    }

    /// `*`, `5`, `1-5`, each with `/step` or without. `5/10` goes on to the end.
    fn range(&self, text: &str) -> Result<Values, FieldError> {
        let (limits, step) = text.split_once('/').map_or((text, None), |(limits, step)| (limits, Some(step)));
        let (low, high) = limits.split_once('-').map_or((limits, None), |(low, high)| (low, Some(high)));
        let is_any = matches!(low, "*" | "?");
        let (start, end) = match high {
            _ if is_any => (self.min.into(), self.max.into()),
            None => {
                let only = self.value(low)?;
                (only, if step.is_some() { self.max.into() } else { only })
            }
            Some(high) => {
                let start = self.value(low)?;
                if high.contains('-') {
                    return Err(FieldError::Hyphens(text.into()));
                }
                (start, self.value(high)?)
            }
        };
        let step = match step {
            None => 1,
            Some(step) if step.contains('/') => return Err(FieldError::Slashes(text.into())),
            Some(step) => number(step)?,
        };
        self.check(start, end, step, text)?;
        let step = usize::try_from(step).unwrap_or(usize::MAX);
        let bits = (start..=end).step_by(step).fold(0, |bits, value| bits | (1 << value));
        // Every second day is not every day: `fits_day` looks at both days then.
        Ok(Values { bits, is_any: is_any && step == 1 })
    }

    fn check(&self, start: u64, end: u64, step: u64, text: &str) -> Result<(), FieldError> {
        let text = || text.to_owned();
        if start < u64::from(self.min) {
            Err(FieldError::BelowMinimum { start, min: self.min, text: text() })
        } else if end > u64::from(self.max) {
            Err(FieldError::AboveMaximum { end, max: self.max, text: text() })
        } else if start > end {
            Err(FieldError::Backwards { start, end, text: text() })
        } else if step == 0 {
            Err(FieldError::NoStep(text()))
        } else {
            Ok(())
        }
    }

    /// A number, or the name of one.
    fn value(&self, text: &str) -> Result<u64, FieldError> {
        let named = (u64::from(self.min)..).zip(self.names).find(|(_, name)| text.eq_ignore_ascii_case(name));
        named.map_or_else(|| number(text), |(value, _)| Ok(value))
    }
}

fn number(text: &str) -> Result<u64, FieldError> {
    let number: i64 = text.parse().map_err(|err: std::num::ParseIntError| match err.kind() {
        IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => FieldError::HugeNumber(text.into()),
        _ => FieldError::NotANumber(text.into()),
    })?;
    u64::try_from(number).map_err(|_| FieldError::Negative { number, text: text.into() })
}
