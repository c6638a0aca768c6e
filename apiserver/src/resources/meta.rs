//! ObjectMeta's rules, the same for all kinds: what the server sets, what an update may change, what is valid. Pure.
//!
//! <https://github.com/kubernetes/community/blob/master/contributors/devel/sig-architecture/api-conventions.md#metadata>

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};

use corten_api::{ApiError, Problems, Scope, names};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};

use crate::apply;
use crate::registry::path::Path;
use crate::registry::{NameRule, check};

/// A generated name before its suffix is at most so long.
const GENERATED_BYTES_MAX: usize = 58;
/// Finalizers without a domain.
const STANDARD_FINALIZERS: &[&str] = &[FINALIZER_ORPHAN, FINALIZER_FOREGROUND, "kubernetes"];
pub(super) const FINALIZER_ORPHAN: &str = "orphan";
pub(super) const FINALIZER_FOREGROUND: &str = "foregroundDeletion";

/// What the rules must know of a kind.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub(super) scope: Scope,
    pub(super) name: NameRule,
    pub(super) has_generation: bool,
    /// Finalizers need no domain: their author is only warned.
    pub(super) any_finalizer: bool,
}

/// The namespace of the request's path is the object's.
pub(super) fn settle_namespace(meta: &mut ObjectMeta, namespace: &str, scope: Scope) -> Result<(), ApiError> {
    let given = meta.namespace.as_deref().unwrap_or_default();
    if scope == Scope::Namespaced && !given.is_empty() && given != namespace {
        return Err(ApiError::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    meta.namespace = (scope == Scope::Namespaced).then(|| namespace.to_owned());
    Ok(())
}

/// The name of the request's path is the object's.
pub(super) fn settle_name(meta: &mut ObjectMeta, name: &str) -> Result<(), ApiError> {
    let given = meta.name.as_deref().unwrap_or_default();
    if !given.is_empty() && given != name {
        return Err(ApiError::bad_request(format!(
            "the name of the object ({given}) does not match the name on the URL ({name})"
        )));
    }
    meta.name = Some(name.to_owned());
    Ok(())
}

/// What a new object gets, whatever its maker said.
pub(super) fn begin(meta: &mut ObjectMeta, rules: Rules, uid: String, now: Time) {
    meta.uid = Some(uid);
    meta.creation_timestamp = Some(now);
    meta.generation = rules.has_generation.then_some(1);
    meta.deletion_timestamp = None;
    meta.deletion_grace_period_seconds = None;
    // It is history.
    meta.self_link = None;
}

/// What an update keeps of the object as it was, where the new one says nothing. Generation is counted elsewhere.
pub(super) fn carry_over(new: &mut ObjectMeta, old: &ObjectMeta) {
    new.self_link = None;
    if new.managed_fields.is_none() {
        new.managed_fields.clone_from(&old.managed_fields);
    }
    new.generation = old.generation;
    if new.uid.as_deref().unwrap_or_default().is_empty() {
        new.uid.clone_from(&old.uid);
    }
    // A manifest may carry that of an object of this name which was here before, or is elsewhere.
    new.creation_timestamp.clone_from(&old.creation_timestamp);
    if new.generate_name.is_none() {
        new.generate_name.clone_from(&old.generate_name);
    }
    // A deletion is never taken back by an update; who begins one with it is refused.
    if old.deletion_timestamp.is_some() {
        new.deletion_timestamp.clone_from(&old.deletion_timestamp);
    }
    new.deletion_grace_period_seconds = new.deletion_grace_period_seconds.or(old.deletion_grace_period_seconds);
    // JSON has no difference between none and empty.
    drop_empty(&mut new.labels);
    drop_empty(&mut new.annotations);
    new.finalizers.take_if(|f| f.is_empty());
    new.owner_references.take_if(|o| o.is_empty());
}

fn drop_empty(map: &mut Option<BTreeMap<String, String>>) {
    map.take_if(|m| m.is_empty());
}

pub(super) fn validate(meta: &ObjectMeta, rules: Rules, problems: &mut Problems) {
    if let Some(base) = meta.generate_name.as_deref().filter(|b| !b.is_empty()) {
        // What is generated from it ends in letters, and is cut to fit.
        let mut generated = format!("{}x", base.trim_end_matches('-'));
        generated.truncate(generated.floor_char_boundary(GENERATED_BYTES_MAX));
        if let Some(why) = name_problem(rules.name, &generated) {
            problems.invalid("metadata.generateName", base, &why);
        }
    }
    match meta.name.as_deref().unwrap_or_default() {
        "" => problems.required("metadata.name", "name or generateName is required"),
        name => {
            if let Some(why) = name_problem(rules.name, name) {
                problems.invalid("metadata.name", name, &why);
            }
        }
    }
    if let (Scope::Namespaced, Some(namespace)) = (rules.scope, meta.namespace.as_deref())
        && !names::is_dns1123_label(namespace)
    {
        problems.invalid("metadata.namespace", namespace, names::DNS1123_LABEL_WHY);
    }
    check::labels(problems, &Path::root("metadata.labels"), meta.labels.as_ref());
    check::annotations(problems, &Path::root("metadata.annotations"), meta.annotations.as_ref());
    apply::names::check_managed_fields(meta.managed_fields.as_deref().unwrap_or_default(), problems);
    validate_owners(meta.owner_references.as_deref().unwrap_or_default(), problems);
    validate_finalizers(meta.finalizers.as_deref().unwrap_or_default(), rules.any_finalizer, problems);
}

fn name_problem(rule: NameRule, name: &str) -> Option<Cow<'static, str>> {
    let (good, why, bytes_max) = match rule {
        NameRule::Dns1123Subdomain => (names::is_dns1123_subdomain(name), names::DNS1123_SUBDOMAIN_WHY, 253),
        NameRule::Dns1123Label => (names::is_dns1123_label(name), names::DNS1123_LABEL_WHY, 63),
        NameRule::PathSegment if matches!(name, "." | "..") => (false, "may not be '.' or '..'", usize::MAX),
        NameRule::PathSegment => (!name.contains(['/', '%']), "may not contain '/' or '%'", usize::MAX),
    };
    match good {
        true => None,
        false if name.len() > bytes_max => Some(format!("must be no more than {bytes_max} bytes").into()),
        false => Some(why.into()),
    }
}

fn validate_owners(owners: &[OwnerReference], problems: &mut Problems) {
    let mut controller: Option<&OwnerReference> = None;
    for (i, owner) in owners.iter().enumerate() {
        let at = |field: &str| format!("metadata.ownerReferences[{i}].{field}");
        let version = owner.api_version.rsplit('/').next().unwrap_or_default();
        if version.is_empty() {
            problems.invalid(at("apiVersion"), &owner.api_version, "version must not be empty");
        }
        for (field, value) in [("kind", &owner.kind), ("name", &owner.name), ("uid", &owner.uid)] {
            if value.is_empty() {
                problems.invalid(at(field), "", "must not be empty");
            }
        }
        if (&*owner.api_version, &*owner.kind) == ("v1", "Event") {
            let at = format!("metadata.ownerReferences[{i}]");
            problems.invalid(at, owner, "/v1, Kind=Event is disallowed from being an owner");
        }
        if owner.controller == Some(true) {
            if let Some(first) = controller {
                let why = format!(
                    "Only one reference can have Controller set to true. Found \"true\" in references for {} and {}",
                    first.name, owner.name
                );
                problems.invalid("metadata.ownerReferences", "[]", &why);
            }
            controller = Some(owner);
        }
    }
}

fn validate_finalizers(finalizers: &[String], any: bool, problems: &mut Problems) {
    for finalizer in finalizers {
        if !names::is_qualified_name(finalizer) {
            problems.invalid("metadata.finalizers", finalizer, names::QUALIFIED_NAME_WHY);
        } else if !any && !finalizer.contains('/') && !STANDARD_FINALIZERS.contains(&finalizer.as_str()) {
            let why = "name is neither a standard finalizer name nor is it fully qualified";
            problems.invalid("metadata.finalizers", finalizer, why);
        }
    }
    let has = |name: &str| finalizers.iter().any(|f| f == name);
    if has(FINALIZER_ORPHAN) && has(FINALIZER_FOREGROUND) {
        let why = format!("finalizer {FINALIZER_ORPHAN} and {FINALIZER_FOREGROUND} cannot be both set");
        problems.invalid("metadata.finalizers", finalizers, &why);
    }
}

/// What an update changed that it may not.
pub(super) fn validate_update(new: &ObjectMeta, old: &ObjectMeta, problems: &mut Problems) {
    const ONLY_BY_DELETION: &str = "field is immutable; may only be changed via deletion";
    for (field, is, was) in [
        ("metadata.name", &new.name, &old.name),
        ("metadata.namespace", &new.namespace, &old.namespace),
        ("metadata.uid", &new.uid, &old.uid),
    ] {
        if is != was {
            problems.invalid(field, is, check::IMMUTABLE);
        }
    }
    if new.deletion_timestamp != old.deletion_timestamp {
        problems.invalid("metadata.deletionTimestamp", &new.deletion_timestamp, ONLY_BY_DELETION);
    }
    if new.deletion_grace_period_seconds != old.deletion_grace_period_seconds {
        let asked = &new.deletion_grace_period_seconds;
        problems.invalid("metadata.deletionGracePeriodSeconds", asked, ONLY_BY_DELETION);
    }
    if old.deletion_timestamp.is_some() {
        let had: HashSet<&String> = old.finalizers.iter().flatten().collect();
        let added: Vec<&String> = new.finalizers.iter().flatten().filter(|f| !had.contains(f)).collect();
        if !added.is_empty() {
            let why = format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers {added:?}"
            );
            problems.forbidden("metadata.finalizers", &why);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules = Rules {
        scope: Scope::Namespaced,
        name: NameRule::Dns1123Subdomain,
        has_generation: true,
        any_finalizer: false,
    };

    fn meta(json: &str) -> ObjectMeta {
        serde_json::from_str(json).unwrap()
    }
    fn fields(problems: &Problems) -> Vec<&str> {
        problems.causes().iter().map(corten_api::Cause::field).collect()
    }

    #[test]
    fn validation_table() {
        let big = format!(r#"{{"name":"a","annotations":{{"k":"{}"}}}}"#, "x".repeat(256 << 10));
        let long_base = format!(r#"{{"name":"ok","generateName":"{}"}}"#, "a".repeat(300));
        let owner = r#"{"apiVersion":"v1","kind":"Pod","name":"o","uid":"1","controller":true}"#;
        let two = format!(r#"{{"name":"a","ownerReferences":[{owner},{owner}]}}"#);
        let cases: &[(&str, &str, &[&str])] = &[
            ("good", r#"{"name":"a.b","labels":{"x/y":"1"},"finalizers":["a.b/c","orphan"]}"#, &[]),
            ("no name", "{}", &["metadata.name"]),
            ("bad name", r#"{"name":"A_b"}"#, &["metadata.name"]),
            ("a long base is cut", &long_base, &[]),
            ("bad base", r#"{"name":"ok","generateName":"A_"}"#, &["metadata.generateName"]),
            ("bad namespace", r#"{"name":"a","namespace":"a.b"}"#, &["metadata.namespace"]),
            ("bad label", r#"{"name":"a","labels":{"-":"-"}}"#, &["metadata.labels", "metadata.labels"]),
            ("bad annotation key", r#"{"name":"a","annotations":{"a b":""}}"#, &["metadata.annotations"]),
            ("too much annotation", &big, &["metadata.annotations"]),
            ("a finalizer of nobody", r#"{"name":"a","finalizers":["mine"]}"#, &["metadata.finalizers"]),
            (
                "two ways to delete",
                r#"{"name":"a","finalizers":["orphan","foregroundDeletion"]}"#,
                &["metadata.finalizers"],
            ),
            ("two controllers", &two, &["metadata.ownerReferences"]),
            (
                "an owner without uid",
                r#"{"name":"a","ownerReferences":[{"apiVersion":"v1","kind":"P","name":"p","uid":""}]}"#,
                &["metadata.ownerReferences[0].uid"],
            ),
        ];
        for (why, json, expected) in cases {
            let mut problems = Problems::default();
            validate(&meta(json), RULES, &mut problems);
            assert_eq!(fields(&problems), *expected, "{why}");
        }
    }

    #[test]
    fn a_long_name_is_told_how_long_it_may_be() {
        for (name, rule, expected) in [
            ("a".repeat(254), NameRule::Dns1123Subdomain, Some("must be no more than 253 bytes")),
            ("a".repeat(64), NameRule::Dns1123Label, Some("must be no more than 63 bytes")),
            ("a".repeat(253), NameRule::Dns1123Subdomain, None),
            ("-a".into(), NameRule::Dns1123Label, Some(names::DNS1123_LABEL_WHY)),
        ] {
            assert_eq!(name_problem(rule, &name).as_deref(), expected, "{name}");
        }
    }

    #[test]
    fn an_update_keeps_what_is_not_its_to_say() {
        let old = meta(
            r#"{"name":"a","namespace":"n","uid":"1","generation":3,"creationTimestamp":"2026-01-01T00:00:00Z","deletionTimestamp":"2026-01-02T00:00:00Z","deletionGracePeriodSeconds":30,"finalizers":["a.b/c"]}"#,
        );
        let mut new = meta(
            r#"{"name":"a","namespace":"n","generation":99,"creationTimestamp":"2020-01-01T00:00:00Z","labels":{},"finalizers":["x.y/z"]}"#,
        );
        carry_over(&mut new, &old);
        assert_eq!((new.generation, &new.deletion_timestamp, &new.uid), (Some(3), &old.deletion_timestamp, &old.uid));
        assert_eq!((new.labels.as_ref(), &new.creation_timestamp), (None, &old.creation_timestamp));
        let mut ended = old.clone();
        (ended.deletion_timestamp, ended.deletion_grace_period_seconds) = (None, None);
        let mut problems = Problems::default();
        validate_update(&old, &ended, &mut problems);
        assert_eq!(fields(&problems), ["metadata.deletionTimestamp", "metadata.deletionGracePeriodSeconds"]);
        let mut problems = Problems::default();
        validate_update(&new, &old, &mut problems);
        assert_eq!(fields(&problems), ["metadata.finalizers"]);
        new.uid = Some("2".into());
        new.deletion_grace_period_seconds = Some(5);
        let mut problems = Problems::default();
        validate_update(&new, &old, &mut problems);
        assert_eq!(fields(&problems), ["metadata.uid", "metadata.deletionGracePeriodSeconds", "metadata.finalizers"]);
    }

    #[test]
    fn path_and_body_must_agree() {
        let mut m = meta(r#"{"namespace":"x","name":"y"}"#);
        assert_eq!(settle_namespace(&mut m, "z", Scope::Namespaced).unwrap_err().code(), 400);
        assert_eq!(settle_name(&mut m, "z").unwrap_err().code(), 400);
        settle_namespace(&mut m, "", Scope::Cluster).unwrap();
        assert_eq!(m.namespace, None);
    }
}
