//! Pods that the node cannot have, and containers that cannot be made.

use super::*;
use crate::runtime::RuntimeError;

#[tokio::test]
async fn a_missing_config_map_is_waited_for_by_name() {
    let world = World::new().await;
    let key = ConfigMapKeySelector { key: "k".into(), name: "cfg".into(), optional: None };
    let from = EnvVarSource { config_map_key_ref: Some(key), ..Default::default() };
    let mut c = container("c");
    c.env = Some(vec![EnvVar { name: "V".into(), value: None, value_from: Some(from) }]);
    world.tell(pod("web", vec![c])).await;
    world.until("it says so", |w| w.waiting("web").as_deref() == Some("CreateContainerConfigError")).await;
    assert!(world.cluster.events().contains(&"c: Failed: Error: configmap \"cfg\" not found".to_owned()));
    let map = ConfigMap { data: Some([("k".to_owned(), "v".to_owned())].into()), ..Default::default() };
    world.cluster.shared.lock().config_maps.insert(Key::new("default", "cfg"), map);
    world.until("it runs", |w| w.running_id("web").is_some()).await;
    let spec = world.runtime.spec(&world.running_id("web").unwrap()).unwrap();
    assert!(spec.env.contains(&("V".to_owned(), "v".to_owned())));
}

#[tokio::test]
async fn an_image_that_does_not_exist_is_said_and_tried_again() {
    let world = World::new().await;
    let mut c = container("c");
    c.image = Some("nope:1".into());
    world.tell(pod("web", vec![c])).await;
    world.until("it says so", |w| w.waiting("web").as_deref() == Some("ErrImagePull")).await;
    world.until("it backs off", |w| w.waiting("web").as_deref() == Some("ImagePullBackOff")).await;
    let events = world.cluster.events();
    assert_eq!(events[0], "c: Pulling: Pulling image \"nope:1\"");
    assert!(events.contains(&"c: BackOff: Back-off pulling image \"nope:1\"".to_owned()), "{events:?}");
}

#[tokio::test]
async fn a_pod_too_big_for_the_node_is_refused() {
    let world = World::new().await;
    let mut c = container("c");
    let requests = [("cpu".to_owned(), k8s_openapi::apimachinery::pkg::api::resource::Quantity("3".into()))].into();
    c.resources =
        Some(k8s_openapi::api::core::v1::ResourceRequirements { requests: Some(requests), ..Default::default() });
    world.tell(pod("web", vec![c])).await;
    world.until_phase("web", "Failed").await;
    assert_eq!(world.pod("web").unwrap().status.unwrap().reason.as_deref(), Some("OutOfcpu"));
    assert!(world.runtime.calls().is_empty());
    // The API tells of what we wrote ourselves: that says nothing new of its containers.
    world.retell().await;
    world.tell(pod("after", vec![container("c")])).await;
    world.until_phase("after", "Running").await;
    assert_eq!(world.pod("web").unwrap().status.unwrap().container_statuses, None);
}

#[tokio::test]
async fn a_pod_that_was_deleted_leaves_its_host_port_to_the_next() {
    let world = World::new().await;
    let with_port = |name: &str| {
        let port = k8s_openapi::api::core::v1::ContainerPort {
            container_port: 80,
            host_port: Some(8080),
            ..Default::default()
        };
        pod(name, vec![Container { ports: Some(vec![port]), ..container("c") }])
    };
    let first = world.tell(with_port("first")).await;
    world.until_phase("first", "Running").await;
    world.news.send(News::Api { key: first.key(), pod: None }).await.unwrap();
    world.tell(with_port("second")).await;
    world
        .until("the second has started or was refused", |w| {
            w.pod("second").is_some_and(|p| corten_api::pod::phase(&p) != "Pending")
        })
        .await;
    assert_eq!(corten_api::pod::phase(&world.pod("second").unwrap()), "Running");
}

#[tokio::test]
async fn a_command_that_does_not_exist_counts_as_a_crash() {
    let world = World::new().await;
    for _ in 0..2 {
        let message = "exec: \"/nope\": stat /nope: no such file or directory".into();
        let bad_command = RuntimeError::BadCommand { doing: "making the process", message };
        world.runtime.fail_next("create_container", bad_command);
    }
    world.tell(pod("web", vec![container("c")])).await;
    world.until("it waits", |w| w.waiting("web").as_deref() == Some("CrashLoopBackOff")).await;
    let status = world.pod("web").unwrap().status.unwrap().container_statuses.unwrap().remove(0);
    let last = status.last_state.unwrap().terminated.unwrap();
    assert_eq!((last.exit_code, last.reason.as_deref(), status.restart_count), (128, Some("StartError"), 1));
}

#[tokio::test]
async fn a_user_namespace_that_cannot_be_had_is_not_left_out_silently() {
    let world = World::new().await;
    let mut p = pod("web", vec![container("c")]);
    p.spec.as_mut().unwrap().host_users = Some(false);
    world.tell(p).await;
    let said = "FailedCreatePodSandBox: Failed to create pod sandbox: hostUsers: false";
    world.until("it says so", |w| w.cluster.events().iter().any(|e| e.starts_with(said))).await;
    assert!(world.runtime.calls().iter().all(|c| !c.starts_with("sandbox")), "{:?}", world.runtime.calls());
}
