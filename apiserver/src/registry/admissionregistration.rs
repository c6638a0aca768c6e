//! admissionregistration.k8s.io: who is asked, over the network, about writes on their way.
//!
//! <https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/>

pub mod match_conditions;
pub mod mutatingwebhookconfiguration;
pub mod validatingwebhookconfiguration;

mod defaults;
#[cfg(test)]
mod tests;
mod validate;
mod webhook;

pub use webhook::Webhook;

use super::{Column, cells};

pub const GROUP: &str = "admissionregistration.k8s.io";

const COLUMNS: &[Column] =
    &[cells::NAME, cells::integer("Webhooks", "How many are asked, each about its own rules"), cells::AGE];
