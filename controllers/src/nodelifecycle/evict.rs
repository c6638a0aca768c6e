//! Which pods have to leave a tainted node, and when. Pure.
//!
//! <https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/#taint-based-evictions>

use corten_api::k8s_openapi::api::core::v1::{Taint, Toleration};
use corten_api::node::tolerates;
use jiff::{SignedDuration, Timestamp};

const NO_EXECUTE: &str = "NoExecute";

/// Until when a pod with these tolerations may stay on a node with these taints; `None`: for good.
pub fn may_stay_until(taints: &[Taint], tolerations: &[Toleration], now: Timestamp) -> Option<Timestamp> {
    taints.iter().filter(|t| t.effect == NO_EXECUTE).filter_map(|taint| ends_at(taint, tolerations, now)).min()
}

fn ends_at(taint: &Taint, tolerations: &[Toleration], now: Timestamp) -> Option<Timestamp> {
    let since = taint.time_added.as_ref().map_or(now, |t| t.0);
    let mut covering = tolerations.iter().filter(|t| tolerates(t, taint)).peekable();
    if covering.peek().is_none() {
        return Some(since.min(now));
    }
    // The shortest of the bounded ones counts; one of nothing or less means at once.
    let secs = covering.filter_map(|t| t.toleration_seconds).min()?;
    Some(since.checked_add(SignedDuration::from_secs(secs.max(0))).unwrap_or(Timestamp::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use corten_api::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    #[test]
    fn stay_table() {
        let at = |secs| Timestamp::from_second(secs).unwrap();
        let taint = |key: &str, since| Taint {
            key: key.into(),
            effect: NO_EXECUTE.into(),
            value: None,
            time_added: Some(Time(at(since))),
        };
        let tolerate = |key: &str, secs| Toleration {
            key: Some(key.into()),
            operator: Some("Exists".into()),
            effect: Some(NO_EXECUTE.into()),
            toleration_seconds: secs,
            value: None,
        };
        let gone = || taint("unreachable", 100);
        let cases = [
            ("no taint: stays", vec![], vec![], None),
            ("nothing tolerates it: now", vec![gone()], vec![], Some(100)),
            (
                "tolerated for a while, from when it was added",
                vec![gone()],
                vec![tolerate("unreachable", Some(300))],
                Some(400),
            ),
            ("tolerated for good", vec![gone()], vec![tolerate("unreachable", None)], None),
            (
                "the shorter of two",
                vec![gone()],
                vec![tolerate("unreachable", Some(300)), tolerate("", Some(30))],
                Some(130),
            ),
            ("zero seconds: now", vec![gone()], vec![tolerate("unreachable", Some(0))], Some(100)),
            ("less than none: now", vec![gone()], vec![tolerate("unreachable", Some(-9))], Some(100)),
            (
                "one of two bounds it",
                vec![gone()],
                vec![tolerate("unreachable", None), tolerate("unreachable", Some(30))],
                Some(130),
            ),
            ("another's toleration", vec![gone()], vec![tolerate("mine", None)], Some(100)),
            ("a taint of the future does not keep it", vec![taint("unreachable", 300)], vec![], Some(200)),
            (
                "a taint without a time began now",
                vec![Taint { time_added: None, ..gone() }],
                vec![tolerate("unreachable", Some(30))],
                Some(230),
            ),
            (
                "two taints, one not tolerated",
                vec![gone(), taint("mine", 150)],
                vec![tolerate("unreachable", Some(300))],
                Some(150),
            ),
            (
                "another effect is no reason to leave",
                vec![Taint { effect: "NoSchedule".into(), ..gone() }],
                vec![],
                None,
            ),
        ];
        for (why, taints, tolerations, expected) in cases {
            assert_eq!(may_stay_until(&taints, &tolerations, at(200)), expected.map(at), "{why}");
        }
    }
}
