//! What a definition's status has to say next. Pure.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceDefinitionNames, CustomResourceDefinitionStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::registry::apiextensions::customresourcedefinition::conditions::{
    self, Condition, ESTABLISHED, NAMES_ACCEPTED, TERMINATING,
};
use crate::registry::apiextensions::customresourcedefinition::{CLEANUP, approval};

/// Names of a group that others have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Taken {
    /// Plural, singular and short names.
    pub(super) resources: BTreeSet<String>,
    /// Of objects, and of lists of them.
    pub(super) kinds: BTreeSet<String>,
}

#[derive(Debug, PartialEq)]
pub(super) enum Step {
    Rest,
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

/// `all`: the definitions that there are; `builtin`: what is taken of a group's names by kinds that every server has; `serves`: whether
/// this server serves the kind as it is defined.
pub(super) fn step(
    crd: &CustomResourceDefinition,
    all: &[Arc<CustomResourceDefinition>],
    builtin: &dyn Fn(&str) -> Taken,
    serves: bool,
    now: &Time,
) -> Step {
    if crd.metadata.deletion_timestamp.is_some() {
        return ending(crd, now);
    }
    let generation = crd.metadata.generation;
    let mut status = crd.status.clone().unwrap_or_default();
    accept_names(crd, &mut status, all, builtin, now);
    if conditions::holds(&status, NAMES_ACCEPTED) && !conditions::holds(&status, ESTABLISHED) && serves {
        let message = "the initial names have been accepted".into();
        let established = Condition { kind: ESTABLISHED, status: true, reason: "InitialNamesAccepted", message };
        conditions::set(&mut status, &established, generation, now);
    }
    if let Some(approval) = approval::condition(crd) {
        conditions::set(&mut status, &approval, generation, now);
    }
    if serves || crd.status.as_ref() != Some(&status) {
        status.observed_generation = generation;
    }
    if crd.status.as_ref() == Some(&status) {
        return Step::Rest;
    }
    Step::Write(Box::new(CustomResourceDefinition { status: Some(status), ..crd.clone() }))
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

/// Takes of the names that are wanted those that are free, as upstream does: one by one.
fn accept_names(
    crd: &CustomResourceDefinition,
    status: &mut CustomResourceDefinitionStatus,
    all: &[Arc<CustomResourceDefinition>],
    builtin: &dyn Fn(&str) -> Taken,
    now: &Time,
) {
    let wanted = &crd.spec.names;
    let before = status.accepted_names.clone().unwrap_or_default();
    if *wanted == before && conditions::holds(status, NAMES_ACCEPTED) {
        return;
    }
    let taken = taken_by_others(crd, all, builtin(&crd.spec.group));
    let (accepted, conflict) = free_names(wanted, before, &taken);
    let is_accepted = conflict.is_none();
    let (reason, message) = conflict.unwrap_or(("NoConflicts", "no conflicts found".into()));
    status.accepted_names = Some(accepted);
    let generation = crd.metadata.generation;
    conditions::set(status, &Condition { kind: NAMES_ACCEPTED, status: is_accepted, reason, message }, generation, now);
    if !conditions::holds(status, ESTABLISHED) {
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
        match step(crd, &all, &nobody, serves, &now()) {
            Step::Write(new) => *new,
            other => panic!("{other:?}"),
        }
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
        assert_eq!(step(&accepted, &all, &nobody, false, &now()), Step::Rest);
        let established = next(&accepted, &[&accepted], true);
        assert!(conditions::is_true(&established, ESTABLISHED));
        assert_eq!(established.status.as_ref().unwrap().observed_generation, Some(1));
        let all = [Arc::new(established.clone())];
        assert_eq!(step(&established, &all, &nobody, true, &now()), Step::Rest);
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
        let builtin = Taken { resources: ["others".to_owned()].into(), kinds: BTreeSet::new() };
        let Step::Write(refused) = step(&second, &[], &|_| builtin.clone(), false, &now()) else {
            panic!("nothing is written")
        };
        assert_eq!(reason(&refused, NAMES_ACCEPTED), "PluralConflict");
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
        assert_eq!(step(&marked, &[], &nobody, true, &now()), Step::Clean);
        let done = ended(&marked, "InstanceDeletionCompleted", "removed all instances", &now());
        assert_eq!(step(&done, &[], &nobody, true, &now()), Step::Rest);
    }
}
