//! Admission that waits for somebody: what may happen meanwhile, and what must not.

use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::quotas::quota;
use super::*;
use crate::admission::{AdmissionRequest, Asks, Chain, Plugin, Refusal};
use crate::storage::{ChangeStream, Listed, Outcome, StorageError, Stored, Write};

const SLOW: &str = "slow";

/// Asks somebody about what `slow` writes, who answers while the gate is open.
#[derive(Debug, Default)]
struct Gate {
    open: watch::Sender<bool>,
    /// The resourceVersions of the objects that were to be changed; empty for new ones.
    asked: watch::Sender<Vec<String>>,
}

impl Asks for Gate {
    fn admit<'a>(&'a self, request: &'a mut AdmissionRequest<'_>) -> BoxFuture<'a, Result<(), Refusal>> {
        async move {
            if request.user.name == SLOW {
                let version = request.old.and_then(|old| old.meta().resource_version.clone()).unwrap_or_default();
                self.asked.send_modify(|asked| asked.push(version));
                self.open.subscribe().wait_for(|open| *open).await.expect("the gate is there");
            }
            Ok(())
        }
        .boxed()
    }
}

impl Gate {
    /// Waits until it was asked for the `n`th time; which versions it was asked about.
    async fn asked(&self, n: usize) -> Vec<String> {
        let mut asked = self.asked.subscribe();
        let asked = timeout(DEADLINE, asked.wait_for(|asked| asked.len() >= n)).await.expect("it is asked").unwrap();
        asked.clone()
    }
}

/// Memory in which somebody else is quicker once, with a write of one key; the gate closes then.
#[derive(Debug)]
struct Overtaken {
    memory: Memory,
    key: Mutex<Option<&'static str>>,
    gate: Arc<Gate>,
}

#[async_trait::async_trait]
impl Storage for Overtaken {
    async fn get(&self, key: &str) -> Result<Option<Stored>, StorageError> {
        self.memory.get(key).await
    }
    async fn list(&self, prefix: &str, revision: Option<i64>) -> Result<Listed, StorageError> {
        self.memory.list(prefix, revision).await
    }
    async fn current_revision(&self) -> Result<i64, StorageError> {
        self.memory.current_revision().await
    }
    async fn commit(&self, writes: Vec<Write>) -> Result<Outcome, StorageError> {
        let taken = self.key.lock().take_if(|key| writes.iter().any(|write| write.key() == *key));
        if let Some(key) = taken {
            let Stored { key, value, revision: expected } = self.memory.get(key).await?.unwrap();
            self.memory.commit(vec![Write::Update { key, value, expected, ttl_secs: None }]).await?;
            self.gate.open.send_replace(false);
        }
        self.memory.commit(writes).await
    }
    async fn watch(&self, prefix: &str, after: i64) -> Result<ChangeStream, StorageError> {
        self.memory.watch(prefix, after).await
    }
    async fn compact(&self, revision: i64) -> Result<(), StorageError> {
        self.memory.compact(revision).await
    }
}

fn slow<V>(plural: &str, at: &str) -> Authorized<V> {
    allowed(&User { name: SLOW.into(), ..User::default() }, &target(plural, at))
}

async fn cluster(storage: Arc<dyn Storage>, gate: &Arc<Gate>) -> Arc<Cluster> {
    let admission = Chain::default().and("Gate", Plugin::Asks(gate.clone()));
    let cluster = Cluster::set_to(storage, Settings { admission, ..settings() }).await;
    cluster.create("namespaces", "", json!({"metadata": {"name": "n"}})).await.unwrap();
    Arc::new(cluster)
}

#[tokio::test]
async fn a_client_that_goes_away_while_admission_waits_has_written_nothing() {
    let gate = Arc::new(Gate::default());
    let c = cluster(Arc::new(Memory::default()), &gate).await;
    let there = c.config_map("there", json!({"a": "1"})).await;
    let map = |name: &str| Bytes::from(json!({"metadata": {"name": name}}).to_string());
    let (options, how) = (WriteOptions::default, DeleteOptions::default);
    let write = |n: usize| {
        let (resources, map) = (c.resources.clone(), map("new"));
        async move {
            match n {
                1 => resources.create(&slow("configmaps", "n/"), map, options()).await.map(drop),
                2 => {
                    let body = Bytes::from_static(br#"{"data":{"k":"v"}}"#);
                    let may = slow("configmaps", "n/there");
                    resources.patch(&may, patch::Kind::Merge, body, options()).await.map(drop)
                }
                _ => resources.delete(&slow("configmaps", "n/there"), how(), options()).await.map(drop),
            }
        }
    };
    for n in 1..=3 {
        let writing = tokio::spawn(write(n));
        gate.asked(n).await;
        writing.abort();
        assert!(writing.await.unwrap_err().is_cancelled());
    }
    gate.open.send_replace(true);
    assert_eq!(c.get("configmaps", "n/there").await.unwrap(), there);
    assert_eq!(reason(c.get("configmaps", "n/new").await).0, Reason::NotFound);
    for n in 1..=3 {
        write(n).await.unwrap();
    }
    assert_eq!(reason(c.get("configmaps", "n/there").await).0, Reason::NotFound, "who waits for it has it written");
    c.get("configmaps", "n/new").await.unwrap();
}

#[tokio::test]
async fn what_changes_while_admission_waits_is_admitted_again_as_it_is_then() {
    let gate = Arc::new(Gate::default());
    let c = cluster(Arc::new(Memory::default()), &gate).await;
    let first = version(&c.config_map("a", json!({})).await);
    let resources = c.resources.clone();
    let writing = tokio::spawn(async move {
        let (may, body) = (slow("configmaps", "n/a"), Bytes::from_static(br#"{"data":{"mine":"1"}}"#));
        resources.patch(&may, patch::Kind::Merge, body, WriteOptions::default()).await
    });
    gate.asked(1).await;
    let second = version(&c.merge("configmaps", "n/a", json!({"data": {"theirs": "1"}})).await.unwrap());
    gate.open.send_replace(true);
    let written = timeout(DEADLINE, writing).await.expect("it is written").unwrap().unwrap();
    let written: Value = serde_json::from_slice(&written.object).unwrap();
    assert_eq!(written["data"], json!({"mine": "1", "theirs": "1"}));
    assert_eq!(gate.asked(2).await, [first.to_string(), second.to_string()]);
}

#[tokio::test]
async fn who_waits_in_admission_keeps_nobody_from_charging_a_quota() {
    let gate = Arc::new(Gate::default());
    gate.open.send_replace(true);
    let overtaken = Overtaken { memory: Memory::default(), key: Mutex::default(), gate: gate.clone() };
    let overtaken = Arc::new(overtaken);
    let c = cluster(overtaken.clone(), &gate).await;
    c.create("resourcequotas", "n/", quota("q", json!({"services.nodeports": "5"}))).await.unwrap();
    let service = |name: &str, kind: &str| {
        let spec = json!({"type": kind, "ports": [{"port": 80}]});
        json!({"metadata": {"name": name}, "spec": spec})
    };
    c.create("services", "n/", service("a", "ClusterIP")).await.unwrap();
    // It has its turn with the quota, and loses its object to another: so it is admitted again.
    overtaken.key.lock().replace("/registry/services/specs/n/a");
    let resources = c.resources.clone();
    let writing = tokio::spawn(async move {
        let (may, body) = (slow("services", "n/a"), Bytes::from_static(br#"{"spec":{"type":"NodePort"}}"#));
        resources.patch(&may, patch::Kind::Merge, body, WriteOptions::default()).await
    });
    gate.asked(2).await;
    let other = timeout(DEADLINE, c.create("services", "n/", service("b", "NodePort"))).await;
    other.expect("nobody waits for who waits in admission").unwrap();
    gate.open.send_replace(true);
    timeout(DEADLINE, writing).await.expect("it is written").unwrap().unwrap();
    let used = c.get("resourcequotas", "n/q").await.unwrap()["status"]["used"].clone();
    assert_eq!(used, json!({"services.nodeports": "2"}));
}
