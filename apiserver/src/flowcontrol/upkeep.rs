//! Which of the server's own priority levels and flow schemas must be made, brought up to date or deleted.
//!
//! The annotation `apf.kubernetes.io/autoupdate-spec` says of an object whether the server keeps its spec. The mandatory ones
//! it always keeps. A suggested one it keeps until an administrator changes the spec (which the generation tells, where
//! the annotation does not) or sets the annotation to false. One that carries `true`, and is no longer among those that the
//! server knows, was made by an older release and goes.
//!
//! <https://kubernetes.io/docs/concepts/cluster-administration/flow-control/#maintenance-of-the-mandatory-and-suggested-configuration-objects>.

use std::collections::HashMap;

use corten_api::Object;
use k8s_openapi::api::flowcontrol::v1::{FlowSchema, PriorityLevelConfiguration};

use crate::registry::flowcontrol::EXEMPT;
use crate::registry::flowcontrol::bootstrap::{AUTO_UPDATE, mandatory, suggested};

/// One write. What is updated or deleted is named with the resourceVersion that was seen: if it has changed meanwhile, the
/// write fails and the next look decides anew.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    Create(Kept),
    Update(Kept),
    Delete(Kept),
}

#[derive(Clone, Debug, PartialEq)]
pub enum Kept {
    Level(PriorityLevelConfiguration),
    Schema(FlowSchema),
}

/// In the order in which they are to be done: no schema is there before its level, and none longer.
pub fn decide(levels: &[PriorityLevelConfiguration], schemas: &[FlowSchema]) -> Vec<Action> {
    let (must, may) = (mandatory(), suggested());
    let (levels, schemas) = (by_name(levels), by_name(schemas));
    let mut actions = Vec::new();
    actions.extend(may.levels.iter().filter_map(|wanted| keep(wanted, &levels, false)));
    actions.extend(may.schemas.iter().filter_map(|wanted| keep(wanted, &schemas, false)));
    actions.extend(must.levels.iter().filter_map(|wanted| keep(wanted, &levels, true)));
    actions.extend(must.schemas.iter().filter_map(|wanted| keep(wanted, &schemas, true)));
    actions.extend(left_over(schemas, must.schemas.iter().chain(&may.schemas)));
    actions.extend(left_over(levels, must.levels.iter().chain(&may.levels)));
    actions
}

/// What `decide` must know of a kind.
trait Keepable: Object {
    /// Whether `self` has the spec of `wanted`, but for what is not the server's to say.
    fn has_spec_of(&self, wanted: &Self) -> bool;
    fn take_spec_of(&mut self, wanted: &Self);
    fn kept(self) -> Kept;
}

impl Keepable for PriorityLevelConfiguration {
    fn has_spec_of(&self, wanted: &Self) -> bool {
        if self.metadata.name.as_deref() != Some(EXEMPT) {
            return self.spec == wanted.spec;
        }
        // How large a share the exempt have, administrators say.
        let Some(exempt) = &self.spec.exempt else { return false };
        let mut wanted = wanted.spec.clone();
        wanted.exempt = Some(exempt.clone());
        self.spec == wanted
    }
    fn take_spec_of(&mut self, wanted: &Self) {
        self.spec = wanted.spec.clone();
    }
    fn kept(self) -> Kept {
        Kept::Level(self)
    }
}

impl Keepable for FlowSchema {
    fn has_spec_of(&self, wanted: &Self) -> bool {
        self.spec == wanted.spec
    }
    fn take_spec_of(&mut self, wanted: &Self) {
        self.spec = wanted.spec.clone();
    }
    fn kept(self) -> Kept {
        Kept::Schema(self)
    }
}

fn by_name<K: Object>(objects: &[K]) -> HashMap<&str, &K> {
    objects.iter().map(|object| (object.name(), object)).collect()
}

/// `None`: it is as it should be.
fn keep<K: Keepable>(wanted: &K, there: &HashMap<&str, &K>, is_mandatory: bool) -> Option<Action> {
    let Some(current) = there.get(wanted.name()).copied() else { return Some(Action::Create(wanted.clone().kept())) };
    let said = says(current);
    let keeps_spec = is_mandatory || said.unwrap_or_else(|| current.metadata().generation == Some(1));
    let is_outdated = keeps_spec && !current.has_spec_of(wanted);
    if !is_outdated && said == Some(keeps_spec) {
        return None;
    }
    let mut new = current.clone();
    if is_outdated {
        new.take_spec_of(wanted);
    }
    if said != Some(keeps_spec) {
        let annotations = new.metadata_mut().annotations.get_or_insert_default();
        annotations.insert(AUTO_UPDATE.into(), keeps_spec.to_string());
    }
    Some(Action::Update(new.kept()))
}

/// Those that a release before made and this one does not know.
fn left_over<'a, K: Keepable>(mut there: HashMap<&str, &K>, known: impl Iterator<Item = &'a K>) -> Vec<Action> {
    for one in known {
        there.remove(one.name());
    }
    let mut left: Vec<&K> = there.into_values().filter(|object| says(*object) == Some(true)).collect();
    left.sort_by(|a, b| a.name().cmp(b.name()));
    left.into_iter().map(|object| Action::Delete(object.clone().kept())).collect()
}

/// What the annotation says; `None`: nothing, or nothing that can be read.
fn says<K: Object>(object: &K) -> Option<bool> {
    parsed(object.annotation(AUTO_UPDATE)?)
}

/// In all the ways in which Go writes it.
fn parsed(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
