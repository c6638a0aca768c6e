//! A node whose machine answers nobody any more, as one that lost its power.

use crate::cluster::Cluster;

/// Nothing comes to the node or from it until this is dropped. Its processes go on, and do not know.
#[derive(Debug)]
pub struct Dead<'a> {
    cluster: &'a Cluster,
    node: &'a str,
}

impl<'a> Dead<'a> {
    #[track_caller]
    pub fn from_now(cluster: &'a Cluster, node: &'a str) -> Self {
        let hooks = ["input", "output", "forward"];
        let chain =
            |hook: &str| format!("add chain ip story {hook} {{ type filter hook {hook} priority -400; policy drop; }}");
        let rules: Vec<String> = hooks.iter().map(|hook| chain(hook)).collect();
        cluster.node_sh(node, &format!("nft 'add table ip story; {}'", rules.join("; ")));
        Self { cluster, node }
    }
}

impl Drop for Dead<'_> {
    fn drop(&mut self) {
        self.cluster.try_node_sh(self.node, "nft delete table ip story");
    }
}
