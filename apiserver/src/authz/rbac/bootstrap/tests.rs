//! What the built-in roles allow, and to whom.

use super::*;
use crate::authz::Attributes;
use crate::authz::rbac::covers::uncovered;
use crate::authz::rbac::decide::{decide, held};
use crate::authz::rbac::testing::{rules, target, user};

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
    // And metrics-server's.
    assert_eq!((controllers, ours, policy.cluster_roles.len()), (41, 3, 41 + 3 + 32 + 1));
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
    let of = |name: &str| find(name).rules.clone().unwrap();
    assert_eq!(view, [of("system:aggregate-to-view"), of("system:aggregated-metrics-reader")].concat());
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
        (manager, "create", "storage.k8s.io/storageclasses", true),
        (manager, "patch", "/namespaces kube-system", true),
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

/// What each of our programs asks for besides leadership and events, which all ask for: a right that a program needs and that
/// is in none of its roles is missed here before it is missed in a cluster. `*` asks for all that is served.
const ASKED: &[(&str, &[&str])] = &[
    (
        "system:kube-controller-manager",
        &[
            "list,watch on pods,replicationcontrollers,services,endpoints,namespaces,serviceaccounts,nodes,configmaps in core",
            "list,watch on persistentvolumeclaims,resourcequotas in core",
            "list,watch on replicasets,deployments,statefulsets,daemonsets,controllerrevisions in apps",
            "list,watch on jobs,cronjobs in batch",
            "list,watch on endpointslices in discovery.k8s.io",
            "list,watch on leases in coordination.k8s.io",
            "list,watch on clusterroles in rbac.authorization.k8s.io",
            "get,list,watch,patch,delete on * in *",
            "get on pods,nodes,namespaces,replicationcontrollers in core",
            "create,patch,delete on pods in core",
            "patch on pods/status,nodes/status in core",
            "update on replicationcontrollers/status,namespaces/status,namespaces/finalize in core",
            "patch on nodes in core",
            "create,patch on configmaps in core",
            "create on serviceaccounts in core",
            "create,update,delete on endpoints in core",
            "get,create,patch on persistentvolumeclaims in core",
            "get,create,patch,delete on replicasets,controllerrevisions in apps",
            "get,patch on deployments in apps",
            "get on statefulsets,daemonsets in apps",
            "update on replicasets/status,deployments/status,statefulsets/status,daemonsets/status in apps",
            "get,create,delete on jobs in batch",
            "update on jobs/status,cronjobs/status in batch",
            "get,create,update,delete on endpointslices in discovery.k8s.io",
            "patch,escalate on clusterroles in rbac.authorization.k8s.io",
            "list,watch on horizontalpodautoscalers in autoscaling",
            "update on horizontalpodautoscalers/status in autoscaling",
            "update on deployments/scale,statefulsets/scale,replicasets/scale in apps",
            "list on pods in metrics.k8s.io",
            "list,watch on poddisruptionbudgets in policy",
            "list,watch on statefulsets in apps",
            "get on deployments/scale,statefulsets/scale,replicasets/scale in apps",
            "update on poddisruptionbudgets/status in policy",
            "list,watch,delete on certificatesigningrequests in certificates.k8s.io",
            "update on certificatesigningrequests/approval,certificatesigningrequests/status in certificates.k8s.io",
            "approve on signers in certificates.k8s.io named kubernetes.io/kube-apiserver-client-kubelet",
            "sign on signers in certificates.k8s.io named kubernetes.io/kube-apiserver-client,kubernetes.io/kubelet-serving",
            "create on subjectaccessreviews in authorization.k8s.io",
            "list,watch,delete on secrets in core",
            "list,watch,update on persistentvolumes in core",
            "get,list,watch,create,update on persistentvolumeclaims in core",
            "update on persistentvolumes/status,persistentvolumeclaims/status in core",
            "list,watch on storageclasses,csidrivers in storage.k8s.io",
            "get,list,watch,create,delete on volumeattachments in storage.k8s.io",
            "list,watch on storageversionmigrations in storagemigration.k8s.io",
            "update on storageversionmigrations/status in storagemigration.k8s.io",
            "get on customresourcedefinitions in apiextensions.k8s.io",
            "patch on customresourcedefinitions/status in apiextensions.k8s.io",
        ],
    ),
    (
        "system:kube-scheduler",
        &[
            "list,watch on pods,nodes,namespaces,services,replicationcontrollers in core",
            "list,watch on persistentvolumes,persistentvolumeclaims in core",
            "list,watch on replicasets,statefulsets in apps",
            "list,watch on poddisruptionbudgets in policy",
            "list,watch on storageclasses,csinodes in storage.k8s.io",
            "get,delete on pods in core",
            "create on pods/binding in core",
            "patch on pods/status in core",
        ],
    ),
    (
        "system:kube-proxy:n1 system:node-proxiers",
        &["list,watch on services,nodes in core", "list,watch on endpointslices in discovery.k8s.io"],
    ),
];

#[test]
fn our_programs_have_what_they_ask_for() {
    let index = policy().index();
    for (who, asked) in ASKED {
        let user = user(&if who.contains(' ') {
            format!("{who},system:authenticated")
        } else {
            format!("{who} system:authenticated")
        });
        let mut asked = rules(asked);
        asked.extend(rules(&["create,patch on events in core", "get at /apis"]));
        if let Some(lease) = who.strip_prefix("system:kube-").filter(|_| !who.contains(' ')) {
            asked.extend(rules(&[
                "create on leases in coordination.k8s.io",
                &format!("get,update on leases in coordination.k8s.io named kube-{lease}"),
            ]));
        }
        assert_eq!(uncovered(held(&index, &user, "").rules, &asked).atoms, [], "{who}");
    }
}
