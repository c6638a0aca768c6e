//! What the server obeys until it has read the cluster's objects: the mandatory and the suggested ones.

use super::configuration::Configuration;
use super::objects;
use crate::registry::flowcontrol::bootstrap::{mandatory, suggested};

/// Upstream's defaults.
pub fn configuration() -> Configuration {
    let levels = [mandatory().levels.as_slice(), &suggested().levels].concat();
    let schemas = [mandatory().schemas.as_slice(), &suggested().schemas].concat();
    match objects::configuration(&levels, &schemas) {
        Ok(configuration) => configuration,
        // A constant, which the test below checks.
        Err(err) => unreachable!("the built-in flow control is no good: {err}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_can_be_obeyed_and_are_in_order() {
        let configuration = configuration();
        let names: Vec<&str> = configuration.schemas().iter().map(|s| &*s.name).collect();
        assert_eq!((names[0], names[names.len() - 1], names.len()), ("exempt", "catch-all", 12));
        let shares: u32 = configuration.levels().iter().map(|l| l.nominal_concurrency_shares).sum();
        assert_eq!(shares, 245, "upstream's");
    }
}
