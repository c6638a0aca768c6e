//! For the plugins' own tests: one plugin, asked about one write to a cluster of a few objects.

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::*;
use crate::registry::Registry;
use crate::view::testing::Cluster;

/// A write of objects of type `K`; null is none. `target`: `group/plural[/subresource] [namespace/]name`.
pub(super) struct Write<'a> {
    pub(super) verb: Verb,
    pub(super) target: &'a str,
    pub(super) new: Value,
    pub(super) old: Value,
}

/// What is to be stored after a write is admitted, or why it is not. `jane` writes.
pub(super) fn written<K: AnyObject + DeserializeOwned>(
    plugin: Pure,
    cluster: &Cluster,
    write: Write<'_>,
) -> Result<K, ApiError> {
    ask_for(&jane(), plugin, cluster, write).map(|(object, _)| object.unwrap())
}

/// The warnings of a write that is admitted, or why it is not. `jane` writes.
pub(super) fn ask<K: AnyObject + DeserializeOwned>(
    plugin: Pure,
    cluster: &Cluster,
    write: Write<'_>,
) -> Result<Vec<String>, ApiError> {
    ask_as::<K>(&jane(), plugin, cluster, write)
}

/// As `ask`, for somebody else.
pub(super) fn ask_as<K: AnyObject + DeserializeOwned>(
    user: &User,
    plugin: Pure,
    cluster: &Cluster,
    write: Write<'_>,
) -> Result<Vec<String>, ApiError> {
    ask_for::<K>(user, plugin, cluster, write).map(|(_, warnings)| warnings)
}

fn jane() -> User {
    User { name: "jane".into(), ..User::default() }
}

fn ask_for<K: AnyObject + DeserializeOwned>(
    user: &User,
    plugin: Pure,
    cluster: &Cluster,
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
        view: cluster,
        warnings: Vec::new(),
    };
    plugin(&mut request).map_err(Refusal::into_error)?;
    let warnings = request.warnings;
    Ok((new, warnings))
}
