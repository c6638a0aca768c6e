//! The keeper over the whole paths, on the store in memory: what stands there in the end, and what the engine obeys.

use std::sync::Arc;

use bytes::Bytes;
use corten_api::Object;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::DeleteOptions;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::*;
use crate::authz::Attributes;
use crate::patch;
use crate::registry::Registry;
use crate::registry::flowcontrol::bootstrap::{mandatory, suggested};
use crate::request::User;
use crate::resources::testing::settings;
use crate::resources::{Authorized, WriteOptions};
use crate::storage::Storage;
use crate::storage::memory::Memory;

/// Long enough for what is to happen within a second on a machine that is busy with other tests.
const DEADLINE: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(20);

struct Server {
    resources: Resources,
    flow: FlowControl,
}

impl Server {
    async fn over(storage: Arc<dyn Storage>) -> Self {
        let resources = Resources::start(storage, Registry::default(), settings()).await.unwrap();
        let flow = FlowControl::default();
        start(&resources, &flow).await;
        Self { resources, flow }
    }
    async fn schemas(&self) -> Vec<FlowSchema> {
        read(&self.resources, SCHEMAS, ReadAt::Newest).await.unwrap()
    }
    /// The level where this user's requests go.
    fn level_of(&self, name: &str) -> String {
        let user = User { name: name.into(), groups: vec!["system:authenticated".into()], ..User::default() };
        let engine = self.flow.inner.engine.load();
        let asked = Attributes::Path { verb: "get", path: "/apis" };
        let flow = super::super::classify::classify(&engine.configuration, &user, asked);
        engine.configuration.schemas()[flow.schema].priority_level.to_string()
    }
    async fn create(&self, plural: &str, object: Value) {
        let json = Bytes::from(object.to_string());
        self.resources
            .create(&Authorized::own(target(GROUP, plural, "", "")), json, WriteOptions::default())
            .await
            .unwrap();
    }
    async fn merge(&self, plural: &str, name: &str, change: Value) {
        let (at, body) = (target(GROUP, plural, "", name), Bytes::from(change.to_string()));
        self.resources.patch(&Authorized::own(at), patch::Kind::Merge, body, WriteOptions::default()).await.unwrap();
    }
    async fn delete(&self, plural: &str, name: &str) {
        let at = target(GROUP, plural, "", name);
        self.resources.delete(&Authorized::own(at), DeleteOptions::default(), WriteOptions::default()).await.unwrap();
    }
    async fn until(&self, what: &str, is: impl AsyncFn() -> bool) {
        let waits = async {
            while !is().await {
                sleep(LOOK_EVERY).await;
            }
        };
        if timeout(DEADLINE, waits).await.is_err() {
            let schemas = self.schemas().await;
            panic!("never: {what}; schemas: {}", serde_json::to_string_pretty(&schemas).unwrap());
        }
    }
    async fn dangling(&self, name: &str) -> Option<String> {
        let schemas = self.schemas().await;
        let schema = schemas.iter().find(|schema| schema.name() == name)?;
        let conditions = schema.status.as_ref()?.conditions.as_ref()?;
        conditions.iter().find(|c| c.type_ == "Dangling")?.status.clone()
    }
}

fn reject(name: &str, shares: u32) -> Value {
    let limited = json!({"nominalConcurrencyShares": shares, "limitResponse": {"type": "Reject"}});
    json!({"metadata": {"name": name}, "spec": {"type": "Limited", "limited": limited}})
}
fn of_jane(name: &str, level: &str) -> Value {
    let rules = json!([{
        "subjects": [{"kind": "User", "user": {"name": "jane"}}],
        "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
    }]);
    json!({"metadata": {"name": name}, "spec": {
        "priorityLevelConfiguration": {"name": level}, "matchingPrecedence": 50, "rules": rules,
    }})
}

#[tokio::test]
async fn a_new_cluster_has_the_mandatory_and_the_suggested_ones_and_says_that_none_dangles() {
    let server = Server::over(Arc::new(Memory::default())).await;
    let names = |schemas: &[FlowSchema]| schemas.iter().map(|s| s.name().to_owned()).collect::<Vec<_>>();
    let mut expected = names(&[mandatory().schemas.as_slice(), &suggested().schemas].concat());
    expected.sort_unstable();
    assert_eq!(names(&server.schemas().await), expected, "before the first request");
    server
        .until("all conditions", async || {
            let schemas = server.schemas().await;
            let told = |s: &FlowSchema| s.status.as_ref().is_some_and(|status| status.conditions.is_some());
            schemas.iter().all(told)
        })
        .await;
    for schema in server.schemas().await {
        let condition = schema.status.as_ref().unwrap().conditions.as_ref().unwrap();
        assert_eq!((condition[0].status.as_deref(), condition.len()), (Some("False"), 1));
        let managed = schema.metadata.managed_fields.as_ref().unwrap();
        let told = managed.iter().find(|entry| entry.subresource.as_deref() == Some("status")).unwrap();
        assert_eq!(told.manager.as_deref(), Some("api-priority-and-fairness-config-consumer-v1"));
        assert_eq!(told.operation.as_deref(), Some("Apply"));
        let made = managed.iter().find(|entry| entry.subresource.is_none()).unwrap();
        assert_eq!(made.manager.as_deref(), Some("api-priority-and-fairness-config-producer-v1"));
    }
}

#[tokio::test]
async fn objects_are_obeyed_as_they_come_change_and_go() {
    let server = Server::over(Arc::new(Memory::default())).await;
    assert_eq!(server.level_of("jane"), "global-default");
    server.create(SCHEMAS, of_jane("janes", "janes-own")).await;
    server.until("it dangles", async || server.dangling("janes").await.as_deref() == Some("True")).await;
    assert_eq!(server.level_of("jane"), "global-default", "a schema that leads nowhere counts for nothing");
    server.create(LEVELS, reject("janes-own", 1)).await;
    server.until("jane has a level", async || server.level_of("jane") == "janes-own").await;
    server.until("it is there", async || server.dangling("janes").await.as_deref() == Some("False")).await;
    server.merge(SCHEMAS, "janes", json!({"spec": {"priorityLevelConfiguration": {"name": "system"}}})).await;
    server.until("jane has another", async || server.level_of("jane") == "system").await;
    server.delete(SCHEMAS, "janes").await;
    server.until("jane has none of her own", async || server.level_of("jane") == "global-default").await;
}

#[tokio::test]
async fn what_somebody_damaged_is_mended_and_what_he_chose_is_left() {
    let server = Server::over(Arc::new(Memory::default())).await;
    server.delete(LEVELS, "catch-all").await;
    server.delete(SCHEMAS, "global-default").await;
    let seven = json!({"limited": {"nominalConcurrencyShares": 7}});
    server.merge(LEVELS, "workload-high", json!({ "spec": seven })).await;
    let own = json!({"annotations": {"apf.kubernetes.io/autoupdate-spec": "false"}});
    server.merge(LEVELS, "workload-low", json!({"metadata": own, "spec": seven})).await;
    let keeper = &mut Keeper::new(&server.resources, &server.flow);
    keeper.keep_up(&server.resources).await.unwrap();
    let objects = Objects::read(&server.resources, ReadAt::Newest).await.unwrap();
    assert!(objects.schemas.iter().any(|s| s.name() == "global-default"), "suggested ones that are gone come back");
    let level = |name: &str| objects.levels.iter().find(|l| l.name() == name).unwrap();
    assert!(level("catch-all").spec.limited.is_some());
    let shares = |name: &str| level(name).spec.limited.as_ref().unwrap().nominal_concurrency_shares;
    assert_eq!(shares("workload-low"), Some(7), "who says that it is his own keeps it");
    assert_eq!(shares("workload-high"), Some(40), "and nobody else");
    let again = upkeep::decide(&objects.levels, &objects.schemas);
    assert_eq!(again, [], "there is nothing more to do");
}

/// Time passes at once while nobody has anything to do.
#[tokio::test(start_paused = true)]
async fn a_mandatory_object_that_is_deleted_is_back_within_a_minute_or_so() {
    let server = Server::over(Arc::new(Memory::default())).await;
    server.delete(LEVELS, "exempt").await;
    server.delete(SCHEMAS, "exempt").await;
    let began = Instant::now();
    while !server.schemas().await.iter().any(|s| s.name() == "exempt") {
        assert!(began.elapsed() < 2 * UPKEEP_EVERY, "it does not come back");
        sleep(LOOK_EVERY).await;
    }
    let levels: Vec<PriorityLevelConfiguration> = read(&server.resources, LEVELS, ReadAt::Newest).await.unwrap();
    assert!(levels.iter().any(|level| level.name() == "exempt"));
}

#[tokio::test]
async fn many_servers_come_to_the_same_and_then_rest() {
    let storage: Arc<dyn Storage> = Arc::new(Memory::default());
    let (one, two) = tokio::join!(Server::over(storage.clone()), Server::over(storage));
    one.create(LEVELS, reject("new", 5)).await;
    one.create(SCHEMAS, of_jane("janes", "new")).await;
    for server in [&one, &two] {
        server.until("both obey", async || server.level_of("jane") == "new").await;
        server.until("it is told", async || server.dangling("janes").await.as_deref() == Some("False")).await;
    }
    let all_told = async || {
        let schemas = one.schemas().await;
        schemas.iter().all(|s| s.status.as_ref().is_some_and(|status| status.conditions.is_some()))
    };
    one.until("all is told", all_told).await;
    // What one has written the other does not write again.
    let settled = one.resources.catch_up().await.unwrap();
    let turns = async |server: &Server| {
        let mut keeper = Keeper::new(&server.resources, &server.flow);
        keeper.turn(&server.resources).await.unwrap();
    };
    turns(&one).await;
    turns(&two).await;
    let schemas = one.schemas().await;
    let newest = schemas.iter().filter_map(|s| s.metadata.resource_version.as_ref()?.parse::<i64>().ok()).max();
    assert!(newest.is_some_and(|newest| newest <= settled), "{newest:?} after {settled}");
}

#[tokio::test]
async fn objects_that_make_no_configuration_leave_the_engine_as_it_was() {
    let server = Server::over(Arc::new(Memory::default())).await;
    server.create(LEVELS, reject("janes-own", 1)).await;
    server.create(SCHEMAS, of_jane("janes", "janes-own")).await;
    server.until("jane has a level", async || server.level_of("jane") == "janes-own").await;
    let mut keeper = Keeper::new(&server.resources, &server.flow);
    let mut objects = Objects::read(&server.resources, ReadAt::Newest).await.unwrap();
    objects.schemas.push(objects.schemas[0].clone());
    keeper.obey(&objects);
    assert!(keeper.refused.as_ref().is_some_and(|why| why.contains("names are unique")), "{:?}", keeper.refused);
    assert_eq!(server.level_of("jane"), "janes-own");
    objects.schemas.pop();
    let broken = objects.levels.iter_mut().find(|l| l.name() == "janes-own").unwrap();
    broken.spec.limited = None;
    keeper.obey(&objects);
    assert_eq!((keeper.refused.as_deref(), server.level_of("jane").as_str()), (None, "global-default"));
    assert_eq!(keeper.broken["janes-own"], objects::Broken::Type);
}
