//! What is wrong in a value, and how it is told: in upstream's words, and so much of it at most.

use std::fmt;

use corten_api::Problems;
use serde_json::Value;

use super::NOWHERE;
use crate::bounded_text::bounded;

/// Of all faults that one look at an object tells of, as far as can be known before they are printed; the last may be larger.
const TOLD_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Of one path. Names of fields come from clients.
const PATH_BYTES_MAX: usize = 1024;

/// Where a value stands below the one that was asked about. It lives on the stack and is printed for faults alone.
#[derive(Clone, Copy)]
pub(super) enum At<'a> {
    Root,
    /// Of a declared field: `spec.color`.
    Field(&'a At<'a>, &'a str),
    /// Of any other field: with a dot before it also at the root, as upstream has it.
    Entry(&'a At<'a>, &'a str),
    Item(&'a At<'a>, usize),
}

impl At<'_> {
    pub(super) fn text(&self) -> String {
        bounded(self, PATH_BYTES_MAX)
    }
}

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            At::Root => Ok(()),
            At::Field(At::Root, name) => f.write_str(name),
            At::Field(parent, name) | At::Entry(parent, name) => write!(f, "{parent}.{name}"),
            At::Item(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

/// What is wrong somewhere.
pub(super) struct Fault<'v> {
    /// Below the value that was asked about; "" for itself, `None` for what upstream tells without a path.
    pub(super) at: Option<String>,
    pub(super) what: What<'v>,
}

/// Shows values and schemas as they are, so that faults that nobody is told of cost little.
pub(super) enum What<'v> {
    Required,
    Unsupported {
        value: &'v Value,
        known: &'v [Value],
    },
    TooLong(i64),
    TooShort {
        text: &'v str,
        least: i64,
    },
    TooMany {
        have: usize,
        most: i64,
    },
    Type {
        wanted: &'static str,
        is: &'static str,
    },
    Format {
        text: &'v str,
        format: &'v str,
    },
    Pattern {
        text: &'v str,
        wanted: String,
    },
    Forbidden(&'v str),
    /// A number, or a size.
    Number {
        value: Value,
        why: String,
    },
    Elsewhere(String),
}

impl What<'_> {
    /// About what telling of it takes.
    fn bytes(&self) -> usize {
        let json = |value: &Value| serde_json::to_string(value).map_or(0, |text| text.len());
        match self {
            Self::Unsupported { value, known } => json(value) + known.iter().map(json).sum::<usize>(),
            Self::TooShort { text, .. } => text.len(),
            Self::Format { text, format } => 2 * text.len() + format.len(),
            Self::Pattern { text, wanted } => text.len() + wanted.len(),
            Self::Elsewhere(why) | Self::Number { why, .. } => why.len(),
            Self::Required | Self::TooLong(_) | Self::TooMany { .. } | Self::Type { .. } | Self::Forbidden(_) => 0,
        }
    }
}

impl Fault<'_> {
    fn tell(self, base: &str, problems: &mut Problems) {
        let raw = self.at.as_deref().unwrap_or_default();
        let at = match self.at.as_deref().map(|at| at.strip_prefix('.').unwrap_or(at)) {
            None | Some("") => place(base).to_owned(),
            Some(at) if base.is_empty() => at.to_owned(),
            Some(at) => format!("{base}.{at}"),
        };
        let size = |n: i64| usize::try_from(n).unwrap_or(0);
        match self.what {
            What::Required => problems.required(at, ""),
            What::Unsupported { value, known } => {
                let shown = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                let known: Vec<String> = known.iter().map(shown).collect();
                let known: Vec<&str> = known.iter().map(String::as_str).collect();
                problems.unsupported(at, value, &known);
            }
            What::TooLong(most) => problems.too_long(at, size(most)),
            What::TooShort { text, least } => {
                problems.invalid(at, text, &format!("{raw} in body should be at least {least} chars long"));
            }
            What::TooMany { have, most } => problems.too_many(at, have, size(most)),
            What::Type { wanted, is } => {
                problems.type_invalid(at, is, &format!("{raw} in body must be of type {wanted}: {is:?}"));
            }
            What::Format { text, format } => {
                problems.type_invalid(at, text, &format!("{raw} in body must be of type {format}: {text:?}"));
            }
            What::Pattern { text, wanted } => {
                problems.invalid(at, text, &format!("{raw} in body should match '{wanted}'"));
            }
            What::Forbidden(name) => {
                let name = bounded(name, PATH_BYTES_MAX);
                problems.invalid(at, &name, &format!("{raw}.{name} in body is a forbidden property"));
            }
            What::Number { value, why } => problems.invalid(at, value, &format!("{raw} in body {why}")),
            What::Elsewhere(why) => problems.invalid(at, "", &why),
        }
    }
}

/// Where upstream points to for the whole of what was asked about.
pub(super) fn place(base: &str) -> &str {
    if base.is_empty() { NOWHERE } else { base }
}

/// What may still be told of one object.
pub(in super::super) struct Room(usize);

impl Default for Room {
    fn default() -> Self {
        Self(TOLD_BYTES_MAX)
    }
}

impl Room {
    pub(in super::super) fn is_full(&self) -> bool {
        self.0 == 0
    }
    /// Whether there is some for a fault, which takes so much of it.
    pub(in super::super) fn take(&mut self, bytes: usize) -> bool {
        let has_some = self.0 > 0;
        self.0 = self.0.saturating_sub(bytes);
        has_some
    }
}

/// What came of a look. `matched`: how much of a value was as wanted, which tells the best of several alternatives.
#[derive(Default)]
pub(super) struct Found<'v> {
    pub(super) faults: Vec<Fault<'v>>,
    /// Those beyond what is kept, counted only.
    pub(super) more: usize,
    pub(super) matched: usize,
}

impl Found<'_> {
    pub(super) fn is_good(&self) -> bool {
        self.faults.is_empty() && self.more == 0
    }
    pub(super) fn merge(&mut self, other: Self) {
        self.faults.extend(other.faults);
        self.more += other.more;
        self.matched += other.matched;
    }

    /// `base`: what stands before all paths, or "". How many are not told.
    pub(super) fn tell(self, base: &str, problems: &mut Problems) -> usize {
        let (mut room, mut untold) = (Room::default(), self.more);
        for fault in self.faults {
            // What nobody is told of is not measured: that takes as long as telling.
            if room.is_full() {
                untold += 1;
            } else {
                room.take(fault.what.bytes());
                fault.tell(base, problems);
            }
        }
        if untold > 0 {
            problems.invalid_unshown(place(base), &format!("there are {untold} more that are not told"));
        }
        untold
    }
}
