//! What is covered by what.

use super::*;
use crate::authz::rbac::testing::{rule, rules};

fn list(n: usize, name: &str) -> String {
    (0..n).map(|i| format!("{name}{i}")).collect::<Vec<_>>().join(",")
}

/// What of `wanted` is missing in `owned`.
fn missing(owned: &[&str], wanted: &[&str]) -> Uncovered {
    uncovered(&rules(owned), &rules(wanted))
}

#[test]
fn what_is_missing() {
    const BUILDS: &str = "delete,update on builds,deployments in g";
    let by_group = [
        "delete on deployments in g",
        "delete on builds in g",
        "update on builds,deployments in g",
        "delete,update on deployments in h",
        "delete,update on builds in h",
    ];
    /// Why, what is owned, what is wanted → what is missing.
    type Case<'a> = (&'a str, &'a [&'a str], &'a [&'a str], &'a [&'a str]);
    let cases: [Case<'_>; 28] = [
        ("the same", &["get on builds in g"], &["get on builds in g"], &[]),
        ("nothing is wanted", &[], &[], &[]),
        ("nothing is owned", &[], &["get on builds in g"], &["get on builds in g"]),
        ("one subresource of all", &["get on */scale in g"], &["get on foo/scale in g"], &[]),
        ("it is not the resource", &["get on */scale in g"], &["get on scale in g"], &["get on scale in g"]),
        ("nor another subresource", &["get on */scale in g"], &["get on foo/status in g"], &["get on foo/status in g"]),
        ("one for all is not all", &["get on foo/scale in g"], &["get on */scale in g"], &["get on */scale in g"]),
        ("all have this one", &["get on * in g"], &["get on */scale in g"], &[]),
        ("several rules cover one", &by_group[..3], &[BUILDS], &[]),
        ("several groups", &by_group, &["delete,update on builds,deployments in g,h"], &[]),
        ("one rule covers several", &["delete,update on builds,deployments in g,h"], &by_group, &[]),
        (
            "one combination is missing",
            &[BUILDS, "delete on pods in g"],
            &["delete,update on builds,deployments,pods in g"],
            &["update on pods in g"],
        ),
        ("all groups", &["get on roles in *"], &["get on roles in g,h"], &[]),
        ("a group is not all", &["get on roles in g"], &["get on roles in *"], &["get on roles in *"]),
        ("all of all groups", &["get on roles in *"], &["get on roles in *"], &[]),
        ("all verbs", &["* on roles in g"], &["watch,list on roles in g"], &[]),
        ("verbs are not all", &["get,list,watch on roles in g"], &["* on roles in g"], &["* on roles in g"]),
        ("all resources", &["get on * in g"], &["get on resourcegroup:deployments in g"], &[]),
        ("resources are not all", &["get on roles,pods in g"], &["get on * in g"], &["get on * in g"]),
        ("all names", &["get on pods in g"], &["get on pods in g named a,b"], &[]),
        ("names are not all", &["get on pods in g named a,b"], &["get on pods in g"], &["get on pods in g"]),
        ("some names", &["get on pods in g named a"], &["get on pods in g named a,b"], &["get on pods in g named b"]),
        (
            "names of two rules",
            &["get on pods in g named a", "get on pods in g named b"],
            &["get on pods in g named a,b"],
            &[],
        ),
        ("paths", &["get at /a,/b/*"], &["get at /a,/b/c,/b/*,/b"], &["get at /b"]),
        ("all paths", &["get at *"], &["get at /a,/b/*,*"], &[]),
        ("a path is not all", &["get at /a*"], &["get,post at /a*,*"], &["get at *", "post at *", "post at /a*"]),
        ("resources are no paths", &["* on * in *"], &["get at /"], &["get at /"]),
        ("paths are no resources", &["* at *"], &["get on pods in g"], &["get on pods in g"]),
    ];
    for (why, owned, wanted, expected) in cases {
        let mut found = missing(owned, wanted).atoms;
        found.sort_by_key(|atom| format!("{atom:?}"));
        let mut expected = rules(expected);
        expected.sort_by_key(|atom| format!("{atom:?}"));
        assert_eq!(found, expected, "{why}");
    }
}

#[test]
fn atoms_come_in_the_order_of_the_lists_and_each_once() {
    let mut wanted = rule("get on pods in g");
    wanted.verbs = ["list", "get", "list", "watch"].map(str::to_owned).into();
    wanted.resources = Some(vec!["pods".into(), "nodes".into()]);
    let found = uncovered(&rules(&["list on nodes in g"]), &[wanted]);
    let expected =
        ["list on pods in g", "get on pods in g", "watch on pods in g", "get on nodes in g", "watch on nodes in g"];
    assert_eq!(found.atoms, rules(&expected));
}

#[test]
fn large_rules_cost_what_their_lists_are_long_and_not_their_product() {
    // 10^11 atoms, all covered: by the one rule or the other.
    let huge = format!("get,list on {} in {} named {}", list(10_000, "r"), list(1_000, "g"), list(10_000, "n"));
    assert!(missing(&["get on * in *", "list on * in *"], &[&huge]).is_empty());
    let found = missing(&["get on * in *"], &[&huge]);
    assert!(found.atoms.len() == ATOMS_MAX && found.and_more, "{}", found.atoms.len());
    assert!(found.atoms.iter().all(|atom| atom.verbs == ["list"]));
}

#[test]
fn what_is_too_much_to_look_at_is_not_covered() {
    // Each of these has another class in each of three lists.
    let mut owned: Vec<PolicyRule> = (0..400).map(|i| rule(&format!("v{i} on r{i} in g{i}"))).collect();
    let wanted = [rule(&format!("{} on {} in {}", list(400, "v"), list(400, "r"), list(400, "g")))];
    let found = uncovered(&owned, &wanted);
    assert!(found.atoms.is_empty() && found.too_many && !found.is_empty());
    owned.push(rule("* on * in *"));
    assert!(uncovered(&owned, &wanted).is_empty(), "one rule covers it all");
}

#[test]
fn many_rules_together_cost_no_more_than_one_may() {
    // Each alone is looked at, and all of them, as a role could have them, would take minutes.
    let owned: Vec<PolicyRule> = (0..100).map(|i| rule(&format!("v{i} on r{i} in g{i}"))).collect();
    let one = rule(&format!("{} on {} in {}", list(100, "v"), list(100, "r"), list(100, "g")));
    assert!(!uncovered(&owned, std::slice::from_ref(&one)).too_many);
    let began = std::time::Instant::now();
    assert!(uncovered(&owned, &vec![one; 1_000]).too_many);
    assert!(began.elapsed().as_secs() < 60, "{:?}", began.elapsed());
}

#[test]
fn paths_are_bounded_as_resources_are() {
    let paths = |n: usize| (0..n).map(|i| format!("/p{i}/*")).collect::<Vec<_>>().join(",");
    let owned = [rule(&format!("get at {}", paths(10_000)))];
    assert!(uncovered(&owned, &[rule(&format!("get at {}", paths(1_000)))]).is_empty());
    assert!(uncovered(&owned, &[rule(&format!("get at {}", paths(10_000)))]).too_many);
    // Classes of paths times classes of verbs.
    let owned: Vec<PolicyRule> = (0..2_000).map(|i| rule(&format!("v{i} at /p{i}"))).collect();
    let many = rule(&format!("{} at {}", list(2_000, "v"), list(2_000, "/p")));
    assert!(uncovered(&owned, &[many]).too_many);
}

#[test]
fn many_rules_that_are_owned_take_no_memory_for_values_that_nobody_asks_about() {
    // As sets, the values of these would take 100,000 times 12,500 bytes.
    let owned: Vec<PolicyRule> = (0..100_000).map(|i| rule(&format!("get on r{i} in g named n{i}"))).collect();
    let found = uncovered(&owned, &rules(&["get on r7 in g named n7,n8"]));
    assert_eq!(found.atoms, rules(&["get on r7 in g named n8"]));
}
