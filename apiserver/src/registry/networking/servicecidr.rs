//! ServiceCIDR: a range that addresses of Services are taken from.

use corten_api::Problems;
use ipnet::IpNet;
use k8s_openapi::api::networking::v1::ServiceCIDR;

use crate::registry::path::Path;
use crate::registry::{Cell, Column, Kind, cells, check};

/// One of each family.
const CIDRS_MAX: usize = 2;

const COLUMNS: &[Column] = &[cells::NAME, cells::text("CIDRs", "The ranges"), cells::AGE];

impl Kind for ServiceCIDR {
    const SINGULAR: &'static str = "servicecidr";
    const STORE_PREFIX: &'static str = "servicecidrs";
    const SUBRESOURCES: &'static [&'static str] = &["status"];
    const STATUS_KEEPS_METADATA: bool = true;

    strategy!(spec, status);
    fn fill_defaults(&mut self) {
        self.spec.get_or_insert_default();
    }
    fn validate(&self, problems: &mut Problems) {
        let (cidrs, list) = (cidrs(self), Path::root("spec.cidrs"));
        match cidrs.len() {
            0 => return problems.required(list, "at least one CIDR required"),
            n if n > CIDRS_MAX => return problems.invalid(list, cidrs, "may only hold up to 2 values"),
            _ => {}
        }
        let networks: Vec<IpNet> = cidrs
            .iter()
            .enumerate()
            .filter_map(|(i, cidr)| check::canonical_cidr(problems, &list.index(i), cidr))
            .collect();
        if let [IpNet::V4(_), IpNet::V4(_)] | [IpNet::V6(_), IpNet::V6(_)] = networks.as_slice() {
            let why = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64";
            problems.invalid(list, cidrs, why);
        }
    }
    /// A range of the other family may be added, and that is all: Services have addresses from the one that is there.
    fn validate_update(&self, old: &Self, problems: &mut Problems) {
        let (new, old, list) = (cidrs(self), cidrs(old), Path::root("spec.cidrs"));
        if new.len() != old.len() && (old.len(), new.len()) != (1, CIDRS_MAX) {
            return problems.invalid(list, new, check::IMMUTABLE);
        }
        for (i, (new, old)) in new.iter().zip(old).enumerate() {
            check::immutable(problems, &list.index(i), new, old);
        }
    }
    fn columns() -> &'static [Column] {
        COLUMNS
    }
    fn row(&self, now_secs: i64) -> Vec<Cell> {
        let cidrs = Cell::text(cidrs(self).join(","));
        vec![cells::name(&self.metadata), cidrs, cells::age(&self.metadata, now_secs)]
    }
}

fn cidrs(object: &ServiceCIDR) -> &[String] {
    object.spec.as_ref().and_then(|s| s.cidrs.as_deref()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::networking::v1::ServiceCIDRStatus;
    use serde_json::{Value, json};

    use super::*;
    use crate::registry::Strategy;
    use crate::registry::check::testing::{defaulted, found, found_on_update, prepare, row};

    const V4: &str = "10.96.0.0/16";
    const V6: &str = "2001:db8::/64";

    fn of(cidrs: Value) -> String {
        json!({"spec": {"cidrs": cidrs}}).to_string()
    }

    #[test]
    fn one_range_of_each_family() {
        for good in [json!([V4]), json!([V6]), json!([V4, V6]), json!([V6, V4])] {
            assert!(found::<ServiceCIDR>(&of(good.clone())).is_empty(), "{good}");
        }
        for (cidrs, expected) in [
            (json!([]), "spec.cidrs: Required value: at least one CIDR required".to_owned()),
            (
                json!([V4, V6, V6]),
                format!("spec.cidrs: Invalid value: {}: may only hold up to 2 values", json!([V4, V6, V6])),
            ),
            (
                json!([V4, "10.97.0.0/16"]),
                format!(
                    "spec.cidrs: Invalid value: {}: may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64",
                    json!([V4, "10.97.0.0/16"])
                ),
            ),
            (
                json!([V4, "x"]),
                r#"spec.cidrs[1]: Invalid value: "x": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"#
                    .into(),
            ),
            (
                json!(["2001:DB8::/64"]),
                r#"spec.cidrs[0]: Invalid value: "2001:DB8::/64": must be in canonical form ("2001:db8::/64")"#.into(),
            ),
        ] {
            assert_eq!(found::<ServiceCIDR>(&of(cidrs.clone())), [expected], "{cidrs}");
        }
    }

    #[test]
    fn ranges_stay_and_one_may_be_added() {
        let update = |old: Value, new: Value| found_on_update::<ServiceCIDR>(&of(old), &of(new));
        assert!(update(json!([V4]), json!([V4])).is_empty());
        assert!(update(json!([V4]), json!([V4, V6])).is_empty());
        let first = format!("spec.cidrs[0]: Invalid value: {V6:?}: field is immutable");
        assert_eq!(update(json!([V4]), json!([V6])), std::slice::from_ref(&first));
        assert_eq!(update(json!([V4]), json!([V6, V4])), [first]);
        let whole = format!("spec.cidrs: Invalid value: {}: field is immutable", json!([V4]));
        assert_eq!(update(json!([V4, V6]), json!([V4])), [whole]);
        assert_eq!(update(json!([V4]), json!([])), ["spec.cidrs: Invalid value: []: field is immutable"]);
    }

    #[test]
    fn spec_and_status_are_written_apart() {
        let condition = json!({"type": "Ready", "status": "True", "reason": "r", "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z"});
        let old = json!({"metadata": {"labels": {"a": "b"}, "finalizers": ["a.b/c"]}, "spec": {"cidrs": [V4]},
            "status": {"conditions": [condition]}});
        let (old, bare): (ServiceCIDR, ServiceCIDR) = (defaulted(&old.to_string()), defaulted("{}"));
        let (mut new, mut status, mut created) = (bare.clone(), bare, old.clone());
        prepare(Strategy::Update(&old), &mut new);
        assert_eq!(new.status, old.status);
        prepare(Strategy::Status(&old), &mut status);
        assert_eq!((&status.spec, &status.metadata, &status.status), (&old.spec, &old.metadata, &None));
        prepare(Strategy::Create, &mut created);
        assert_eq!(created.status, Some(ServiceCIDRStatus::default()));
    }

    #[test]
    fn columns() {
        let json = json!({"metadata": {"name": "s"}, "spec": {"cidrs": [V4, V6]}}).to_string();
        assert_eq!(row::<ServiceCIDR>(&json, 0), format!("s|{V4},{V6}|<unknown>"));
    }
}
