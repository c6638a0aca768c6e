//! A Job's pod as its template says, with what tells it from the others.

use corten_api::Object;
use corten_api::k8s_openapi::api::batch::v1::{Job, JobSpec};
use corten_api::k8s_openapi::api::core::v1::{Container, EnvVar, EnvVarSource, ObjectFieldSelector, Pod};
use corten_api::k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use corten_api::names;

use super::scale::NewPod;
use crate::pods::of_job::{COMPLETION_INDEX, INDEX_FAILURES, INDEX_IGNORED_FAILURES, TRACKING_FINALIZER};

const INDEX_ENV: &str = "JOB_COMPLETION_INDEX";

/// With this its names begin: those of Indexed Jobs tell the index, however long the Job's own name is.
pub fn name_base(job: &str, index: Option<i32>) -> String {
    let Some(index) = index else { return format!("{job}-") };
    let end = format!("-{index}-");
    let room = names::GENERATED_BASE_MAX.saturating_sub(end.len());
    format!("{}{end}", &job[..job.floor_char_boundary(room)])
}

/// Without a spec the apiserver refuses it.
pub fn pod_of(job: &Job, name: &str, new: &NewPod) -> Pod {
    let none = JobSpec::default();
    let of_job = job.spec.as_ref().unwrap_or(&none);
    let template = of_job.template.metadata.clone().unwrap_or_default();
    let mut pod = Pod {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            // Upstream's pods have it, and tools look for it.
            generate_name: Some(name_base(job.name(), new.index)),
            namespace: job.metadata.namespace.clone(),
            labels: template.labels,
            annotations: template.annotations,
            finalizers: template.finalizers,
            owner_references: Some(vec![job.controller_reference()]),
            ..ObjectMeta::default()
        },
        spec: of_job.template.spec.clone(),
        status: None,
    };
    let finalizers = pod.metadata.finalizers.get_or_insert_default();
    if !finalizers.iter().any(|finalizer| finalizer == TRACKING_FINALIZER) {
        finalizers.push(TRACKING_FINALIZER.into());
    }
    if let Some(index) = new.index {
        give_index(&mut pod, job.name(), index);
        if of_job.backoff_limit_per_index.is_some() {
            give_failures(&mut pod, new);
        }
    }
    pod
}

fn give_index(pod: &mut Pod, job: &str, index: i32) {
    for map in [&mut pod.metadata.annotations, &mut pod.metadata.labels] {
        map.get_or_insert_default().insert(COMPLETION_INDEX.into(), index.to_string());
    }
    let Some(spec) = &mut pod.spec else { return };
    spec.hostname = Some(format!("{job}-{index}"));
    spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten()).for_each(give_env);
}

/// Who has set the variable itself keeps it.
fn give_env(container: &mut Container) {
    let env = container.env.get_or_insert_default();
    if env.iter().any(|var| var.name == INDEX_ENV) {
        return;
    }
    let field_ref = ObjectFieldSelector {
        field_path: format!("metadata.labels['{COMPLETION_INDEX}']"),
        ..ObjectFieldSelector::default()
    };
    let value_from = Some(EnvVarSource { field_ref: Some(field_ref), ..EnvVarSource::default() });
    env.push(EnvVar { name: INDEX_ENV.into(), value: None, value_from });
}

fn give_failures(pod: &mut Pod, new: &NewPod) {
    let annotations = pod.metadata.annotations.get_or_insert_default();
    annotations.insert(INDEX_FAILURES.into(), new.failures.to_string());
    if new.ignored_failures > 0 {
        annotations.insert(INDEX_IGNORED_FAILURES.into(), new.ignored_failures.to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pods::SeenPod;
    use serde_json::{Value, json};

    fn pod(spec: &Value, new: NewPod) -> Value {
        let mut all = json!({"template": {
            "metadata": {"labels": {"a": "b"}, "finalizers": ["example.com/x"]},
            "spec": {"initContainers": [{"name": "i"}], "containers": [{"name": "c", "env": [{"name": INDEX_ENV, "value": "mine"}]}]},
        }});
        spec.as_object().unwrap().iter().for_each(|(field, value)| all[field] = value.clone());
        let job = json!({"metadata": {"name": "j", "namespace": "ns", "uid": "u"}, "spec": all});
        serde_json::to_value(pod_of(&serde_json::from_value(job).unwrap(), "j-x", &new)).unwrap()
    }

    #[test]
    fn a_pod_is_held_until_it_is_counted() {
        let pod = pod(&json!({}), NewPod::default());
        assert_eq!(pod["metadata"]["finalizers"], json!(["example.com/x", TRACKING_FINALIZER]));
        assert_eq!(pod["metadata"]["ownerReferences"][0]["uid"], "u");
        assert_eq!((&pod["metadata"]["labels"], &pod["metadata"]["generateName"]), (&json!({"a": "b"}), &json!("j-")));
        assert!(pod["spec"].get("hostname").is_none());
    }

    #[test]
    fn a_pod_with_an_index_says_so_everywhere() {
        let new = NewPod { index: Some(7), failures: 2, ignored_failures: 1 };
        let limited = pod(&json!({"backoffLimitPerIndex": 3}), new.clone());
        let meta = &limited["metadata"];
        assert_eq!(
            (&meta["labels"][COMPLETION_INDEX], &meta["annotations"][COMPLETION_INDEX]),
            (&json!("7"), &json!("7"))
        );
        assert_eq!((&limited["spec"]["hostname"], &meta["generateName"]), (&json!("j-7"), &json!("j-7-")));
        let path = &limited["spec"]["initContainers"][0]["env"][0]["valueFrom"]["fieldRef"]["fieldPath"];
        assert_eq!(path, "metadata.labels['batch.kubernetes.io/job-completion-index']");
        assert_eq!(limited["spec"]["containers"][0]["env"], json!([{"name": INDEX_ENV, "value": "mine"}]));
        let seen = SeenPod::of(serde_json::from_value(limited).unwrap()).of_job.unwrap();
        assert_eq!((seen.index, seen.index_failures, seen.index_ignored_failures), (Some(7), 2, 1), "read as written");
        let unlimited = pod(&json!({}), new);
        assert!(unlimited["metadata"]["annotations"].get(INDEX_FAILURES).is_none());
    }

    #[test]
    fn names_tell_the_index_however_long_the_jobs_is() {
        let long = "j".repeat(63);
        for (job, index, expected) in [
            ("web", None, "web-".to_owned()),
            ("web", Some(12), "web-12-".to_owned()),
            (long.as_str(), Some(12), format!("{}-12-", "j".repeat(54))),
        ] {
            assert_eq!(name_base(job, index), expected);
        }
    }
}
