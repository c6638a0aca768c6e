//! Pods that look alike share a class: all that a decision depends on, but who a pod is and where. Pods of one template
//! have one, so what is found out for one pod is known for all.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::Arc;

use corten_api::selector::Labels;
use corten_api::{Key, Object};
use k8s_openapi::api::core::v1::{Pod, PodSpec};
use parking_lot::Mutex;

use super::ask::Ask;
use super::claims;
use super::terms::{Affinity, SpreadConstraint};

/// Classes that nobody has are looked for when there are twice as many as after the last look, and at least this many.
const SWEEP_MIN: usize = 1024;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodClass {
    pub namespace: String,
    pub labels: Labels,
    pub priority: i32,
    /// `spec.schedulerName`: whose it is to place.
    pub scheduler: String,
    /// `preemptionPolicy: Never`.
    pub never_preempts: bool,
    /// Not to be scheduled before these are gone.
    pub gates: Vec<String>,
    pub controller: Option<ControllerRef>,
    pub ask: Arc<Ask>,
    pub affinity: Affinity,
    /// As its owner gave them; none: the profile's defaults.
    pub spread: Vec<SpreadConstraint>,
    /// The names of its volumes' claims.
    pub claims: Vec<String>,
    /// What it demands that this scheduler cannot see to; it waits while there is any.
    pub unserved: Vec<String>,
}

/// Whose pods are spread together, besides those of a Service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ControllerRef {
    pub kind: String,
    pub name: String,
}

impl Hash for PodClass {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        (&self.namespace, &self.labels, self.priority, &self.controller).hash(state);
        (&self.ask.requests, self.affinity.required.len(), self.affinity.anti.len(), self.spread.len()).hash(state);
    }
}

impl PodClass {
    fn of(pod: &Pod, spec: &PodSpec) -> Self {
        let mut unserved = crate::unserved::demands(spec);
        let affinity = Affinity::of(spec, pod.namespace());
        let constraints = spec.topology_spread_constraints.iter().flatten();
        let spread = constraints.map(|c| SpreadConstraint::of(c, pod.namespace())).collect::<Result<Vec<_>, _>>();
        // The apiserver refuses such selectors: what does not mean anything to us must not be placed by chance.
        unserved.extend(affinity.as_ref().err().map(|err| format!("invalid pod affinity: {err}")));
        unserved.extend(spread.as_ref().err().map(|err| format!("invalid topology spread constraint: {err}")));
        Self {
            namespace: pod.namespace().into(),
            labels: pod.metadata.labels.clone().unwrap_or_default(),
            priority: spec.priority.unwrap_or(0),
            scheduler: spec.scheduler_name.clone().unwrap_or_else(|| "default-scheduler".into()),
            never_preempts: spec.preemption_policy.as_deref() == Some("Never"),
            gates: spec.scheduling_gates.iter().flatten().map(|gate| gate.name.clone()).collect(),
            controller: pod.controller().map(|o| ControllerRef { kind: o.kind.clone(), name: o.name.clone() }),
            ask: Arc::new(Ask::of(pod, spec)),
            affinity: affinity.unwrap_or_default(),
            spread: spread.unwrap_or_default(),
            claims: claims::of(pod, spec),
            unserved,
        }
    }
}

impl PodClass {
    /// The claims of its volumes, each once.
    pub fn claim_keys(&self) -> impl Iterator<Item = Key> {
        let each = self.claims.iter().enumerate().filter(|(at, name)| !self.claims[..*at].contains(name));
        each.map(|(_, name)| Key::new(&self.namespace, name))
    }
}

/// Interns classes. Cheap to clone; all clones are one.
#[derive(Clone, Debug, Default)]
pub struct Classes(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table {
    classes: HashSet<Arc<PodClass>>,
    /// Pods whose labels differ (a StatefulSet's) still ask the same of nodes.
    asks: HashSet<Arc<Ask>>,
    sweep_at: usize,
}

impl Classes {
    pub fn class_of(&self, pod: &Pod) -> Arc<PodClass> {
        let class = match &pod.spec {
            Some(spec) => PodClass::of(pod, spec),
            None => PodClass::of(pod, &PodSpec::default()),
        };
        self.intern(class)
    }

    pub fn intern(&self, mut class: PodClass) -> Arc<PodClass> {
        let mut table = self.0.lock();
        if let Some(known) = table.classes.get(&class) {
            return Arc::clone(known);
        }
        class.ask = table.asks.get(&class.ask).cloned().unwrap_or(class.ask);
        let class = Arc::new(class);
        table.asks.insert(Arc::clone(&class.ask));
        table.classes.insert(Arc::clone(&class));
        table.sweep();
        class
    }

    pub fn len(&self) -> usize {
        self.0.lock().classes.len()
    }
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Table {
    fn sweep(&mut self) {
        if self.classes.len() < self.sweep_at.max(SWEEP_MIN) {
            return;
        }
        self.classes.retain(|class| Arc::strong_count(class) > 1);
        self.asks.retain(|ask| Arc::strong_count(ask) > 1);
        self.sweep_at = 2 * self.classes.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(name: &str, spec: serde_json::Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": name, "namespace": "ns", "labels": {"app": "a"},
            "ownerReferences": [{"uid": "u", "controller": true, "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "rs"}]},
            "spec": spec}))
        .unwrap()
    }

    #[test]
    fn pods_of_one_template_have_one_class() {
        let classes = Classes::default();
        let spec = |cpu: &str| json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]});
        let (a, b) = (classes.class_of(&pod("a", spec("1"))), classes.class_of(&pod("b", spec("1"))));
        assert!(Arc::ptr_eq(&a, &b));
        let other = classes.class_of(&pod("c", spec("2")));
        assert_ne!(a, other);
        let mut labelled = pod("d", spec("1"));
        labelled.metadata.labels.get_or_insert_default().insert("x".into(), "y".into());
        let labelled = classes.class_of(&labelled);
        assert_ne!(a, labelled);
        assert!(Arc::ptr_eq(&a.ask, &labelled.ask), "it asks the same of nodes");
        assert_eq!(classes.len(), 3);
    }

    #[test]
    fn a_class_says_what_its_pods_want() {
        let classes = Classes::default();
        let gated = classes.class_of(&pod(
            "a",
            json!({"containers": [], "schedulerName": "me", "priority": 7,
            "preemptionPolicy": "Never", "schedulingGates": [{"name": "g"}]}),
        ));
        assert_eq!((gated.scheduler.as_str(), gated.priority, gated.never_preempts), ("me", 7, true));
        assert_eq!((gated.gates.as_slice(), gated.labels.len()), (&["g".to_owned()][..], 1));
        assert_eq!(gated.controller, Some(ControllerRef { kind: "ReplicaSet".into(), name: "rs".into() }));
        let plain = classes.class_of(&pod("b", json!({"containers": [], "schedulingGates": []})));
        assert_eq!((plain.scheduler.as_str(), plain.priority, plain.gates.len()), ("default-scheduler", 0, 0));
        let bad = json!({"matchExpressions": [{"key": "a", "operator": "Like"}]});
        let spread =
            json!([{"maxSkew": 1, "topologyKey": "z", "whenUnsatisfiable": "DoNotSchedule", "labelSelector": bad}]);
        let unclear = classes.class_of(&pod("c", json!({"containers": [], "topologySpreadConstraints": spread})));
        assert_eq!(
            unclear.unserved,
            ["invalid topology spread constraint: \"Like\" is not a valid label selector operator"]
        );
    }

    #[test]
    fn classes_that_nobody_has_go() {
        let classes = Classes::default();
        let class = |n: usize| PodClass { namespace: format!("ns{n}"), ..PodClass::default() };
        let kept = classes.intern(class(0));
        (1..3 * SWEEP_MIN).for_each(|n| drop(classes.intern(class(n))));
        assert!(classes.len() <= SWEEP_MIN + 1, "{}", classes.len());
        assert!(Arc::ptr_eq(&kept, &classes.intern(class(0))));
    }
}
