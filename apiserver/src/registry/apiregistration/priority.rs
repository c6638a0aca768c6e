//! In which order groups and their versions are told to clients. Pure.
//!
//! Of the server's own as upstream has them; of others as their APIService says.

use std::cmp::Ordering;

use crate::registry::custom::by_preference;

/// As an APIService says it: of the group first, then of the version within it. The higher the earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Priority {
    pub group: i32,
    pub version: i32,
}

const fn priority(group: i32, version: i32) -> Priority {
    Priority { group, version }
}

/// Of what users define. Its versions are told apart by their names.
pub const CUSTOM: Priority = priority(1000, 100);
/// Of what nodes use, as metrics-server's APIService has it.
const MEASURED: Priority = priority(100, 100);
/// Of a group version of ours that stands in no table: a test holds that there is none.
const UNKNOWN: Priority = priority(15_000, 15);
/// Before everything else that an APIService can say.
const FIRST: Priority = priority(20_001, 15);

const TABLE: &[(&str, &str, Priority)] = &[
    ("apiregistration.k8s.io", "v1", FIRST),
    ("", "v1", priority(18_000, 1)),
    ("apps", "v1", priority(17_800, 15)),
    ("events.k8s.io", "v1", priority(17_750, 15)),
    ("authentication.k8s.io", "v1", priority(17_700, 15)),
    ("authorization.k8s.io", "v1", priority(17_600, 15)),
    ("autoscaling", "v2", priority(17_500, 30)),
    ("autoscaling", "v1", priority(17_500, 15)),
    ("batch", "v1", priority(17_400, 15)),
    ("certificates.k8s.io", "v1", priority(17_300, 15)),
    ("networking.k8s.io", "v1", priority(17_200, 15)),
    ("policy", "v1", priority(17_100, 15)),
    ("rbac.authorization.k8s.io", "v1", priority(17_000, 15)),
    ("storage.k8s.io", "v1", priority(16_800, 15)),
    ("admissionregistration.k8s.io", "v1", priority(16_700, 15)),
    ("apiextensions.k8s.io", "v1", priority(16_700, 15)),
    ("scheduling.k8s.io", "v1", priority(16_600, 15)),
    ("coordination.k8s.io", "v1", priority(16_500, 15)),
    ("node.k8s.io", "v1", priority(16_300, 15)),
    ("discovery.k8s.io", "v1", priority(16_200, 15)),
    ("resource.k8s.io", "v1", priority(16_200, 21)),
    ("flowcontrol.apiserver.k8s.io", "v1", priority(16_100, 21)),
    ("storagemigration.k8s.io", "v1", priority(15_800, 15)),
    ("metrics.k8s.io", "v1beta1", MEASURED),
];

/// Of a group version that this server has itself.
pub fn of_builtin(group: &str, version: &str) -> Priority {
    let found = TABLE.iter().find(|(g, v, _)| (*g, *v) == (group, version));
    found.map_or(UNKNOWN, |(_, _, priority)| *priority)
}

/// Which of two versions of a group comes first.
pub fn by_version((one, of_one): (&str, Priority), (other, of_other): (&str, Priority)) -> Ordering {
    of_other.version.cmp(&of_one.version).then_with(|| by_preference(one, other))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::questions::QUESTIONS;
    use crate::registry::{self, apiregistration};

    #[test]
    fn every_group_version_of_ours_has_its_place() {
        let kinds = registry::builtin();
        let mut all: Vec<(&str, &str)> = kinds.iter().map(|kind| (kind.group(), kind.version())).collect();
        all.extend(QUESTIONS.iter().map(|question| (question.group, "v1")));
        for (group, version) in all {
            assert_ne!(of_builtin(group, version), UNKNOWN, "{group}/{version}");
        }
        let groups = TABLE.iter().filter(|(group, _, _)| *group != apiregistration::GROUP);
        assert!(groups.clone().all(|(_, _, priority)| priority.group <= 20_000 && priority.version <= 1000));
    }

    #[test]
    fn versions_stand_by_priority_and_then_by_name() {
        let mut versions = [
            ("v1beta1", priority(0, 100)),
            ("v1", priority(0, 100)),
            ("v2alpha1", priority(0, 100)),
            ("other", priority(0, 100)),
            ("v1alpha1", priority(0, 200)),
        ];
        versions.sort_by(|one, other| by_version(*one, *other));
        let names: Vec<&str> = versions.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["v1alpha1", "v1", "v1beta1", "v2alpha1", "other"]);
    }
}
