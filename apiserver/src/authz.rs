//! May they? Roles as rules in one table ([`roles`]), and the question asked of it.
//!
//! Shape: <https://kubernetes.io/docs/reference/access-authn-authz/rbac/>. What upstream's API objects would say is here
//! built in; a role's rules are data, so that `kubectl auth can-i --list` can print them.

pub mod node;
pub mod roles;

use corten_api::{ApiError, Reason};

use crate::authn::{NODE_PREFIX, NODES_GROUP, PROXIES_GROUP, PROXY_PREFIX};
use crate::request::{Target, User};
pub use roles::{Role, Rule, Subject};

/// What is asked for: a verb on a resource or on a path.
#[derive(Clone, Copy, Debug)]
pub enum Attributes<'a> {
    Resource { verb: &'a str, target: &'a Target },
    Path { verb: &'a str, path: &'a str },
}

/// Whether `user`'s roles let him; the error is upstream's 403 in its words. For kubelets and nodes' proxies there is more
/// to ask: `Resources::authorize`.
pub fn authorize(user: &User, asked: Attributes<'_>) -> Result<(), ApiError> {
    if is_allowed(user, asked) { Ok(()) } else { Err(refusal(user, asked, "")) }
}

/// The question of a resource request.
pub fn authorize_resource(user: &User, verb: &str, target: &Target) -> Result<(), ApiError> {
    authorize(user, Attributes::Resource { verb, target })
}

pub fn is_allowed(user: &User, asked: Attributes<'_>) -> bool {
    rules_of(user).any(|rule| rule.allows(asked))
}

/// The rules that hold for a user, for SelfSubjectRulesReview too.
pub fn rules_of(user: &User) -> impl Iterator<Item = &'static Rule> {
    roles::ROLES.iter().filter(|role| role.subjects.iter().any(|s| s.is(user))).flat_map(|role| role.rules)
}

/// The name of the node whose kubelet asks.
pub fn node_name(user: &User) -> Option<&str> {
    let node = user.name.strip_prefix(NODE_PREFIX).filter(|_| user.in_group(NODES_GROUP));
    node.filter(|node| !node.is_empty())
}

/// The name of the node whose proxy asks.
pub fn proxy_node(user: &User) -> Option<&str> {
    let node = user.name.strip_prefix(PROXY_PREFIX).filter(|_| user.in_group(PROXIES_GROUP));
    node.filter(|node| !node.is_empty())
}

/// `why`: what there is to say beyond that no role allows it.
pub fn refusal(user: &User, asked: Attributes<'_>, why: &str) -> ApiError {
    match asked {
        Attributes::Path { verb, path } => {
            ApiError::new(Reason::Forbidden, format!("forbidden: User {:?} cannot {verb} path {path:?}", user.name))
        }
        Attributes::Resource { verb, target: t } => {
            let resource =
                if t.subresource.is_empty() { t.resource.clone() } else { format!("{}/{}", t.resource, t.subresource) };
            let scope = if t.namespace.is_empty() {
                "at the cluster scope".to_owned()
            } else {
                format!("in the namespace {:?}", t.namespace)
            };
            let more = if why.is_empty() { String::new() } else { format!(": {why}") };
            let why = format!(
                "User {:?} cannot {verb} resource {resource:?} in API group {:?} {scope}{more}",
                user.name, t.group
            );
            ApiError::forbidden(&t.group, &t.resource, &t.name, why)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authn::{AUTHENTICATED_GROUP, MASTERS_GROUP};

    fn user(name: &str, groups: &[&str]) -> User {
        let groups = groups.iter().chain(&[AUTHENTICATED_GROUP]).map(|g| (*g).to_owned()).collect();
        User { name: name.into(), uid: String::new(), groups }
    }
    /// `group/resource[/subresource] [namespace/]name`
    fn target(text: &str) -> Target {
        let (what, which) = text.split_once(' ').unwrap_or((text, ""));
        let mut parts = what.split('/');
        let (namespace, name) = which.split_once('/').unwrap_or(("", which));
        let mut next = || parts.next().unwrap_or_default().to_owned();
        Target {
            group: next(),
            version: "v1".into(),
            resource: next(),
            subresource: next(),
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    #[test]
    fn who_may_what() {
        let admin = user("kubernetes-admin", &[MASTERS_GROUP]);
        let node = user("system:node:n1", &[NODES_GROUP]);
        let nameless = user("n1", &[NODES_GROUP]);
        let scheduler = user("system:kube-scheduler", &[]);
        let manager = user("system:kube-controller-manager", &[]);
        let proxy = user("system:kube-proxy:n1", &[PROXIES_GROUP]);
        let shared = user("system:kube-proxy", &[]);
        let jane = user("jane", &[]);
        let cases = [
            (&admin, "deletecollection", "any.io/things/odd ns/x", true),
            (&jane, "list", "/pods", false),
            (&jane, "create", "authorization.k8s.io/selfsubjectaccessreviews", true),
            (&node, "list", "/pods", true),
            (&node, "patch", "/pods/status ns/web", true),
            (&node, "update", "/pods ns/web", false),
            (&node, "patch", "/nodes/status n1", true),
            (&node, "get", "/pods/status ns/web", false),
            (&node, "update", "coordination.k8s.io/leases kube-node-lease/n1", true),
            (&nameless, "list", "/pods", false),
            (&node, "create", "/secrets ns/", false),
            (&scheduler, "create", "/pods/binding ns/web", true),
            (&scheduler, "create", "/pods ns/", false),
            (&manager, "create", "/pods ns/", true),
            (&scheduler, "update", "coordination.k8s.io/leases kube-system/kube-scheduler", true),
            (&scheduler, "update", "coordination.k8s.io/leases kube-system/kube-controller-manager", false),
            (&scheduler, "delete", "coordination.k8s.io/leases kube-node-lease/n1", false),
            (&manager, "delete", "any.io/things ns/x", true),
            (&manager, "list", "any.io/things", true),
            (&manager, "patch", "/secrets ns/x", true),
            (&manager, "update", "apps/deployments/status ns/web", true),
            (&manager, "update", "/secrets ns/x", false),
            (&manager, "create", "/secrets ns/", false),
            (&manager, "create", "/serviceaccounts/token ns/admin", false),
            (&manager, "get", "/pods/exec ns/web", false),
            (&manager, "get", "/pods/log ns/web", false),
            (&manager, "get", "/nodes/proxy n1", false),
            (&manager, "patch", "/pods/ephemeralcontainers ns/web", false),
            (&manager, "create", "/pods/binding ns/web", false),
            (&proxy, "watch", "discovery.k8s.io/endpointslices", true),
            (&proxy, "list", "/services", true),
            (&proxy, "get", "/services ns/x", false),
            (&proxy, "list", "/namespaces", false),
            (&proxy, "get", "/pods ns/x", false),
            (&proxy, "get", "/secrets ns/x", false),
            (&proxy, "update", "/nodes/status n1", false),
            (&shared, "list", "/services", true),
            (&shared, "list", "/pods", false),
        ];
        for (user, verb, what, expected) in cases {
            let target = target(what);
            let asked = Attributes::Resource { verb, target: &target };
            assert_eq!(is_allowed(user, asked), expected, "{} {verb} {what}", user.name);
        }
    }

    #[test]
    fn who_may_read_which_path() {
        let nobody =
            User { name: "system:anonymous".into(), groups: vec!["system:unauthenticated".into()], ..User::default() };
        let jane = user("jane", &[]);
        for (user, path, expected) in [
            (&nobody, "/healthz", true),
            (&nobody, "/version", true),
            (&nobody, "/api", false),
            (&jane, "/apis/apps/v1", true),
            (&jane, "/openapi/v3/api/v1", true),
            (&jane, "/metrics", false),
        ] {
            assert_eq!(is_allowed(user, Attributes::Path { verb: "get", path }), expected, "{} {path}", user.name);
        }
    }

    #[test]
    fn refusals_read_as_users_know_them() {
        let jane = user("jane", &[]);
        for (verb, what, expected) in [
            (
                "list",
                "/pods default/",
                r#"pods is forbidden: User "jane" cannot list resource "pods" in API group "" in the namespace "default""#,
            ),
            (
                "get",
                "apps/deployments/scale default/web",
                r#"deployments.apps "web" is forbidden: User "jane" cannot get resource "deployments/scale" in API group "apps" in the namespace "default""#,
            ),
            (
                "list",
                "/nodes",
                r#"nodes is forbidden: User "jane" cannot list resource "nodes" in API group "" at the cluster scope"#,
            ),
        ] {
            let err = authorize_resource(&jane, verb, &target(what)).unwrap_err();
            assert_eq!((err.message(), err.code()), (expected, 403));
        }
        let err = authorize(&jane, Attributes::Path { verb: "get", path: "/metrics" }).unwrap_err();
        assert_eq!(err.message(), r#"forbidden: User "jane" cannot get path "/metrics""#);
    }
}
