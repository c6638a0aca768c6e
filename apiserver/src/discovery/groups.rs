//! The kinds that are served, grouped and ordered as discovery tells them.

use corten_api::Scope;

use crate::registry::custom::by_preference;
use crate::registry::{ApiResource, Table, questions, subresource};
use crate::request::Verb;
use crate::usage;

/// Groups that clients should look in first: a short name that two groups share means the earlier one's.
const ORDER: &[&str] = &[
    "",
    "apps",
    "events.k8s.io",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "autoscaling",
    "batch",
    "certificates.k8s.io",
    "networking.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "storage.k8s.io",
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "scheduling.k8s.io",
    "coordination.k8s.io",
    "node.k8s.io",
    "discovery.k8s.io",
];

const VERBS: &[&str] = &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
/// Of a kind whose objects go one by one.
const SINGLE_VERBS: &[&str] = &["create", "delete", "get", "list", "patch", "update", "watch"];
const CREATE: &[&str] = &["create"];

pub(super) struct Group<'t> {
    pub name: &'t str,
    pub versions: Vec<(&'t str, Vec<Resource<'t>>)>,
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

/// All groups in the order that clients should prefer them.
pub(super) fn of(table: &Table) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    let mut add = |name, version, resource| {
        let at = groups.iter().position(|g| g.name == name).unwrap_or_else(|| {
            groups.push(Group { name, versions: Vec::new() });
            groups.len() - 1
        });
        let versions = &mut groups[at].versions;
        match versions.iter_mut().find(|(v, _)| *v == version) {
            Some((_, list)) => list.push(resource),
            None => versions.push((version, vec![resource])),
        }
    };
    for resource in table.announced() {
        add(resource.group(), resource.version(), resource_of(resource));
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
        add(q.group, "v1", resource);
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
        add(usage::GROUP, usage::VERSION, resource);
    }
    // What users define is preferred by its versions' names; of the other groups the first version is.
    let is_ours = |group: &str| table.iter().any(|resource| !resource.is_custom() && resource.group() == group);
    for group in groups.iter_mut().filter(|group| !is_ours(group.name)) {
        group.versions.sort_by(|(one, _), (other, _)| by_preference(one, other));
    }
    for (_, resources) in groups.iter_mut().flat_map(|g| &mut g.versions) {
        resources.sort_by_key(|r| r.plural);
    }
    groups.sort_by_key(|g| (ORDER.iter().position(|o| *o == g.name).unwrap_or(ORDER.len()), g.name));
    groups
}
