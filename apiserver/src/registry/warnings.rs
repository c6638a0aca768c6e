//! What users are told of objects that are good and yet may not do what they expect. In upstream's words.

use std::fmt::Display;
use std::net::IpAddr;

use corten_api::{names, quantity::Quantity};
use k8s_openapi::api::core::v1::{NodeSelectorTerm, PersistentVolumeClaimSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Wire;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::check;
use super::path::Path;
use super::quantities::Wires;

/// Of one object. An answer carries fewer still.
const WARNINGS_MAX: usize = 64;

/// Labels of nodes that are no longer set, or not under this name, and what to use instead.
const DEPRECATED_NODE_LABELS: &[(&str, &str)] = &[
    ("beta.kubernetes.io/arch", r#"deprecated since v1.14; use "kubernetes.io/arch" instead"#),
    ("beta.kubernetes.io/os", r#"deprecated since v1.14; use "kubernetes.io/os" instead"#),
    (
        "failure-domain.beta.kubernetes.io/region",
        r#"deprecated since v1.17; use "topology.kubernetes.io/region" instead"#,
    ),
    ("failure-domain.beta.kubernetes.io/zone", r#"deprecated since v1.17; use "topology.kubernetes.io/zone" instead"#),
    ("beta.kubernetes.io/instance-type", r#"deprecated since v1.17; use "node.kubernetes.io/instance-type" instead"#),
    ("app.kubernetes.io/created-by", "deprecated since v1.9"),
    ("scheduler.alpha.kubernetes.io/preferAvoidPods", "deprecated since v1.22; use Taints and Tolerations instead"),
    ("node-role.kubernetes.io/master", r#"use "node-role.kubernetes.io/control-plane" instead"#),
];

/// A bounded list of them.
#[derive(Debug, Default)]
pub struct Warnings(Vec<String>);

impl Warnings {
    pub fn push(&mut self, at: &Path<'_>, why: impl Display) {
        self.say(format_args!("{at}: {why}"));
    }
    pub fn say(&mut self, text: impl Display) {
        if !self.is_full() {
            self.0.push(text.to_string());
        }
    }
    /// Whether there is no use in looking further.
    pub fn is_full(&self) -> bool {
        self.0.len() >= WARNINGS_MAX
    }
    pub fn into_vec(self) -> Vec<String> {
        self.0
    }

    /// `key`: of a node's label; `at`: where it stands, which names it.
    pub fn node_label(&mut self, at: &Path<'_>, key: &str) {
        if let Some(why) = deprecated_node_label(key) {
            self.push(at, why);
        }
    }
    /// As [`Self::node_label`], where the place does not name the label.
    pub fn node_label_at(&mut self, at: &Path<'_>, key: &str) {
        if let Some(why) = deprecated_node_label(key) {
            self.push(at, format_args!("{key} is {why}"));
        }
    }
    /// `is_preferred`: upstream has always taken any values there, and then no node is preferred.
    pub fn node_selector_term(&mut self, at: &Path<'_>, term: &NodeSelectorTerm, is_preferred: bool) {
        let list = at.field("matchExpressions");
        for (i, expression) in term.match_expressions.iter().flatten().enumerate() {
            let at = list.index(i);
            self.node_label_at(&at.field("key"), &expression.key);
            for (j, value) in expression.values.iter().flatten().enumerate().filter(|_| is_preferred) {
                if !names::is_label_value(value) {
                    let why = format_args!("{value} is invalid, {}", names::LABEL_VALUE_WHY);
                    self.push(&at.field("values").index(j), why);
                }
            }
        }
    }
    /// Bytes of which there is half a one.
    pub fn fractional_bytes(&mut self, at: &Path<'_>, amounts: Option<&Wires>, name: &str) {
        let fractional =
            |wire: &&Wire| Quantity::from_wire(wire).is_ok_and(|quantity| !quantity.up_to_millis().is_whole());
        if let Some(wire) = amounts.and_then(|amounts| amounts.get(name)).filter(fractional) {
            self.push(&at.key(name), format_args!("fractional byte value {:?} is invalid, must be an integer", wire.0));
        }
    }
    pub fn claim_spec(&mut self, at: &Path<'_>, claim: &PersistentVolumeClaimSpec) {
        let resources = claim.resources.as_ref();
        let at = at.field("resources");
        let requests = resources.and_then(|resources| resources.requests.as_ref());
        self.fractional_bytes(&at.field("requests"), requests, "storage");
        let limits = resources.and_then(|resources| resources.limits.as_ref());
        self.fractional_bytes(&at.field("limits"), limits, "storage");
    }
    /// An address that is written in an unusual way.
    pub fn ip(&mut self, at: &Path<'_>, value: &str) {
        let Ok(ip) = value.parse::<IpAddr>() else { return };
        match ip {
            IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => {
                let plain = ip.to_canonical();
                let why = "will be considered invalid in a future Kubernetes release";
                self.push(at, format_args!("non-standard IP address {value:?} {why}: use {:?}", plain.to_string()));
            }
            IpAddr::V6(_) if ip.to_string() != value => {
                let plain = ip.to_string();
                self.push(
                    at,
                    format_args!("IPv6 address {value:?} should be in RFC 5952 canonical format ({plain:?})"),
                );
            }
            IpAddr::V4(_) | IpAddr::V6(_) => {}
        }
    }
    /// A name that becomes part of pods' names.
    pub fn name_of_pods(&mut self, meta: &ObjectMeta) {
        const WHY: &str = "this is used in Pod names and hostnames, which can result in surprising behavior; a DNS label is recommended";
        if let Some(name) = meta.name.as_ref().filter(|name| !names::is_dns1123_label(name)) {
            let why = if name.len() > check::LABEL_BYTES_MAX {
                format!("must be no more than {} bytes", check::LABEL_BYTES_MAX)
            } else {
                names::DNS1123_LABEL_WHY.to_owned()
            };
            self.push(&Path::root("metadata.name"), format_args!("{WHY}: [{why}]"));
        }
    }
    pub fn annotation(&mut self, meta: &ObjectMeta, key: &str, why: &str) {
        if meta.annotations.as_ref().is_some_and(|annotations| annotations.contains_key(key)) {
            self.push(&Path::root("metadata.annotations").key(key), why);
        }
    }
}

fn deprecated_node_label(key: &str) -> Option<&'static str> {
    DEPRECATED_NODE_LABELS.iter().find(|(label, _)| *label == key).map(|(_, why)| *why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_are_written_in_an_unusual_way() {
        for (value, expected) in [
            ("10.0.0.1", None),
            ("fd00::1", None),
            ("web", None),
            ("FD00::0001", Some(r#"a: IPv6 address "FD00::0001" should be in RFC 5952 canonical format ("fd00::1")"#)),
            (
                "::ffff:1.2.3.4",
                Some(
                    r#"a: non-standard IP address "::ffff:1.2.3.4" will be considered invalid in a future Kubernetes release: use "1.2.3.4""#,
                ),
            ),
        ] {
            let mut warnings = Warnings::default();
            warnings.ip(&Path::root("a"), value);
            assert_eq!(warnings.into_vec(), Vec::from_iter(expected.map(str::to_owned)), "{value}");
        }
    }

    #[test]
    fn there_are_not_more_than_anybody_reads() {
        let mut warnings = Warnings::default();
        (0..1000).for_each(|n| warnings.say(n));
        assert_eq!(warnings.into_vec().len(), WARNINGS_MAX);
    }
}
