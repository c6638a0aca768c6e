//! Pods from files.

use super::*;

#[tokio::test]
async fn a_static_pod_runs_has_a_mirror_and_ends_with_its_file() {
    let world = World::new().await;
    let text = "metadata: {name: web}\nspec: {containers: [{name: c, image: 'web:1'}]}";
    let pod = crate::static_pods::parse(text, "n1").unwrap();
    world.news.send(News::Static(vec![pod])).await.unwrap();
    world.until("its mirror is there", |w| w.pod("web-n1").is_some()).await;
    world.retell().await;
    world.until_phase("web-n1", "Running").await;
    let mirror = world.pod("web-n1").unwrap().metadata.uid.unwrap();
    assert!(world.table.find("default", "web-n1", &mirror).is_some(), "logs and exec name the mirror");
    world.news.send(News::Static(vec![])).await.unwrap();
    world.until("it was asked to end", |w| w.runtime.calls().iter().any(|c| c.starts_with("signal"))).await;
    world.until("the mirror is gone", |w| w.pod("web-n1").is_none()).await;
}

#[tokio::test]
async fn a_static_pod_runs_on_though_the_api_is_heard_before_its_file() {
    let world = World::new().await;
    let text = "metadata: {name: web}\nspec: {containers: [{name: c, image: 'web:1'}]}";
    let pod = crate::static_pods::parse(text, "n1").unwrap();
    world.news.send(News::Static(vec![pod.clone()])).await.unwrap();
    world.until("it runs", |w| w.runtime.calls().iter().any(|c| c.starts_with("start "))).await;
    let world = world.restart_kubelet();
    world.cluster.shared.lock().pods.clear();
    world.news.send(News::ApiSynced).await.unwrap();
    world.news.send(News::Static(vec![pod])).await.unwrap();
    world.until("its mirror is there again", |w| w.pod("web-n1").is_some()).await;
    world.until("all is swept", |w| w.runtime.calls().iter().any(|c| c == "sweep")).await;
    assert!(!world.runtime.calls().iter().any(|c| c.starts_with("signal")), "{:?}", world.runtime.calls());
}

#[tokio::test]
async fn a_mirror_that_was_forbidden_is_made_once_it_is_allowed() {
    let world = World::new().await;
    let text = "metadata: {name: web}\nspec: {containers: [{name: c, image: 'web:1'}]}";
    let pod = crate::static_pods::parse(text, "n1").unwrap();
    world.cluster.shared.lock().elsewhere.insert(pod.key());
    world.news.send(News::Static(vec![pod.clone()])).await.unwrap();
    world.until("it was forbidden", |w| w.cluster.shared.lock().forbidden > 0).await;
    assert!(world.pod("web-n1").is_none());
    world.cluster.shared.lock().elsewhere.remove(&pod.key());
    world.until("its mirror is there", |w| w.pod("web-n1").is_some()).await;
}

#[tokio::test]
async fn a_mirror_waits_for_its_node_and_belongs_to_it() {
    let world = World::new().await;
    world.cluster.shared.lock().unregistered = true;
    let text = "metadata: {name: web, ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: r, uid: u}]}\n\
        spec: {containers: [{name: c, image: 'web:1'}]}";
    let pod = crate::static_pods::parse(text, "n1").unwrap();
    world.news.send(News::Static(vec![pod])).await.unwrap();
    world.until("it runs", |w| w.runtime.calls().iter().any(|c| c.starts_with("start "))).await;
    assert!(world.pod("web-n1").is_none(), "no mirror before there is a Node");
    world.cluster.shared.lock().unregistered = false;
    world.until("its mirror is there", |w| w.pod("web-n1").is_some()).await;
    let owners = world.pod("web-n1").unwrap().metadata.owner_references.unwrap();
    let [owner] = owners.as_slice() else { panic!("{owners:?}") };
    assert_eq!((&*owner.api_version, &*owner.kind, &*owner.name), ("v1", "Node", "n1"));
    assert_eq!((&*owner.uid, owner.controller), (crate::cluster::fake::NODE_UID, Some(true)));
    assert_ne!(owner.block_owner_deletion, Some(true));
}
