//! Who makes room for whom, as tables.

use super::*;

const NOW: u64 = 100;

fn source(text: &str) -> Source {
    Source::from(text.parse::<IpAddr>().unwrap())
}

/// One that is there: its source, whether it spoke, and for how many seconds it has been there.
type Seen = (&'static str, bool, u64);

fn many(count: usize, of: Seen) -> Vec<Seen> {
    vec![of; count]
}

/// A full table of `seen`, whose values are their places in the list.
fn full(seen: &[Seen]) -> (Handshakes<usize>, Vec<Ticket>) {
    let mut table = Handshakes::new(seen.len());
    let mut tickets = Vec::new();
    for (at, (from, spoke, ago)) in seen.iter().enumerate() {
        let (ticket, evicted) = table.begin(source(from), at, Duration::from_secs(NOW - ago)).unwrap();
        assert_eq!(evicted, None, "there is room");
        if *spoke {
            table.speaks(ticket);
        }
        tickets.push(ticket);
    }
    (table, tickets)
}

#[test]
fn who_makes_room() {
    const A: &str = "10.0.0.1";
    const B: &str = "10.0.0.2";
    let cases: Vec<(&str, Vec<Seen>, &str, Option<usize>)> = vec![
        (
            "of equals the oldest that says nothing",
            vec![(A, true, 9), (A, false, 2), ("10.0.0.3", false, 1)],
            B,
            Some(1),
        ),
        ("else of equals one that is slow", vec![(A, true, 3), ("10.0.0.3", true, 2)], B, Some(0)),
        ("of equals nobody who is quick", vec![(A, true, 1), ("10.0.0.3", true, 1)], B, None),
        ("of few nobody who is quick", many(FEW, (A, true, 1)), B, None),
        ("of many one that is quick, too", many(FEW + 1, (A, true, 0)), B, Some(0)),
        (
            "the source with the most, though another's is older and silent",
            [many(1, ("10.0.0.3", false, 9)), many(5, (A, true, 0))].concat(),
            B,
            Some(1),
        ),
        (
            "of the source with the most the one that says nothing",
            [many(5, (A, true, 1)), many(1, (A, false, 0))].concat(),
            B,
            Some(5),
        ),
        (
            "its own source's, when that has the most",
            [many(5, (A, false, 0)), many(2, (B, false, 9))].concat(),
            A,
            Some(0),
        ),
        ("never one of a source that has less", [many(5, (A, true, 0)), many(2, (B, false, 9))].concat(), A, None),
        (
            "never a quick one of a source that would have as many",
            [many(6, (A, true, 0)), many(5, (B, true, 0))].concat(),
            B,
            None,
        ),
    ];
    for (why, seen, newcomer, expected) in cases {
        let (mut table, _) = full(&seen);
        let begun = table.begin(source(newcomer), usize::MAX, Duration::from_secs(NOW));
        assert_eq!(begun.map(|(_, evicted)| evicted), expected.map(Some), "{why}");
        assert_eq!(table.len(), seen.len(), "{why}: never more than there may be");
    }
}

#[test]
fn one_address_that_renews_its_handshakes_without_end_keeps_no_other_out() {
    let mut table = Handshakes::new(64);
    let (attacker, other) = (source("10.0.0.1"), source("10.0.0.2"));
    let mut let_in = 0;
    for ms in 0..10_000 {
        let now = Duration::from_millis(ms);
        if let Some((ticket, _)) = table.begin(attacker, "attacker", now) {
            table.speaks(ticket);
            let_in += 1;
        }
        if ms % 100 == 50 {
            let (ticket, evicted) = table.begin(other, "other", now).expect("another address is let in");
            assert_eq!(evicted, (ms > 64).then_some("attacker"));
            // It says nothing for a while; the attacker's next ones find no room in its place.
            for _ in 0..100 {
                let begun = table.begin(attacker, "attacker", now);
                assert_ne!(begun.and_then(|(_, evicted)| evicted), Some("other"));
            }
            table.end(ticket);
        }
    }
    assert!(let_in > 64, "it takes the places that it gives up itself");
}

#[test]
fn all_of_one_address_are_let_in_while_nobody_else_wants_a_place() {
    let mut table = Handshakes::new(64);
    for _ in 0..64 {
        let begun = table.begin(source("10.0.0.1"), (), Duration::ZERO);
        let (ticket, evicted) = begun.expect("there is a place");
        assert!(evicted.is_none());
        table.speaks(ticket);
    }
    assert_eq!(table.len(), 64);
}

#[test]
fn a_place_is_given_back_once() {
    let (mut table, tickets) = full(&[("10.0.0.1", false, 5)]);
    let (_, evicted) = table.begin(source("10.0.0.2"), 7, Duration::from_secs(NOW)).unwrap();
    assert_eq!(evicted, Some(0));
    table.end(tickets[0]);
    assert_eq!(table.len(), 1, "who was driven out has nothing to give back");
    table.speaks(tickets[0]);
    let (_, evicted) = table.begin(source("10.0.0.3"), 8, Duration::from_secs(NOW)).unwrap();
    assert_eq!((evicted, table.by_source.len()), (Some(7), 1));
}

#[test]
fn whoever_has_one_address_of_a_64_has_all_of_it() {
    for (one, other, same) in [
        ("2001:db8::1", "2001:db8::ffff:1:2:3", true),
        ("2001:db8::1", "2001:db8:0:1::1", false),
        ("10.0.0.1", "::ffff:10.0.0.1", true),
        ("10.0.0.1", "10.0.0.2", false),
    ] {
        assert_eq!(source(one) == source(other), same, "{one} {other}");
    }
}
