//! Whose bindings are found, and what is left when they go.

use super::*;
use crate::authz::rbac::testing::{index, put, user};

/// What each of somebody's bindings is described as.
fn found(index: &Index, who: &str, namespace: &str) -> Vec<String> {
    let user = user(who);
    index.bindings(&user, namespace).map(|binding| binding.describe(&user).to_string()).collect()
}

#[test]
fn bindings_are_found_by_whom_they_mean() {
    let cases: [(&str, &str, &str, &str, &str); 13] = [
        (
            "by name",
            "clusterbinding b r User:jane",
            "jane",
            "",
            r#"ClusterRoleBinding "b" of ClusterRole "r" to User "jane""#,
        ),
        ("of others", "clusterbinding b r User:john", "jane", "", ""),
        (
            "of several",
            "clusterbinding b r User:john User:jane",
            "jane",
            "",
            r#"ClusterRoleBinding "b" of ClusterRole "r" to User "jane""#,
        ),
        ("a star is a name", "clusterbinding b r User:*", "jane", "", ""),
        (
            "by group",
            "clusterbinding b r User:john Group:devs",
            "jane devs",
            "",
            r#"ClusterRoleBinding "b" of ClusterRole "r" to Group "devs""#,
        ),
        ("a group is no user", "clusterbinding b r Group:jane", "jane", "", ""),
        (
            "all that are known",
            "clusterbinding b r Group:system:authenticated Group:system:unauthenticated",
            "jane system:authenticated",
            "n",
            r#"ClusterRoleBinding "b" of ClusterRole "r" to Group "system:authenticated""#,
        ),
        (
            "in its namespace",
            "binding n/b role r User:jane",
            "jane",
            "n",
            r#"RoleBinding "b/n" of Role "r" to User "jane""#,
        ),
        ("not in others", "binding n/b role r User:jane", "jane", "m", ""),
        ("nor in none", "binding n/b role r User:jane", "jane", "", ""),
        (
            "a service account",
            "clusterbinding b r ServiceAccount:n:s",
            "system:serviceaccount:n:s",
            "m",
            r#"ClusterRoleBinding "b" of ClusterRole "r" to ServiceAccount "s/n""#,
        ),
        (
            "of the binding's namespace",
            "binding n/b clusterrole r ServiceAccount::s",
            "system:serviceaccount:n:s",
            "n",
            r#"RoleBinding "b/n" of ClusterRole "r" to ServiceAccount "s/n""#,
        ),
        ("of no namespace", "clusterbinding b r ServiceAccount::s", "system:serviceaccount::s", "", ""),
    ];
    for (why, line, who, namespace, expected) in cases {
        let expected: Vec<&str> = expected.split_terminator('\n').collect();
        assert_eq!(found(&index(&[line]), who, namespace), expected, "{why}");
    }
}

#[test]
fn those_of_the_cluster_come_before_those_of_the_namespace() {
    let index = index(&[
        "binding n/a role r User:jane",
        "clusterbinding z r Group:devs",
        "clusterbinding y r User:jane",
        "clusterbinding x r Group:devs User:jane",
    ]);
    let expected = [
        r#"ClusterRoleBinding "x" of ClusterRole "r" to Group "devs""#,
        r#"ClusterRoleBinding "y" of ClusterRole "r" to User "jane""#,
        r#"ClusterRoleBinding "x" of ClusterRole "r" to Group "devs""#,
        r#"ClusterRoleBinding "z" of ClusterRole "r" to Group "devs""#,
        r#"RoleBinding "a/n" of Role "r" to User "jane""#,
    ];
    assert_eq!(found(&index, "jane devs", "n"), expected);
}

#[test]
fn what_changes_is_found_no_more_as_it_was() {
    let mut index = index(&["binding n/b role r User:jane Group:devs User:jane", "role n/r get on pods in core"]);
    put(&mut index, "binding n/b role r User:john");
    assert_eq!((found(&index, "jane devs", "n").len(), found(&index, "john", "n").len()), (0, 1));
    let before = index.clone();
    index.remove(Source::RoleBindings, "n/b");
    index.remove(Source::RoleBindings, "n/b");
    index.remove(Source::Roles, "n/other");
    assert_eq!(found(&index, "john", "n").len(), 0);
    index.remove(Source::Roles, "n/r");
    assert!(index.is_empty(), "{index:?}");
    assert_eq!(found(&before, "john", "n").len(), 1, "a snapshot stays as it was");
}

#[test]
fn what_cannot_be_read_gives_nothing() {
    let mut index = index(&["clusterbinding b r User:jane", "clusterrole r * on * in *"]);
    assert!(index.put(Source::ClusterRoleBindings, "b", b"{").is_err());
    assert_eq!(found(&index, "jane", "").len(), 0);
    assert!(index.put(Source::ClusterRoles, "r", br#"{"rules":"all"}"#).is_err());
    let role = RoleRef { kind: "ClusterRole".into(), name: "r".into(), api_group: None };
    assert!(index.rules_of(&role, "").is_err());
    for (source, key) in [(Source::Roles, "r"), (Source::ClusterRoles, "n/r")] {
        assert!(index.put(source, key, br#"{"rules":[]}"#).is_err(), "{source:?} have other keys than {key}");
    }
    assert!(index.is_empty(), "{index:?}");
    index.put(Source::ClusterRoles, "r", br#"{"metadata":{"name":"r"},"rules":null}"#).unwrap();
    assert_eq!(index.rules_of(&role, "n").map(<[_]>::len), Ok(0), "a role may allow nothing");
}

#[test]
fn all_of_a_kind_go_and_the_others_stay() {
    let lines = [
        "clusterrole r get on pods in core",
        "clusterbinding b r User:jane",
        "role n/r get on pods in core",
        "role m/r get on pods in core",
        "binding n/b role r User:jane",
    ];
    let sources = [Source::ClusterRoles, Source::ClusterRoleBindings, Source::Roles, Source::RoleBindings];
    for (left_out, source) in sources.into_iter().enumerate() {
        let mut index = index(&lines);
        index.clear(source);
        let (of_cluster, of_all) = (found(&index, "jane", "").len(), found(&index, "jane", "n").len());
        let role = |kind: &str| RoleRef { kind: kind.into(), name: "r".into(), api_group: None };
        let seen = [
            index.rules_of(&role("ClusterRole"), "").is_ok(),
            of_cluster == 1,
            index.rules_of(&role("Role"), "n").is_ok(),
            of_all - of_cluster == 1,
        ];
        assert_eq!(seen, [0, 1, 2, 3].map(|place| place != left_out), "{source:?}");
        assert_eq!(index.namespaces.contains_key("m"), source != Source::Roles, "nothing is left of an empty one");
        sources.into_iter().for_each(|source| index.clear(source));
        assert!(index.is_empty(), "{index:?}");
    }
}

#[test]
fn roles_are_found_where_a_binding_means_them() {
    let index = index(&["clusterrole r get on nodes in core", "role n/r get on pods in core; get on services in core"]);
    let cases = [
        ("ClusterRole", "r", "", Ok(1)),
        ("ClusterRole", "r", "n", Ok(1)),
        ("Role", "r", "n", Ok(2)),
        ("Role", "r", "", Err(r#"role.rbac.authorization.k8s.io "r" not found"#)),
        ("Role", "r", "m", Err(r#"role.rbac.authorization.k8s.io "r" not found"#)),
        ("ClusterRole", "q", "n", Err(r#"clusterrole.rbac.authorization.k8s.io "q" not found"#)),
        ("Rule", "r", "n", Err(r#"unsupported role reference kind: "Rule""#)),
    ];
    for (kind, name, namespace, expected) in cases {
        let role = RoleRef { kind: kind.into(), name: name.into(), api_group: None };
        let found = index.rules_of(&role, namespace).map(<[_]>::len).map_err(|err| err.to_string());
        assert_eq!(found, expected.map_err(str::to_owned), "{kind} {name} in {namespace:?}");
    }
}

/// Ten thousand bindings are others': who has one finds that one.
#[test]
fn others_bindings_cost_nothing() {
    let mut index = Index::default();
    for n in 0..10_000 {
        put(&mut index, &format!("clusterbinding b{n} r User:user{n} Group:group{}", n / 10));
    }
    assert_eq!(found(&index, "user77 group3", "").len(), 11);
    assert_eq!(index.cluster.users.len(), 10_000);
    for n in 0..10_000 {
        index.remove(Source::ClusterRoleBindings, &format!("b{n}"));
    }
    assert!(index.is_empty() && index.cluster.users.is_empty() && index.cluster.groups.is_empty());
}

#[test]
fn sources_are_the_kinds_places_in_the_store() {
    use crate::registry::Kind;
    use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
    let cases = [
        (ClusterRole::STORE_PREFIX, Some(Source::ClusterRoles)),
        (ClusterRoleBinding::STORE_PREFIX, Some(Source::ClusterRoleBindings)),
        (Role::STORE_PREFIX, Some(Source::Roles)),
        (RoleBinding::STORE_PREFIX, Some(Source::RoleBindings)),
        ("pods", None),
    ];
    for (prefix, expected) in cases {
        assert_eq!(Source::of(prefix), expected, "{prefix}");
    }
}
