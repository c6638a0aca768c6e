//! Sums and products that never wrap.

use super::*;

#[test]
fn estimates_do_not_overflow() {
    let all = Estimate::UNKNOWN;
    assert_eq!(all.plus(Estimate::fixed(1)), Estimate::new(1, u64::MAX));
    assert_eq!(all.times(Estimate::fixed(2)), Estimate::new(0, u64::MAX));
    assert_eq!(all.scaled(2.0), Estimate::new(0, u64::MAX));
    assert_eq!(Estimate::new(1, 11).scaled(0.1), Estimate::new(1, 2));
    assert_eq!(Estimate::new(1, 2).or(Estimate::new(0, 5)), Estimate::new(0, 5));
}
