//! What expressions cost, in upstream's units: what they cost at most, from what is known of sizes, and what a call did cost.

mod actual;
mod calls;
mod estimate;

pub(crate) use actual::{of_call, of_result};
pub(crate) use estimate::estimate;

/// What one expression of a CustomResourceDefinition may cost by its estimate.
pub const PER_EXPRESSION_LIMIT: u64 = 10_000_000;
/// What all expressions of a CustomResourceDefinition may cost by their estimates.
pub const PER_CRD_LIMIT: u64 = 100_000_000;

/// Giving a value a name: upstream goes through an empty list that it makes for this.
pub(crate) const BIND: u64 = 10;
/// Going through text once, per character.
const TRAVERSAL: f64 = 0.1;
/// A pattern, per character.
const REGEX: f64 = 0.25;

/// From the least to the most: of sizes and of costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Estimate {
    pub min: u64,
    pub max: u64,
}

impl Estimate {
    pub(crate) const UNKNOWN: Self = Self { min: 0, max: u64::MAX };
    pub(crate) const fn new(min: u64, max: u64) -> Self {
        Self { min, max }
    }
    pub(crate) const fn fixed(n: u64) -> Self {
        Self { min: n, max: n }
    }
    pub(crate) fn plus(self, other: Self) -> Self {
        Self { min: self.min.saturating_add(other.min), max: self.max.saturating_add(other.max) }
    }
    pub(crate) fn times(self, other: Self) -> Self {
        Self { min: self.min.saturating_mul(other.min), max: self.max.saturating_mul(other.max) }
    }
    pub(crate) fn scaled(self, by: f64) -> Self {
        Self { min: scaled(self.min, by), max: scaled(self.max, by) }
    }
    pub(crate) fn or(self, other: Self) -> Self {
        Self { min: self.min.min(other.min), max: self.max.max(other.max) }
    }
}

/// Rounded up.
fn scaled(n: u64, by: f64) -> u64 {
    (n as f64 * by).ceil() as u64
}

#[cfg(test)]
mod tests;
