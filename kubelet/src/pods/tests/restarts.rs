//! What a restart of the kubelet finds, keeps and ends.

use super::*;

#[tokio::test]
async fn a_restart_of_the_kubelet_restarts_no_container() {
    let world = World::new().await;
    world.tell(pod("web", vec![container("c")])).await;
    world.until("it runs", |w| w.running_id("web").is_some()).await;
    let (id, address) = (world.running_id("web").unwrap(), world.pod("web").unwrap().status.unwrap().pod_ip);
    let calls = world.runtime.calls().len();

    let world = world.restart_kubelet();
    world.retell().await;
    world
        .until("it is taken over", |w| w.table.find("default", "web", "").is_some_and(|v| v.containers.len() == 1))
        .await;
    world.runtime.exit(&id, 0, false);
    world.until("the new kubelet restarts it", |w| w.running_id("web").is_some_and(|now| now != id)).await;
    let made: Vec<_> = world.runtime.calls()[calls..].to_vec();
    assert_eq!(made[0], "create c/1", "nothing was made before it ended: {made:?}");
    assert_eq!(world.pod("web").unwrap().status.unwrap().pod_ip, address);
}

#[tokio::test]
async fn a_pod_deleted_while_no_kubelet_ran_is_ended() {
    let world = World::new().await;
    world.tell(pod("web", vec![container("c")])).await;
    world.until("it runs", |w| w.running_id("web").is_some()).await;
    world.cluster.shared.lock().pods.clear();

    let world = world.restart_kubelet();
    world.news.send(News::ApiSynced).await.unwrap();
    world.no_files().await;
    world.until("its sandbox is removed", |w| w.runtime.calls().iter().any(|c| c.starts_with("remove_sandbox"))).await;
    assert!(world.runtime.calls().iter().any(|c| c.starts_with("signal")), "asked to end before that");
}

#[tokio::test]
async fn what_is_left_of_pods_that_are_gone_is_swept_at_the_start() {
    let world = World::new().await;
    world.tell(pod("web", vec![container("c")])).await;
    world.until("it runs", |w| w.running_id("web").is_some()).await;
    let gone = crate::network::PodRef { uid: "uid-gone".into(), namespace: "default".into(), name: "gone".into() };
    world.network.attach(&gone).await.unwrap();
    let path = |name: &str| world.dir.path().join(name);
    let left = [path("root/pods/uid-gone"), path("logs/default_gone_uid-gone")];
    let kept = [path("root/pods/uid-web"), path("logs/default_web_uid-web"), path("logs/not-ours")];
    left.iter().chain(&kept).for_each(|dir| std::fs::create_dir_all(dir).unwrap());
    std::fs::write(left[0].join("etc-hosts"), "").unwrap();

    let world = world.restart_kubelet();
    world.retell().await;
    world.no_files().await;
    world.until("it is swept", |_| !left.iter().any(|dir| dir.exists())).await;
    assert!(kept.iter().all(|dir| dir.exists()));
    let uids: Vec<String> = world.network.list().await.unwrap().into_iter().map(|a| a.pod_uid).collect();
    assert_eq!(uids, ["uid-web"]);
}

#[tokio::test]
async fn a_container_that_ended_without_a_kubelet_has_its_last_words() {
    let world = World::new().await;
    let mut p = pod("web", vec![container("c")]);
    p.spec.as_mut().unwrap().restart_policy = Some("Never".into());
    world.tell(p).await;
    world.until("it runs", |w| w.running_id("web").is_some()).await;
    let id = world.running_id("web").unwrap();
    let started_at = |w: &World| {
        let state = w.pod("web")?.status?.container_statuses?.first()?.state.clone()?;
        state.running.and_then(|r| r.started_at).or(state.terminated.and_then(|t| t.started_at))
    };
    let before = started_at(&world);
    world.stop.cancel();
    std::fs::write(world.dir.path().join("root/pods/uid-web/containers/c/0"), "farewell").unwrap();
    world.until("the old kubelet is gone", |w| w.news.is_closed()).await;
    world.runtime.exit(&id, 3, false);
    let world = world.restart_kubelet();
    world.retell().await;
    world.until_phase("web", "Failed").await;
    let status = world.pod("web").unwrap().status.unwrap().container_statuses.unwrap().remove(0);
    assert_eq!(status.state.unwrap().terminated.unwrap().message.as_deref(), Some("farewell"));
    assert_eq!(started_at(&world), before);
}

#[tokio::test]
async fn a_pod_whose_removal_was_not_told_ends_with_the_next_list() {
    let world = World::new().await;
    let kept = world.tell(pod("kept", vec![container("c")])).await;
    world.tell(pod("web", vec![container("c")])).await;
    world.until("both run", |w| w.running_id("web").is_some() && w.running_id("kept").is_some()).await;
    world.cluster.shared.lock().pods.remove(&Key::new("default", "web"));
    world.news.send(News::ApiAll(vec![(kept.key(), Arc::new(kept))])).await.unwrap();
    world.until("its worker has ended", |w| w.table.all().len() == 1).await;
    assert!(world.running_id("kept").is_some());
}

#[tokio::test]
async fn without_an_apiserver_containers_go_on_and_are_restarted() {
    let world = World::new().await;
    world.tell(pod("web", vec![container("c")])).await;
    world.until("it runs", |w| w.running_id("web").is_some()).await;
    let first = world.running_id("web").unwrap();
    world.cluster.shared.lock().away = true;
    world.runtime.exit(&first, 1, false);
    world.until("it was restarted", |w| w.runtime.calls().iter().any(|c| c == "create c/1")).await;
    world.cluster.shared.lock().away = false;
    world.until("the API hears of it", |w| w.running_id("web").is_some_and(|id| id != first)).await;
}
