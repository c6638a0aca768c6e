//! Pods that ask for another size: what they get, what they have to wait for, and debuggers that are added to them.

use k8s_openapi::api::core::v1::{ContainerStatus, EphemeralContainer, PodCondition, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::*;

fn resources(cpu: &str, memory: &str) -> ResourceRequirements {
    let list = |pairs: [(&str, &str); 1]| Some(pairs.map(|(k, v)| (k.to_owned(), Quantity(v.into()))).into());
    ResourceRequirements { requests: list([("cpu", cpu)]), limits: list([("memory", memory)]), ..Default::default() }
}
fn sized(name: &str, cpu: &str, memory: &str) -> Pod {
    let mut pod = pod(name, vec![Container { resources: Some(resources(cpu, memory)), ..container("c") }]);
    pod.metadata.generation = Some(1);
    pod
}

impl World {
    /// A node that knows all its pods.
    async fn settled() -> Self {
        let world = Self::new().await;
        world.retell().await;
        world.no_files().await;
        world
    }
    async fn resize(&self, name: &str, cpu: &str, memory: &str) {
        let mut pod = self.pod(name).unwrap();
        pod.metadata.generation = pod.metadata.generation.map(|n| n + 1);
        pod.spec.as_mut().unwrap().containers[0].resources = Some(resources(cpu, memory));
        self.tell(pod).await;
    }
    fn condition(&self, name: &str, kind: &str) -> Option<PodCondition> {
        let conditions = self.pod(name)?.status?.conditions?;
        conditions.into_iter().find(|c| c.type_ == kind)
    }
    fn container_status(&self, name: &str) -> Option<ContainerStatus> {
        self.pod(name)?.status?.container_statuses?.into_iter().next()
    }
    fn runs_with_cpu(&self, name: &str, cpu: &str) -> bool {
        let Some(status) = self.container_status(name) else { return false };
        let has = status.resources.and_then(|r| r.requests?.get("cpu").cloned());
        status.state.is_some_and(|s| s.running.is_some()) && has == Some(Quantity(cpu.into()))
    }
    fn updates(&self) -> usize {
        self.runtime.calls().iter().filter(|call| call.starts_with("update ")).count()
    }
}

#[tokio::test]
async fn a_container_is_resized_while_it_runs() {
    let world = World::settled().await;
    world.tell(sized("web", "500m", "100Mi")).await;
    world.until("it says what it has", |w| w.runs_with_cpu("web", "500m")).await;
    let id = world.running_id("web").unwrap();
    assert_eq!(world.runtime.spec(&id).unwrap().resources.cpu_shares, Some(512));

    world.resize("web", "1", "200Mi").await;
    world.until("it has more", |w| w.runs_with_cpu("web", "1")).await;
    world.until("it is told to be done", |w| w.condition("web", "PodResizeInProgress").is_none()).await;
    let runs = world.runtime.spec(&id).unwrap().resources;
    assert_eq!((runs.cpu_shares, runs.memory_limit_bytes), (Some(1024), Some(200 << 20)));
    let limits = world.cgroups.limits.lock().get("/kubepods/burstable/poduid-web").copied().unwrap();
    assert_eq!((limits.cpu_shares, limits.memory_limit_bytes), (Some(1024), Some(200 << 20)));
    assert_eq!(world.running_id("web"), Some(id));
    let status = world.container_status("web").unwrap();
    assert_eq!((status.restart_count, status.allocated_resources.unwrap()["cpu"].0.as_str()), (0, "1"));
    assert_eq!(world.condition("web", "PodResizePending"), None);
    let events = world.cluster.events();
    assert!(events.iter().any(|e| e.contains("ResizeStarted")) && events.iter().any(|e| e.contains("ResizeCompleted")));
}

#[tokio::test]
async fn what_the_node_cannot_give_now_is_given_when_it_can() {
    let world = World::settled().await;
    let big = world.tell(sized("big", "1500m", "100Mi")).await;
    world.tell(sized("web", "500m", "100Mi")).await;
    world.until("both run", |w| w.running_id("big").is_some() && w.runs_with_cpu("web", "500m")).await;
    world.resize("web", "1", "100Mi").await;
    world.until("it has to wait", |w| w.condition("web", "PodResizePending").is_some()).await;
    let pending = world.condition("web", "PodResizePending").unwrap();
    let message = "Node didn't have enough resource: cpu, requested: 1000, used: 1500, capacity: 2000";
    assert_eq!((pending.reason.as_deref(), pending.message.as_deref()), (Some("Deferred"), Some(message)));
    assert_eq!(pending.observed_generation, Some(2));
    assert_eq!(world.updates(), 0);
    assert!(world.runs_with_cpu("web", "500m"), "what is given is what counts");

    let world = world.restart_kubelet();
    world.retell().await;
    world.no_files().await;
    world.until("both are taken over", |w| w.table.all().len() == 2).await;
    assert!(world.condition("web", "PodResizePending").is_some(), "a new kubelet gives no more");
    world.delete(big, 0).await;
    world.until("it has more", |w| w.runs_with_cpu("web", "1")).await;
    world.until("nothing waits", |w| w.condition("web", "PodResizePending").is_none()).await;
    assert_eq!(world.updates(), 1);
}

#[tokio::test]
async fn what_the_node_can_never_give_is_refused_and_may_be_taken_back() {
    let world = World::settled().await;
    world.tell(sized("web", "500m", "100Mi")).await;
    world.until("it runs", |w| w.runs_with_cpu("web", "500m")).await;
    world.resize("web", "3", "100Mi").await;
    world.until("it is refused", |w| w.condition("web", "PodResizePending").is_some()).await;
    let pending = world.condition("web", "PodResizePending").unwrap();
    let message = "Node didn't have enough capacity: cpu, requested: 3000, capacity: 2000";
    assert_eq!((pending.reason.as_deref(), pending.message.as_deref()), (Some("Infeasible"), Some(message)));
    world.resize("web", "500m", "100Mi").await;
    world.until("nothing waits", |w| w.condition("web", "PodResizePending").is_none()).await;
    assert_eq!(world.updates(), 0);
}

#[tokio::test]
async fn no_limit_is_set_below_what_is_used() {
    let world = World::settled().await;
    world.tell(sized("web", "500m", "200Mi")).await;
    world.until("it runs", |w| w.runs_with_cpu("web", "500m")).await;
    world.cgroups.used.store(150 << 20, std::sync::atomic::Ordering::Relaxed);
    world.resize("web", "500m", "100Mi").await;
    let failed = |w: &World| w.condition("web", "PodResizeInProgress").is_some_and(|c| c.reason.is_some());
    world.until("it cannot be done yet", failed).await;
    let condition = world.condition("web", "PodResizeInProgress").unwrap();
    let message =
        "cannot decrease memory limits: attempting to set pod memory limit (104857600) below current usage (157286400)";
    assert_eq!((condition.reason.as_deref(), condition.message.as_deref()), (Some("Error"), Some(message)));
    assert_eq!((condition.observed_generation, world.updates()), (Some(2), 0));
    world.cgroups.used.store(0, std::sync::atomic::Ordering::Relaxed);
    world.until("it is done", |w| w.condition("web", "PodResizeInProgress").is_none()).await;
    let limits = world.cgroups.limits.lock().get("/kubepods/burstable/poduid-web").copied().unwrap();
    assert_eq!((limits.memory_limit_bytes, world.updates()), (Some(100 << 20), 1));
}

#[tokio::test]
async fn a_pod_that_uses_all_its_memory_still_gets_more_cpu() {
    let world = World::settled().await;
    world.tell(sized("web", "500m", "100Mi")).await;
    world.until("it runs", |w| w.runs_with_cpu("web", "500m")).await;
    world.cgroups.used.store(100 << 20, std::sync::atomic::Ordering::Relaxed);
    world.resize("web", "1", "100Mi").await;
    world.until("it has more", |w| w.runs_with_cpu("web", "1")).await;
}

#[tokio::test]
async fn a_debugger_is_added_that_sees_the_processes_of_its_target() {
    let world = World::settled().await;
    world.tell(pod("web", vec![container("c")])).await;
    world.until("it runs", |w| w.running_id("web").is_some()).await;
    let target = world.running_id("web").unwrap();
    let mut pod = world.pod("web").unwrap();
    pod.spec.as_mut().unwrap().ephemeral_containers = Some(vec![EphemeralContainer {
        name: "debug".into(),
        image: Some("web:1".into()),
        image_pull_policy: Some("IfNotPresent".into()),
        target_container_name: Some("c".into()),
        stdin: Some(true),
        ..Default::default()
    }]);
    world.tell(pod).await;
    let debugger = |w: &World| w.pod("web")?.status?.ephemeral_container_statuses?.into_iter().next();
    let runs = |w: &World| debugger(w).is_some_and(|s| s.state.is_some_and(|s| s.running.is_some()));
    world.until("the debugger runs", runs).await;
    let id = debugger(&world).unwrap().container_id.unwrap().trim_start_matches("containerd://").to_owned();
    let spec = world.runtime.spec(&id).unwrap();
    assert_eq!((spec.target, spec.stdin), (Some(target.clone()), true));
    assert_eq!(world.running_id("web"), Some(target), "the target runs on");
    let view = world.table.find("default", "web", "").unwrap();
    assert!(view.containers.iter().any(|c| c.name == "debug" && c.current.as_ref().is_some_and(|i| i.running)));

    world.runtime.exit(&id, 3, false);
    let ended = |w: &World| debugger(w).is_some_and(|s| s.state.is_some_and(|s| s.terminated.is_some()));
    world.until("its end is told", ended).await;
    let made = world.runtime.calls().iter().filter(|call| call.starts_with("create debug/")).count();
    assert_eq!(made, 1, "it runs once");
}
