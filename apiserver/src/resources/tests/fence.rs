//! A leader writes while it leads: see `resources/fence.rs`.

use super::*;
use crate::storage::contract::etcd;
use crate::storage::flaky::Flaky;

const LEASE: &str = "kube-system/lock";

fn led_by(holder: &str, transitions: i32) -> Fence {
    let (namespace, name) = LEASE.split_once('/').unwrap();
    Fence { namespace: namespace.into(), name: name.into(), holder: holder.into(), transitions }
}

impl Cluster {
    async fn take_lease(&self, holder: &str, transitions: i32) {
        let spec = json!({"holderIdentity": holder, "leaseTransitions": transitions});
        match self.merge("leases", LEASE, json!({"spec": spec})).await {
            Err(err) if err.is(Reason::NotFound) => {
                let lease = json!({"metadata": {"name": "lock"}, "spec": spec});
                self.create("leases", "kube-system/", lease).await.unwrap();
            }
            taken => drop(taken.unwrap()),
        }
    }
    async fn renew_lease(&self) {
        let renewed = json!({"spec": {"renewTime": "2030-01-01T00:00:00.000000Z"}});
        self.merge("leases", LEASE, renewed).await.unwrap();
    }
    async fn make(&self, name: &str, fence: Option<Fence>) -> Result<(), ApiError> {
        let json = Bytes::from(json!({"metadata": {"name": name}}).to_string());
        let options = WriteOptions { fence, ..WriteOptions::default() };
        self.resources.create(&allowed(&self.admin, &target("configmaps", "default/")), json, options).await.map(drop)
    }
    async fn fence_key(&self) -> Option<i64> {
        let key = format!("/registry/corten/fences/{LEASE}");
        self.storage.get(&key).await.unwrap().map(|stored| stored.revision)
    }
}

fn assert_lost(refused: &Result<(), ApiError>, what: &str) {
    let err = refused.as_ref().expect_err(what);
    assert!(err.is_lease_lost() && err.code() == 409, "{what}: {err}");
}

async fn a_leader_writes_until_another_takes_its_lease(storage: Arc<dyn Storage>) {
    let c = Cluster::on(storage).await;
    assert_lost(&c.make("early", Some(led_by("a", 1))).await, "there is no lease");
    c.take_lease("a", 1).await;
    c.make("first", Some(led_by("a", 1))).await.unwrap();
    let fence = c.fence_key().await;
    c.renew_lease().await;
    assert_eq!(c.fence_key().await, fence, "a renewal is no change of leadership");
    c.make("second", Some(led_by("a", 1))).await.unwrap();

    c.take_lease("b", 2).await;
    assert_lost(&c.make("third", Some(led_by("a", 1))).await, "another leads");
    assert!(c.get("configmaps", "default/third").await.is_err());
    c.make("third", Some(led_by("b", 2))).await.unwrap();
    c.make("fourth", None).await.unwrap();

    let (at, a) = (target("configmaps", "default/first"), || WriteOptions {
        fence: Some(led_by("a", 1)),
        ..WriteOptions::default()
    });
    let patch = Bytes::from(json!({"data": {"k": "v"}}).to_string());
    let patched = c.resources.patch(&allowed(&c.admin, &at), patch::Kind::Merge, patch, a()).await;
    assert_lost(&patched.map(drop), "a patch");
    let object = Bytes::from(c.get("configmaps", "default/first").await.unwrap().to_string());
    assert_lost(&c.resources.update(&allowed(&c.admin, &at), object, a()).await.map(drop), "an update");
    let deleted = c.resources.delete(&allowed(&c.admin, &at), DeleteOptions::default(), a()).await;
    assert_lost(&deleted.map(drop), "a delete");
    let room = tokio::sync::Semaphore::new(1);
    let bound = c
        .resources
        .bind(&allowed(&c.admin, &target("pods/binding", "default/web")), "", "n1", Some(&led_by("a", 1)), &room)
        .await;
    assert_lost(&bound, "a placement");

    c.take_lease("b", 3).await;
    assert_lost(&c.make("fifth", Some(led_by("b", 2))).await, "another term of the same holder");
    c.delete("leases", LEASE, json!({})).await.unwrap();
    assert_eq!(c.fence_key().await, None);
    assert_lost(&c.make("fifth", Some(led_by("b", 3))).await, "the lease is gone");
    c.take_lease("b", 3).await;
    c.make("fifth", Some(led_by("b", 3))).await.unwrap();
}

#[tokio::test]
async fn a_leader_writes_until_another_takes_its_lease_in_memory() {
    a_leader_writes_until_another_takes_its_lease(Arc::new(Memory::default())).await;
}

#[tokio::test]
async fn a_leader_writes_until_another_takes_its_lease_on_etcd() {
    a_leader_writes_until_another_takes_its_lease(etcd().await).await;
}

#[tokio::test]
async fn what_comes_late_through_an_apiserver_that_has_not_heard_of_the_takeover_is_not_committed() {
    let (memory, flaky) = (Memory::default(), Arc::new(Flaky::default()));
    flaky.restore(memory.clone());
    let (behind, ahead) = (Cluster::on(flaky.clone()).await, Cluster::on(Arc::new(memory)).await);
    behind.take_lease("a", 1).await;
    behind.make("first", Some(led_by("a", 1))).await.unwrap();
    // Its cache has all that there is before the line is cut.
    behind.get("configmaps", "default/first").await.unwrap();
    flaky.cut();
    ahead.take_lease("b", 2).await;
    assert_lost(&behind.make("second", Some(led_by("a", 1))).await, "its cache says that a leads");
    let at = target("configmaps", "default/first");
    let options = WriteOptions { fence: Some(led_by("a", 1)), ..WriteOptions::default() };
    let patch = Bytes::from(json!({"data": {"k": "v"}}).to_string());
    let patched = behind.resources.patch(&allowed(&behind.admin, &at), patch::Kind::Merge, patch, options).await;
    assert_lost(&patched.map(drop), "a patch");
    flaky.mend();
    behind.make("second", Some(led_by("b", 2))).await.unwrap();
}

#[tokio::test]
async fn a_heartbeat_is_no_lock() {
    let c = Cluster::new().await;
    let spec = json!({"holderIdentity": "n1", "leaseDurationSeconds": 40});
    c.create("leases", "kube-system/", json!({"metadata": {"name": "lock"}, "spec": spec})).await.unwrap();
    assert_eq!(c.fence_key().await, None);
}
