//! May they? The Node authorizer is asked first, then the roles; whoever of them says yes is right.
//!
//! - [`node`]: what of the cluster is a kubelet's, or a node's proxy's
//! - [`rbac`]: what roles and bindings allow, and who may write them
//! - [`Authorizer`]: the cluster's, as they change
//!
//! Shape: <https://kubernetes.io/docs/reference/access-authn-authz/authorization/>. What depends on the cluster's state is
//! asked in `Resources::authorize`.

mod authorizer;
pub mod node;
pub mod rbac;

pub use authorizer::Authorizer;
use corten_api::{ApiError, Reason};

use crate::authn::{NODE_PREFIX, NODES_GROUP, PROXIES_GROUP, PROXY_PREFIX};
use crate::request::{Target, User};

/// What is asked for: a verb on a resource or on a path.
#[derive(Clone, Copy, Debug)]
pub enum Attributes<'a> {
    Resource { verb: &'a str, target: &'a Target },
    Path { verb: &'a str, path: &'a str },
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

/// Upstream's 403 in its words. `why`: what there is to say beyond that nothing allows it.
pub fn refusal(user: &User, asked: Attributes<'_>, why: &str) -> ApiError {
    let more = if why.is_empty() { String::new() } else { format!(": {why}") };
    match asked {
        Attributes::Path { verb, path } => {
            let what = format!("forbidden: User {:?} cannot {verb} path {path:?}{more}", user.name);
            ApiError::new(Reason::Forbidden, what)
        }
        Attributes::Resource { verb, target: t } => {
            let resource =
                if t.subresource.is_empty() { t.resource.clone() } else { format!("{}/{}", t.resource, t.subresource) };
            let scope = if t.namespace.is_empty() {
                "at the cluster scope".to_owned()
            } else {
                format!("in the namespace {:?}", t.namespace)
            };
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
    use rbac::testing::{target, user};

    #[test]
    fn refusals_read_as_users_know_them() {
        let jane = user("jane");
        for (verb, what, why, expected) in [
            (
                "list",
                "/pods default/",
                "",
                r#"pods is forbidden: User "jane" cannot list resource "pods" in API group "" in the namespace "default""#,
            ),
            (
                "get",
                "apps/deployments/scale default/web",
                "",
                r#"deployments.apps "web" is forbidden: User "jane" cannot get resource "deployments/scale" in API group "apps" in the namespace "default""#,
            ),
            (
                "list",
                "/nodes",
                "RBAC: so it is",
                r#"nodes is forbidden: User "jane" cannot list resource "nodes" in API group "" at the cluster scope: RBAC: so it is"#,
            ),
        ] {
            let err = refusal(&jane, Attributes::Resource { verb, target: &target(what) }, why);
            assert_eq!((err.message(), err.code()), (expected, 403));
        }
        let asked = Attributes::Path { verb: "get", path: "/metrics" };
        assert_eq!(refusal(&jane, asked, "").message(), r#"forbidden: User "jane" cannot get path "/metrics""#);
        assert_eq!(refusal(&jane, asked, "no").message(), r#"forbidden: User "jane" cannot get path "/metrics": no"#);
    }

    #[test]
    fn who_is_a_nodes() {
        let cases = [
            ("system:node:n1 system:nodes", Some("n1"), None),
            ("system:node:n1 devs", None, None),
            ("system:node: system:nodes", None, None),
            ("n1 system:nodes", None, None),
            ("system:kube-proxy:n1 system:node-proxiers", None, Some("n1")),
            ("system:kube-proxy system:node-proxiers", None, None),
            ("system:kube-proxy:n1 devs", None, None),
        ];
        for (who, node, proxy) in cases {
            let user = user(who);
            assert_eq!((node_name(&user), proxy_node(&user)), (node, proxy), "{who}");
        }
    }
}
