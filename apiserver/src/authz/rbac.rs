//! RBAC: who may what by the cluster's roles and bindings. Pure.
//!
//! - [`index`]: the roles and bindings, kept as objects come and go, and found by who has them
//! - [`rule`]: whether one rule allows what is asked
//! - [`decide`]: whether somebody's rules do, by which binding, and which rules those are
//! - [`covers`]: what is missing in some rules that others have
//! - [`escalation`]: nobody gives what he does not have
//! - [`bootstrap`]: the roles and bindings that every cluster begins with
//!
//! <https://kubernetes.io/docs/reference/access-authn-authz/rbac/>. Rules only ever allow: the order of anything here has no
//! meaning for what is allowed.

pub mod bootstrap;
pub mod covers;
pub mod decide;
pub mod escalation;
pub mod index;
pub mod rule;

#[cfg(test)]
pub(super) mod testing;

pub use index::Index;
