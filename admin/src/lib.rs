//! What `cortenadm` can do, as a library: a cluster's certificates (`pki`) and kubeconfig files (`kubeconfig`), and what runs
//! on its machines (`topology`).
pub mod kubeconfig;
pub mod pki;
pub mod topology;
