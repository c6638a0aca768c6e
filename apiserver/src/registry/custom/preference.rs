//! Which of two versions clients prefer, by their names.
//!
//! <https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definition-versioning/#version-priority>

use std::cmp::Ordering;

/// Less comes first: `v10`, `v2`, `v1`, `v2beta1`, `v1beta2`, `v1alpha1`, then what is called otherwise, by its letters.
pub fn by_preference(one: &str, other: &str) -> Ordering {
    match (rank(one), rank(other)) {
        (Some(one), Some(other)) => other.cmp(&one),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => one.cmp(other),
    }
}

/// How stable, which major, which minor version; `None`: it is no `v1beta2` or the like.
fn rank(name: &str) -> Option<(u8, u64, u64)> {
    let rest = name.strip_prefix('v')?;
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (major, stage) = rest.split_at(end);
    let number = |digits: &str| if digits.starts_with('0') { None } else { digits.parse::<u64>().ok() };
    let major = number(major)?;
    if stage.is_empty() {
        return Some((3, major, 0));
    }
    let (stability, minor) = match (stage.strip_prefix("beta"), stage.strip_prefix("alpha")) {
        (Some(minor), _) => (2, minor),
        (None, Some(minor)) => (1, minor),
        (None, None) => return None,
    };
    Some((stability, major, number(minor)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stable_versions_first_the_newest_of_them() {
        let expected =
            ["v10", "v2", "v1", "v11beta2", "v10beta3", "v3beta1", "v12alpha1", "v11alpha2", "foo1", "foo10"];
        let mut shuffled = expected;
        shuffled.reverse();
        shuffled.sort_by(|one, other| by_preference(one, other));
        assert_eq!(shuffled, expected);
    }
}
