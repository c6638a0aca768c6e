//! What is asked of this node when a pod comes to it: its labels, its taints, what it has to give.

use std::collections::BTreeMap;

use corten_api::node::HOSTNAME_LABEL;
use corten_api::pod::amounts;
use corten_api::resource_names::is_extended;
use k8s_openapi::api::core::v1::{Node, Taint};

use crate::sysctls::Pattern;

#[derive(Clone, Debug, Default)]
pub struct NodeFacts {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub taints: Vec<Taint>,
    /// cpu in thousandths, all else in whole units.
    pub allocatable: BTreeMap<String, i64>,
    pub allowed_unsafe_sysctls: Vec<Pattern>,
}

impl NodeFacts {
    /// By the newest Node, if one has come. What this node has is this program's to say, and extended resources are others'.
    pub fn of(
        node: Option<&Node>,
        name: &str,
        allocatable: &BTreeMap<String, i64>,
        unsafe_sysctls: &[Pattern],
    ) -> Self {
        Self {
            name: name.to_owned(),
            labels: node.and_then(|n| n.metadata.labels.clone()).unwrap_or_default(),
            taints: node.map(|n| corten_api::node::taints(n).to_vec()).unwrap_or_default(),
            allocatable: allocatable.clone().into_iter().chain(extended(node)).collect(),
            allowed_unsafe_sysctls: unsafe_sysctls.to_vec(),
        }
    }

    /// Whether others have told of such a resource. What a pod wants of one that is not told of, who placed it has counted.
    pub fn counts(&self, resource: &str) -> bool {
        !is_extended(resource) || self.allocatable.contains_key(resource)
    }

    /// A label's value. The hostname's is the node's name until the Node says otherwise.
    pub fn label(&self, key: &str) -> Option<&str> {
        let by_name = || (key == HOSTNAME_LABEL).then_some(self.name.as_str());
        self.labels.get(key).map(String::as_str).or_else(by_name)
    }
}

/// What others have told the Node to have, in whole units.
fn extended(node: Option<&Node>) -> impl Iterator<Item = (String, i64)> {
    let allocatable = node.and_then(|node| node.status.as_ref()?.allocatable.as_ref());
    amounts(allocatable).into_iter().filter(|(name, _)| is_extended(name))
}
