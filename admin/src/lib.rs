//! What `cortenadm` can do, as a library: a cluster's settings (`config`), certificates (`pki`) and kubeconfig files
//! (`kubeconfig`), whether a machine is ready for it (`preflight`), and what runs there (`topology`).
pub mod config;
pub mod kubeconfig;
pub mod pki;
pub mod preflight;
pub mod topology;
