//! What `cortenadm` can do, as a library: a cluster's certificates (`pki`) and kubeconfig files (`kubeconfig`).
pub mod kubeconfig;
pub mod pki;
