//! What `cortenadm` can do, as a library: a cluster's settings (`config`), certificates (`pki`) and kubeconfig files
//! (`kubeconfig`), whether a machine is ready for it (`preflight`), what runs there (`topology`), and what makes a machine a
//! master (`init`): steps (`steps`) on a machine (`machine`), which asks its apiserver (`api`).
pub mod api;
pub mod config;
pub mod init;
pub mod kubeconfig;
pub mod machine;
pub mod pki;
pub mod preflight;
pub mod steps;
pub mod topology;
