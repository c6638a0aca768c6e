//! The built-in roles: who may do what. Near upstream's bootstrap policy for the same identities.
//!
//! <https://kubernetes.io/docs/reference/access-authn-authz/rbac/#default-roles-and-role-bindings>.

use super::Attributes;
use crate::authn::{AUTHENTICATED_GROUP, MASTERS_GROUP, UNAUTHENTICATED_GROUP};
use crate::request::User;

/// Whom a role is for.
#[derive(Clone, Copy, Debug)]
pub enum Subject {
    User(&'static str),
    Group(&'static str),
    /// Whoever is a node, by name and group.
    Node,
}

impl Subject {
    pub fn is(&self, user: &User) -> bool {
        match self {
            Self::User(name) => user.name == *name,
            Self::Group(group) => user.in_group(group),
            Self::Node => super::node_name(user).is_some(),
        }
    }
}

/// What is allowed. `*` stands for all. Resources with a subresource are written `pods/status`; `*` covers those too.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    pub verbs: &'static [&'static str],
    pub groups: &'static [&'static str],
    pub resources: &'static [&'static str],
    /// Exact, or with a `*` at the end.
    pub paths: &'static [&'static str],
}

impl Rule {
    pub fn allows(&self, asked: Attributes<'_>) -> bool {
        match asked {
            Attributes::Path { verb, path } => holds(self.verbs, verb) && self.paths.iter().any(|p| covers(p, path)),
            Attributes::Resource { verb, target } => {
                holds(self.verbs, verb)
                    && holds(self.groups, &target.group)
                    && self.resources.iter().any(|r| names(r, &target.resource, &target.subresource))
            }
        }
    }
}

fn holds(list: &[&str], one: &str) -> bool {
    list.iter().any(|x| *x == "*" || *x == one)
}
fn names(pattern: &str, resource: &str, subresource: &str) -> bool {
    match pattern.split_once('/') {
        None => pattern == "*" || (subresource.is_empty() && pattern == resource),
        Some(("*", sub)) => sub == subresource,
        Some((of, sub)) => of == resource && sub == subresource,
    }
}
fn covers(pattern: &str, path: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == path, |start| path.starts_with(start))
}

/// One role with its subjects: what upstream splits into ClusterRole and ClusterRoleBinding.
#[derive(Clone, Copy, Debug)]
pub struct Role {
    pub name: &'static str,
    pub subjects: &'static [Subject],
    pub rules: &'static [Rule],
}

const ALL: &[&str] = &["*"];
const READ: &[&str] = &["get", "list", "watch"];
const CREATE: &[&str] = &["create"];
const EVENT: &[&str] = &["create", "patch", "update"];
const LEASE: &[&str] = &["create", "get", "list", "watch", "patch", "update", "delete"];
const CORE: &[&str] = &[""];
const EVENT_GROUPS: &[&str] = &["", "events.k8s.io"];

const fn rule(
    verbs: &'static [&'static str],
    groups: &'static [&'static str],
    resources: &'static [&'static str],
) -> Rule {
    Rule { verbs, groups, resources, paths: &[] }
}
const fn path_rule(paths: &'static [&'static str]) -> Rule {
    Rule { verbs: &["get", "head"], groups: &[], resources: &[], paths }
}

/// All roles. The order has no meaning: rules only ever allow.
pub const ROLES: &[Role] = &[
    Role {
        name: "cluster-admin",
        subjects: &[Subject::Group(MASTERS_GROUP)],
        rules: &[rule(ALL, ALL, ALL), Rule { verbs: ALL, groups: &[], resources: &[], paths: ALL }],
    },
    Role {
        name: "system:public-info-viewer",
        subjects: &[Subject::Group(AUTHENTICATED_GROUP), Subject::Group(UNAUTHENTICATED_GROUP)],
        rules: &[path_rule(&["/healthz", "/livez", "/readyz", "/version"])],
    },
    Role {
        name: "system:discovery",
        subjects: &[Subject::Group(AUTHENTICATED_GROUP)],
        rules: &[path_rule(&["/api", "/api/*", "/apis", "/apis/*", "/openapi", "/openapi/*"])],
    },
    Role {
        name: "system:basic-user",
        subjects: &[Subject::Group(AUTHENTICATED_GROUP)],
        rules: &[
            rule(CREATE, &["authorization.k8s.io"], &["selfsubjectaccessreviews", "selfsubjectrulesreviews"]),
            rule(CREATE, &["authentication.k8s.io"], &["selfsubjectreviews"]),
        ],
    },
    Role { name: "system:node", subjects: &[Subject::Node], rules: NODE },
    Role { name: "system:kube-scheduler", subjects: &[Subject::User("system:kube-scheduler")], rules: SCHEDULER },
    Role {
        name: "system:kube-controller-manager",
        subjects: &[Subject::User("system:kube-controller-manager")],
        rules: CONTROLLERS,
    },
    Role { name: "system:node-proxier", subjects: &[Subject::User("system:kube-proxy")], rules: PROXY },
];

/// A kubelet. Of these only what concerns its node: see [`super::node`].
const NODE: &[Rule] = &[
    rule(READ, CORE, &["services", "nodes", "pods", "secrets", "configmaps", "namespaces"]),
    rule(&["create", "update", "patch"], CORE, &["nodes"]),
    rule(&["update", "patch"], CORE, &["nodes/status", "pods/status"]),
    rule(&["create", "delete"], CORE, &["pods"]),
    rule(CREATE, CORE, &["pods/eviction", "serviceaccounts/token"]),
    rule(&["get"], CORE, &["persistentvolumeclaims", "persistentvolumes", "serviceaccounts"]),
    rule(EVENT, EVENT_GROUPS, &["events"]),
    rule(LEASE, &["coordination.k8s.io"], &["leases"]),
    rule(READ, &["node.k8s.io"], &["runtimeclasses"]),
    rule(&["create", "get", "list", "watch"], &["certificates.k8s.io"], &["certificatesigningrequests"]),
    rule(CREATE, &["authentication.k8s.io"], &["tokenreviews"]),
    rule(CREATE, &["authorization.k8s.io"], &["subjectaccessreviews"]),
];

const SCHEDULER: &[Rule] = &[
    rule(READ, CORE, &["nodes", "pods", "namespaces", "services", "replicationcontrollers"]),
    rule(READ, CORE, &["persistentvolumeclaims", "persistentvolumes"]),
    rule(&["delete"], CORE, &["pods"]),
    rule(CREATE, CORE, &["pods/binding", "bindings"]),
    rule(&["patch", "update"], CORE, &["pods/status"]),
    rule(READ, &["apps"], &["replicasets", "statefulsets"]),
    rule(READ, &["policy"], &["poddisruptionbudgets"]),
    rule(READ, &["storage.k8s.io"], ALL),
    rule(READ, &["scheduling.k8s.io"], &["priorityclasses"]),
    rule(EVENT, EVENT_GROUPS, &["events"]),
    rule(LEASE, &["coordination.k8s.io"], &["leases"]),
];

/// All controllers in one process. Collecting garbage and emptying namespaces reach every kind there is, so reads,
/// patches and deletes are for all; what may be made is named.
const CONTROLLERS: &[Rule] = &[
    rule(&["get", "list", "watch", "update", "patch", "delete", "deletecollection"], ALL, ALL),
    rule(
        CREATE,
        CORE,
        &[
            "pods",
            "pods/eviction",
            "pods/binding",
            "namespaces",
            "services",
            "endpoints",
            "configmaps",
            "secrets",
            "serviceaccounts",
            "serviceaccounts/token",
            "persistentvolumeclaims",
            "persistentvolumes",
            "replicationcontrollers",
            "nodes",
        ],
    ),
    rule(CREATE, &["apps"], &["replicasets", "controllerrevisions"]),
    rule(CREATE, &["batch"], &["jobs"]),
    rule(CREATE, &["discovery.k8s.io"], &["endpointslices"]),
    rule(CREATE, &["coordination.k8s.io"], &["leases"]),
    rule(CREATE, EVENT_GROUPS, &["events"]),
    rule(CREATE, &["authentication.k8s.io"], &["tokenreviews"]),
    rule(CREATE, &["authorization.k8s.io"], &["subjectaccessreviews"]),
];

/// The node's network agent, which also answers cluster DNS.
const PROXY: &[Rule] = &[
    rule(READ, CORE, &["services", "endpoints", "nodes", "pods", "namespaces"]),
    rule(READ, &["discovery.k8s.io"], &["endpointslices"]),
    rule(EVENT, EVENT_GROUPS, &["events"]),
];
