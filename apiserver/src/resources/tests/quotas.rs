//! Quotas: what a write is charged, what is refused, and that every revision of the store has its sums right.

mod history;
mod races;

use super::*;
use crate::storage::Write;
use crate::storage::flaky::Flaky;

const GUARD: &str = "/registry/corten/quotas/n";

pub(super) fn quota(name: &str, hard: Value) -> Value {
    json!({"metadata": {"name": name}, "spec": {"hard": hard}})
}
pub(super) fn asking(name: &str, cpu: &str) -> Value {
    let container = json!({"name": "c", "image": "i", "resources": {"requests": {"cpu": cpu}}});
    json!({"metadata": {"name": name}, "spec": {"containers": [container]}})
}

impl Cluster {
    async fn used(&self, name: &str) -> Value {
        self.get("resourcequotas", &format!("n/{name}")).await.unwrap()["status"]["used"].clone()
    }
    /// Another hand at the store.
    async fn rewrite(&self, key: &str, edit: impl FnOnce(&mut Value)) {
        let stored = self.storage.get(key).await.unwrap().unwrap();
        let mut object: Value = serde_json::from_slice(&stored.value).unwrap();
        edit(&mut object);
        let (key, value, expected) = (key.into(), object.to_string().into(), stored.revision);
        self.storage.commit(vec![Write::Update { key, value, expected, ttl_secs: None }]).await.unwrap();
        self.resources.catch_up().await.unwrap();
    }
    async fn gone(&self, plural: &str, name: &str) {
        self.delete(plural, &format!("n/{name}"), json!({"gracePeriodSeconds": 0})).await.unwrap();
    }
}

fn assert_exceeded(refused: Result<Value, ApiError>, what: &str, words: &str) {
    let err = refused.expect_err(words);
    assert_eq!((err.code(), err.reason()), (403, Reason::Forbidden), "{err}");
    assert_eq!(err.message(), format!("{what} is forbidden: {words}"));
}

#[tokio::test]
async fn a_quota_is_counted_when_it_is_made_and_holds_from_then_on() {
    let c = Cluster::new().await;
    c.create("pods", "n/", asking("first", "100m")).await.unwrap();
    let made = c.create("resourcequotas", "n/", quota("q", json!({"pods": "2", "requests.cpu": "1"}))).await.unwrap();
    let status = json!({"hard": {"pods": "2", "requests.cpu": "1"}, "used": {"pods": "1", "requests.cpu": "100m"}});
    assert_eq!(made["status"], status, "the answer has it");
    assert_eq!(c.get("resourcequotas", "n/q").await.unwrap(), made);

    assert_exceeded(
        c.create("pods", "n/", asking("big", "1")).await,
        r#"pods "big""#,
        "exceeded quota: q, requested: requests.cpu=1, used: requests.cpu=100m, limited: requests.cpu=1",
    );
    assert_exceeded(
        c.create("pods", "n/", pod("silent")).await,
        r#"pods "silent""#,
        "failed quota: q: must specify requests.cpu for: c",
    );
    let json = Bytes::from(asking("dry", "2").to_string());
    let dry = WriteOptions { dry_run: true, ..WriteOptions::default() };
    let refused = c.resources.create(&allowed(&c.admin, &target("pods", "n/")), json, dry.clone()).await.unwrap_err();
    assert!(refused.message().contains("exceeded quota: q"), "a dry run is refused too: {refused}");
    let json = Bytes::from(asking("dry", "100m").to_string());
    c.resources.create(&allowed(&c.admin, &target("pods", "n/")), json, dry).await.unwrap();
    assert_eq!(c.used("q").await["pods"], "1", "and charges nothing");

    let second = c.create("pods", "n/", asking("second", "900m")).await.unwrap();
    let charged = c.get("resourcequotas", "n/q").await.unwrap();
    assert_eq!(charged["status"]["used"], json!({"pods": "2", "requests.cpu": "1"}));
    assert_eq!(version(&charged), version(&second), "in the same commit");
    assert!(c.create("pods", "n/", asking("third", "0")).await.is_err());

    c.merge("pods/status", "n/second", json!({"status": {"phase": "Succeeded"}})).await.unwrap();
    assert_eq!(c.used("q").await, json!({"pods": "1", "requests.cpu": "100m"}), "what has ended takes nothing");
    c.gone("pods", "second").await;
    c.gone("pods", "first").await;
    assert_eq!(c.used("q").await, json!({"pods": "0", "requests.cpu": "0"}));
}

#[tokio::test]
async fn what_a_quota_allows_can_change_and_is_counted_anew() {
    let c = Cluster::new().await;
    c.create("resourcequotas", "n/", quota("q", json!({"configmaps": "1"}))).await.unwrap();
    c.config_map("a", json!({})).await;
    c.create("services", "n/", json!({"metadata": {"name": "s"}, "spec": {"ports": [{"port": 1}]}})).await.unwrap();
    assert!(c.create("configmaps", "n/", json!({"metadata": {"name": "b"}})).await.is_err());

    let hard = json!({"configmaps": "2", "services": "1", "count/deployments.apps": "0"});
    let changed = c.merge("resourcequotas", "n/q", json!({"spec": {"hard": hard}})).await.unwrap();
    assert_eq!(changed["status"]["hard"], hard);
    let used = json!({"configmaps": "1", "services": "1", "count/deployments.apps": "0"});
    assert_eq!(changed["status"]["used"], used);
    c.config_map("b", json!({})).await;
    let labelled = c.merge("resourcequotas", "n/q", json!({"metadata": {"labels": {"a": "b"}}})).await.unwrap();
    assert_eq!(labelled["status"]["used"]["configmaps"], "2");

    let less = json!({"spec": {"hard": {"configmaps": "1", "services": null, "count/deployments.apps": null}}});
    let lowered = c.merge("resourcequotas", "n/q", less).await.unwrap();
    assert_eq!(lowered["status"], json!({"hard": {"configmaps": "1"}, "used": {"configmaps": "2"}}));
    c.gone("configmaps", "a").await;
    assert!(c.create("configmaps", "n/", json!({"metadata": {"name": "c"}})).await.is_err());
    c.gone("configmaps", "b").await;
    c.config_map("c", json!({})).await;
}

#[tokio::test]
async fn each_quota_that_an_object_is_in_is_charged_and_one_that_is_full_keeps_all_as_they_are() {
    let c = Cluster::new().await;
    c.create("resourcequotas", "n/", quota("pods", json!({"pods": "5"}))).await.unwrap();
    let scoped = json!({"metadata": {"name": "be"}, "spec": {"hard": {"pods": "1"}, "scopes": ["BestEffort"]}});
    c.create("resourcequotas", "n/", scoped).await.unwrap();
    let other = json!({"metadata": {"name": "nbe"}, "spec": {"hard": {"pods": "1"}, "scopes": ["NotBestEffort"]}});
    c.create("resourcequotas", "n/", other).await.unwrap();
    c.create("pods", "n/", pod("a")).await.unwrap();
    assert_exceeded(
        c.create("pods", "n/", pod("b")).await,
        r#"pods "b""#,
        "exceeded quota: be, requested: pods=1, used: pods=1, limited: pods=1",
    );
    c.create("pods", "n/", asking("c", "1")).await.unwrap();
    let used = async |name| c.used(name).await["pods"].as_str().unwrap().to_owned();
    assert_eq!([used("pods").await, used("be").await, used("nbe").await], ["2", "1", "1"]);
}

#[tokio::test]
async fn quotas_count_quotas_too() {
    let c = Cluster::new().await;
    let made = c.create("resourcequotas", "n/", quota("q", json!({"resourcequotas": "2"}))).await.unwrap();
    assert_eq!(made["status"]["used"]["resourcequotas"], "1", "itself");
    c.create("resourcequotas", "n/", quota("second", json!({"pods": "1"}))).await.unwrap();
    assert_exceeded(
        c.create("resourcequotas", "n/", quota("third", json!({"pods": "1"}))).await,
        r#"resourcequotas "third""#,
        "exceeded quota: q, requested: resourcequotas=1, used: resourcequotas=2, limited: resourcequotas=2",
    );
    c.config_map("nobody-waits", json!({})).await;
    c.gone("resourcequotas", "second").await;
    assert_eq!(c.used("q").await["resourcequotas"], "1");
    assert_eq!(reason(c.create("resourcequotas", "n/", quota("q", json!({}))).await).0, Reason::AlreadyExists);
}

#[tokio::test]
async fn whatever_way_an_object_goes_it_gives_back_what_it_took() {
    let c = Cluster::new().await;
    c.create("resourcequotas", "n/", quota("q", json!({"pods": "9", "count/configmaps": "9"}))).await.unwrap();
    for name in ["evicted", "bound", "swept-1", "swept-2"] {
        c.create("pods", "n/", pod(name)).await.unwrap();
    }
    let held = json!({"metadata": {"name": "held", "finalizers": ["a.b/c"]}});
    c.create("configmaps", "n/", held).await.unwrap();
    assert_eq!(c.used("q").await, json!({"pods": "4", "count/configmaps": "1"}));

    let eviction = json!({"metadata": {"name": "evicted"}, "deleteOptions": {"gracePeriodSeconds": 0}});
    c.create("pods/eviction", "n/evicted", eviction).await.unwrap();
    assert_eq!(c.used("q").await["pods"], "3");
    c.create("pods/binding", "n/bound", json!({"metadata": {"name": "bound"}, "target": {"name": "n1"}}))
        .await
        .unwrap();
    c.delete("pods", "n/bound", json!({})).await.unwrap();
    assert_eq!(c.used("q").await["pods"], "3", "it has its grace");
    c.gone("pods", "bound").await;
    let how: DeleteOptions = serde_json::from_value(json!({"gracePeriodSeconds": 0})).unwrap();
    let (all, options) = (ListOptions::default(), WriteOptions::default());
    c.resources.delete_collection(&allowed(&c.admin, &target("pods", "n/")), all, how, options).await.unwrap();
    assert_eq!(c.used("q").await["pods"], "0");

    c.delete("configmaps", "n/held", json!({})).await.unwrap();
    assert_eq!(c.used("q").await["count/configmaps"], "1");
    c.merge("configmaps", "n/held", json!({"metadata": {"finalizers": null}})).await.unwrap();
    assert_eq!(c.used("q").await["count/configmaps"], "0");
}

#[tokio::test]
async fn with_its_last_quota_a_namespace_loses_its_guard() {
    let c = Cluster::new().await;
    let guarded = async || c.storage.get(GUARD).await.unwrap().is_some();
    c.config_map("before", json!({})).await;
    assert!(!guarded().await);
    c.create("resourcequotas", "n/", quota("a", json!({"pods": "1"}))).await.unwrap();
    c.create("resourcequotas", "n/", quota("b", json!({"pods": "1"}))).await.unwrap();
    c.gone("resourcequotas", "a").await;
    assert!(guarded().await);
    c.gone("resourcequotas", "b").await;
    assert!(!guarded().await);
    c.config_map("after", json!({})).await;
    let bad = c.create("resourcequotas", "n/", quota("c", json!({"disk": "1"}))).await;
    assert_eq!(reason(bad).0, Reason::Invalid);
    assert!(!guarded().await);
}

#[tokio::test]
async fn what_users_write_into_a_status_stays_until_it_is_counted_anew() {
    let c = Cluster::new().await;
    c.create("resourcequotas", "n/", quota("q", json!({"configmaps": "5"}))).await.unwrap();
    c.config_map("a", json!({})).await;
    let wrong = json!({"status": {"hard": {"configmaps": "9"}, "used": {"configmaps": "9"}}});
    let written = c.merge("resourcequotas/status", "n/q", wrong.clone()).await.unwrap();
    assert_eq!(written["status"], wrong["status"]);
    assert!(c.create("configmaps", "n/", json!({"metadata": {"name": "b"}})).await.is_err());
    c.resources.catch_up().await.unwrap();
    c.resources.recount_quotas().await.unwrap();
    assert_eq!(c.used("q").await["configmaps"], "1");
    let at = c.resources.catch_up().await.unwrap();
    c.resources.recount_quotas().await.unwrap();
    assert_eq!(c.resources.catch_up().await.unwrap(), at, "what is right is not written again");
    c.config_map("b", json!({})).await;
}

#[tokio::test]
async fn a_pod_of_a_lost_node_is_given_back_once_its_grace_is_over() {
    let c = Cluster::new().await;
    c.create("resourcequotas", "n/", quota("q", json!({"pods": "5", "count/pods": "5"}))).await.unwrap();
    let mut lost = pod("lost");
    lost["spec"]["nodeName"] = json!("n1");
    lost["spec"]["terminationGracePeriodSeconds"] = json!(1);
    c.create("pods", "n/", lost).await.unwrap();
    c.delete("pods", "n/lost", json!({})).await.unwrap();
    assert_eq!(c.used("q").await, json!({"pods": "1", "count/pods": "1"}));
    // As it stands in the store of a cluster whose node was lost a while ago.
    c.rewrite("/registry/pods/n/lost", |pod| pod["metadata"]["deletionTimestamp"] = json!("2020-01-01T00:00:00Z"))
        .await;
    c.resources.recount_quotas().await.unwrap();
    assert_eq!(c.used("q").await, json!({"pods": "0", "count/pods": "1"}));
    c.create("pods", "n/", pod("other")).await.unwrap();
    c.gone("pods", "lost").await;
    assert_eq!(c.used("q").await, json!({"pods": "1", "count/pods": "1"}), "it gives back what is counted of it");
}

#[tokio::test]
async fn a_pod_whose_grace_is_over_since_the_last_count_is_given_back_when_it_goes() {
    let c = Cluster::new().await;
    c.create("resourcequotas", "n/", quota("q", json!({"pods": "5"}))).await.unwrap();
    let mut late = pod("late");
    late["spec"]["nodeName"] = json!("n1");
    c.create("pods", "n/", late).await.unwrap();
    c.delete("pods", "n/late", json!({})).await.unwrap();
    // Counted in 2019, to go in 2020.
    c.rewrite(GUARD, |guard| guard["asOfSecs"] = json!(1_550_000_000)).await;
    c.rewrite("/registry/pods/n/late", |pod| pod["metadata"]["deletionTimestamp"] = json!("2020-01-01T00:00:00Z"))
        .await;
    assert_eq!(c.used("q").await["pods"], "1");
    c.gone("pods", "late").await;
    assert_eq!(c.used("q").await["pods"], "0");
}

#[tokio::test]
async fn quotas_of_a_store_that_others_wrote_are_counted_when_a_server_starts() {
    let c = Cluster::new().await;
    c.config_map("a", json!({})).await;
    let mut foreign = quota("q", json!({"configmaps": "1"}));
    foreign["metadata"]["namespace"] = json!("n");
    let (key, value) = ("/registry/resourcequotas/n/q".to_owned(), foreign.to_string().into());
    c.storage.commit(vec![Write::Create { key, value, ttl_secs: None }]).await.unwrap();
    let again = Cluster::on(c.storage.clone()).await;
    let counted = async {
        while again.used("q").await.is_null() {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, counted).await.expect("it is counted");
    assert_eq!(again.used("q").await["configmaps"], "1");
    assert!(again.create("configmaps", "n/", json!({"metadata": {"name": "b"}})).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_count_whose_server_died_is_finished_by_who_waits_for_it() {
    let c = Cluster::new().await;
    c.create("resourcequotas", "n/", quota("q", json!({"configmaps": "1"}))).await.unwrap();
    c.rewrite(GUARD, |guard| guard["counting"] = json!("somebody")).await;
    let began = tokio::time::Instant::now();
    c.config_map("a", json!({})).await;
    assert!(began.elapsed() >= Duration::from_secs(10), "it may only be slow");
    assert!(began.elapsed() < Duration::from_secs(15));
    assert_eq!(c.used("q").await["configmaps"], "1");
    c.gone("resourcequotas", "q").await;
}

#[tokio::test]
async fn no_write_slips_by_a_quota_that_its_server_has_not_heard_of() {
    let (memory, flaky) = (Memory::default(), Arc::new(Flaky::default()));
    flaky.restore(memory.clone());
    let (behind, ahead) = (Cluster::on(flaky.clone()).await, Cluster::on(Arc::new(memory)).await);
    behind.create("namespaces", "", json!({"metadata": {"name": "n"}})).await.unwrap();
    behind.config_map("a", json!({})).await;
    behind.get("configmaps", "n/a").await.unwrap();
    flaky.cut();
    ahead.create("resourcequotas", "n/", quota("q", json!({"configmaps": "1"}))).await.unwrap();
    behind.create("configmaps", "n/", json!({"metadata": {"name": "b"}})).await.unwrap_err();
    assert_eq!(reason(ahead.get("configmaps", "n/b").await).0, Reason::NotFound);
    behind.delete("configmaps", "n/a", json!({})).await.map(drop).unwrap_err();
    assert_eq!(ahead.used("q").await["configmaps"], "1");
    flaky.mend();
    let deleted = async { while behind.delete("configmaps", "n/a", json!({})).await.is_err() {} };
    timeout(DEADLINE, deleted).await.expect("it follows again");
    assert_eq!(ahead.used("q").await["configmaps"], "0");
}
