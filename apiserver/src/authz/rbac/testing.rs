//! What the tests of this room share: rules, requests, users and objects from short lines.

use k8s_openapi::api::rbac::v1::PolicyRule;

use super::bootstrap::text;
use super::index::{Index, Source};
use crate::request::{Target, User};

/// A rule as the built-in tables have it: `get,list on pods in core named web`, `get at /healthz`.
pub(super) fn rule(line: &str) -> PolicyRule {
    text::rule(line).unwrap_or_else(|err| panic!("{line}: {err}"))
}
pub(super) fn rules(lines: &[&str]) -> Vec<PolicyRule> {
    lines.iter().map(|line| rule(line)).collect()
}

/// `group/resource[/subresource] [namespace/]name`
pub(in crate::authz) fn target(text: &str) -> Target {
    let (what, which) = text.split_once(' ').unwrap_or((text, ""));
    let mut parts = what.split('/');
    let (namespace, name) = which.split_once('/').unwrap_or(("", which));
    let mut next = || parts.next().unwrap_or_default().to_owned();
    Target {
        group: next(),
        version: "v1".into(),
        resource: next(),
        subresource: next(),
        namespace: namespace.into(),
        name: name.into(),
    }
}

/// `name group,group`
pub(in crate::authz) fn user(text: &str) -> User {
    let (name, groups) = text.split_once(' ').unwrap_or((text, ""));
    let groups = groups.split(',').filter(|group| !group.is_empty()).map(str::to_owned).collect();
    User { name: name.into(), groups, ..User::default() }
}

/// An index of roles and bindings, each a line: `role n/reader get on pods in core; get on services in core`,
/// `clusterrole admin * on * in *`, `binding n/b role reader User:jane Group:devs ServiceAccount:n:default`,
/// `clusterbinding b admin Group:admins`.
pub(in crate::authz) fn index(lines: &[&str]) -> Index {
    let mut index = Index::default();
    for line in lines {
        put(&mut index, line);
    }
    index
}

pub(super) fn put(index: &mut Index, line: &str) {
    let (kind, rest) = line.split_once(' ').unwrap();
    let (key, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    let (source, json) = match kind {
        "role" => (Source::Roles, role(rest)),
        "clusterrole" => (Source::ClusterRoles, role(rest)),
        "clusterbinding" => (Source::ClusterRoleBindings, binding("clusterrole", rest)),
        _ => {
            let (role_kind, rest) = rest.split_once(' ').unwrap();
            (Source::RoleBindings, binding(role_kind, rest))
        }
    };
    index.put(source, key, json.to_string().as_bytes()).unwrap();
}

fn role(rest: &str) -> serde_json::Value {
    let rules: Vec<PolicyRule> = rest.split("; ").filter(|line| !line.is_empty()).map(rule).collect();
    serde_json::json!({"metadata": {}, "rules": rules})
}

fn binding(role_kind: &str, rest: &str) -> serde_json::Value {
    let mut words = rest.split(' ');
    let kind = match role_kind {
        "role" => "Role",
        "clusterrole" => "ClusterRole",
        other => other,
    };
    let role = serde_json::json!({"kind": kind, "name": words.next().unwrap()});
    let subjects: Vec<_> = words
        .map(|word| match word.split(':').collect::<Vec<_>>()[..] {
            ["ServiceAccount", namespace, name] => {
                serde_json::json!({"kind": "ServiceAccount", "namespace": namespace, "name": name})
            }
            [kind, ..] => serde_json::json!({"kind": kind, "name": word[kind.len() + 1..]}),
            [] => serde_json::Value::Null,
        })
        .collect();
    serde_json::json!({"metadata": {}, "roleRef": role, "subjects": subjects})
}
