//! What is promised to pods that are being bound, before the cluster shows it: two pods never get one volume.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use corten_api::Key;

use super::matching::{ClaimRef, Plan};

/// Bounded by the pods that are being bound.
#[derive(Debug, Default)]
pub struct Assumed {
    plans: HashMap<Key, Arc<Plan>>,
    /// Whose each promised volume is, by how many pods' plans.
    volumes: HashMap<String, (ClaimRef, usize)>,
    by_claim: HashMap<ClaimRef, Promise>,
}

#[derive(Debug, Default)]
struct Promise {
    pods: usize,
    volumes: BTreeSet<String>,
    /// Its volume is made there.
    node: Option<String>,
}

impl Assumed {
    pub fn insert(&mut self, pod: &Key, plan: &Arc<Plan>) {
        self.remove(pod);
        for (claim, volume) in &plan.bindings {
            self.volumes.entry(volume.clone()).or_insert_with(|| (claim.clone(), 0)).1 += 1;
            let promise = self.by_claim.entry(claim.clone()).or_default();
            promise.pods += 1;
            promise.volumes.insert(volume.clone());
        }
        for claim in &plan.provisions {
            let promise = self.by_claim.entry(claim.clone()).or_default();
            promise.pods += 1;
            promise.node = Some(plan.node.clone());
        }
        self.plans.insert(pod.clone(), Arc::clone(plan));
    }

    /// Returns what was promised to the pod.
    pub fn remove(&mut self, pod: &Key) -> Option<Arc<Plan>> {
        let plan = self.plans.remove(pod)?;
        for (_, volume) in &plan.bindings {
            if let Some((_, pods)) = self.volumes.get_mut(volume) {
                *pods -= 1;
                if *pods == 0 {
                    self.volumes.remove(volume);
                }
            }
        }
        for claim in plan.claims() {
            if let Some(promise) = self.by_claim.get_mut(claim) {
                promise.pods -= 1;
                if promise.pods == 0 {
                    self.by_claim.remove(claim);
                }
            }
        }
        Some(plan)
    }

    /// Whose a volume is promised to be.
    pub fn claim_of(&self, volume: &str) -> Option<&ClaimRef> {
        self.volumes.get(volume).map(|(claim, _)| claim)
    }
    pub fn volumes_of(&self, claim: &ClaimRef) -> impl Iterator<Item = &String> {
        self.by_claim.get(claim).into_iter().flat_map(|promise| &promise.volumes)
    }
    /// The node that the claim's volume is made on.
    pub fn node_of(&self, claim: &ClaimRef) -> Option<&str> {
        self.by_claim.get(claim)?.node.as_deref()
    }
}
