//! What is known of the cluster, joined by name: Services with their slices, nodes, and this node's host ports. Written by the
//! watches, read by rules and DNS.

use std::collections::{BTreeMap, HashMap};
use std::net::Ipv4Addr;
use std::sync::Arc;

use corten_api::Key;

use crate::view::{Node, PodPorts, Service, Slice};

#[derive(Debug, Default)]
pub struct Directory {
    services: BTreeMap<Key, Arc<Service>>,
    /// By Service, then by the slice's own key.
    slices: HashMap<Key, BTreeMap<Key, Arc<Slice>>>,
    /// Which Service a slice was last filed under: its label may change.
    filed: HashMap<Key, Key>,
    nodes: BTreeMap<String, Arc<Node>>,
    pods: BTreeMap<Key, Arc<PodPorts>>,
}

impl Directory {
    pub fn set_service(&mut self, service: Arc<Service>) {
        self.services.insert(service.key.clone(), service);
    }
    pub fn remove_service(&mut self, key: &Key) {
        self.services.remove(key);
    }
    /// Files a slice, or takes it out. Returns the Services that this concerns.
    pub fn set_slice(&mut self, key: &Key, slice: Option<Arc<Slice>>) -> Vec<Key> {
        let before = match &slice {
            Some(slice) => self.filed.insert(key.clone(), slice.service.clone()),
            None => self.filed.remove(key),
        };
        let mut concerned = Vec::new();
        if let Some(service) = before {
            if let Some(filed) = self.slices.get_mut(&service) {
                filed.remove(key);
                if filed.is_empty() {
                    self.slices.remove(&service);
                }
            }
            concerned.push(service);
        }
        if let Some(slice) = slice {
            if !concerned.contains(&slice.service) {
                concerned.push(slice.service.clone());
            }
            self.slices.entry(slice.service.clone()).or_default().insert(key.clone(), slice);
        }
        concerned
    }
    pub fn set_node(&mut self, node: Arc<Node>) {
        self.nodes.insert(node.name.clone(), node);
    }
    pub fn remove_node(&mut self, name: &str) {
        self.nodes.remove(name);
    }
    /// `None` for a pod without host ports.
    pub fn set_pod(&mut self, key: &Key, pod: Option<Arc<PodPorts>>) {
        match pod {
            Some(pod) => drop(self.pods.insert(key.clone(), pod)),
            None => drop(self.pods.remove(key)),
        }
    }

    pub fn service(&self, key: &Key) -> Option<&Arc<Service>> {
        self.services.get(key)
    }
    pub fn services(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.services.values()
    }
    pub fn has_namespace(&self, namespace: &str) -> bool {
        self.services.range(Key::new(namespace, "")..).next().is_some_and(|(key, _)| key.namespace == namespace)
    }
    pub fn slices_of(&self, service: &Key) -> Vec<&Slice> {
        self.slices.get(service).into_iter().flat_map(|s| s.values()).map(Arc::as_ref).collect()
    }
    pub fn nodes(&self) -> impl Iterator<Item = &Arc<Node>> {
        self.nodes.values()
    }
    pub fn node(&self, name: &str) -> Option<&Arc<Node>> {
        self.nodes.get(name)
    }
    pub fn pod(&self, key: &Key) -> Option<&Arc<PodPorts>> {
        self.pods.get(key)
    }
    pub fn pods(&self) -> impl Iterator<Item = &Arc<PodPorts>> {
        self.pods.values()
    }
    /// The Service with this cluster address.
    pub fn by_cluster_ip(&self, address: Ipv4Addr) -> Option<&Arc<Service>> {
        self.services.values().find(|s| s.cluster_ips.contains(&address))
    }
    /// Headless Services that an address is an end of, with its hostname there.
    pub fn by_endpoint(&self, address: Ipv4Addr) -> Vec<(&Key, Option<&str>)> {
        let mut found = Vec::new();
        for (service, slices) in &self.slices {
            if !self.services.get(service).is_some_and(|s| s.headless) {
                continue;
            }
            let ends = slices.values().flat_map(|s| &s.endpoints);
            found.extend(ends.filter(|e| e.address == address && e.ready).map(|e| (service, e.hostname.as_deref())));
        }
        found.sort();
        found.dedup();
        found
    }
}
