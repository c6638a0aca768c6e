//! What goes on while no apiserver answers.

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{
    ConfigMapVolumeSource, ProjectedVolumeSource, Secret, SecretKeySelector, ServiceAccountTokenProjection, Volume,
    VolumeMount, VolumeProjection,
};

use super::*;

/// A pod whose variables come from a ConfigMap and a Secret, and whose volume from the ConfigMap.
fn with_sources(world: &World) -> Pod {
    let map = ConfigMap { data: Some([("k".to_owned(), "plain".to_owned())].into()), ..Default::default() };
    let secret = Secret { data: Some([("k".to_owned(), ByteString(b"hidden".to_vec()))].into()), ..Default::default() };
    world.cluster.shared.lock().config_maps.insert(Key::new("default", "cfg"), map);
    world.cluster.shared.lock().secrets.insert(Key::new("default", "key"), secret);
    let variable = |name: &str, from| EnvVar { name: name.into(), value: None, value_from: Some(from) };
    let of_map = ConfigMapKeySelector { key: "k".into(), name: "cfg".into(), optional: None };
    let of_secret = SecretKeySelector { key: "k".into(), name: "key".into(), optional: None };
    let mut c = container("c");
    c.env = Some(vec![
        variable("MAP", EnvVarSource { config_map_key_ref: Some(of_map), ..Default::default() }),
        variable("SECRET", EnvVarSource { secret_key_ref: Some(of_secret), ..Default::default() }),
    ]);
    let mut pod = pod("web", vec![c]);
    pod.spec.as_mut().unwrap().volumes = Some(vec![volume()]);
    pod
}

fn volume() -> Volume {
    let source = ConfigMapVolumeSource { name: "cfg".into(), ..Default::default() };
    Volume { name: "v".into(), config_map: Some(source), ..Default::default() }
}

#[tokio::test]
async fn a_container_restarts_from_what_was_last_known_of_its_config_maps_and_secrets() {
    let world = World::new().await;
    world.tell(with_sources(&world)).await;
    world.until("it runs", |w| w.running_id("web").is_some()).await;
    let first = world.running_id("web").unwrap();
    world.cluster.shared.lock().away = true;
    world.runtime.exit(&first, 1, false);
    let second = crate::runtime::container_id("uid-web", "c", 1);
    world.until("it was made again", |w| w.runtime.spec(&second).is_some()).await;
    let env = world.runtime.spec(&second).unwrap().env;
    for expected in [("MAP", "plain"), ("SECRET", "hidden")] {
        assert!(env.contains(&(expected.0.to_owned(), expected.1.to_owned())), "{expected:?}: {env:?}");
    }
}

#[tokio::test]
async fn a_restarted_kubelet_restarts_containers_with_the_volumes_that_are_on_disk() {
    let world = World::new().await;
    let mut c = container("c");
    c.volume_mounts = Some(vec![VolumeMount { name: "v".into(), mount_path: "/v".into(), ..Default::default() }]);
    let mut told = pod("web", vec![c]);
    set(&world, "plain");
    told.spec.as_mut().unwrap().volumes = Some(vec![volume()]);
    world.tell(told).await;
    world.until("it runs", |w| w.running_id("web").is_some()).await;
    let first = world.running_id("web").unwrap();
    let world = world.restart_kubelet();
    world.cluster.shared.lock().away = true;
    world.retell().await;
    world.until("it is taken over", |w| w.table.find("default", "web", "").is_some()).await;
    world.runtime.exit(&first, 1, false);
    let second = crate::runtime::container_id("uid-web", "c", 1);
    world.until("it was made again", |w| w.runtime.spec(&second).is_some()).await;
    let mounts = world.runtime.spec(&second).unwrap().mounts;
    let volume = mounts.iter().find(|m| m.container_path == std::path::Path::new("/v")).unwrap();
    assert_eq!(std::fs::read_to_string(volume.host_path.join("k")).unwrap(), "plain");
    let events = world.cluster.events();
    assert!(!events.iter().any(|e| e.contains("Failed")), "{events:?}");
}

/// A pod with a ConfigMap in a volume, and where its key is on the node.
async fn with_volume(world: &World) -> std::path::PathBuf {
    set(world, "old");
    let mut told = pod("web", vec![container("c")]);
    told.spec.as_mut().unwrap().volumes = Some(vec![volume()]);
    world.tell(told).await;
    world.until("it runs", |w| w.running_id("web").is_some()).await;
    world.dir.path().join("root/pods/uid-web/volumes/v/k")
}

fn set(world: &World, value: &str) {
    let map = ConfigMap { data: Some([("k".to_owned(), value.to_owned())].into()), ..Default::default() };
    world.cluster.shared.lock().config_maps.insert(Key::new("default", "cfg"), map);
}

#[tokio::test(start_paused = true)]
async fn an_idle_pod_asks_the_apiserver_for_nothing() {
    let world = World::new().await;
    with_volume(&world).await;
    let before = world.cluster.shared.lock().reads;
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(world.cluster.shared.lock().reads, before);
}

#[tokio::test(start_paused = true)]
async fn a_change_that_could_not_be_read_is_read_when_an_apiserver_is_back() {
    let world = World::new().await;
    let file = with_volume(&world).await;
    set(&world, "new");
    world.cluster.shared.lock().away = true;
    let before = world.cluster.shared.lock().reads;
    world.cluster.shared.lock().watches.iter().for_each(|(_, changed)| changed());
    world.until("it was asked for", |w| w.cluster.shared.lock().reads > before).await;
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "old");
    world.cluster.shared.lock().away = false;
    tokio::time::sleep(Duration::from_secs(61)).await;
    world.until("the file says so", |_| std::fs::read_to_string(&file).is_ok_and(|text| text == "new")).await;
}

/// A pod with a token of its account in a volume, and where that is on the node.
async fn with_token(world: &World) -> std::path::PathBuf {
    let part = ServiceAccountTokenProjection { path: "t".into(), expiration_seconds: Some(600), ..Default::default() };
    let part = VolumeProjection { service_account_token: Some(part), ..Default::default() };
    let source = ProjectedVolumeSource { sources: Some(vec![part]), ..Default::default() };
    let mut told = pod("web", vec![container("c")]);
    let spec = told.spec.as_mut().unwrap();
    spec.service_account_name = Some("default".into());
    spec.volumes = Some(vec![Volume { name: "v".into(), projected: Some(source), ..Default::default() }]);
    world.tell(told).await;
    world.until("it runs", |w| w.running_id("web").is_some()).await;
    world.dir.path().join("root/pods/uid-web/volumes/v/t")
}

#[tokio::test(start_paused = true)]
async fn a_token_is_replaced_in_time_and_stays_while_nobody_answers() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let world = World::new().await;
    // Given so long ago that it is to be replaced as soon as may be.
    world.cluster.shared.lock().clock = Some(Timestamp::now() - jiff::SignedDuration::from_secs(500));
    let file = with_token(&world).await;
    let says = |number: u64| {
        let file = file.clone();
        move |_: &World| std::fs::read_to_string(&file).is_ok_and(|text| text.starts_with(&format!("token-{number} ")))
    };
    assert!(says(1)(&world), "{:?}", std::fs::read_to_string(&file));
    let inside = std::fs::canonicalize(&file).unwrap();
    tokio::time::sleep(Duration::from_secs(61)).await;
    world.until("there is another", says(2)).await;
    assert!(!inside.exists(), "both are never there together");
    world.cluster.shared.lock().away = true;
    let before = world.cluster.shared.lock().refused;
    tokio::time::sleep(Duration::from_secs(61)).await;
    world.until("it was asked for", |w| w.cluster.shared.lock().refused > before).await;
    assert!(says(2)(&world));
    world.cluster.shared.lock().away = false;
    tokio::time::sleep(Duration::from_secs(61)).await;
    world.until("there is another again", says(3)).await;
    world.stop.cancel();
    crate::volumes::tear_down(&world.dir.path().join("root/pods/uid-web")).unwrap();
}
