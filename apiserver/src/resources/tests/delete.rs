//! Deletion: at once, after a grace period, by finalizers, of collections.

use super::*;

#[tokio::test]
async fn deletion_waits_for_grace_and_finalizers() {
    let c = Cluster::new().await;
    c.create("pods", "n/", pod("loose")).await.unwrap();
    assert!(c.delete("pods", "n/loose", json!({})).await.unwrap().gone, "no kubelet has it");

    let mut held = pod("web");
    held["spec"]["nodeName"] = json!("n1");
    c.create("pods", "n/", held).await.unwrap();
    let first = c.delete("pods", "n/web", json!({})).await.unwrap();
    let marked: Value = serde_json::from_slice(&first.body).unwrap();
    assert_eq!((first.gone, &marked["metadata"]["deletionGracePeriodSeconds"]), (false, &json!(30)));
    for (asked, left) in
        [(json!({"gracePeriodSeconds": 300}), 30), (json!({"gracePeriodSeconds": 5}), 5), (json!({}), 5)]
    {
        let again = c.delete("pods", "n/web", asked).await.unwrap();
        let marked: Value = serde_json::from_slice(&again.object).unwrap();
        assert_eq!(marked["metadata"]["deletionGracePeriodSeconds"], left, "never longer");
    }
    let wrong = c.delete("pods", "n/web", json!({"preconditions": {"uid": "x"}, "gracePeriodSeconds": 0})).await;
    let (why, words) = reason(wrong);
    assert_eq!(why, Reason::Conflict);
    assert!(words.contains("the UID in the precondition (x) does not match the UID in record ("), "{words}");
    assert!(c.delete("pods", "n/web", json!({"gracePeriodSeconds": 0})).await.unwrap().gone);
    assert_eq!(reason(c.delete("pods", "n/web", json!({})).await).0, Reason::NotFound);

    c.create("configmaps", "n/", json!({"metadata": {"name": "f", "finalizers": ["a.b/c"]}})).await.unwrap();
    assert!(!c.delete("configmaps", "n/f", json!({"propagationPolicy": "Foreground"})).await.unwrap().gone);
    let waiting = c.get("configmaps", "n/f").await.unwrap();
    assert_eq!(waiting["metadata"]["finalizers"], json!(["a.b/c", "foregroundDeletion"]));
    c.merge("configmaps", "n/f", json!({"metadata": {"finalizers": ["foregroundDeletion"]}})).await.unwrap();
    c.merge("configmaps", "n/f", json!({"metadata": {"finalizers": []}})).await.unwrap();
    assert_eq!(reason(c.get("configmaps", "n/f").await).0, Reason::NotFound, "the last finalizer takes it along");
    let both = c.delete("configmaps", "n/f", json!({"propagationPolicy": "Orphan", "orphanDependents": true})).await;
    assert_eq!(reason(both).0, Reason::Invalid);
}

#[tokio::test]
async fn pods_of_a_job_stay_unless_its_delete_says_otherwise() {
    let c = Cluster::new().await;
    let template = json!({"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}});
    let told = "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or set propagationPolicy=Orphan to suppress this warning";
    for (asked, is_gone, warning) in [
        (json!({}), false, Some(told)),
        (json!({"propagationPolicy": "Orphan"}), false, None),
        (json!({"orphanDependents": true}), false, None),
        (json!({"propagationPolicy": "Background"}), true, None),
    ] {
        let job = json!({"metadata": {"generateName": "pi-"}, "spec": {"template": template}});
        let made = c.create("jobs", "n/", job).await.unwrap();
        let name = format!("n/{}", made["metadata"]["name"].as_str().unwrap());
        let deleted = c.delete("jobs", &name, asked.clone()).await.unwrap();
        assert_eq!((deleted.gone, deleted.warnings), (is_gone, Vec::from_iter(warning.map(str::to_owned))), "{asked}");
        if !is_gone {
            let waiting = c.get("jobs", &name).await.unwrap();
            assert_eq!(waiting["metadata"]["finalizers"], json!(["orphan"]), "{asked}");
        }
    }
}

#[tokio::test]
async fn a_namespace_goes_when_it_is_finalized() {
    let c = Cluster::new().await;
    assert!(!c.delete("namespaces", "n", json!({})).await.unwrap().gone);
    let mut ending = c.get("namespaces", "n").await.unwrap();
    assert_eq!(ending["status"]["phase"], "Terminating");
    let refused = reason(c.create("configmaps", "n/", json!({"metadata": {"name": "late"}})).await);
    assert!(refused.0 == Reason::Forbidden && refused.1.contains("because it is being terminated"), "{refused:?}");
    ending["spec"]["finalizers"] = json!([]);
    c.update("namespaces/finalize", "n", &ending).await.unwrap();
    assert_eq!(reason(c.get("namespaces", "n").await).0, Reason::NotFound);
}

#[tokio::test]
async fn collections_are_deleted_by_selector() {
    let c = Cluster::new().await;
    for (name, label) in [("a", "1"), ("b", "2"), ("c", "1")] {
        c.config_map(name, json!({"a": label})).await;
    }
    let which = ListOptions { labels: Selector::parse("a=1").unwrap(), ..ListOptions::default() };
    let (t, how) = (target("configmaps", "n/"), DeleteOptions::default());
    let gone =
        c.resources.delete_collection(&allowed(&c.admin, &t), which, how, WriteOptions::default()).await.unwrap();
    assert_eq!(gone.items.len(), 2);
    assert_eq!(c.names("configmaps", "n/", ListOptions::default()).await.unwrap().0, ["b"]);
}

#[tokio::test]
async fn who_removes_the_last_finalizer_is_shown_the_object_without_it() {
    let c = Cluster::new().await;
    c.create("configmaps", "n/", json!({"metadata": {"name": "f", "finalizers": ["a.b/c"]}})).await.unwrap();
    assert!(!c.delete("configmaps", "n/f", json!({})).await.unwrap().gone);
    let mut last = c.get("configmaps", "n/f").await.unwrap();
    last["metadata"].as_object_mut().unwrap().remove("finalizers");
    let answer = c.update("configmaps", "n/f", &last).await.unwrap();
    assert_eq!(answer["metadata"]["finalizers"], Value::Null, "{answer}");
    assert!(answer["metadata"]["deletionTimestamp"].is_string() && version(&answer) > version(&last), "{answer}");
    assert_eq!(reason(c.get("configmaps", "n/f").await).0, Reason::NotFound);

    c.delete("namespaces", "n", json!({})).await.unwrap();
    let mut ending = c.get("namespaces", "n").await.unwrap();
    ending["spec"]["finalizers"] = json!([]);
    let answer = c.update("namespaces/finalize", "n", &ending).await.unwrap();
    assert_eq!(answer["spec"], Value::Null, "nothing is left in it: {answer}");
}

#[tokio::test]
async fn a_dry_run_said_in_the_body_of_a_delete_deletes_nothing() {
    let c = Cluster::new().await;
    c.config_map("a", json!({})).await;
    let dry = json!({"dryRun": ["All"]});
    assert!(c.delete("configmaps", "n/a", dry.clone()).await.unwrap().gone, "it would be");
    c.get("configmaps", "n/a").await.unwrap();
    let (t, how) = (target("configmaps", "n/"), serde_json::from_value(dry.clone()).unwrap());
    let which = ListOptions::default();
    c.resources.delete_collection(&allowed(&c.admin, &t), which, how, WriteOptions::default()).await.unwrap();
    c.get("configmaps", "n/a").await.unwrap();
    c.create("pods", "n/", pod("web")).await.unwrap();
    let eviction = json!({"metadata": {"name": "web"}, "deleteOptions": dry});
    c.create("pods/eviction", "n/web", eviction).await.unwrap();
    c.get("pods", "n/web").await.unwrap();
}

#[tokio::test]
async fn an_evicted_pod_says_why_it_goes_in_the_write_that_deletes_it() {
    let c = Cluster::new().await;
    let mut held = pod("web");
    held["spec"]["nodeName"] = json!("n1");
    let created = c.create("pods", "n/", held).await.unwrap();
    let from = WatchFrom::After(version(&created));
    let mut watch = c.watch("pods", "n/", WatchOptions { from, ..WatchOptions::default() }).await.unwrap();
    c.create("pods/eviction", "n/web", json!({"metadata": {"name": "web"}})).await.unwrap();
    let evicted = c.get("pods", "n/web").await.unwrap();
    assert_eq!(evicted["metadata"]["deletionGracePeriodSeconds"], 30);
    let condition = evicted["status"]["conditions"].as_array().unwrap().last().unwrap().clone();
    assert_eq!((&condition["type"], &condition["status"]), (&json!("DisruptionTarget"), &json!("True")));
    let said = (&condition["reason"], &condition["message"]);
    assert_eq!(said, (&json!("EvictionByEvictionAPI"), &json!("Eviction API: evicting")));
    assert!(condition["lastTransitionTime"].is_string(), "{condition}");
    c.create("pods/eviction", "n/web", json!({"metadata": {"name": "web"}})).await.unwrap();
    assert_eq!(version(&c.get("pods", "n/web").await.unwrap()), version(&evicted), "once is enough");

    let at_once = json!({"metadata": {"name": "web"}, "deleteOptions": {"gracePeriodSeconds": 0}});
    c.create("pods/eviction", "n/web", at_once).await.unwrap();
    assert_eq!(watch.take(2).await, ["MODIFIED web -", "DELETED web -"], "one write for each");
    assert_eq!(reason(c.get("pods", "n/web").await).0, Reason::NotFound);
}
