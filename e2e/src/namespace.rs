//! A namespace of a story's own, deleted with it.

use std::ops::Deref;

use rand::RngExt;

use crate::cluster::Cluster;
use crate::kubectl::Kubectl;
use crate::manifest::{container, pod};
use crate::wait::{SOON, eventually};

/// kubectl in a fresh namespace.
#[derive(Debug)]
pub struct Namespace {
    pub name: String,
    kubectl: Kubectl,
    cluster_wide: Kubectl,
}

impl Namespace {
    #[track_caller]
    pub(crate) fn new(cluster: &Cluster, story: &str) -> Self {
        let name = format!("{story}-{:05x}", rand::rng().random_range(0..0x10_0000));
        let cluster_wide = cluster.kubectl();
        cluster_wide.apply(&format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n"));
        let kubectl = cluster_wide.in_namespace(&name);
        // Pods are refused until their service account is there.
        eventually("the default service account", SOON, || {
            kubectl.json("serviceaccount default").map(drop).ok_or_else(|| "none".into())
        });
        Self { name, kubectl, cluster_wide }
    }

    /// Runs a container of an image with a shell command until the namespace goes; waits until it is Ready.
    #[track_caller]
    pub fn run_pod(&self, name: &str, image: &str, command: &str) {
        let mut main = container(command);
        main["image"] = image.into();
        self.apply(&pod(name, &serde_json::json!({"containers": [main]})));
        self.pod_is_ready(name);
    }
}

impl Deref for Namespace {
    type Target = Kubectl;
    fn deref(&self) -> &Kubectl {
        &self.kubectl
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // Not waited for: the stories about deletion do that, and a failed story must show its own failure.
        self.cluster_wide.attempt(&format!("delete namespace {} --wait=false", self.name));
    }
}
