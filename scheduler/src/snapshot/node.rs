//! One node as the scheduler sees it: what it is, what it has, what is taken of it.

use std::sync::Arc;

use corten_api::selector::Labels;
use k8s_openapi::api::core::v1::Taint;

use super::images::ImageId;
use crate::pod::{Ask, HostPort};

/// The columns that every node has; extended resources follow as they are met.
pub const CPU: usize = 0;
pub const MEMORY: usize = 1;
pub const PODS: usize = 2;

/// A node's place in every list by node. It is given again when the node is gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub u32);

impl NodeId {
    pub fn at(self) -> usize {
        self.0 as usize
    }
}

/// A pod's place in the list of placed pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PodId(pub u32);

/// What the Node object says. Replaced as a whole when it changes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NodeSpec {
    pub name: String,
    pub labels: Labels,
    pub taints: Vec<Taint>,
    pub unschedulable: bool,
    /// By column; a column beyond the end is 0.
    pub allocatable: Vec<i64>,
    /// The images that it has, in order, with their sizes in bytes.
    pub images: Vec<(ImageId, i64)>,
}

impl NodeSpec {
    pub fn allocatable(&self, column: usize) -> i64 {
        self.allocatable.get(column).copied().unwrap_or(0)
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct NodeInfo {
    pub id: NodeId,
    pub spec: Arc<NodeSpec>,
    /// False while the Node object is unknown but pods that name it are.
    pub known: bool,
    /// By column, as `allocatable`.
    pub taken: Vec<i64>,
    /// cpu and memory as scoring counts them: with defaults for containers that ask for nothing.
    pub non_zero: [i64; 2],
    pub host_ports: Vec<HostPort>,
    pub pods: Vec<PodId>,
}

impl NodeInfo {
    pub(super) fn empty(id: NodeId, name: &str) -> Self {
        let spec = NodeSpec { name: name.into(), ..NodeSpec::default() };
        Self {
            id,
            spec: Arc::new(spec),
            known: false,
            taken: Vec::new(),
            non_zero: [0; 2],
            host_ports: Vec::new(),
            pods: Vec::new(),
        }
    }
    pub fn name(&self) -> &str {
        &self.spec.name
    }
    pub fn taken(&self, column: usize) -> i64 {
        self.taken.get(column).copied().unwrap_or(0)
    }
    pub fn free(&self, column: usize) -> i64 {
        self.spec.allocatable(column).saturating_sub(self.taken(column))
    }

    /// Counts a pod that takes these amounts, by column.
    pub fn add(&mut self, pod: PodId, ask: &Ask, amounts: &[(usize, i64)]) {
        self.pods.push(pod);
        self.take(ask, amounts, 1);
        self.host_ports.extend(ask.host_ports.iter().cloned());
    }

    /// As `add`, for a pod that is only thought of as being here.
    pub fn imagine(&mut self, ask: &Ask, amounts: &[(usize, i64)]) {
        self.take(ask, amounts, 1);
        self.host_ports.extend(ask.host_ports.iter().cloned());
    }

    /// Takes a counted pod away again.
    pub fn remove(&mut self, pod: PodId, ask: &Ask, amounts: &[(usize, i64)]) {
        if let Some(at) = self.pods.iter().position(|id| *id == pod) {
            self.pods.swap_remove(at);
        }
        self.take(ask, amounts, -1);
        for port in &ask.host_ports {
            if let Some(at) = self.host_ports.iter().position(|p| p == port) {
                self.host_ports.swap_remove(at);
            }
        }
    }

    fn take(&mut self, ask: &Ask, amounts: &[(usize, i64)], sign: i64) {
        for (column, amount) in amounts {
            self.taken.resize(self.taken.len().max(column + 1), 0);
            self.taken[*column] += sign * amount;
        }
        for (all, amount) in self.non_zero.iter_mut().zip(ask.non_zero) {
            *all += sign * amount;
        }
    }
}
