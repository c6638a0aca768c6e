//! No pod waits for ever: pods that are deleted and made again under one name, caches that are ahead of the queue, bindings
//! that fail, are done without an answer, or are lost after an answer. All follows from a seed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use corten_client::seeds::{Chance, for_each_seed};
use serde_json::json;

use super::*;
use crate::pod::Ask;
use crate::queue::WAIT_MAX;

const SEEDS: u64 = 60;
const STEPS: usize = 3000;
const NAMES: usize = 5;

/// What the apiserver has, and the scheduler's cache, which follows it.
#[derive(Default)]
struct World {
    truth: BTreeMap<Key, PodInfo>,
    log: Vec<(Key, Option<PodInfo>)>,
    cache: BTreeMap<Key, PodInfo>,
    seen: usize,
    /// What the core has not been told of yet.
    dirty: BTreeSet<Key>,
    flights: Vec<(Key, String, String)>,
    made: usize,
    /// A binding was forgotten after it was confirmed.
    lost: bool,
}

impl World {
    fn write(&mut self, key: &Key, pod: Option<PodInfo>) {
        match &pod {
            Some(pod) => drop(self.truth.insert(key.clone(), pod.clone())),
            None => drop(self.truth.remove(key)),
        }
        self.log.push((key.clone(), pod));
    }
    fn make(&mut self, key: &Key, chance: &mut Chance) {
        self.made += 1;
        let cpu = i64::try_from(100 * (1 + chance.below(6))).unwrap();
        let gates = if chance.percent(20) { vec!["g".to_owned()] } else { Vec::new() };
        let scheduler = if chance.percent(10) { "you" } else { "me" };
        let ask = Ask { requests: [("cpu".to_owned(), cpu)].into(), ..Ask::default() };
        let class = PodClass { scheduler: scheduler.into(), gates, ask: Arc::new(ask), ..PodClass::default() };
        let (uid, class) = (format!("u{}", self.made), Arc::new(class));
        let pending = Some(Box::new(Pending::default()));
        self.write(key, Some(PodInfo { key: key.clone(), uid, class, pending, ..PodInfo::default() }));
    }
    /// Somebody makes, deletes and changes pods.
    fn change(&mut self, chance: &mut Chance) {
        let key = Key::new("default", format!("p{}", chance.below(NAMES)));
        let Some(pod) = self.truth.get(&key).cloned() else { return self.make(&key, chance) };
        match chance.below(6) {
            0 | 1 => {
                self.write(&key, None);
                self.make(&key, chance);
            }
            2 => self.write(&key, None),
            3 if pod.node.is_none() => self.write(&key, Some(PodInfo { deleting: true, ..pod })),
            4 if pod.node.is_some() && chance.percent(20) => {
                // The store was put back to what it was.
                self.lost = true;
                self.write(&key, Some(PodInfo { node: None, pending: Some(Box::default()), ..pod }));
            }
            _ if !pod.class.gates.is_empty() => {
                let class = PodClass { gates: Vec::new(), ..(*pod.class).clone() };
                self.write(&key, Some(PodInfo { class: Arc::new(class), ..pod }));
            }
            _ => {}
        }
    }
    fn see(&mut self) {
        let Some((key, pod)) = self.log.get(self.seen) else { return };
        self.seen += 1;
        self.dirty.insert(key.clone());
        match pod {
            Some(pod) => drop(self.cache.insert(key.clone(), pod.clone())),
            None => drop(self.cache.remove(key)),
        }
    }
    fn tell(&mut self, core: &mut Core, now: Instant) {
        for key in std::mem::take(&mut self.dirty) {
            core.pod_changed(&key, self.cache.get(&key), now);
        }
        core.wake(now);
    }
    /// False: nobody wants a node now.
    fn decide(&mut self, core: &mut Core, now: Instant) -> bool {
        let Some(key) = core.next(now) else { return false };
        let pod = self.cache.get(&key);
        if let Some(Decision::Place { node }) = core.decide(&key, pod, now) {
            self.flights.push((key, pod.unwrap().uid.clone(), node));
        }
        true
    }
    fn bind(&mut self, key: &Key, uid: &str, node: &str) -> Result<(), ApiError> {
        let pod = self.truth.get(key).ok_or_else(|| ApiError::not_found("", "pods", &key.name))?;
        if pod.uid != uid || pod.node.is_some() || pod.deleting {
            return Err(ApiError::conflict("", "pods", &key.name, "it is not as it was"));
        }
        self.write(key, Some(PodInfo { node: Some(node.into()), pending: None, ..pod.clone() }));
        Ok(())
    }
    /// One placement comes to its end, as it should or not.
    fn settle(&mut self, core: &mut Core, chance: &mut Chance, faults: bool, now: Instant) {
        if self.flights.is_empty() {
            return;
        }
        let (key, uid, node) = self.flights.remove(chance.below(self.flights.len()));
        let luck = if faults { chance.below(10) } else { 9 };
        let result = match luck {
            0 => Err(ApiError::unavailable("no answer")),
            1 => self.bind(&key, &uid, &node).and(Err(ApiError::unavailable("no answer, and it was done"))),
            2 => Err(ApiError::not_found("", "pods", &key.name)),
            3 => {
                // Confirmed, and lost before anybody saw it.
                self.lost = true;
                Ok(())
            }
            _ => self.bind(&key, &uid, &node),
        };
        core.settled(&key, &uid, result.as_ref().copied(), now);
    }
    fn is_ours(pod: &&PodInfo) -> bool {
        pod.is_pending() && pod.class.scheduler == "me" && pod.class.gates.is_empty()
    }
    fn waiting(&self) -> Vec<&PodInfo> {
        self.truth.values().filter(Self::is_ours).collect()
    }
}

#[test]
fn no_pod_waits_for_ever() {
    for_each_seed(SEEDS, |seed| {
        let (mut world, mut chance, mut now) = (World::default(), Chance(seed), Instant::now());
        let mut core = Core::named("me");
        core.node_changed("n1", Some(&node("n1", "1", "8Gi")));
        for _ in 0..STEPS {
            match chance.below(8) {
                0 => world.change(&mut chance),
                1 | 2 => world.see(),
                3 => world.tell(&mut core, now),
                4 | 5 => {
                    world.decide(&mut core, now);
                }
                6 => world.settle(&mut core, &mut chance, true, now),
                _ => now += Duration::from_millis(200),
            }
        }
        // Rest: all is seen, everything succeeds, and there is room for all.
        (0..world.log.len()).for_each(|_| world.see());
        world.tell(&mut core, now);
        for pod in world.waiting() {
            assert!(core.queue.has(&pod.key, &pod.uid), "seed {seed}: {pod:?} is outside the queue");
        }
        core.node_changed("n1", Some(&node("n1", "100", "8Gi")));
        core.wake(now);
        let rest = now;
        while !world.waiting().is_empty() {
            while world.decide(&mut core, now) {}
            while !world.flights.is_empty() {
                world.settle(&mut core, &mut chance, false, now);
            }
            (0..world.log.len()).for_each(|_| world.see());
            world.tell(&mut core, now);
            let left = world.waiting();
            let timer = core.next_timer().filter(|_| !left.is_empty());
            assert!(timer.is_some() || left.is_empty(), "seed {seed}: nothing would bring them back: {left:?}");
            now = timer.map_or(now, |timer| now.max(timer));
            let bound = if world.lost { WAIT_MAX } else { Duration::ZERO } + 3 * Backoff::default().max;
            assert!(now - rest <= bound || left.is_empty(), "seed {seed}: {left:?} after {:?}", now - rest);
        }
    });
}

/// The ways in which a node becomes good for pods, in any order, seen one by one or together, with decisions between.
#[test]
fn the_first_pod_comes_to_a_node_however_it_becomes_ready() {
    let mended = |done: &[usize]| {
        let has = |mend: usize| done.contains(&mend);
        let mut taints = Vec::new();
        if !has(0) {
            taints.push(json!({"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}));
        }
        if !has(1) {
            taints.push(json!({"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}));
        }
        let (cpu, memory) = if has(3) { ("4", "8Gi") } else { ("0", "0") };
        let mut node = node("n1", cpu, memory);
        node.spec = serde_json::from_value(json!({"taints": taints, "unschedulable": !has(2)})).unwrap();
        if !has(3) {
            node.status = None;
        }
        node
    };
    for_each_seed(200, |seed| {
        let (mut chance, mut now) = (Chance(seed), Instant::now());
        let (mut core, first) = (Core::named("me"), pending("one"));
        let mut left = vec![0, 1, 2, 3];
        let mut done = Vec::new();
        let (mut is_there, mut is_placed) = (false, false);
        let mut decide = |core: &mut Core, now| {
            core.wake(now);
            while let Some(key) = core.next(now) {
                is_placed |= matches!(core.decide(&key, Some(&first), now), Some(Decision::Place { .. }));
            }
            is_placed
        };
        while !left.is_empty() {
            match chance.below(5) {
                0 => core.pod_changed(&first.key, Some(&first), now),
                1 if chance.percent(30) => {
                    core.node_changed("n1", None);
                    is_there = false;
                }
                2 => {
                    decide(&mut core, now);
                }
                3 => now += Duration::from_millis(300),
                _ => {
                    // Several mends may come in one change, or the node as it was before.
                    for _ in 0..chance.below(3).min(left.len()) {
                        done.push(left.remove(chance.below(left.len())));
                    }
                    core.node_changed("n1", Some(&mended(&done)));
                    is_there = true;
                }
            }
        }
        if !is_there {
            core.node_changed("n1", Some(&mended(&done)));
        }
        core.pod_changed(&first.key, Some(&first), now);
        let ready = now;
        while !decide(&mut core, now) {
            now = core.next_timer().unwrap_or_else(|| panic!("seed {seed}: nothing would bring it back"));
            assert!(now - ready <= Backoff::default().max, "seed {seed}: only after {:?}", now - ready);
        }
    });
}
