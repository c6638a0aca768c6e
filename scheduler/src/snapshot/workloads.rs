//! What says which pods belong together: Services and the controllers of pods. Pods without constraints of their own are
//! spread by it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use corten_api::Key;
use corten_api::selector::{Labels, Requirement, Selector};

use crate::pod::PodClass;
use crate::pod::class::ControllerRef;

/// Selectors of classes that are kept; beyond it all are found anew.
const KNOWN_MAX: usize = 4096;

#[derive(Debug, Default)]
pub struct Workloads {
    /// By namespace, then by name. Names keep the order of a merged selector the same on every run.
    services: HashMap<String, BTreeMap<String, Labels>>,
    controllers: HashMap<(ControllerRef, String), Selector>,
    known: HashMap<Arc<PodClass>, Selector>,
}

impl Workloads {
    /// Takes in a Service as it is now; without a selector it chooses no pods.
    pub fn set_service(&mut self, key: &Key, selector: Option<Labels>) {
        self.known.clear();
        let of_namespace = self.services.entry(key.namespace.clone()).or_default();
        match selector {
            Some(selector) => drop(of_namespace.insert(key.name.clone(), selector)),
            None => drop(of_namespace.remove(&key.name)),
        }
        if of_namespace.is_empty() {
            self.services.remove(&key.namespace);
        }
    }

    /// Takes in a ReplicaSet, StatefulSet or ReplicationController, or that it is gone.
    pub fn set_controller(&mut self, kind: &str, key: &Key, selector: Option<Selector>) {
        self.known.clear();
        let at = (ControllerRef { kind: kind.into(), name: key.name.clone() }, key.namespace.clone());
        match selector {
            Some(selector) => drop(self.controllers.insert(at, selector)),
            None => drop(self.controllers.remove(&at)),
        }
    }

    /// Finds out which pods belong together with those of a class, for [`Self::siblings`].
    pub fn learn(&mut self, class: &Arc<PodClass>) {
        if self.known.contains_key(class) {
            return;
        }
        if self.known.len() >= KNOWN_MAX {
            self.known.clear();
        }
        let selector = self.find(class);
        self.known.insert(Arc::clone(class), selector);
    }

    /// The pods that belong together with those of a class that was learnt; everything: nobody says.
    pub fn siblings(&self, class: &PodClass) -> Option<&Selector> {
        self.known.get(class).filter(|selector| !selector.is_everything())
    }

    fn find(&self, class: &PodClass) -> Selector {
        let mut labels = Labels::new();
        let services = self.services.get(&class.namespace).into_iter().flat_map(BTreeMap::values);
        for selector in services.filter(|s| s.iter().all(|(k, v)| class.labels.get(k) == Some(v))) {
            labels.extend(selector.clone());
        }
        let mut requirements: Vec<Requirement> = Vec::new();
        if !labels.is_empty() {
            requirements.extend_from_slice(Selector::from_labels(Some(&labels)).requirements());
        }
        let controller = class.controller.clone().and_then(|c| self.controllers.get(&(c, class.namespace.clone())));
        requirements.extend(controller.into_iter().flat_map(|s| s.requirements().iter().cloned()));
        Selector::new(requirements)
    }
}
