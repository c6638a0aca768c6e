//! What somebody's roles let him do. Masters may do anything whatever the roles say, as upstream's may: they mend roles that
//! lock everybody out.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use corten_api::ApiError;
use k8s_openapi::api::authorization::v1::SubjectRulesReviewStatus;

use super::rbac::{Index, decide};
use super::{Attributes, node, node_name, proxy_node, refusal};
use crate::authn::MASTERS_GROUP;
use crate::request::User;

/// Asked about every request, once the Node authorizer has no opinion. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Authorizer(Arc<ArcSwap<Index>>);

impl Authorizer {
    /// The cluster's roles and bindings. Who follows them stores each next state of theirs in `index`.
    pub fn of_objects(index: Arc<ArcSwap<Index>>) -> Self {
        Self(index)
    }
    /// As a cluster begins.
    #[cfg(test)]
    pub(crate) fn of_a_new_cluster() -> Self {
        Self::of_objects(Arc::new(ArcSwap::from_pointee(super::rbac::bootstrap::policy().index())))
    }

    /// The roles and bindings as they are now.
    pub(crate) fn roles(&self) -> Guard<Arc<Index>> {
        self.0.load()
    }
    /// Whether the user's roles allow it; the error is upstream's 403. For kubelets and nodes' proxies there is more to ask:
    /// `Resources::authorize`.
    pub fn authorize(&self, user: &User, asked: Attributes<'_>) -> Result<(), ApiError> {
        self.check(user, asked).map_err(|why| refusal(user, asked, &why))
    }
    /// The error: what there is to say beyond that no role allows it, mostly nothing.
    pub fn check(&self, user: &User, asked: Attributes<'_>) -> Result<(), String> {
        if user.in_group(MASTERS_GROUP) {
            return Ok(());
        }
        decide::decide(&self.roles(), user, asked).map(drop).map_err(|refused| refused.to_string())
    }
    /// As `check`; if it is allowed, by what. For those who ask about rights: costs a look at the binding's subjects.
    pub fn explain(&self, user: &User, asked: Attributes<'_>) -> Result<String, String> {
        if user.in_group(MASTERS_GROUP) {
            return Ok(String::new());
        }
        let roles = self.roles();
        let decided = decide::decide(&roles, user, asked);
        decided.map(|allowed| allowed.to_string()).map_err(|refused| refused.to_string())
    }
    /// What somebody may do in a namespace, as far as it can be said: SelfSubjectRulesReview's answer.
    pub fn rules(&self, user: &User, namespace: &str) -> SubjectRulesReviewStatus {
        let mut status = decide::review(&self.roles(), user, namespace);
        if node_name(user).or(proxy_node(user)).is_some() {
            status.incomplete = true;
            status.evaluation_error = Some(match status.evaluation_error {
                Some(more) => format!("[{}, {more}]", node::NO_RULES),
                None => node::NO_RULES.to_owned(),
            });
        }
        status
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authz::rbac::testing::{index, target, user};

    fn allows(authorizer: &Authorizer, who: &str, verb: &str, what: &str) -> bool {
        let (user, resource) = (user(who), target(what));
        let asked = match what.strip_prefix("path:") {
            Some(path) => Attributes::Path { verb, path },
            None => Attributes::Resource { verb, target: &resource },
        };
        let decided = authorizer.check(&user, asked);
        assert_eq!(authorizer.explain(&user, asked).is_ok(), decided.is_ok(), "both say the same");
        assert_eq!(authorizer.authorize(&user, asked).map_err(|err| err.code()), decided.clone().map_err(|_| 403));
        decided.is_ok()
    }

    #[test]
    fn the_clusters_roles_count_as_they_change() {
        let shared = Arc::new(ArcSwap::from_pointee(index(&["clusterrole r get on pods in core"])));
        let authorizer = Authorizer::of_objects(shared.clone());
        assert!(!allows(&authorizer, "jane", "get", "/pods n/web"));
        shared.store(Arc::new(index(&["clusterrole r get on pods in core", "clusterbinding b r User:jane"])));
        assert!(allows(&authorizer, "jane", "get", "/pods n/web"));
        assert!(allows(&authorizer, "root system:masters", "delete", "/nodes n1"), "whatever the roles say");
        let (jane, pods) = (user("jane"), target("/pods n/web"));
        let asked = Attributes::Resource { verb: "get", target: &pods };
        let by = r#"RBAC: allowed by ClusterRoleBinding "b" of ClusterRole "r" to User "jane""#;
        assert_eq!(authorizer.explain(&jane, asked), Ok(by.into()));
        shared.store(Arc::new(index(&["clusterbinding b r User:jane"])));
        let refused = authorizer.authorize(&jane, asked).unwrap_err();
        assert!(
            refused.message().ends_with(r#": RBAC: clusterrole.rbac.authorization.k8s.io "r" not found"#),
            "{refused}"
        );
    }

    #[test]
    fn what_kubelets_may_is_not_all_told() {
        let objects = index(&["clusterrole r get on pods in core", "clusterbinding b r Group:all"]);
        let of_objects = Authorizer::of_objects(Arc::new(ArcSwap::from_pointee(objects)));
        let status = of_objects.rules(&user("system:node:n1 system:nodes,all"), "n");
        assert_eq!((status.resource_rules.len(), status.incomplete), (1, true));
        assert_eq!(status.evaluation_error.as_deref(), Some(node::NO_RULES));
        let status = of_objects.rules(&user("jane all"), "n");
        assert_eq!((status.resource_rules.len(), status.incomplete, status.evaluation_error), (1, false, None));
        let new = Authorizer::of_a_new_cluster().rules(&user("jane system:authenticated"), "n");
        assert_eq!((new.resource_rules.len(), new.non_resource_rules.len()), (2, 4));
        let gone = Authorizer::of_objects(Arc::new(ArcSwap::from_pointee(index(&["clusterbinding b q Group:all"]))));
        let status = gone.rules(&user("system:kube-proxy:n1 system:node-proxiers,all"), "n");
        let both = format!(r#"[{}, clusterrole.rbac.authorization.k8s.io "q" not found]"#, node::NO_RULES);
        assert_eq!((status.evaluation_error, status.incomplete), (Some(both), true));
    }
}
