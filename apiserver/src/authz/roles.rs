//! The fixed roles, which count as long as the cluster's own do not: near upstream's bootstrap policy for the same identities.
//!
//! <https://kubernetes.io/docs/reference/access-authn-authz/rbac/#default-roles-and-role-bindings>. `rbac/bootstrap` has the
//! roles that will be there instead, and what is kubelets' stands there already.

use super::Attributes;
use crate::authn::{AUTHENTICATED_GROUP, MASTERS_GROUP, PROXIES_GROUP, UNAUTHENTICATED_GROUP};
use crate::request::User;

/// Whom a role is for.
#[derive(Clone, Copy, Debug)]
pub enum Subject {
    User(&'static str),
    Group(&'static str),
}

impl Subject {
    pub fn is(&self, user: &User) -> bool {
        match self {
            Self::User(name) => user.name == *name,
            Self::Group(group) => user.in_group(group),
        }
    }
}

/// What is allowed. `*` stands for all. Resources with a subresource are written `pods/status`; `*` covers those too,
/// and `*/` all resources without their subresources.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    pub verbs: &'static [&'static str],
    pub groups: &'static [&'static str],
    pub resources: &'static [&'static str],
    /// Only objects of these names; none for all.
    pub names: &'static [&'static str],
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
                    && (self.names.is_empty() || self.names.contains(&target.name.as_str()))
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
const LISTS: &[&str] = &["list", "watch"];
const CREATE: &[&str] = &["create"];
/// Every resource, without subresources.
const OBJECTS: &[&str] = &["*/"];
const EVENT: &[&str] = &["create", "patch", "update"];
const CORE: &[&str] = &[""];
const EVENT_GROUPS: &[&str] = &["", "events.k8s.io"];

const fn rule(
    verbs: &'static [&'static str],
    groups: &'static [&'static str],
    resources: &'static [&'static str],
) -> Rule {
    Rule { verbs, groups, resources, names: &[], paths: &[] }
}
const fn path_rule(paths: &'static [&'static str]) -> Rule {
    Rule { verbs: &["get", "head"], groups: &[], resources: &[], names: &[], paths }
}

/// All roles. The order has no meaning: rules only ever allow.
pub const ROLES: &[Role] = &[
    Role {
        name: "cluster-admin",
        subjects: &[Subject::Group(MASTERS_GROUP)],
        rules: &[rule(ALL, ALL, ALL), Rule { verbs: ALL, groups: &[], resources: &[], names: &[], paths: ALL }],
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
        name: "system:service-account-issuer-discovery",
        subjects: &[Subject::Group("system:serviceaccounts")],
        rules: &[Rule {
            verbs: &["get"],
            groups: &[],
            resources: &[],
            names: &[],
            paths: &["/.well-known/openid-configuration", "/openid/v1/jwks"],
        }],
    },
    Role {
        name: "system:basic-user",
        subjects: &[Subject::Group(AUTHENTICATED_GROUP)],
        rules: &[
            rule(CREATE, &["authorization.k8s.io"], &["selfsubjectaccessreviews", "selfsubjectrulesreviews"]),
            rule(CREATE, &["authentication.k8s.io"], &["selfsubjectreviews"]),
        ],
    },
    Role { name: "system:kube-scheduler", subjects: &[Subject::User("system:kube-scheduler")], rules: SCHEDULER },
    Role {
        name: "system:kube-controller-manager",
        subjects: &[Subject::User("system:kube-controller-manager")],
        rules: CONTROLLERS,
    },
    Role {
        name: "system:node-proxier",
        subjects: &[Subject::Group(PROXIES_GROUP), Subject::User("system:kube-proxy")],
        rules: PROXY,
    },
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
    rule(CREATE, &["coordination.k8s.io"], &["leases"]),
    Rule {
        verbs: &["get", "list", "watch", "update", "patch"],
        groups: &["coordination.k8s.io"],
        resources: &["leases"],
        names: &["kube-scheduler"],
        paths: &[],
    },
];

/// All controllers in one process. Collecting garbage and emptying namespaces reach objects of every kind there is, so
/// reads, patches and deletes are for all; what may be made or replaced is named. Subresources that lead into pods and
/// nodes, give tokens or bind pods are not among them.
const CONTROLLERS: &[Rule] = &[
    rule(&["get", "list", "watch", "patch", "delete", "deletecollection"], ALL, OBJECTS),
    rule(&["update", "patch"], ALL, &["*/status"]),
    rule(
        &["update"],
        CORE,
        &[
            "pods",
            "nodes",
            "namespaces",
            "namespaces/finalize",
            "endpoints",
            "configmaps",
            "serviceaccounts",
            "persistentvolumeclaims",
            "persistentvolumes",
            "replicationcontrollers",
            "resourcequotas",
        ],
    ),
    rule(&["update"], &["apps"], ALL),
    rule(&["update"], &["batch", "policy", "autoscaling", "discovery.k8s.io", "coordination.k8s.io"], OBJECTS),
    rule(EVENT, EVENT_GROUPS, &["events"]),
    rule(
        CREATE,
        CORE,
        &["pods", "endpoints", "configmaps", "serviceaccounts", "persistentvolumeclaims", "persistentvolumes"],
    ),
    rule(CREATE, &["apps"], &["replicasets", "controllerrevisions"]),
    rule(CREATE, &["batch"], &["jobs"]),
    rule(CREATE, &["discovery.k8s.io"], &["endpointslices"]),
    rule(CREATE, &["coordination.k8s.io"], &["leases"]),
];

/// The node's network agent, which also answers cluster DNS from the same objects.
const PROXY: &[Rule] = &[
    rule(LISTS, CORE, &["services", "endpoints"]),
    rule(READ, CORE, &["nodes"]),
    rule(LISTS, &["discovery.k8s.io"], &["endpointslices"]),
    rule(EVENT, EVENT_GROUPS, &["events"]),
];
