//! What is asked of this node when a pod comes to it: its labels, its taints, what it has to give.

use std::collections::BTreeMap;

use corten_api::node::HOSTNAME_LABEL;
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
    /// By the newest Node, if one has come.
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
            allocatable: allocatable.clone(),
            allowed_unsafe_sysctls: unsafe_sysctls.to_vec(),
        }
    }

    /// A label's value. The hostname's is the node's name until the Node says otherwise.
    pub fn label(&self, key: &str) -> Option<&str> {
        let by_name = || (key == HOSTNAME_LABEL).then_some(self.name.as_str());
        self.labels.get(key).map(String::as_str).or_else(by_name)
    }
}
