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
    Dependent { id: ObjectId { kind: KindId::default(), key: Key::new("ns", name) }, uid: name.into(), blocks }
}

#[test]
fn garbage_table() {
    use OwnerState::{Absent, Solid, WaitsForDependents as Waits};
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
        (
            "orphan: they are let go",
            object(true, &[ORPHAN]),
            vec![],
            vec![dep(true)],
            Action::OrphanDependents(vec![dep(true)]),
        ),
        ("orphan: nobody is left", object(true, &[ORPHAN]), vec![], vec![], Action::RemoveFinalizer(ORPHAN)),
    ];
    for (why, object, owners, dependents, expected) in cases {
        assert_eq!(decide(&Observed { object: &object, owners, dependents }), expected, "{why}");
    }
}
