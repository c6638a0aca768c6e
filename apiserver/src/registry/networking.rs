//! The kinds of networking.k8s.io: what leads into the cluster, what may talk to what, where addresses of Services are from.

pub mod ingress;
pub mod ingressclass;
pub mod ipaddress;
pub mod networkpolicy;
pub mod servicecidr;
