//! What may change in a pod once it is there: very little.

pub mod ephemeral;
mod gated;
pub mod resize;
mod status;

use std::collections::HashSet;

use corten_api::pod::annotations::APP_ARMOR_PREFIX;
use corten_api::{Problems, pod};
use k8s_openapi::api::core::v1::{Pod, PodSpec, Toleration};

use super::validate::newer::{self, Described, Paths};
use crate::registry::difference;
use crate::registry::path::Path;

pub use status::validate_status;

const ALLOWED: &str = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

/// The last scheduling gate is gone: the condition that told of it goes too.
pub fn open_gates(new: &mut Pod, old: &Pod) {
    let gated = |pod: &Pod| pod.spec.as_ref().and_then(|s| s.scheduling_gates.as_ref()).is_some_and(|g| !g.is_empty());
    if gated(old)
        && !gated(new)
        && let Some(list) = new.status.as_mut().and_then(|s| s.conditions.as_mut())
    {
        list.retain(|c| !(c.type_ == "PodScheduled" && c.reason.as_deref() == Some("SchedulingGated")));
    }
}

/// Whether a pod is a node's own is said when it is made, and never again: controllers, drains and the kubelet itself treat
/// a mirror as nothing else.
fn validate_annotations(new: &Pod, old: &Pod, problems: &mut Problems) {
    let at = Path::root("metadata.annotations");
    let (new, old) = (new.metadata.annotations.as_ref(), old.metadata.annotations.as_ref());
    let what = |key: &str| match key {
        pod::MIRROR_ANNOTATION => Some("mirror pod annotation"),
        // How a container is confined stays as it was made.
        key if key.starts_with(APP_ARMOR_PREFIX) => Some("AppArmor annotations"),
        _ => None,
    };
    for (key, was) in old.into_iter().flatten() {
        if let Some(what) = what(key)
            && new.and_then(|new| new.get(key)) != Some(was)
        {
            problems.forbidden(at.key(key), &format!("may not remove or update {what}"));
        }
    }
    for key in new.into_iter().flatten().map(|(key, _)| key) {
        if let Some(what) = what(key)
            && !old.is_some_and(|old| old.contains_key(key))
        {
            problems.forbidden(at.key(key), &format!("may not add {what}"));
        }
    }
}

pub fn validate(new: &Pod, old: &Pod, problems: &mut Problems) {
    validate_annotations(new, old, problems);
    let none = PodSpec::default();
    let (new_spec, old_spec) = (new.spec.as_ref().unwrap_or(&none), old.spec.as_ref().unwrap_or(&none));
    let at = Paths { annotations: &Path::root("metadata.annotations"), spec: &Path::root("spec") };
    let now = Described { spec: new_spec, annotations: new.metadata.annotations.as_ref() };
    let was = Described { spec: old_spec, annotations: old.metadata.annotations.as_ref() };
    newer::validate_update(now, was, at, problems);
    if new_spec == old_spec {
        return;
    }
    if new_spec.containers.len() != old_spec.containers.len() {
        return problems.forbidden("spec.containers", "pod updates may not add or remove containers");
    }
    let inits = |spec: &PodSpec| spec.init_containers.as_ref().map_or(0, Vec::len);
    if inits(new_spec) != inits(old_spec) {
        return problems.forbidden("spec.initContainers", "pod updates may not add or remove containers");
    }
    validate_deadline(new_spec, old_spec, problems);
    let kept = kept_tolerations(new_spec, old_spec);
    if !kept {
        problems.forbidden("spec.tolerations", "existing toleration can not be modified except its tolerationSeconds");
    }
    validate_gates(new_spec, old_spec, problems);
    // What is left once the changeable fields are equal must be equal too.
    let mut masked = new_spec.clone();
    mask(&mut masked, old_spec);
    if old_spec.scheduling_gates.as_ref().is_some_and(|gates| !gates.is_empty()) {
        gated::validate(&mut masked, old_spec, problems);
    }
    if masked != *old_spec {
        problems.forbidden("spec", &format!("{ALLOWED}\n{}", difference::fields(&masked, old_spec)));
    }
}

fn validate_deadline(new: &PodSpec, old: &PodSpec, problems: &mut Problems) {
    let at = "spec.activeDeadlineSeconds";
    match (new.active_deadline_seconds, old.active_deadline_seconds) {
        (Some(new), _) if !(1..=i64::from(i32::MAX)).contains(&new) => {
            problems.invalid(at, new, "must be between 1 and 2147483647, inclusive");
        }
        (Some(new), Some(old)) if new > old => {
            problems.invalid(at, new, "must be less than or equal to previous value");
        }
        (None, Some(_)) => problems.invalid(at, None::<i64>, "must not update from a positive integer to nil value"),
        _ => {}
    }
}

/// Every old toleration is still there; only its tolerationSeconds may differ.
fn kept_tolerations(new: &PodSpec, old: &PodSpec) -> bool {
    let new: HashSet<_> = new.tolerations.iter().flatten().map(timeless).collect();
    old.tolerations.iter().flatten().map(timeless).all(|old| new.contains(&old))
}

fn timeless(toleration: &Toleration) -> [Option<&String>; 4] {
    let Toleration { key, operator, value, effect, toleration_seconds: _ } = toleration;
    [key, operator, value, effect].map(Option::as_ref)
}

fn validate_gates(new: &PodSpec, old: &PodSpec, problems: &mut Problems) {
    let old_gates: HashSet<&str> = old.scheduling_gates.iter().flatten().map(|gate| gate.name.as_str()).collect();
    let added = new.scheduling_gates.iter().flatten().find(|gate| !old_gates.contains(gate.name.as_str()));
    if let Some(gate) = added {
        problems.forbidden(
            "spec.schedulingGates",
            &format!("only deletion is allowed, but found new scheduling gate '{}'", gate.name),
        );
    }
}

/// Sets what may change to what it was.
fn mask(new: &mut PodSpec, old: &PodSpec) {
    let pairs = new.containers.iter_mut().zip(&old.containers);
    let inits = new.init_containers.iter_mut().flatten().zip(old.init_containers.iter().flatten());
    for (new, old) in pairs.chain(inits) {
        new.image.clone_from(&old.image);
    }
    new.active_deadline_seconds = old.active_deadline_seconds;
    new.tolerations.clone_from(&old.tolerations);
    if old.termination_grace_period_seconds.is_some_and(|s| s < 0) && new.termination_grace_period_seconds == Some(1) {
        new.termination_grace_period_seconds = old.termination_grace_period_seconds;
    }
    new.scheduling_gates.clone_from(&old.scheduling_gates);
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::registry::check::testing::{defaulted, found_on_update, prepare, texts};
    use crate::registry::{Kind, Strategy};

    fn found(old: Value, new: Value) -> Vec<String> {
        let pod = |mut spec: Value| {
            spec["containers"] = spec.get("containers").cloned().unwrap_or(json!([{"name": "a", "image": "x"}]));
            json!({"spec": spec}).to_string()
        };
        found_on_update::<Pod>(&pod(old), &pod(new))
    }

    #[test]
    fn what_may_change() {
        let key = |k: &str, secs: i64| json!({"key": k, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": secs});
        let cases = [
            ("an image", json!({}), json!({"containers": [{"name": "a", "image": "y", "imagePullPolicy": "Always"}]})),
            ("a deadline appears", json!({}), json!({"activeDeadlineSeconds": 5})),
            ("a deadline nears", json!({"activeDeadlineSeconds": 9}), json!({"activeDeadlineSeconds": 5})),
            (
                "a toleration more",
                json!({"tolerations": [key("a", 1)]}),
                json!({"tolerations": [key("a", 2), key("b", 1)]}),
            ),
            (
                "negative grace",
                json!({"terminationGracePeriodSeconds": -3}),
                json!({"terminationGracePeriodSeconds": 1}),
            ),
            ("a gate opens", json!({"schedulingGates": [{"name": "a"}]}), json!({})),
            (
                "a gated pod is narrowed",
                json!({"schedulingGates": [{"name": "a"}]}),
                json!({"schedulingGates": [{"name": "a"}], "nodeSelector": {"a": "b"}}),
            ),
        ];
        for (why, old, new) in cases {
            assert_eq!(found(old, new), Vec::<String>::new(), "{why}");
        }
    }

    #[test]
    fn the_annotation_of_a_mirror_and_apparmors_stay_as_they_were_made() {
        const MIRROR: &str = "kubernetes.io/config.mirror";
        const APPARMOR: &str = "container.apparmor.security.beta.kubernetes.io/a";
        let cases = [
            ("nothing", json!({MIRROR: "x", APPARMOR: "y"}), json!({MIRROR: "x", APPARMOR: "y", "mine": "1"}), ""),
            ("a mirror made", json!({}), json!({MIRROR: "x"}), "may not add mirror pod annotation"),
            ("a mirror unmade", json!({MIRROR: "x"}), json!({}), "may not remove or update mirror pod annotation"),
            (
                "another mirror",
                json!({MIRROR: "x"}),
                json!({MIRROR: "y"}),
                "may not remove or update mirror pod annotation",
            ),
            ("confinement", json!({}), json!({APPARMOR: "y"}), "may not add AppArmor annotations"),
            ("no confinement", json!({APPARMOR: "y"}), json!({}), "may not remove or update AppArmor annotations"),
        ];
        for (why, old, new, expected) in cases {
            let pod = |annotations: &Value| json!({"metadata": {"annotations": annotations}, "spec": {}}).to_string();
            let (old, new) = (pod(&old), pod(&new));
            let of_status = {
                let (old, mut new): (Pod, Pod) = (defaulted(&old), defaulted(&new));
                prepare(Strategy::Status(&old), &mut new);
                let mut problems = Problems::default();
                new.validate_status(&old, &mut problems);
                texts(&problems)
            };
            for found in [found_on_update::<Pod>(&old, &new), of_status] {
                match expected {
                    "" => assert_eq!(found, Vec::<String>::new(), "{why}"),
                    _ => assert!(found.len() == 1 && found[0].ends_with(expected), "{why}: {found:?}"),
                }
            }
        }
    }

    #[test]
    fn long_lists_are_compared_in_time_that_grows_with_them() {
        let tolerations = |from: usize| -> Vec<Value> {
            (from..60_000).rev().map(|n| json!({"key": format!("k{n}"), "operator": "Exists"})).collect()
        };
        let began = std::time::Instant::now();
        let found = found(json!({"tolerations": tolerations(1)}), json!({"tolerations": tolerations(0)}));
        assert_eq!(found, Vec::<String>::new());
        assert!(began.elapsed() < std::time::Duration::from_secs(20), "{:?}", began.elapsed());
    }

    #[test]
    fn what_may_not() {
        let cases = [
            (
                "a name",
                json!({}),
                json!({"nodeName": "n"}),
                "spec: Forbidden: pod updates may not change fields other than",
            ),
            (
                "one more container",
                json!({}),
                json!({"containers": [{"name": "a"}, {"name": "b"}]}),
                "spec.containers: Forbidden: pod updates may not add or remove containers",
            ),
            (
                "a later deadline",
                json!({"activeDeadlineSeconds": 5}),
                json!({"activeDeadlineSeconds": 9}),
                "spec.activeDeadlineSeconds: Invalid value: 9: must be less than or equal to previous value",
            ),
            (
                "a toleration less",
                json!({"tolerations": [{"key": "a"}]}),
                json!({}),
                "spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds",
            ),
            (
                "a new gate",
                json!({}),
                json!({"schedulingGates": [{"name": "g"}]}),
                "spec.schedulingGates: Forbidden: only deletion is allowed, but found new scheduling gate 'g'",
            ),
        ];
        for (why, old, new, expected) in cases {
            let found = found(old, new);
            assert!(found.len() == 1 && found[0].starts_with(expected), "{why}: {found:?}");
        }
    }
}
