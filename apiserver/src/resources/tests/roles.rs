//! Who may what is what the cluster's roles and bindings say: from the moment that a write of one is answered, and only by those
//! who have what they give.

use super::*;
use crate::storage::{Outcome, Write};
use corten_api::rbac::{GROUP, aggregated};
use k8s_openapi::api::rbac::v1::ClusterRole;

fn user(name: &str) -> User {
    User { name: name.into(), groups: vec!["system:authenticated".into()], ..User::default() }
}
fn jane() -> User {
    user("jane")
}
fn body(object: &Value) -> Bytes {
    Bytes::from(object.to_string())
}

fn role(name: &str, rules: Value) -> Value {
    json!({"metadata": {"name": name}, "rules": rules})
}
fn rule(verbs: &[&str], resources: &[&str]) -> Value {
    json!({"verbs": verbs, "apiGroups": [""], "resources": resources})
}
/// Gives a role to a user.
fn binding(name: &str, (kind, role): (&str, &str), who: &str) -> Value {
    json!({
        "metadata": {"name": name},
        "roleRef": {"apiGroup": GROUP, "kind": kind, "name": role},
        "subjects": [{"kind": "User", "apiGroup": GROUP, "name": who}],
    })
}

impl Cluster {
    async fn may(&self, who: &User, verb: &str, plural: &str, at: &str) -> Result<(), ApiError> {
        let (target, fields) = (target(plural, at), FieldSelector::default());
        self.resources.check(who, verb, &target, &fields).await
    }
    async fn create_as(&self, who: &User, plural: &str, at: &str, object: &Value) -> Result<Value, ApiError> {
        let options = WriteOptions::default();
        let written = self.resources.create(&allowed(who, &target(plural, at)), body(object), options).await?;
        Ok(serde_json::from_slice(&written.object).unwrap())
    }
    /// Says what the server does with roles when it starts.
    async fn restarted(&self) -> Self {
        Self::on(self.storage.clone()).await
    }
    /// Writes past the API.
    async fn store(&self, key: &str, value: &str) {
        let (key, value) = (format!("/registry/{key}"), Bytes::from(value.to_owned()));
        let write = match self.storage.get(&key).await.unwrap() {
            None => Write::Create { key, value, ttl_secs: None },
            Some(stored) => Write::Update { key, value, expected: stored.revision, ttl_secs: None },
        };
        assert!(matches!(self.storage.commit(vec![write]).await.unwrap(), Outcome::Committed { .. }));
        self.resources.catch_up().await.unwrap();
    }
}

#[tokio::test]
async fn a_binding_counts_once_its_write_is_answered_and_no_longer_than_it_is_there() {
    let c = Cluster::new().await;
    c.create("roles", "n/", role("reader", json!([rule(&["list"], &["pods"])]))).await.unwrap();
    for i in 0..50 {
        let (name, who) = (format!("b{i}"), user(&format!("jane{i}")));
        assert!(c.may(&who, "list", "pods", "n/").await.is_err(), "{i}");
        c.create("rolebindings", "n/", binding(&name, ("Role", "reader"), &who.name)).await.unwrap();
        assert!(c.may(&who, "list", "pods", "n/").await.is_ok(), "{i}: the next request after it");
        assert!(c.may(&who, "list", "pods", "default/").await.is_err(), "not in other namespaces");
        let other = json!({"subjects": [{"kind": "User", "apiGroup": GROUP, "name": "john"}]});
        if i % 2 == 0 {
            c.delete("rolebindings", &format!("n/{name}"), json!({})).await.unwrap();
        } else {
            c.merge("rolebindings", &format!("n/{name}"), other).await.unwrap();
        }
        assert!(c.may(&who, "list", "pods", "n/").await.is_err(), "{i}: it is taken away");
    }
    c.update("roles", "n/reader", &role("reader", json!([]))).await.unwrap();
    let refused = c.may(&user("john"), "list", "pods", "n/").await.unwrap_err();
    let words = r#"pods is forbidden: User "john" cannot list resource "pods" in API group "" in the namespace "n""#;
    assert_eq!((refused.code(), refused.message()), (403, words));
    c.delete("roles", "n/reader", json!({})).await.unwrap();
    let refused = c.may(&user("john"), "list", "pods", "n/").await.unwrap_err();
    assert_eq!(refused.message(), format!(r#"{words}: RBAC: role.rbac.authorization.k8s.io "reader" not found"#));
}

#[tokio::test]
async fn nobody_gives_what_he_does_not_have_by_whichever_way() {
    let c = Cluster::new().await;
    // Jane may write roles and bindings in n, and reads pods.
    let (all, writes) = (&["get", "list", "create", "update", "patch"], &["roles", "rolebindings"]);
    let own = json!([rule(&["get", "list"], &["pods"]), {"verbs": all, "apiGroups": [GROUP], "resources": writes}]);
    c.create("roles", "n/", role("owner", own)).await.unwrap();
    c.create("rolebindings", "n/", binding("owner", ("Role", "owner"), "jane")).await.unwrap();
    let secrets = json!([rule(&["get", "list"], &["secrets"])]);
    c.create("clusterroles", "", role("secrets", secrets.clone())).await.unwrap();
    let words = |what: &str| {
        format!(
            "{what} is forbidden: user \"jane\" (groups=[\"system:authenticated\"]) is attempting to grant RBAC permissions not currently held:\n{{APIGroups:[\"\"], Resources:[\"secrets\"], Verbs:[\"get\" \"list\"]}}"
        )
    };
    let (r, b) = (r#"roles.rbac.authorization.k8s.io "r""#, r#"rolebindings.rbac.authorization.k8s.io "b""#);
    let (strong, weak) = (role("r", secrets.clone()), role("r", json!([rule(&["get"], &["pods"])])));
    let gives = binding("b", ("ClusterRole", "secrets"), "jane");

    let (who, dry) = (jane(), WriteOptions { dry_run: true, ..WriteOptions::default() });
    assert_eq!(reason(c.create_as(&who, "roles", "n/", &strong).await), (Reason::Forbidden, words(r)));
    assert_eq!(reason(c.create_as(&who, "rolebindings", "n/", &gives).await), (Reason::Forbidden, words(b)));
    let asked = c.resources.create(&allowed(&who, &target("roles", "n/")), body(&strong), dry.clone()).await;
    assert_eq!(reason(asked).1, words(r), "a dry run is asked, too");
    let asked =
        c.resources.update(&allowed(&who, &target("roles", "n/r")), body(&strong), WriteOptions::default()).await;
    assert_eq!(reason(asked).1, words(r), "an update that would make it");
    let applied =
        json!({"apiVersion": format!("{GROUP}/v1"), "kind": "Role", "metadata": {"name": "r"}, "rules": secrets});
    let by = WriteOptions { field_manager: "m".into(), ..WriteOptions::default() };
    let target_r = target("roles", "n/r");
    let may = allowed(&who, &target_r);
    let apply = |by: WriteOptions| c.resources.patch(&may, patch::Kind::Apply, body(&applied), by);
    assert_eq!(reason(apply(by.clone()).await).1, words(r), "an apply that would make it");
    assert_eq!(reason(c.get("roles", "n/r").await).0, Reason::NotFound);

    c.create_as(&who, "roles", "n/", &weak).await.expect("what she has she gives");
    let asked = c.resources.update(&allowed(&who, &target_r), body(&strong), WriteOptions::default()).await;
    assert_eq!(reason(asked).1, words(r));
    let asked = c.resources.update(&allowed(&who, &target_r), body(&strong), dry).await;
    assert_eq!(reason(asked).1, words(r));
    let merge = body(&json!({"rules": secrets}));
    let asked = c.resources.patch(&allowed(&who, &target_r), patch::Kind::Merge, merge, WriteOptions::default()).await;
    assert_eq!(reason(asked).1, words(r));
    assert_eq!(reason(apply(WriteOptions { force: Some(true), ..by }).await).1, words(r));
    let labels = body(&json!({"metadata": {"labels": {"a": "b"}}}));
    let asked = c.resources.patch(&allowed(&who, &target_r), patch::Kind::Merge, labels, WriteOptions::default()).await;
    assert!(asked.is_ok(), "a role that gives what she has may be labelled");

    let gone = binding("b", ("Role", "gone"), "jane");
    let (why, message) = reason(c.create_as(&who, "rolebindings", "n/", &gone).await);
    assert_eq!((why, &*message), (Reason::NotFound, r#"roles.rbac.authorization.k8s.io "gone" not found"#));

    // Two more verbs let her.
    let may = json!([{"verbs": ["bind"], "apiGroups": [GROUP], "resources": ["clusterroles"], "resourceNames": ["secrets"]},
        {"verbs": ["escalate"], "apiGroups": [GROUP], "resources": ["roles"], "resourceNames": ["r"]}]);
    c.create("roles", "n/", role("more", may)).await.unwrap();
    c.create("rolebindings", "n/", binding("more", ("Role", "more"), "jane")).await.unwrap();
    c.create_as(&who, "rolebindings", "n/", &gives).await.expect("she may bind it");
    let asked = c.resources.update(&allowed(&who, &target_r), body(&strong), WriteOptions::default()).await;
    assert!(asked.is_ok(), "she may escalate this one: {:?}", asked.err());
    c.delete("roles", "n/r", json!({})).await.unwrap();
    // And she has what it gives since she is bound to it.
    c.delete("rolebindings", "n/b", json!({})).await.unwrap();
    assert_eq!(reason(c.create_as(&who, "roles", "n/", &strong).await).1, words(r), "a create names nothing");
    let asked = c.resources.update(&allowed(&who, &target_r), body(&strong), WriteOptions::default()).await;
    assert!(asked.is_ok(), "an update names what it makes: {:?}", asked.err());
}

#[tokio::test]
async fn what_another_server_gave_a_moment_ago_is_looked_for_before_a_refusal() {
    let c = Cluster::new().await;
    let other = c.restarted().await;
    let rules = json!([rule(&["get"], &["secrets"])]);
    for i in 0..20 {
        let who = format!("jane{i}");
        let name = format!("r{i}");
        c.create("clusterroles", "", role(&name, rules.clone())).await.unwrap();
        c.create("clusterrolebindings", "", binding(&name, ("ClusterRole", &name), &who)).await.unwrap();
        let given = other.create_as(&user(&who), "roles", "n/", &role(&name, rules.clone())).await;
        assert!(given.is_ok(), "{i}: {:?}", given.err());
    }
}

#[tokio::test]
async fn the_built_in_roles_are_mended_when_a_server_starts() {
    let c = Cluster::new().await;
    let scheduler = user("system:kube-scheduler");
    assert!(c.may(&scheduler, "create", "pods/binding", "n/web").await.is_ok(), "from the first request on");
    c.update(
        "clusterroles",
        "system:kube-scheduler",
        &role("system:kube-scheduler", json!([rule(&["get"], &["secrets"])])),
    )
    .await
    .unwrap();
    c.delete("clusterrolebindings", "system:basic-user", json!({})).await.unwrap();
    c.delete("clusterrolebindings", "system:discovery", json!({})).await.unwrap();
    c.create("clusterrolebindings", "", binding("system:discovery", ("ClusterRole", "cluster-admin"), "eve"))
        .await
        .unwrap();
    // These two want to stay as they are.
    let stays = json!({"metadata": {"annotations": {"rbac.authorization.kubernetes.io/autoupdate": "false"}}});
    c.merge("clusterroles", "system:kube-dns", stays.clone()).await.unwrap();
    c.merge("clusterroles", "system:kube-dns", json!({"rules": []})).await.unwrap();
    c.merge("clusterrolebindings", "system:node-proxier", stays).await.unwrap();
    c.merge("clusterrolebindings", "system:node-proxier", json!({"subjects": []})).await.unwrap();
    assert!(c.may(&scheduler, "create", "pods/binding", "n/web").await.is_err());
    assert!(c.may(&user("eve"), "delete", "nodes", "n1").await.is_ok());

    let c = c.restarted().await;
    assert!(c.may(&scheduler, "create", "pods/binding", "n/web").await.is_ok());
    assert!(c.may(&scheduler, "get", "secrets", "n/s").await.is_ok(), "what was added stays");
    assert!(c.get("clusterrolebindings", "system:basic-user").await.is_ok());
    assert!(c.may(&user("eve"), "delete", "nodes", "n1").await.is_err(), "it gives its own role again");
    assert_eq!(c.get("clusterroles", "system:kube-dns").await.unwrap()["rules"], Value::Null, "an empty list is none");
    assert!(c.may(&user("system:kube-proxy"), "list", "services", "").await.is_err());

    let before = c.resources.revision();
    let c = c.restarted().await;
    assert_eq!(c.resources.revision(), before, "a cluster that has everything is not written to");
}

#[tokio::test]
async fn servers_that_start_at_once_do_not_quarrel() {
    let storage: Arc<dyn Storage> = Arc::new(Memory::default());
    let servers = futures::future::join_all((0..4).map(|_| Cluster::on(storage.clone()))).await;
    let (roles, _) = servers[0].names("clusterroles", "", ListOptions::default()).await.unwrap();
    assert_eq!(roles.len(), crate::authz::rbac::bootstrap::policy().cluster_roles.len());
    for server in &servers {
        server.resources.catch_up().await.unwrap();
        assert!(server.may(&user("system:kube-scheduler"), "list", "nodes", "").await.is_ok());
    }
}

#[tokio::test]
async fn what_is_no_role_gives_nothing_and_harms_no_other() {
    let c = Cluster::new().await;
    c.create("clusterrolebindings", "", binding("b", ("ClusterRole", "odd"), "jane")).await.unwrap();
    let good = r#"{"metadata":{"name":"odd"},"rules":[{"verbs":["*"],"apiGroups":["*"],"resources":["*"]}]}"#;
    for odd in [
        r#"{"metadata":{"name":"odd"},"rules":"all"}"#,
        r#"{"metadata":{"name":"odd"},"rules":[{"verbs":"*","apiGroups":["*"],"resources":["*"]}]}"#,
        r#"{"metadata":{"name":"odd"},"rules":[{"verbs":["*"],"apiGroups":["*"]}]}"#,
        "nonsense",
    ] {
        c.store("clusterroles/odd", good).await;
        assert!(c.may(&jane(), "list", "pods", "n/").await.is_ok());
        c.store("clusterroles/odd", odd).await;
        assert!(c.may(&jane(), "list", "pods", "n/").await.is_err(), "{odd}");
        let again = c.restarted().await;
        assert!(again.may(&jane(), "list", "pods", "n/").await.is_err(), "{odd}: read at the start");
        assert!(again.may(&user("system:kube-scheduler"), "list", "pods", "n/").await.is_ok());
    }
    c.store("clusterroles/system:kube-dns", "nonsense").await;
    c.store("clusterroles/system:kube-scheduler", r#"{"metadata":{"name":"system:kube-scheduler"},"rules":5}"#).await;
    let again = c.restarted().await;
    assert!(again.may(&user("system:kube-scheduler"), "list", "pods", "n/").await.is_err());
    again.delete("clusterroles", "system:kube-scheduler", json!({})).await.expect_err("it cannot be read");
}

/// What the controller does, with its rights, by the rules that it goes by.
async fn aggregate(c: &Cluster) {
    let manager = user("system:kube-controller-manager");
    for _ in 0..3 {
        c.may(&manager, "list", "clusterroles", "").await.unwrap();
        let page =
            c.resources.list(&allowed(&c.admin, &target("clusterroles", "")), ListOptions::default()).await.unwrap();
        let roles: Vec<ClusterRole> = page.items.iter().map(|json| serde_json::from_slice(json).unwrap()).collect();
        for role in &roles {
            let Some(rules) = aggregated(role, &roles).unwrap() else { continue };
            let name = role.metadata.name.clone().unwrap();
            let object = json!({"apiVersion": format!("{GROUP}/v1"), "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules});
            let options = WriteOptions { field_manager: "m".into(), force: Some(true), ..WriteOptions::default() };
            let target = target("clusterroles", &name);
            c.may(&manager, "patch", "clusterroles", &name).await.unwrap();
            c.resources.patch(&allowed(&manager, &target), patch::Kind::Apply, body(&object), options).await.unwrap();
        }
    }
}

#[tokio::test]
async fn view_reads_and_edit_writes_once_their_rules_are_gathered() {
    let c = Cluster::new().await;
    c.create("rolebindings", "n/", binding("v", ("ClusterRole", "view"), "jane")).await.unwrap();
    c.create("rolebindings", "n/", binding("e", ("ClusterRole", "edit"), "john")).await.unwrap();
    c.create("rolebindings", "n/", binding("a", ("ClusterRole", "admin"), "anna")).await.unwrap();
    assert!(c.may(&jane(), "list", "pods", "n/").await.is_err(), "nobody has gathered them yet");
    aggregate(&c).await;
    let (view, edit, admin) = (jane(), user("john"), user("anna"));
    for (who, verb, plural, allowed) in [
        (&view, "list", "pods", true),
        (&view, "watch", "deployments", true),
        (&view, "get", "secrets", false),
        (&view, "create", "pods", false),
        (&edit, "create", "pods", true),
        (&edit, "get", "secrets", true),
        (&edit, "create", "rolebindings", false),
        (&admin, "create", "rolebindings", true),
        (&admin, "list", "pods", true),
        (&admin, "update", "resourcequotas", false),
    ] {
        assert_eq!(c.may(who, verb, plural, "n/").await.is_ok(), allowed, "{} {verb} {plural}", who.name);
        assert!(c.may(who, verb, plural, "default/").await.is_err());
    }
    let given = c.create_as(&admin, "rolebindings", "n/", &binding("g", ("ClusterRole", "view"), "joe")).await;
    assert!(given.is_ok(), "an admin gives what he has: {:?}", given.err());
    let refused =
        c.create_as(&admin, "rolebindings", "n/", &binding("h", ("ClusterRole", "cluster-admin"), "joe")).await;
    assert_eq!(reason(refused).0, Reason::Forbidden);
    let rules = c.resources.authorizer().rules(&view, "n");
    assert!(rules.resource_rules.len() > 10 && !rules.incomplete, "what `kubectl auth can-i --list` shows");
    let answer = c
        .resources
        .explain(&allowed(&view, &Target::default()), &view, "list", &target("pods", "n/"), &FieldSelector::default())
        .await
        .unwrap();
    assert_eq!(answer, Ok(r#"RBAC: allowed by RoleBinding "v/n" of ClusterRole "view" to User "jane""#.to_owned()));
}

/// As client-go watches one object.
#[tokio::test]
async fn who_may_read_one_name_lists_and_watches_it_by_its_field_selector() {
    let c = Cluster::new().await;
    let verbs = ["get", "list", "watch", "deletecollection"];
    let rules = json!([{"verbs": verbs, "apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["one"]}]);
    c.create("roles", "n/", role("one", rules)).await.unwrap();
    c.create("rolebindings", "n/", binding("one", ("Role", "one"), "jane")).await.unwrap();
    let jane = jane();
    for (verb, at, fields, allowed) in [
        ("get", "n/one", "", true),
        ("list", "n/", "metadata.name=one", true),
        ("watch", "n/", "metadata.name==one,metadata.namespace=n", true),
        ("list", "n/", "", false),
        ("list", "n/", "metadata.name=two", false),
        ("list", "n/", "metadata.name!=one", false),
        ("list", "n/", "metadata.name=two,metadata.name=one", false),
        ("list", "n/", "metadata.namespace=one", false),
        ("list", "other/", "metadata.name=one", false),
        ("deletecollection", "n/", "metadata.name=one", false),
    ] {
        let fields = FieldSelector::parse(fields).unwrap();
        let asked = c.resources.check(&jane, verb, &target("configmaps", at), &fields).await;
        assert_eq!(asked.is_ok(), allowed, "{verb} {at} {fields:?}: {asked:?}");
    }
}
