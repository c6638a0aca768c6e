//! Who may what: by the cluster's roles and bindings, from the moment they are written, and never more than their author may.

use corten_e2e::{Cluster, Kubectl, SOON, eventually};

/// As another would ask, who is nobody's to begin with.
fn user(kubectl: &Kubectl, name: &str) -> Kubectl {
    kubectl.with_flag(&format!("--as={name}"))
}

#[test]
fn a_user_gains_and_loses_rights_with_the_binding() {
    let ns = Cluster::running().namespace("rights");
    let jane = user(&ns, "jane");
    let refused = jane.refused("get pods");
    let words = format!(r#"User "jane" cannot list resource "pods" in API group "" in the namespace {:?}"#, ns.name);
    assert!(refused.contains(&words), "{refused}");
    assert_eq!(jane.attempt("auth can-i list pods").stdout.trim(), "no");

    ns.ok("create role reader --verb=get,list,watch --resource=pods,pods/log");
    ns.ok("create rolebinding jane --role=reader --user=jane");
    jane.ok("get pods");
    assert_eq!(jane.ok("auth can-i list pods").trim(), "yes");
    assert_eq!(jane.attempt("auth can-i create pods").stdout.trim(), "no");
    let rights = jane.ok("auth can-i --list");
    let row = rights.lines().find(|line| line.starts_with("pods ")).unwrap_or_default();
    assert!(row.contains("[get list watch]"), "{rights}");
    let refused = jane.refused("get pods --namespace=default");
    assert!(refused.contains(r#"in the namespace "default""#), "{refused}");

    ns.ok("delete rolebinding jane");
    assert!(jane.refused("get pods").contains("cannot list resource"));

    // A group's, and what a role allows changes for all who have it.
    ns.ok("create rolebinding devs --role=reader --group=devs");
    let john = user(&ns, "john").with_flag("--as-group=devs");
    john.ok("get pods");
    ns.run(&["patch", "role", "reader", "--type=merge", "-p", r#"{"rules":[]}"#]).text();
    assert!(john.refused("get pods").contains("cannot list resource"));
    ns.ok("delete role reader");
    let refused = john.refused("get pods");
    assert!(refused.contains(r#"RBAC: role.rbac.authorization.k8s.io "reader" not found"#), "{refused}");
}

#[test]
fn view_edit_and_admin_are_what_users_know() {
    let ns = Cluster::running().namespace("roles");
    let [viewer, editor, admin] = ["viewer", "editor", "admin"].map(|name| user(&ns, name));
    for role in ["view", "edit", "admin"] {
        let name = match role {
            "view" => "viewer",
            "edit" => "editor",
            other => other,
        };
        ns.ok(&format!("create rolebinding {name} --clusterrole={role} --user={name}"));
    }
    // Their rules are gathered by a controller.
    eventually("view to let somebody read", SOON, || {
        let output = viewer.attempt("get pods,services,deployments");
        if output.ok { Ok(()) } else { Err(output.stderr) }
    });
    assert!(viewer.refused("get secrets").contains("cannot list resource"));
    assert!(viewer.refused("create configmap c").contains("cannot create resource"));
    editor.ok("create configmap c --from-literal=a=b");
    editor.ok("get secrets");
    assert!(editor.refused("create role r --verb=get --resource=pods").contains("cannot create resource"));
    admin.ok("create role r --verb=get --resource=pods");
    admin.ok("create rolebinding r --role=r --user=joe");
    let refused = admin.refused("create rolebinding root --clusterrole=cluster-admin --user=joe");
    assert!(refused.contains("is attempting to grant RBAC permissions not currently held"), "{refused}");
    let refused = admin.refused("create role all --verb=* --resource=*");
    assert!(refused.contains("is attempting to grant RBAC permissions not currently held"), "{refused}");
}

#[test]
fn a_new_role_is_gathered_by_its_label() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("gather");
    let name = format!("{}-reads-secrets", ns.name);
    let of_all = format!("{}-all", ns.name);
    let label = format!("e2e.corten.io/{}", ns.name);
    ns.apply(&format!(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {{name: {of_all}}}\naggregationRule:\n  \
         clusterRoleSelectors: [{{matchLabels: {{{label}: \"true\"}}}}]\nrules: []\n"
    ));
    ns.ok(&format!("create rolebinding all --clusterrole={of_all} --user=gatherer"));
    let gatherer = user(&ns, "gatherer");
    gatherer.refused("get secrets");
    ns.ok(&format!("create clusterrole {name} --verb=get,list --resource=secrets"));
    ns.ok(&format!("label clusterrole {name} {label}=true"));
    eventually("what is gathered to count", SOON, || {
        let output = gatherer.attempt("get secrets");
        if output.ok { Ok(()) } else { Err(output.stderr) }
    });
    ns.ok(&format!("delete clusterrole {name}"));
    eventually("what went to count no more", SOON, || {
        if gatherer.attempt("get secrets").ok { Err("it still counts".into()) } else { Ok(()) }
    });
    ns.ok(&format!("delete clusterrole {of_all}"));
}

#[test]
fn kubectl_reconciles_roles() {
    let ns = Cluster::running().namespace("reconcile");
    let of = &ns.name;
    let manifest = |verbs: &str, user: &str| {
        format!(
            "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {{name: r, namespace: {of}}}\nrules:\n- {{apiGroups: [\"\"], \
             resources: [pods], verbs: [{verbs}]}}\n---\napiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\n\
             metadata: {{name: r, namespace: {of}}}\nroleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: r}}\nsubjects:\n\
             - {{kind: User, apiGroup: rbac.authorization.k8s.io, name: {user}}}\n"
        )
    };
    let reconcile = |manifest: &str| ns.run_with_input(&["auth", "reconcile", "-f", "-"], manifest).text();
    reconcile(&manifest("list", "jane"));
    user(&ns, "jane").ok("get pods");
    reconcile(&manifest("get", "john"));
    user(&ns, "jane").ok("get pods");
    user(&ns, "john").ok("get pods");
}
