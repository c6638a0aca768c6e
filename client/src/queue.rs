//! A work queue that dedupes: an item waits at most once, and is never with two workers at a time.
//!
//! An item added while a worker has it comes again once that worker is done, so no change is missed. Bounded by the
//! number of distinct items, which are keys of objects that exist.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

const RETRY_FIRST: Duration = Duration::from_millis(5);
/// What failed for want of an apiserver is tried soon after one is back, not a quarter of an hour later.
const RETRY_MAX: Duration = Duration::from_mins(2);

pub trait Item: Hash + Eq + Clone + Send + 'static {}
impl<Q: Hash + Eq + Clone + Send + 'static> Item for Q {}

/// Cheap to clone; clones share the queue.
#[derive(Debug)]
pub struct WorkQueue<Q> {
    shared: Arc<(Mutex<State<Q>>, Notify)>,
}

impl<Q> Clone for WorkQueue<Q> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<Q: Item> Default for WorkQueue<Q> {
    fn default() -> Self {
        Self::new()
    }
}

#[derive(Debug)]
struct State<Q> {
    /// With since when each is ready.
    ready: VecDeque<(Q, Instant)>,
    /// In `ready`.
    waiting: HashSet<Q>,
    /// With a worker; true if it was added again meanwhile.
    working: HashMap<Q, bool>,
    /// When each delayed item is due; the heap may hold outdated times, the map is the truth.
    due: HashMap<Q, Instant>,
    timers: BinaryHeap<Reverse<(Instant, u64)>>,
    by_timer: HashMap<u64, Q>,
    next_timer: u64,
    failures: HashMap<Q, u32>,
    /// Items added, whether they waited already or not.
    adds: u64,
}

impl<Q: Item> WorkQueue<Q> {
    pub fn new() -> Self {
        Self { shared: Arc::new((Mutex::new(State::new()), Notify::new())) }
    }

    pub fn add(&self, item: Q) {
        self.shared.0.lock().add(item, Instant::now());
        self.shared.1.notify_one();
    }

    /// Adds the item after a while; of several such times the earliest counts.
    pub fn add_after(&self, item: Q, delay: Duration) {
        self.shared.0.lock().add_at(item, Instant::now() + delay);
        // A waiting worker has to see that its timer may be another one now.
        self.shared.1.notify_one();
    }

    /// Adds the item after a delay that doubles with each failure since the last [`Self::forget`].
    pub fn add_failed(&self, item: Q) {
        let delay = self.shared.0.lock().failed(item.clone());
        self.add_after(item, delay);
    }

    pub fn forget(&self, item: &Q) {
        self.shared.0.lock().failures.remove(item);
    }

    /// The next item; [`Self::done`] must follow. Cancel-safe.
    pub async fn next(&self) -> Q {
        loop {
            let notified = self.shared.1.notified();
            let timer = {
                let mut state = self.shared.0.lock();
                state.release_due(Instant::now());
                if let Some(item) = state.take() {
                    if !state.ready.is_empty() {
                        self.shared.1.notify_one();
                    }
                    return item;
                }
                state.timers.peek().map(|Reverse((at, _))| *at)
            };
            match timer {
                Some(at) => tokio::select! { () = notified => {}, () = tokio::time::sleep_until(at) => {} },
                None => notified.await,
            }
        }
    }

    /// Gives the item back; if it was added meanwhile it is ready again.
    pub fn done(&self, item: &Q) {
        let mut state = self.shared.0.lock();
        if state.working.remove(item) == Some(true) {
            state.add(item.clone(), Instant::now());
            self.shared.1.notify_one();
        }
    }

    /// How many are ready to be worked on.
    pub fn len(&self) -> usize {
        self.shared.0.lock().ready.len()
    }
    /// Since when the item waits that could have been taken first. Looks at all that are delayed.
    pub fn waiting_since(&self, now: Instant) -> Option<Instant> {
        let state = self.shared.0.lock();
        // What is due is made ready by a worker that asks for the next item: where there is none, it waits all the same.
        let due = state.due.values().filter(|at| **at <= now);
        due.chain(state.ready.front().map(|(_, since)| since)).min().copied()
    }
    /// How often something was added, whether it waited already or not.
    pub fn adds(&self) -> u64 {
        self.shared.0.lock().adds
    }
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<Q: Item> State<Q> {
    fn new() -> Self {
        Self {
            ready: VecDeque::new(),
            waiting: HashSet::new(),
            working: HashMap::new(),
            due: HashMap::new(),
            timers: BinaryHeap::new(),
            by_timer: HashMap::new(),
            next_timer: 0,
            failures: HashMap::new(),
            adds: 0,
        }
    }

    /// Counts a failure; returns how long to wait for it.
    fn failed(&mut self, item: Q) -> Duration {
        let failures = self.failures.entry(item).or_default();
        let delay = RETRY_FIRST.saturating_mul(1 << (*failures).min(20)).min(RETRY_MAX);
        *failures += 1;
        delay
    }

    fn add(&mut self, item: Q, now: Instant) {
        self.adds += 1;
        if let Some(again) = self.working.get_mut(&item) {
            *again = true;
        } else if self.waiting.insert(item.clone()) {
            self.ready.push_back((item, now));
        }
    }

    fn add_at(&mut self, item: Q, at: Instant) {
        if self.due.get(&item).is_some_and(|known| *known <= at) {
            return;
        }
        self.due.insert(item.clone(), at);
        self.next_timer += 1;
        self.timers.push(Reverse((at, self.next_timer)));
        self.by_timer.insert(self.next_timer, item);
    }

    fn release_due(&mut self, now: Instant) {
        while let Some(Reverse((at, timer))) = self.timers.peek().copied() {
            if at > now {
                break;
            }
            self.timers.pop();
            let Some(item) = self.by_timer.remove(&timer) else { continue };
            // Only the time that still stands releases; the earlier ones were replaced.
            if self.due.get(&item) == Some(&at) {
                self.due.remove(&item);
                self.add(item, at);
            }
        }
    }

    fn take(&mut self) -> Option<Q> {
        let (item, _) = self.ready.pop_front()?;
        self.waiting.remove(&item);
        self.working.insert(item.clone(), false);
        Some(item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_item_waits_once_and_comes_again_if_added_while_worked_on() {
        let queue = WorkQueue::new();
        queue.add("a");
        queue.add("a");
        assert_eq!(queue.next().await, "a");
        queue.add("a");
        assert!(queue.is_empty(), "not with two workers at a time");
        queue.done(&"a");
        assert_eq!(queue.next().await, "a");
        queue.done(&"a");
        assert!(queue.is_empty());
    }

    #[test]
    fn the_earliest_delay_counts() {
        let start = Instant::now();
        let at = |secs| start + Duration::from_secs(secs);
        let mut state = State::new();
        state.add_at("a", at(60));
        state.add_at("a", at(5));
        state.add_at("b", at(7));
        let mut seen = Vec::new();
        for secs in [4, 5, 7, 100] {
            state.release_due(at(secs));
            while let Some(item) = state.take() {
                seen.push((secs, item));
                state.working.clear();
            }
        }
        assert_eq!(seen, [(5, "a"), (7, "b")], "the replaced time must not bring a again");
    }

    #[test]
    fn failures_back_off_until_forgotten() {
        let queue = WorkQueue::new();
        let delay = || queue.shared.0.lock().failed("a").as_millis();
        assert_eq!([delay(), delay(), delay()], [5, 10, 20]);
        queue.forget(&"a");
        assert_eq!(delay(), 5);
        for _ in 0..40 {
            delay();
        }
        assert_eq!(delay(), RETRY_MAX.as_millis());
    }

    #[tokio::test(start_paused = true)]
    async fn waits_end_with_the_earliest_timer_or_an_addition() {
        let queue = WorkQueue::new();
        let started = Instant::now();
        queue.add_after("late", Duration::from_secs(9));
        queue.add_after("soon", Duration::from_secs(3));
        queue.add_failed("failed");
        let mut seen = Vec::new();
        for _ in 0..3 {
            let item = queue.next().await;
            seen.push((item, started.elapsed().as_millis()));
            queue.done(&item);
        }
        assert_eq!(seen, [("failed", 5), ("soon", 3000), ("late", 9000)]);
        let (waiting, adding) = (queue.clone(), queue.clone());
        let add = async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            adding.add("now");
        };
        assert_eq!(tokio::join!(waiting.next(), add).0, "now");
        assert_eq!(started.elapsed().as_secs(), 10);
    }

    #[tokio::test]
    async fn it_counts_what_is_ready_and_what_was_added() {
        let queue = WorkQueue::default();
        for item in ["a", "b", "a"] {
            queue.add(item);
        }
        assert_eq!((queue.len(), queue.adds(), queue.is_empty()), (2, 3, false));
        assert_eq!(queue.next().await, "a");
        queue.done(&"a");
        assert_eq!((queue.len(), queue.adds()), (1, 3), "done is done");
    }

    #[tokio::test(start_paused = true)]
    async fn it_says_since_when_work_waits_that_nobody_takes_up() {
        let (queue, start) = (WorkQueue::new(), Instant::now());
        let since = |queue: &WorkQueue<&'static str>| {
            let now = Instant::now();
            queue.waiting_since(now).map(|since| (since - start).as_secs())
        };
        let turn = |secs| tokio::time::advance(Duration::from_secs(secs));
        assert_eq!(since(&queue), None);
        queue.add_after("later", Duration::from_secs(7));
        turn(5).await;
        assert_eq!(since(&queue), None, "it is not due");
        queue.add("now");
        turn(5).await;
        queue.add("now");
        assert_eq!(since(&queue), Some(5), "not since it was added again");
        assert_eq!(queue.next().await, "now");
        assert_eq!(since(&queue), Some(7), "it was due then");
        assert_eq!(queue.next().await, "later");
        assert_eq!(since(&queue), None, "with a worker nothing waits");
        queue.add("later");
        turn(5).await;
        queue.done(&"later");
        assert_eq!(since(&queue), Some(15), "it could not be taken up before");
    }

    #[tokio::test]
    async fn one_worker_that_is_woken_wakes_the_next_while_there_is_work() {
        let queue = WorkQueue::new();
        let worker = |queue: WorkQueue<&'static str>| tokio::spawn(async move { queue.next().await });
        let (first, second) = (worker(queue.clone()), worker(queue.clone()));
        tokio::task::yield_now().await;
        {
            // Both at once, as when two timers are due: one call of notify_one for two items.
            let mut state = queue.shared.0.lock();
            state.add("a", Instant::now());
            state.add("b", Instant::now());
        }
        queue.shared.1.notify_one();
        let both = async { tokio::join!(first, second) };
        let (first, second) = tokio::time::timeout(Duration::from_secs(10), both).await.expect("both get one");
        let mut got = [first.unwrap(), second.unwrap()];
        got.sort_unstable();
        assert_eq!(got, ["a", "b"]);
    }
}
