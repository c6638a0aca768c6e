//! Two lists of tolerations made one, without those that another covers.

use std::collections::{HashMap, HashSet};

use k8s_openapi::api::core::v1::Toleration;

use crate::registry::check::text;

const EXISTS: &str = "Exists";
const EQUAL: &str = "Equal";
const NO_EXECUTE: &str = "NoExecute";
const FOR_EVER_SECS: i64 = i64::MAX;

/// Which taints a toleration is about.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Reach<'a> {
    /// Empty, with Exists: all.
    key: &'a str,
    /// Empty: all.
    effect: &'a str,
    operator: &'a str,
    value: &'a str,
}

/// Keeps the order, and of equal ones the first. Takes as long as the list, however it is made: what covers a toleration is
/// looked up, not searched.
pub(super) fn merged(all: Vec<Toleration>) -> Vec<Toleration> {
    let needed = needed(&all);
    all.into_iter().zip(needed).filter_map(|(one, needed)| needed.then_some(one)).collect()
}

fn needed(all: &[Toleration]) -> Vec<bool> {
    let mut longest: HashMap<Reach<'_>, i64> = HashMap::new();
    for one in all {
        let secs = longest.entry(reach(one)).or_insert(i64::MIN);
        *secs = lasts_secs(one).max(*secs);
    }
    let mut seen = HashSet::new();
    let needed = all.iter().map(|one| {
        let (own, secs) = (reach(one), lasts_secs(one));
        let is_covered = wider(own).any(|by| match longest.get(&by) {
            Some(lasts) if by == own => *lasts > secs,
            Some(lasts) => *lasts >= secs,
            None => false,
        });
        !is_covered && seen.insert((own, secs))
    });
    needed.collect()
}

fn reach(one: &Toleration) -> Reach<'_> {
    let operator = text(one.operator.as_ref());
    // Beside Exists a value says nothing.
    let value = if operator == EXISTS { "" } else { text(one.value.as_ref()) };
    Reach { key: text(one.key.as_ref()), effect: text(one.effect.as_ref()), operator, value }
}

/// How long a taint is tolerated: only one that drives pods away has an end.
fn lasts_secs(one: &Toleration) -> i64 {
    one.toleration_seconds.filter(|_| one.effect.as_deref() == Some(NO_EXECUTE)).unwrap_or(FOR_EVER_SECS)
}

/// All that cover this one, itself among them.
fn wider(of: Reach<'_>) -> impl Iterator<Item = Reach<'_>> {
    let exists = Reach { operator: EXISTS, value: "", ..of };
    let all = [
        of,
        exists,
        Reach { key: "", ..exists },
        // No operator means Equal. Of two that differ in nothing else the one without stays, as upstream has it.
        if of.operator == EQUAL { Reach { operator: "", ..of } } else { of },
    ];
    all.into_iter().flat_map(|one| [one, Reach { effect: "", ..one }])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `key effect operator value seconds`, `-` for none.
    fn toleration(of: &str) -> Toleration {
        let mut words = of.split(' ').map(|word| (word != "-").then(|| word.to_owned()));
        let mut next = || words.next().flatten();
        let (key, effect, operator, value) = (next(), next(), next(), next());
        let toleration_seconds = next().map(|secs| secs.parse().unwrap());
        Toleration { key, effect, operator, value, toleration_seconds }
    }
    fn left(all: &[&str]) -> Vec<usize> {
        let all: Vec<Toleration> = all.iter().map(|one| toleration(one)).collect();
        let merged = merged(all.clone());
        let mut at = 0;
        let place = |one: &Toleration| {
            at = (at..all.len()).find(|i| all[*i] == *one).unwrap() + 1;
            at - 1
        };
        merged.iter().map(place).collect()
    }

    #[test]
    fn what_another_covers_goes() {
        let cases: [(&str, &[&str], &[usize]); 11] = [
            ("nothing in common", &["a - Exists - -", "b - Exists - -"], &[0, 1]),
            ("equal: the first stays", &["a - Exists - -", "b - Exists - -", "a - Exists - -"], &[0, 1]),
            ("any value covers one", &["a NoSchedule Equal x -", "a NoSchedule Exists - -"], &[1]),
            ("any effect covers one", &["a - Exists - -", "a NoSchedule Exists - -"], &[0]),
            ("one effect does not cover any", &["a NoSchedule Exists - -", "a - Equal x -"], &[0, 1]),
            ("any key covers one", &["a NoSchedule Equal x -", "- - Exists - -"], &[1]),
            ("for ever covers a while", &["a NoExecute Exists - 5", "a NoExecute Exists - -"], &[1]),
            ("longer covers shorter", &["a NoExecute Exists - 9", "a NoExecute Exists - 5"], &[0]),
            ("shorter does not cover longer", &["a NoExecute Exists - 5", "a NoExecute Equal x 9"], &[0, 1]),
            ("values differ", &["a NoSchedule Equal x -", "a NoSchedule Equal y -"], &[0, 1]),
            ("no operator covers Equal", &["a NoSchedule Equal x -", "a NoSchedule - x -"], &[1]),
        ];
        for (why, all, expected) in cases {
            assert_eq!(left(all), expected, "{why}");
        }
    }

    #[test]
    fn merging_again_changes_nothing() {
        let all = ["a NoExecute Exists - 5", "b NoSchedule Equal x -", "a NoExecute Exists - 9", "b - Exists - -"];
        let once = merged(all.map(toleration).to_vec());
        assert_eq!(once, [toleration(all[2]), toleration(all[3])]);
        assert_eq!(merged([once.clone(), once.clone()].concat()), once);
    }
}
