//! How the server's seats are divided among priority levels: nominal shares, and what a level lends or borrows for now.

use super::configuration::{Enablement, LimitResponse, PriorityLevel};
use super::demand::Demand;

/// A request takes no more than this part of its level's nominal seats, so that it need not wait long for that many.
const WIDEST_SHARE: f64 = 0.15;

/// A level's seats: what its shares give it, and between what it may lend and borrow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    pub(super) nominal: u32,
    pub(super) lower: u32,
    pub(super) upper: u32,
    /// What the widest request of the level takes.
    pub(super) widest: u32,
}

/// One for each level. Their nominal seats may sum to a little more than `total`: each is rounded up.
pub(super) fn limits(total: u32, levels: &[&PriorityLevel]) -> Vec<Limits> {
    let shares: f64 = levels.iter().map(|l| f64::from(l.nominal_concurrency_shares)).sum();
    levels.iter().map(|level| limits_of(total, shares, level)).collect()
}

fn limits_of(total: u32, shares: f64, level: &PriorityLevel) -> Limits {
    let nominal = seats(f64::from(total) * f64::from(level.nominal_concurrency_shares) / shares, f64::ceil);
    let percent = |of: u32| seats(f64::from(nominal) * f64::from(of) / 100.0, f64::round);
    let (borrowable, hand_size) = match &level.enablement {
        Enablement::Exempt => (total, 1),
        Enablement::Limited { borrowing_limit_percent, response } => {
            let hand_size = match response {
                LimitResponse::Queue(queuing) => queuing.hand_size.max(1),
                LimitResponse::Reject => 1,
            };
            (borrowing_limit_percent.map_or(total, percent), hand_size)
        }
    };
    Limits {
        nominal,
        lower: nominal.saturating_sub(percent(level.lendable_percent)),
        upper: nominal.saturating_add(borrowable),
        widest: seats(f64::from(nominal) * WIDEST_SHARE, f64::ceil).min(nominal / hand_size).max(1),
    }
}

fn seats(exact: f64, round: fn(f64) -> f64) -> u32 {
    // Never negative and far below u32::MAX: `as` would cut what is not.
    round(exact) as u32
}

/// What a level asks of the next period.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claim {
    pub(super) exempt: bool,
    pub(super) limits: Limits,
    pub(super) demand: Demand,
    /// Over many periods.
    pub(super) smoothed: f64,
}

impl Claim {
    /// It keeps what it used at its busiest moment, up to what is its own, and what it does not lend.
    fn floor(&self) -> f64 {
        let used = self.demand.high_watermark;
        let own = if self.exempt { used } else { used.min(f64::from(self.limits.nominal)) };
        own.max(f64::from(self.limits.lower))
    }
}

/// The seats of each level until the next adjustment, and the proportion of its demand that each gets (0: no more than its
/// own). Exempt levels have what they use; the others share what is left in proportion to their demand, within their bounds.
pub(super) fn allocate(total: u32, claims: &[Claim]) -> (Vec<u32>, f64) {
    let (exempt, limited): (Vec<&Claim>, Vec<&Claim>) = claims.iter().partition(|c| c.exempt);
    let left = f64::from(total) - exempt.iter().map(|c| c.floor()).sum::<f64>();
    let lower: f64 = limited.iter().map(|c| f64::from(c.limits.lower)).sum();
    let floors: f64 = limited.iter().map(|c| c.floor()).sum();
    let proportion = if left > floors { proportion(left, &limited) } else { 0.0 };
    let one = |claim: &Claim| {
        let least = f64::from(claim.limits.lower);
        if claim.exempt {
            claim.floor()
        } else if left <= lower {
            least
        } else if left <= floors {
            least + (claim.floor() - least) * (left - lower) / (floors - lower)
        } else {
            share(claim, proportion)
        }
    };
    (claims.iter().map(|claim| seats(one(claim), f64::round)).collect(), proportion)
}

/// A claim that is nothing would get nothing, however much is free.
const TARGET_MIN: f64 = 0.001;

pub(super) fn target(claim: &Claim) -> f64 {
    claim.smoothed.max(claim.floor()).max(TARGET_MIN)
}
fn share(claim: &Claim, proportion: f64) -> f64 {
    (target(claim) * proportion).min(f64::from(claim.limits.upper)).max(claim.floor())
}

/// The proportion at which all shares sum to `left`. The sum grows with it, in straight lines between the points at which a
/// claim meets one of its bounds.
fn proportion(left: f64, claims: &[&Claim]) -> f64 {
    let sum = |proportion: f64| claims.iter().map(|c| share(c, proportion)).sum::<f64>();
    let bounds = claims.iter().flat_map(|c| [c.floor() / target(c), f64::from(c.limits.upper) / target(c)]);
    let mut bounds: Vec<f64> = bounds.collect();
    bounds.sort_by(f64::total_cmp);
    let (mut at, mut have) = (0.0, sum(0.0));
    for bound in bounds {
        let reached = sum(bound);
        if reached >= left {
            let slope = reached - have;
            return if slope > 0.0 { at + (bound - at) * (left - have) / slope } else { bound };
        }
        (at, have) = (bound, reached);
    }
    at
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::bootstrap::configuration;
    use super::*;

    /// The seats of the defaults' levels, each with a demand.
    fn allocated(demands: &[(&str, f64)]) -> Vec<(String, u32)> {
        let configuration = configuration();
        let limits = limits(600, &configuration.levels().iter().collect::<Vec<_>>());
        let claims: Vec<Claim> = configuration
            .levels()
            .iter()
            .zip(&limits)
            .map(|(level, limits)| {
                let wanted = demands.iter().find(|(name, _)| *name == &*level.name).map_or(0.0, |d| d.1);
                let demand =
                    Demand { average: wanted, deviation: 0.0, high_watermark: wanted, lasted: Duration::from_secs(10) };
                let exempt = level.enablement == Enablement::Exempt;
                Claim { exempt, limits: *limits, demand, smoothed: wanted }
            })
            .collect();
        let names = configuration.levels().iter().map(|l| l.name.to_string());
        names.zip(allocate(600, &claims).0).collect()
    }
    fn of(all: &[(String, u32)], name: &str) -> u32 {
        all.iter().find(|(is, _)| is == name).unwrap().1
    }

    #[test]
    fn nominal_seats_follow_shares() {
        let configuration = configuration();
        let limits = limits(600, &configuration.levels().iter().collect::<Vec<_>>());
        let rows: Vec<(&str, u32, u32, u32)> = configuration
            .levels()
            .iter()
            .zip(&limits)
            .map(|(level, l)| (&*level.name, l.nominal, l.lower, l.widest))
            .collect();
        let expected = [
            ("exempt", 0, 0, 1),
            ("catch-all", 13, 13, 2),
            ("system", 74, 50, 12),
            ("node-high", 98, 73, 15),
            ("leader-election", 25, 25, 4),
            ("workload-high", 98, 49, 15),
            ("workload-low", 245, 24, 37),
            ("global-default", 49, 24, 8),
        ];
        assert_eq!(rows, expected);
    }

    #[test]
    fn a_level_borrows_what_others_do_not_use_and_never_what_they_keep() {
        let idle = allocated(&[]);
        assert!(idle.iter().map(|(_, seats)| seats).sum::<u32>().abs_diff(600) <= 8, "{idle:?}");
        let busy = allocated(&[("workload-high", 1000.0)]);
        let kept = 13 + 50 + 73 + 25 + 24 + 24;
        assert!(of(&busy, "workload-high").abs_diff(600 - kept) <= 2, "{busy:?}");
        assert_eq!((of(&busy, "node-high"), of(&busy, "leader-election")), (73, 25), "{busy:?}");
        let both = allocated(&[("workload-high", 1000.0), ("node-high", 90.0)]);
        assert_eq!(of(&both, "node-high"), 90, "what it uses of its own is not lent: {both:?}");
        let admins = allocated(&[("exempt", 5000.0), ("workload-high", 1000.0)]);
        assert_eq!(of(&admins, "workload-high"), 49, "each keeps what it does not lend, whatever the exempt take");
        assert_eq!(of(&admins, "node-high"), 73);
    }

    #[test]
    fn those_that_ask_for_the_same_get_the_same() {
        let both = allocated(&[("workload-low", 400.0), ("workload-high", 400.0)]);
        assert_eq!(of(&both, "workload-high"), 600 - (13 + 50 + 73 + 25 + 24) - of(&both, "workload-low"), "{both:?}");
        assert!(of(&both, "workload-low") >= 245 * 9 / 10, "{both:?}");
    }
}
