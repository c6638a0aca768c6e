//! `maxSurge` and `maxUnavailable`: a count or a percentage of the replicas.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Round {
    Up,
    Down,
}

/// `25%` of `total`, or the number itself; `None` if it is neither.
pub fn scaled(value: &IntOrString, total: i32, round: Round) -> Option<i32> {
    match value {
        IntOrString::Int(n) => Some(*n),
        IntOrString::String(s) => {
            let percent: i64 = s.strip_suffix('%')?.parse().ok()?;
            // No two such numbers have a product that does not fit.
            let product = i128::from(percent) * i128::from(total);
            let scaled = if round == Round::Up { (product + 99).div_euclid(100) } else { product.div_euclid(100) };
            i32::try_from(scaled).ok()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_round_as_asked() {
        let pct = |s: &str| IntOrString::String(s.into());
        assert_eq!(scaled(&pct("25%"), 3, Round::Up), Some(1));
        assert_eq!(scaled(&pct("25%"), 3, Round::Down), Some(0));
        assert_eq!(scaled(&pct("50%"), 10, Round::Down), Some(5), "a part of the total, whatever the total is");
        assert_eq!(scaled(&pct("100%"), 7, Round::Up), Some(7));
        assert_eq!(scaled(&IntOrString::Int(2), 10, Round::Down), Some(2));
        assert_eq!(scaled(&pct("x"), 10, Round::Down), None);
        assert_eq!(scaled(&pct("9223372036854775807%"), i32::MAX, Round::Up), None);
    }
}
