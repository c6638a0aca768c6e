//! Fair queuing told as scripts: floods, elephants and mice, and a clock that the test turns.

use super::*;

const SERVICE: Duration = Duration::from_millis(10);

fn queued(queues: u32, hand_size: u32, queue_length_limit: u32) -> Enablement {
    let queuing = Queuing { queues, hand_size, queue_length_limit };
    Enablement::Limited { borrowing_limit_percent: None, response: LimitResponse::Queue(queuing) }
}
fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A level whose requests all take [`SERVICE`], and what became of each.
struct Story {
    set: QueueSet,
    now: Duration,
    /// Name, when it came.
    names: HashMap<RequestId, (String, Duration)>,
    /// When it is done.
    at_work: Vec<(Duration, RequestId)>,
    /// Name, how long it waited.
    dispatched: Vec<(String, Duration)>,
    refused: Vec<String>,
}

impl Story {
    fn new(enablement: &Enablement, limit: u32) -> Self {
        let set = QueueSet::new(enablement, limit, Duration::ZERO);
        let (names, at_work) = (HashMap::new(), Vec::new());
        Self { set, now: Duration::ZERO, names, at_work, dispatched: Vec::new(), refused: Vec::new() }
    }
    fn arrive(&mut self, name: &str, flow: u64, seats: u32) {
        match self.set.arrive(self.now, flow, seats) {
            Ok(id) => {
                self.names.insert(id, (name.to_owned(), self.now));
                if self.set.is_executing(id) {
                    self.begins(id);
                }
            }
            Err(_) => self.refused.push(name.to_owned()),
        }
        self.pump();
    }
    fn begins(&mut self, id: RequestId) {
        let (name, came) = self.names[&id].clone();
        self.dispatched.push((name, self.now - came));
        self.at_work.push((self.now + SERVICE, id));
    }
    fn pump(&mut self) {
        while let Some(id) = self.set.dispatch(self.now) {
            self.begins(id);
        }
    }
    /// Time passes: what is done by then gives its seats back.
    fn until(&mut self, then: Duration) {
        while let Some((at, id)) = self.at_work.iter().copied().min().filter(|(at, _)| *at <= then) {
            self.at_work.retain(|(_, other)| *other != id);
            self.now = at;
            self.set.leave(at, id);
            self.pump();
        }
        self.now = then;
    }
    fn waits_of(&self, name: &str) -> Vec<Duration> {
        self.dispatched.iter().filter(|(is, _)| is == name).map(|(_, waited)| *waited).collect()
    }
}

#[test]
fn a_flood_by_one_user_delays_another_by_no_more_than_one_request() {
    let mut story = Story::new(&queued(8, 1, 1000), 4);
    for n in 0..400 {
        story.arrive("flood", 0, 1);
        // Now and then somebody with a queue of his own asks for one thing.
        if n % 20 == 0 {
            story.arrive("mouse", 1, 1);
        }
        story.until(ms(n * 2 + 1));
    }
    story.until(Duration::from_secs(60));
    let mouse = story.waits_of("mouse");
    assert_eq!(mouse.len(), 20, "all are served");
    assert!(mouse.iter().all(|waited| *waited <= SERVICE), "{mouse:?}");
    assert!(story.waits_of("flood").iter().max() > Some(&ms(100)), "the flood waits for itself");
    assert!(story.set.is_idle());
}

#[test]
fn two_that_flood_get_the_same_share() {
    let mut story = Story::new(&queued(8, 1, 1000), 4);
    for _ in 0..100 {
        story.arrive("early", 0, 1);
    }
    for _ in 0..100 {
        story.arrive("late", 1, 1);
    }
    story.until(ms(300));
    let (early, late) = (story.waits_of("early").len(), story.waits_of("late").len());
    assert!(early.abs_diff(late) <= 8, "early {early}, late {late}");
}

#[test]
fn who_asks_for_wide_requests_gets_no_more_seats_than_who_asks_for_narrow_ones() {
    let mut story = Story::new(&queued(8, 1, 1000), 8);
    for _ in 0..100 {
        story.arrive("wide", 0, 4);
        story.arrive("narrow", 1, 1);
    }
    story.until(ms(200));
    let (wide, narrow) = (story.waits_of("wide").len() * 4, story.waits_of("narrow").len());
    assert!(wide.abs_diff(narrow) <= 12, "seats: wide {wide}, narrow {narrow}");
}

#[test]
fn the_queue_of_an_elephant_overflows_and_that_of_a_mouse_does_not() {
    let mut story = Story::new(&queued(64, 2, 50), 10);
    for _ in 0..500 {
        story.arrive("elephant", 12345, 1);
    }
    assert_eq!(story.refused.len(), 500 - 10 - 2 * 50, "ten are at work, two queues of fifty are full");
    for _ in 0..50 {
        story.arrive("mouse", 678, 1);
    }
    assert!(!story.refused.contains(&"mouse".to_owned()), "another hand has room");
}

#[test]
fn with_free_seats_nobody_waits_and_no_queue_is_full() {
    let mut story = Story::new(&queued(2, 1, 0), 3);
    for _ in 0..3 {
        story.arrive("one", 0, 1);
    }
    assert_eq!((story.dispatched.len(), story.refused.len()), (3, 0));
    story.arrive("one", 0, 1);
    assert_eq!(story.refused.len(), 1);
    story.until(SERVICE);
    story.arrive("one", 0, 1);
    assert_eq!(story.dispatched.len(), 4);
}

#[test]
fn a_wide_request_is_not_overtaken_for_ever() {
    let mut story = Story::new(&queued(8, 1, 100), 4);
    story.arrive("narrow", 0, 1);
    story.arrive("wide", 1, 4);
    for n in 1..50 {
        story.until(ms(n));
        story.arrive("narrow", 0, 1);
    }
    let wide = story.waits_of("wide");
    assert!(wide.len() == 1 && wide[0] <= SERVICE * 3, "{wide:?}");
    story.until(Duration::from_secs(10));
    story.arrive("huge", 2, 99);
    assert_eq!(story.waits_of("huge"), [Duration::ZERO], "wider than the level: alone");
    story.arrive("narrow", 0, 1);
    story.until(Duration::from_secs(20));
    assert!(story.set.is_idle());
}

#[test]
fn who_stops_waiting_leaves_nothing_behind() {
    let mut story = Story::new(&queued(4, 1, 100), 1);
    story.arrive("first", 0, 1);
    let ids: Vec<RequestId> = (0..4).map(|n| story.set.arrive(story.now, n, 1).unwrap()).collect();
    for id in &ids[..3] {
        story.set.leave(story.now, *id);
    }
    story.names.insert(ids[3], ("last".into(), story.now));
    story.until(SERVICE);
    assert_eq!(story.waits_of("last"), [SERVICE]);
    story.until(SERVICE * 2);
    assert!(story.set.is_idle());
    story.set.leave(story.now, ids[0]);
    assert!(story.set.is_idle(), "leaving twice is nothing");
}

#[test]
fn a_level_without_queues_refuses_and_an_exempt_one_does_not() {
    let reject = Enablement::Limited { borrowing_limit_percent: None, response: LimitResponse::Reject };
    let mut story = Story::new(&reject, 2);
    for _ in 0..3 {
        story.arrive("one", 0, 1);
    }
    assert_eq!((story.dispatched.len(), story.refused.len()), (2, 1));
    let mut story = Story::new(&Enablement::Exempt, 0);
    for _ in 0..1000 {
        story.arrive("one", 0, 1);
    }
    assert_eq!((story.dispatched.len(), story.refused.len()), (1000, 0));
    story.until(SERVICE);
    assert!(story.set.is_idle());
}

#[test]
fn another_configuration_loses_nobody() {
    let mut story = Story::new(&queued(16, 1, 100), 1);
    for flow in 0..16 {
        story.arrive("old", flow, 1);
    }
    story.set.configure(&queued(2, 1, 100));
    story.set.set_limit(2);
    story.pump();
    for flow in 0..16 {
        story.arrive("new", flow, 1);
    }
    story.until(Duration::from_secs(1));
    assert_eq!((story.waits_of("old").len(), story.waits_of("new").len()), (16, 16));
    assert!(story.set.is_idle());
    assert_eq!(story.set.queues.len(), 2, "queues that nobody is dealt any more are gone");
    story.set.configure(&Enablement::Exempt);
    assert!(story.set.queues.is_empty());
}

/// Whatever comes and goes, seats are never over the limit, and in the end nothing is left.
#[test]
fn counts_hold_whatever_comes() {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move |below: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % below
    };
    let mut story = Story::new(&queued(16, 3, 5), 10);
    for step in 0..20_000 {
        let wide = 1 + u32::try_from(next(12)).unwrap();
        story.arrive("x", next(1 << 40), wide);
        if next(10) == 0 {
            // The oldest, so that every run is the same.
            let waiting = story.set.requests.iter().filter(|(_, r)| r.started.is_none()).map(|(id, _)| *id).min();
            if let Some(id) = waiting {
                story.set.leave(story.now, id);
                story.pump();
            }
        }
        if next(500) == 0 {
            story.set.configure(&queued(1 + u32::try_from(next(20)).unwrap(), 1, 5));
        }
        story.until(story.now + ms(next(4)));
        assert!(story.set.seats_executing <= 10 || story.set.executing == 1, "step {step}");
        let active = story.set.queues.iter().filter(|q| q.is_active()).count();
        assert_eq!(active, story.set.active_queues as usize, "step {step}");
    }
    story.until(story.now + Duration::from_secs(60));
    assert!(story.set.is_idle());
    assert!(story.dispatched.len() > 5_000);
}
