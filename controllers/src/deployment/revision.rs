//! Templates, their hashes, revisions and the annotations by which `kubectl rollout` reads history.

use std::collections::BTreeMap;
use std::sync::Arc;

use corten_api::Object;
use corten_api::k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use corten_api::k8s_openapi::api::core::v1::PodTemplateSpec;
use corten_api::k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use corten_api::names::{fnv32a, safe_encode};

pub const HASH_LABEL: &str = "pod-template-hash";
pub const REVISION: &str = "deployment.kubernetes.io/revision";
pub const REVISION_HISTORY: &str = "deployment.kubernetes.io/revision-history";
pub const DESIRED_REPLICAS: &str = "deployment.kubernetes.io/desired-replicas";
pub const MAX_REPLICAS: &str = "deployment.kubernetes.io/max-replicas";
const NOT_COPIED: &[&str] = &[
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    REVISION_HISTORY,
    DESIRED_REPLICAS,
    MAX_REPLICAS,
    "deprecated.deployment.rollback.to",
];
/// The revision-history annotation forgets its oldest entries beyond this.
const REVISION_HISTORY_MAX_BYTES: usize = 2000;
/// The longest deployment name that leaves room for `-` and the hash in a ReplicaSet's name.
const NAME_BASE_MAX: usize = 253 - 1 - 10;

type Annotations = BTreeMap<String, String>;

/// A short name for a template. The same template has the same hash for as long as the types' serialised form stays;
/// `collisions` makes another one when the name is taken by another template.
pub fn hash(template: &PodTemplateSpec, collisions: i32) -> String {
    // A template is plain data: serialising it to memory cannot fail, and an empty text would only cost a collision.
    let mut text = serde_json::to_vec(template).unwrap_or_default();
    text.extend_from_slice(collisions.to_string().as_bytes());
    safe_encode(fnv32a(&text))
}

/// Whether two templates make the same pods.
pub fn same_template(a: &PodTemplateSpec, b: &PodTemplateSpec) -> bool {
    plain(a) == plain(b)
}

/// The template as values, without our own label and without what is empty: absent and empty mean the same.
fn plain(template: &PodTemplateSpec) -> serde_json::Value {
    let mut value = serde_json::to_value(template).unwrap_or_default();
    if let Some(labels) = value.pointer_mut("/metadata/labels").and_then(|l| l.as_object_mut()) {
        labels.remove(HASH_LABEL);
    }
    if let Some(meta) = value.get_mut("metadata").and_then(|m| m.as_object_mut()) {
        meta.remove("creationTimestamp");
    }
    prune(&mut value);
    value
}

/// Drops what is an empty list or map at the top two levels where defaulting adds such; an empty
/// `emptyDir: {}` deeper down has a meaning and stays.
fn prune(value: &mut serde_json::Value) {
    use serde_json::Value;
    let empty = |v: &Value| match v {
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    };
    let Some(parts) = value.as_object_mut() else { return };
    for part in ["metadata", "spec"] {
        if let Some(map) = parts.get_mut(part).and_then(Value::as_object_mut) {
            map.retain(|_, v| !empty(v));
        }
    }
    parts.retain(|_, v| !empty(v));
}

pub fn revision_of<K: Object>(object: &K) -> i64 {
    object.annotation(REVISION).and_then(|r| r.parse().ok()).unwrap_or(0)
}

/// The ReplicaSet of the deployment's present template: the oldest, should there be several.
pub fn find_new<'a>(deployment: &Deployment, sets: &'a [Arc<ReplicaSet>]) -> Option<&'a Arc<ReplicaSet>> {
    let wanted = plain(&deployment.spec.template);
    let template = |set: &'a ReplicaSet| set.spec.template.as_ref();
    sets.iter().filter(|set| template(set).is_some_and(|t| plain(t) == wanted)).min_by_key(|set| age_key(set))
}

/// Orders ReplicaSets oldest first.
pub fn age_key(set: &ReplicaSet) -> (i64, String) {
    (set.created().map_or(i64::MAX, |t| t.0.as_second()), set.name().to_owned())
}

/// The annotations that the new ReplicaSet should have, from those it has: the deployment's own, and its revision,
/// which only ever rises. A ReplicaSet that is rolled back to gets a new revision and remembers the old one.
pub fn set_annotations(deployment: &Deployment, have: Option<&Annotations>, revision: i64) -> Annotations {
    let mut annotations = have.cloned().unwrap_or_default();
    let own = deployment.metadata.annotations.iter().flatten();
    annotations.extend(own.filter(|(k, _)| !NOT_COPIED.contains(&k.as_str())).map(|(k, v)| (k.clone(), v.clone())));
    let old = annotations.get(REVISION).cloned();
    let old_number = old.as_deref().and_then(|r| r.parse::<i64>().ok()).unwrap_or(0);
    if old_number < revision {
        annotations.insert(REVISION.into(), revision.to_string());
        if let Some(old) = old.filter(|_| old_number > 0) {
            let history = annotations.get(REVISION_HISTORY).map(String::as_str);
            annotations.insert(REVISION_HISTORY.into(), remembered(history, &old));
        }
    }
    annotations
}

fn remembered(history: Option<&str>, revision: &str) -> String {
    let mut entries: Vec<&str> = history.into_iter().flat_map(|h| h.split(',')).filter(|e| !e.is_empty()).collect();
    if !entries.contains(&revision) {
        entries.push(revision);
    }
    while entries.join(",").len() > REVISION_HISTORY_MAX_BYTES {
        entries.remove(0);
    }
    entries.join(",")
}

/// The sizes that a ReplicaSet is scaled by, written on it so that proportions can be kept later.
pub fn scale_annotations(wanted: i32, surge: i32) -> [(&'static str, String); 2] {
    [(DESIRED_REPLICAS, wanted.to_string()), (MAX_REPLICAS, (wanted + surge).to_string())]
}

/// The ReplicaSet for the deployment's present template.
pub fn new_set(deployment: &Deployment, revision: i64, replicas: i32, surge: i32) -> ReplicaSet {
    let spec = deployment.spec.clone();
    let collisions = deployment.status.as_ref().and_then(|s| s.collision_count).unwrap_or(0);
    let hash = hash(&spec.template, collisions);
    let base = &deployment.name()[..deployment.name().floor_char_boundary(NAME_BASE_MAX)];
    let mut template = spec.template;
    let meta = template.metadata.get_or_insert_default();
    let labels = meta.labels.get_or_insert_default();
    labels.insert(HASH_LABEL.into(), hash.clone());
    let mut annotations = set_annotations(deployment, None, revision);
    let wanted = spec.replicas.unwrap_or(1);
    annotations.extend(scale_annotations(wanted, surge).map(|(k, v)| (k.to_owned(), v)));
    ReplicaSet {
        metadata: ObjectMeta {
            name: Some(format!("{base}-{hash}")),
            namespace: deployment.metadata.namespace.clone(),
            labels: Some(labels.clone()),
            annotations: Some(annotations),
            owner_references: Some(vec![deployment.controller_reference()]),
            ..ObjectMeta::default()
        },
        spec: k8s_openapi::api::apps::v1::ReplicaSetSpec {
            min_ready_seconds: spec.min_ready_seconds,
            replicas: Some(replicas),
            selector: with_hash(spec.selector, &hash),
            template: Some(template),
        },
        status: None,
    }
}

fn with_hash(mut selector: LabelSelector, hash: &str) -> LabelSelector {
    selector.match_labels.get_or_insert_default().insert(HASH_LABEL.into(), hash.into());
    selector
}

#[cfg(test)]
mod tests {
    use super::*;
    use corten_api::k8s_openapi::api::core::v1::{Container, PodSpec};
    use corten_api::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use jiff::Timestamp;

    fn template(image: &str) -> PodTemplateSpec {
        let container = Container { name: "web".into(), image: Some(image.into()), ..Container::default() };
        PodTemplateSpec {
            metadata: Some(ObjectMeta { labels: Some([("app".into(), "web".into())].into()), ..Default::default() }),
            spec: Some(PodSpec { containers: vec![container], ..PodSpec::default() }),
        }
    }

    #[test]
    fn the_hash_label_and_empty_parts_make_no_difference() {
        let mut labelled = template("a");
        let labels = labelled.metadata.get_or_insert_default().labels.get_or_insert_default();
        labels.insert(HASH_LABEL.into(), "x".into());
        labelled.spec.get_or_insert_default().volumes = Some(vec![]);
        assert!(same_template(&template("a"), &labelled));
        assert!(!same_template(&template("a"), &template("b")));
        assert_eq!(hash(&template("a"), 0), hash(&template("a"), 0));
        assert_ne!(hash(&template("a"), 0), hash(&template("a"), 1), "a collision gives another name");
    }

    #[test]
    fn annotations_table() {
        let notes = |pairs: &[(&str, &str)]| -> Annotations {
            pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
        };
        let mut deployment = Deployment::default();
        deployment.metadata.annotations =
            Some(notes(&[("team", "x"), (REVISION, "9"), ("kubectl.kubernetes.io/last-applied-configuration", "{}")]));
        let cases = [
            ("new: own annotations and the revision", notes(&[]), 1, notes(&[("team", "x"), (REVISION, "1")])),
            (
                "the same revision: nothing new",
                notes(&[("team", "x"), (REVISION, "2")]),
                2,
                notes(&[("team", "x"), (REVISION, "2")]),
            ),
            (
                "rolled back to: a new revision, the old one remembered",
                notes(&[(REVISION, "1")]),
                3,
                notes(&[("team", "x"), (REVISION, "3"), (REVISION_HISTORY, "1")]),
            ),
            (
                "twice",
                notes(&[(REVISION, "3"), (REVISION_HISTORY, "1")]),
                5,
                notes(&[("team", "x"), (REVISION, "5"), (REVISION_HISTORY, "1,3")]),
            ),
            (
                "a third time: each is remembered once",
                notes(&[(REVISION, "3"), (REVISION_HISTORY, "1,3")]),
                7,
                notes(&[("team", "x"), (REVISION, "7"), (REVISION_HISTORY, "1,3")]),
            ),
            ("never backwards", notes(&[(REVISION, "7")]), 3, notes(&[("team", "x"), (REVISION, "7")])),
            (
                "what is no revision is not remembered",
                notes(&[(REVISION, "0")]),
                1,
                notes(&[("team", "x"), (REVISION, "1")]),
            ),
        ];
        for (why, have, revision, expected) in cases {
            assert_eq!(set_annotations(&deployment, Some(&have), revision), expected, "{why}");
        }
    }

    #[test]
    fn absent_and_empty_are_the_same_template_only_where_defaulting_adds_such() {
        let volumes = |list: serde_json::Value| -> PodTemplateSpec {
            serde_json::from_value(serde_json::json!({"spec": {"containers": [], "volumes": list}})).unwrap()
        };
        let scratch = volumes(serde_json::json!([{"name": "x", "emptyDir": {}}]));
        assert!(!same_template(&scratch, &volumes(serde_json::json!([{"name": "x"}]))), "a volume needs its source");
        let mut dressed = template("a");
        dressed.spec.get_or_insert_default().security_context = Some(Default::default());
        assert!(same_template(&template("a"), &dressed), "an empty map");
        let bare = PodTemplateSpec { metadata: None, ..template("a") };
        let mut timed = PodTemplateSpec { metadata: Some(ObjectMeta::default()), ..template("a") };
        assert!(same_template(&bare, &timed), "empty metadata");
        timed.metadata.get_or_insert_default().creation_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
        assert!(same_template(&bare, &timed), "a time that some clients send");
        timed.metadata.get_or_insert_default().labels = Some([(HASH_LABEL.to_owned(), "x".to_owned())].into());
        assert!(same_template(&bare, &timed), "our own label alone");
    }

    #[test]
    fn history_forgets_its_oldest_beyond_its_limit() {
        // Nine digits and a comma each, but the last: 1,999 bytes.
        let entries: Vec<String> = (0..200).map(|n| format!("{:09}", n + 1)).collect();
        let full = entries.join(",");
        let all_but_first = |n: usize| entries[n..].join(",");
        assert_eq!(remembered(None, "1"), "1");
        assert_eq!(remembered(Some(""), "1"), "1");
        assert_eq!(remembered(Some(&all_but_first(1)), "7654321").len(), 1997);
        assert_eq!(remembered(Some(&all_but_first(1)), "7654321890"), format!("{},7654321890", all_but_first(1)));
        assert_eq!(remembered(Some(&all_but_first(1)), "76543218901"), format!("{},76543218901", all_but_first(2)));
        assert_eq!(remembered(Some(&full), "9"), format!("{},9", all_but_first(1)));
    }

    fn set(name: &str, created_secs: Option<i64>, image: &str) -> Arc<ReplicaSet> {
        let mut set = new_set(&deployment(image), 1, 1, 0);
        set.metadata.name = Some(name.into());
        set.metadata.creation_timestamp = created_secs.map(|s| Time(Timestamp::from_second(s).unwrap()));
        Arc::new(set)
    }
    fn deployment(image: &str) -> Deployment {
        let spec = k8s_openapi::api::apps::v1::DeploymentSpec {
            replicas: Some(4),
            min_ready_seconds: Some(7),
            template: template(image),
            ..Default::default()
        };
        let metadata = ObjectMeta {
            name: Some("web".into()),
            namespace: Some("shop".into()),
            uid: Some("d".into()),
            ..ObjectMeta::default()
        };
        Deployment { metadata, spec, status: None }
    }

    #[test]
    fn the_new_set_is_the_oldest_of_the_present_template() {
        let cases = [
            ("none", vec![set("a", Some(1), "other")], None),
            ("the one", vec![set("a", Some(1), "other"), set("b", Some(2), "one")], Some("b")),
            ("the oldest", vec![set("a", Some(2), "one"), set("b", Some(1), "one")], Some("b")),
            ("of one age the first by name", vec![set("b", Some(1), "one"), set("a", Some(1), "one")], Some("a")),
            (
                "one that is just being made is the newest",
                vec![set("a", None, "one"), set("b", Some(9), "one")],
                Some("b"),
            ),
        ];
        for (why, sets, expected) in cases {
            assert_eq!(find_new(&deployment("one"), &sets).map(|s| s.name()), expected, "{why}");
        }
    }

    #[test]
    fn a_set_is_made_as_kubectl_and_its_controller_want_it() {
        let mut deployment = deployment("one");
        let made = new_set(&deployment, 3, 2, 1);
        let hash = hash(&template("one"), 0);
        assert_eq!((made.name(), made.metadata.namespace.as_deref()), (format!("web-{hash}").as_str(), Some("shop")));
        assert!(made.is_controlled_by("d"));
        let notes = [(REVISION, "3"), (DESIRED_REPLICAS, "4"), (MAX_REPLICAS, "5")];
        assert_eq!(notes.map(|(name, _)| made.annotation(name)), notes.map(|(_, value)| Some(value)));
        let spec = made.spec.clone();
        assert_eq!((spec.replicas, spec.min_ready_seconds), (Some(2), Some(7)));
        let own = Some([(HASH_LABEL.to_owned(), hash.clone())].into());
        assert_eq!(spec.selector.match_labels, own, "its pods are its own");
        let labels = Some([("app".to_owned(), "web".to_owned()), (HASH_LABEL.to_owned(), hash.clone())].into());
        assert_eq!(made.metadata.labels, labels);
        assert_eq!(spec.template.unwrap().metadata.unwrap().labels, labels, "its selector finds its pods");

        deployment.status =
            Some(k8s_openapi::api::apps::v1::DeploymentStatus { collision_count: Some(1), ..Default::default() });
        assert_ne!(new_set(&deployment, 3, 2, 1).name(), made.name(), "a name that was taken is not tried again");
        deployment.metadata.name = Some("x".repeat(253));
        assert!(new_set(&deployment, 3, 2, 1).name().len() <= 253, "a long name leaves room for the hash");
    }
}
