//! The arithmetic of a rollout: how large each ReplicaSet may be now. Numbers in, numbers out.
//!
//! <https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#rolling-update-deployment>

use corten_api::k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use corten_api::rollout::{Round, scaled};

/// How far a rolling update may leave the wanted count, upwards and downwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    pub surge: i32,
    pub unavailable: i32,
}

impl Bounds {
    /// A surge rounds up and an unavailability down; both nothing would never move, so one pod may then be missing.
    pub fn resolve(surge: Option<&IntOrString>, unavailable: Option<&IntOrString>, wanted: i32) -> Self {
        let default = IntOrString::String("25%".into());
        let surge = scaled(surge.unwrap_or(&default), wanted, Round::Up).unwrap_or(0).max(0);
        let unavailable = scaled(unavailable.unwrap_or(&default), wanted, Round::Down).unwrap_or(0).max(0);
        let unavailable = if surge == 0 && unavailable == 0 { 1 } else { unavailable };
        Self { surge, unavailable: unavailable.min(wanted) }
    }
}

/// One ReplicaSet's size (as asked) and how many of its pods serve.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    pub spec: i32,
    pub available: i32,
}

/// How large the new ReplicaSet should be now.
pub fn new_size(wanted: i32, bounds: Bounds, new: i32, total: i32) -> i32 {
    if new >= wanted {
        return wanted;
    }
    let room = (wanted + bounds.surge - total).max(0);
    new + room.min(wanted - new)
}

/// How large the old ReplicaSets (oldest first) should be now: first without their broken pods, then with as few
/// serving ones as the floor allows.
pub fn old_sizes(wanted: i32, bounds: Bounds, new: Size, old: &[Size]) -> Vec<i32> {
    let mut sizes: Vec<i32> = old.iter().map(|s| s.spec).collect();
    let floor = wanted - bounds.unavailable;
    let total: i32 = new.spec + sizes.iter().sum::<i32>();
    // New pods that do not serve yet must not make up for old ones that do.
    let may_go = total - floor - (new.spec - new.available);
    if may_go <= 0 {
        return sizes;
    }
    let mut left = may_go;
    for (size, set) in sizes.iter_mut().zip(old) {
        let broken = (set.spec - set.available).max(0).min(left);
        *size -= broken;
        left -= broken;
    }
    let serving = new.available + old.iter().map(|s| s.available).sum::<i32>();
    let mut left = (serving - floor).max(0);
    for size in &mut sizes {
        let by = (*size).min(left);
        *size -= by;
        left -= by;
    }
    sizes
}

/// One active ReplicaSet that is to be scaled in proportion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    pub spec: i32,
    /// The most pods the deployment had when this size was decided (its `max-replicas` annotation).
    pub max_then: i32,
}

/// New sizes of `shares` (in the order in which leftovers are given out) when a deployment is scaled in the middle of a
/// rollout: each grows or shrinks in proportion, so that the risk stays spread as it was.
/// <https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#proportional-scaling>
pub fn proportional(wanted: i32, surge: i32, shares: &[Share]) -> Vec<i32> {
    let allowed = if wanted > 0 { wanted + surge } else { 0 };
    let to_add = allowed - shares.iter().map(|s| s.spec).sum::<i32>();
    let mut added = 0;
    let mut sizes: Vec<i32> = shares
        .iter()
        .map(|share| {
            let left = to_add - added;
            let part = part(*share, wanted, surge).clamp(left.min(0), left.max(0));
            added += part;
            share.spec + part
        })
        .collect();
    if let Some(first) = sizes.first_mut() {
        *first = (*first + to_add - added).max(0);
    }
    sizes
}

fn part(share: Share, wanted: i32, surge: i32) -> i32 {
    if wanted == 0 {
        return -share.spec;
    }
    if share.max_then <= 0 {
        return 0;
    }
    let (spec, then, now) = (i64::from(share.spec), i64::from(share.max_then), i64::from(wanted + surge));
    // Rounded to the nearest.
    let size = (2 * spec * now + then).div_euclid(2 * then);
    i32::try_from(size).unwrap_or(i32::MAX) - share.spec
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s(spec: i32, available: i32) -> Size {
        Size { spec, available }
    }

    #[test]
    fn bounds_table() {
        let pct = |p: &str| Some(IntOrString::String(p.into()));
        let int = |n| Some(IntOrString::Int(n));
        let cases = [
            ("defaults: 25% up, 25% down", None, None, 3, (1, 0)),
            ("percentages of ten", pct("25%"), pct("25%"), 10, (3, 2)),
            ("both nothing: one may be missing", int(0), int(0), 3, (0, 1)),
            ("no more missing than there are", int(1), int(9), 3, (1, 3)),
            ("a surge alone moves", int(1), int(0), 3, (1, 0)),
            ("so does an unavailability alone", int(0), int(2), 3, (0, 2)),
            ("of one pod: one above, none below", None, None, 1, (1, 0)),
            ("of no pods: none", None, None, 0, (0, 0)),
        ];
        for (why, surge, unavailable, wanted, expected) in cases {
            let got = Bounds::resolve(surge.as_ref(), unavailable.as_ref(), wanted);
            assert_eq!((got.surge, got.unavailable), expected, "{why}");
        }
    }

    #[test]
    fn new_size_table() {
        let cases = [
            ("start: the surge is free", 4, 1, 0, 4, 1),
            ("no room", 4, 1, 1, 5, 1),
            ("an old pod went: one more", 4, 1, 1, 4, 2),
            ("never above what is wanted", 4, 9, 0, 0, 4),
            ("never above what is wanted, counting those there are", 4, 9, 1, 1, 4),
            ("as many as there is room for", 10, 3, 4, 10, 7),
            ("scaled down meanwhile", 2, 1, 4, 4, 2),
            ("more pods than there may be: wait", 4, 1, 1, 9, 1),
        ];
        for (why, wanted, surge, new, total, expected) in cases {
            assert_eq!(new_size(wanted, Bounds { surge, unavailable: 0 }, new, total), expected, "{why}");
        }
    }

    #[test]
    fn old_sizes_table() {
        let cases = [
            ("new pod not ready: wait", 4, (1, 0), s(1, 0), vec![s(4, 4)], vec![4]),
            ("new pod ready: one old goes", 4, (1, 0), s(1, 1), vec![s(4, 4)], vec![3]),
            ("some may be missing: they go at once", 4, (1, 1), s(1, 0), vec![s(4, 4)], vec![3]),
            ("broken old pods go first", 4, (1, 1), s(1, 0), vec![s(2, 2), s(2, 1)], vec![2, 1]),
            (
                "a broken rollout replaced: its pods go, the good stay",
                4,
                (1, 0),
                s(0, 0),
                vec![s(4, 4), s(1, 0)],
                vec![4, 0],
            ),
            ("all moved", 4, (1, 0), s(4, 4), vec![s(1, 1)], vec![0]),
            ("a bad new image never takes old pods down", 3, (1, 0), s(1, 0), vec![s(3, 3)], vec![3]),
            ("a new pod that is not ready makes no room for a broken one", 4, (1, 0), s(1, 0), vec![s(4, 3)], vec![4]),
            ("broken pods go only as far as pods may go", 3, (1, 0), s(0, 0), vec![s(2, 1), s(2, 1)], vec![1, 2]),
            ("the oldest go first", 4, (0, 2), s(0, 0), vec![s(2, 2), s(2, 2)], vec![0, 2]),
            ("and then the next", 4, (0, 3), s(0, 0), vec![s(2, 2), s(2, 2)], vec![0, 1]),
        ];
        for (why, wanted, (surge, unavailable), new, old, expected) in cases {
            assert_eq!(old_sizes(wanted, Bounds { surge, unavailable }, new, &old), expected, "{why}");
        }
    }

    #[test]
    fn proportional_table() {
        let share = |spec, max_then| Share { spec, max_then };
        let cases = [
            ("10 → 15 with surge 3 over 8 and 5", 15, 3, vec![share(8, 13), share(5, 13)], vec![11, 7]),
            ("shrinking takes from both", 5, 0, vec![share(5, 10), share(5, 10)], vec![2, 3]),
            ("to nothing", 0, 3, vec![share(8, 13), share(5, 13)], vec![0, 0]),
            ("nothing to add", 10, 3, vec![share(8, 13), share(5, 13)], vec![8, 5]),
            ("leftovers go to the first", 11, 0, vec![share(5, 10), share(5, 10)], vec![6, 5]),
            ("one that was never sized has no share", 12, 0, vec![share(5, 0), share(5, 10)], vec![6, 6]),
            ("a share never goes against the scaling", 12, 0, vec![share(5, 20), share(5, 10)], vec![6, 6]),
            ("nor downwards", 8, 0, vec![share(5, 5), share(5, 10)], vec![4, 4]),
            ("no pods, no share", 12, 0, vec![share(10, 10), share(0, 10)], vec![12, 0]),
            ("never below nothing", 1, 0, vec![share(1, 10), share(9, 9)], vec![0, 1]),
        ];
        for (why, wanted, surge, shares, expected) in cases {
            assert_eq!(proportional(wanted, surge, &shares), expected, "{why}");
        }
    }
}
