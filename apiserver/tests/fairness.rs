//! Priority and fairness as administrators see it: objects change who waits where, and what stands in the queues is shown.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "what a test cannot do without fails it")]

#[allow(dead_code, reason = "only the slow store is wanted here")]
#[path = "support/line.rs"]
mod line;
#[path = "support/server.rs"]
mod server;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use corten_apiserver::storage::memory::Memory;
use http::HeaderMap;
use line::{JSON, Slow};
use serde_json::{Value, json};
use server::TestServer;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

const GROUP: &str = "/apis/flowcontrol.apiserver.k8s.io/v1";
const DEADLINE: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// A write holds its seat for so long.
const COMMIT: Duration = Duration::from_millis(50);
const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";

async fn start() -> Arc<TestServer> {
    Arc::new(TestServer::start_over(Arc::new(Slow { memory: Memory::default(), commit: COMMIT }), |_| {}).await)
}

async fn create(server: &TestServer, plural: &str, object: Value) -> String {
    let (code, made) = server.send("POST", &format!("{GROUP}/{plural}"), JSON, object.to_string().into()).await;
    assert_eq!(code, 201, "{made}");
    made["metadata"]["uid"].as_str().unwrap().to_owned()
}
/// One at a time, and nobody waits: a level without shares has a seat for one request alone.
async fn one_at_a_time(server: &TestServer) -> String {
    let limited =
        json!({"nominalConcurrencyShares": 0, "borrowingLimitPercent": 0, "limitResponse": {"type": "Reject"}});
    let spec = json!({"type": "Limited", "limited": limited});
    create(server, "prioritylevelconfigurations", json!({"metadata": {"name": "one"}, "spec": spec})).await
}
async fn managers(server: &TestServer) -> String {
    let rules = json!([{
        "subjects": [{"kind": "User", "user": {"name": "system:kube-controller-manager"}}],
        "resourceRules": [{"verbs": ["create"], "apiGroups": [""], "resources": ["configmaps"], "namespaces": ["*"]}],
    }]);
    let spec = json!({"priorityLevelConfiguration": {"name": "one"}, "matchingPrecedence": 50, "rules": rules});
    create(server, "flowschemas", json!({"metadata": {"name": "managers"}, "spec": spec})).await
}

async fn make(server: &TestServer, name: &str) -> (u16, HeaderMap) {
    let object = json!({"metadata": {"name": name}}).to_string();
    let headers = [("content-type", JSON)];
    let (code, headers, answer) = server.send_with(Some("manager"), "POST", CONFIG_MAPS, &headers, object.into()).await;
    assert!(matches!(code, 201 | 429), "{answer}");
    (code, headers)
}
/// (the schema's, the level's)
fn uids(headers: &HeaderMap) -> (String, String) {
    let uid = |kind: &str| headers[&format!("x-kubernetes-pf-{kind}-uid")].to_str().unwrap().to_owned();
    (uid("flowschema"), uid("prioritylevel"))
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_go_where_the_objects_say_and_say_so_and_a_full_level_refuses() {
    let server = start().await;
    let (_, headers) = make(&server, "before").await;
    let before = uids(&headers);
    let level = one_at_a_time(&server).await;
    let schema = managers(&server).await;
    let sorted = async {
        let mut n = 0;
        loop {
            let (code, headers) = make(&server, &format!("sorted-{n}")).await;
            if uids(&headers) == (schema.clone(), level.clone()) {
                return code;
            }
            assert_eq!(uids(&headers), before);
            n += 1;
            sleep(LOOK_EVERY).await;
        }
    };
    assert_eq!(timeout(DEADLINE, sorted).await.expect("the new schema is obeyed"), 201);
    let refused = async {
        let mut round = 0;
        loop {
            let mut requests = JoinSet::new();
            for n in 0..8 {
                let server = server.clone();
                requests.spawn(async move { make(&server, &format!("crowd-{round}-{n}")).await });
            }
            let answers = requests.join_all().await;
            assert!(answers.iter().any(|(code, _)| *code == 201), "one has the seat");
            if let Some((_, headers)) = answers.iter().find(|(code, _)| *code == 429) {
                return headers.clone();
            }
            round += 1;
        }
    };
    let headers = timeout(DEADLINE, refused).await.expect("eight at once find one seat");
    assert_eq!((uids(&headers), headers["retry-after"].to_str().unwrap()), ((schema, level), "1"));
    let (_, metrics) = server.send("GET", "/metrics", JSON, Bytes::new()).await;
    let refusals = r#"apiserver_flowcontrol_rejected_requests_total{priority_level="one",flow_schema="managers",reason="concurrency-limit"}"#;
    assert!(metrics.as_str().unwrap().contains(refusals), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_without_its_level_dangles_and_is_not_obeyed() {
    let server = start().await;
    let schema = managers(&server).await;
    let dangling = async {
        loop {
            let (_, object) = server.send("GET", &format!("{GROUP}/flowschemas/managers"), JSON, Bytes::new()).await;
            if object["status"]["conditions"][0]["status"] == "True" {
                return object;
            }
            sleep(LOOK_EVERY).await;
        }
    };
    let object = timeout(DEADLINE, dangling).await.expect("it is told of");
    let condition = &object["status"]["conditions"][0];
    assert_eq!((condition["type"].as_str(), condition["reason"].as_str()), (Some("Dangling"), Some("NotFound")));
    let (code, headers) = make(&server, "not-there").await;
    assert_eq!(code, 201);
    assert_ne!(uids(&headers).0, schema);
}

#[tokio::test(flavor = "multi_thread")]
async fn administrators_look_at_the_queues_and_nobody_else_does() {
    let server = start().await;
    let path = |table: &str| format!("/debug/api_priority_and_fairness/{table}");
    let rows = async |table: &str| {
        let (code, text) = server.send("GET", &path(table), JSON, Bytes::new()).await;
        assert_eq!(code, 200, "{text}");
        text.as_str().unwrap().lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let levels = rows("dump_priority_levels").await;
    assert!(levels[0].starts_with("PriorityLevelName, ActiveQueues, IsIdle, IsQuiescing,"), "{levels:?}");
    assert_eq!(levels.len(), 9, "{levels:?}");
    assert!(rows("dump_queues").await.iter().filter(|row| row.starts_with("workload-low,")).count() == 128);
    // The one that looks is itself at work.
    let requests = rows("dump_requests?includeRequestDetails=1").await;
    let own = requests.iter().find(|row| row.contains("kubernetes-admin")).expect("its own request");
    assert!(own.starts_with("exempt,") && own.contains("/debug/api_priority_and_fairness/dump_requests"), "{own}");
    for (who, code) in [(Some("jane"), 403), (None, 403)] {
        let (have, answer) = server.send_as(who, "GET", &path("dump_requests"), JSON, Bytes::new()).await;
        assert_eq!(have, code, "{answer}");
    }
    let (code, _) = server.send("GET", &path("dump_nothing"), JSON, Bytes::new()).await;
    assert_eq!(code, 404);
}
