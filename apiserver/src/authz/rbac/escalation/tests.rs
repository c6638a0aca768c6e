//! What somebody may give to others.

use super::*;
use crate::authz::rbac::testing::{index, rules, target, user};

/// Jane reads pods everywhere, and reads and makes all things in namespace `n`.
fn cluster(more: &[&str]) -> Index {
    let lines = [
        "clusterrole reader get,list on pods in core",
        "clusterrole editor get,list,watch,create on * in *",
        "clusterrole root * on * in *; * at *",
        "role n/local get on secrets in core",
        "clusterbinding a reader User:jane",
        "binding n/b clusterrole editor User:jane",
        "clusterbinding c root User:root",
    ];
    index(&lines.iter().chain(more).copied().collect::<Vec<_>>())
}

fn role(lines: &[&str]) -> Role {
    Role { rules: Some(rules(lines)), ..named("r") }
}
fn cluster_role(lines: &[&str]) -> ClusterRole {
    ClusterRole { rules: Some(rules(lines)), ..named("r") }
}
fn named<K: Object + Default>(name: &str) -> K {
    let mut object = K::default();
    object.metadata_mut().name = Some(name.into());
    object
}
fn role_ref(kind: &str, name: &str) -> RoleRef {
    RoleRef { api_group: Some(GROUP.into()), kind: kind.into(), name: name.into() }
}
fn bound(kind: &str, name: &str) -> RoleBinding {
    RoleBinding { role_ref: role_ref(kind, name), ..named("b") }
}
fn cluster_bound(name: &str) -> ClusterRoleBinding {
    ClusterRoleBinding { role_ref: role_ref("ClusterRole", name), ..named("b") }
}

/// Somebody creates an object in a namespace, "" for none.
fn create<K: Object>(index: &Index, who: &str, namespace: &str, object: &K) -> Result<(), String> {
    write(index, who, &format!("/x {namespace}/"), object, None)
}
fn update<K: Object>(index: &Index, who: &str, at: &str, old: &K, object: &K) -> Result<(), String> {
    write(index, who, &format!("/x {at}"), object, Some(old))
}
fn write<K: Object>(index: &Index, who: &str, at: &str, object: &K, old: Option<&K>) -> Result<(), String> {
    let (user, target) = (user(who), target(at));
    let old = old.map(|old| old as &dyn Any);
    check(index, Writing { user: &user, target: &target, object, old }).map_err(|err| err.message().to_owned())
}

#[test]
fn a_role_gives_what_its_author_has() {
    let index = cluster(&[]);
    let cases: [(&str, &str, &str, &[&str], bool); 9] = [
        ("what she has everywhere", "jane", "", &["get on pods in core"], true),
        ("and in each namespace", "jane", "m", &["get,list on pods in core"], true),
        ("more of it", "jane", "m", &["get,watch on pods in core"], false),
        ("what she has in this namespace", "jane", "n", &["create on secrets in core"], true),
        ("no rules", "jane", "m", &[], true),
        ("who has none gives none", "john", "n", &["get on pods in core"], false),
        ("but a role that allows nothing", "john", "n", &[], true),
        ("masters give anything, whatever the roles say", "me system:masters", "n", &["* on * in *"], true),
        ("one who has all", "root", "n", &["* on * in *", "get at /"], true),
    ];
    for (why, who, namespace, lines, expected) in cases {
        assert_eq!(create(&index, who, namespace, &role(lines)).is_ok(), expected, "{why}");
    }
    assert!(create(&index, "jane", "", &cluster_role(&["get on pods in core"])).is_ok());
    assert!(create(&index, "jane", "", &cluster_role(&["get on secrets in core"])).is_err(), "that she has in n alone");
}

#[test]
fn a_refusal_says_what_is_missing_in_upstreams_words() {
    let wanted = role(&[
        "get,list,watch on pods,pods/log in core",
        "get on secrets in core named one,two",
        "get,post at /metrics",
        "get on pods in core",
    ]);
    let expected = r#"roles.rbac.authorization.k8s.io "r" is forbidden: user "jane" (groups=["devs" "system:authenticated"]) is attempting to grant RBAC permissions not currently held:
{APIGroups:[""], Resources:["pods"], Verbs:["watch"]}
{APIGroups:[""], Resources:["pods/log"], Verbs:["get" "list" "watch"]}
{APIGroups:[""], Resources:["secrets"], ResourceNames:["one"], Verbs:["get"]}
{APIGroups:[""], Resources:["secrets"], ResourceNames:["two"], Verbs:["get"]}
{NonResourceURLs:["/metrics"], Verbs:["get"]}
{NonResourceURLs:["/metrics"], Verbs:["post"]}"#;
    let jane = "jane devs,system:authenticated";
    assert_eq!(create(&cluster(&[]), jane, "m", &wanted), Err(expected.into()));
    let broken = cluster(&["clusterbinding d gone Group:devs"]);
    let more = r#"; resolution errors: [clusterrole.rbac.authorization.k8s.io "gone" not found]"#;
    assert_eq!(create(&broken, jane, "m", &wanted), Err(format!("{expected}{more}")));
}

#[test]
fn who_may_escalate_gives_anything_in_roles() {
    let index = cluster(&[
        "clusterrole roles escalate on roles in rbac.authorization.k8s.io",
        "clusterrole one escalate on clusterroles in rbac.authorization.k8s.io named r",
        "binding m/e clusterrole roles User:john",
        "clusterbinding f one User:john",
    ]);
    let (all, none) = (&["* on * in *"], cluster_role(&[]));
    assert!(create(&index, "john", "m", &role(all)).is_ok());
    assert!(create(&index, "john", "k", &role(all)).is_err(), "not in another namespace");
    assert!(create(&index, "john", "", &cluster_role(all)).is_err(), "a create names nothing yet");
    assert!(update(&index, "john", "r", &none, &cluster_role(all)).is_ok());
    assert!(update(&index, "john", "q", &none, &cluster_role(all)).is_err());
}

#[test]
fn what_gathers_others_rules_is_for_who_has_all() {
    let index = cluster(&[]);
    let mut gathering = cluster_role(&["get on pods in core"]);
    gathering.aggregation_rule =
        serde_json::from_str(r#"{"clusterRoleSelectors":[{"matchLabels":{"a":"b"}}]}"#).unwrap();
    let refused = r#"clusterroles.rbac.authorization.k8s.io "r" is forbidden: must have cluster-admin privileges to use the aggregationRule"#;
    assert_eq!(create(&index, "jane", "", &gathering), Err(refused.into()));
    assert!(create(&index, "root", "", &gathering).is_ok());
    let plain = cluster_role(&["get on pods in core"]);
    assert_eq!(update(&index, "jane", "r", &gathering, &plain), Err(refused.into()), "nor may she end it");
    let mut empty = plain.clone();
    empty.aggregation_rule = Some(Default::default());
    assert!(create(&index, "jane", "", &empty).is_ok(), "which is not valid, and gathers nothing");
}

#[test]
fn a_binding_gives_what_its_author_has_or_may_bind() {
    let index = cluster(&[
        "clusterrole binder bind on clusterroles in rbac.authorization.k8s.io named root",
        "binding m/x clusterrole binder User:john",
    ]);
    let cases = [
        ("what she has", "jane", "m", bound("ClusterRole", "reader"), true),
        ("more than she has there", "jane", "m", bound("ClusterRole", "editor"), false),
        ("what she has there", "jane", "n", bound("ClusterRole", "editor"), true),
        ("a role of the namespace", "jane", "n", bound("Role", "local"), true),
        ("no more than resources", "jane", "n", bound("ClusterRole", "root"), false),
        ("what he may bind, and has not", "john", "m", bound("ClusterRole", "root"), true),
        ("not in another namespace", "john", "n", bound("ClusterRole", "root"), false),
        ("nor another role", "john", "m", bound("ClusterRole", "reader"), false),
    ];
    for (why, who, namespace, binding, expected) in cases {
        assert_eq!(create(&index, who, namespace, &binding).is_ok(), expected, "{why}");
    }
    assert!(create(&index, "jane", "", &cluster_bound("reader")).is_ok());
    let refused = create(&index, "jane", "", &cluster_bound("editor")).unwrap_err();
    let words = r#"clusterrolebindings.rbac.authorization.k8s.io "b" is forbidden: user "jane" (groups=[]) is attempting to grant"#;
    assert!(refused.starts_with(words), "{refused}");
    assert!(create(&index, "john", "", &cluster_bound("root")).is_err(), "he may bind it in one namespace only");
}

#[test]
fn what_is_not_there_cannot_be_bound() {
    let index = cluster(&["clusterrole all bind on * in *", "clusterbinding x all User:binder"]);
    let cases = [
        (bound("Role", "gone"), r#"roles.rbac.authorization.k8s.io "gone" not found"#),
        (bound("ClusterRole", "gone"), r#"clusterroles.rbac.authorization.k8s.io "gone" not found"#),
        (bound("Rule", "gone"), r#"Internal error occurred: unsupported role reference kind: "Rule""#),
    ];
    for (binding, expected) in cases {
        assert_eq!(create(&index, "jane", "m", &binding), Err(expected.into()));
    }
    assert!(create(&index, "binder", "n", &bound("Role", "gone")).is_ok(), "but by who may bind it once it is");
}

#[test]
fn the_garbage_collector_lets_go_of_what_it_does_not_have() {
    let index = cluster(&[]);
    let mut old = bound("ClusterRole", "editor");
    old.metadata.finalizers = Some(vec!["foregroundDeletion".into()]);
    old.metadata.owner_references = Some(vec![Default::default()]);
    let mut new = bound("ClusterRole", "editor");
    assert!(update(&index, "collector", "n/b", &old, &new).is_ok());
    new.subjects = Some(vec![Default::default()]);
    assert!(update(&index, "collector", "n/b", &old, &new).is_err());
    let (mut old, new) = (role(&["* on * in *"]), role(&["* on * in *"]));
    old.metadata.finalizers = Some(vec!["a/b".into()]);
    assert!(update(&index, "collector", "n/r", &old, &new).is_ok());
    assert!(create(&index, "collector", "n", &new).is_err());
}

#[test]
fn other_kinds_are_nobodys_business() {
    use k8s_openapi::api::core::v1::ConfigMap;
    assert!(create(&cluster(&[]), "john", "n", &ConfigMap::default()).is_ok());
}
