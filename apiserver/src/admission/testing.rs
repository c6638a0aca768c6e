//! For the plugins' own tests: one plugin, asked about one write to a cluster of a few objects.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::*;
use crate::registry::Registry;

/// Objects by `plural/namespace/name`, and what everybody may: `verb resource[/subresource] [namespace/]name`.
#[derive(Default)]
pub(super) struct World {
    objects: BTreeMap<String, Bytes>,
    pub(super) grants: Vec<&'static str>,
}

impl World {
    pub(super) fn of(objects: &[(&str, Value)]) -> Self {
        let objects = objects.iter().map(|(key, object)| ((*key).to_owned(), object.to_string().into())).collect();
        Self { objects, grants: Vec::new() }
    }
    pub(super) fn granting(grants: &[&'static str]) -> Self {
        Self { grants: grants.to_vec(), ..Self::default() }
    }
}

impl ClusterView for World {
    fn get(&self, _group: &str, plural: &str, namespace: &str, name: &str) -> Option<Bytes> {
        self.objects.get(&format!("{plural}/{namespace}/{name}")).cloned()
    }
    fn list(&self, _group: &str, plural: &str, namespace: &str) -> Vec<Bytes> {
        let prefix = if namespace.is_empty() { format!("{plural}/") } else { format!("{plural}/{namespace}/") };
        self.objects.iter().filter(|(key, _)| key.starts_with(&prefix)).map(|(_, json)| json.clone()).collect()
    }
    fn may(&self, _user: &User, verb: &str, target: &Target) -> bool {
        let slash = |text: &str| if text.is_empty() { String::new() } else { format!("{text}/") };
        let sub = if target.subresource.is_empty() { String::new() } else { format!("/{}", target.subresource) };
        let asked = format!("{verb} {}{sub} {}{}", target.resource, slash(&target.namespace), target.name);
        self.grants.contains(&asked.as_str())
    }
}

/// A write of objects of type `K`; null is none. `target`: `group/plural[/subresource] [namespace/]name`.
pub(super) struct Write<'a> {
    pub(super) verb: Verb,
    pub(super) target: &'a str,
    pub(super) new: Value,
    pub(super) old: Value,
}

/// What is to be stored after a write is admitted, or why it is not. `jane` writes.
pub(super) fn written<K: AnyObject + DeserializeOwned>(
    plugin: Plugin,
    world: &World,
    write: Write<'_>,
) -> Result<K, ApiError> {
    ask_for(&jane(), plugin, world, write).map(|(object, _)| object.unwrap())
}

/// The warnings of a write that is admitted, or why it is not. `jane` writes.
pub(super) fn ask<K: AnyObject + DeserializeOwned>(
    plugin: Plugin,
    world: &World,
    write: Write<'_>,
) -> Result<Vec<String>, ApiError> {
    ask_as::<K>(&jane(), plugin, world, write)
}

/// As `ask`, for somebody else.
pub(super) fn ask_as<K: AnyObject + DeserializeOwned>(
    user: &User,
    plugin: Plugin,
    world: &World,
    write: Write<'_>,
) -> Result<Vec<String>, ApiError> {
    ask_for::<K>(user, plugin, world, write).map(|(_, warnings)| warnings)
}

fn jane() -> User {
    User { name: "jane".into(), ..User::default() }
}

fn ask_for<K: AnyObject + DeserializeOwned>(
    user: &User,
    plugin: Plugin,
    world: &World,
    write: Write<'_>,
) -> Result<(Option<K>, Vec<String>), ApiError> {
    let (what, which) = write.target.split_once(' ').unwrap();
    let mut parts = what.split('/').map(str::to_owned);
    let (namespace, name) = which.split_once('/').unwrap_or(("", which));
    let mut next = || parts.next().unwrap_or_default();
    let target = Target {
        group: next(),
        version: "v1".into(),
        resource: next(),
        subresource: next(),
        namespace: namespace.into(),
        name: name.into(),
    };
    let read = |json: Value| (!json.is_null()).then(|| serde_json::from_value::<K>(json).unwrap());
    let (mut new, old) = (read(write.new), read(write.old));
    // No plugin that is tested so looks at it.
    let resource = Registry::default().find("", "v1", "pods").unwrap();
    let mut request = AdmissionRequest {
        user,
        verb: write.verb,
        target: &target,
        resource: &resource,
        object: new.as_mut().map(|new| new as &mut dyn AnyObject),
        old: old.as_ref().map(|old| old as &dyn AnyObject),
        view: world,
        warnings: Vec::new(),
    };
    plugin(&mut request).map_err(Refusal::into_error)?;
    let warnings = request.warnings;
    Ok((new, warnings))
}

#[test]
fn a_world_lists_a_namespace_or_all_of_them() {
    let world = World::of(&[("pods/a/x", 1.into()), ("pods/b/y", 2.into()), ("podsets/a/z", 3.into())]);
    assert_eq!(world.list("", "pods", "a"), ["1"]);
    assert_eq!(world.list("", "pods", ""), ["1", "2"]);
}
