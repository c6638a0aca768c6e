//! The whole engine under paused time: levels, queues and who is told what.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::configuration::{
    CATCH_ALL, Configuration, Distinguisher, Enablement, FlowSchema, LimitResponse, PolicyRules, PriorityLevel,
    Queuing, ResourceRule, Subject,
};
use super::*;
use crate::request::Target;

/// One level of ten seats, a user for each flow.
fn small(queue_length_limit: u32) -> Configuration {
    let star = || vec!["*".to_owned()];
    let queuing = Queuing { queues: 16, hand_size: 1, queue_length_limit };
    let response = LimitResponse::Queue(queuing);
    let rules = PolicyRules {
        subjects: vec![Subject::User("*".into())],
        resource_rules: vec![ResourceRule {
            verbs: star(),
            api_groups: star(),
            resources: star(),
            namespaces: star(),
            cluster_scope: true,
        }],
        non_resource_rules: Vec::new(),
    };
    let level = PriorityLevel {
        name: "only".into(),
        uid: "level-uid".into(),
        nominal_concurrency_shares: 1,
        lendable_percent: 0,
        enablement: Enablement::Limited { borrowing_limit_percent: None, response },
    };
    let schema = FlowSchema {
        name: CATCH_ALL.into(),
        uid: "schema-uid".into(),
        priority_level: "only".into(),
        matching_precedence: 1,
        distinguisher: Some(Distinguisher::ByUser),
        rules: vec![rules],
    };
    Configuration::new(vec![level], vec![schema]).unwrap()
}
fn user(name: &str, groups: &[&str]) -> User {
    User { name: name.into(), groups: groups.iter().map(|g| (*g).to_owned()).collect(), ..User::default() }
}
fn pods() -> Target {
    Target { version: "v1".into(), resource: "pods".into(), namespace: "default".into(), ..Target::default() }
}
async fn enter(flow: &FlowControl, user: &User, verb: &str, target: &Target) -> Result<Seat, ApiError> {
    flow.admit(user, Attributes::Resource { verb, target }, 1).await
}

/// Lets the other tasks run until so many requests wait. Time stands still meanwhile.
async fn until_waiting(flow: &FlowControl, expected: u32) {
    const TURNS_MAX: u32 = 1000;
    let waiting = || flow.inner.engine.load().waiting();
    for _ in 0..TURNS_MAX {
        if waiting() == expected {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("{} wait, not {expected}", waiting());
}

#[tokio::test(start_paused = true)]
async fn a_request_that_waited_too_long_is_told_to_come_back() {
    let flow = FlowControl::new(2, small(50));
    let jane = user("jane", &[]);
    let mut held = Vec::new();
    for _ in 0..2 {
        held.push(enter(&flow, &jane, "create", &pods()).await.unwrap());
    }
    let began = Instant::now();
    let err = enter(&flow, &jane, "create", &pods()).await.unwrap_err();
    assert_eq!((err.code(), began.elapsed()), (429, QUEUE_WAIT_MAX));
    assert_eq!(err.status().details.as_ref().unwrap().retry_after_seconds, Some(1));
    assert_eq!(flow.executing(), (2, 0));
    held.clear();
    assert_eq!(flow.executing(), (0, 0));
    assert!(enter(&flow, &jane, "create", &pods()).await.is_ok(), "who gave up holds nothing");
}

#[tokio::test(start_paused = true)]
async fn a_seat_that_is_given_back_goes_to_who_waits_and_who_goes_away_is_forgotten() {
    let flow = FlowControl::new(1, small(50));
    let jane = user("jane", &[]);
    let mut seat = enter(&flow, &jane, "create", &pods()).await.unwrap();
    let waits = |flow: &FlowControl| {
        let (flow, jane) = (flow.clone(), jane.clone());
        tokio::spawn(async move { enter(&flow, &jane, "get", &pods()).await })
    };
    let gone = waits(&flow);
    until_waiting(&flow, 1).await;
    let next = waits(&flow);
    until_waiting(&flow, 2).await;
    gone.abort();
    until_waiting(&flow, 1).await;
    seat.release();
    let next = next.await.unwrap().unwrap();
    assert_eq!(flow.executing(), (0, 1));
    let again = tokio::spawn(async move {
        seat.retake().await.unwrap();
        seat
    });
    // It waits as everybody does.
    until_waiting(&flow, 1).await;
    drop(next);
    let seat = again.await.unwrap();
    assert_eq!(flow.executing(), (1, 0));
    drop(seat);
}

/// Each of many clients sends one after the other: there is room in the queues for all of them.
#[tokio::test(start_paused = true)]
async fn a_flood_of_creates_delays_neither_leases_nor_administrators_and_nobody_is_refused() {
    let flow = FlowControl::default();
    let mut tasks = JoinSet::new();
    let work = |who: User, verb: &'static str, target: Target, times: u32| {
        let flow = flow.clone();
        async move {
            let mut longest = Duration::ZERO;
            for _ in 0..times {
                let began = Instant::now();
                let seat = enter(&flow, &who, verb, &target).await.unwrap();
                longest = longest.max(began.elapsed());
                sleep(Duration::from_millis(20)).await;
                drop(seat);
            }
            (who.name, longest)
        }
    };
    for _ in 0..256 {
        tasks.spawn(work(user("jane", &["system:authenticated"]), "create", pods(), 50));
    }
    let leases = Target { group: "coordination.k8s.io".into(), resource: "leases".into(), ..pods() };
    for n in 0..50 {
        let node = user(&format!("system:node:n{n}"), &["system:nodes", "system:authenticated"]);
        tasks.spawn(work(node, "update", leases.clone(), 50));
    }
    tasks.spawn(work(user("admin", &["system:masters"]), "get", pods(), 50));
    let mut flooder = Duration::ZERO;
    while let Some(done) = tasks.join_next().await {
        let (name, longest) = done.unwrap();
        if name == "jane" {
            flooder = flooder.max(longest);
        } else {
            assert_eq!(longest, Duration::ZERO, "{name} waited");
        }
    }
    assert!(flooder > Duration::from_millis(20), "the flood waits for itself: {flooder:?}");
}

#[tokio::test(start_paused = true)]
async fn a_level_that_is_busy_borrows_and_gives_back() {
    let flow = FlowControl::default();
    let jane = user("jane", &["system:authenticated"]);
    let mut held = Vec::new();
    for _ in 0..37 {
        held.push(enter(&flow, &jane, "create", &pods()).await.unwrap());
    }
    let waiting: Vec<_> = (0..63)
        .map(|_| {
            let (flow, jane) = (flow.clone(), jane.clone());
            tokio::spawn(async move { enter(&flow, &jane, "create", &pods()).await })
        })
        .collect();
    sleep(Duration::from_secs(11)).await;
    assert_eq!(flow.executing(), (37, 0), "half of what it may lend is lent at first");
    // Whoever comes next has the seats counted anew.
    drop(enter(&flow, &user("admin", &["system:masters"]), "get", &pods()).await.unwrap());
    for task in waiting {
        held.push(task.await.unwrap().unwrap());
    }
    assert_eq!(flow.executing(), (100, 0), "it has borrowed what nobody used");
}

#[tokio::test(start_paused = true)]
async fn another_configuration_takes_over_at_run_time_and_keeps_who_waits() {
    let flow = FlowControl::new(1, small(50));
    let jane = user("jane", &[]);
    let first = enter(&flow, &jane, "create", &pods()).await.unwrap();
    let waits = {
        let (flow, jane) = (flow.clone(), jane.clone());
        tokio::spawn(async move { enter(&flow, &jane, "create", &pods()).await })
    };
    sleep(Duration::from_millis(1)).await;
    flow.configure(small(0));
    let err = enter(&flow, &jane, "create", &pods()).await.unwrap_err();
    assert_eq!(err.code(), 429, "the new queues have no room");
    drop(first);
    let second = waits.await.unwrap().unwrap();
    flow.configure(bootstrap::configuration());
    assert!(enter(&flow, &user("x", &["system:masters"]), "create", &pods()).await.is_ok(), "an exempt level");
    drop(second);
    assert_eq!(flow.executing(), (0, 0));
}

/// The row of a level in the table of levels.
fn row(flow: &FlowControl, level: &str) -> Option<Vec<String>> {
    let text = flow.dump(dump::Table::PriorityLevels, false, Timestamp::UNIX_EPOCH);
    let cells = |row: &str| row.split(',').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    text.lines().map(cells).find(|cells| cells[0] == level)
}
fn rendered(flow: &FlowControl) -> String {
    let mut registry = prometheus_client::registry::Registry::default();
    flow.register(&mut registry);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    text
}

#[tokio::test(start_paused = true)]
async fn a_level_that_is_gone_stays_until_its_last_request_is_done() {
    let flow = FlowControl::new(2, small(50));
    let jane = user("jane", &[]);
    let first =
        [enter(&flow, &jane, "create", &pods()).await.unwrap(), enter(&flow, &jane, "get", &pods()).await.unwrap()];
    let mut waits = JoinSet::new();
    for _ in 0..20 {
        let (flow, jane) = (flow.clone(), jane.clone());
        waits.spawn(async move { enter(&flow, &jane, "create", &pods()).await.is_ok() });
    }
    until_waiting(&flow, 20).await;
    assert!(flow.configure(bootstrap::configuration()), "another one");
    assert!(!flow.configure(bootstrap::configuration()), "the same again");
    let cells = row(&flow, "only").expect("it is still here");
    assert_eq!(cells[1..4], ["1", "false", "true"], "active queues, is idle, is quiescing");
    let engine = flow.inner.engine.load();
    let only = engine.all().find(|(level, _)| &*level.name == "only").unwrap().1;
    assert_eq!(only.claim(flow.inner.now()).limits.nominal, 1, "it has a share as long as that");
    drop(engine);
    drop(first);
    assert!(waits.join_all().await.into_iter().all(|served| served), "who waited has its turn");
    assert!(rendered(&flow).contains(r#"priority_level="only""#));
    sleep(demand::ADJUSTMENT_PERIOD + Duration::from_secs(1)).await;
    drop(enter(&flow, &user("admin", &["system:masters"]), "get", &pods()).await.unwrap());
    assert_eq!(row(&flow, "only"), None);
    assert!(!rendered(&flow).contains(r#"priority_level="only""#), "nor is it counted any more");
    assert_eq!(row(&flow, "exempt").unwrap()[1..7], ["0", "true", "false", "0", "0", "1"]);
}

#[tokio::test(start_paused = true)]
async fn more_shares_count_at_once() {
    let shares = |of_one: u32| {
        let base = bootstrap::configuration();
        let mut levels = base.levels().to_vec();
        let one = levels.iter_mut().find(|level| &*level.name == "global-default").unwrap();
        one.nominal_concurrency_shares = of_one;
        Configuration::new(levels, base.schemas().to_vec()).unwrap()
    };
    let flow = FlowControl::default();
    let jane = user("jane", &["system:authenticated"]);
    let mut held = Vec::new();
    for _ in 0..37 {
        held.push(enter(&flow, &jane, "create", &pods()).await.unwrap());
    }
    let waiting: Vec<_> = (0..63)
        .map(|_| {
            let (flow, jane) = (flow.clone(), jane.clone());
            tokio::spawn(async move { enter(&flow, &jane, "create", &pods()).await })
        })
        .collect();
    until_waiting(&flow, 63).await;
    flow.configure(shares(500));
    for task in waiting {
        held.push(task.await.unwrap().unwrap());
    }
    assert_eq!(flow.executing(), (100, 0), "no time has passed");
}

#[tokio::test]
async fn a_response_says_where_its_request_was_sorted() {
    let flow = FlowControl::new(1, small(0));
    let (jane, target) = (user("jane", &[]), pods());
    let mut headers = HeaderMap::new();
    flow.classify(&jane, Attributes::Resource { verb: "get", target: &target }).sorted().tell(&mut headers);
    assert_eq!(headers["x-kubernetes-pf-flowschema-uid"], "schema-uid");
    assert_eq!(headers["x-kubernetes-pf-prioritylevel-uid"], "level-uid");
    let mut none = HeaderMap::new();
    FlowControl::default().classify(&jane, Attributes::Path { verb: "get", path: "/" }).sorted().tell(&mut none);
    assert!(none.is_empty(), "there are no objects yet");
}

#[tokio::test]
async fn metrics_have_upstreams_names() {
    let flow = FlowControl::new(1, small(0));
    let jane = user("jane", &[]);
    let _seat = enter(&flow, &jane, "create", &pods()).await.unwrap();
    enter(&flow, &jane, "create", &pods()).await.unwrap_err();
    flow.inner.engine.load().adjust(1, flow.inner.now(), &flow.inner.metrics);
    let text = rendered(&flow);
    let of = r#"priority_level="only",flow_schema="catch-all""#;
    for line in [
        format!("apiserver_flowcontrol_dispatched_requests_total{{{of}}} 1"),
        format!(r#"apiserver_flowcontrol_rejected_requests_total{{{of},reason="queue-full"}} 1"#),
        format!("apiserver_flowcontrol_current_executing_requests{{{of}}} 1"),
        format!("apiserver_flowcontrol_current_inqueue_requests{{{of}}} 0"),
        format!("apiserver_flowcontrol_current_inqueue_seats{{{of}}} 0"),
        format!(r#"apiserver_flowcontrol_request_wait_duration_seconds_count{{{of},execute="true"}} 1"#),
        format!("apiserver_flowcontrol_request_queue_length_after_enqueue_count{{{of}}} 1"),
        format!("apiserver_flowcontrol_work_estimated_seats_count{{{of}}} 2"),
        format!(r#"apiserver_flowcontrol_request_execution_seconds_count{{{of},type="regular"}} 0"#),
        r#"apiserver_flowcontrol_demand_seats_high_watermark{priority_level="only"} 1.0"#.to_owned(),
        r#"apiserver_flowcontrol_target_seats{priority_level="only"} "#.to_owned(),
        r#"apiserver_flowcontrol_nominal_limit_seats{priority_level="only"} 1"#.to_owned(),
    ] {
        assert!(text.contains(&line), "{line} in\n{text}");
    }
    assert!(Arc::strong_count(&flow.inner) > 1, "a seat keeps what it gives back to");
}
