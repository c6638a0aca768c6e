//! Pods without a node: which one is next, which wait for an event that could help, which back off. Pure: time is an
//! argument.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use corten_api::Key;

use crate::pod::{PodClass, PodInfo};
use crate::profile::PluginBits;
use crate::snapshot::event::Event;

/// How long a pod waits after a first try, and at most. Each further try doubles it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    pub first: Duration,
    pub max: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { first: Duration::from_secs(1), max: Duration::from_secs(10) }
    }
}

/// A pod that waited this long is tried again whatever happened: the safety net.
pub const WAIT_MAX: Duration = Duration::from_mins(5);

/// Higher priority first, then by the number: the smaller one first.
type Rank = (Reverse<i32>, i64, Key);

/// Pods that look alike and that the same plugins refused: an event helps all of them or none.
type Group = (Arc<PodClass>, PluginBits);

#[derive(Debug, Default)]
pub struct Queue {
    backoff: Backoff,
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
    /// When each pod that is backed off, waits or is bound is tried again.
    timers: BTreeSet<(Instant, Key)>,
    waiting: HashMap<Group, BTreeSet<Rank>>,
    sizes: Sizes,
    /// Pods that came into a part of the queue, by why, since somebody asked.
    incoming: Incoming,
}

/// Pods by the parts of the queue that upstream's metrics name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    pub active: usize,
    pub backoff: usize,
    pub unschedulable: usize,
}

/// How many pods came into a part of the queue, by the part and the event, as upstream's metrics name both.
pub type Incoming = HashMap<(&'static str, &'static str), u64>;

/// Events that are none of the cluster's, by upstream's names.
const POD_ADDED: &str = "UnschedulablePodAdd";
const POD_UPDATED: &str = "UnschedulablePodUpdate";
const FAILED: &str = "ScheduleAttemptFailure";
const BACKOFF_COMPLETE: &str = "BackoffComplete";
const WAITED_LONG: &str = "UnschedulableTimeout";
const ROOM_MADE: &str = "ForceActivate";

#[derive(Debug)]
struct Pending {
    /// Its place while it is ready.
    rank: Rank,
    created_secs: i64,
    uid: String,
    /// What the pod asks; a change of it is worth a new try.
    class: Arc<PodClass>,
    tries: u32,
    first_try: Option<Instant>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Ready,
    /// Being decided or bound.
    Taken,
    /// Bound, as the apiserver said; the cluster does not show it yet. Tried again at this time if it never does.
    Bound(Instant),
    /// Tried again at this time.
    BackingOff(Instant),
    /// Tried again when an event helps with what one of these plugins refused, but not before `not_before`; at the latest at
    /// `until`.
    Waiting {
        rejected_by: PluginBits,
        not_before: Instant,
        until: Instant,
    },
    /// Room is being made for it; what helps it meanwhile helps when that is done.
    Preempting {
        rejected_by: PluginBits,
        not_before: Instant,
        until: Instant,
        helped: bool,
    },
}

impl State {
    fn timer(self) -> Option<Instant> {
        match self {
            Self::Ready | Self::Taken => None,
            Self::BackingOff(at) | Self::Bound(at) => Some(at),
            Self::Waiting { until, .. } | Self::Preempting { until, .. } => Some(until),
        }
    }
    /// The part of the queue that it is in, by upstream's name; `None`: it is being decided or bound.
    fn part(self) -> Option<&'static str> {
        match self {
            Self::Ready => Some("active"),
            Self::BackingOff(_) => Some("backoff"),
            Self::Waiting { .. } | Self::Preempting { .. } => Some("unschedulable"),
            Self::Taken | Self::Bound(_) => None,
        }
    }
    fn rejected_by(self) -> Option<PluginBits> {
        match self {
            Self::Ready | Self::Taken | Self::BackingOff(_) | Self::Bound(_) => None,
            Self::Waiting { rejected_by, .. } | Self::Preempting { rejected_by, .. } => Some(rejected_by),
        }
    }
}

impl Queue {
    pub fn new(backoff: Backoff) -> Self {
        Self { backoff, ..Self::default() }
    }

    /// Takes in a pod that wants a node, as it is now.
    pub fn set(&mut self, pod: &PodInfo, now: Instant) {
        let created_secs = pod.pending.as_deref().map_or(0, |p| p.created_secs);
        let rank = (Reverse(pod.class.priority), created_secs, pod.key.clone());
        let mut event = POD_ADDED;
        match self.pods.get(&pod.key) {
            Some(known) if known.uid == pod.uid && known.class == pod.class => return,
            Some(known) if known.uid == pod.uid => {
                let state = known.state;
                self.enter(&pod.key, State::Taken, now);
                if let Some(known) = self.pods.get_mut(&pod.key) {
                    known.class = Arc::clone(&pod.class);
                    known.rank.0 = rank.0;
                }
                event = POD_UPDATED;
                // Room that is being made for it stays: it is tried again when that is done.
                match state {
                    State::Taken => return,
                    State::Bound(_) => return self.enter(&pod.key, state, now),
                    State::Preempting { rejected_by, not_before, until, .. } => {
                        let state = State::Preempting { rejected_by, not_before, until, helped: true };
                        return self.enter(&pod.key, state, now);
                    }
                    State::Ready | State::BackingOff(_) | State::Waiting { .. } => {}
                }
            }
            _ => {
                self.remove(&pod.key);
                let (uid, class) = (pod.uid.clone(), Arc::clone(&pod.class));
                let state = State::Taken;
                let pending = Pending { rank, created_secs, uid, class, tries: 0, first_try: None, state };
                self.pods.insert(pod.key.clone(), pending);
            }
        }
        self.come(&pod.key, State::Ready, event, now);
    }

    /// Whether it has the pod with this uid.
    pub fn has(&self, key: &Key, uid: &str) -> bool {
        self.pods.get(key).is_some_and(|pending| pending.uid == uid)
    }

    /// What the pod with this uid asks.
    pub fn class(&self, key: &Key, uid: &str) -> Option<&Arc<PodClass>> {
        self.pods.get(key).filter(|pending| pending.uid == uid).map(|pending| &pending.class)
    }
    /// Whether the pod with this uid is being decided or bound.
    pub fn is_taken(&self, key: &Key, uid: &str) -> bool {
        self.pods.get(key).is_some_and(|pending| pending.uid == uid && pending.state == State::Taken)
    }

    pub fn remove(&mut self, key: &Key) {
        if let Some(pending) = self.pods.remove(key) {
            self.leave(key, &pending);
        }
    }

    /// The next pod to decide on. Until `refused`, `failed`, `bound` or `remove` says what came of it, it is nobody else's.
    pub fn pop(&mut self, now: Instant) -> Option<Key> {
        while let Some((_, key)) = self.timers.first().filter(|(at, _)| *at <= now).cloned() {
            let was_backing_off = matches!(self.pods.get(&key).map(|p| p.state), Some(State::BackingOff(_)));
            self.come(&key, State::Ready, if was_backing_off { BACKOFF_COMPLETE } else { WAITED_LONG }, now);
        }
        let (.., key) = self.next_ready()?;
        self.enter(&key, State::Taken, now);
        let pending = self.pods.get_mut(&key)?;
        pending.tries += 1;
        pending.first_try.get_or_insert(now);
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
    pub fn refused(&mut self, key: &Key, rejected_by: PluginBits, now: Instant) {
        let not_before = now + self.backoff(key);
        self.come(key, State::Waiting { rejected_by, not_before, until: now + WAIT_MAX }, FAILED, now);
    }

    /// No node would do, and room is made on one: `preempted` says when.
    pub fn preempting(&mut self, key: &Key, rejected_by: PluginBits, now: Instant) {
        let not_before = now + self.backoff(key);
        let state = State::Preempting { rejected_by, not_before, until: now + WAIT_MAX, helped: false };
        self.come(key, state, FAILED, now);
    }

    /// All victims of the pod are told to go, or it did not come about: then it is tried again.
    pub fn preempted(&mut self, key: &Key, is_done: bool, now: Instant) {
        let Some(State::Preempting { rejected_by, not_before, until, helped }) = self.pods.get(key).map(|p| p.state)
        else {
            return;
        };
        if helped || !is_done {
            self.come(key, after(not_before, now), ROOM_MADE, now);
        } else {
            self.enter(key, State::Waiting { rejected_by, not_before, until }, now);
        }
    }

    /// The placement did not come about for a reason that is not the pod's.
    pub fn failed(&mut self, key: &Key, now: Instant) {
        let at = now + self.backoff(key);
        self.come(key, State::BackingOff(at), FAILED, now);
    }

    /// The apiserver says that it has its node: the cluster will show it, and `remove` ends it here.
    pub fn bound(&mut self, key: &Key, now: Instant) {
        self.enter(key, State::Bound(now + WAIT_MAX), now);
    }

    /// These happened: pods that one of them could help come again, those that failed just now after their backoff.
    /// `helps` asks one plugin's hint for pods of a class.
    pub fn wake(&mut self, events: &[Event], helps: impl Fn(&PodClass, usize, &Event) -> bool, now: Instant) {
        if events.is_empty() {
            return;
        }
        let helping = |(class, rejected_by): &Group| {
            let helps = |event: &&Event| rejected_by.iter().any(|plugin| helps(class, plugin, event));
            events.iter().find(helps).map(Event::label)
        };
        let groups = self.waiting.iter().filter_map(|(group, ranks)| Some((ranks, helping(group)?)));
        let mut helped: Vec<(Rank, &str)> =
            groups.flat_map(|(ranks, event)| ranks.iter().map(move |rank| (rank.clone(), event))).collect();
        // Those that waited longest come first, in the same order on every run.
        helped.sort_unstable();
        for ((.., key), event) in helped {
            match self.pods.get(&key).map(|p| p.state) {
                Some(State::Waiting { not_before, .. }) => self.come(&key, after(not_before, now), event, now),
                Some(State::Preempting { rejected_by, not_before, until, .. }) => {
                    self.enter(&key, State::Preempting { rejected_by, not_before, until, helped: true }, now);
                }
                Some(State::Ready | State::Taken | State::BackingOff(_) | State::Bound(_)) | None => {}
            }
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

    pub fn sizes(&self) -> Sizes {
        self.sizes
    }
    /// Who came since this was asked before.
    pub fn take_incoming(&mut self) -> Incoming {
        std::mem::take(&mut self.incoming)
    }
    /// How often the pod with this uid was tried, and when for the first time.
    pub fn tries(&self, key: &Key, uid: &str) -> Option<(u32, Instant)> {
        let pending = self.pods.get(key).filter(|pending| pending.uid == uid)?;
        Some((pending.tries, pending.first_try?))
    }

    fn backoff(&self, key: &Key) -> Duration {
        let tries = self.pods.get(key).map_or(1, |p| p.tries.max(1));
        self.backoff.first.saturating_mul(1 << (tries - 1).min(10)).min(self.backoff.max)
    }

    /// As `enter`, because of an event.
    fn come(&mut self, key: &Key, state: State, event: &'static str, now: Instant) {
        if let Some(part) = state.part().filter(|_| self.pods.contains_key(key)) {
            *self.incoming.entry((part, event)).or_default() += 1;
        }
        self.enter(key, state, now);
    }

    fn count(&mut self, state: State, by: isize) {
        let count = match state {
            State::Ready => &mut self.sizes.active,
            State::BackingOff(_) => &mut self.sizes.backoff,
            State::Waiting { .. } | State::Preempting { .. } => &mut self.sizes.unschedulable,
            State::Taken | State::Bound(_) => return,
        };
        *count = count.saturating_add_signed(by);
    }

    fn enter(&mut self, key: &Key, state: State, now: Instant) {
        let Some(mut pending) = self.pods.remove(key) else { return };
        self.leave(key, &pending);
        pending.state = match state {
            State::BackingOff(at) => State::BackingOff(at.max(now)),
            other => other,
        };
        match pending.state {
            State::Ready if pending.tries == 0 => {
                pending.rank.1 = pending.created_secs;
                self.fresh.insert(pending.rank.clone());
            }
            State::Ready => {
                self.came_back += 1;
                pending.rank.1 = self.came_back;
                self.again.insert(pending.rank.clone());
            }
            State::Taken
            | State::Bound(_)
            | State::BackingOff(_)
            | State::Waiting { .. }
            | State::Preempting { .. } => {}
        }
        self.count(pending.state, 1);
        if let Some(at) = pending.state.timer() {
            self.timers.insert((at, key.clone()));
        }
        if let Some(rejected_by) = pending.state.rejected_by() {
            let group = (Arc::clone(&pending.class), rejected_by);
            self.waiting.entry(group).or_default().insert(pending.rank.clone());
        }
        self.pods.insert(key.clone(), pending);
    }

    fn leave(&mut self, key: &Key, pending: &Pending) {
        self.count(pending.state, -1);
        if pending.state == State::Ready && !self.fresh.remove(&pending.rank) {
            self.again.remove(&pending.rank);
        }
        if let Some(at) = pending.state.timer() {
            self.timers.remove(&(at, key.clone()));
        }
        if let Some(rejected_by) = pending.state.rejected_by() {
            let group = (Arc::clone(&pending.class), rejected_by);
            if let Some(ranks) = self.waiting.get_mut(&group) {
                ranks.remove(&pending.rank);
                if ranks.is_empty() {
                    self.waiting.remove(&group);
                }
            }
        }
    }
}

/// Ready, if its backoff is over.
fn after(not_before: Instant, now: Instant) -> State {
    if not_before <= now { State::Ready } else { State::BackingOff(not_before) }
}

#[cfg(test)]
mod tests;
