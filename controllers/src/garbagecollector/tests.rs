//! The table of garbage collection.

use corten_api::Key;

use super::*;
use crate::monitors::KindId;

fn object(deleting: bool, finalizers: &[&str]) -> SeenMeta {
    let finalizers = finalizers.iter().map(|f| (*f).to_owned()).collect();
    SeenMeta { key: Key::new("ns", "x"), uid: "x".into(), deleting, finalizers, ..SeenMeta::default() }
}
fn owner(uid: &str, state: OwnerState) -> (OwnerReference, OwnerState) {
    (OwnerReference { uid: uid.into(), ..OwnerReference::default() }, state)
}
fn dependent(name: &str, blocks: bool) -> Dependent {
    Dependent { id: ObjectId { kind: KindId::default(), key: Key::new("ns", name) }, blocks, waits: false }
}

#[test]
fn garbage_table() {
    use OwnerState::{Absent, Solid, Unknown, WaitsForDependents as Waits};
    let dep = |blocks| dependent("d", blocks);
    let disown = |uid: &str| Action::Disown(vec![uid.to_owned()]);
    let live = || object(false, &[]);
    let cases = [
        ("no owners: none of our business", live(), vec![], vec![], Action::Keep),
        ("its owner is there", live(), vec![owner("a", Solid)], vec![], Action::Keep),
        ("its owner is gone", live(), vec![owner("a", Absent)], vec![], Action::Delete(Policy::Background)),
        ("one of two is gone", live(), vec![owner("a", Absent), owner("b", Solid)], vec![], disown("a")),
        ("one of two waits for it", live(), vec![owner("a", Waits), owner("b", Solid)], vec![], disown("a")),
        ("its owner waits for it", live(), vec![owner("a", Waits)], vec![], Action::Delete(Policy::Background)),
        (
            "and it has dependents itself",
            live(),
            vec![owner("a", Waits)],
            vec![dep(true)],
            Action::Delete(Policy::Foreground),
        ),
        (
            "one of two is not asked for yet, the other stays",
            live(),
            vec![owner("a", Solid), owner("b", Unknown)],
            vec![],
            Action::Keep,
        ),
        (
            "nor is it known who else stays",
            live(),
            vec![owner("a", Waits), owner("b", Unknown)],
            vec![],
            Action::LookOn,
        ),
        (
            "one is gone, whatever the other is",
            live(),
            vec![owner("a", Absent), owner("b", Unknown)],
            vec![],
            disown("a"),
        ),
        (
            "it was to be orphaned from",
            object(false, &[ORPHAN]),
            vec![owner("a", Absent)],
            vec![],
            Action::Delete(Policy::Orphan),
        ),
        ("on its way out already", object(true, &[]), vec![owner("a", Absent)], vec![], Action::Keep),
        ("others' finalizers are others' work", object(true, &["x/y"]), vec![], vec![dep(true)], Action::Keep),
        (
            "foreground: waits for those that block",
            object(true, &[FOREGROUND]),
            vec![],
            vec![dep(true)],
            Action::Await(vec![dep(true).id]),
        ),
        (
            "foreground: not for those that do not",
            object(true, &[FOREGROUND]),
            vec![],
            vec![dep(false)],
            Action::RemoveFinalizer(FOREGROUND),
        ),
        ("foreground: all gone", object(true, &[FOREGROUND]), vec![], vec![], Action::RemoveFinalizer(FOREGROUND)),
        ("orphan: they are let go", object(true, &[ORPHAN]), vec![], vec![dep(true)], Action::OrphanDependents),
        ("orphan: those that nobody sees yet, too", object(true, &[ORPHAN]), vec![], vec![], Action::OrphanDependents),
    ];
    for (why, object, owners, dependents, expected) in cases {
        assert_eq!(
            decide(&Observed { object: &object, owners, dependents, in_circle: false, complete: true }),
            expected,
            "{why}"
        );
    }
}

#[test]
fn until_every_kind_was_seen_nothing_is_decided_on_dependents_that_are_not_there() {
    use OwnerState::{Absent, WaitsForDependents as Waits};
    let dep = || dependent("d", true);
    let cases = [
        ("foreground: some may not have been seen", object(true, &[FOREGROUND]), vec![], vec![], Action::AwaitCaches),
        ("foreground: one is known", object(true, &[FOREGROUND]), vec![], vec![dep()], Action::Await(vec![dep().id])),
        (
            "its owner waits, and it may have dependents",
            object(false, &[]),
            vec![owner("a", Waits)],
            vec![],
            Action::AwaitCaches,
        ),
        (
            "its owner is gone: the apiserver said so",
            object(false, &[]),
            vec![owner("a", Absent)],
            vec![],
            Action::Delete(Policy::Background),
        ),
        ("orphaning asks the apiserver", object(true, &[ORPHAN]), vec![], vec![], Action::OrphanDependents),
    ];
    for (why, object, owners, dependents, expected) in cases {
        let seen = Observed { object: &object, owners, dependents, in_circle: false, complete: false };
        assert_eq!(decide(&seen), expected, "{why}");
    }
}

#[test]
fn circles_table() {
    let owned = |blocks| {
        let owner = OwnerReference { block_owner_deletion: Some(blocks), ..OwnerReference::default() };
        SeenMeta { owners: vec![owner], ..object(true, &[FOREGROUND]) }
    };
    let waits = || Dependent { waits: true, ..dependent("d", true) };
    let cases = [
        ("it waits for itself: its owners need not wait for it", owned(true), true, vec![waits()], Action::Loosen),
        ("they do not any more", owned(false), true, vec![waits()], Action::Await(vec![waits().id])),
        ("no circle", owned(true), false, vec![waits()], Action::Await(vec![waits().id])),
        ("nothing to wait for", owned(true), true, vec![], Action::RemoveFinalizer(FOREGROUND)),
    ];
    for (why, object, in_circle, dependents, expected) in cases {
        assert_eq!(
            decide(&Observed { object: &object, owners: vec![], dependents, in_circle, complete: true }),
            expected,
            "{why}"
        );
    }
    let edges = |edges: &'static [(u8, u8)]| {
        move |at: &u8| edges.iter().filter(|(from, _)| from == at).map(|(_, to)| *to).collect::<Vec<_>>()
    };
    assert!(is_in_circle(&1, edges(&[(1, 2), (2, 3), (3, 1)])) && is_in_circle(&1, edges(&[(1, 1)])));
    assert!(!is_in_circle(&1, edges(&[(1, 2), (2, 3), (3, 2)])), "a circle elsewhere");
}
