//! The requests of one priority level: who has seats, who waits, and whose turn is next. A state machine without a clock.
//!
//! Fair queuing for server requests, as upstream's `queueset`: each queue has a virtual time at which its next request would
//! start if all queues that have work were served at once, bit by bit. The request that would be done first is dispatched
//! first, so a queue with many requests delays only itself. How long a request will take is guessed, and set right
//! when it is done.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use super::configuration::{Enablement, LimitResponse, Queuing};
use super::demand::Integrator;
use super::shuffle::deal;

/// How long a request is thought to take until it is known.
const ESTIMATED_SERVICE: Duration = Duration::from_millis(3);

/// Work: seats times nanoseconds. Also the virtual time of a level, which grows for as long as the process lives.
pub(super) type SeatNanos = i128;

pub(super) type RequestId = u64;

/// Who waits and works where, as it is told of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Dump {
    pub(super) waiting: u32,
    pub(super) executing: u32,
    pub(super) queues: Vec<QueueDump>,
    /// At work without having had a queue.
    pub(super) queueless: Vec<RequestDump>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct QueueDump {
    /// The next one first.
    pub(super) waiting: Vec<RequestDump>,
    pub(super) executing: Vec<RequestDump>,
    pub(super) next_start: SeatNanos,
    /// Of those that wait.
    pub(super) work: SeatNanos,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RequestDump {
    pub(super) id: RequestId,
    pub(super) seats: u32,
    /// `None` while it waits.
    pub(super) started: Option<Duration>,
}

/// Why a request is turned away; the texts are the metric's `reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Rejection {
    QueueFull,
    ConcurrencyLimit,
    TimeOut,
}

impl Rejection {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::QueueFull => "queue-full",
            Self::ConcurrencyLimit => "concurrency-limit",
            Self::TimeOut => "time-out",
        }
    }
}

#[derive(Clone, Debug)]
struct Request {
    seats: u32,
    /// `None`: its level has no queues.
    queue: Option<usize>,
    /// The level's virtual time when it came.
    arrived: SeatNanos,
    /// When it was dispatched; `None` while it waits.
    started: Option<Duration>,
}

#[derive(Clone, Debug, Default)]
struct Queue {
    waiting: VecDeque<RequestId>,
    /// Of those that wait.
    work: SeatNanos,
    executing: u32,
    /// The virtual time at which its next request starts.
    next_start: SeatNanos,
}

impl Queue {
    fn is_active(&self) -> bool {
        self.executing > 0 || !self.waiting.is_empty()
    }
}

/// What becomes of a request that finds no seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Discipline {
    Exempt,
    Reject,
    Queue(Queuing),
}

#[derive(Debug)]
pub(super) struct QueueSet {
    discipline: Discipline,
    /// Seats that may be taken now.
    limit: u32,
    queues: Vec<Queue>,
    requests: HashMap<RequestId, Request>,
    next_id: RequestId,
    now: Duration,
    virtual_now: SeatNanos,
    active_queues: u32,
    /// Where the last dispatch was: among equals the next one around has its turn.
    robin: usize,
    /// Hands dealt: where to begin in the next one.
    dealt: usize,
    seats_executing: u32,
    seats_waiting: u32,
    executing: u32,
    waiting: u32,
    demand: Integrator,
}

impl QueueSet {
    pub(super) fn new(enablement: &Enablement, limit: u32, now: Duration) -> Self {
        let mut set = Self {
            discipline: Discipline::Exempt,
            limit,
            queues: Vec::new(),
            requests: HashMap::new(),
            next_id: 0,
            now,
            virtual_now: 0,
            active_queues: 0,
            robin: 0,
            dealt: 0,
            seats_executing: 0,
            seats_waiting: 0,
            executing: 0,
            waiting: 0,
            demand: Integrator::new(now),
        };
        set.configure(enablement);
        set
    }

    /// Obeys another configuration. Who waits goes on waiting, also in a queue that is dealt to nobody any more.
    pub(super) fn configure(&mut self, enablement: &Enablement) {
        self.discipline = match enablement {
            Enablement::Exempt => Discipline::Exempt,
            Enablement::Limited { response: LimitResponse::Reject, .. } => Discipline::Reject,
            Enablement::Limited { response: LimitResponse::Queue(queuing), .. } => Discipline::Queue(*queuing),
        };
        let wanted = self.queues_wanted();
        if self.queues.len() < wanted {
            self.queues.resize_with(wanted, Queue::default);
        }
        self.drop_surplus();
    }
    fn queues_wanted(&self) -> usize {
        match self.discipline {
            Discipline::Queue(queuing) => queuing.queues as usize,
            Discipline::Exempt | Discipline::Reject => 0,
        }
    }
    /// Queues beyond those wanted go once they are empty, the last ones first: requests know theirs by index.
    fn drop_surplus(&mut self) {
        while self.queues.len() > self.queues_wanted() && self.queues.last().is_some_and(|q| !q.is_active()) {
            self.queues.pop();
        }
    }

    pub(super) fn limit(&self) -> u32 {
        self.limit
    }
    pub(super) fn set_limit(&mut self, limit: u32) {
        self.limit = limit;
    }
    pub(super) fn demand(&mut self) -> &mut Integrator {
        &mut self.demand
    }
    pub(super) fn is_executing(&self, id: RequestId) -> bool {
        self.requests.get(&id).is_some_and(|r| r.started.is_some())
    }
    /// Of the request's queue, with itself; `None`: it has none.
    pub(super) fn queue_length(&self, id: RequestId) -> Option<usize> {
        let queue = self.requests.get(&id)?.queue?;
        Some(self.queues.get(queue)?.waiting.len())
    }
    #[cfg(test)]
    pub(super) fn waiting(&self) -> u32 {
        self.waiting
    }
    /// Whether nobody waits or is at work.
    #[cfg(test)]
    pub(super) fn is_idle(&self) -> bool {
        self.requests.is_empty() && self.seats_executing == 0 && self.seats_waiting == 0 && self.active_queues == 0
    }

    /// A request comes. It is at work, or waits until [`Self::dispatch`] gives its id, or is turned away.
    /// `flow`: a hash of what it belongs to.
    pub(super) fn arrive(&mut self, now: Duration, flow: u64, seats: u32) -> Result<RequestId, Rejection> {
        self.advance(now);
        let seats = seats.max(1);
        let queue = match self.discipline {
            Discipline::Exempt => None,
            Discipline::Reject if !self.has_seats(seats) => return Err(Rejection::ConcurrencyLimit),
            Discipline::Reject => None,
            Discipline::Queue(queuing) => Some(self.choose(queuing, flow)?),
        };
        let id = self.next_id;
        self.next_id += 1;
        let started = queue.is_none().then_some(self.now);
        self.requests.insert(id, Request { seats, queue, arrived: self.virtual_now, started });
        match queue {
            None => {
                self.executing += 1;
                self.seats_executing += seats;
            }
            Some(index) => self.enqueue(index, id, seats),
        }
        self.note_demand();
        Ok(id)
    }

    /// The queue of the flow's hand with the least work in it.
    fn choose(&mut self, queuing: Queuing, flow: u64) -> Result<usize, Rejection> {
        let hand: Vec<usize> = deal(flow, queuing.queues, queuing.hand_size).collect();
        let first = self.dealt % hand.len().max(1);
        self.dealt = self.dealt.wrapping_add(1);
        let in_turn = hand[first..].iter().chain(&hand[..first]).copied();
        let Some(index) = in_turn.min_by_key(|index| self.queues[*index].work) else {
            return Err(Rejection::QueueFull);
        };
        let is_full = self.queues[index].waiting.len() >= queuing.queue_length_limit as usize;
        if is_full && self.seats_executing >= self.limit { Err(Rejection::QueueFull) } else { Ok(index) }
    }

    fn enqueue(&mut self, index: usize, id: RequestId, seats: u32) {
        let queue = &mut self.queues[index];
        if !queue.is_active() {
            // It has saved nothing up while it had no work.
            queue.next_start = self.virtual_now;
            self.active_queues += 1;
        }
        queue.waiting.push_back(id);
        queue.work += work(seats, ESTIMATED_SERVICE);
        self.waiting += 1;
        self.seats_waiting += seats;
        self.bound_next_start(index);
    }

    /// Gives the next request its seats, if there are enough. Call it until it gives `None`, after each of the others.
    pub(super) fn dispatch(&mut self, now: Duration) -> Option<RequestId> {
        self.advance(now);
        if self.waiting == 0 || self.seats_executing >= self.limit {
            return None;
        }
        let index = self.next_queue()?;
        let id = *self.queues[index].waiting.front()?;
        let seats = self.requests.get(&id)?.seats;
        // Nobody overtakes a wide request: it would wait for ever.
        if !self.has_seats(seats) {
            return None;
        }
        self.robin = index;
        self.take_from_queue(index, id, seats);
        let request = self.requests.get_mut(&id)?;
        request.started = Some(self.now);
        self.executing += 1;
        self.seats_executing += seats;
        let queue = &mut self.queues[index];
        queue.executing += 1;
        queue.next_start += work(seats, ESTIMATED_SERVICE);
        self.bound_next_start(index);
        Some(id)
    }

    /// The queue whose first request would be done first; among equals the next one around.
    fn next_queue(&self) -> Option<usize> {
        let count = self.queues.len();
        let around = (1..=count).map(|step| (self.robin + step) % count);
        let finishes = around.filter_map(|index| {
            let queue = &self.queues[index];
            let first = self.requests.get(queue.waiting.front()?)?;
            Some((queue.next_start + work(first.seats, ESTIMATED_SERVICE), index))
        });
        finishes.min_by_key(|(finish, _)| *finish).map(|(_, index)| index)
    }

    fn has_seats(&self, seats: u32) -> bool {
        // One that is wider than the level gets all of it, alone.
        if seats > self.limit { self.executing == 0 } else { self.seats_executing + seats <= self.limit }
    }

    /// The request is done, or waits no longer.
    pub(super) fn leave(&mut self, now: Duration, id: RequestId) {
        self.advance(now);
        let Some(request) = self.requests.remove(&id) else { return };
        match (request.started, request.queue) {
            (None, Some(index)) => {
                self.take_from_queue(index, id, request.seats);
                self.bound_next_start(index);
                self.note_active(index);
            }
            (None, None) => {}
            (Some(started), queue) => {
                self.executing -= 1;
                self.seats_executing -= request.seats;
                if let Some(index) = queue {
                    let queue = &mut self.queues[index];
                    queue.executing -= 1;
                    let took = self.now.saturating_sub(started);
                    queue.next_start += work(request.seats, took) - work(request.seats, ESTIMATED_SERVICE);
                    self.bound_next_start(index);
                    self.note_active(index);
                }
            }
        }
        self.note_demand();
        self.drop_surplus();
    }

    fn take_from_queue(&mut self, index: usize, id: RequestId, seats: u32) {
        let queue = &mut self.queues[index];
        let before = queue.waiting.len();
        if queue.waiting.front() == Some(&id) {
            queue.waiting.pop_front();
        } else {
            queue.waiting.retain(|waiting| *waiting != id);
        }
        if queue.waiting.len() < before {
            queue.work -= work(seats, ESTIMATED_SERVICE);
            self.waiting -= 1;
            self.seats_waiting -= seats;
        }
    }

    fn note_active(&mut self, index: usize) {
        if !self.queues[index].is_active() {
            self.active_queues -= 1;
        }
    }
    fn note_demand(&mut self) {
        self.demand.set(self.now, self.seats_executing + self.seats_waiting);
    }

    pub(super) fn dump(&self) -> Dump {
        let told =
            |id: RequestId, request: &Request| RequestDump { id, seats: request.seats, started: request.started };
        let of_queue = |queue: &Queue| QueueDump {
            waiting: queue.waiting.iter().filter_map(|id| Some(told(*id, self.requests.get(id)?))).collect(),
            executing: Vec::new(),
            next_start: queue.next_start,
            work: queue.work,
        };
        let queues = self.queues.iter().map(of_queue).collect();
        let mut dump = Dump { waiting: self.waiting, executing: self.executing, queues, queueless: Vec::new() };
        let mut at_work: Vec<_> = self.requests.iter().filter(|(_, request)| request.started.is_some()).collect();
        at_work.sort_unstable_by_key(|(id, _)| **id);
        for (id, request) in at_work {
            match request.queue.and_then(|index| dump.queues.get_mut(index)) {
                Some(queue) => queue.executing.push(told(*id, request)),
                None => dump.queueless.push(told(*id, request)),
            }
        }
        dump
    }

    /// A queue's next request never counts as started before it came.
    fn bound_next_start(&mut self, index: usize) {
        let queue = &mut self.queues[index];
        let first = queue.waiting.front().and_then(|id| self.requests.get(id));
        if let Some(first) = first {
            queue.next_start = queue.next_start.max(first.arrived);
        }
    }

    /// Virtual time passes as fast as each queue with work is served.
    fn advance(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.now);
        self.now = self.now.max(now);
        if self.active_queues > 0 {
            let wanted = (self.seats_executing + self.seats_waiting).min(self.limit);
            self.virtual_now += work(wanted, passed) / SeatNanos::from(self.active_queues);
        }
    }
}

fn work(seats: u32, lasting: Duration) -> SeatNanos {
    SeatNanos::from(seats) * SeatNanos::try_from(lasting.as_nanos()).unwrap_or(SeatNanos::MAX >> 32)
}

#[cfg(test)]
mod tests;
