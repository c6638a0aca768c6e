//! Volumes that are directories of a node: what their provisioner, the node's kubelet and the apiserver must agree on.

/// The provisioner's name.
pub const LOCAL_DIRECTORY: &str = "corten.io/local-directory";
/// On a volume: who has made it.
pub const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";
/// On a volume: the name of the node whose directory it is.
pub const ON_NODE: &str = "corten.io/node";
/// On a volume while there is a directory of it. Its node's kubelet puts it on before it makes one that can be written to, and
/// takes it off after it has removed it.
pub const DIRECTORY_FINALIZER: &str = "corten.io/local-directory";
/// Where the directories are, on each node; each has its volume's name.
pub const DIRECTORIES: &str = "/var/lib/corten/volumes";
