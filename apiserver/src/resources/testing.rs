//! What a server of tests is set to, and what its callers may.

use super::{Authorized, Settings};
use crate::admission::Chain;
use crate::authn;
use crate::request::{Target, User};

/// A small cluster that is reached nowhere, with keys of its own.
pub(crate) fn settings() -> Settings {
    let (service_cidr, tokens) = ("10.96.0.0/24".parse().unwrap(), authn::testing::tokens());
    Settings { service_cidr, node_ports: 31000..=31009, advertise: None, tokens, admission: Chain::default() }
}

/// A proof that nobody was asked for.
pub(crate) fn allowed<V>(user: &User, target: &Target) -> Authorized<V> {
    Authorized::unasked(user, target)
}
