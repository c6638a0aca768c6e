//! What RoleBindings and ClusterRoleBindings share: whom they give a role to, which role, and how that is shown.

use std::borrow::Cow;

use corten_api::{Problems, Scope, rbac};
use k8s_openapi::api::rbac::v1::{RoleRef, Subject};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::registry::defaults::fill;
use crate::registry::path::Path;
use crate::registry::{Cell, Column, cells, check};

const ACCOUNT: &str = "ServiceAccount";
const USER: &str = "User";
const GROUP: &str = "Group";

pub(super) const COLUMNS: &[Column] = &[
    cells::NAME,
    cells::text("Role", "The role that is given"),
    cells::AGE,
    cells::wide("Users", "The users who have it"),
    cells::wide("Groups", "The groups whose members have it"),
    cells::wide("ServiceAccounts", "The service accounts that have it"),
];

pub(super) fn fill_defaults(role: &mut RoleRef, subjects: Option<&mut Vec<Subject>>) {
    fill(&mut role.api_group, rbac::GROUP);
    for subject in subjects.into_iter().flatten() {
        match subject.kind.as_str() {
            USER | GROUP => fill(&mut subject.api_group, rbac::GROUP),
            _ => drop(subject.api_group.take_if(|group| group.is_empty())),
        }
    }
}

/// `scope`: of the binding. `kinds`: the roles that it can give.
pub(super) fn validate(
    role: &RoleRef,
    subjects: Option<&Vec<Subject>>,
    scope: Scope,
    kinds: &[&str],
    problems: &mut Problems,
) {
    let at = Path::root("roleRef");
    check_group(role.api_group.as_ref(), rbac::GROUP, &at, problems);
    if !kinds.contains(&role.kind.as_str()) {
        problems.unsupported(at.field("kind"), &role.kind, kinds);
    }
    match role.name.as_str() {
        "" => problems.required(at.field("name"), ""),
        name => check::path_segment(problems, &at.field("name"), name),
    }
    let list = Path::root("subjects");
    for (i, subject) in subjects.into_iter().flatten().enumerate() {
        validate_subject(subject, scope, &list.index(i), problems);
    }
}

fn validate_subject(subject: &Subject, scope: Scope, at: &Path<'_>, problems: &mut Problems) {
    if subject.name.is_empty() {
        problems.required(at.field("name"), "");
    }
    match subject.kind.as_str() {
        ACCOUNT => {
            if !subject.name.is_empty() {
                check::dns_subdomain(problems, &at.field("name"), &subject.name);
            }
            check_group(subject.api_group.as_ref(), "", at, problems);
            // In a namespace, its own accounts need not say where they are.
            if scope == Scope::Cluster && check::text(subject.namespace.as_ref()).is_empty() {
                problems.required(at.field("namespace"), "");
            }
        }
        USER | GROUP => check_group(subject.api_group.as_ref(), rbac::GROUP, at, problems),
        other => problems.unsupported(at.field("kind"), other, &[ACCOUNT, USER, GROUP]),
    }
}

fn check_group(group: Option<&String>, expected: &str, at: &Path<'_>, problems: &mut Problems) {
    let group = check::text(group);
    if group != expected {
        problems.unsupported(at.field("apiGroup"), group, &[expected]);
    }
}

/// Which role a binding gives cannot change: who may bind one role may not bind another.
pub(super) fn validate_update(role: &RoleRef, old: &RoleRef, problems: &mut Problems) {
    if role != old {
        problems.invalid("roleRef", role, "cannot change roleRef");
    }
}

pub(super) fn row(meta: &ObjectMeta, role: &RoleRef, subjects: Option<&Vec<Subject>>, now_secs: i64) -> Vec<Cell> {
    let named = |kind: &str| {
        let subjects = subjects.into_iter().flatten().filter(|subject| subject.kind == kind);
        let names = subjects.map(|subject| match kind {
            ACCOUNT => Cow::Owned(format!("{}/{}", check::text(subject.namespace.as_ref()), subject.name)),
            _ => Cow::Borrowed(subject.name.as_str()),
        });
        Cell::text(names.collect::<Vec<_>>().join(", "))
    };
    vec![
        cells::name(meta),
        Cell::text(format!("{}/{}", role.kind, role.name)),
        cells::age(meta, now_secs),
        named(USER),
        named(GROUP),
        named(ACCOUNT),
    ]
}
