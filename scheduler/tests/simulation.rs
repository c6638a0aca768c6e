//! The scheduler's core against a make-believe cluster: changes come late and by kind, placements fail or are done without
//! an answer, schedulers die and are followed by others, nodes come and go. No node ever gets more than it has, and in the
//! end no pod waits that would fit. All follows from a seed, which is printed:
//! `CORTEN_SEED` plays it again (`corten_client::seeds`).
#![expect(clippy::unwrap_used, reason = "a test: what fails here fails the test")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use corten_api::{ApiError, Key};
use corten_client::seeds::{Chance, for_each_seed};
use corten_scheduler::core::Core;
use corten_scheduler::cycle::Decision;
use corten_scheduler::pod::{PodInfo, Takes, Wants};
use corten_scheduler::queue::WAIT_MAX;
use k8s_openapi::api::core::v1::Node;
use serde_json::json;

const SEEDS: u64 = 150;
/// Both together are shorter than the queue's safety net: what only that would find waits in vain.
const UNREST_STEPS: usize = 2000;
const REST_STEPS: usize = 3000;
const STEP: Duration = Duration::from_millis(50);
const NODE_CPU: i64 = 1000;
const NODES: usize = 3;
const PODS_MAX: usize = 30;
const NAME: &str = "me";

/// What the apiserver has, and every change there ever was.
#[derive(Default)]
struct Api {
    pods: BTreeMap<Key, PodInfo>,
    pod_log: Vec<(Key, Option<PodInfo>)>,
    nodes: BTreeMap<String, Node>,
    node_log: Vec<(String, Option<Node>)>,
    made: usize,
}

impl Api {
    fn set_pod(&mut self, key: &Key, pod: Option<PodInfo>) {
        match &pod {
            Some(pod) => drop(self.pods.insert(key.clone(), pod.clone())),
            None => drop(self.pods.remove(key)),
        }
        self.pod_log.push((key.clone(), pod));
    }
    fn set_node(&mut self, name: &str, there: bool) {
        let node = there.then(|| node(name));
        match &node {
            Some(node) => drop(self.nodes.insert(name.into(), node.clone())),
            None => drop(self.nodes.remove(name)),
        }
        self.node_log.push((name.into(), node));
    }
    fn bind(&mut self, key: &Key, uid: &str, node: &str) -> Result<(), ApiError> {
        let Some(pod) = self.pods.get(key) else { return Err(ApiError::not_found("", "pods", &key.name)) };
        if pod.uid != uid || pod.node.is_some() {
            return Err(ApiError::conflict("", "pods", &key.name, "it is not as it was"));
        }
        let bound = PodInfo { node: Some(node.into()), wants: None, ..pod.clone() };
        self.set_pod(key, Some(bound));
        Ok(())
    }
    fn taken(&self, node: &str) -> i64 {
        self.pods.values().filter(|p| p.node.as_deref() == Some(node)).map(|p| p.takes.requests["cpu"]).sum()
    }
}

fn node(name: &str) -> Node {
    let allocatable = json!({"cpu": format!("{NODE_CPU}m"), "memory": "8Gi", "pods": "110"});
    serde_json::from_value(json!({"metadata": {"name": name}, "status": {"allocatable": allocatable}})).unwrap()
}

/// A placement on its way.
struct Flight {
    key: Key,
    uid: String,
    node: String,
    /// Its result, if somebody heard of it; `Some(None)`: it was sent and no answer came.
    result: Option<Option<Result<(), ApiError>>>,
}

struct Scheduler {
    core: Core,
    pods: BTreeMap<Key, PodInfo>,
    pods_at: usize,
    nodes_at: usize,
    flights: Vec<Flight>,
}

impl Scheduler {
    /// Begins with the state as it is, as a new leader does.
    fn new(api: &Api, now: Instant) -> Self {
        let mut core = Core::new(NAME);
        for (name, node) in &api.nodes {
            core.node_changed(name, Some(node));
        }
        for (key, pod) in &api.pods {
            core.pod_changed(key, Some(pod), now);
        }
        let (pods_at, nodes_at) = (api.pod_log.len(), api.node_log.len());
        Self { core, pods: api.pods.clone(), pods_at, nodes_at, flights: Vec::new() }
    }

    fn see_pod(&mut self, api: &Api, now: Instant) {
        let Some((key, pod)) = api.pod_log.get(self.pods_at) else { return };
        self.pods_at += 1;
        match pod {
            Some(pod) => drop(self.pods.insert(key.clone(), pod.clone())),
            None => drop(self.pods.remove(key)),
        }
        let helps = self.core.pod_changed(key, pod.as_ref(), now);
        self.core.helped(helps, now);
    }
    fn see_node(&mut self, api: &Api, now: Instant) {
        let Some((name, node)) = api.node_log.get(self.nodes_at) else { return };
        self.nodes_at += 1;
        let helps = self.core.node_changed(name, node.as_ref());
        self.core.helped(helps, now);
    }
    fn schedule(&mut self, now: Instant) {
        let Some(key) = self.core.next(now) else { return };
        let pod = self.pods.get(&key).cloned();
        if let Some(Decision::Place { node }) = self.core.decide(&key, pod.as_ref(), now) {
            self.flights.push(Flight { key, uid: pod.unwrap().uid, node, result: None });
        }
    }
    /// One placement gets one step further.
    fn fly(&mut self, api: &mut Api, chance: &mut Chance, faults: usize, now: Instant) {
        if self.flights.is_empty() {
            return;
        }
        let at = chance.below(self.flights.len());
        let flight = &mut self.flights[at];
        match &flight.result {
            None => {
                let luck = chance.below(100);
                let done = (luck >= faults).then(|| api.bind(&flight.key, &flight.uid, &flight.node));
                let heard = luck >= 2 * faults;
                flight.result = Some(done.filter(|_| heard));
            }
            // Without an answer it looks at the pod, as `bind.rs` does.
            Some(None) => {
                let is_there = api.pods.get(&flight.key).is_some_and(|p| p.node.as_ref() == Some(&flight.node));
                flight.result = Some(Some(if is_there { Ok(()) } else { Err(ApiError::unavailable("no answer")) }));
            }
            Some(Some(result)) => {
                self.core.settled(&flight.key, &flight.uid, result.as_ref().copied(), now);
                self.flights.remove(at);
            }
        }
    }
}

/// Somebody makes and deletes pods, and nodes.
fn change(api: &mut Api, chance: &mut Chance) {
    let keys: Vec<Key> = api.pods.keys().cloned().collect();
    match chance.below(10) {
        0 => {
            let name = format!("n{}", chance.below(NODES));
            // Its pods stay bound to it, and still are when it comes back.
            let there = api.nodes.contains_key(&name);
            api.set_node(&name, !there);
        }
        1..=3 if !keys.is_empty() => api.set_pod(&keys[chance.below(keys.len())], None),
        _ if keys.len() < PODS_MAX => {
            api.made += 1;
            // Few names, so that they come again.
            let key = Key::new("ns", format!("p{}", chance.below(PODS_MAX)));
            let cpu = i64::try_from(100 * (1 + chance.below(6))).unwrap();
            let wants = Wants { scheduler: NAME.into(), ..Wants::default() };
            let pod = PodInfo {
                key: key.clone(),
                uid: format!("u{}", api.made),
                takes: Takes { requests: [("cpu".to_owned(), cpu)].into(), ..Takes::default() },
                wants: Some(Box::new(wants)),
                ..PodInfo::default()
            };
            if !api.pods.contains_key(&key) {
                api.set_pod(&key, Some(pod));
            }
        }
        _ => {}
    }
}

fn waits_in_vain(api: &Api) -> Option<&Key> {
    let fits = |pod: &&PodInfo| api.nodes.keys().any(|n| api.taken(n) + pod.takes.requests["cpu"] <= NODE_CPU);
    api.pods.values().filter(|p| p.node.is_none()).find(fits).map(|p| &p.key)
}

const _: () = assert!((UNREST_STEPS + REST_STEPS) as u128 * STEP.as_millis() < WAIT_MAX.as_millis());

#[test]
fn no_node_gets_too_much_and_no_pod_waits_in_vain() {
    for_each_seed(SEEDS, |seed| {
        let (mut api, mut chance, mut now) = (Api::default(), Chance(seed), Instant::now());
        (0..NODES).for_each(|n| api.set_node(&format!("n{n}"), true));
        let mut scheduler = Scheduler::new(&api, now);
        for step in 0..UNREST_STEPS + REST_STEPS {
            let unrest = step < UNREST_STEPS;
            let faults = if unrest { 5 } else { 0 };
            match chance.below(8) {
                0 if unrest => change(&mut api, &mut chance),
                // The next leader begins; what was under way ends with the one before.
                1 if unrest && chance.below(60) == 0 => scheduler = Scheduler::new(&api, now),
                0 | 1 => scheduler.see_node(&api, now),
                2 | 3 => scheduler.see_pod(&api, now),
                4 | 5 => scheduler.schedule(now),
                _ => scheduler.fly(&mut api, &mut chance, faults, now),
            }
            now += STEP;
            for name in api.nodes.keys() {
                let taken = api.taken(name);
                assert!(taken <= NODE_CPU, "seed {seed}, step {step}: {name} has {taken} of {NODE_CPU}");
            }
        }
        assert_eq!(waits_in_vain(&api), None, "seed {seed}");
    });
}
