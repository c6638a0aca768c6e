//! The scheduler's core against a make-believe cluster: changes come late and by kind, placements fail or are done without
//! an answer, schedulers die and are followed by others, nodes come and go, and urgent pods take others' room. No node ever
//! gets more than it has, no pod is bound to a node that its constraints exclude, and in the end no pod waits that would fit,
//! or for which a less urgent one could go. All follows from a seed, which is printed:
//! `CORTEN_SEED` plays it again (`corten_client::seeds`).
#![expect(clippy::unwrap_used, reason = "a test: what fails here fails the test")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use corten_api::selector::Selector;
use corten_api::{ApiError, Key};
use corten_client::seeds::{Chance, for_each_seed};
use corten_scheduler::core::Core;
use corten_scheduler::cycle::{Decision, PodRef};
use corten_scheduler::pod::terms::{Affinity, PodSelector, Term};
use corten_scheduler::pod::{Ask, PodClass, PodInfo};
use corten_scheduler::queue::WAIT_MAX;
use k8s_openapi::api::core::v1::Node;
use serde_json::json;

const SEEDS: u64 = 150;
/// Both together are shorter than the queue's safety net: what only that would find waits in vain.
const UNREST_STEPS: usize = 2000;
const REST_STEPS: usize = 3500;
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
    /// Uids and priorities of victims.
    evicted: Vec<(String, i32)>,
}

fn cpu(pod: &PodInfo) -> i64 {
    pod.class.ask.requests["cpu"]
}
fn is_loner(pod: &PodInfo) -> bool {
    pod.class.labels.contains_key("loner")
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
        let bound = PodInfo { node: Some(node.into()), pending: None, ..pod.clone() };
        self.set_pod(key, Some(bound));
        Ok(())
    }
    fn taken(&self, node: &str) -> i64 {
        self.pods.values().filter(|p| p.node.as_deref() == Some(node)).map(cpu).sum()
    }
    /// Whether a pod that wants to be alone of its kind is with another of it.
    fn has_strangers(&self, node: &str) -> bool {
        let here = || self.pods.values().filter(|p| p.node.as_deref() == Some(node));
        here().any(|p| !p.class.affinity.anti.is_empty() && here().filter(|o| is_loner(o)).count() > 1)
    }
    /// A victim is deleted, and gone some time after.
    fn evict(&mut self, victim: &PodRef) {
        let Some(pod) = self.pods.get(&victim.key).filter(|p| p.uid == victim.uid) else { return };
        self.evicted.push((pod.uid.clone(), pod.class.priority));
        if pod.node.is_none() {
            return self.set_pod(&victim.key, None);
        }
        let leaving = PodInfo { deleting: true, preempted: true, ..pod.clone() };
        self.set_pod(&victim.key, Some(leaving));
    }
    /// One of those that are leaving has gone.
    fn finish_one(&mut self, chance: &mut Chance) {
        let leaving: Vec<Key> = self.pods.values().filter(|p| p.deleting).map(|p| p.key.clone()).collect();
        if let Some(key) = chance.pick(&leaving) {
            self.set_pod(key, None);
        }
    }
    fn nominate(&mut self, key: &Key, uid: &str, node: Option<&str>) {
        let Some(pod) = self.pods.get(key).filter(|p| p.uid == uid && p.node.is_none()) else { return };
        let mut pod = pod.clone();
        pod.pending.as_mut().unwrap().nominated = node.map(str::to_owned);
        self.set_pod(key, Some(pod));
    }
}

fn node(name: &str) -> Node {
    let allocatable = json!({"cpu": format!("{NODE_CPU}m"), "memory": "8Gi", "pods": "110"});
    let labels = json!({"kubernetes.io/hostname": name});
    serde_json::from_value(
        json!({"metadata": {"name": name, "labels": labels}, "status": {"allocatable": allocatable}}),
    )
    .unwrap()
}

/// A placement on its way.
struct Flight {
    key: Key,
    uid: String,
    node: String,
    /// Its result, if somebody heard of it; `Some(None)`: it was sent and no answer came.
    result: Option<Option<Result<(), ApiError>>>,
}

/// Room that is being made.
struct Making {
    preemptor: PodRef,
    node: String,
    demoted: Vec<PodRef>,
    victims: Vec<PodRef>,
}

struct Scheduler {
    core: Core,
    pods: BTreeMap<Key, PodInfo>,
    pods_at: usize,
    nodes_at: usize,
    flights: Vec<Flight>,
    makings: Vec<Making>,
}

impl Scheduler {
    /// Begins with the state as it is, as a new leader does.
    fn new(api: &Api, now: Instant) -> Self {
        let mut core = Core::named(NAME);
        for (name, node) in &api.nodes {
            core.node_changed(name, Some(node));
        }
        for (key, pod) in &api.pods {
            core.pod_changed(key, Some(pod), now);
        }
        let (pods_at, nodes_at) = (api.pod_log.len(), api.node_log.len());
        Self { core, pods: api.pods.clone(), pods_at, nodes_at, flights: Vec::new(), makings: Vec::new() }
    }

    fn see_pod(&mut self, api: &Api, now: Instant) {
        let Some((key, pod)) = api.pod_log.get(self.pods_at) else { return };
        self.pods_at += 1;
        match pod {
            Some(pod) => drop(self.pods.insert(key.clone(), pod.clone())),
            None => drop(self.pods.remove(key)),
        }
        self.core.pod_changed(key, pod.as_ref(), now);
        self.core.wake(now);
    }
    fn see_node(&mut self, api: &Api, now: Instant) {
        let Some((name, node)) = api.node_log.get(self.nodes_at) else { return };
        self.nodes_at += 1;
        self.core.node_changed(name, node.as_ref());
        self.core.wake(now);
    }
    fn schedule(&mut self, api: &mut Api, now: Instant) {
        self.core.wake(now);
        let Some(key) = self.core.next(now) else { return };
        let pod = self.pods.get(&key).cloned();
        match self.core.decide(&key, pod.as_ref(), now) {
            None => {}
            Some(Decision::Place { node }) => {
                self.flights.push(Flight { key, uid: pod.unwrap().uid, node, result: None });
            }
            Some(Decision::Nominate { node, victims, demoted, .. }) => {
                let preemptor = PodRef { key, uid: pod.unwrap().uid };
                self.makings.push(Making { preemptor, node, demoted, victims });
            }
            Some(Decision::Refuse { denominate: true, .. }) => api.nominate(&key, &pod.unwrap().uid, None),
            Some(Decision::Refuse { .. }) => {}
        }
    }
    /// Room gets made a bit further: one write, which may fail.
    fn make_room(&mut self, api: &mut Api, chance: &mut Chance, faults: usize, now: Instant) {
        if self.makings.is_empty() {
            return;
        }
        let at = chance.below(self.makings.len());
        let making = &mut self.makings[at];
        if chance.percent(faults) {
            let Making { preemptor, .. } = self.makings.remove(at);
            return self.core.preempted(&preemptor.key, &preemptor.uid, false, now);
        }
        if let Some(pod) = making.demoted.pop() {
            return api.nominate(&pod.key, &pod.uid, None);
        }
        if !making.node.is_empty() {
            let node = std::mem::take(&mut making.node);
            return api.nominate(&making.preemptor.key, &making.preemptor.uid, Some(&node));
        }
        match making.victims.pop() {
            Some(victim) => api.evict(&victim),
            None => {
                let Making { preemptor, .. } = self.makings.remove(at);
                self.core.preempted(&preemptor.key, &preemptor.uid, true, now);
            }
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
            let pod = PodInfo {
                key: key.clone(),
                uid: format!("u{}", api.made),
                class: Arc::new(class(chance)),
                pending: Some(Box::default()),
                ..PodInfo::default()
            };
            if !api.pods.contains_key(&key) {
                api.set_pod(&key, Some(pod));
            }
        }
        _ => {}
    }
}

/// Some ask for more, some are more urgent, and some want to be alone of their kind on a node.
fn class(chance: &mut Chance) -> PodClass {
    let cpu = i64::try_from(100 * (1 + chance.below(6))).unwrap();
    let ask = Ask { requests: [("cpu".to_owned(), cpu)].into(), non_zero: [cpu, 0], ..Ask::default() };
    let priority = [0, 0, 0, 1, 2][chance.below(5)];
    let alone = chance.percent(15);
    let labels = if alone { [("loner".to_owned(), String::new())].into() } else { BTreeMap::new() };
    let loners = || PodSelector::within("ns", Selector::parse("loner").unwrap());
    let term = || Term { pods: loners(), topology_key: "kubernetes.io/hostname".into() };
    let affinity = Affinity { anti: if alone { vec![term()] } else { Vec::new() }, ..Affinity::default() };
    let (namespace, scheduler, ask) = ("ns".into(), NAME.into(), Arc::new(ask));
    PodClass { namespace, scheduler, priority, labels, ask, affinity, ..PodClass::default() }
}

/// A pod without a node that has room for it, though less urgent pods would have to go.
fn waits_in_vain(api: &Api) -> Option<&Key> {
    let fits = |pod: &&PodInfo| {
        api.nodes.keys().any(|node| {
            let stay = api.pods.values().filter(|p| p.node.as_ref() == Some(node));
            let stay: Vec<&PodInfo> = stay.filter(|p| p.class.priority >= pod.class.priority).collect();
            stay.iter().map(|p| cpu(p)).sum::<i64>() + cpu(pod) <= NODE_CPU
                && !(is_loner(pod) && stay.iter().any(|p| is_loner(p)))
        })
    };
    api.pods.values().filter(|p| p.node.is_none()).find(fits).map(|p| &p.key)
}

const _: () = assert!((UNREST_STEPS + REST_STEPS) as u128 * STEP.as_millis() < WAIT_MAX.as_millis());

#[test]
fn no_node_gets_too_much_and_no_pod_waits_in_vain() {
    let mut evicted = 0;
    for_each_seed(SEEDS, |seed| {
        let (mut api, mut chance, mut now) = (Api::default(), Chance(seed), Instant::now());
        (0..NODES).for_each(|n| api.set_node(&format!("n{n}"), true));
        let mut scheduler = Scheduler::new(&api, now);
        for step in 0..UNREST_STEPS + REST_STEPS {
            let unrest = step < UNREST_STEPS;
            let faults = if unrest { 5 } else { 0 };
            match chance.below(10) {
                0 if unrest => change(&mut api, &mut chance),
                // The next leader begins; what was under way ends with the one before.
                1 if unrest && chance.below(60) == 0 => scheduler = Scheduler::new(&api, now),
                0 | 1 => scheduler.see_node(&api, now),
                2 | 3 => scheduler.see_pod(&api, now),
                4 | 5 => scheduler.schedule(&mut api, now),
                6 => scheduler.make_room(&mut api, &mut chance, faults, now),
                7 => api.finish_one(&mut chance),
                _ => scheduler.fly(&mut api, &mut chance, faults, now),
            }
            now += STEP;
            for name in api.nodes.keys() {
                let taken = api.taken(name);
                assert!(taken <= NODE_CPU, "seed {seed}, step {step}: {name} has {taken} of {NODE_CPU}");
                assert!(!api.has_strangers(name), "seed {seed}, step {step}: two that want to be alone on {name}");
            }
        }
        assert_eq!(waits_in_vain(&api), None, "seed {seed}");
        evicted += api.evicted.len();
        assert!(api.evicted.iter().all(|(_, priority)| *priority < 2), "seed {seed}: nobody is more urgent");
    });
    assert!(evicted > 0, "the urgent take others' room");
}
