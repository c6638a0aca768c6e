//! Nobody gives what he does not have: what somebody may write into roles, and which roles he may bind.
//!
//! <https://kubernetes.io/docs/reference/access-authn-authz/rbac/#privilege-escalation-prevention-and-bootstrapping>. Asked of
//! every write of the four kinds, beyond whether it may be, once defaults are filled in and before it is validated.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use corten_api::rbac::{ALL, GROUP, Lists};
use corten_api::{ApiError, Object};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef};

use super::covers::{Uncovered, uncovered};
use super::decide::{Errors, decide, held};
use super::index::{Index, RoleError};
use crate::authn::MASTERS_GROUP;
use crate::authz::Attributes;
use crate::quoted_list::quoted_list;
use crate::request::{Target, User};

/// What is told of rules that were not looked at.
const TOO_MANY: &str = "there are too many rules to compare with those that are held: use smaller roles";

/// A write on its way: of a new object, or of one that was there.
#[derive(Clone, Copy)]
pub struct Writing<'a> {
    pub user: &'a User,
    /// What the request names: on a create no name.
    pub target: &'a Target,
    pub object: &'a dyn Any,
    pub old: Option<&'a dyn Any>,
}

/// The error is upstream's 403, or a 404 for a role that is to be bound and is not there. Objects of other kinds pass.
pub fn check(index: &Index, writing: Writing<'_>) -> Result<(), ApiError> {
    // The server itself is one of them, and they may do anything whatever the roles say.
    if writing.user.in_group(MASTERS_GROUP) {
        return Ok(());
    }
    if let Some(role) = writing.of::<Role>() {
        return role.check(index, |object| &object.rules, |_| false);
    }
    if let Some(role) = writing.of::<ClusterRole>() {
        return role.check(index, |object| &object.rules, gathers);
    }
    if let Some(binding) = writing.of::<RoleBinding>() {
        return binding.check_binding(index, |object| &object.role_ref);
    }
    if let Some(binding) = writing.of::<ClusterRoleBinding>() {
        return binding.check_binding(index, |object| &object.role_ref);
    }
    Ok(())
}

fn gathers(role: &ClusterRole) -> bool {
    let selectors = role.aggregation_rule.as_ref().and_then(|rule| rule.cluster_role_selectors.as_ref());
    selectors.is_some_and(|selectors| !selectors.is_empty())
}

/// A write of a known kind.
struct Typed<'a, K> {
    user: &'a User,
    target: &'a Target,
    object: &'a K,
    old: Option<&'a K>,
}

impl<'a> Writing<'a> {
    fn of<K: Object>(&self) -> Option<Typed<'a, K>> {
        let object = self.object.downcast_ref()?;
        let old = self.old.and_then(|old| old.downcast_ref());
        Some(Typed { user: self.user, target: self.target, object, old })
    }
}

impl<K: Object> Typed<'_, K> {
    fn check(
        &self,
        index: &Index,
        rules: impl Fn(&K) -> &Option<Vec<PolicyRule>>,
        gathers: impl Fn(&K) -> bool,
    ) -> Result<(), ApiError> {
        let Target { namespace, name, .. } = self.target;
        let asked = question(K::URL_PATH_SEGMENT, namespace, name);
        if allows(index, self.user, "escalate", &asked) || self.changes_owners_alone() {
            return Ok(());
        }
        let rules = rules(self.object).as_deref().unwrap_or_default();
        confirm(index, self.user, namespace, rules).map_err(|why| self.forbidden(&why))?;
        if gathers(self.object) || self.old.is_some_and(gathers) {
            // It may gather anything, whatever its rules are now.
            confirm(index, self.user, namespace, &everything())
                .map_err(|_| self.forbidden("must have cluster-admin privileges to use the aggregationRule"))?;
        }
        Ok(())
    }

    fn check_binding(&self, index: &Index, role: impl Fn(&K) -> &RoleRef) -> Result<(), ApiError> {
        let (role, namespace) = (role(self.object), self.target.namespace.as_str());
        if self.changes_owners_alone() || may_bind(index, self.user, role, namespace) {
            return Ok(());
        }
        let rules = index.rules_of(role, namespace).map_err(|err| match &err {
            RoleError::NotFound { kind, name } => {
                ApiError::not_found(GROUP, &format!("{}s", kind.to_lowercase()), name)
            }
            RoleError::Kind(_) => ApiError::internal(err),
        })?;
        confirm(index, self.user, namespace, rules).map_err(|why| self.forbidden(&why))
    }

    /// Nothing changes but owners and finalizers: what the garbage collector writes, which has nothing to give.
    fn changes_owners_alone(&self) -> bool {
        let Some(old) = self.old else { return false };
        let mut like = self.object.clone();
        let (meta, was) = (like.metadata_mut(), old.metadata());
        meta.owner_references.clone_from(&was.owner_references);
        meta.finalizers.clone_from(&was.finalizers);
        meta.managed_fields.clone_from(&was.managed_fields);
        meta.self_link.clone_from(&was.self_link);
        like == *old
    }
    fn forbidden(&self, why: &str) -> ApiError {
        ApiError::forbidden(GROUP, K::URL_PATH_SEGMENT, self.object.name(), why)
    }
}

/// Who may bind a role in a namespace may bind it, whatever is in it.
fn may_bind(index: &Index, user: &User, role: &RoleRef, namespace: &str) -> bool {
    let plural = match role.kind.as_str() {
        "ClusterRole" => "clusterroles",
        "Role" => "roles",
        _ => return false,
    };
    let mut asked = question(plural, namespace, &role.name);
    asked.group = role.api_group.clone().unwrap_or_default();
    allows(index, user, "bind", &asked)
}

fn question(plural: &str, namespace: &str, name: &str) -> Target {
    Target {
        group: GROUP.into(),
        version: ALL.into(),
        resource: plural.into(),
        subresource: String::new(),
        namespace: namespace.into(),
        name: name.into(),
    }
}

fn allows(index: &Index, user: &User, verb: &str, target: &Target) -> bool {
    decide(index, user, Attributes::Resource { verb, target }).is_ok()
}

fn everything() -> [PolicyRule; 2] {
    let all = || vec![ALL.to_owned()];
    let resources =
        PolicyRule { verbs: all(), api_groups: Some(all()), resources: Some(all()), ..PolicyRule::default() };
    [resources, PolicyRule { verbs: all(), non_resource_urls: Some(all()), ..PolicyRule::default() }]
}

/// Whether somebody has in a namespace (or for the cluster) all that these rules allow; the error says what is missing.
fn confirm(index: &Index, user: &User, namespace: &str, rules: &[PolicyRule]) -> Result<(), String> {
    let held = held(index, user, namespace);
    let missing = uncovered(held.rules, rules);
    if missing.is_empty() { Ok(()) } else { Err(refusal(user, &missing, &held.errors)) }
}

fn refusal(user: &User, missing: &Uncovered, errors: &Errors) -> String {
    let mut text = format!(
        "user {:?} (groups={}) is attempting to grant RBAC permissions not currently held:\n",
        user.name,
        quoted_list(&user.groups)
    );
    let mut lines: Vec<String> = compact(&missing.atoms).into_iter().collect();
    if missing.and_more {
        lines.push("and more".into());
    }
    if missing.too_many {
        lines.push(TOO_MANY.into());
    }
    text.push_str(&lines.join("\n"));
    if !errors.is_empty() {
        // Into a String, which takes everything.
        write!(text, "; resolution errors: [{errors}]").ok();
    }
    text
}

/// A line for each: atoms that differ by their verbs alone are one.
fn compact(atoms: &[PolicyRule]) -> BTreeSet<String> {
    let (mut on_resources, mut lines) = (BTreeMap::<_, Vec<String>>::new(), BTreeSet::new());
    for atom in atoms {
        let Lists { verbs, groups, resources, names, urls } = Lists::of(atom);
        if urls.is_empty() {
            on_resources.entry((groups, resources, names)).or_default().extend_from_slice(verbs);
        } else {
            lines.insert(line(&[("NonResourceURLs", urls), ("Verbs", verbs)]));
        }
    }
    lines.extend(on_resources.into_iter().map(|((groups, resources, names), verbs)| {
        line(&[("APIGroups", groups), ("Resources", resources), ("ResourceNames", names), ("Verbs", &verbs)])
    }));
    lines
}

/// `{APIGroups:[""], Resources:["pods"], Verbs:["get" "list"]}`
fn line(lists: &[(&str, &[String])]) -> String {
    let full = lists.iter().filter(|(_, list)| !list.is_empty());
    let parts: Vec<String> = full.map(|(name, list)| format!("{name}:{}", quoted_list(list))).collect();
    format!("{{{}}}", parts.join(", "))
}

#[cfg(test)]
mod tests;
