//! The kinds that are served, grouped and ordered as discovery tells them.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use corten_api::Scope;

use super::remote::Described;
use crate::registry::apiregistration::priority::{self, Priority, by_version};
use crate::registry::apiregistration::routes::Routes;
use crate::registry::{ApiResource, Table, questions, subresource};
use crate::request::Verb;
use crate::usage;

const VERBS: &[&str] = &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
/// Of a kind whose objects go one by one.
const SINGLE_VERBS: &[&str] = &["create", "delete", "get", "list", "patch", "update", "watch"];
const CREATE: &[&str] = &["create"];

pub(super) struct Group<'t> {
    pub name: &'t str,
    pub versions: Vec<Version<'t>>,
}

pub(super) struct Version<'t> {
    pub name: &'t str,
    pub priority: Priority,
    pub served: Served<'t>,
}

/// By whom a version is served.
pub(super) enum Served<'t> {
    Here(Vec<Resource<'t>>),
    /// By another server. `None`: it has never said what it has.
    There(Option<&'t Described>),
}

impl Group<'_> {
    pub(super) fn group_version(&self, version: &str) -> String {
        if self.name.is_empty() { version.to_owned() } else { format!("{}/{version}", self.name) }
    }
}

pub(super) struct Resource<'t> {
    pub plural: &'t str,
    pub singular: &'t str,
    pub kind: &'t str,
    pub namespaced: bool,
    pub short_names: Vec<&'t str>,
    pub categories: Vec<&'t str>,
    pub verbs: &'static [&'static str],
    pub subresources: Vec<Sub<'t>>,
}

pub(super) struct Sub<'t> {
    pub name: &'t str,
    /// group, version, kind of what it takes and gives
    pub kind: (&'t str, &'t str, &'t str),
    /// The kind is of another group or version than the resource.
    pub foreign: bool,
    pub verbs: Vec<&'static str>,
}

fn resource_of(resource: &ApiResource) -> Resource<'_> {
    let own = (resource.group(), resource.version(), resource.kind());
    let sub = |name| {
        let known = subresource::of(resource.plural(), name);
        let (verbs, kind) = (known.verbs.iter().copied().map(Verb::as_str).collect(), known.kind.unwrap_or(own));
        Sub { name, kind, foreign: (kind.0, kind.1) != (own.0, own.1), verbs }
    };
    Resource {
        plural: resource.plural(),
        singular: &resource.names().singular,
        kind: resource.kind(),
        namespaced: resource.scope() == Scope::Namespaced,
        short_names: resource.names().short_names.iter().map(AsRef::as_ref).collect(),
        categories: resource.names().categories.iter().map(AsRef::as_ref).collect(),
        verbs: if resource.has_delete_collection() { VERBS } else { SINGLE_VERBS },
        subresources: resource.subresources().iter().map(|name| sub(&**name)).collect(),
    }
}

/// What is told of.
#[derive(Clone, Copy)]
pub(super) struct Told<'t> {
    pub table: &'t Table,
    pub routes: &'t Routes,
    /// By the names of APIServices.
    pub described: &'t HashMap<String, Arc<Described>>,
}

/// The groups that are found, whose versions nobody has ordered yet.
#[derive(Default)]
struct Found<'t>(Vec<Group<'t>>);

impl<'t> Found<'t> {
    fn versions(&mut self, name: &'t str) -> &mut Vec<Version<'t>> {
        let groups = &mut self.0;
        let at = groups.iter().position(|group| group.name == name).unwrap_or_else(|| {
            groups.push(Group { name, versions: Vec::new() });
            groups.len() - 1
        });
        &mut groups[at].versions
    }
    fn add(&mut self, group: &'t str, version: &'t str, priority: Priority, resource: Resource<'t>) {
        let versions = self.versions(group);
        let known = versions.iter_mut().find(|known| known.name == version).map(|known| &mut known.served);
        match known {
            Some(Served::Here(resources)) => resources.push(resource),
            // Another server's.
            Some(Served::There(_)) => {}
            None => versions.push(Version { name: version, priority, served: Served::Here(vec![resource]) }),
        }
    }
    /// As clients should prefer them: by what APIServices say of the first of a group.
    fn ordered(self) -> Vec<Group<'t>> {
        let mut groups = self.0;
        for group in &mut groups {
            group.versions.sort_by(|a, b| by_version((a.name, a.priority), (b.name, b.priority)));
            for version in &mut group.versions {
                if let Served::Here(resources) = &mut version.served {
                    resources.sort_by_key(|resource| resource.plural);
                }
            }
        }
        groups.sort_by_cached_key(|group| {
            let keys = group.versions.iter();
            keys.map(|v| (Reverse(v.priority.group), format!("{}.{}", v.name, group.name))).min()
        });
        groups
    }
}

/// All groups in the order that clients should prefer them.
pub(super) fn of(told: Told<'_>) -> Vec<Group<'_>> {
    let mut groups = Found::default();
    for remote in told.routes.iter() {
        let described = told.described.get(&remote.name).map(AsRef::as_ref);
        let served = Served::There(described);
        groups.versions(&remote.group).push(Version { name: &remote.version, priority: remote.priority, served });
    }
    // As its APIService says, once there is one.
    let said = |group: &str, version: &str, otherwise: Priority| {
        told.routes.priority_here(group, version).unwrap_or(otherwise)
    };
    let builtin = |group: &str, version: &str| said(group, version, priority::of_builtin(group, version));
    for resource in told.table.announced() {
        let (group, version) = (resource.group(), resource.version());
        let priority =
            if resource.is_custom() { said(group, version, priority::CUSTOM) } else { builtin(group, version) };
        groups.add(group, version, priority, resource_of(resource));
    }
    for q in questions::QUESTIONS {
        let resource = Resource {
            plural: q.plural,
            singular: q.plural.strip_suffix('s').unwrap_or_default(),
            kind: q.kind,
            namespaced: q.namespaced,
            short_names: Vec::new(),
            categories: Vec::new(),
            verbs: CREATE,
            subresources: Vec::new(),
        };
        groups.add(q.group, "v1", builtin(q.group, "v1"), resource);
    }
    for kind in usage::KINDS {
        let resource = Resource {
            plural: kind.plural(),
            singular: "",
            kind: kind.name(),
            namespaced: kind.namespaced(),
            short_names: Vec::new(),
            categories: Vec::new(),
            verbs: usage::VERBS,
            subresources: Vec::new(),
        };
        groups.add(usage::GROUP, usage::VERSION, builtin(usage::GROUP, usage::VERSION), resource);
    }
    groups.ordered()
}
