//! PriorityLevelConfiguration: a share of what the server can do at once, and how those wait who find it taken.

mod validate;

use corten_api::Problems;
use k8s_openapi::api::flowcontrol::v1::PriorityLevelConfiguration;

use super::condition_types;
use crate::registry::{Cell, Column, Kind, cells};

pub use validate::hash_tells_hands_apart;

const SHARES: i32 = 30;
const QUEUES: i32 = 64;
const HAND_SIZE: i32 = 8;
const QUEUE_LENGTH_LIMIT: i32 = 50;

const COLUMNS: &[Column] = &[
    cells::NAME,
    cells::text("Type", "Exempt, which never waits, or Limited"),
    cells::text("NominalConcurrencyShares", "Its share of the server"),
    cells::text("Queues", "In how many queues its requests wait"),
    cells::text("HandSize", "Among how many of them a flow chooses"),
    cells::text("QueueLengthLimit", "How many requests wait in each"),
    cells::AGE,
];

impl Kind for PriorityLevelConfiguration {
    const SINGULAR: &'static str = "prioritylevelconfiguration";
    const STORE_PREFIX: &'static str = "prioritylevelconfigurations";
    const SUBRESOURCES: &'static [&'static str] = &["status"];
    const HAS_GENERATION: bool = true;
    const STATUS_KEEPS_METADATA: bool = true;

    strategy!(spec, status);
    fn fill_defaults(&mut self) {
        if let Some(exempt) = &mut self.spec.exempt {
            exempt.nominal_concurrency_shares.get_or_insert(0);
            exempt.lendable_percent.get_or_insert(0);
        }
        let Some(limited) = &mut self.spec.limited else { return };
        limited.nominal_concurrency_shares.get_or_insert(SHARES);
        limited.lendable_percent.get_or_insert(0);
        let Some(queuing) = &mut limited.limit_response.queuing else { return };
        for (number, default) in [
            (&mut queuing.queues, QUEUES),
            (&mut queuing.hand_size, HAND_SIZE),
            (&mut queuing.queue_length_limit, QUEUE_LENGTH_LIMIT),
        ] {
            if number.is_none_or(|n| n == 0) {
                *number = Some(default);
            }
        }
    }
    fn validate(&self, problems: &mut Problems) {
        validate::validate(self, problems);
    }
    fn validate_status(&self, _old: &Self, problems: &mut Problems) {
        let conditions = self.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
        condition_types(conditions.iter().map(|c| c.type_.as_str()), problems);
    }
    fn columns() -> &'static [Column] {
        COLUMNS
    }
    fn row(&self, now_secs: i64) -> Vec<Cell> {
        let number = |n: Option<i32>| n.map_or(Cell::text(cells::NONE), |n| Cell::Int(n.into()));
        let limited = self.spec.limited.as_ref();
        let queuing = limited.and_then(|l| l.limit_response.queuing.as_ref());
        vec![
            cells::name(&self.metadata),
            Cell::text_or(Some(&self.spec.type_), ""),
            number(limited.and_then(|l| l.nominal_concurrency_shares)),
            number(queuing.and_then(|q| q.queues)),
            number(queuing.and_then(|q| q.hand_size)),
            number(queuing.and_then(|q| q.queue_length_limit)),
            cells::age(&self.metadata, now_secs),
        ]
    }
}

#[cfg(test)]
mod tests;
