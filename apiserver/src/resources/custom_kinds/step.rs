//! What a definition's status has to say next. Pure.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceDefinitionNames, CustomResourceDefinitionStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::own::own_version;
use crate::registry::apiextensions::customresourcedefinition::conditions::{
    self, Condition, ESTABLISHED, NAMES_ACCEPTED, NON_STRUCTURAL, TERMINATING,
};
use crate::registry::apiextensions::customresourcedefinition::{CLEANUP, approval, conversion};

/// Other servers have served a kind by then whose names were accepted, as upstream has it: who reads that it is established may ask
/// any of them.
const OTHERS_SERVE_WITHIN: Duration = Duration::from_secs(5);

/// Names of a group that others have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Taken {
    /// Plural, singular and short names.
    pub(super) resources: BTreeSet<String>,
    /// Of objects, and of lists of them.
    pub(super) kinds: BTreeSet<String>,
    /// The versions of the group that are not for definitions.
    pub(super) versions: BTreeSet<String>,
}

/// Whether this server serves a kind as it is defined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Served<'s> {
    Yes,
    NotYet,
    /// It cannot, for this reason.
    Never(&'s str),
}

/// What a step is decided on beside the definition itself.
pub(super) struct Seen<'s> {
    /// The definitions that there are.
    pub(super) all: &'s [Arc<CustomResourceDefinition>],
    /// What of a group this server has itself.
    pub(super) own: &'s dyn Fn(&str) -> Taken,
    pub(super) served: Served<'s>,
    /// There is no other server.
    pub(super) alone: bool,
    pub(super) now: &'s Time,
}

#[derive(Debug, PartialEq)]
pub(super) enum Step {
    Rest,
    /// To be looked at again then.
    Wait(Duration),
    /// Its status, or finalizers, as they are to be.
    Write(Box<CustomResourceDefinition>),
    /// Its objects have to go first.
    Clean,
}

/// Whether its objects are served: its names were accepted, or it is established. A status that somebody has emptied of its conditions
/// is filled again, and meanwhile the names that were accepted tell.
pub(super) fn is_accepted(crd: &CustomResourceDefinition) -> bool {
    let Some(status) = &crd.status else { return false };
    if conditions::holds(status, NAMES_ACCEPTED) || conditions::holds(status, ESTABLISHED) {
        return true;
    }
    conditions::find(status, NAMES_ACCEPTED).is_none() && status.accepted_names.as_ref() == Some(&crd.spec.names)
}

/// What is to be done with a definition next.
pub(super) fn step(crd: &CustomResourceDefinition, seen: &Seen<'_>) -> Step {
    let Seen { served, now, .. } = *seen;
    if crd.metadata.deletion_timestamp.is_some() {
        return ending(crd, now);
    }
    let generation = crd.metadata.generation;
    let mut status = crd.status.clone().unwrap_or_default();
    accept_names(crd, &mut status, seen);
    let mut wait = None;
    if conditions::holds(&status, NAMES_ACCEPTED) && !conditions::holds(&status, ESTABLISHED) && served == Served::Yes {
        wait = until_others_serve(&status, seen);
        if wait.is_none() {
            conditions::set(&mut status, &established(crd), generation, now);
        }
    }
    match served {
        Served::Yes => conditions::remove(&mut status, NON_STRUCTURAL),
        Served::NotYet => {}
        Served::Never(why) => {
            let violates = Condition { kind: NON_STRUCTURAL, status: true, reason: "Violations", message: why.into() };
            conditions::set(&mut status, &violates, generation, now);
        }
    }
    if let Some(approval) = approval::condition(crd) {
        conditions::set(&mut status, &approval, generation, now);
    }
    if served == Served::Yes || crd.status.as_ref() != Some(&status) {
        status.observed_generation = generation;
    }
    if crd.status.as_ref() == Some(&status) {
        return wait.map_or(Step::Rest, Step::Wait);
    }
    Step::Write(Box::new(CustomResourceDefinition { status: Some(status), ..crd.clone() }))
}

fn established(crd: &CustomResourceDefinition) -> Condition {
    if conversion::has_bad_bundle(crd) {
        let message = "The conversion webhook CABundle is invalid".into();
        return Condition { kind: ESTABLISHED, status: false, reason: "InvalidCABundle", message };
    }
    let message = "the initial names have been accepted".into();
    Condition { kind: ESTABLISHED, status: true, reason: "InitialNamesAccepted", message }
}

/// How long a kind that this server serves is not told to be established; `None`: it is now.
fn until_others_serve(status: &CustomResourceDefinitionStatus, seen: &Seen<'_>) -> Option<Duration> {
    if seen.alone {
        return None;
    }
    let accepted = conditions::find(status, NAMES_ACCEPTED)?.last_transition_time.as_ref()?;
    // Another server's clock may be ahead.
    let passed = seen.now.0.duration_since(accepted.0).unsigned_abs();
    Some(OTHERS_SERVE_WITHIN.saturating_sub(passed)).filter(|left| !left.is_zero())
}

fn ending(crd: &CustomResourceDefinition, now: &Time) -> Step {
    if !crd.metadata.finalizers.iter().flatten().any(|finalizer| finalizer == CLEANUP) {
        return Step::Rest;
    }
    if !is_accepted(crd) {
        return Step::Write(Box::new(ended(crd, "NeverEstablished", "resource was never established", now)));
    }
    let message = "CustomResource deletion is in progress".into();
    let in_progress = Condition { kind: TERMINATING, status: true, reason: "InstanceDeletionInProgress", message };
    let mut status = crd.status.clone().unwrap_or_default();
    if conditions::has(&status, &in_progress) {
        return Step::Clean;
    }
    conditions::set(&mut status, &in_progress, crd.metadata.generation, now);
    Step::Write(Box::new(CustomResourceDefinition { status: Some(status), ..crd.clone() }))
}

/// A definition that nothing holds any more but others' finalizers.
pub(super) fn ended(
    crd: &CustomResourceDefinition,
    reason: &'static str,
    message: &str,
    now: &Time,
) -> CustomResourceDefinition {
    let mut new = crd.clone();
    let condition = Condition { kind: TERMINATING, status: false, reason, message: message.into() };
    conditions::set(new.status.get_or_insert_default(), &condition, crd.metadata.generation, now);
    if let Some(finalizers) = &mut new.metadata.finalizers {
        finalizers.retain(|finalizer| finalizer != CLEANUP);
    }
    new
}

/// Takes of the names that are wanted those that are free, as upstream does: one by one. None are taken in a version of the group that
/// this server has itself.
fn accept_names(crd: &CustomResourceDefinition, status: &mut CustomResourceDefinitionStatus, seen: &Seen<'_>) {
    let wanted = &crd.spec.names;
    let before = status.accepted_names.clone().unwrap_or_default();
    let own = (seen.own)(&crd.spec.group);
    let reserved = own_version(crd, &own.versions).map(|version| {
        ("GroupVersionConflict", format!("\"{}/{version}\" is served by the API server itself", crd.spec.group))
    });
    if reserved.is_none() && *wanted == before && conditions::holds(status, NAMES_ACCEPTED) {
        return;
    }
    let is_reserved = reserved.is_some();
    let (accepted, conflict) = match reserved {
        Some(reserved) => (before, Some(reserved)),
        None => free_names(wanted, before, &taken_by_others(crd, seen.all, own)),
    };
    let (generation, now) = (crd.metadata.generation, seen.now);
    let is_accepted = conflict.is_none();
    let (reason, message) = conflict.unwrap_or(("NoConflicts", "no conflicts found".into()));
    status.accepted_names = Some(accepted);
    conditions::set(status, &Condition { kind: NAMES_ACCEPTED, status: is_accepted, reason, message }, generation, now);
    if is_reserved || !conditions::holds(status, ESTABLISHED) {
        let (reason, message) = match is_accepted {
            true => ("Installing", "the initial names have been accepted"),
            false => ("NotAccepted", "not all names are accepted"),
        };
        let condition = Condition { kind: ESTABLISHED, status: false, reason, message: message.into() };
        conditions::set(status, &condition, generation, now);
    }
}

/// Of the names that are wanted those that are free, others as before; and why not all are, as reason and message: the last that is
/// found, as upstream has it.
fn free_names(
    wanted: &CustomResourceDefinitionNames,
    before: CustomResourceDefinitionNames,
    taken: &Taken,
) -> (CustomResourceDefinitionNames, Option<(&'static str, String)>) {
    let mut conflict = None;
    let mut is_free = |name: &str, own: &str, taken: &BTreeSet<String>, reason: &'static str| {
        let is_free = name == own || !taken.contains(name);
        if !is_free {
            conflict = Some((reason, format!("{name:?} is already in use")));
        }
        is_free
    };
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let mut accepted = before.clone();
    if is_free(&wanted.plural, &before.plural, &taken.resources, "PluralConflict") {
        accepted.plural.clone_from(&wanted.plural);
    }
    if is_free(&text(&wanted.singular), &text(&before.singular), &taken.resources, "SingularConflict") {
        accepted.singular.clone_from(&wanted.singular);
    }
    let own = before.short_names.unwrap_or_default();
    let mut are_free = true;
    for name in wanted.short_names.iter().flatten() {
        let own = if own.contains(name) { name.as_str() } else { "" };
        are_free &= is_free(name, own, &taken.resources, "ShortNamesConflict");
    }
    if are_free {
        accepted.short_names.clone_from(&wanted.short_names);
    }
    if is_free(&wanted.kind, &before.kind, &taken.kinds, "KindConflict") {
        accepted.kind.clone_from(&wanted.kind);
    }
    if is_free(&text(&wanted.list_kind), &text(&before.list_kind), &taken.kinds, "ListKindConflict") {
        accepted.list_kind.clone_from(&wanted.list_kind);
    }
    accepted.categories.clone_from(&wanted.categories);
    (accepted, conflict)
}

fn taken_by_others(of: &CustomResourceDefinition, all: &[Arc<CustomResourceDefinition>], builtin: Taken) -> Taken {
    let mut taken = builtin;
    let others = all.iter().filter(|crd| crd.spec.group == of.spec.group && crd.metadata.name != of.metadata.name);
    let accepted = others.filter_map(|crd| crd.status.as_ref()?.accepted_names.as_ref());
    for CustomResourceDefinitionNames { plural, singular, short_names, kind, list_kind, .. } in accepted {
        taken.resources.extend([plural].into_iter().chain(singular).chain(short_names.iter().flatten()).cloned());
        taken.kinds.extend([kind].into_iter().chain(list_kind).cloned());
    }
    taken
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::registry::check::testing::{created, now};
    use crate::registry::custom::testing::version;

    fn crd(plural: &str, kind: &str) -> CustomResourceDefinition {
        let schema = json!({"type": "object"});
        created(
            &json!({"metadata": {"name": format!("{plural}.example.com"), "generation": 1}, "spec": {
                "group": "example.com", "scope": "Cluster", "names": {"plural": plural, "kind": kind, "shortNames": ["x"]},
                "versions": [version("v1", true, schema)],
            }})
            .to_string(),
        )
    }
    fn nobody(_group: &str) -> Taken {
        Taken::default()
    }
    fn next(
        crd: &CustomResourceDefinition,
        all: &[&CustomResourceDefinition],
        serves: bool,
    ) -> CustomResourceDefinition {
        let all: Vec<_> = all.iter().map(|crd| Arc::new((*crd).clone())).collect();
        match alone(crd, &all, serves) {
            Step::Write(new) => *new,
            other => panic!("{other:?}"),
        }
    }
    fn alone(crd: &CustomResourceDefinition, all: &[Arc<CustomResourceDefinition>], serves: bool) -> Step {
        let served = if serves { Served::Yes } else { Served::NotYet };
        step(crd, &Seen { all, own: &nobody, served, alone: true, now: &now() })
    }
    fn reason<'c>(crd: &'c CustomResourceDefinition, kind: &str) -> &'c str {
        let found = conditions::find(crd.status.as_ref().unwrap(), kind);
        found.and_then(|condition| condition.reason.as_deref()).unwrap_or_default()
    }

    #[test]
    fn names_first_then_it_is_served_then_it_says_so() {
        let new = crd("tabs", "Tab");
        let accepted = next(&new, &[&new], false);
        assert_eq!((reason(&accepted, NAMES_ACCEPTED), reason(&accepted, ESTABLISHED)), ("NoConflicts", "Installing"));
        assert_eq!(accepted.status.as_ref().unwrap().accepted_names.as_ref(), Some(&accepted.spec.names));
        let all = [Arc::new(accepted.clone())];
        assert_eq!(alone(&accepted, &all, false), Step::Rest);
        let established = next(&accepted, &[&accepted], true);
        assert!(conditions::is_true(&established, ESTABLISHED));
        assert_eq!(established.status.as_ref().unwrap().observed_generation, Some(1));
        let all = [Arc::new(established.clone())];
        assert_eq!(alone(&established, &all, true), Step::Rest);
    }

    #[test]
    fn of_two_that_want_one_name_the_first_has_it() {
        let first = next(&crd("tabs", "Tab"), &[], false);
        let mut second = crd("others", "Tab");
        second.spec.names.short_names = None;
        let refused = next(&second, &[&first, &second], false);
        assert_eq!(
            (reason(&refused, NAMES_ACCEPTED), reason(&refused, ESTABLISHED)),
            ("ListKindConflict", "NotAccepted")
        );
        let freed = next(&refused, &[&refused], false);
        assert_eq!(reason(&freed, NAMES_ACCEPTED), "NoConflicts");
        let own = Taken { resources: ["others".to_owned()].into(), ..Taken::default() };
        let own = |_: &str| own.clone();
        let seen = Seen { all: &[], own: &own, served: Served::NotYet, alone: true, now: &now() };
        let Step::Write(refused) = step(&second, &seen) else { panic!("nothing is written") };
        assert_eq!(reason(&refused, NAMES_ACCEPTED), "PluralConflict");
    }

    #[test]
    fn a_version_that_the_server_has_itself_is_never_accepted() {
        let accepted = next(&crd("tabs", "Tab"), &[], false);
        let established = next(&accepted, &[], true);
        let own = |_: &str| Taken { versions: ["v1".to_owned()].into(), ..Taken::default() };
        for (why, crd) in [("a new one", crd("tabs", "Tab")), ("one that was served before", established)] {
            let seen = Seen { all: &[], own: &own, served: Served::NotYet, alone: true, now: &now() };
            let Step::Write(refused) = step(&crd, &seen) else { panic!("{why}: nothing is written") };
            assert_eq!(
                (reason(&refused, NAMES_ACCEPTED), reason(&refused, ESTABLISHED), is_accepted(&refused)),
                ("GroupVersionConflict", "NotAccepted", false),
                "{why}"
            );
            let seen = Seen { all: &[], own: &own, served: Served::NotYet, alone: true, now: &now() };
            assert_eq!(step(&refused, &seen), Step::Rest, "{why}: it is said once");
        }
    }

    #[test]
    fn beside_other_servers_a_kind_is_established_once_they_serve_it_too() {
        let accepted = next(&crd("tabs", "Tab"), &[], false);
        let since = |secs: i64| Time(now().0 + k8s_openapi::jiff::SignedDuration::from_secs(secs));
        for (alone, secs, waits) in [
            (true, 0, None),
            (false, 0, Some(5)),
            (false, 3, Some(2)),
            (false, 5, None),
            (false, 60, None),
            (false, -60, None),
        ] {
            let at = since(secs);
            let seen = Seen { all: &[], own: &nobody, served: Served::Yes, alone, now: &at };
            let mut accepted = accepted.clone();
            accepted.status.as_mut().unwrap().observed_generation = Some(1);
            match (step(&accepted, &seen), waits) {
                (Step::Wait(left), Some(secs)) => assert_eq!(left, Duration::from_secs(secs)),
                (Step::Write(new), None) => assert!(conditions::is_true(&new, ESTABLISHED)),
                (other, _) => panic!("alone: {alone}, after {secs} s: {other:?}"),
            }
        }
    }

    #[test]
    fn why_a_kind_cannot_be_served_is_said_until_it_can() {
        let accepted = next(&crd("tabs", "Tab"), &[], false);
        let seen = |served| Seen { all: &[], own: &nobody, served, alone: true, now: &NOW };
        static NOW: std::sync::LazyLock<Time> = std::sync::LazyLock::new(now);
        let Step::Write(told) = step(&accepted, &seen(Served::Never("why"))) else { panic!("nothing is written") };
        let found = conditions::find(told.status.as_ref().unwrap(), NON_STRUCTURAL).unwrap();
        assert_eq!((found.status.as_str(), found.message.as_deref()), ("True", Some("why")));
        assert!(!conditions::is_true(&told, ESTABLISHED));
        assert_eq!(step(&told, &seen(Served::Never("why"))), Step::Rest);
        let Step::Write(served) = step(&told, &seen(Served::Yes)) else { panic!("nothing is written") };
        assert_eq!(conditions::find(served.status.as_ref().unwrap(), NON_STRUCTURAL), None);
        assert!(conditions::is_true(&served, ESTABLISHED));
    }

    #[test]
    fn a_kind_whose_webhook_nobody_can_be_is_not_established_until_its_bundle_is_put_right() {
        let mut accepted = next(&crd("tabs", "Tab"), &[], false);
        let conversion = json!({"strategy": "Webhook", "webhook": {"conversionReviewVersions": ["v1"],
            "clientConfig": {"url": "https://a", "caBundle": "AAAA"}}});
        let plain = accepted.spec.conversion.replace(serde_json::from_value(conversion).unwrap());
        let mut told = next(&accepted, &[], true);
        assert_eq!((reason(&told, ESTABLISHED), conditions::is_true(&told, ESTABLISHED)), ("InvalidCABundle", false));
        assert_eq!(alone(&told, &[], true), Step::Rest, "it is said once");
        told.spec.conversion = plain;
        assert_eq!(reason(&next(&told, &[], true), ESTABLISHED), "InitialNamesAccepted");
    }

    #[test]
    fn a_status_that_was_emptied_is_filled_again_and_the_kind_stays() {
        let mut emptied = next(&crd("tabs", "Tab"), &[], false);
        emptied.status.as_mut().unwrap().conditions = None;
        assert!(is_accepted(&emptied));
        let filled = next(&emptied, &[], true);
        assert!(conditions::is_true(&filled, NAMES_ACCEPTED) && conditions::is_true(&filled, ESTABLISHED));
        assert!(!is_accepted(&crd("tabs", "Tab")));
    }

    #[test]
    fn a_group_of_the_community_says_whether_it_was_approved() {
        let mut crd = crd("tabs", "Tab");
        crd.spec.group = "x.k8s.io".into();
        for (text, reason_of, status) in
            [("https://a/b", "ApprovedAnnotation", "True"), ("unapproved, tried", "UnapprovedAnnotation", "False")]
        {
            crd.metadata.annotations = Some([("api-approved.kubernetes.io".to_owned(), text.to_owned())].into());
            let told = next(&crd, &[], false);
            let found = conditions::find(told.status.as_ref().unwrap(), conditions::APPROVED).unwrap();
            assert_eq!((found.reason.as_deref(), found.status.as_str()), (Some(reason_of), status));
        }
    }

    #[test]
    fn objects_go_before_their_definition() {
        let mut going = crd("tabs", "Tab");
        going.metadata.deletion_timestamp = Some(now());
        going.metadata.finalizers = Some(vec![CLEANUP.into()]);
        let never = next(&going, &[], false);
        assert_eq!(
            (reason(&never, TERMINATING), never.metadata.finalizers.as_deref()),
            ("NeverEstablished", Some(&[][..]))
        );
        let established = Condition { kind: ESTABLISHED, status: true, reason: "x", message: String::new() };
        conditions::set(going.status.as_mut().unwrap(), &established, None, &now());
        let marked = next(&going, &[], true);
        assert_eq!(reason(&marked, TERMINATING), "InstanceDeletionInProgress");
        assert_eq!(alone(&marked, &[], true), Step::Clean);
        let done = ended(&marked, "InstanceDeletionCompleted", "removed all instances", &now());
        assert_eq!(alone(&done, &[], true), Step::Rest);
    }
}
