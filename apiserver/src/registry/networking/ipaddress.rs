//! IPAddress: one address of a Service, taken. The allocator writes them; users read who has what.

use std::net::IpAddr;

use corten_api::Problems;
use k8s_openapi::api::networking::v1::IPAddress;

use crate::registry::path::Path;
use crate::registry::{Cell, Column, Kind, NameRule, cells, check};

const COLUMNS: &[Column] = &[cells::NAME, cells::text("ParentRef", "The object that uses the address")];

impl Kind for IPAddress {
    const SINGULAR: &'static str = "ipaddress";
    const SHORT_NAMES: &'static [&'static str] = &["ip"];
    const STORE_PREFIX: &'static str = "ipaddresses";
    const NAME_RULE: NameRule = NameRule::PathSegment;

    strategy!(spec);
    fn validate(&self, problems: &mut Problems) {
        let name = check::text(self.metadata.name.as_ref());
        // One address has one name, or two Services could hold it.
        if let Some(ip) = check::ip(problems, &Path::root("metadata.name"), name)
            && IpAddr::to_string(&ip) != name
        {
            problems.invalid("metadata.name", name, &format!("must be in canonical form ({ip:?})"));
        }
        let at = Path::root("spec.parentRef");
        let parent = &self.spec.parent_ref;
        if let Some(group) = parent.group.as_ref().filter(|group| !group.is_empty()) {
            check::dns_subdomain(problems, &at.field("group"), group);
        }
        for (field, value) in [("resource", &parent.resource), ("name", &parent.name)] {
            check::path_segment(problems, &at.field(field), value);
        }
        if let Some(namespace) = parent.namespace.as_ref().filter(|namespace| !namespace.is_empty()) {
            check::path_segment(problems, &at.field("namespace"), namespace);
        }
    }
    fn validate_update(&self, old: &Self, problems: &mut Problems) {
        check::immutable(problems, &Path::root("spec.parentRef"), &self.spec.parent_ref, &old.spec.parent_ref);
    }
    fn columns() -> &'static [Column] {
        COLUMNS
    }
    fn row(&self, _now_secs: i64) -> Vec<Cell> {
        let parent = &self.spec.parent_ref;
        let group = check::text(parent.group.as_ref());
        let mut text = corten_api::error::qualified(&parent.resource, group);
        for part in [check::text(parent.namespace.as_ref()), &parent.name] {
            if !part.is_empty() {
                text.push('/');
                text.push_str(part);
            }
        }
        vec![cells::name(&self.metadata), Cell::text(text)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::check::testing::{found, row};

    const GOOD: &str = r#"{"metadata":{"name":"10.96.0.1"},"spec":{"parentRef":
        {"resource":"services","namespace":"default","name":"kubernetes"}}}"#;

    #[test]
    fn names_are_addresses() {
        assert!(found::<IPAddress>(GOOD).is_empty());
        assert!(found::<IPAddress>(&GOOD.replace("10.96.0.1", "web"))[0].starts_with("metadata.name: Invalid value"));
        assert!(found::<IPAddress>(&GOOD.replace("10.96.0.1", "2001:DB8::1"))[0].contains("canonical"));
        for (was, is, expected) in [
            ("services", "", "spec.parentRef.resource: Required value"),
            ("services", "a/b", r#"spec.parentRef.resource: Invalid value: "a/b": may not contain '/'"#),
            ("default", "..", r#"spec.parentRef.namespace: Invalid value: "..": may not be '..'"#),
            ("kubernetes", "%", r#"spec.parentRef.name: Invalid value: "%": may not contain '%'"#),
        ] {
            assert_eq!(found::<IPAddress>(&GOOD.replace(was, is)), [expected]);
        }
    }

    #[test]
    fn columns() {
        assert_eq!(row::<IPAddress>(GOOD, 0), "10.96.0.1|services/default/kubernetes");
    }
}
