//! Group versions that other servers answer for, as APIServices say.
//!
//! <https://kubernetes.io/docs/concepts/extend-kubernetes/api-extension/apiserver-aggregation/>. Which those are
//! `Registry::routes` tells to whoever reads requests, and `connect::aggregated` passes them on. Here is what is done beside
//! requests: [`keeper`] looks whether the servers answer ([`availability`]), and what they say of themselves ([`describe`]). A
//! server that dies or hangs holds up its own looks, and no others.

pub mod availability;
pub mod describe;
pub mod keeper;
