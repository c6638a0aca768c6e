//! What a cluster lacks of the roles and bindings that it should begin with. Pure: observe, decide, apply.
//!
//! Missing rules and subjects are added, and so are labels and annotations; what is there beyond them stays, but for an
//! aggregation rule that should not be. A binding to another role is made anew, as that cannot change. Who does not want this
//! sets the annotation `rbac.authorization.kubernetes.io/autoupdate: "false"`.
//! <https://kubernetes.io/docs/reference/access-authn-authz/rbac/#auto-reconciliation>

use std::collections::{BTreeMap, HashMap};

use corten_api::{Key, Object};
use k8s_openapi::api::rbac::v1::{
    AggregationRule, ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::{AUTO_UPDATE, Policy};
use crate::authz::rbac::covers::uncovered;

/// What there is; of the four kinds, those objects at least that the policy has too.
pub type Observed = Policy;

#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    ClusterRole(ClusterRole),
    ClusterRoleBinding(ClusterRoleBinding),
    Role(Role),
    RoleBinding(RoleBinding),
}

#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    Create(Item),
    /// Has the revision that was observed: if that is not the newest any more, look again.
    Update(Item),
    /// The one of this uid goes first.
    Recreate {
        uid: String,
        item: Item,
    },
    /// It lacks something, and does not want it.
    Leave {
        kind: &'static str,
        key: Key,
    },
}

/// Roles before the bindings that give them. Nothing at all for a cluster that has everything.
pub fn decide(seen: &Observed, policy: &Policy) -> Vec<Action> {
    let mut actions = each(&seen.cluster_roles, &policy.cluster_roles, decide_cluster_role, Item::ClusterRole);
    actions.extend(each(&seen.roles, &policy.roles, decide_role, Item::Role));
    actions.extend(each(
        &seen.cluster_role_bindings,
        &policy.cluster_role_bindings,
        decide_cluster_role_binding,
        Item::ClusterRoleBinding,
    ));
    actions.extend(each(&seen.role_bindings, &policy.role_bindings, decide_role_binding, Item::RoleBinding));
    actions
}

/// What an object that is there should be instead.
enum Change<K> {
    None,
    Update(K),
    Recreate,
}

fn each<K: Object>(
    seen: &[K],
    policy: &[K],
    decide: impl Fn(&K, &K) -> Change<K>,
    item: impl Fn(K) -> Item,
) -> Vec<Action> {
    let by_key: HashMap<Key, &K> = seen.iter().map(|object| (object.key(), object)).collect();
    let action = |expected: &K| {
        let Some(existing) = by_key.get(&expected.key()) else { return Some(Action::Create(item(expected.clone()))) };
        match decide(existing, expected) {
            Change::None => None,
            Change::Update(_) | Change::Recreate if existing.annotation(AUTO_UPDATE) == Some("false") => {
                Some(Action::Leave { kind: K::KIND, key: expected.key() })
            }
            Change::Update(object) => Some(Action::Update(item(object))),
            Change::Recreate => Some(Action::Recreate { uid: existing.uid().to_owned(), item: item(expected.clone()) }),
        }
    };
    policy.iter().filter_map(action).collect()
}

fn changed<K: Object>(existing: &K, reconciled: K) -> Change<K> {
    if reconciled == *existing { Change::None } else { Change::Update(reconciled) }
}

fn decide_role(existing: &Role, expected: &Role) -> Change<Role> {
    let mut role = existing.clone();
    add_labels_and_annotations(&mut role, expected);
    add_rules(&mut role.rules, expected.rules.as_deref());
    changed(existing, role)
}

fn decide_cluster_role(existing: &ClusterRole, expected: &ClusterRole) -> Change<ClusterRole> {
    let mut role = existing.clone();
    add_labels_and_annotations(&mut role, expected);
    add_rules(&mut role.rules, expected.rules.as_deref());
    match &expected.aggregation_rule {
        None => role.aggregation_rule = None,
        Some(expected) => add_selectors(&mut role.aggregation_rule, expected),
    }
    changed(existing, role)
}

fn decide_cluster_role_binding(
    existing: &ClusterRoleBinding,
    expected: &ClusterRoleBinding,
) -> Change<ClusterRoleBinding> {
    if differ(&existing.role_ref, &expected.role_ref) {
        return Change::Recreate;
    }
    let mut binding = existing.clone();
    add_labels_and_annotations(&mut binding, expected);
    add_subjects(&mut binding.subjects, expected.subjects.as_deref());
    changed(existing, binding)
}

fn decide_role_binding(existing: &RoleBinding, expected: &RoleBinding) -> Change<RoleBinding> {
    if differ(&existing.role_ref, &expected.role_ref) {
        return Change::Recreate;
    }
    let mut binding = existing.clone();
    add_labels_and_annotations(&mut binding, expected);
    add_subjects(&mut binding.subjects, expected.subjects.as_deref());
    changed(existing, binding)
}

/// What is there already keeps its value.
fn add_labels_and_annotations<K: Object>(object: &mut K, expected: &K) {
    fn add(own: &mut Option<BTreeMap<String, String>>, expected: Option<&BTreeMap<String, String>>) {
        for (key, value) in expected.into_iter().flatten() {
            own.get_or_insert_default().entry(key.clone()).or_insert_with(|| value.clone());
        }
    }
    let (meta, expected) = (object.metadata_mut(), expected.metadata());
    add(&mut meta.labels, expected.labels.as_ref());
    add(&mut meta.annotations, expected.annotations.as_ref());
}

/// What the rules do not allow so far, verb by verb.
fn add_rules(own: &mut Option<Vec<PolicyRule>>, expected: Option<&[PolicyRule]>) {
    let missing = uncovered(own.iter().flatten(), expected.unwrap_or_default());
    if missing.and_more || missing.too_many {
        // More than can be told of one by one, or looked at: the rules as they are, each once.
        let own = own.get_or_insert_default();
        let new: Vec<PolicyRule> =
            expected.iter().copied().flatten().filter(|rule| !own.contains(rule)).cloned().collect();
        own.extend(new);
    } else if !missing.atoms.is_empty() {
        own.get_or_insert_default().extend(missing.atoms);
    }
}

fn add_selectors(own: &mut Option<AggregationRule>, expected: &AggregationRule) {
    let expected = expected.cluster_role_selectors.iter().flatten();
    let own = own.get_or_insert_default().cluster_role_selectors.get_or_insert_default();
    for selector in expected {
        if !own.iter().any(|own| are_same(own, selector)) {
            own.push(selector.clone());
        }
    }
}

/// Absent and empty are the same.
fn are_same(one: &LabelSelector, other: &LabelSelector) -> bool {
    fn parts(selector: &LabelSelector) -> impl PartialEq {
        let labels = selector.match_labels.as_ref().filter(|labels| !labels.is_empty());
        let expressions = selector.match_expressions.as_ref().filter(|expressions| !expressions.is_empty());
        (labels.cloned(), expressions.cloned())
    }
    parts(one) == parts(other)
}

fn add_subjects(own: &mut Option<Vec<Subject>>, expected: Option<&[Subject]>) {
    for subject in expected.unwrap_or_default() {
        let is_there = own.iter().flatten().any(|own| identity(own) == identity(subject));
        if !is_there {
            own.get_or_insert_default().push(subject.clone());
        }
    }
}

fn identity(subject: &Subject) -> (&str, &str, &str, &str) {
    fn text(of: &Option<String>) -> &str {
        of.as_deref().unwrap_or_default()
    }
    (&subject.kind, &subject.name, text(&subject.namespace), text(&subject.api_group))
}

fn differ(one: &RoleRef, other: &RoleRef) -> bool {
    let parts = |role: &RoleRef| (role.api_group.clone().unwrap_or_default(), role.kind.clone(), role.name.clone());
    parts(one) != parts(other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authz::rbac::bootstrap::policy;

    fn cluster_role(json: serde_json::Value) -> ClusterRole {
        serde_json::from_value(json).unwrap()
    }
    fn rule(resource: &str) -> serde_json::Value {
        serde_json::json!({"apiGroups": [""], "resources": [resource], "verbs": ["get"]})
    }
    fn role_with(rules: &[&str]) -> ClusterRole {
        cluster_role(serde_json::json!({"rules": rules.iter().map(|r| rule(r)).collect::<Vec<_>>()}))
    }
    fn role_selecting(labels: &[&str]) -> ClusterRole {
        let selectors: Vec<_> = labels.iter().map(|l| serde_json::json!({"matchLabels": {"l": l}})).collect();
        cluster_role(serde_json::json!({"aggregationRule": {"clusterRoleSelectors": selectors}}))
    }
    fn role_labelled(labels: serde_json::Value, annotations: serde_json::Value) -> ClusterRole {
        cluster_role(serde_json::json!({"metadata": {"labels": labels, "annotations": annotations}}))
    }
    fn shown<K>(change: Change<K>) -> Option<K> {
        match change {
            Change::None => None,
            Change::Update(object) => Some(object),
            Change::Recreate => panic!("made anew"),
        }
    }

    #[test]
    fn roles_get_what_they_lack_and_keep_what_they_have() {
        let none = serde_json::json!({});
        let label = |value: &str| role_labelled(serde_json::json!({"a": value}), none.clone());
        let cases = [
            ("the same", role_with(&["pods"]), role_with(&["pods"]), None),
            ("a missing rule", role_with(&["pods"]), role_with(&["nodes"]), Some(role_with(&["pods", "nodes"]))),
            ("an extra rule", role_with(&["pods", "nodes"]), role_with(&["pods"]), None),
            ("covered by a larger one", role_with(&["*"]), role_with(&["pods"]), None),
            ("no rules so far", role_with(&[]), role_with(&["pods"]), Some(role_with(&["pods"]))),
            ("a missing selector", role_selecting(&["a"]), role_selecting(&["b"]), Some(role_selecting(&["a", "b"]))),
            ("an extra selector", role_selecting(&["a", "b"]), role_selecting(&["b"]), None),
            ("not aggregated so far", cluster_role(none.clone()), role_selecting(&["b"]), Some(role_selecting(&["b"]))),
            (
                "aggregated, and should not be",
                role_selecting(&["a"]),
                cluster_role(none.clone()),
                Some(cluster_role(none.clone())),
            ),
            ("a missing label", role_labelled(none.clone(), none.clone()), label("1"), Some(label("1"))),
            ("a label of another value stays", label("2"), label("1"), None),
        ];
        for (why, existing, expected, reconciled) in cases {
            assert_eq!(shown(decide_cluster_role(&existing, &expected)), reconciled, "{why}");
        }
    }

    #[test]
    fn what_controllers_filled_in_is_not_touched() {
        let mut existing = role_selecting(&["a"]);
        existing.rules = role_with(&["pods"]).rules;
        assert_eq!(shown(decide_cluster_role(&existing, &role_selecting(&["a"]))), None);
    }

    fn binding(role: &str, subjects: &[(&str, &str, &str)]) -> ClusterRoleBinding {
        let subjects: Vec<_> = subjects
            .iter()
            .map(|(kind, namespace, name)| serde_json::json!({"kind": kind, "namespace": namespace, "name": name}))
            .collect();
        let role = serde_json::json!({"kind": "ClusterRole", "name": role});
        serde_json::from_value(serde_json::json!({"roleRef": role, "subjects": subjects})).unwrap()
    }

    #[test]
    fn bindings_get_whom_they_lack_and_keep_whom_they_have() {
        let (one, two) = (("User", "", "one"), ("ServiceAccount", "n", "two"));
        let cases = [
            ("the same", binding("r", &[one]), binding("r", &[one]), None),
            ("one is missing", binding("r", &[one]), binding("r", &[one, two]), Some(binding("r", &[one, two]))),
            ("another name", binding("r", &[two]), binding("r", &[one]), Some(binding("r", &[two, one]))),
            ("one is extra", binding("r", &[one, two]), binding("r", &[two]), None),
            ("none is wanted", binding("r", &[one]), binding("r", &[]), None),
        ];
        for (why, existing, expected, reconciled) in cases {
            assert_eq!(shown(decide_cluster_role_binding(&existing, &expected)), reconciled, "{why}");
        }
        let another = decide_cluster_role_binding(&binding("r", &[one]), &binding("q", &[one]));
        assert!(matches!(another, Change::Recreate));
    }

    /// A fresh cluster gets everything; one that has it gets nothing.
    #[test]
    fn a_cluster_that_has_everything_is_left_alone() {
        let policy = policy();
        let actions = decide(&Observed::default(), policy);
        let all = policy.cluster_roles.len() + policy.cluster_role_bindings.len();
        assert_eq!(actions.len(), all + policy.roles.len() + policy.role_bindings.len());
        assert!(actions.iter().all(|action| matches!(action, Action::Create(_))));
        let first_binding = actions
            .iter()
            .position(|action| matches!(action, Action::Create(Item::ClusterRoleBinding(_) | Item::RoleBinding(_))));
        assert_eq!(first_binding, Some(policy.cluster_roles.len() + policy.roles.len()), "roles come first");
        assert_eq!(decide(policy, policy), []);
    }

    #[test]
    fn what_is_protected_stays_as_it_is() {
        let mut seen = policy().clone();
        let tampered = |annotation: &str| {
            let mut role = policy().cluster_roles[0].clone();
            role.metadata.annotations = Some([(AUTO_UPDATE.to_owned(), annotation.to_owned())].into());
            role.metadata.resource_version = Some("5".into());
            role.rules = None;
            role
        };
        seen.cluster_roles[0] = tampered("true");
        let mut repaired = tampered("true");
        repaired.rules = policy().cluster_roles[0].rules.clone();
        assert_eq!(decide(&seen, policy()), [Action::Update(Item::ClusterRole(repaired))]);
        seen.cluster_roles[0] = tampered("false");
        let key = Key::cluster("cluster-admin");
        assert_eq!(decide(&seen, policy()), [Action::Leave { kind: "ClusterRole", key }]);
    }

    #[test]
    fn a_binding_to_another_role_is_made_anew() {
        let mut seen = policy().clone();
        seen.cluster_role_bindings[0].role_ref.name = "view".into();
        seen.cluster_role_bindings[0].metadata.uid = Some("u".into());
        let item = Item::ClusterRoleBinding(policy().cluster_role_bindings[0].clone());
        assert_eq!(decide(&seen, policy()), [Action::Recreate { uid: "u".into(), item }]);
    }
}
