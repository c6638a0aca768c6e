//! What a pod says of other pods: affinity terms and spread constraints, with their selectors read.

use corten_api::selector::{Labels, Selector, SelectorError};
use k8s_openapi::api::core::v1::{PodAffinityTerm, PodSpec, TopologySpreadConstraint};

/// Pods by namespace and labels. Two with the same key are the same.
#[derive(Clone, Debug, Default)]
pub struct PodSelector {
    namespaces: Vec<String>,
    /// Namespaces by their labels, besides those that are named.
    namespace_selector: Selector,
    selector: Selector,
    key: String,
}

impl PartialEq for PodSelector {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}
impl Eq for PodSelector {}
impl std::hash::Hash for PodSelector {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.key.hash(state);
    }
}

impl PodSelector {
    pub fn new(mut namespaces: Vec<String>, namespace_selector: Selector, selector: Selector) -> Self {
        namespaces.sort();
        namespaces.dedup();
        let key = format!("{namespaces:?} {namespace_selector:?} {selector:?}");
        Self { namespaces, namespace_selector, selector, key }
    }
    pub fn within(namespace: &str, selector: Selector) -> Self {
        Self::new(vec![namespace.into()], Selector::nothing(), selector)
    }
    /// `namespace_labels`: those of the pod's namespace, where they are known.
    pub fn matches(&self, namespace: &str, namespace_labels: Option<&Labels>, labels: &Labels) -> bool {
        (self.namespaces.iter().any(|n| n == namespace) || self.namespace_selector.matches_opt(namespace_labels))
            && self.selector.matches(labels)
    }
    pub fn is_everything(&self) -> bool {
        self.selector.is_everything()
    }
    /// The namespaces that pods must be in; `None`: labels of namespaces decide too.
    pub fn named_namespaces(&self) -> Option<&[String]> {
        (self.namespace_selector == Selector::nothing()).then_some(&self.namespaces)
    }
    pub fn matches_labels(&self, labels: &Labels) -> bool {
        self.selector.matches(labels)
    }
}

/// Pods, and the label of nodes within whose value they are near.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Term {
    pub pods: PodSelector,
    pub topology_key: String,
}

/// A pod's affinity to other pods.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Affinity {
    pub required: Vec<Term>,
    pub anti: Vec<Term>,
    /// With their weights, which are negative where the pod prefers to be apart.
    pub preferred: Vec<(i64, Term)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SpreadConstraint {
    pub max_skew: i64,
    pub topology_key: String,
    /// DoNotSchedule.
    pub hard: bool,
    pub pods: PodSelector,
    pub min_domains: usize,
    /// Nodes that the pod's node affinity excludes do not count.
    pub honors_affinity: bool,
    /// Nodes whose taints the pod does not tolerate do not count.
    pub honors_taints: bool,
}

impl Affinity {
    /// Of a pod in `namespace`.
    pub fn of(spec: &PodSpec, namespace: &str) -> Result<Self, SelectorError> {
        let Some(affinity) = &spec.affinity else { return Ok(Self::default()) };
        let read = |terms: Option<&Vec<PodAffinityTerm>>| {
            terms.into_iter().flatten().map(|t| Term::of(t, namespace)).collect::<Result<Vec<_>, _>>()
        };
        let (near, apart) = (affinity.pod_affinity.as_ref(), affinity.pod_anti_affinity.as_ref());
        let mut preferred = Vec::new();
        for (sign, terms) in [
            (1, near.and_then(|a| a.preferred_during_scheduling_ignored_during_execution.as_ref())),
            (-1, apart.and_then(|a| a.preferred_during_scheduling_ignored_during_execution.as_ref())),
        ] {
            for weighted in terms.into_iter().flatten() {
                preferred.push((sign * i64::from(weighted.weight), Term::of(&weighted.pod_affinity_term, namespace)?));
            }
        }
        Ok(Self {
            required: read(near.and_then(|a| a.required_during_scheduling_ignored_during_execution.as_ref()))?,
            anti: read(apart.and_then(|a| a.required_during_scheduling_ignored_during_execution.as_ref()))?,
            preferred,
        })
    }
    pub fn is_empty(&self) -> bool {
        self.required.is_empty() && self.anti.is_empty() && self.preferred.is_empty()
    }
}

impl Term {
    /// `matchLabelKeys` and `mismatchLabelKeys` are in the selector already: the apiserver puts them there.
    fn of(term: &PodAffinityTerm, namespace: &str) -> Result<Self, SelectorError> {
        let mut namespaces = term.namespaces.clone().unwrap_or_default();
        if namespaces.is_empty() && term.namespace_selector.is_none() {
            namespaces.push(namespace.into());
        }
        let of_namespaces = Selector::from_label_selector(term.namespace_selector.as_ref())?;
        let selector = Selector::from_label_selector(term.label_selector.as_ref())?;
        let pods = PodSelector::new(namespaces, of_namespaces, selector);
        Ok(Self { pods, topology_key: term.topology_key.clone() })
    }
}

impl SpreadConstraint {
    pub fn of(constraint: &TopologySpreadConstraint, namespace: &str) -> Result<Self, SelectorError> {
        let selector = Selector::from_label_selector(constraint.label_selector.as_ref())?;
        Ok(Self::with_selector(constraint, namespace, selector))
    }
    pub fn with_selector(constraint: &TopologySpreadConstraint, namespace: &str, selector: Selector) -> Self {
        let honors = |policy: &Option<String>, default: bool| policy.as_deref().map_or(default, |p| p == "Honor");
        Self {
            max_skew: constraint.max_skew.into(),
            topology_key: constraint.topology_key.clone(),
            hard: constraint.when_unsatisfiable == "DoNotSchedule",
            pods: PodSelector::within(namespace, selector),
            min_domains: constraint.min_domains.and_then(|n| usize::try_from(n).ok()).unwrap_or(1),
            honors_affinity: honors(&constraint.node_affinity_policy, true),
            honors_taints: honors(&constraint.node_taints_policy, false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn whose_pods_a_term_is_about() {
        let labels = |text: &str| Selector::parse(text).unwrap();
        let team: Labels = [("team".to_owned(), "a".to_owned())].into();
        let web: Labels = [("app".to_owned(), "web".to_owned())].into();
        let term = |more: serde_json::Value| {
            let mut term = json!({"topologyKey": "zone", "labelSelector": {"matchLabels": {"app": "web"}}});
            term.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            Term::of(&serde_json::from_value(term).unwrap(), "own").unwrap().pods
        };
        // why, term, of its own namespace, of the namespace `x` of the team
        let cases = [
            ("the pod's own namespace", term(json!({})), true, false),
            ("a named one instead", term(json!({"namespaces": ["x"]})), false, true),
            ("by their labels", term(json!({"namespaceSelector": {"matchLabels": {"team": "a"}}})), false, true),
            ("all", term(json!({"namespaceSelector": {}})), true, true),
            (
                "named ones and by labels",
                term(json!({"namespaces": ["own"], "namespaceSelector": {"matchLabels": {"team": "a"}}})),
                true,
                true,
            ),
            (
                "other pods",
                term(json!({"labelSelector": {"matchLabels": {"app": "db"}}, "namespaceSelector": {}})),
                false,
                false,
            ),
            ("no selector: no pods", term(json!({"labelSelector": null})), false, false),
        ];
        for (why, pods, own, x) in cases {
            assert_eq!(pods.matches("own", Some(&Labels::new()), &web), own, "{why}: own");
            assert_eq!(pods.matches("x", Some(&team), &web), x, "{why}: x");
        }
        let one = PodSelector::new(vec!["b".into(), "a".into()], Selector::nothing(), labels("a=1"));
        let same = PodSelector::new(vec!["a".into(), "b".into(), "a".into()], Selector::nothing(), labels("a=1"));
        assert_eq!(one, same);
        assert_ne!(one, PodSelector::new(vec!["a".into()], Selector::nothing(), labels("a=1")));
        assert_ne!(PodSelector::within("a", Selector::nothing()), PodSelector::within("a", Selector::everything()));
    }
}
