//! Who is next, who waits for what, and for how long.

use super::*;
use crate::pod::Ask;
use crate::pod::Pending as Unbound;
use crate::snapshot::event::AssignedPod;

fn pod(name: &str, priority: i32, created_secs: i64) -> PodInfo {
    let pending = Unbound { created_secs, ..Unbound::default() };
    PodInfo {
        key: Key::new("default", name),
        uid: name.into(),
        class: Arc::new(PodClass { priority, ..PodClass::default() }),
        pending: Some(Box::new(pending)),
        ..PodInfo::default()
    }
}
/// The plugin 0 is helped by pods that go, 1 by nodes that come.
fn helps(_: &PodClass, plugin: usize, event: &Event) -> bool {
    match event {
        Event::PodRemoved(_) => plugin == 0,
        Event::NodeAdded(_) => plugin == 1,
        _ => false,
    }
}
fn asks(pod: &mut PodInfo, cpu_millis: i64) {
    let ask = Ask { requests: [("cpu".to_owned(), cpu_millis)].into(), ..Ask::default() };
    pod.class = Arc::new(PodClass { ask: Arc::new(ask), ..(*pod.class).clone() });
}
fn fit() -> PluginBits {
    [0].into_iter().collect()
}
fn affinity() -> PluginBits {
    [1].into_iter().collect()
}
fn pod_removed(queue: &mut Queue, now: Instant) {
    let gone = AssignedPod { class: Arc::default(), node: Arc::default() };
    queue.wake(&[Event::PodRemoved(gone)], helps, now);
}
fn node_added(queue: &mut Queue, now: Instant) {
    queue.wake(&[Event::NodeAdded(Arc::default())], helps, now);
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
        queue.refused(&key, fit(), now);
    }
    let later = now + Backoff::default().max;
    pod_removed(&mut queue, later);
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
        queue.refused(&key, fit(), now);
    }
    let mut order = Vec::new();
    for round in 1..7 {
        let at = now + Backoff::default().max * round;
        pod_removed(&mut queue, at);
        let key = queue.pop(at).unwrap();
        order.push(key.name.clone());
        queue.refused(&key, fit(), at);
    }
    assert_eq!(order, ["a", "b", "a", "b", "a", "b"]);
}

#[test]
fn a_refused_pod_waits_for_what_could_help_it() {
    let (mut queue, now) = (Queue::default(), Instant::now());
    let secs = |n| now + Duration::from_secs(n);
    queue.set(&pod("a", 0, 0), now);
    let key = queue.pop(now).unwrap();
    queue.refused(&key, fit(), now);
    node_added(&mut queue, secs(30));
    assert_eq!(popped(&mut queue, secs(30)), None, "a node does not help");
    pod_removed(&mut queue, secs(31));
    assert_eq!(popped(&mut queue, secs(31)), Some("a".into()));
    queue.refused(&key, fit(), secs(31));
    pod_removed(&mut queue, secs(31));
    assert_eq!(popped(&mut queue, secs(32)), None, "not before its backoff, 2 s by now");
    assert_eq!(queue.next_timer(), Some(secs(33)));
    assert_eq!(popped(&mut queue, secs(33)), Some("a".into()));
    queue.refused(&key, PluginBits::default(), secs(33));
    assert_eq!(popped(&mut queue, secs(33) + WAIT_MAX), Some("a".into()), "the safety net");
}

#[test]
fn what_we_write_on_a_pod_does_not_bring_it_back_but_its_owner_does() {
    let (mut queue, now) = (Queue::default(), Instant::now());
    let mut a = pod("a", 0, 0);
    queue.set(&a, now);
    let key = queue.pop(now).unwrap();
    queue.refused(&key, affinity(), now);
    a.pending.as_mut().unwrap().told = Some("0/1 nodes are available".into());
    queue.set(&a, now);
    assert_eq!(popped(&mut queue, now), None);
    asks(&mut a, 1);
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
    queue.refused(&key, fit(), now);
    assert_eq!(queue.next_timer(), Some(now + WAIT_MAX), "whatever happens");
    queue.wake(&[], helps, now + Backoff::default().first);
    assert_eq!(queue.pop(now + Backoff::default().first), None);
    pod_removed(&mut queue, now + Backoff::default().first);
    assert_eq!(queue.next_timer(), None);
    assert_eq!(queue.pop(now + Backoff::default().first), Some(key));
}

#[test]
fn a_change_while_a_pod_is_decided_on_gives_it_to_nobody_else() {
    let (mut queue, now) = (Queue::default(), Instant::now());
    let mut a = pod("a", 0, 0);
    queue.set(&a, now);
    let key = queue.pop(now).unwrap();
    asks(&mut a, 1);
    queue.set(&a, now);
    assert_eq!(queue.pop(now), None, "it is being decided on");
    queue.refused(&key, fit(), now);
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
        queue.refused(&key, fit(), now);
    }
    let later = now + Backoff::default().max;
    pod_removed(&mut queue, later);
    queue.set(&pod("middle", 2, 0), later);
    let order: Vec<_> = std::iter::from_fn(|| popped(&mut queue, later)).collect();
    assert_eq!(order, ["high", "middle", "low"]);
}

#[test]
fn events_while_room_is_made_help_when_it_is_done() {
    for helped in [true, false] {
        let (mut queue, now) = (Queue::default(), Instant::now());
        let later = now + Backoff::default().max;
        queue.set(&pod("a", 0, 0), now);
        let key = queue.pop(now).unwrap();
        queue.preempting(&key, fit(), now);
        if helped {
            pod_removed(&mut queue, later);
        }
        assert_eq!(queue.pop(later), None, "its victims are not all told yet");
        queue.preempted(&key, true, later);
        assert_eq!(queue.pop(later), helped.then(|| key.clone()));
        pod_removed(&mut queue, later);
        assert_eq!(queue.pop(later), (!helped).then(|| key.clone()), "the last victim is gone");
        assert!(queue.waiting.is_empty());
    }
}

#[test]
fn a_pod_for_which_room_could_not_be_made_is_tried_again() {
    let (mut queue, now) = (Queue::default(), Instant::now());
    queue.set(&pod("a", 0, 0), now);
    let key = queue.pop(now).unwrap();
    queue.preempting(&key, fit(), now);
    queue.preempted(&key, false, now);
    assert_eq!((queue.pop(now), queue.next_timer()), (None, Some(now + Backoff::default().first)));
    assert_eq!(queue.pop(now + Backoff::default().first), Some(key));
}

#[test]
fn a_hint_is_asked_once_for_pods_that_look_alike() {
    let (mut queue, now) = (Queue::default(), Instant::now());
    for name in ["a", "b", "c"] {
        queue.set(&pod(name, 0, 0), now);
        let key = queue.pop(now).unwrap();
        queue.refused(&key, fit(), now);
    }
    let asked = std::cell::Cell::new(0);
    let helps = |_: &PodClass, _: usize, _: &Event| {
        asked.set(asked.get() + 1);
        true
    };
    let later = now + Backoff::default().max;
    queue.wake(&[Event::NodeAdded(Arc::default())], helps, later);
    let order: Vec<_> = std::iter::from_fn(|| popped(&mut queue, later)).collect();
    assert_eq!((order.join(" "), asked.get()), ("a b c".into(), 1));
}

#[test]
fn pods_are_counted_by_the_part_of_the_queue_and_by_why_they_came() {
    let (mut queue, now) = (Queue::default(), Instant::now());
    let later = now + Backoff::default().max;
    let told = |queue: &mut Queue| {
        let mut incoming: Vec<String> =
            queue.take_incoming().iter().map(|((part, event), n)| format!("{part} {event} {n}")).collect();
        incoming.sort_unstable();
        let Sizes { active, backoff, unschedulable } = queue.sizes();
        (incoming.join(", "), [active, backoff, unschedulable])
    };
    ["a", "b", "c", "d"].iter().for_each(|name| queue.set(&pod(name, 0, 0), now));
    assert_eq!(told(&mut queue), ("active UnschedulablePodAdd 4".into(), [4, 0, 0]));
    let keys: Vec<Key> = std::iter::from_fn(|| queue.pop(now)).collect();
    assert_eq!(told(&mut queue), (String::new(), [0, 0, 0]), "they are being decided on");
    assert_eq!(queue.tries(&keys[0], "a"), Some((1, now)));
    assert_eq!(queue.tries(&keys[0], "another"), None);
    queue.refused(&keys[0], fit(), now);
    queue.refused(&keys[1], affinity(), now);
    queue.failed(&keys[2], now);
    queue.bound(&keys[3], now);
    let failed = "backoff ScheduleAttemptFailure 1, unschedulable ScheduleAttemptFailure 2";
    assert_eq!(told(&mut queue), (failed.into(), [0, 1, 2]));
    pod_removed(&mut queue, now);
    assert_eq!(told(&mut queue), ("backoff AssignedPodDelete 1".into(), [0, 2, 1]), "not before its backoff");
    node_added(&mut queue, later);
    assert_eq!(told(&mut queue), ("active NodeAdd 1".into(), [1, 2, 0]));
    assert_eq!(popped(&mut queue, later), Some("b".into()));
    assert_eq!(told(&mut queue), ("active BackoffComplete 2".into(), [2, 0, 0]));
    assert_eq!(queue.tries(&keys[1], "b"), Some((2, now)), "since the first");
    keys.iter().for_each(|key| queue.remove(key));
    assert_eq!(told(&mut queue), (String::new(), [0, 0, 0]));
}
