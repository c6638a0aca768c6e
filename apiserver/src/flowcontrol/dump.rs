//! What stands in the queues now, as three tables of text for administrators: levels, queues, requests.
//!
//! <https://kubernetes.io/docs/reference/debug-cluster/flow-control/#debug-http-endpoints>.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::queueset::{Dump, QueueDump, RequestDump, RequestId, SeatNanos};
use super::request_digest::{About, RequestDigest};

/// The path below which the tables are.
const PREFIX: &str = "/debug/api_priority_and_fairness/";
/// When a request began that has not begun.
const NEVER: &str = "0001-01-01T00:00:00Z";
/// A seat-second has so many nanoseconds, and is told with eight digits.
const NANOS: SeatNanos = 1_000_000_000;
const NANOS_PER_DIGIT: SeatNanos = 10;

/// A request that is here.
#[derive(Clone, Debug)]
pub(super) struct Present {
    pub(super) digest: Arc<RequestDigest>,
    pub(super) arrived: Duration,
}

/// Since the level began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) dispatched: u64,
    pub(super) rejected: u64,
    pub(super) cancelled: u64,
}

/// A level as it is at one moment.
#[derive(Clone, Debug)]
pub(super) struct LevelDump {
    pub(super) name: Arc<str>,
    /// Configured no more.
    pub(super) is_quiescing: bool,
    pub(super) totals: Totals,
    pub(super) set: Dump,
    pub(super) present: HashMap<RequestId, Present>,
}

/// Which table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    PriorityLevels,
    Queues,
    Requests,
}

impl Table {
    /// The table at this path, if there is one.
    pub fn at(path: &str) -> Option<Self> {
        match path.strip_prefix(PREFIX)? {
            "dump_priority_levels" => Some(Self::PriorityLevels),
            "dump_queues" => Some(Self::Queues),
            "dump_requests" => Some(Self::Requests),
            _ => None,
        }
    }
}

/// The server's clock and the calendar, read at the same moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) now: Duration,
    pub(super) timestamp: Timestamp,
}

impl Moment {
    fn at(&self, then: Duration) -> String {
        let ago = SignedDuration::try_from(self.now.saturating_sub(then)).unwrap_or_default();
        self.timestamp.checked_sub(ago).unwrap_or(self.timestamp).to_string()
    }
}

/// `details`: of requests, who asks for what.
pub(super) fn table(of: Table, levels: &[LevelDump], details: bool, moment: Moment) -> String {
    let mut levels: Vec<&LevelDump> = levels.iter().collect();
    levels.sort_by(|a, b| a.name.cmp(&b.name));
    let mut rows = Vec::new();
    match of {
        Table::PriorityLevels => {
            rows.push(owned(LEVEL_COLUMNS));
            rows.extend(levels.into_iter().map(level));
        }
        Table::Queues => {
            rows.push(owned(QUEUE_COLUMNS));
            rows.extend(levels.into_iter().flat_map(queues));
        }
        Table::Requests => {
            let more = if details { DETAIL_COLUMNS } else { &[] };
            rows.push(owned(REQUEST_COLUMNS).into_iter().chain(owned(more)).collect());
            rows.extend(levels.into_iter().flat_map(|level| requests(level, details, moment)));
        }
    }
    aligned(&rows)
}

const LEVEL_COLUMNS: &[&str] = &[
    "PriorityLevelName",
    "ActiveQueues",
    "IsIdle",
    "IsQuiescing",
    "WaitingRequests",
    "ExecutingRequests",
    "DispatchedRequests",
    "RejectedRequests",
    "TimedoutRequests",
    "CancelledRequests",
];
const QUEUE_COLUMNS: &[&str] = &[
    "PriorityLevelName",
    "Index",
    "PendingRequests",
    "ExecutingRequests",
    "SeatsInUse",
    "NextDispatchR",
    "InitialSeatsSum",
    "MaxSeatsSum",
    "TotalWorkSum",
];
const REQUEST_COLUMNS: &[&str] = &[
    "PriorityLevelName",
    "FlowSchemaName",
    "QueueIndex",
    "RequestIndexInQueue",
    // As upstream spells it.
    "FlowDistingsher",
    "ArriveTime",
    "InitialSeats",
    "FinalSeats",
    "AdditionalLatency",
    "StartTime",
];
const DETAIL_COLUMNS: &[&str] =
    &["UserName", "Verb", "APIPath", "Namespace", "Name", "APIVersion", "Resource", "SubResource"];

fn owned(columns: &[&str]) -> Vec<String> {
    columns.iter().map(|column| (*column).to_owned()).collect()
}

fn level(level: &LevelDump) -> Vec<String> {
    let LevelDump { name, is_quiescing, totals, set, .. } = level;
    let active = set.queues.iter().filter(|queue| !queue.waiting.is_empty()).count();
    let is_idle = set.waiting == 0 && set.executing == 0;
    // Those that waited too long are among the cancelled, as they are upstream.
    let timed_out = 0;
    vec![
        name.to_string(),
        active.to_string(),
        is_idle.to_string(),
        is_quiescing.to_string(),
        set.waiting.to_string(),
        set.executing.to_string(),
        totals.dispatched.to_string(),
        totals.rejected.to_string(),
        timed_out.to_string(),
        totals.cancelled.to_string(),
    ]
}

fn queues(level: &LevelDump) -> impl Iterator<Item = Vec<String>> {
    level.set.queues.iter().enumerate().map(|(index, queue)| {
        let seats = |of: &[RequestDump]| of.iter().map(|request| request.seats).sum::<u32>().to_string();
        let QueueDump { waiting, executing, next_start, work } = queue;
        vec![
            level.name.to_string(),
            index.to_string(),
            waiting.len().to_string(),
            executing.len().to_string(),
            seats(executing),
            seat_seconds(*next_start),
            seats(waiting),
            seats(waiting),
            seat_seconds(*work),
        ]
    })
}

fn requests(level: &LevelDump, details: bool, moment: Moment) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    let mut tell = |queue: Option<usize>, place: Option<usize>, request: &RequestDump| {
        if let Some(present) = level.present.get(&request.id) {
            rows.push(row(level, (queue, place), request, present, details, moment));
        }
    };
    for (index, queue) in level.set.queues.iter().enumerate() {
        queue.waiting.iter().enumerate().for_each(|(place, request)| tell(Some(index), Some(place), request));
        queue.executing.iter().for_each(|request| tell(Some(index), None, request));
    }
    level.set.queueless.iter().for_each(|request| tell(None, None, request));
    rows
}

/// `at`: the queue and the place in it.
fn row(
    level: &LevelDump,
    at: (Option<usize>, Option<usize>),
    request: &RequestDump,
    present: &Present,
    details: bool,
    moment: Moment,
) -> Vec<String> {
    let number = |n: Option<usize>| n.map_or("-1".to_owned(), |n| n.to_string());
    let digest = &present.digest;
    let mut row = vec![
        level.name.to_string(),
        digest.schema.to_string(),
        number(at.0),
        number(at.1),
        digest.distinguisher.clone(),
        moment.at(present.arrived),
        request.seats.to_string(),
        // No request of ours keeps seats after its end.
        "0".to_owned(),
        "0s".to_owned(),
        request.started.map_or(NEVER.to_owned(), |started| moment.at(started)),
    ];
    if details {
        row.extend(described(digest));
    }
    row
}

fn described(digest: &RequestDigest) -> [String; 8] {
    let (user, verb, path) = (digest.user.clone(), digest.verb.clone(), digest.about.path());
    let About::Resource(target) = &digest.about else {
        return [user, verb, path, String::new(), String::new(), String::new(), String::new(), String::new()];
    };
    let api_version = match target.group.as_str() {
        "" => target.version.clone(),
        group => format!("{group}/{}", target.version),
    };
    let target = target.clone();
    [user, verb, path, target.namespace, target.name, api_version, target.resource, target.subresource]
}

fn seat_seconds(work: SeatNanos) -> String {
    let work = work.max(0);
    format!("{}.{:08}ss", work / NANOS, work % NANOS / NANOS_PER_DIGIT)
}

/// Each column is as wide as its widest cell with the comma and a space, and at least [`WIDTH_MIN`].
fn aligned(rows: &[Vec<String>]) -> String {
    const WIDTH_MIN: usize = 8;
    const COMMA_AND_SPACE: usize = 2;
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count() + COMMA_AND_SPACE).max().unwrap_or(0).max(WIDTH_MIN)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        for (i, cell) in row.iter().enumerate() {
            if i + 1 == row.len() {
                text.push_str(cell);
            } else {
                let padding = widths[i] - cell.chars().count() - 1;
                text.push_str(cell);
                text.push(',');
                text.extend(std::iter::repeat_n(' ', padding));
            }
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests;
