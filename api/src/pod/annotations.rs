//! Annotations of pods that Kubernetes itself reads.
//!
//! <https://kubernetes.io/docs/reference/labels-annotations-taints/>

use std::collections::BTreeMap;

/// How much it costs to lose a pod: of those that a ReplicaSet no longer wants the cheapest go first.
pub const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";
/// With a container's name: how AppArmor confines it. From before there was a field.
pub const APP_ARMOR_PREFIX: &str = "container.apparmor.security.beta.kubernetes.io/";
/// Of the pod, how seccomp filters its system calls; no program does what it says any more.
pub const SECCOMP: &str = "seccomp.security.alpha.kubernetes.io/pod";
/// With a container's name: the same of a container.
pub const SECCOMP_PREFIX: &str = "container.seccomp.security.alpha.kubernetes.io/";

/// 0 where nothing is said of it; `None` if that is no 32 bit integer in its plain form (`+1` and `007` are not).
pub fn deletion_cost(annotations: Option<&BTreeMap<String, String>>) -> Option<i32> {
    let Some(text) = annotations.and_then(|all| all.get(DELETION_COST)) else { return Some(0) };
    let is_plain = matches!(text.as_bytes(), [b'-' | b'1'..=b'9', ..] | [b'0']);
    text.parse().ok().filter(|_| is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_table() {
        let cases = [
            ("0", Some(0)),
            ("-7", Some(-7)),
            ("2147483647", Some(i32::MAX)),
            ("2147483648", None),
            ("", None),
            ("+1", None),
            ("007", None),
            ("1.5", None),
            ("many", None),
        ];
        for (text, expected) in cases {
            let annotations = BTreeMap::from([(DELETION_COST.to_owned(), text.to_owned())]);
            assert_eq!(deletion_cost(Some(&annotations)), expected, "{text}");
        }
        assert_eq!(deletion_cost(None), Some(0));
    }
}
