//! What a kubelet may read: what is on its node.

use super::*;

#[tokio::test]
async fn a_node_reads_what_its_own_pods_refer_to() {
    let c = Cluster::new().await;
    let other = Cluster::on(c.storage.clone()).await;
    let on = |name: &str, node: &str, secret: &str| {
        let volumes = json!([{"name": "v", "secret": {"secretName": secret}}]);
        let spec = json!({"nodeName": node, "volumes": volumes, "containers": [{"name": "c", "image": "i"}]});
        json!({"metadata": {"name": name}, "spec": spec})
    };
    c.create("pods", "n/", on("mine", "n1", "s1")).await.unwrap();
    c.create("pods", "n/", on("theirs", "n2", "s2")).await.unwrap();
    let groups = vec!["system:nodes".into(), "system:authenticated".into()];
    let node = User { name: "system:node:n1".into(), groups, ..User::default() };
    for (verb, plural, at, fields, allowed) in [
        ("get", "secrets", "n/s1", "", true),
        ("watch", "secrets", "n/", "metadata.name=s1", true),
        ("get", "secrets", "n/s2", "", false),
        ("get", "secrets", "default/s1", "", false),
        ("get", "configmaps", "n/s1", "", false),
        ("list", "secrets", "n/", "", false),
        ("get", "pods", "n/mine", "", true),
        ("get", "pods", "n/theirs", "", false),
        ("get", "pods", "n/gone", "", true),
        ("watch", "pods", "", "spec.nodeName=n1", true),
        ("watch", "pods", "", "", false),
        ("watch", "services", "", "", true),
    ] {
        let fields = FieldSelector::parse(fields).unwrap();
        // A server that has not seen the pods yet looks again before it refuses.
        let asked = other.resources.authorize(&node, verb, &target(plural, at), &fields).await;
        assert_eq!(asked.is_ok(), allowed, "{verb} {plural} {at} {fields:?}: {asked:?}");
    }
    let refused = other.resources.authorize(&node, "get", &target("secrets", "n/s2"), &FieldSelector::default()).await;
    let words = r#"secrets "s2" is forbidden: User "system:node:n1" cannot get resource "secrets" in API group "" in the namespace "n": no relationship found between node 'n1' and this object"#;
    assert_eq!(reason(refused), (Reason::Forbidden, words.into()));
}
