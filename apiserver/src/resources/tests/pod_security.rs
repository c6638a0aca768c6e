//! A namespace's labels at work: on pods to come, and on those that are there.

use super::*;

#[tokio::test]
async fn labels_refuse_pods_and_warn_of_those_that_are_there() {
    let c = Cluster::new().await;
    let bad = |name: &str| {
        let mut pod = pod(name);
        pod["spec"]["hostPID"] = json!(true);
        pod
    };
    c.create("pods", "n/", bad("old")).await.unwrap();
    c.resources.catch_up().await.unwrap();
    let labelled = |level: &str| json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": level}}});
    let body = Bytes::from(labelled("baseline").to_string());
    let (kind, options) = (patch::Kind::Merge, WriteOptions::default());
    let written = c.resources.patch(&allowed(&c.admin, &target("namespaces", "n")), kind, body, options).await.unwrap();
    let told = [
        r#"existing pods in namespace "n" violate the new PodSecurity enforce level "baseline:latest""#,
        "old: host namespaces",
    ];
    assert_eq!(written.warnings, told);
    // Admission reads the cache, as upstream's reads an informer's.
    c.resources.catch_up().await.unwrap();

    let words = r#"pods "new" is forbidden: violates PodSecurity "baseline:latest": host namespaces (hostPID=true)"#;
    assert_eq!(reason(c.create("pods", "n/", bad("new")).await), (Reason::Forbidden, words.into()));
    c.create("pods", "n/", pod("good")).await.unwrap();
    c.merge("pods", "n/old", json!({"metadata": {"labels": {"a": "b"}}})).await.expect("nothing that counts");
    assert_eq!(
        reason(c.merge("pods", "n/old", json!({"spec": {"containers": [{"name": "c", "image": "j"}]}})).await).0,
        Reason::Forbidden
    );

    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": bad("x")["spec"]});
    let deployment =
        json!({"metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template}});
    let json = Bytes::from(deployment.to_string());
    let written = c
        .resources
        .create(&allowed(&c.admin, &target("deployments", "n/")), json, WriteOptions::default())
        .await
        .unwrap();
    assert_eq!(written.warnings, [r#"would violate PodSecurity "baseline:latest": host namespaces (hostPID=true)"#]);

    let odd = reason(c.merge("namespaces", "n", labelled("odd")).await);
    assert_eq!(odd.0, Reason::Invalid, "{}", odd.1);
}
