//! What `pods/ephemeralcontainers` may write: one more container for debugging. Those that are there stay as they are.
//!
//! <https://kubernetes.io/docs/concepts/workloads/pods/ephemeral-containers/>

use std::collections::HashMap;

use corten_api::{Problems, pod};
use k8s_openapi::api::core::v1::Pod;

use crate::registry::difference;

const AT: &str = "spec.ephemeralContainers";

pub fn prepare(new: &mut Pod, old: &Pod) {
    let wanted = new.spec.take().and_then(|spec| spec.ephemeral_containers);
    new.spec.clone_from(&old.spec);
    if let Some(spec) = &mut new.spec {
        spec.ephemeral_containers = wanted;
    }
}

pub fn validate(new: &Pod, old: &Pod, problems: &mut Problems) {
    if pod::is_mirror(old) {
        return problems.forbidden("", "static pods do not support ephemeral containers");
    }
    let all = |pod: &'_ Pod| pod.spec.as_ref().and_then(|spec| spec.ephemeral_containers.clone()).unwrap_or_default();
    // A patch may have put them in another order.
    let new: HashMap<_, _> = all(new).into_iter().map(|container| (container.name.clone(), container)).collect();
    for old in all(old) {
        match new.get(&old.name) {
            None => {
                problems.forbidden(AT, &format!("existing ephemeral containers {:?} may not be removed\n", old.name));
            }
            Some(new) if *new != old => {
                let lines = difference::fields(new, &old);
                let why = format!("existing ephemeral containers {:?} may not be changed\n{lines}", old.name);
                problems.forbidden(AT, &why);
            }
            Some(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::registry::check::testing::{defaulted, prepare, texts};
    use crate::registry::{Kind, Part, Strategy};

    fn pod(debuggers: &Value) -> Pod {
        let spec =
            json!({"nodeName": "n", "containers": [{"name": "a", "image": "x"}], "ephemeralContainers": debuggers});
        defaulted(&json!({"metadata": {"name": "p", "labels": {"is": "old"}}, "spec": spec}).to_string())
    }

    #[test]
    fn debuggers_are_added_and_stay_as_they_are() {
        let one = |name: &str, image: &str| json!({"name": name, "image": image, "targetContainerName": "a"});
        let (a, b) = (one("d1", "x"), one("d2", "x"));
        let changed = r#"spec.ephemeralContainers: Forbidden: existing ephemeral containers "d1" may not be changed"#;
        let removed = r#"spec.ephemeralContainers: Forbidden: existing ephemeral containers "d1" may not be removed"#;
        for (why, old, new, expected) in [
            ("the first", json!([]), json!([a]), ""),
            ("one more, in front", json!([a]), json!([b, a]), ""),
            ("nothing", json!([a]), json!([a]), ""),
            ("another image", json!([a]), json!([one("d1", "y")]), changed),
            ("one less", json!([a, b]), json!([b]), removed),
        ] {
            let (old, mut new) = (pod(&old), pod(&new));
            prepare(Strategy::Part(Part::EphemeralContainers, &old), &mut new);
            let mut problems = Problems::default();
            new.validate_part(Part::EphemeralContainers, &old, &mut problems);
            let found = texts(&problems);
            match expected {
                "" => assert_eq!(found, Vec::<String>::new(), "{why}"),
                expected => assert!(found.len() == 1 && found[0].starts_with(expected), "{why}: {found:?}"),
            }
        }
    }

    #[test]
    fn nothing_else_is_written() {
        let old = pod(&json!([]));
        let mut new = pod(&json!([{"name": "d", "image": "x"}]));
        new.metadata.labels = None;
        new.spec.as_mut().unwrap().containers[0].image = Some("other".into());
        prepare(Strategy::Part(Part::EphemeralContainers, &old), &mut new);
        assert_eq!(new.metadata, old.metadata);
        let spec = new.spec.as_mut().unwrap();
        assert_eq!(spec.ephemeral_containers.take().map(|list| list[0].name.clone()).as_deref(), Some("d"));
        assert_eq!(spec.containers, old.spec.as_ref().unwrap().containers);
    }

    #[test]
    fn a_static_pod_has_none() {
        let mut old = pod(&json!([]));
        old.metadata.annotations = Some([(pod::MIRROR_ANNOTATION.to_owned(), "x".to_owned())].into());
        let mut problems = Problems::default();
        old.validate_part(Part::EphemeralContainers, &old, &mut problems);
        assert_eq!(texts(&problems), [": Forbidden: static pods do not support ephemeral containers"]);
    }
}
