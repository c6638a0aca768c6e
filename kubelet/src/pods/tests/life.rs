//! A pod's life: it runs, is probed, follows what it reads, and ends.

use super::*;

#[tokio::test]
async fn a_pod_runs_and_is_reported_with_its_address() {
    let world = World::new().await;
    world.tell(pod("web", vec![container("c")])).await;
    world.until_phase("web", "Running").await;
    world.until("it is Ready", |w| w.pod("web").is_some_and(|p| corten_api::pod::is_ready(&p))).await;
    let status = world.pod("web").unwrap().status.unwrap();
    assert!(status.pod_ip.unwrap().starts_with("10.244.1."));
    assert_eq!(status.host_ip.as_deref(), Some("10.0.0.1"));
    let expected = [
        "c: Pulled: Container image \"web:1\" already present on machine and can be accessed by the pod",
        "c: Created: Container created",
        "c: Started: Container started",
    ];
    assert_eq!(world.cluster.events(), expected);
    let hosts = std::fs::read_to_string(world.dir.path().join("root/pods/uid-web/etc-hosts")).unwrap();
    assert!(hosts.contains("\tweb\n"), "{hosts}");
}

#[tokio::test]
async fn a_deleted_pod_is_ended_and_leaves_nothing() {
    let world = World::new().await;
    let told = world.tell(pod("web", vec![container("c")])).await;
    world.until("it runs", |w| w.running_id("web").is_some()).await;
    world.delete(told, 30).await;
    world.until("it is gone from the API", |w| w.pod("web").is_none()).await;
    let calls = world.runtime.calls();
    let position =
        |text: &str| calls.iter().position(|c| c.contains(text)).unwrap_or_else(|| panic!("{text}: {calls:?}"));
    assert!(position("signal") < position("stop_sandbox") && position("stop_sandbox") < position("remove_sandbox"));
    assert!(world.network.list().await.unwrap().is_empty());
    assert!(!world.dir.path().join("root/pods/uid-web").exists());
    world.until("its worker has ended", |w| w.table.all().is_empty()).await;
    assert!(world.cluster.events().contains(&"c: Killing: Stopping container c".to_owned()));
}

#[tokio::test]
async fn qos_tiers_weigh_what_their_pods_ask_for_as_they_come_and_go() {
    let world = World::new().await;
    let shares = |w: &World| {
        ["burstable", "besteffort"]
            .map(|t| w.cgroups.limits.lock().get(&format!("/kubepods/{t}")).and_then(|l| l.cpu_shares))
    };
    world.until("the tiers are there", |w| shares(w) == [Some(2), Some(2)]).await;
    let mut c = container("c");
    let cpu = k8s_openapi::apimachinery::pkg::api::resource::Quantity("500m".into());
    let requests = Some([("cpu".to_owned(), cpu)].into());
    c.resources = Some(k8s_openapi::api::core::v1::ResourceRequirements { requests, ..Default::default() });
    let told = world.tell(pod("web", vec![c])).await;
    world.tell(pod("idle", vec![container("c")])).await;
    world.until("the tier weighs as its pod", |w| shares(w) == [Some(512), Some(2)]).await;
    world.until("it runs", |w| w.running_id("web").is_some()).await;
    let of_pod = world.cgroups.limits.lock().get("/kubepods/burstable/poduid-web").copied();
    assert_eq!(of_pod.and_then(|limits| limits.cpu_shares), Some(512));
    world.delete(told, 30).await;
    world.until("the pod weighs nothing any more", |w| shares(w) == [Some(2), Some(2)]).await;
}

#[tokio::test]
async fn pods_are_taken_down_without_listing_those_of_others() {
    let world = World::new().await;
    const PODS: usize = 110;
    for n in 0..PODS {
        world.tell(pod(&format!("p{n}"), vec![container("c")])).await;
    }
    world.until("all run", |w| (0..PODS).all(|n| w.running_id(&format!("p{n}")).is_some())).await;
    let before = (world.runtime.lists(), world.runtime.calls().len());
    for n in 0..PODS {
        let told = world.pod(&format!("p{n}")).unwrap();
        world.delete(told, 30).await;
    }
    world.until("all are gone", |w| w.cluster.shared.lock().pods.is_empty()).await;
    assert_eq!(world.runtime.lists(), before.0);
    let calls = world.runtime.calls().len() - before.1;
    assert!(calls <= PODS * 4, "one signal, a stop and a removal each, which stops once more: {calls}");
}

#[tokio::test]
async fn a_process_that_ends_is_started_again_and_the_end_is_shown() {
    let world = World::new().await;
    world.tell(pod("web", vec![container("c")])).await;
    world.until("it runs", |w| w.running_id("web").is_some()).await;
    let first = world.running_id("web").unwrap();
    world.runtime.exit(&first, 3, false);
    world.until("another one runs", |w| w.running_id("web").is_some_and(|id| id != first)).await;
    let status = world.pod("web").unwrap().status.unwrap().container_statuses.unwrap().remove(0);
    assert_eq!(status.restart_count, 1);
    let last = status.last_state.unwrap().terminated.unwrap();
    assert_eq!((last.exit_code, last.reason.as_deref()), (3, Some("Error")));

    // The second time it has to wait.
    let second = world.running_id("web").unwrap();
    world.runtime.exit(&second, 137, true);
    world.until("it waits", |w| w.waiting("web").as_deref() == Some("CrashLoopBackOff")).await;
    let status = world.pod("web").unwrap().status.unwrap().container_statuses.unwrap().remove(0);
    assert_eq!(status.last_state.unwrap().terminated.unwrap().reason.as_deref(), Some("OOMKilled"));
}

#[tokio::test]
async fn a_failing_liveness_probe_ends_the_container() {
    let world = World::new().await;
    let mut c = container("c");
    c.liveness_probe = Some(Probe {
        exec: Some(ExecAction { command: Some(vec!["exit".into(), "1".into()]) }),
        failure_threshold: Some(1),
        period_seconds: Some(1),
        ..Default::default()
    });
    world.tell(pod("web", vec![c])).await;
    world.until("it was restarted", |w| w.runtime.calls().iter().any(|c| c == "create c/1")).await;
    let events = world.cluster.events();
    assert!(
        events.contains(&"c: Killing: Container c failed liveness probe, will be restarted".to_owned()),
        "{events:?}"
    );
    assert!(events.iter().any(|e| e.starts_with("c: Unhealthy: Liveness probe failed:")), "{events:?}");
}

#[tokio::test]
async fn thirty_pods_start_together() {
    let world = World::new().await;
    for n in 0..30 {
        world.tell(pod(&format!("p{n}"), vec![container("c")])).await;
    }
    world.until("all run", |w| (0..30).all(|n| w.running_id(&format!("p{n}")).is_some())).await;
    let ips: std::collections::BTreeSet<_> =
        (0..30).filter_map(|n| world.pod(&format!("p{n}"))?.status?.pod_ip).collect();
    assert_eq!(ips.len(), 30);
}

#[tokio::test]
async fn a_volume_follows_its_config_map() {
    let world = World::new().await;
    let set = |value: &str| {
        let map = ConfigMap { data: Some([("k".to_owned(), value.to_owned())].into()), ..Default::default() };
        world.cluster.shared.lock().config_maps.insert(Key::new("default", "cfg"), map);
    };
    set("old");
    let mut with_volume = pod("web", vec![container("c")]);
    let source = k8s_openapi::api::core::v1::ConfigMapVolumeSource { name: "cfg".into(), ..Default::default() };
    let volume =
        k8s_openapi::api::core::v1::Volume { name: "v".into(), config_map: Some(source), ..Default::default() };
    with_volume.spec.as_mut().unwrap().volumes = Some(vec![volume]);
    world.tell(with_volume).await;
    world.until("it runs", |w| w.running_id("web").is_some()).await;
    let file = world.dir.path().join("root/pods/uid-web/volumes/v/k");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "old");
    set("new");
    world.cluster.shared.lock().watches.iter().for_each(|(_, changed)| changed());
    world.until("the file says so", |_| std::fs::read_to_string(&file).is_ok_and(|text| text == "new")).await;
}

#[tokio::test]
async fn a_probe_that_cannot_be_made_says_nothing_about_the_container() {
    let world = World::new().await;
    let mut c = container("c");
    c.liveness_probe = Some(Probe {
        exec: Some(ExecAction { command: Some(vec!["exit".into(), "0".into()]) }),
        failure_threshold: Some(1),
        period_seconds: Some(1),
        ..Default::default()
    });
    world.runtime.refuse_next("exec", "containerd is away");
    world.tell(pod("web", vec![c])).await;
    let said = "c: Unhealthy: Liveness probe errored and resulted in unknown state";
    world.until("it says so", |w| w.cluster.events().iter().any(|e| e.starts_with(said))).await;
    world.until("it is probed again", |w| w.runtime.calls().iter().any(|c| c.starts_with("exec"))).await;
    assert!(!world.runtime.calls().iter().any(|c| c.starts_with("signal")), "{:?}", world.runtime.calls());
}

#[tokio::test]
async fn a_signal_that_did_not_arrive_is_sent_again() {
    let world = World::new().await;
    let told = world.tell(pod("web", vec![container("c")])).await;
    world.until("it runs", |w| w.running_id("web").is_some()).await;
    (0..3).for_each(|_| world.runtime.refuse_next("signal", "containerd is away"));
    world.delete(told, 600).await;
    world.until("it is gone from the API", |w| w.pod("web").is_none()).await;
}
