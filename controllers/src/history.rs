//! ControllerRevisions: the templates that StatefulSets and DaemonSets have had. `kubectl rollout` reads them and goes back.
//!
//! A revision's data is a strategic merge patch that brings its template back. The one whose template is the owner's present
//! one has the highest number.

pub mod apply;

use std::collections::BTreeSet;
use std::sync::Arc;

use corten_api::Object;
use corten_api::k8s_openapi::api::apps::v1::ControllerRevision;
use corten_api::k8s_openapi::api::core::v1::PodTemplateSpec;
use corten_api::k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use corten_api::k8s_openapi::apimachinery::pkg::runtime::RawExtension;
use corten_api::names::{fnv32a, safe_encode};
use serde_json::{Value, json};

/// On pods: which revision they were made from. On a DaemonSet's revisions: their hash.
pub const REVISION_LABEL: &str = "controller-revision-hash";
/// On a StatefulSet's revisions: their hash.
pub const HASH_LABEL: &str = "controller.kubernetes.io/hash";
/// What a hash and the `-` before it take of a name.
pub const HASH_MAX: usize = 1 + 10;

/// What a revision keeps of its owner.
pub fn data(template: &PodTemplateSpec) -> Value {
    // A template is plain data: making a value of it cannot fail, and an empty one the apiserver would take as it is.
    let mut template = serde_json::to_value(template).unwrap_or_else(|_| json!({}));
    template["$patch"] = "replace".into();
    json!({"spec": {"template": template}})
}

/// The template that a revision keeps; `None`: its data is not of this form.
pub fn template(revision: &ControllerRevision) -> Option<PodTemplateSpec> {
    let mut kept = revision.data.0.pointer("/spec/template")?.clone();
    kept.as_object_mut()?.remove("$patch");
    serde_json::from_value(kept).ok()
}

/// Whether a revision keeps this template. Programs in Go write zeros of fields that say nothing: these make no difference,
/// or pods would all be replaced when another program takes over.
pub fn is_of(revision: &ControllerRevision, template: &PodTemplateSpec) -> bool {
    plain(revision.data.0.clone()) == plain(data(template))
}

fn plain(mut data: Value) -> Value {
    let is_empty = |value: &Value| match value {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    };
    let Some(template) = data.pointer_mut("/spec/template").and_then(Value::as_object_mut) else { return data };
    for part in ["metadata", "spec"] {
        if let Some(map) = template.get_mut(part).and_then(Value::as_object_mut) {
            map.retain(|_, value| !is_empty(value));
        }
    }
    for list in ["containers", "initContainers"] {
        let containers = template.get_mut("spec").and_then(|spec| spec.get_mut(list)).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten().filter_map(Value::as_object_mut) {
            container.retain(|field, value| field != "resources" || !is_empty(value));
        }
    }
    template.retain(|_, value| !is_empty(value));
    data
}

/// A short name for a template. `collisions` makes another one when the name is taken.
pub fn hash(data: &Value, collisions: i32) -> String {
    safe_encode(fnv32a(format!("{data}{collisions}").as_bytes()))
}

pub fn number(revision: &ControllerRevision) -> i64 {
    revision.revision.unwrap_or(0)
}

/// Orders revisions oldest first.
pub fn sort(revisions: &mut [Arc<ControllerRevision>]) {
    revisions.sort_by_cached_key(|r| (number(r), r.created().map_or(i64::MAX, |t| t.0.as_second()), r.key()));
}

/// What a new revision is made from.
pub struct New<'a> {
    pub template: &'a PodTemplateSpec,
    pub collisions: i32,
    pub number: i64,
    /// The label that its hash stands in.
    pub hash_label: &'a str,
    /// How much of its owner's name its own may begin with.
    pub base_max: usize,
}

impl New<'_> {
    pub fn of<K: Object>(&self, owner: &K) -> ControllerRevision {
        let data = data(self.template);
        let hash = hash(&data, self.collisions);
        let base = &owner.name()[..owner.name().floor_char_boundary(self.base_max)];
        let mut labels = self.template.metadata.as_ref().and_then(|meta| meta.labels.clone()).unwrap_or_default();
        labels.insert(self.hash_label.to_owned(), hash.clone());
        ControllerRevision {
            metadata: ObjectMeta {
                name: Some(format!("{base}-{hash}")),
                namespace: owner.metadata().namespace.clone(),
                labels: Some(labels),
                // `kubernetes.io/change-cause` is among them, which `kubectl rollout history` shows.
                annotations: owner.metadata().annotations.clone(),
                owner_references: Some(vec![owner.controller_reference()]),
                ..ObjectMeta::default()
            },
            data: RawExtension(data),
            revision: Some(self.number),
        }
    }
}

/// What the history says of the present template.
#[derive(Clone, Debug, PartialEq)]
pub enum Present {
    /// This revision keeps it, and is the newest.
    Is(Arc<ControllerRevision>),
    /// This one keeps it and was followed by others: it is gone back to, and gets the next number.
    Again { revision: Arc<ControllerRevision>, number: i64 },
    /// None keeps it: one with this number has to be made.
    Missing { number: i64 },
}

/// `revisions`: oldest first.
pub fn present(revisions: &[Arc<ControllerRevision>], template: &PodTemplateSpec) -> Present {
    let wanted = plain(data(template));
    let (mut same, mut others) = (None, 0);
    for revision in revisions.iter().filter(|revision| !revision.is_deleting()) {
        if plain(revision.data.0.clone()) == wanted {
            same = Some(revision);
        } else {
            others = others.max(number(revision));
        }
    }
    match same {
        Some(same) if number(same) > others => Present::Is(Arc::clone(same)),
        Some(same) => Present::Again { revision: Arc::clone(same), number: others + 1 },
        None => Present::Missing { number: others + 1 },
    }
}

/// What has to be done to the history before anything is decided on pods.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    Create(Box<ControllerRevision>),
    /// Gives a revision that is gone back to its new number.
    Renumber {
        revision: Arc<ControllerRevision>,
        number: i64,
    },
}

/// Revisions beyond `limit` that nothing is made from any more, oldest first. `live`: names of those that something is;
/// `counted`: whether these count, too. A negative limit keeps all.
pub fn surplus(
    revisions: &[Arc<ControllerRevision>],
    limit: i32,
    live: &BTreeSet<String>,
    counted: bool,
) -> Vec<Arc<ControllerRevision>> {
    let Ok(limit) = usize::try_from(limit) else { return Vec::new() };
    let there = revisions.iter().filter(|revision| !revision.is_deleting());
    let (alive, idle): (Vec<_>, Vec<_>) = there.partition(|revision| live.contains(revision.name()));
    let kept = if counted { alive.len() } else { 0 };
    let surplus = (idle.len() + kept).saturating_sub(limit);
    idle.into_iter().take(surplus).cloned().collect()
}

/// Whose the revision is that has the name of a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is the new one: the answer to its creation was lost.
    Ours,
    /// It is an orphan with the same template, which can be adopted.
    Orphan,
    /// It has another template, or another owner: another name has to be found.
    Others,
}

pub fn taken(wanted: &ControllerRevision, there: &ControllerRevision) -> Taken {
    let owner = wanted.controller().map(|owner| owner.uid.as_str()).unwrap_or_default();
    let same = plain(wanted.data.0.clone()) == plain(there.data.0.clone());
    match there.controller() {
        _ if !same || there.is_deleting() => Taken::Others,
        None => Taken::Orphan,
        Some(controller) if controller.uid == owner => Taken::Ours,
        Some(_) => Taken::Others,
    }
}

/// Where a pod's label says which revision it was made from.
pub fn of_pod(labels: &crate::pods::Labels) -> &str {
    labels.get(REVISION_LABEL).map(String::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests;
