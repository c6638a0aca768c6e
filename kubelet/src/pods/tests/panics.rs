//! Panics over one pod, and a runtime that refuses: no other pod notices, and the pod itself is not forgotten.

use super::*;

fn started(world: &World, name: &str) -> usize {
    let id = crate::runtime::container_id(&format!("uid-{name}"), "c", 0);
    world.runtime.calls().iter().filter(|call| **call == format!("start {id}")).count()
}

fn told(world: &World, what: &str) -> bool {
    world.cluster.events().iter().any(|event| event.contains(what))
}

#[tokio::test]
async fn a_panic_in_a_worker_ends_neither_its_container_nor_another_pod() {
    let world = World::new().await;
    let panics = || corten_client::panics::count(crate::pod::worker::WORKER);
    let before = panics();
    world.cluster.shared.lock().panics.push("Started");
    world.tell(pod("web", vec![container("c")])).await;
    world.until("it was told of", |w| told(w, "FailedSync: error syncing pod")).await;
    world.tell(pod("other", vec![container("c")])).await;
    world.until_phase("other", "Running").await;
    world.until_phase("web", "Running").await;
    assert_eq!(started(&world, "web"), 1, "what ran was taken over");
    assert!(panics() > before);

    world.cluster.shared.lock().panics.push("Killing");
    let key = Key::new("default", "web");
    world.news.send(News::Api { key, pod: None }).await.unwrap();
    world.until("it is taken down all the same", |w| w.table.get("uid-web").is_none()).await;
    assert_eq!(started(&world, "web"), 1);
}

#[tokio::test]
async fn a_pod_whose_workers_task_died_is_taken_over_at_the_next_comparison() {
    let world = World::new().await;
    // The second one hits the supervisor itself, as it tells of the first.
    world.cluster.shared.lock().panics.extend(["Started", "FailedSync"]);
    world.tell(pod("web", vec![container("c")])).await;
    let dead = |w: &World| w.table.get("uid-web").is_some_and(|handle| handle.tx.is_closed());
    world.until("its task died", dead).await;
    let is_running = |w: &World| w.pod("web").is_some_and(|p| corten_api::pod::phase(&p) == "Running");
    let compared_and_running = |w: &World| {
        w.runtime.set_away(false);
        is_running(w)
    };
    world.until("it runs, with comparisons", compared_and_running).await;
    assert_eq!(started(&world, "web"), 1, "what ran was taken over");
    let key = Key::new("default", "web");
    world.news.send(News::Api { key, pod: None }).await.unwrap();
    world.until("it is taken down", |w| w.table.get("uid-web").is_none()).await;
}

#[tokio::test]
async fn a_panic_in_an_order_is_no_answer_that_is_waited_for() {
    for call in ["create_sandbox", "create_container", "start_container"] {
        let world = World::new().await;
        world.runtime.panic_next(call);
        world.tell(pod("web", vec![container("c")])).await;
        world.until_phase("web", "Running").await;
        assert!(told(&world, &format!("{call} was to panic")), "{call}: {:?}", world.cluster.events());
    }
}

#[tokio::test]
async fn a_deletion_that_comes_while_a_worker_rests_is_not_lost() {
    let world = World::new().await;
    world.cluster.shared.lock().panics.push("Started");
    let told_pod = world.tell(pod("web", vec![container("c")])).await;
    world.until("it rests", |w| told(w, "FailedSync")).await;
    // More than a worker's queue holds: whoever tells it something must not wait for it.
    for _ in 0..2 * worker::WORKER_QUEUE {
        let news = News::Api { key: told_pod.key(), pod: Some(Arc::new(told_pod.clone())) };
        world.news.send(news).await.unwrap();
    }
    world.tell(pod("other", vec![container("c")])).await;
    world.until_phase("other", "Running").await;
    world.news.send(News::Api { key: told_pod.key(), pod: None }).await.unwrap();
    world.until("it is gone", |w| w.table.get("uid-web").is_none()).await;
    assert!(!world.dir.path().join("root/pods/uid-web").exists());
}

#[tokio::test]
async fn a_kill_that_the_runtime_refuses_is_tried_by_one_loop_however_often_it_is_compared() {
    const REFUSALS: usize = 1000;
    const COMPARISONS: usize = 30;
    let world = World::new().await;
    let mut told = world.tell(pod("web", vec![container("c")])).await;
    world.until("it runs", |w| w.running_id("web").is_some()).await;
    told = world.pod("web").unwrap_or(told);
    for _ in 0..REFUSALS {
        world.runtime.refuse_next("signal", "not now");
    }
    told.metadata.deletion_timestamp = Some(status::whole_second(Timestamp::now()));
    told.metadata.deletion_grace_period_seconds = Some(0);
    world.tell(told).await;
    // Once for TERM; once more for KILL, after the shortest grace.
    world.until("it was to be killed", |w| w.runtime.refusals_left("signal") < REFUSALS - 6).await;
    let kills = |w: &World| REFUSALS - w.runtime.refusals_left("signal");
    let (tried, looked) = (kills(&world), world.runtime.lists());
    let handle = world.table.get("uid-web").unwrap();
    for number in 1..=COMPARISONS {
        world.runtime.set_away(false);
        world.until("it was compared", |w| w.runtime.lists() >= looked + number).await;
    }
    world.until("the worker has heard it all", |_| handle.tx.capacity() == handle.tx.max_capacity()).await;
    world.until("the loops that there are have tried", |w| kills(w) > tried).await;
    let more = kills(&world) - tried;
    assert!(more < COMPARISONS / 2, "{more} more tries: a loop for each comparison");
}

#[tokio::test(start_paused = true)]
async fn a_health_check_sees_a_manager_that_never_ends_its_turn_and_none_in_one_that_is_idle() {
    let world = World::new().await;
    // Before it has listed what there is.
    world.runtime.set_away(true);
    tokio::time::sleep(Duration::from_secs(121)).await;
    assert!(world.table.is_moving().is_err(), "it waits for the runtime");
    world.runtime.set_away(false);
    world.until("the manager moves", |w| w.table.is_moving().is_ok()).await;
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(world.table.is_moving(), Ok(()), "it has nothing to do");
}
