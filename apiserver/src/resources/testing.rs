//! What a server of tests is set to.

use super::Settings;
use crate::authn;

/// A small cluster that is reached nowhere, with keys of its own.
pub(crate) fn settings() -> Settings {
    let (service_cidr, tokens) = ("10.96.0.0/24".parse().unwrap(), authn::testing::tokens());
    Settings { service_cidr, node_ports: 31000..=31009, advertise: None, tokens }
}
