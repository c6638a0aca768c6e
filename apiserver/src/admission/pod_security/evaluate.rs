//! Which checks a standard is made of, and what they say of a pod.

use super::checks::CHECKS;
use super::policy::{Level, Standard, Version};
use super::subject::Subject;

/// What a check has against a pod, in short and with names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Violation {
    pub(super) reason: &'static str,
    pub(super) detail: String,
}

impl Violation {
    /// `hostPort (container "a" uses hostPort 80), privileged (…)`
    pub(super) fn list(all: &[Self]) -> String {
        let one = |violation: &Self| format!("{} ({})", violation.reason, violation.detail);
        all.iter().map(one).collect::<Vec<_>>().join(", ")
    }
}

pub(super) type Judge = fn(&Subject<'_>) -> Option<Violation>;

/// One check of a standard.
pub(super) struct Check {
    pub(super) id: &'static str,
    /// The level that it belongs to; stricter levels have it too.
    pub(super) level: Level,
    /// How it judges, from which minor version on. Standards of versions before the first do not have it.
    pub(super) revisions: &'static [(u64, Judge)],
    /// The check of a lower level that this one makes needless.
    pub(super) overrides: Option<&'static str>,
}

impl Check {
    fn judge(&self, version: Version) -> Option<Judge> {
        let known = self.revisions.iter().rev().find(|(since, _)| Version::Minor(*since) <= version);
        known.map(|(_, judge)| *judge)
    }
}

pub(super) fn evaluate(standard: Standard, subject: &Subject<'_>) -> Vec<Violation> {
    judges(standard).filter_map(|judge| judge(subject)).collect()
}

fn judges(standard: Standard) -> impl Iterator<Item = Judge> {
    let asked = move || CHECKS.iter().filter(move |check| check.level <= standard.level);
    let active = move |check: &&Check| check.judge(standard.version).is_some();
    let needless = move |id: &str| asked().filter(active).any(|check| check.overrides == Some(id));
    asked().filter(move |check| !needless(check.id)).filter_map(move |check| check.judge(standard.version))
}

/// For the checks' tables.
#[cfg(test)]
pub(super) mod testing {
    use serde_json::{Value, json};

    use super::*;

    /// What a check of a version says of a pod with this spec: `reason: detail`.
    pub(crate) fn said(check: &Check, minor: u64, spec: Value) -> String {
        said_of(check, minor, json!({ "spec": spec }))
    }
    pub(crate) fn said_of(check: &Check, minor: u64, pod: Value) -> String {
        let pod = serde_json::from_value(pod).unwrap();
        let judge = check.judge(Version::Minor(minor));
        let violation = judge.and_then(|judge| judge(&Subject::of_pod(&pod).unwrap()));
        violation.map(|violation| format!("{}: {}", violation.reason, violation.detail)).unwrap_or_default()
    }
    /// A pod of two containers with these security contexts.
    pub(crate) fn pair(pod: Value, a: Value, b: Value) -> Value {
        let container = |name: &str, context: Value| json!({"name": name, "securityContext": context});
        json!({"securityContext": pod, "containers": [container("a", a), container("b", b)]})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order() {
        let keys: Vec<_> = CHECKS.iter().map(|check| (check.level, check.id)).collect();
        assert!(keys.is_sorted() && keys.iter().all(|(level, _)| *level > Level::Privileged), "{keys:?}");
        for check in CHECKS {
            assert!(
                check.revisions.is_sorted_by_key(|(since, _)| since) && !check.revisions.is_empty(),
                "{}",
                check.id
            );
            let lower = |id: &str| CHECKS.iter().any(|other| other.id == id && other.level < check.level);
            assert!(check.overrides.is_none_or(lower), "{}", check.id);
        }
    }

    #[test]
    fn standards_grow_with_level_and_version() {
        let count = |level: Level, version: Version| judges(Standard { level, version }).count();
        for (version, baseline, restricted) in [
            (Version::Minor(0), 11, 12),
            (Version::Minor(8), 11, 13),
            (Version::Minor(19), 11, 13),
            (Version::Minor(22), 11, 13),
            (Version::Minor(23), 11, 14),
            (Version::Minor(34), 12, 15),
            (Version::Minor(35), 12, 15),
            (Version::Minor(1000), 12, 15),
            (Version::Latest, 12, 15),
        ] {
            assert_eq!(count(Level::Privileged, version), 0);
            assert_eq!(
                (count(Level::Baseline, version), count(Level::Restricted, version)),
                (baseline, restricted),
                "{version:?}"
            );
        }
    }
}
