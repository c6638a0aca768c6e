//! Which roles count: the fixed ones, or the cluster's. Masters may do anything whatever the roles say, as upstream's may: they
//! mend roles that lock everybody out.

use std::sync::Arc;

use arc_swap::ArcSwap;
use corten_api::ApiError;
use k8s_openapi::api::authorization::v1::{NonResourceRule, ResourceRule, SubjectRulesReviewStatus};

use super::rbac::{Index, decide};
use super::roles::{self, ROLES, Rule};
use super::{Attributes, node, node_name, proxy_node, refusal};
use crate::authn::MASTERS_GROUP;
use crate::request::User;

/// Asked about every request, once the Node authorizer has no opinion. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Authorizer(Roles);

#[derive(Clone, Debug)]
enum Roles {
    Fixed,
    Objects(Arc<ArcSwap<Index>>),
}

impl Authorizer {
    /// The same roles for every cluster, whatever its objects say.
    pub fn fixed() -> Self {
        Self(Roles::Fixed)
    }
    /// The cluster's roles and bindings. Who follows them stores each next state of theirs in `index`.
    pub fn of_objects(index: Arc<ArcSwap<Index>>) -> Self {
        Self(Roles::Objects(index))
    }

    /// Whether the user's roles allow it; the error is upstream's 403. For kubelets and nodes' proxies there is more to ask:
    /// `Resources::authorize`.
    pub fn authorize(&self, user: &User, asked: Attributes<'_>) -> Result<(), ApiError> {
        self.check(user, asked).map_err(|why| refusal(user, asked, &why))
    }
    /// The error: what there is to say beyond that no role allows it, mostly nothing.
    pub fn check(&self, user: &User, asked: Attributes<'_>) -> Result<(), String> {
        match &self.0 {
            _ if user.in_group(MASTERS_GROUP) => Ok(()),
            Roles::Fixed if fixed_rules(user).any(|rule| rule.allows(asked)) => Ok(()),
            Roles::Fixed => Err(String::new()),
            Roles::Objects(index) => {
                let index = index.load();
                decide::decide(&index, user, asked).map(drop).map_err(|refused| refused.to_string())
            }
        }
    }
    /// As `check`; if it is allowed, by what. For those who ask about rights: costs a look at the binding's subjects.
    pub fn explain(&self, user: &User, asked: Attributes<'_>) -> Result<String, String> {
        match &self.0 {
            Roles::Objects(index) if !user.in_group(MASTERS_GROUP) => {
                let index = index.load();
                let decided = decide::decide(&index, user, asked);
                decided.map(|allowed| allowed.to_string()).map_err(|refused| refused.to_string())
            }
            Roles::Fixed | Roles::Objects(_) => self.check(user, asked).map(|()| String::new()),
        }
    }
    /// What somebody may do in a namespace, as far as it can be said: SelfSubjectRulesReview's answer.
    pub fn rules(&self, user: &User, namespace: &str) -> SubjectRulesReviewStatus {
        let mut status = match &self.0 {
            Roles::Fixed => fixed_review(user),
            Roles::Objects(index) => decide::review(&index.load(), user, namespace),
        };
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

fn fixed_rules(user: &User) -> impl Iterator<Item = &'static Rule> {
    ROLES.iter().filter(|role| role.subjects.iter().any(|subject| subject.is(user))).flat_map(|role| role.rules)
}

fn fixed_review(user: &User) -> SubjectRulesReviewStatus {
    let owned = |list: &[&str]| -> Vec<String> { list.iter().map(|s| (*s).to_owned()).collect() };
    let on_resources = |rule: &roles::Rule| ResourceRule {
        verbs: owned(rule.verbs),
        api_groups: Some(owned(rule.groups)),
        resources: Some(owned(rule.resources)),
        resource_names: (!rule.names.is_empty()).then(|| owned(rule.names)),
    };
    let at_paths =
        |rule: &roles::Rule| NonResourceRule { verbs: owned(rule.verbs), non_resource_urls: Some(owned(rule.paths)) };
    let (paths, resources): (Vec<&Rule>, Vec<&Rule>) = fixed_rules(user).partition(|rule| rule.resources.is_empty());
    SubjectRulesReviewStatus {
        resource_rules: resources.into_iter().map(on_resources).collect(),
        non_resource_rules: paths.into_iter().map(at_paths).collect(),
        incomplete: false,
        evaluation_error: None,
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
    fn who_may_what_by_fixed_roles() {
        let admin = "kubernetes-admin system:masters,system:authenticated";
        let scheduler = "system:kube-scheduler system:authenticated";
        let manager = "system:kube-controller-manager system:authenticated";
        let proxy = "system:kube-proxy:n1 system:node-proxiers,system:authenticated";
        let node = "system:node:n1 system:nodes,system:authenticated";
        let shared = "system:kube-proxy system:authenticated";
        let (jane, nobody) = ("jane system:authenticated", "system:anonymous system:unauthenticated");
        let cases = [
            (admin, "deletecollection", "any.io/things/odd ns/x", true),
            (jane, "list", "/pods", false),
            (jane, "create", "authorization.k8s.io/selfsubjectaccessreviews", true),
            // Of the Node authorizer, not of roles.
            (node, "list", "/pods", false),
            (node, "create", "/secrets ns/", false),
            (scheduler, "create", "/pods/binding ns/web", true),
            (scheduler, "create", "/pods ns/", false),
            (manager, "create", "/pods ns/", true),
            (scheduler, "update", "coordination.k8s.io/leases kube-system/kube-scheduler", true),
            (scheduler, "update", "coordination.k8s.io/leases kube-system/kube-controller-manager", false),
            (scheduler, "delete", "coordination.k8s.io/leases kube-node-lease/n1", false),
            (manager, "delete", "any.io/things ns/x", true),
            (manager, "list", "any.io/things", true),
            (manager, "patch", "/secrets ns/x", true),
            (manager, "update", "apps/deployments/status ns/web", true),
            (manager, "update", "/secrets ns/x", false),
            (manager, "create", "/secrets ns/", false),
            (manager, "create", "/serviceaccounts/token ns/admin", false),
            (manager, "get", "/pods/exec ns/web", false),
            (manager, "get", "/pods/log ns/web", false),
            (manager, "get", "/nodes/proxy n1", false),
            (manager, "patch", "/pods/ephemeralcontainers ns/web", false),
            (manager, "create", "/pods/binding ns/web", false),
            (proxy, "watch", "discovery.k8s.io/endpointslices", true),
            (proxy, "list", "/services", true),
            (proxy, "get", "/services ns/x", false),
            (proxy, "list", "/namespaces", false),
            (proxy, "list", "/pods", false),
            (proxy, "get", "/secrets ns/x", false),
            (proxy, "update", "/nodes/status n1", false),
            (shared, "list", "/services", true),
            (shared, "list", "/pods", false),
            (nobody, "get", "path:/healthz", true),
            (nobody, "get", "path:/version", true),
            (nobody, "get", "path:/api", false),
            (jane, "get", "path:/apis/apps/v1", true),
            (jane, "get", "path:/openapi/v3/api/v1", true),
            (jane, "get", "path:/metrics", false),
        ];
        for (who, verb, what, expected) in cases {
            assert_eq!(allows(&Authorizer::fixed(), who, verb, what), expected, "{who} {verb} {what}");
        }
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
        let fixed = Authorizer::fixed().rules(&user("jane system:authenticated"), "n");
        assert_eq!((fixed.resource_rules.len(), fixed.non_resource_rules.len()), (2, 2));
        let gone = Authorizer::of_objects(Arc::new(ArcSwap::from_pointee(index(&["clusterbinding b q Group:all"]))));
        let status = gone.rules(&user("system:kube-proxy:n1 system:node-proxiers,all"), "n");
        let both = format!(r#"[{}, clusterrole.rbac.authorization.k8s.io "q" not found]"#, node::NO_RULES);
        assert_eq!((status.evaluation_error, status.incomplete), (Some(both), true));
    }
}
