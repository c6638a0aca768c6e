//! Static pods: a file on a node is a pod, and the API shows it.

use corten_e2e::manifest::{container, pod};
use corten_e2e::{Cluster, SOON, eventually};
use serde_json::{Value, json};

/// A manifest in a node's directory for static pods, gone with the story.
struct ManifestFile<'a> {
    cluster: &'a Cluster,
    node: &'a str,
    path: String,
}

impl<'a> ManifestFile<'a> {
    fn place(cluster: &'a Cluster, node: &'a str, name: &str, manifest: &str) -> Self {
        let path = format!("/etc/corten/manifests/{name}.json");
        cluster.node_sh(node, &format!("cat > {path} <<'EOF'\n{manifest}\nEOF"));
        Self { cluster, node, path }
    }
    fn remove(&self) {
        self.cluster.node_sh(self.node, &format!("rm -f {}", self.path));
    }
}

impl Drop for ManifestFile<'_> {
    fn drop(&mut self) {
        // Not `remove`: a story that fails must show its own failure.
        self.cluster.try_node_sh(self.node, &format!("rm -f {}", self.path));
    }
}

#[test]
fn a_file_on_a_node_is_a_pod_that_only_the_file_can_end() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("static");
    let node = cluster.workers().remove(0).name;
    let spec = json!({"containers": [container("echo started; exec sleep 3600")]});
    let mut manifest: Value = serde_json::from_str(&pod("kept", &spec)).unwrap_or_default();
    manifest["metadata"]["namespace"] = ns.name.as_str().into();
    let file = ManifestFile::place(&cluster, &node, &ns.name, &manifest.to_string());

    let name = format!("kept-{node}");
    let what = format!("pod {name}");
    eventually("the mirror pod", SOON, || ns.json(&what).map(drop).ok_or_else(|| "none".into()));
    ns.pod_is_ready(&name);
    ns.shows(&format!("get {what} -o yaml"), "kubernetes.io/config.mirror");
    assert_eq!(ns.field(&what, "/metadata/ownerReferences/0/kind"), "Node");
    assert_eq!(ns.field(&what, "/metadata/ownerReferences/0/name"), node);
    assert_eq!(ns.ok(&format!("logs {name}")), "started\n");
    assert_eq!(ns.sh(&name, "hostname").text().trim(), name);
    let container = ns.field(&what, "/status/containerStatuses/0/containerID");

    // Deleting what the API shows does not touch the pod: the mirror comes back, with the same container.
    let mirror = ns.field(&what, "/metadata/uid");
    ns.ok(&format!("delete {what} --wait=false"));
    eventually("another mirror of the same container", SOON, || {
        let (uid, now) = (ns.field(&what, "/metadata/uid"), ns.field(&what, "/status/containerStatuses/0/containerID"));
        if !uid.is_empty() && uid != mirror && now == container { Ok(()) } else { Err(format!("{uid} {now}")) }
    });

    file.remove();
    eventually("the pod to be gone with its file", SOON, || match ns.json(&what) {
        None => Ok(()),
        Some(pod) => Err(pod["status"].to_string()),
    });
}
