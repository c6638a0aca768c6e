//! What is known of the cluster, joined by name: Services with their slices, nodes, and this node's host ports. Written by the
//! watches, read by rules and DNS.

use std::collections::{BTreeMap, BTreeSet, HashMap};
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
    /// Services by their cluster addresses.
    cluster_ips: HashMap<Ipv4Addr, BTreeSet<Key>>,
    /// Slices of headless Services by the addresses in them: only these have names.
    headless_ends: HashMap<Ipv4Addr, Vec<Arc<Slice>>>,
    nodes: BTreeMap<String, Arc<Node>>,
    pods: BTreeMap<Key, Arc<PodPorts>>,
}

impl Directory {
    pub fn set_service(&mut self, service: Arc<Service>) {
        let key = service.key.clone();
        self.remove_service(&key);
        for address in &service.cluster_ips {
            self.cluster_ips.entry(*address).or_default().insert(key.clone());
        }
        let headless = service.headless;
        self.services.insert(key.clone(), service);
        if headless {
            self.slices_filed(&key).iter().for_each(|slice| self.index(slice));
        }
    }
    pub fn remove_service(&mut self, key: &Key) {
        let Some(old) = self.services.remove(key) else { return };
        for address in &old.cluster_ips {
            if let Some(keys) = self.cluster_ips.get_mut(address) {
                keys.remove(key);
                if keys.is_empty() {
                    self.cluster_ips.remove(address);
                }
            }
        }
        if old.headless {
            self.slices_filed(key).iter().for_each(|slice| self.unindex(slice));
        }
    }
    fn slices_filed(&self, service: &Key) -> Vec<Arc<Slice>> {
        self.slices.get(service).into_iter().flat_map(|s| s.values().cloned()).collect()
    }
    fn is_headless(&self, service: &Key) -> bool {
        self.services.get(service).is_some_and(|s| s.headless)
    }
    fn index(&mut self, slice: &Arc<Slice>) {
        for end in &slice.endpoints {
            let slices = self.headless_ends.entry(end.address).or_default();
            if !slices.iter().any(|s| Arc::ptr_eq(s, slice)) {
                slices.push(Arc::clone(slice));
            }
        }
    }
    fn unindex(&mut self, slice: &Arc<Slice>) {
        for end in &slice.endpoints {
            if let Some(slices) = self.headless_ends.get_mut(&end.address) {
                slices.retain(|s| !Arc::ptr_eq(s, slice));
                if slices.is_empty() {
                    self.headless_ends.remove(&end.address);
                }
            }
        }
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
                let old = filed.remove(key);
                if filed.is_empty() {
                    self.slices.remove(&service);
                }
                old.iter().for_each(|slice| self.unindex(slice));
            }
            concerned.push(service);
        }
        if let Some(slice) = slice {
            if !concerned.contains(&slice.service) {
                concerned.push(slice.service.clone());
            }
            if self.is_headless(&slice.service) {
                self.index(&slice);
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
        self.cluster_ips.get(&address).and_then(BTreeSet::first).and_then(|key| self.services.get(key))
    }
    /// Headless Services that an address is an end of, with its hostname there.
    pub fn by_endpoint(&self, address: Ipv4Addr) -> BTreeSet<(&Key, Option<&str>)> {
        let slices = self.headless_ends.get(&address).into_iter().flatten();
        let named = slices.flat_map(|slice| slice.endpoints.iter().map(move |end| (&slice.service, end)));
        let ready = named.filter(|(_, end)| end.address == address && end.ready);
        ready.map(|(service, end)| (service, end.hostname.as_deref())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::Endpoint;

    const NAMES: [&str; 3] = ["a", "b", "c"];

    fn address(n: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 244, 1, n)
    }
    fn slice(name: &str, service: &str, ends: &[u8]) -> Arc<Slice> {
        let end = |n: &u8| Endpoint {
            address: address(*n),
            ready: !n.is_multiple_of(5),
            serving: true,
            terminating: false,
            local: false,
            hostname: n.is_multiple_of(2).then(|| format!("h{n}")),
            hints: crate::view::Hints::default(),
        };
        let (key, service) = (Key::new("n", name), Key::new("n", service));
        Arc::new(Slice { key, service, ports: Vec::new(), endpoints: ends.iter().map(end).collect() })
    }
    fn service(name: &str, headless: bool, ip: u8) -> Arc<Service> {
        let cluster_ips = if headless { Vec::new() } else { vec![Ipv4Addr::new(10, 96, 0, ip)] };
        Arc::new(Service { key: Key::new("n", name), headless, cluster_ips, ..Service::default() })
    }

    impl Directory {
        /// As [`by_endpoint`](Self::by_endpoint), by looking at everything.
        fn by_endpoint_slowly(&self, address: Ipv4Addr) -> BTreeSet<(&Key, Option<&str>)> {
            let headless = self.slices.iter().filter(|(service, _)| self.is_headless(service));
            let ends =
                headless.flat_map(|(k, s)| s.values().flat_map(move |s| s.endpoints.iter().map(move |e| (k, e))));
            let named = ends.filter(|(_, e)| e.address == address && e.ready);
            named.map(|(k, e)| (k, e.hostname.as_deref())).collect()
        }
    }

    #[test]
    fn the_reverse_index_says_what_a_look_at_everything_says_whatever_came_and_went() {
        corten_fuzz::run("reverse_index", |random| {
            let mut directory = Directory::default();
            for _ in 0..40 {
                let name = NAMES[random.below(3)];
                match random.below(5) {
                    0 => directory.set_service(service(name, random.one_in(2), random.below(4) as u8)),
                    1 => directory.remove_service(&Key::new("n", name)),
                    2 => drop(directory.set_slice(&Key::new("n", name), None)),
                    _ => {
                        let ends: Vec<u8> = (0..random.below(4)).map(|_| random.below(8) as u8).collect();
                        let slice = slice(name, NAMES[random.below(3)], &ends);
                        directory.set_slice(&slice.key.clone(), Some(slice));
                    }
                }
            }
            for n in 0..8 {
                assert_eq!(directory.by_endpoint(address(n)), directory.by_endpoint_slowly(address(n)));
                let ip = Ipv4Addr::new(10, 96, 0, n);
                let slow = directory.services.values().find(|s| s.cluster_ips.contains(&ip));
                assert_eq!(directory.by_cluster_ip(ip), slow);
            }
        });
    }
}
