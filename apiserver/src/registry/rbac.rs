//! `rbac.authorization.k8s.io`: who may do what. What a write may give to others is asked in `authz::rbac::escalation`.

pub mod clusterrole;
pub mod clusterrolebinding;
pub mod role;
pub mod rolebinding;

mod binding;
mod policy;
