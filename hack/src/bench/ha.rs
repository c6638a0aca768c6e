//! `bench ha`: masters crash under load; how long do writes through the others stand still, and is anything lost?
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use bytes::Bytes;
use http::{Method, StatusCode};
use parking_lot::Mutex;
use serde_json::json;
use tokio::time::{sleep, timeout};

use super::samples::Samples;
use super::table::{self, Row};
use crate::lab::{Lab, Size, UpOptions, down, start_node, stop_node, up, wait_until};
use crate::rest::{self, answer};
use crate::step::step;

/// A lab of its own: the user's is left alone.
const LAB: &str = "benchha";
const MASTERS: u8 = 3;
const NAMESPACE: &str = "default";
const WRITERS_OF_A_MASTER: usize = 4;
/// Between two writes of one writer: gaps are seen to this, and the state stays small.
const PACE: Duration = Duration::from_millis(50);
const CONNECT_WITHIN: Duration = Duration::from_secs(2);
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// Writes run undisturbed for so long before a crash, and are watched for so long after it.
const CALM: Duration = Duration::from_secs(5);
const WATCHED: Duration = Duration::from_secs(15);
const BACK_WITHIN: Duration = Duration::from_secs(120);
const PAGE: usize = 500;

/// What the writers through one master have seen.
#[derive(Default)]
struct Log {
    acknowledged: Vec<(Instant, String)>,
    refused: BTreeMap<StatusCode, usize>,
}

/// One master, and its writers' log.
struct Master {
    name: String,
    client: rest::Client,
    log: Mutex<Log>,
}

pub(super) fn run(crashes: usize) -> anyhow::Result<()> {
    let lab = Lab::named(LAB)?;
    let options = UpOptions { size: Size { masters: MASTERS, workers: 0 }, demo: false, wait: true, fresh: true };
    let result = up(&lab, &options).and_then(|_| measure(&lab, crashes));
    down(&lab)?;
    result
}

fn measure(lab: &Lab, crashes: usize) -> anyhow::Result<()> {
    let plan = lab.running()?.plan;
    let master = |node: &crate::lab::NodePlan| {
        let client = rest::Client::new((node.ip, crate::lab::API_PORT).into(), &lab.pki_dir(), "admin")?;
        anyhow::Ok(Arc::new(Master { name: node.name.clone(), client, log: Mutex::default() }))
    };
    let masters: Vec<Arc<Master>> = plan.masters().map(master).collect::<anyhow::Result<_>>()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = masters
        .iter()
        .flat_map(|master| (0..WRITERS_OF_A_MASTER).map(move |number| (master.clone(), number)))
        .map(|(master, number)| runtime.spawn(write(master, number, stop.clone())))
        .collect();
    let gaps = step("masters crash under load", |progress| {
        progress.total(crashes as u64);
        let mut gaps = Samples::default();
        for crash in 0..crashes {
            gaps.add(crash_one(lab, &masters, &masters[crash % masters.len()])?);
            progress.done(crash as u64 + 1);
        }
        Ok(gaps)
    })?;
    stop.store(true, Ordering::Release);
    for writer in writers {
        runtime.block_on(writer)?;
    }
    let kept = runtime.block_on(names(&masters[0].client))?;
    report(&masters, &gaps, &kept);
    Ok(())
}

/// Crashes a master and boots it again; the longest time for which the writers of one of the others had no answer.
fn crash_one(lab: &Lab, masters: &[Arc<Master>], victim: &Arc<Master>) -> anyhow::Result<Duration> {
    all_write(masters)?;
    std::thread::sleep(CALM);
    let from = Instant::now();
    stop_node(lab, &victim.name)?;
    std::thread::sleep(WATCHED);
    let others = masters.iter().filter(|master| !Arc::ptr_eq(master, victim));
    let gap = others.map(|master| gap(&master.log.lock(), from, Instant::now())).max().unwrap_or_default();
    say!("{} crashed: {:.2} s", victim.name, gap.as_secs_f64());
    start_node(lab, &victim.name)?;
    all_write(masters)?;
    Ok(gap)
}

/// Until each master takes writes.
fn all_write(masters: &[Arc<Master>]) -> anyhow::Result<()> {
    let since = Instant::now();
    wait_until("writes go through every master", BACK_WITHIN, PACE, || {
        let writes = |master: &Arc<Master>| master.log.lock().acknowledged.last().is_some_and(|(at, _)| *at > since);
        Ok(masters.iter().all(writes).then_some(()))
    })
}

/// The longest time without an acknowledged write between two moments.
fn gap(log: &Log, from: Instant, to: Instant) -> Duration {
    let within = log.acknowledged.iter().map(|(at, _)| *at).filter(|at| *at > from && *at < to);
    let (mut last, mut longest) = (from, Duration::ZERO);
    for at in within.chain([to]) {
        // Writers of one master note their answers in no strict order.
        longest = longest.max(at.saturating_duration_since(last));
        last = last.max(at);
    }
    longest
}

/// Creates one object after another; what has no answer is not tried again.
async fn write(master: Arc<Master>, writer: usize, stop: Arc<AtomicBool>) {
    let mut sender = None;
    for number in 0_usize.. {
        if stop.load(Ordering::Acquire) {
            return;
        }
        let name = format!("{}-{writer}-{number:06}", master.name);
        match create(&master.client, &mut sender, &name).await {
            Ok(StatusCode::CREATED) => master.log.lock().acknowledged.push((Instant::now(), name)),
            Ok(status) => *master.log.lock().refused.entry(status).or_default() += 1,
            // Its master is down, or says nothing.
            Err(_) => sender = None,
        }
        sleep(PACE).await;
    }
}

async fn create(client: &rest::Client, sender: &mut Option<rest::Sender>, name: &str) -> anyhow::Result<StatusCode> {
    let open = match sender.take() {
        Some(open) => open,
        None => timeout(CONNECT_WITHIN, client.connect()).await.context("no connection in time")??,
    };
    let open = sender.insert(open);
    let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"k": "v"}});
    let path = format!("/api/v1/namespaces/{NAMESPACE}/configmaps");
    let request = client.request(Method::POST, &path, "application/json", Bytes::from(body.to_string()))?;
    Ok(timeout(ANSWER_WITHIN, answer(open, request)).await.context("no answer in time")??.0)
}

/// The names of all objects there are.
async fn names(client: &rest::Client) -> anyhow::Result<std::collections::HashSet<String>> {
    let mut names = std::collections::HashSet::new();
    let mut from = String::new();
    loop {
        let path = format!("/api/v1/namespaces/{NAMESPACE}/configmaps?limit={PAGE}{from}");
        let page = client.get(&path).await?;
        let Some(items) = page["items"].as_array() else { bail!("GET {path}: no items") };
        names.extend(items.iter().filter_map(|item| item["metadata"]["name"].as_str()).map(str::to_owned));
        match page["metadata"]["continue"].as_str().filter(|token| !token.is_empty()) {
            Some(token) => from = format!("&continue={}", token.replace('+', "%2B").replace('=', "%3D")),
            None => return Ok(names),
        }
    }
}

fn report(masters: &[Arc<Master>], gaps: &Samples, kept: &std::collections::HashSet<String>) {
    let (mut acknowledged, mut lost) = (0, 0);
    let mut refused = BTreeMap::<StatusCode, usize>::new();
    for master in masters {
        let log = master.log.lock();
        acknowledged += log.acknowledged.len();
        lost += log.acknowledged.iter().filter(|(_, name)| !kept.contains(name)).count();
        log.refused.iter().for_each(|(status, count)| *refused.entry(*status).or_default() += count);
    }
    let refused: Vec<String> = refused.iter().map(|(status, count)| format!("{count}x{}", status.as_u16())).collect();
    let secs = |percent| format!("{:.2} s", gaps.percentile(percent).as_secs_f64());
    let rows = [
        Row::new("writes through the others stand still: best", secs(1), "", ""),
        Row::new("median", secs(50), "", ""),
        Row::new(format!("worst of {} crashes", gaps.count()), secs(100), "2 s", ""),
        Row::new("writes acknowledged", acknowledged.to_string(), "", ""),
        Row::new("of these lost", lost.to_string(), "0", ""),
        Row::new("writes refused", if refused.is_empty() { "0".into() } else { refused.join(" ") }, "", ""),
    ];
    table::print("A master crashes", &rows);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_the_longest_time_without_an_answer() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let cases = [
            ("no answer at all", vec![], 1000),
            ("before and after do not count", vec![50, 1200], 1000),
            ("in the middle", vec![150, 200, 900, 1000], 700),
            ("from the crash on", vec![600, 700, 1000], 500),
            ("to the end", vec![200, 300], 800),
        ];
        for (why, answers, expected) in cases {
            let acknowledged = answers.into_iter().map(|ms| (at(ms), String::new())).collect();
            let log = Log { acknowledged, ..Log::default() };
            assert_eq!(gap(&log, at(100), at(1100)), Duration::from_millis(expected), "{why}");
        }
    }
}
