//! The tables as administrators and their tools read them.

use super::*;
use crate::authz::Attributes;
use crate::request::{Target, User};

fn present(distinguisher: &str, arrived_secs: u64) -> Present {
    let target = Target {
        group: "apps".into(),
        version: "v1".into(),
        resource: "deployments".into(),
        namespace: "prod".into(),
        ..Target::default()
    };
    let user = User { name: "jane".into(), ..User::default() };
    let asked = Attributes::Resource { verb: "list", target: &target };
    let digest = RequestDigest::new(&"mine".into(), distinguisher, &user, asked);
    Present { digest: Arc::new(digest), arrived: Duration::from_secs(arrived_secs) }
}

/// A level with two queues and three requests, and one without queues that is about to go.
fn levels() -> Vec<LevelDump> {
    let request =
        |id, seats, started: Option<u64>| RequestDump { id, seats, started: started.map(Duration::from_secs) };
    let busy = QueueDump {
        waiting: vec![request(2, 3, None), request(3, 1, None)],
        executing: vec![request(1, 2, Some(60))],
        next_start: 1_234_567_890,
        work: 12_000_000,
    };
    let set = Dump { waiting: 2, executing: 1, queues: vec![QueueDump::default(), busy], queueless: Vec::new() };
    let totals = Totals { dispatched: 7, rejected: 5, cancelled: 1 };
    let here = [(1, present("jane", 50)), (2, present("jane", 61)), (3, present("x", 62))];
    let busy = LevelDump { name: "workload".into(), is_quiescing: false, totals, set, present: here.into() };
    let set = Dump { executing: 1, queueless: vec![request(9, 1, Some(70))], ..Dump::default() };
    let here = [(9, present("", 70))].into();
    let leaving = LevelDump { name: "old".into(), is_quiescing: true, totals: Totals::default(), set, present: here };
    vec![busy, leaving]
}

fn shown(of: Table, details: bool) -> Vec<String> {
    let moment = Moment { now: Duration::from_millis(100_500), timestamp: "2026-01-02T03:04:05.5Z".parse().unwrap() };
    table(of, &levels(), details, moment).lines().map(str::to_owned).collect()
}

#[test]
fn a_row_for_each_level() {
    let expected = [
        "PriorityLevelName, ActiveQueues, IsIdle, IsQuiescing, WaitingRequests, ExecutingRequests, DispatchedRequests, RejectedRequests, TimedoutRequests, CancelledRequests",
        "old,               0,            false,  true,        0,               1,                 0,                  0,                0,                0",
        "workload,          1,            false,  false,       2,               1,                 7,                  5,                0,                1",
    ];
    assert_eq!(shown(Table::PriorityLevels, false), expected);
}

#[test]
fn a_row_for_each_queue() {
    let expected = [
        "PriorityLevelName, Index,  PendingRequests, ExecutingRequests, SeatsInUse, NextDispatchR, InitialSeatsSum, MaxSeatsSum, TotalWorkSum",
        "workload,          0,      0,               0,                 0,          0.00000000ss,  0,               0,           0.00000000ss",
        "workload,          1,      2,               1,                 2,          1.23456789ss,  4,               4,           0.01200000ss",
    ];
    assert_eq!(shown(Table::Queues, false), expected);
}

#[test]
fn a_row_for_each_request() {
    let rows = shown(Table::Requests, false);
    let cells = |row: &str| row.split(',').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    let rows: Vec<Vec<String>> = rows.iter().map(|row| cells(row)).collect();
    let (never, began) = ("0001-01-01T00:00:00Z", "2026-01-02T03:03:25Z");
    let expected = [
        vec!["old", "mine", "-1", "-1", "", "2026-01-02T03:03:35Z", "1", "0", "0s", "2026-01-02T03:03:35Z"],
        vec!["workload", "mine", "1", "0", "jane", "2026-01-02T03:03:26Z", "3", "0", "0s", never],
        vec!["workload", "mine", "1", "1", "x", "2026-01-02T03:03:27Z", "1", "0", "0s", never],
        vec!["workload", "mine", "1", "-1", "jane", "2026-01-02T03:03:15Z", "2", "0", "0s", began],
    ];
    assert_eq!(rows[1..], expected);
    let detailed = shown(Table::Requests, true);
    let detailed: Vec<String> = cells(&detailed[2]).split_off(10);
    let path = "/apis/apps/v1/namespaces/prod/deployments";
    assert_eq!(detailed, ["jane", "list", path, "prod", "", "apps/v1", "deployments", ""]);
}

#[test]
fn the_tables_have_their_paths() {
    assert_eq!(Table::at("/debug/api_priority_and_fairness/dump_queues"), Some(Table::Queues));
    assert_eq!(Table::at("/debug/api_priority_and_fairness/"), None);
    assert_eq!(Table::at("/debug/pprof"), None);
}
