//! The roles and bindings of the cluster, kept as objects come and go, and found by who has them.
//!
//! Upstream looks at every binding for every request. Here somebody's bindings are looked up: by his name, by each of his
//! groups, once for the cluster and once for the namespace that is asked about. A service account is a user by its name.

use std::fmt;
use std::sync::Arc;

use corten_api::Key;
use imbl::{HashMap, OrdMap};
use k8s_openapi::api::rbac::v1::{PolicyRule, RoleRef, Subject};
use serde::Deserialize;

use crate::authn::account::{USER_PREFIX, user_name};
use crate::request::User;

/// A snapshot is cheap to clone, and one owner changes his own.
///
/// What it costs: a change, the subjects of the binding that changes. A look-up, two for the user's name and two for each of
/// his groups, however many bindings there are; what is found are his bindings, and no others.
#[derive(Clone, Debug, Default)]
pub struct Index {
    /// ClusterRoles and ClusterRoleBindings.
    cluster: Scope,
    namespaces: HashMap<Arc<str>, Scope>,
}

/// The roles and bindings of one namespace, or those of none.
#[derive(Clone, Debug, Default)]
struct Scope {
    roles: HashMap<Arc<str>, Arc<[PolicyRule]>>,
    bindings: HashMap<Arc<str>, Arc<Binding>>,
    /// The same bindings, by the names of users.
    users: BySubject,
    groups: BySubject,
}

/// By the subject's name, and then by the binding's.
type BySubject = HashMap<Arc<str>, OrdMap<Arc<str>, Arc<Binding>>>;

/// What gives a role to subjects.
#[derive(Clone, Debug, PartialEq)]
pub struct Binding {
    /// Without a namespace it is a ClusterRoleBinding's.
    key: Key,
    role: RoleRef,
    subjects: Box<[Subject]>,
}

/// The kinds that the index is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    ClusterRoles,
    ClusterRoleBindings,
    Roles,
    RoleBindings,
}

/// Whom a subject means.
enum Identity {
    User(Arc<str>),
    Group(Arc<str>),
}

/// A binding whose role cannot be found gives nothing.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum RoleError {
    #[error("{}.rbac.authorization.k8s.io {name:?} not found", kind.to_lowercase())]
    NotFound { kind: String, name: String },
    #[error("unsupported role reference kind: {0:?}")]
    Kind(String),
}

impl Source {
    /// By the kind's place in the store.
    pub fn of(store_prefix: &str) -> Option<Self> {
        Some(match store_prefix {
            "clusterroles" => Self::ClusterRoles,
            "clusterrolebindings" => Self::ClusterRoleBindings,
            "roles" => Self::Roles,
            "rolebindings" => Self::RoleBindings,
            _ => return None,
        })
    }
    /// Whether an object of the kind can have this key: what stands somewhere else is none of the cluster's roles.
    fn has(self, key: &Key) -> bool {
        let is_of_cluster = matches!(self, Self::ClusterRoles | Self::ClusterRoleBindings);
        key.namespace.is_empty() == is_of_cluster
    }
}

impl Index {
    /// The object of this key (`name`, or `namespace/name`) is so now. `json`: as it is stored. One that cannot be read gives
    /// nothing, whatever was there before.
    pub fn put(&mut self, source: Source, key: &str, json: &[u8]) -> Result<(), serde_json::Error> {
        #[derive(Deserialize)]
        struct Role {
            rules: Option<Vec<PolicyRule>>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Bound {
            role_ref: RoleRef,
            subjects: Option<Vec<Subject>>,
        }
        if !source.has(&key_of(key)) {
            return Err(serde::de::Error::custom("objects of this kind have other keys"));
        }
        self.remove(source, key);
        match source {
            Source::ClusterRoles | Source::Roles => {
                let Role { rules } = serde_json::from_slice(json)?;
                self.put_role(&key_of(key), rules.unwrap_or_default());
            }
            Source::ClusterRoleBindings | Source::RoleBindings => {
                let Bound { role_ref, subjects } = serde_json::from_slice(json)?;
                self.put_binding(key_of(key), role_ref, subjects.unwrap_or_default());
            }
        }
        Ok(())
    }
    pub fn remove(&mut self, source: Source, key: &str) {
        let key = key_of(key);
        if !source.has(&key) {
            return;
        }
        let Key { namespace, name } = key;
        let Some(scope) = self.scope_mut(&namespace) else { return };
        match source {
            Source::ClusterRoles | Source::Roles => drop(scope.roles.remove(name.as_str())),
            Source::ClusterRoleBindings | Source::RoleBindings => scope.unbind(&name),
        }
        if scope.is_empty() && !namespace.is_empty() {
            self.namespaces.remove(namespace.as_str());
        }
    }
    /// Forgets all of a kind.
    pub fn clear(&mut self, source: Source) {
        match source {
            Source::ClusterRoles => self.cluster.roles.clear(),
            Source::ClusterRoleBindings => self.cluster.unbind_all(),
            Source::Roles | Source::RoleBindings => {
                let cleared = |mut scope: Scope| {
                    if source == Source::Roles {
                        scope.roles.clear()
                    } else {
                        scope.unbind_all()
                    }
                    scope
                };
                let scopes = std::mem::take(&mut self.namespaces).into_iter();
                let scopes = scopes.map(|(namespace, scope)| (namespace, cleared(scope)));
                self.namespaces = scopes.filter(|(_, scope)| !scope.is_empty()).collect();
            }
        }
    }
    /// `key`: without a namespace for a ClusterRole.
    pub(super) fn put_role(&mut self, key: &Key, rules: Vec<PolicyRule>) {
        self.scope_or_new(&key.namespace).roles.insert(key.name.as_str().into(), rules.into());
    }
    pub(super) fn put_binding(&mut self, key: Key, role: RoleRef, subjects: Vec<Subject>) {
        let binding = Binding { key, role, subjects: subjects.into() };
        self.scope_or_new(&binding.key.namespace.clone()).bind(binding);
    }

    fn scope(&self, namespace: &str) -> Option<&Scope> {
        if namespace.is_empty() { Some(&self.cluster) } else { self.namespaces.get(namespace) }
    }
    fn scope_mut(&mut self, namespace: &str) -> Option<&mut Scope> {
        if namespace.is_empty() { Some(&mut self.cluster) } else { self.namespaces.get_mut(namespace) }
    }
    fn scope_or_new(&mut self, namespace: &str) -> &mut Scope {
        if namespace.is_empty() { &mut self.cluster } else { self.namespaces.entry(namespace.into()).or_default() }
    }

    /// The bindings that somebody has: those of the cluster, then those of the namespace, if one is named. One that he has
    /// both by name and by a group comes more than once.
    pub fn bindings<'a>(&'a self, user: &'a User, namespace: &str) -> impl Iterator<Item = &'a Binding> {
        let own = if namespace.is_empty() { None } else { self.namespaces.get(namespace) };
        [Some(&self.cluster), own].into_iter().flatten().flat_map(move |scope| {
            let by_name = scope.users.get(user.name.as_str());
            let by_groups = user.groups.iter().filter_map(move |group| scope.groups.get(group.as_str()));
            by_name.into_iter().chain(by_groups).flat_map(OrdMap::values).map(Arc::as_ref)
        })
    }
    pub fn rules(&self, binding: &Binding) -> Result<&[PolicyRule], RoleError> {
        self.rules_of(&binding.role, &binding.key.namespace)
    }
    /// The rules of the role that a binding in `namespace`, or in none, refers to.
    pub fn rules_of(&self, role: &RoleRef, namespace: &str) -> Result<&[PolicyRule], RoleError> {
        let scope = match role.kind.as_str() {
            "ClusterRole" => Some(&self.cluster),
            // What has no namespace has no Roles.
            "Role" if namespace.is_empty() => None,
            "Role" => self.scope(namespace),
            other => return Err(RoleError::Kind(other.to_owned())),
        };
        let rules = scope.and_then(|scope| scope.roles.get(role.name.as_str()));
        let missing = || RoleError::NotFound { kind: role.kind.clone(), name: role.name.clone() };
        rules.map(Arc::as_ref).ok_or_else(missing)
    }

    #[cfg(test)]
    fn is_empty(&self) -> bool {
        self.cluster.is_empty() && self.namespaces.is_empty()
    }
}

impl Scope {
    fn bind(&mut self, binding: Binding) {
        let (name, binding): (Arc<str>, _) = (binding.key.name.as_str().into(), Arc::new(binding));
        for identity in binding.identities() {
            let (by_subject, subject) = self.place(identity);
            by_subject.entry(subject).or_default().insert(name.clone(), binding.clone());
        }
        self.bindings.insert(name, binding);
    }
    fn unbind(&mut self, name: &str) {
        let Some(binding) = self.bindings.remove(name) else { return };
        for identity in binding.identities() {
            let (by_subject, subject) = self.place(identity);
            let Some(bindings) = by_subject.get_mut(&subject) else { continue };
            bindings.remove(name);
            if bindings.is_empty() {
                by_subject.remove(&subject);
            }
        }
    }
    fn unbind_all(&mut self) {
        *self = Self { roles: std::mem::take(&mut self.roles), ..Self::default() };
    }
    fn place(&mut self, identity: Identity) -> (&mut BySubject, Arc<str>) {
        match identity {
            Identity::User(name) => (&mut self.users, name),
            Identity::Group(name) => (&mut self.groups, name),
        }
    }
    fn is_empty(&self) -> bool {
        self.roles.is_empty() && self.bindings.is_empty()
    }
}

impl Binding {
    fn identities(&self) -> impl Iterator<Item = Identity> {
        self.subjects.iter().filter_map(|subject| {
            Some(match subject.kind.as_str() {
                "User" => Identity::User(subject.name.as_str().into()),
                "Group" => Identity::Group(subject.name.as_str().into()),
                "ServiceAccount" => {
                    let namespace = self.namespace_of(subject)?;
                    Identity::User(user_name(namespace, &subject.name).into())
                }
                _ => return None,
            })
        })
    }
    /// Of a service account. In a namespace, its own accounts need not say where they are; for the cluster they must.
    fn namespace_of<'a>(&'a self, account: &'a Subject) -> Option<&'a str> {
        let given = account.namespace.as_deref().filter(|namespace| !namespace.is_empty());
        given.or(Some(&self.key.namespace)).filter(|namespace| !namespace.is_empty())
    }
    fn means(&self, subject: &Subject, user: &User) -> bool {
        match subject.kind.as_str() {
            "User" => user.name == subject.name,
            "Group" => user.in_group(&subject.name),
            "ServiceAccount" => self.namespace_of(subject).is_some_and(|namespace| {
                let account = user.name.strip_prefix(USER_PREFIX).and_then(|rest| rest.strip_prefix(namespace));
                account.and_then(|rest| rest.strip_prefix(':')) == Some(&subject.name)
            }),
            _ => false,
        }
    }
    /// `ClusterRoleBinding "b" of ClusterRole "admin" to User "jane"`: the first of its subjects that means the user.
    /// Costs a look at its subjects.
    pub fn describe<'a>(&'a self, user: &'a User) -> impl fmt::Display + 'a {
        Described { binding: self, user }
    }
}

struct Described<'a> {
    binding: &'a Binding,
    user: &'a User,
}

impl fmt::Display for Described<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Binding { key: Key { namespace, name }, role, subjects } = self.binding;
        if namespace.is_empty() {
            write!(f, "ClusterRoleBinding {name:?}")?;
        } else {
            // The name first, as upstream has it.
            write!(f, "RoleBinding {:?}", format!("{name}/{namespace}"))?;
        }
        write!(f, " of {} {:?}", role.kind, role.name)?;
        let Some(subject) = subjects.iter().find(|subject| self.binding.means(subject, self.user)) else {
            return Ok(());
        };
        let namespace = if subject.kind == "ServiceAccount" { self.binding.namespace_of(subject) } else { None };
        match namespace {
            Some(namespace) => write!(f, " to {} {:?}", subject.kind, format!("{}/{namespace}", subject.name)),
            None => write!(f, " to {} {:?}", subject.kind, subject.name),
        }
    }
}

/// `namespace/name`, or the name alone: neither has a slash in it.
fn key_of(key: &str) -> Key {
    key.split_once('/').map_or_else(|| Key::cluster(key), |(namespace, name)| Key::new(namespace, name))
}

#[cfg(test)]
mod tests;
