//! What the built-in roles allow, and to whom.

use super::*;
use crate::authz::Attributes;
use crate::authz::rbac::covers::uncovered;
use crate::authz::rbac::decide::{decide, held};
use crate::authz::rbac::testing::{rules, target, user};
use crate::authz::roles::{ROLES, Subject as FixedSubject};

#[test]
fn every_object_is_valid_and_marked_as_ours() {
    use crate::registry::Kind;
    use corten_api::Problems;
    fn check<K: Kind>(objects: &[K]) {
        for object in objects {
            let mut problems = Problems::default();
            object.validate(&mut problems);
            let mut filled = object.clone();
            filled.fill_defaults();
            assert!(problems.is_empty() && filled == *object, "{}: {:?}", object.key(), problems.causes());
            assert_eq!(object.label(LABEL.0), Some(LABEL.1), "{}", object.key());
            assert_eq!(object.annotation(AUTO_UPDATE), Some("true"), "{}", object.key());
        }
        let keys: std::collections::HashSet<_> = objects.iter().map(Object::key).collect();
        assert_eq!(keys.len(), objects.len(), "each once");
    }
    let policy = policy();
    check(&policy.cluster_roles);
    check(&policy.cluster_role_bindings);
    check(&policy.roles);
    check(&policy.role_bindings);
    assert!(policy.roles.iter().all(|role| role.namespace().starts_with("kube-")));
}

#[test]
fn every_binding_gives_a_role_that_is_there() {
    let (policy, index) = (policy(), policy().index());
    let cluster = policy.cluster_role_bindings.iter().map(|binding| (binding.key(), &binding.role_ref));
    let bindings = cluster.chain(policy.role_bindings.iter().map(|binding| (binding.key(), &binding.role_ref)));
    for (key, role) in bindings {
        assert!(index.rules_of(role, &key.namespace).is_ok(), "{key}");
    }
}

/// Beyond what stands in the tables, so that a line that gets lost there is missed here.
#[test]
fn there_are_as_many_as_upstream_has() {
    let policy = policy();
    let controllers = policy.cluster_roles.iter().filter(|role| role.name().starts_with("system:controller:")).count();
    let ours = policy.cluster_roles.iter().filter(|role| role.name().starts_with("system:corten:")).count();
    assert_eq!((controllers, ours, policy.cluster_roles.len()), (41, 2, 41 + 2 + 32));
    assert_eq!((policy.roles.len(), policy.role_bindings.len()), (7, 7));
}

#[test]
fn aggregated_roles_come_to_what_upstreams_are() {
    let policy = policy();
    let find = |name: &str| policy.cluster_roles.iter().find(|role| role.name() == name).unwrap();
    let mut roles = policy.cluster_roles.clone();
    // As the controller does: again, until nothing changes.
    for _ in 0..3 {
        let seen = roles.clone();
        for role in &mut roles {
            if let Some(rules) = corten_api::rbac::aggregated(role, &seen).unwrap() {
                role.rules = Some(rules);
            }
        }
    }
    let rules_of = |name: &str| roles.iter().find(|role| role.name() == name).unwrap().rules.clone().unwrap();
    let (view, edit, admin) = (rules_of("view"), rules_of("edit"), rules_of("admin"));
    assert_eq!(view, find("system:aggregate-to-view").rules.clone().unwrap());
    assert!(uncovered(&edit, &view).is_empty() && uncovered(&admin, &edit).is_empty());
    let escalating =
        rules(&["get on secrets in core", "create on pods in core", "impersonate on serviceaccounts in core"]);
    assert_eq!(uncovered(&view, &escalating).atoms, escalating, "who views gets no further rights");
    let limits =
        rules(&["update on resourcequotas in core", "update on namespaces in core", "create on nodes in core"]);
    assert_eq!(uncovered(&admin, &limits).atoms, limits, "nor does a namespace's admin change its limits");
    let gives = rules(&["create on rolebindings in rbac.authorization.k8s.io"]);
    assert!(uncovered(&admin, &gives).is_empty() && !uncovered(&edit, &gives).is_empty());
}

#[test]
fn who_may_what() {
    let index = policy().index();
    let admin = "kubernetes-admin system:masters,system:authenticated";
    let scheduler = "system:kube-scheduler system:authenticated";
    let manager = "system:kube-controller-manager system:authenticated";
    let proxy = "system:kube-proxy:n1 system:node-proxiers,system:authenticated";
    let shared = "system:kube-proxy system:authenticated";
    let node = "system:node:n1 system:nodes,system:authenticated";
    let (jane, nobody) = ("jane system:authenticated", "system:anonymous system:unauthenticated");
    let account = "system:serviceaccount:kube-system:job-controller system:serviceaccounts,system:authenticated";
    let cases = [
        (admin, "deletecollection", "any.io/things/odd ns/x", true),
        (jane, "list", "/pods", false),
        (jane, "create", "authorization.k8s.io/selfsubjectaccessreviews", true),
        (nobody, "create", "authorization.k8s.io/selfsubjectaccessreviews", false),
        // Of the Node authorizer, not of roles.
        (node, "list", "/pods", false),
        (node, "get", "/secrets ns/x", false),
        (scheduler, "create", "/pods/binding ns/web", true),
        (scheduler, "patch", "/pods/status ns/web", true),
        (scheduler, "create", "/pods ns/", false),
        (scheduler, "update", "coordination.k8s.io/leases kube-system/kube-scheduler", true),
        (scheduler, "update", "coordination.k8s.io/leases default/kube-controller-manager", false),
        (scheduler, "delete", "coordination.k8s.io/leases kube-node-lease/n1", false),
        (scheduler, "update", "/persistentvolumeclaims ns/data", true),
        (manager, "create", "/pods ns/", true),
        (manager, "delete", "any.io/things ns/x", true),
        (manager, "list", "any.io/things", true),
        (manager, "patch", "apps/deployments ns/web", true),
        (manager, "update", "apps/deployments/status ns/web", true),
        (manager, "update", "/namespaces/finalize ns", true),
        (manager, "update", "coordination.k8s.io/leases kube-system/kube-controller-manager", true),
        (manager, "create", "/nodes", false),
        (manager, "create", "/pods/exec ns/web", false),
        (manager, "create", "rbac.authorization.k8s.io/clusterrolebindings", false),
        (manager, "escalate", "rbac.authorization.k8s.io/clusterroles", true),
        (account, "create", "/pods ns/", true),
        (account, "create", "apps/replicasets ns/", false),
        (account, "list", "certificates.k8s.io/clustertrustbundles", true),
        (proxy, "watch", "discovery.k8s.io/endpointslices", true),
        (proxy, "list", "/services", true),
        (proxy, "get", "/nodes n1", true),
        (proxy, "get", "/services ns/x", false),
        (proxy, "list", "/pods", false),
        (proxy, "get", "/secrets ns/x", false),
        (shared, "list", "/services", true),
        (shared, "list", "/pods", false),
        ("x system:monitoring", "get", "/nodes/metrics n1", true),
    ];
    for (who, verb, what, expected) in cases {
        let (user, target) = (user(who), target(what));
        let asked = Attributes::Resource { verb, target: &target };
        assert_eq!(decide(&index, &user, asked).is_ok(), expected, "{who} {verb} {what}");
    }
    let paths = [
        (nobody, "get", "/healthz", true),
        (nobody, "head", "/healthz", true),
        (nobody, "get", "/version", true),
        (nobody, "get", "/api", false),
        (jane, "get", "/apis/apps/v1", true),
        (jane, "head", "/apis/apps/v1", true),
        (jane, "get", "/metrics", false),
        (jane, "get", "/readyz/etcd", false),
        (account, "get", "/openid/v1/jwks", true),
        (jane, "get", "/openid/v1/jwks", false),
        ("x system:monitoring", "get", "/readyz/etcd", true),
        (admin, "post", "/anything", true),
    ];
    for (who, verb, path, expected) in paths {
        let user = user(who);
        assert_eq!(decide(&index, &user, Attributes::Path { verb, path }).is_ok(), expected, "{who} {verb} {path}");
    }
}

#[test]
fn reasons_read_as_users_know_them() {
    let index = policy().index();
    let (user, target) = (user("system:kube-scheduler"), target("/pods/binding ns/web"));
    let asked = Attributes::Resource { verb: "create", target: &target };
    assert_eq!(
        decide(&index, &user, asked).map(|allowed| allowed.to_string()).ok().as_deref(),
        Some(
            r#"RBAC: allowed by ClusterRoleBinding "system:kube-scheduler" of ClusterRole "system:kube-scheduler" to User "system:kube-scheduler""#
        )
    );
}

/// What fixed roles give and no program of ours uses; nor does upstream.
const GIVEN_UP: &[(&str, &[&str])] = &[(
    "system:kube-scheduler",
    &[
        "patch on leases in coordination.k8s.io named kube-scheduler",
        "READ on * in storage.k8s.io",
        "READ on priorityclasses in scheduling.k8s.io",
    ],
)];

/// Until the server asks the cluster's objects, it asks fixed roles: nobody loses anything when it does.
#[test]
fn whoever_has_a_fixed_role_has_its_rules_here_too() {
    let index = policy().index();
    let words = |list: &[&str]| -> Vec<String> { list.iter().map(|word| (*word).to_owned()).collect() };
    // `*/` is every resource without its subresources there; that cannot be said here.
    let resources = |list: &[&str]| words(&list.iter().map(|r| if *r == "*/" { "*" } else { *r }).collect::<Vec<_>>());
    for role in ROLES {
        let wanted: Vec<PolicyRule> = role
            .rules
            .iter()
            .map(|rule| PolicyRule {
                verbs: words(rule.verbs),
                api_groups: Some(words(rule.groups)),
                resources: Some(resources(rule.resources)),
                resource_names: Some(words(rule.names)),
                non_resource_urls: Some(words(rule.paths)),
            })
            .collect();
        let given_up = GIVEN_UP.iter().find(|(name, _)| *name == role.name).map_or_else(Vec::new, |(_, r)| rules(r));
        for subject in role.subjects {
            let who = match subject {
                FixedSubject::User(name) => user(name),
                FixedSubject::Group(group) => user(&format!("x {group}")),
            };
            let has = held(&index, &who, "").rules;
            let missing = uncovered(has.iter().copied().chain(&given_up), &wanted);
            assert_eq!(missing.atoms, [], "{} for {subject:?}", role.name);
            assert!(given_up.is_empty() || !uncovered(has, &given_up).is_empty(), "{}: it is not given up", role.name);
        }
    }
}
