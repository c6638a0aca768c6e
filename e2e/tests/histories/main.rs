//! Many writers and watchers over three apiservers and a three-member etcd, while servers are killed and paused and leaders
//! moved: all that they asked and were told is recorded, and judged.
//!
//! - `CORTEN_SEED=17` runs seed 17 alone, `CORTEN_SEEDS=100` seeds 0 to 99; otherwise one that is always the same, and a fresh one.
//! - A run that fails names its seed and leaves its history as a file: `CORTEN_HISTORY=<file>` judges that again.
#![allow(clippy::unwrap_used, reason = "a story that cannot go on fails")]

mod faults;
mod run;
mod watchers;
mod writers;

use std::path::{Path, PathBuf};
use std::time::Duration;

use corten_e2e::history::plan::{SERVERS, WATCHERS, WRITERS};
use corten_e2e::history::record::{Answer, Asked, History, Kind, Message, Record, Request, Told};
use corten_e2e::history::{Plan, check, report};
use corten_e2e::{Cluster, SOON, eventually};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use run::{Client, Run};

const FIRST_SEED: u64 = 1;
/// Writers stop when what they wait for is answered, or given up; watchers when they have seen the last write.
const ENDED_WITHIN: Duration = Duration::from_secs(60);
/// Fewer acknowledged writes than this say that a run tried nothing.
const WRITES_MIN: usize = 200;

#[test]
fn no_acknowledged_write_is_lost_and_no_watcher_misses_a_change_whatever_dies() {
    if let Some(file) = std::env::var_os("CORTEN_HISTORY") {
        return judge_again(Path::new(&file));
    }
    let cluster = Cluster::with_three_masters();
    for seed in seeds() {
        println!("seed {seed}: {:?}", Plan::of(seed).faults);
        let history = record(&cluster, seed);
        println!("seed {seed}: {}", counts(&history));
        let violations = check(&history);
        if !violations.is_empty() {
            let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("history-{seed}.txt"));
            std::fs::write(&file, history.to_string()).unwrap();
            let again =
                format!("judge it again with CORTEN_HISTORY={}, run it with CORTEN_SEED={seed}", file.display());
            panic!("{}{again}", report(&history, &violations));
        }
    }
}

fn judge_again(file: &Path) {
    let text = std::fs::read_to_string(file).unwrap_or_else(|err| panic!("{}: {err}", file.display()));
    let history = History::parse(&text).unwrap_or_else(|err| panic!("{}: {err:?}", file.display()));
    let violations = check(&history);
    assert!(violations.is_empty(), "{}", report(&history, &violations));
    println!("{}", counts(&history));
}

fn seeds() -> Vec<u64> {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    match (number("CORTEN_SEED"), number("CORTEN_SEEDS")) {
        (Some(seed), _) => vec![seed],
        (None, Some(many)) => (0..many).collect(),
        (None, None) => vec![FIRST_SEED, rand::random::<u32>().into()],
    }
}

/// One run of a seed.
fn record(cluster: &Cluster, seed: u64) -> History {
    let ns = cluster.namespace("history");
    let masters = cluster.masters();
    assert_eq!(masters.len(), SERVERS);
    let (plan, run) = (Plan::of(seed), Run::new(cluster, &ns.name));
    let runtime = Runtime::new().unwrap();
    let client = |name: String| runtime.block_on(Client::new(run.clone(), name));
    let watchers: Vec<JoinHandle<()>> =
        (0..WATCHERS).map(|n| runtime.spawn(watchers::watch(n, client(format!("v{n}"))))).collect();
    let writers: Vec<JoinHandle<()>> =
        (0..WRITERS).map(|n| runtime.spawn(writers::write(plan.clone(), n, client(format!("w{n}"))))).collect();
    for fault in &plan.faults {
        run.writes_go_on(fault.after_writes);
        faults::inflict(cluster, &masters, &run, fault);
    }
    run.writes_go_on(WRITES_MIN as u64 / 2);
    run.stop_writers();
    all_end(&runtime, "writers", writers);
    for master in &masters {
        cluster.kubectl().with_flag(&format!("--server={}", master.apiserver())).shows("get --raw /readyz", "ok");
    }
    let mut last = client("last".to_owned());
    for kind in Kind::ALL {
        let written = eventually("the last write", SOON, || runtime.block_on(writers::write_last(&mut last, kind)));
        run.end_watches_at(kind, written);
    }
    all_end(&runtime, "watchers", watchers);
    runtime.block_on(writers::read_all(&mut last));
    run.history(seed)
}

fn all_end(runtime: &Runtime, who: &str, tasks: Vec<JoinHandle<()>>) {
    let ended = async { tokio::time::timeout(ENDED_WITHIN, futures::future::join_all(tasks)).await };
    let ended = runtime.block_on(ended).unwrap_or_else(|_| panic!("the {who} did not end within {ENDED_WITHIN:?}"));
    ended.into_iter().for_each(|task| task.unwrap());
}

/// What a history has of everything, so that one that tried nothing shows.
fn counts(history: &History) -> String {
    let count = |of: &dyn Fn(&Record) -> bool| history.records.iter().filter(|record| of(record)).count();
    let asked = |of: &dyn Fn(&Asked) -> bool| count(&|record| matches!(record, Record::Asked(asked) if of(asked)));
    let told =
        |of: &dyn Fn(&Message) -> bool| count(&|record| matches!(record, Record::Told(Told { what, .. }) if of(what)));
    let is_write = |asked: &Asked| matches!(asked.request, Request::Write(_));
    let done = asked(&|a| matches!(a.answer, Answer::Written(_) | Answer::Deleted { .. }));
    assert!(done >= WRITES_MIN, "{done} writes were acknowledged");
    format!(
        "{done} writes acknowledged, {} refused, {} unknown; {} reads answered; {} events, {} bookmarks, {} watches",
        asked(&|a| is_write(a) && matches!(a.answer, Answer::Refused { .. })),
        asked(&|a| is_write(a) && matches!(a.answer, Answer::Unknown(_))),
        asked(&|a| matches!(a.answer, Answer::Found(_) | Answer::Missing | Answer::Listed(_))),
        told(&|m| matches!(m, Message::Added(..) | Message::Modified(..) | Message::Deleted(..))),
        told(&|m| matches!(m, Message::Bookmark(_))),
        told(&|m| matches!(m, Message::Began(_))),
    )
}
