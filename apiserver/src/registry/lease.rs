//! Lease: who holds what, and until when. Nodes' heartbeats and leader elections are written here.

use corten_api::Problems;
use k8s_openapi::api::coordination::v1::Lease;

use super::path::Path;
use super::{Cell, Column, Kind, cells, check};

const COLUMNS: &[Column] = &[cells::NAME, cells::text("Holder", "Who holds the lease now"), cells::AGE];
const STRATEGIES: &[&str] = &["OldestEmulationVersion"];

impl Kind for Lease {
    const SINGULAR: &'static str = "lease";
    const STORE_PREFIX: &'static str = "leases";
    const CREATE_ON_UPDATE: bool = true;
    const UNCONDITIONAL_UPDATE: bool = false;

    strategy!(spec);
    fn validate(&self, problems: &mut Problems) {
        let Some(spec) = &self.spec else { return };
        let at = Path::root("spec");
        if let Some(secs) = spec.lease_duration_seconds.filter(|s| *s <= 0) {
            problems.invalid(at.field("leaseDurationSeconds"), secs, check::NOT_POSITIVE);
        }
        if let Some(n) = spec.lease_transitions.filter(|n| *n < 0) {
            problems.invalid(at.field("leaseTransitions"), n, check::NEGATIVE);
        }
        if let Some(strategy) = &spec.strategy {
            // Strategies of other vendors are qualified names.
            if strategy.contains('/') {
                check::qualified_name(problems, &at.field("strategy"), strategy);
            } else {
                check::optional_word(problems, &at.field("strategy"), Some(strategy), STRATEGIES);
            }
        }
        if spec.preferred_holder.as_ref().is_some_and(|h| !h.is_empty()) && spec.strategy.is_none() {
            problems.forbidden(at.field("preferredHolder"), "may only be specified if `strategy` is defined");
        }
    }
    fn columns() -> &'static [Column] {
        COLUMNS
    }
    fn row(&self, now_secs: i64) -> Vec<Cell> {
        let holder = self.spec.as_ref().and_then(|s| s.holder_identity.as_deref());
        vec![cells::name(&self.metadata), Cell::text_or(holder, ""), cells::age(&self.metadata, now_secs)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::check::testing::{found, row};

    #[test]
    fn bad_leases() {
        let cases = [
            (r#"{"spec":{"leaseDurationSeconds":40,"leaseTransitions":0}}"#, vec![]),
            (
                r#"{"spec":{"leaseDurationSeconds":0}}"#,
                vec!["spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0"],
            ),
            (
                r#"{"spec":{"leaseTransitions":-1}}"#,
                vec!["spec.leaseTransitions: Invalid value: -1: must be greater than or equal to 0"],
            ),
        ];
        for (json, expected) in cases {
            assert_eq!(found::<Lease>(json), expected, "{json}");
        }
    }

    #[test]
    fn columns() {
        let json = r#"{"metadata":{"name":"node-1"},"spec":{"holderIdentity":"node-1"}}"#;
        assert_eq!(row::<Lease>(json, 0), "node-1|node-1|<unknown>");
    }
}
