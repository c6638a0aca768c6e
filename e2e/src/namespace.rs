//! A namespace of a story's own, deleted with it.

use std::ops::Deref;

use rand::RngExt;

use crate::cluster::Cluster;
use crate::kubectl::Kubectl;
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
            kubectl.json(&["serviceaccount", "default"]).map(drop).ok_or_else(|| "none".into())
        });
        Self { name, kubectl, cluster_wide }
    }

    /// Runs a container of an image with a shell command until the namespace goes; waits until it is Ready.
    #[track_caller]
    pub fn run_pod(&self, name: &str, image: &str, command: &str) {
        let manifest = serde_json::json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}},
            "spec": {
                "terminationGracePeriodSeconds": 0,
                "containers": [{"name": "main", "image": image, "imagePullPolicy": "IfNotPresent",
                    "command": ["sh", "-c", command]}],
            },
        });
        self.apply(&manifest.to_string());
        self.pod_is_ready(name);
    }

    #[track_caller]
    pub fn pod_is_ready(&self, name: &str) {
        eventually(&format!("pod {name} to be Ready"), SOON, || {
            let pod = self.json(&["pod", name]).ok_or("no such pod")?;
            let ready = pod["status"]["conditions"]
                .as_array()
                .is_some_and(|list| list.iter().any(|c| c["type"] == "Ready" && c["status"] == "True"));
            if ready {
                Ok(())
            } else {
                Err(format!("{} {}", pod["status"]["phase"], pod["status"]["containerStatuses"]))
            }
        });
    }

    /// Runs a shell command in a pod; its output, whether it failed or not.
    #[track_caller]
    pub fn sh(&self, pod: &str, command: &str) -> crate::Output {
        self.run(&["exec", pod, "--", "sh", "-c", command])
    }

    /// Waits until a shell command in a pod prints what `wanted` accepts.
    #[track_caller]
    pub fn sh_until(&self, pod: &str, command: &str, wanted: impl Fn(&str) -> bool) -> String {
        eventually(&format!("`{command}` in {pod}"), SOON, || {
            let output = self.sh(pod, command);
            if output.ok && wanted(&output.stdout) { Ok(output.stdout) } else { Err(format!("{output:?}")) }
        })
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
        self.cluster_wide.run(&["delete", "namespace", &self.name, "--wait=false"]);
    }
}
