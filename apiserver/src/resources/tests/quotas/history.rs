//! The store's whole history, and what each revision of it must keep.

use std::collections::BTreeMap;

use futures::StreamExt;
use serde_json::Value;

use crate::storage::{Change, Storage};

/// All keys and what they hold, at one revision.
type State = BTreeMap<String, Value>;
/// What a quota allows and has used, of each resource.
type Sums = BTreeMap<String, (i64, i64)>;

/// What was seen on the way.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) revisions: usize,
    /// Revisions at which a quota's status was compared with what is there.
    pub(super) compared: usize,
    /// Of these, how often something was used up.
    pub(super) full: usize,
}

/// At each revision at which nobody counts, quotas of namespace `n` say what is there; and nothing is used beyond what
/// is allowed, but for what had been used when less was allowed.
pub(super) async fn check(storage: &dyn Storage) -> Seen {
    let mut stream = storage.watch("/registry/", 1).await.unwrap();
    let newest = storage.current_revision().await.unwrap();
    let (mut state, mut before, mut seen) = (State::new(), BTreeMap::<String, Sums>::new(), Seen::default());
    let mut reached = 0;
    while reached < newest {
        let told = stream.next().await.unwrap().unwrap();
        reached = told.revision;
        for revision in told.changes.chunk_by(|a, b| a.revision() == b.revision()) {
            revision.iter().for_each(|change| apply(&mut state, change));
            seen.revisions += 1;
            before = compare(&state, &before, revision[0].revision(), &mut seen);
        }
    }
    seen
}

fn apply(state: &mut State, change: &Change) {
    match change {
        Change::Put { key, value, .. } => {
            drop(state.insert(key.clone(), serde_json::from_slice(value).unwrap_or_default()));
        }
        Change::Deleted { key, .. } => drop(state.remove(key)),
    }
}

fn under<'a>(state: &'a State, prefix: &'static str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    state.range(prefix.to_owned()..).take_while(move |(key, _)| key.starts_with(prefix))
}

fn compare(state: &State, before: &BTreeMap<String, Sums>, revision: i64, seen: &mut Seen) -> BTreeMap<String, Sums> {
    let guard = state.get("/registry/corten/quotas/n");
    let mut all = BTreeMap::new();
    for (key, quota) in under(state, "/registry/resourcequotas/n/") {
        let guard = guard.unwrap_or_else(|| panic!("{revision}: there is a quota and no guard"));
        let mut sums = Sums::new();
        for (name, hard) in quota["status"]["hard"].as_object().into_iter().flatten() {
            let used = amount(&quota["status"]["used"][name]);
            if guard["counting"].is_null() {
                assert_eq!(used, there(state, name), "{revision}: {name} of {key}: what is used, and what is there");
                seen.compared += 1;
            }
            let had = before.get(key).and_then(|sums| sums.get(name));
            let rose = had.is_none_or(|(allowed, had)| *allowed == amount(hard) && used > *had);
            assert!(!rose || had.is_none() || used <= amount(hard), "{revision}: {used} of {hard} {name} in {key}");
            seen.full += usize::from(used == amount(hard));
            sums.insert(name.clone(), (amount(hard), used));
        }
        all.insert(key.clone(), sums);
    }
    all
}

/// In thousandths.
fn amount(quantity: &Value) -> i64 {
    let text = quantity.as_str().unwrap_or("0");
    match text.strip_suffix('m') {
        Some(millis) => millis.parse().unwrap(),
        None => text.parse::<i64>().unwrap() * 1000,
    }
}

fn there(state: &State, resource: &str) -> i64 {
    let objects = |plural: &'static str| under(state, plural).map(|(_, object)| object).collect::<Vec<_>>();
    let running = || {
        let mut pods = objects("/registry/pods/n/");
        pods.retain(|pod| !matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed")));
        pods
    };
    match resource {
        "configmaps" => objects("/registry/configmaps/n/").len() as i64 * 1000,
        "count/pods" => objects("/registry/pods/n/").len() as i64 * 1000,
        "pods" => running().len() as i64 * 1000,
        "requests.cpu" => {
            let of = |pod: &&Value| amount(&pod["spec"]["containers"][0]["resources"]["requests"]["cpu"]);
            running().iter().map(of).sum()
        }
        other => panic!("{other} is not counted by these tests"),
    }
}
