//! The roles and bindings that every cluster begins with: upstream's, and what Corten's own programs have beyond them.
//!
//! - `bootstrap/upstream.txt`, `bootstrap/corten.txt`: the tables
//! - [`text`]: reads them
//! - [`reconcile`]: what of them a cluster lacks

pub mod reconcile;
pub mod text;

use std::sync::LazyLock;

use corten_api::rbac::GROUP;
use corten_api::{Key, Object};
use k8s_openapi::api::rbac::v1::{
    AggregationRule, ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};

use super::index::Index;
use text::{BindingRow, Bound, Pair, RoleRow, Table};

const UPSTREAM: &str = include_str!("bootstrap/upstream.txt");
const CORTEN: &str = include_str!("bootstrap/corten.txt");
const LABEL: (&str, &str) = ("kubernetes.io/bootstrapping", "rbac-defaults");
/// `false` in an object's: it stays as it is.
pub const AUTO_UPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";

/// Roles and bindings as they should be.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Policy {
    pub cluster_roles: Vec<ClusterRole>,
    pub cluster_role_bindings: Vec<ClusterRoleBinding>,
    pub roles: Vec<Role>,
    pub role_bindings: Vec<RoleBinding>,
}

static POLICY: LazyLock<Policy> = LazyLock::new(|| {
    let mut all = table(UPSTREAM);
    all.append(table(CORTEN));
    Policy::of(&all)
});

/// Upstream's and Corten's.
pub fn policy() -> &'static Policy {
    &POLICY
}

/// The rules that the Node authorizer applies to kubelets.
pub fn node_rules() -> &'static [PolicyRule] {
    static RULES: LazyLock<&'static [PolicyRule]> = LazyLock::new(|| {
        let node = policy().cluster_roles.iter().find(|role| role.name() == "system:node");
        node.and_then(|role| role.rules.as_deref()).unwrap_or_default()
    });
    *RULES
}

fn table(text: &str) -> Table {
    // The tables are part of this program: the tests read the very bytes that are read here.
    text::table(text).unwrap_or_else(|err| unreachable!("the table of built-in roles: {err}"))
}

impl Policy {
    fn of(table: &Table) -> Self {
        let mut policy = Self::default();
        for row in &table.roles {
            if row.key.namespace.is_empty() {
                policy.cluster_roles.push(cluster_role(row));
            } else {
                policy.roles.push(Role { metadata: meta(&row.key, &row.labels), rules: Some(row.rules.clone()) });
            }
        }
        for BindingRow { key, role, subjects } in &table.bindings {
            let subjects = (!subjects.is_empty()).then(|| subjects.iter().map(subject).collect());
            let (metadata, role_ref) = (meta(key, &[]), role_ref(role));
            if key.namespace.is_empty() {
                policy.cluster_role_bindings.push(ClusterRoleBinding { metadata, role_ref, subjects });
            } else {
                policy.role_bindings.push(RoleBinding { metadata, role_ref, subjects });
            }
        }
        policy
    }

    /// What these objects mean, as if they were the cluster's.
    pub fn index(&self) -> Index {
        let mut index = Index::default();
        let rules = |rules: &Option<Vec<PolicyRule>>| rules.clone().unwrap_or_default();
        self.cluster_roles.iter().for_each(|role| index.put_role(&role.key(), rules(&role.rules)));
        self.roles.iter().for_each(|role| index.put_role(&role.key(), rules(&role.rules)));
        let subjects = |subjects: &Option<Vec<Subject>>| subjects.clone().unwrap_or_default();
        for binding in &self.cluster_role_bindings {
            index.put_binding(binding.key(), binding.role_ref.clone(), subjects(&binding.subjects));
        }
        for binding in &self.role_bindings {
            index.put_binding(binding.key(), binding.role_ref.clone(), subjects(&binding.subjects));
        }
        index
    }
}

fn meta(key: &Key, labels: &[Pair]) -> ObjectMeta {
    let pair = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
    let own = labels.iter().map(|Pair { key, value }| pair((key.as_str(), value.as_str())));
    ObjectMeta {
        name: Some(key.name.clone()),
        namespace: (!key.namespace.is_empty()).then(|| key.namespace.clone()),
        labels: Some([pair(LABEL)].into_iter().chain(own).collect()),
        annotations: Some([pair((AUTO_UPDATE, "true"))].into()),
        ..ObjectMeta::default()
    }
}

fn cluster_role(row: &RoleRow) -> ClusterRole {
    let selectors = row.aggregates.iter().map(|Pair { key, value }| LabelSelector {
        match_labels: Some([(key.clone(), value.clone())].into()),
        match_expressions: None,
    });
    let selectors: Vec<LabelSelector> = selectors.collect();
    // The rules of an aggregated role are not ours to say.
    let is_aggregated = !selectors.is_empty();
    ClusterRole {
        metadata: meta(&row.key, &row.labels),
        rules: (!is_aggregated).then(|| row.rules.clone()),
        aggregation_rule: is_aggregated.then_some(AggregationRule { cluster_role_selectors: Some(selectors) }),
    }
}

fn role_ref(role: &Key) -> RoleRef {
    let kind = if role.namespace.is_empty() { "ClusterRole" } else { "Role" };
    RoleRef { api_group: Some(GROUP.to_owned()), kind: kind.to_owned(), name: role.name.clone() }
}

fn subject(bound: &Bound) -> Subject {
    let of_api = |kind: &str, name: &String| Subject {
        kind: kind.to_owned(),
        name: name.clone(),
        api_group: Some(GROUP.to_owned()),
        namespace: None,
    };
    match bound {
        Bound::User(name) => of_api("User", name),
        Bound::Group(name) => of_api("Group", name),
        Bound::Account(Key { namespace, name }) => Subject {
            kind: "ServiceAccount".to_owned(),
            name: name.clone(),
            api_group: None,
            namespace: Some(namespace.clone()),
        },
    }
}

#[cfg(test)]
mod tests;
