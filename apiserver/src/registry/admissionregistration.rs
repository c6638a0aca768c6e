//! admissionregistration.k8s.io: who is asked about writes on their way, webhooks over the network and policies by their expressions.
//!
//! <https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/>,
//! <https://kubernetes.io/docs/reference/access-authn-authz/validating-admission-policy/>

pub mod environment;
pub mod expressions;
pub mod mutatingadmissionpolicy;
pub mod mutatingadmissionpolicybinding;
pub mod mutatingwebhookconfiguration;
pub mod params;
pub mod type_checking;
pub mod validatingadmissionpolicy;
pub mod validatingadmissionpolicybinding;
pub mod validatingwebhookconfiguration;

mod defaults;
mod match_conditions;
mod match_resources;
mod policy;
#[cfg(test)]
mod tests;
mod validate;
mod webhook;

pub use webhook::Webhook;

use super::{Column, cells};

pub const GROUP: &str = "admissionregistration.k8s.io";
/// Its kinds that are policies, and what puts them to use.
pub const POLICIES: [&str; 4] = [
    mutatingadmissionpolicy::PLURAL,
    mutatingadmissionpolicybinding::PLURAL,
    validatingadmissionpolicy::PLURAL,
    validatingadmissionpolicybinding::PLURAL,
];

const COLUMNS: &[Column] =
    &[cells::NAME, cells::integer("Webhooks", "How many are asked, each about its own rules"), cells::AGE];
