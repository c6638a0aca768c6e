//! Pods that are there: which changes of them count, and what a new policy has against them.

use std::collections::{BTreeMap, HashMap, HashSet};

use bytes::Bytes;
use k8s_openapi::api::core::v1::{Container, Pod};
use serde::Deserialize;

use super::evaluate::evaluate;
use super::policy::Standard;
use super::subject::Subject;

/// Pods looked at when a namespace's level changes.
const CHECKED_MAX: usize = 3000;

/// Whether a change could break a policy that the pod kept before.
pub(super) fn is_significant(new: &Pod, old: &Pod) -> bool {
    let (Some(new), Some(old)) = (&new.spec, &old.spec) else { return true };
    let images = |list: &[Container]| list.iter().map(|container| container.image.clone()).collect::<Vec<_>>();
    let initial = |list: Option<&Vec<Container>>| images(list.map(Vec::as_slice).unwrap_or_default());
    if images(&new.containers) != images(&old.containers)
        || initial(new.init_containers.as_ref()) != initial(old.init_containers.as_ref())
    {
        return true;
    }
    let before: HashMap<_, _> = old.ephemeral_containers.iter().flatten().map(|c| (&c.name, &c.image)).collect();
    let mut now = new.ephemeral_containers.iter().flatten();
    now.any(|container| before.get(&container.name) != Some(&&container.image))
}

/// What to tell whoever gives a namespace this level. `stored`: the namespace's pods, as JSON.
pub(super) fn warnings(namespace: &str, standard: Standard, stored: &[Bytes]) -> Vec<String> {
    // By what is wrong: the first of the pods, and how many they are.
    let mut found: BTreeMap<String, (String, usize)> = BTreeMap::new();
    for pod in chosen(stored).filter_map(|json| serde_json::from_slice::<Pod>(json).ok()) {
        let violations = Subject::of_pod(&pod).map(|subject| evaluate(standard, &subject)).unwrap_or_default();
        if violations.is_empty() {
            continue;
        }
        let reasons: Vec<&str> = violations.iter().map(|violation| violation.reason).collect();
        let name = pod.metadata.name.unwrap_or_default();
        let (first, count) = found.entry(reasons.join(", ")).or_insert_with(|| (name.clone(), 0));
        *count += 1;
        if name < *first {
            *first = name;
        }
    }
    let mut pods: Vec<String> = found
        .into_iter()
        .map(|(reasons, (first, count))| match count - 1 {
            0 => format!("{first}: {reasons}"),
            1 => format!("{first} (and 1 other pod): {reasons}"),
            others => format!("{first} (and {others} other pods): {reasons}"),
        })
        .collect();
    pods.sort_unstable();
    let mut warnings = Vec::new();
    if stored.len() > CHECKED_MAX {
        warnings.push(format!(
            "new PodSecurity enforce level only checked against the first {CHECKED_MAX} of {} existing pods",
            stored.len()
        ));
    }
    if !pods.is_empty() {
        let standard = standard.to_string();
        warnings.push(format!(
            "existing pods in namespace {namespace:?} violate the new PodSecurity enforce level {standard:?}"
        ));
    }
    warnings.extend(pods);
    warnings
}

/// All, or if they are too many, one of each owner before the others.
fn chosen(stored: &[Bytes]) -> impl Iterator<Item = &Bytes> {
    let mut others = Vec::new();
    let mut first = Vec::new();
    if stored.len() <= CHECKED_MAX {
        first.extend(stored);
    } else {
        let mut seen = HashSet::new();
        for json in stored {
            let alone = controller(json).is_none_or(|uid| seen.insert(uid));
            if alone { first.push(json) } else { others.push(json) }
        }
    }
    first.into_iter().chain(others).take(CHECKED_MAX)
}

/// The uid of the object that controls a pod. Nothing else is read.
fn controller(json: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Owned {
        metadata: Meta,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Meta {
        #[serde(default)]
        owner_references: Vec<Owner>,
    }
    #[derive(Deserialize)]
    struct Owner {
        uid: String,
        #[serde(default)]
        controller: bool,
    }
    let owned: Owned = serde_json::from_slice(json).ok()?;
    owned.metadata.owner_references.into_iter().find(|owner| owner.controller).map(|owner| owner.uid)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::policy::{Level, Version};
    use super::*;

    fn pod(name: &str, owner: &str, spec: &Value) -> Bytes {
        let owners = json!([{"apiVersion": "v1", "kind": "K", "name": "o", "uid": owner, "controller": true}]);
        let owners = if owner.is_empty() { json!([]) } else { owners };
        json!({"metadata": {"name": name, "ownerReferences": owners}, "spec": spec}).to_string().into()
    }
    const BASELINE: Standard = Standard { level: Level::Baseline, version: Version::Latest };

    #[test]
    fn a_change_counts_if_it_brings_another_program() {
        let container = |name: &str, image: &str| json!({"name": name, "image": image});
        let pod = |init: Value, main: Value, ephemeral: Value| -> Pod {
            let spec = json!({"initContainers": init, "containers": main, "ephemeralContainers": ephemeral});
            serde_json::from_value(json!({ "spec": spec })).unwrap()
        };
        let one = |image: &str| json!([container("a", image)]);
        let old = pod(one("x"), one("x"), one("x"));
        for (new, expected) in [
            (pod(one("x"), one("x"), one("x")), false),
            (pod(one("x"), one("x"), json!([])), false),
            (pod(one("y"), one("x"), one("x")), true),
            (pod(one("x"), one("y"), one("x")), true),
            (pod(one("x"), one("x"), one("y")), true),
            (pod(one("x"), json!([container("a", "x"), container("b", "x")]), one("x")), true),
            (pod(json!([]), one("x"), one("x")), true),
            (pod(one("x"), one("x"), json!([container("b", "x")])), true),
        ] {
            assert_eq!(is_significant(&new, &old), expected, "{new:?}");
        }
    }

    #[test]
    fn pods_are_told_of_by_what_is_wrong() {
        let (network, pid, good) = (
            json!({"hostNetwork": true, "containers": [{"name": "a", "securityContext": {"privileged": true}}]}),
            json!({"hostPID": true, "containers": []}),
            json!({"containers": []}),
        );
        let stored = [
            pod("d", "", &pid),
            pod("c", "", &network),
            pod("b", "", &network),
            pod("a", "", &good),
            pod("e", "", &network),
        ];
        assert_eq!(
            warnings("ns", BASELINE, &stored),
            [
                r#"existing pods in namespace "ns" violate the new PodSecurity enforce level "baseline:latest""#,
                "b (and 2 other pods): host namespaces, privileged",
                "d: host namespaces",
            ]
        );
        assert_eq!(
            warnings("ns", BASELINE, &stored[..2])[1..],
            ["c: host namespaces, privileged", "d: host namespaces"]
        );
        assert_eq!(warnings("ns", BASELINE, &stored[1..3])[1..], ["b (and 1 other pod): host namespaces, privileged"]);
        assert!(warnings("ns", BASELINE, &stored[3..4]).is_empty());
    }

    #[test]
    fn of_many_pods_one_of_each_owner_is_checked_first() {
        let good = json!({"containers": []});
        let mut stored: Vec<Bytes> = (0..CHECKED_MAX).map(|i| pod(&format!("a{i}"), "uid", &good)).collect();
        stored.push(pod("z", "other", &json!({"hostPID": true, "containers": []})));
        assert_eq!(
            warnings("ns", BASELINE, &stored),
            [
                "new PodSecurity enforce level only checked against the first 3000 of 3001 existing pods",
                r#"existing pods in namespace "ns" violate the new PodSecurity enforce level "baseline:latest""#,
                "z: host namespaces",
            ]
        );
    }
}
