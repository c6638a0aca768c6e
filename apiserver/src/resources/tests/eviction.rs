//! Evictions: what a budget allows, and what it pays for.

use super::*;

/// A pod of the application `web` that is ready on a node, and its budget.
async fn guarded(allowed: i32) -> Cluster {
    let c = Cluster::new().await;
    for name in ["web-1", "web-2"] {
        let mut held = pod(name);
        held["metadata"]["labels"] = json!({"app": "web"});
        held["spec"]["nodeName"] = json!("n1");
        c.create("pods", "n/", held).await.unwrap();
        let status = json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]});
        c.merge("pods/status", &format!("n/{name}"), json!({ "status": status })).await.unwrap();
    }
    let selector = json!({"matchLabels": {"app": "web"}});
    let budget = json!({"metadata": {"name": "b"}, "spec": {"minAvailable": 1, "selector": selector}});
    c.create("poddisruptionbudgets", "n/", budget).await.unwrap();
    count(&c, allowed).await;
    c
}
/// What its controller does.
async fn count(c: &Cluster, allowed: i32) {
    let status =
        json!({"observedGeneration": 1, "disruptionsAllowed": allowed, "currentHealthy": 2, "desiredHealthy": 1});
    c.merge("poddisruptionbudgets/status", "n/b", json!({ "status": status })).await.unwrap();
}
async fn evict(c: &Cluster, name: &str, how: Value) -> Result<Value, ApiError> {
    let eviction = json!({"metadata": {"name": name}, "deleteOptions": how});
    c.create("pods/eviction", &format!("n/{name}"), eviction).await
}

#[tokio::test]
async fn a_budget_pays_for_an_eviction_in_the_same_write() {
    let c = guarded(1).await;
    evict(&c, "web-1", json!({"dryRun": ["All"]})).await.unwrap();
    let before = c.get("poddisruptionbudgets", "n/b").await.unwrap();
    assert_eq!(before["status"]["disruptionsAllowed"], 1, "a dry run pays nothing");

    evict(&c, "web-1", json!({})).await.unwrap();
    let (gone, paid) = (c.get("pods", "n/web-1").await.unwrap(), c.get("poddisruptionbudgets", "n/b").await.unwrap());
    assert!(gone["metadata"]["deletionTimestamp"].is_string(), "{gone}");
    assert_eq!(version(&gone), version(&paid));
    assert_eq!(paid["status"]["disruptionsAllowed"], 0);
    assert!(paid["status"]["disruptedPods"]["web-1"].is_string(), "{paid}");
    assert_eq!(paid["metadata"]["generation"], 1);

    let refused = evict(&c, "web-2", json!({})).await.unwrap_err();
    assert_eq!(
        (refused.code(), refused.message()),
        (429, "Cannot evict pod as it would violate the pod's disruption budget.")
    );
    assert!(c.get("pods", "n/web-2").await.unwrap()["metadata"]["deletionTimestamp"].is_null());
    evict(&c, "web-1", json!({})).await.unwrap();

    count(&c, 1).await;
    evict(&c, "web-2", json!({"gracePeriodSeconds": 0})).await.unwrap();
    assert_eq!(reason(c.get("pods", "n/web-2").await).0, Reason::NotFound);
    let paid = c.get("poddisruptionbudgets", "n/b").await.unwrap();
    assert!(paid["status"]["disruptedPods"]["web-2"].is_string(), "{paid}");
}

#[tokio::test]
async fn of_two_evictions_at_once_a_budget_for_one_pays_for_one() {
    let c = guarded(1).await;
    let (one, other) = tokio::join!(evict(&c, "web-1", json!({})), evict(&c, "web-2", json!({})));
    assert_eq!([one.is_ok(), other.is_ok()].into_iter().filter(|ok| *ok).count(), 1);
    let paid = c.get("poddisruptionbudgets", "n/b").await.unwrap();
    assert_eq!(paid["status"]["disruptedPods"].as_object().unwrap().len(), 1);
}

#[tokio::test]
async fn a_pod_with_two_budgets_is_not_evicted() {
    let c = guarded(1).await;
    c.create("poddisruptionbudgets", "n/", json!({"metadata": {"name": "all"}, "spec": {"selector": {}}}))
        .await
        .unwrap();
    let refused = evict(&c, "web-1", json!({})).await.unwrap_err();
    let words = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
    assert_eq!((refused.code(), refused.message()), (500, words));
    let odd = evict(&c, "web-1", json!({"ignoreStoreReadErrorWithClusterBreakingPotential": true})).await.unwrap_err();
    assert!(odd.code() == 422 && odd.message().contains("can not be set for pod eviction"), "{odd}");
}

#[tokio::test(start_paused = true)]
async fn evictions_that_budgets_pay_for_go_one_after_the_other_and_wait_briefly() {
    let c = guarded(2).await;
    let turn = c.resources.inner.evictions.take("n").await.unwrap();
    let refused = evict(&c, "web-1", json!({})).await.unwrap_err();
    assert_eq!((refused.code(), refused.status().details.as_ref().unwrap().retry_after_seconds), (429, Some(1)));
    drop(turn);
    evict(&c, "web-1", json!({})).await.unwrap();
    // Nobody waits where there is no budget.
    let _turn = c.resources.inner.evictions.take("n").await.unwrap();
    c.delete("poddisruptionbudgets", "n/b", json!({})).await.unwrap();
    evict(&c, "web-2", json!({})).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn evictions_that_wait_for_their_turn_keep_no_large_work_from_a_place() {
    let c = Arc::new(guarded(1).await);
    let large = json!({"metadata": {"name": "large", "annotations": {"pad": "x".repeat(200 << 10)}}});
    for name in ["large-1", "large-2"] {
        let mut budget = large.clone();
        budget["metadata"]["name"] = json!(name);
        budget["spec"] = json!({"selector": {"matchLabels": {"app": "other"}}});
        c.create("poddisruptionbudgets", "n/", budget).await.unwrap();
    }
    let may = allowed(&c.admin, &target("pods/eviction", "n/web-1"));
    assert!(!c.resources.is_large(&Allowed::Create(may), 1 << 20), "the doors give it no place");
    let turn = c.resources.inner.evictions.take("n").await.unwrap();
    let mut waiting: Vec<_> = (0..8)
        .map(|_| {
            let c = Arc::clone(&c);
            tokio::spawn(async move { evict(&c, "web-1", json!({})).await })
        })
        .collect();
    let all_wait = async {
        while c.resources.inner.evictions.waiting("n") < waiting.len() {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, all_wait).await.expect("they wait for their turn");
    let others = timeout(DEADLINE, crate::aside::aside(&c.admin.name, true, async {}));
    assert!(others.await.is_ok(), "another large request of the same user works meanwhile");
    drop(turn);
    assert!(waiting.remove(0).await.is_ok());
}
