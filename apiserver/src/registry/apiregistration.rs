//! apiregistration.k8s.io: which server answers for a group version.
//!
//! <https://kubernetes.io/docs/concepts/extend-kubernetes/api-extension/apiserver-aggregation/>

pub mod apiservice;
pub mod priority;
pub mod routes;

pub const GROUP: &str = "apiregistration.k8s.io";
