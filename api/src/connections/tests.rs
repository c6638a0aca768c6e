//! Who makes room for whom, as tables.

use std::net::IpAddr;

use super::*;

const A: &str = "10.0.0.1";
const B: &str = "10.0.0.2";
const C: &str = "10.0.0.3";

fn source(text: &str) -> Source {
    Source::from(text.parse::<IpAddr>().unwrap())
}

/// One that is there: its source, whether it is authenticated, whether it is busy, and since when, in seconds.
type Seen = (&'static str, bool, bool, u64);

fn idle(from: &'static str, since: u64) -> Seen {
    (from, false, false, since)
}
fn busy(from: &'static str, since: u64) -> Seen {
    (from, false, true, since)
}
fn known(busy: bool, since: u64) -> Seen {
    (C, true, busy, since)
}

fn activity(seen: &Seen) -> Activity {
    Activity { busy: seen.2, since: Duration::from_secs(seen.3) }
}

/// What `newcomer` drives out of a table in which `seen` have all places; `None`: it is not let in.
fn evicted(seen: &[Seen], newcomer: Seen) -> Option<Seen> {
    let unauthenticated = seen.iter().filter(|seen| !seen.1).count();
    let mut table = Connections::new(Bounds { connections: seen.len(), unauthenticated: unauthenticated.max(1) });
    for each in seen {
        let (_, evicted) = table.open(source(each.0), each.1, *each, activity).unwrap();
        assert_eq!(evicted, None, "there is room");
    }
    let (_, evicted) = table.open(source(newcomer.0), newcomer.1, newcomer, activity)?;
    assert_eq!(table.len(), seen.len(), "never more than there may be");
    assert!(table.unauthenticated_len() <= unauthenticated.max(1), "nor of those that are not authenticated");
    evicted
}

#[test]
fn who_makes_room_for_one_that_is_not_authenticated() {
    let cases: Vec<(&str, Vec<Seen>, &str, Option<Seen>)> = vec![
        ("of equals the idlest", vec![idle(A, 5), idle(C, 4)], B, Some(idle(C, 4))),
        ("the idlest of the source with the most", vec![idle(A, 5), idle(C, 1), idle(A, 4)], B, Some(idle(A, 4))),
        ("an idle one before a busy one", vec![busy(A, 1), busy(A, 2), idle(A, 9)], B, Some(idle(A, 9))),
        ("a busy one of the source with the most", vec![busy(A, 2), busy(A, 1), idle(C, 0)], B, Some(busy(A, 1))),
        ("of busy equals too: it has none yet", vec![busy(A, 2), busy(C, 1)], B, Some(busy(C, 1))),
        (
            "an idle one of its own, where that has the most",
            vec![idle(A, 3), idle(A, 2), idle(B, 1)],
            A,
            Some(idle(A, 2)),
        ),
        ("nobody, where its own has the most and all are busy", vec![busy(A, 3), busy(A, 2), idle(B, 1)], A, None),
        ("the newcomer counts: of equals the idlest", vec![idle(B, 1), idle(A, 3), idle(A, 2)], B, Some(idle(B, 1))),
        ("never one of a source that has less", vec![busy(A, 3), busy(A, 2), busy(A, 1), idle(C, 0)], A, None),
        ("nobody that is authenticated", vec![known(false, 0), known(false, 0)], B, None),
        ("its like before all that are", vec![known(false, 0), busy(A, 9)], B, Some(busy(A, 9))),
    ];
    for (why, seen, newcomer, expected) in cases {
        assert_eq!(evicted(&seen, idle(newcomer, 100)), expected, "{why}");
    }
}

#[test]
fn who_makes_room_for_one_that_is_authenticated() {
    let cases: Vec<(&str, Vec<Seen>, Option<Seen>)> = vec![
        ("those that are not, first the idlest", vec![known(false, 0), idle(A, 8), idle(B, 7)], Some(idle(B, 7))),
        ("of the source with the most", vec![idle(B, 1), idle(A, 8), busy(A, 7)], Some(idle(A, 8))),
        ("then busy ones", vec![known(false, 0), busy(A, 8)], Some(busy(A, 8))),
        ("then the idlest of its like", vec![known(false, 2), known(false, 1), known(true, 0)], Some(known(false, 1))),
        ("nobody who is at work", vec![known(true, 0)], None),
    ];
    for (why, seen, expected) in cases {
        assert_eq!(evicted(&seen, known(false, 100)), expected, "{why}");
    }
}

#[test]
fn a_source_with_fewer_is_always_let_in_and_one_source_never_takes_all() {
    const SHARE: usize = 16;
    let mut table = Connections::new(Bounds { connections: 64, unauthenticated: SHARE });
    for n in 0..100 {
        // All of them busy, and never idle again.
        let opened = table.open(source(A), false, busy(A, n), activity);
        assert_eq!(opened.is_some(), n < SHARE as u64, "the {n}th");
    }
    for n in 0..SHARE / 2 {
        let opened = table.open(source(B), false, busy(B, 0), activity);
        let (_, evicted) = opened.unwrap_or_else(|| panic!("the {n}th of fewer"));
        assert_eq!(evicted.map(|seen| seen.0), Some(A));
    }
    assert!(table.open(source(B), false, busy(B, 0), activity).is_none(), "both have as many");
}

#[test]
fn who_is_authenticated_later_leaves_the_share_and_is_safe_from_those_in_it() {
    let mut table = Connections::new(Bounds { connections: 3, unauthenticated: 1 });
    let (first, _) = table.open(source(A), false, idle(A, 1), activity).unwrap();
    table.authenticate(first);
    assert_eq!((table.len(), table.unauthenticated_len()), (1, 0));
    let (second, evicted) = table.open(source(A), false, idle(A, 2), activity).unwrap();
    assert_eq!(evicted, None, "the share is free again");
    let (_, evicted) = table.open(source(B), false, idle(B, 3), activity).unwrap();
    assert_eq!(evicted, Some(idle(A, 2)));
    table.authenticate(second);
    assert_eq!(table.close(second), None, "it was closed before");
    assert_eq!((table.len(), table.unauthenticated_len()), (2, 1));
    assert_eq!(table.close(first), Some(idle(A, 1)));
    assert_eq!((table.len(), table.close(first)), (1, None), "once");
}
