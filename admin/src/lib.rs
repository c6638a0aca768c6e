//! What `cortenadm` can do, as a library: a cluster's settings (`config`), certificates (`pki`) and kubeconfig files
//! (`kubeconfig`), and what runs on its machines (`topology`).
pub mod config;
pub mod kubeconfig;
pub mod pki;
pub mod topology;
