//! What the kinds share that make pods: a selector, and a pod template that it must match.

use std::collections::BTreeMap;

use corten_api::{Problems, selector::Selector};
use k8s_openapi::api::core::v1::{PodSpec, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};

use super::path::Path;
use super::pod::validate::newer;
use super::warnings::Warnings;
use super::{Cell, Column, cells, check, pod};

const MISMATCH: &str = "`selector` does not match template `labels`";

/// The defaults of a pod template: all that a pod gets, but for what depends on the pod alone.
pub fn default_template(template: &mut PodTemplateSpec) {
    template.metadata.get_or_insert_default();
    pod::defaults::pod_spec(template.spec.get_or_insert_default());
}

/// A `LabelSelector` that must select something. `kind` names its owner in messages.
pub fn validate_selector(selector: &LabelSelector, kind: &str, at: &Path<'_>, problems: &mut Problems) {
    let empty = |n: Option<usize>| n.unwrap_or(0) == 0;
    let labels = selector.match_labels.as_ref().map(BTreeMap::len);
    let expressions = selector.match_expressions.as_ref().map(Vec::len);
    if *selector == LabelSelector::default() {
        problems.required(at, "");
    } else if empty(labels) && empty(expressions) {
        problems.invalid(at, selector, &format!("empty selector is invalid for {kind}"));
    } else {
        check::label_selector(problems, at, selector);
    }
}

/// A template whose pods the selector must find. `kind` names the owner in messages; `owner`: its metadata.
pub fn validate_template(
    template: &PodTemplateSpec,
    owner: &ObjectMeta,
    selector: &Selector,
    kind: &str,
    at: &Path<'_>,
    problems: &mut Problems,
) {
    validate_labels(template, selector, at, problems);
    validate_pod_template(template, owner, at, problems);
    validate_endless(template, kind, at, problems);
}

/// What users are told of a template that pods are made of, when it is new or may have changed; and of a new workload's name, if
/// its pods' names begin with it. `at`: of the template.
pub fn warnings(
    meta: &ObjectMeta,
    old: Option<&ObjectMeta>,
    names_pods: bool,
    template: Option<&PodTemplateSpec>,
    at: &Path<'_>,
) -> Warnings {
    let mut warnings = Warnings::default();
    if names_pods && old.is_none() {
        warnings.name_of_pods(meta);
    }
    if let Some(template) = template.filter(|_| old.is_none_or(|old| old.generation != meta.generation)) {
        pod::warnings::template(template, at, &mut warnings);
    }
    warnings
}

/// That the selector finds the template's pods.
pub fn validate_labels(template: &PodTemplateSpec, selector: &Selector, at: &Path<'_>, problems: &mut Problems) {
    let none = BTreeMap::new();
    let labels = template.metadata.as_ref().and_then(|m| m.labels.as_ref()).unwrap_or(&none);
    if !selector.matches(labels) {
        problems.invalid(at.field("metadata").field("labels"), labels, MISMATCH);
    }
}

/// That the template's pods run on until they are deleted.
pub fn validate_endless(template: &PodTemplateSpec, kind: &str, at: &Path<'_>, problems: &mut Problems) {
    let Some(spec) = &template.spec else { return };
    let spec_at = at.field("spec");
    let policy = check::text(spec.restart_policy.as_ref());
    if policy != "Always" {
        problems.unsupported(spec_at.field("restartPolicy"), policy, &["Always"]);
    }
    if spec.active_deadline_seconds.is_some() {
        let why = format!("activeDeadlineSeconds in {kind} is not Supported");
        problems.forbidden(spec_at.field("activeDeadlineSeconds"), &why);
    }
}

/// A template on its own. `owner`: the metadata of the object that has it.
pub fn validate_pod_template(template: &PodTemplateSpec, owner: &ObjectMeta, at: &Path<'_>, problems: &mut Problems) {
    let none = PodSpec::default();
    let (spec, spec_at, meta_at) = (template.spec.as_ref().unwrap_or(&none), at.field("spec"), at.field("metadata"));
    let annotations_at = meta_at.field("annotations");
    if let Some(meta) = &template.metadata {
        check::labels(problems, &meta_at.field("labels"), meta.labels.as_ref());
        check::annotations(problems, &annotations_at, meta.annotations.as_ref());
    }
    let of = pod::validate::Of::Template { meta: template.metadata.as_ref(), owner };
    pod::validate::validate(spec, of, &annotations_at, &spec_at, problems);
}

/// What an update is held to though what is stored may not be, unless it is.
pub fn validate_template_update(
    new: Option<&PodTemplateSpec>,
    old: Option<&PodTemplateSpec>,
    at: &Path<'_>,
    problems: &mut Problems,
) {
    let (Some(new), Some(old)) = (new, old) else { return };
    let none = PodSpec::default();
    let (meta_at, spec_at) = (at.field("metadata"), at.field("spec"));
    let at = newer::Paths { annotations: &meta_at.field("annotations"), spec: &spec_at };
    let [new, old] = [new, old].map(|template| newer::Described {
        spec: template.spec.as_ref().unwrap_or(&none),
        annotations: template.metadata.as_ref().and_then(|meta| meta.annotations.as_ref()),
    });
    newer::validate_update(new, old, at, problems);
}

/// Fields that are not served. `old`: the template that is stored, for updates.
pub fn drop_unserved(template: Option<&mut PodTemplateSpec>, old: Option<&PodTemplateSpec>) {
    if let Some(spec) = template.and_then(|template| template.spec.as_mut()) {
        pod::unserved::drop_from_spec(spec, old.and_then(|old| old.spec.as_ref()));
    }
}

/// `None`: it is malformed, which [`validate_selector`] reports.
pub fn parsed(selector: &LabelSelector) -> Option<Selector> {
    Selector::from_label_selector(Some(selector)).ok()
}

/// What a template's labels are held against, where one fault is told once: a selector that is missing finds no pod, and a
/// malformed one, which is reported as such, any.
pub fn selector_to_check(selector: &LabelSelector) -> Selector {
    if *selector == LabelSelector::default() {
        return Selector::nothing();
    }
    parsed(selector).unwrap_or_else(Selector::everything)
}

/// In its query form, for `status.selector` of a Scale.
pub fn query(selector: &LabelSelector) -> String {
    parsed(selector).map(|s| s.to_string()).unwrap_or_default()
}

/// A status's counts: none negative, no part larger than the whole, none available that is not ready.
pub fn validate_counts(counts: &[(&str, Option<i32>)], replicas: i32, problems: &mut Problems) {
    let at = Path::root("status");
    check::not_negative(problems, &at.field("replicas"), Some(replicas));
    for (field, count) in counts {
        check::not_negative(problems, &at.field(field), *count);
        if let Some(count) = count.filter(|n| *n > replicas) {
            problems.invalid(at.field(field), count, "cannot be greater than status.replicas");
        }
    }
    let of = |name: &str| counts.iter().find(|(field, _)| *field == name).and_then(|(_, count)| *count).unwrap_or(0);
    let available = of("availableReplicas");
    if available > of("readyReplicas") {
        problems.invalid(at.field("availableReplicas"), available, "cannot be greater than readyReplicas");
    }
}

/// How often names made from a template's hash were taken already: that never becomes less.
pub fn validate_collisions(new: Option<i32>, old: Option<i32>, problems: &mut Problems) {
    let at = Path::root("status.collisionCount");
    check::not_negative(problems, &at, new);
    if new < old {
        problems.invalid(at, new.unwrap_or(0), "cannot be decremented");
    }
}

/// What ReplicaSets and ReplicationControllers show.
pub const REPLICAS_COLUMNS: &[Column] = &[
    cells::NAME,
    cells::integer("Desired", "How many pods are wanted"),
    cells::integer("Current", "How many pods there are"),
    cells::integer("Ready", "How many of them are ready"),
    cells::AGE,
    cells::CONTAINERS,
    cells::IMAGES,
    cells::SELECTOR,
];

/// `[desired, current, ready]`: pods.
pub fn replicas_row(
    meta: &ObjectMeta,
    counts: [Option<i32>; 3],
    template: Option<&PodTemplateSpec>,
    selector: Cell,
    now_secs: i64,
) -> Vec<Cell> {
    let [desired, current, ready] = counts.map(|n| Cell::Int(n.unwrap_or(0).into()));
    let [containers, images] = cells::containers_and_images(template.and_then(|t| t.spec.as_ref()));
    vec![cells::name(meta), desired, current, ready, cells::age(meta, now_secs), containers, images, selector]
}
