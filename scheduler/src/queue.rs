//! Pods without a node: which one is next, which wait for a change that could help, which back off. Pure: time is an
//! argument.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use corten_api::Key;

use crate::pod::PodInfo;
use crate::snapshot::Helps;

const BACKOFF_FIRST: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_secs(10);
/// A pod that waited this long is tried again whatever happened: the safety net.
pub const WAIT_MAX: Duration = Duration::from_mins(5);

/// Higher priority first, then by the number: the smaller one first.
type Rank = (Reverse<i32>, i64, Key);

#[derive(Debug, Default)]
pub struct Queue {
    pods: HashMap<Key, Pending>,
    /// Pods that were never tried, the oldest first.
    fresh: BTreeSet<Rank>,
    /// Pods that were tried before, in the order in which they came back.
    again: BTreeSet<Rank>,
    /// Counts what came back.
    came_back: i64,
    /// Which of two pods of one priority is next: they alternate, so that neither a crowd that fits nowhere delays a new
    /// pod, nor a stream of new pods one that waited.
    fresh_was_last: bool,
    /// When each backed-off or waiting pod is tried again.
    timers: BTreeSet<(Instant, Key)>,
}

#[derive(Debug)]
struct Pending {
    /// Its place while it is ready.
    rank: Rank,
    created_secs: i64,
    /// What the pod asks; a change of it is worth a new try.
    ask: PodInfo,
    tries: u32,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Ready,
    /// Being decided or bound.
    Taken,
    /// Tried again at this time.
    BackingOff(Instant),
    /// Tried again when one of these happens, but not before `not_before`; at the latest at `until`.
    Waiting {
        retry_on: Helps,
        not_before: Instant,
        until: Instant,
    },
}

impl Queue {
    /// Takes in a pod that wants a node, as it is now.
    pub fn set(&mut self, pod: &PodInfo, now: Instant) {
        let wants = pod.wants.as_deref();
        let created_secs = wants.map_or(0, |w| w.created_secs);
        let rank = (Reverse(wants.map_or(0, |w| w.priority)), created_secs, pod.key.clone());
        let ask = asked(pod);
        match self.pods.get_mut(&pod.key) {
            Some(known) if known.ask == ask => return,
            Some(known) if known.ask.uid == ask.uid => {
                known.ask = ask;
                if matches!(known.state, State::Ready | State::Taken) {
                    return;
                }
            }
            _ => {
                self.remove(&pod.key);
                self.pods.insert(pod.key.clone(), Pending { rank, created_secs, ask, tries: 0, state: State::Taken });
            }
        }
        self.enter(&pod.key, State::Ready, now);
    }

    /// Whether it has the pod with this uid.
    pub fn has(&self, key: &Key, uid: &str) -> bool {
        self.pods.get(key).is_some_and(|pending| pending.ask.uid == uid)
    }

    pub fn remove(&mut self, key: &Key) {
        if let Some(pending) = self.pods.remove(key) {
            self.leave(key, &pending);
        }
    }

    /// The next pod to decide on. Until `refused`, `failed` or `remove` says what came of it, it is nobody else's.
    pub fn pop(&mut self, now: Instant) -> Option<Key> {
        while let Some((_, key)) = self.timers.first().filter(|(at, _)| *at <= now).cloned() {
            self.enter(&key, State::Ready, now);
        }
        let (.., key) = self.next_ready()?;
        self.enter(&key, State::Taken, now);
        let pending = self.pods.get_mut(&key)?;
        pending.tries += 1;
        Some(key)
    }

    fn next_ready(&mut self) -> Option<Rank> {
        let (fresh, again) = (self.fresh.first(), self.again.first());
        let takes_fresh = match (fresh, again) {
            (Some(fresh), Some(again)) if fresh.0 == again.0 => !self.fresh_was_last,
            (Some(fresh), Some(again)) => fresh.0 < again.0,
            (fresh, _) => fresh.is_some(),
        };
        let next = if takes_fresh { fresh } else { again }.cloned();
        self.fresh_was_last = takes_fresh;
        next
    }

    /// No node would do.
    pub fn refused(&mut self, key: &Key, retry_on: Helps, now: Instant) {
        let not_before = now + self.backoff(key);
        self.enter(key, State::Waiting { retry_on, not_before, until: now + WAIT_MAX }, now);
    }

    /// The placement did not come about for a reason that is not the pod's.
    pub fn failed(&mut self, key: &Key, now: Instant) {
        let at = now + self.backoff(key);
        self.enter(key, State::BackingOff(at), now);
    }

    /// Something happened: pods that it could help come again, those that failed just now after their backoff.
    pub fn helped(&mut self, by: Helps, now: Instant) {
        if by == Helps::NOTHING {
            return;
        }
        let waiting = self.pods.values().filter_map(|p| match p.state {
            State::Waiting { retry_on, not_before, .. } if retry_on.meets(by) => Some((p.rank.clone(), not_before)),
            _ => None,
        });
        let mut helped: Vec<(Rank, Instant)> = waiting.collect();
        // Those that waited longest come first, in the same order on every run.
        helped.sort_unstable();
        for ((.., key), not_before) in helped {
            let state = if not_before <= now { State::Ready } else { State::BackingOff(not_before) };
            self.enter(&key, state, now);
        }
    }

    /// When to call `pop` again though nothing happened.
    pub fn next_timer(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }
    pub fn len(&self) -> usize {
        self.pods.len()
    }
    pub fn is_empty(&self) -> bool {
        self.pods.is_empty()
    }

    fn backoff(&self, key: &Key) -> Duration {
        let tries = self.pods.get(key).map_or(1, |p| p.tries.max(1));
        BACKOFF_FIRST.saturating_mul(1 << (tries - 1).min(10)).min(BACKOFF_MAX)
    }

    fn enter(&mut self, key: &Key, state: State, now: Instant) {
        let Some(mut pending) = self.pods.remove(key) else { return };
        self.leave(key, &pending);
        pending.state = state;
        match state {
            State::Ready if pending.tries == 0 => {
                pending.rank.1 = pending.created_secs;
                self.fresh.insert(pending.rank.clone());
            }
            State::Ready => {
                self.came_back += 1;
                pending.rank.1 = self.came_back;
                self.again.insert(pending.rank.clone());
            }
            State::Taken => {}
            State::BackingOff(at) => drop(self.timers.insert((at.max(now), key.clone()))),
            State::Waiting { until, .. } => drop(self.timers.insert((until, key.clone()))),
        }
        self.pods.insert(key.clone(), pending);
    }

    fn leave(&mut self, key: &Key, pending: &Pending) {
        match pending.state {
            State::Ready => drop(self.fresh.remove(&pending.rank) || self.again.remove(&pending.rank)),
            State::Taken => {}
            State::BackingOff(at) => drop(self.timers.remove(&(at, key.clone()))),
            State::Waiting { until, .. } => drop(self.timers.remove(&(until, key.clone()))),
        }
    }
}

/// The pod without what we write on it ourselves.
fn asked(pod: &PodInfo) -> PodInfo {
    let mut ask = pod.clone();
    if let Some(wants) = &mut ask.wants {
        wants.told = None;
        wants.reference.resource_version = None;
    }
    ask
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::Wants;

    fn pod(name: &str, priority: i32, created_secs: i64) -> PodInfo {
        let wants = Wants { priority, created_secs, ..Wants::default() };
        PodInfo { key: Key::new("default", name), uid: name.into(), wants: Some(Box::new(wants)), ..PodInfo::default() }
    }
    fn popped(queue: &mut Queue, now: Instant) -> Option<String> {
        queue.pop(now).map(|k| k.name)
    }

    #[test]
    fn by_priority_then_by_age() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        for p in [pod("young", 0, 20), pod("old", 0, 10), pod("urgent", 100, 30)] {
            queue.set(&p, now);
        }
        let order: Vec<_> = std::iter::from_fn(|| popped(&mut queue, now)).collect();
        assert_eq!(order, ["urgent", "old", "young"]);
    }

    #[test]
    fn a_crowd_that_fits_nowhere_does_not_delay_new_pods_nor_they_the_crowd() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        let crowd = 1000;
        for n in 0..crowd {
            queue.set(&pod(&format!("large-{n}"), 0, 0), now);
            let key = queue.pop(now).unwrap();
            queue.refused(&key, Helps::POD_GONE, now);
        }
        let later = now + BACKOFF_MAX;
        queue.helped(Helps::POD_GONE, later);
        (0..3).for_each(|n| queue.set(&pod(&format!("new-{n}"), 0, 100), later));
        queue.set(&pod("urgent", 1, 100), later);
        let order: Vec<_> = (0..8).filter_map(|_| popped(&mut queue, later)).collect();
        let new = |n: usize| order.iter().position(|name| *name == format!("new-{n}")).unwrap();
        assert_eq!(order[0], "urgent", "{order:?}");
        assert!((0..3).all(|n| new(n) < 8), "{order:?}");
        assert_eq!(order.iter().filter(|name| name.starts_with("large")).count(), 4, "{order:?}");
    }

    #[test]
    fn pods_that_come_back_take_turns() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        for name in ["a", "b"] {
            queue.set(&pod(name, 0, 0), now);
        }
        for _ in 0..2 {
            let key = queue.pop(now).unwrap();
            queue.refused(&key, Helps::POD_GONE, now);
        }
        let mut order = Vec::new();
        for round in 1..7 {
            let at = now + BACKOFF_MAX * round;
            queue.helped(Helps::POD_GONE, at);
            let key = queue.pop(at).unwrap();
            order.push(key.name.clone());
            queue.refused(&key, Helps::POD_GONE, at);
        }
        assert_eq!(order, ["a", "b", "a", "b", "a", "b"]);
    }

    #[test]
    fn a_refused_pod_waits_for_what_could_help_it() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        let secs = |n| now + Duration::from_secs(n);
        queue.set(&pod("a", 0, 0), now);
        let key = queue.pop(now).unwrap();
        queue.refused(&key, Helps::POD_GONE, now);
        queue.helped(Helps::NODE_LABELLED, secs(30));
        assert_eq!(popped(&mut queue, secs(30)), None, "a label does not help");
        queue.helped(Helps::POD_GONE, secs(31));
        assert_eq!(popped(&mut queue, secs(31)), Some("a".into()));
        queue.refused(&key, Helps::POD_GONE, secs(31));
        queue.helped(Helps::POD_GONE, secs(31));
        assert_eq!(popped(&mut queue, secs(32)), None, "not before its backoff, 2 s by now");
        assert_eq!(queue.next_timer(), Some(secs(33)));
        assert_eq!(popped(&mut queue, secs(33)), Some("a".into()));
        queue.refused(&key, Helps::NOTHING, secs(33));
        assert_eq!(popped(&mut queue, secs(33) + WAIT_MAX), Some("a".into()), "the safety net");
    }

    #[test]
    fn what_we_write_on_a_pod_does_not_bring_it_back_but_its_owner_does() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        let mut a = pod("a", 0, 0);
        queue.set(&a, now);
        let key = queue.pop(now).unwrap();
        queue.refused(&key, Helps::NODE_ADDED, now);
        a.wants.as_mut().unwrap().told = Some("0/1 nodes are available".into());
        queue.set(&a, now);
        assert_eq!(popped(&mut queue, now), None);
        a.wants.as_mut().unwrap().node_selector.clear();
        a.takes.requests.insert("cpu".into(), 1);
        queue.set(&a, now);
        assert_eq!(popped(&mut queue, now), Some("a".into()));
    }

    #[test]
    fn a_pod_of_the_same_name_begins_anew() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.set(&pod("a", 0, 0), now);
        let key = queue.pop(now).unwrap();
        queue.failed(&key, now);
        queue.set(&PodInfo { uid: "other".into(), ..pod("a", 0, 5) }, now);
        assert_eq!(popped(&mut queue, now), Some("a".into()));
        assert_eq!((queue.len(), queue.next_timer()), (1, None));
    }

    #[test]
    fn backoffs_double_up_to_their_bound() {
        let (mut queue, mut now) = (Queue::default(), Instant::now());
        queue.set(&pod("a", 0, 0), now);
        let mut waits = Vec::new();
        for _ in 0..14 {
            let key = queue.pop(now).unwrap();
            queue.failed(&key, now);
            let at = queue.next_timer().unwrap();
            waits.push((at - now).as_secs());
            assert_eq!(queue.pop(at.checked_sub(Duration::from_nanos(1)).unwrap()), None, "not a moment before");
            now = at;
        }
        assert_eq!(waits, [1, 2, 4, 8, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10]);
    }

    #[test]
    fn what_helps_after_the_backoff_helps_at_once() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.set(&pod("a", 0, 0), now);
        let key = queue.pop(now).unwrap();
        queue.refused(&key, Helps::POD_GONE, now);
        assert_eq!(queue.next_timer(), Some(now + WAIT_MAX), "whatever happens");
        queue.helped(Helps::NOTHING, now + BACKOFF_FIRST);
        assert_eq!(queue.pop(now + BACKOFF_FIRST), None);
        queue.helped(Helps::POD_GONE, now + BACKOFF_FIRST);
        assert_eq!(queue.next_timer(), None);
        assert_eq!(queue.pop(now + BACKOFF_FIRST), Some(key));
    }

    #[test]
    fn a_change_while_a_pod_is_decided_on_gives_it_to_nobody_else() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        let mut a = pod("a", 0, 0);
        queue.set(&a, now);
        let key = queue.pop(now).unwrap();
        a.takes.requests.insert("cpu".into(), 1);
        queue.set(&a, now);
        assert_eq!(queue.pop(now), None, "it is being decided on");
        queue.refused(&key, Helps::POD_GONE, now);
        queue.set(&a, now);
        assert_eq!(queue.pop(now), None, "what it asks is known already");
        assert!(queue.has(&key, "a") && !queue.has(&key, "b") && !queue.is_empty());
        queue.remove(&key);
        assert!(!queue.has(&key, "a") && queue.is_empty());
        assert_eq!((queue.len(), queue.next_timer()), (0, None), "nothing of it is left");
    }

    #[test]
    fn the_urgent_go_first_wherever_they_come_from() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        for (name, priority) in [("low", 1), ("high", 3)] {
            queue.set(&pod(name, priority, 0), now);
            let key = queue.pop(now).unwrap();
            queue.refused(&key, Helps::POD_GONE, now);
        }
        let later = now + BACKOFF_MAX;
        queue.helped(Helps::POD_GONE, later);
        queue.set(&pod("middle", 2, 0), later);
        let order: Vec<_> = std::iter::from_fn(|| popped(&mut queue, later)).collect();
        assert_eq!(order, ["high", "middle", "low"]);
    }
}
