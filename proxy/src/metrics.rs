//! What the proxy counts, for /metrics.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::nft::kernel::Mended;

#[derive(Clone, Debug)]
pub struct Metrics {
    fronts: Gauge,
    refused: Gauge,
    edits: Counter,
    mended: Counter,
    checks: Counter,
    change_seconds: Histogram,
    check_seconds: Histogram,
}

impl Default for Metrics {
    fn default() -> Self {
        // From a quarter of a millisecond to four seconds.
        let histogram = || Histogram::new(exponential_buckets(0.00025, 4.0, 8));
        Self {
            fronts: Gauge::default(),
            refused: Gauge::default(),
            edits: Counter::default(),
            mended: Counter::default(),
            checks: Counter::default(),
            change_seconds: histogram(),
            check_seconds: histogram(),
        }
    }
}

impl Metrics {
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("corten_proxy");
        registry.register("fronts", "Addresses and ports that are served", self.fronts.clone());
        registry.register("refused_services", "Services that are too large to be served", self.refused.clone());
        registry.register("edits", "Elements changed in the kernel", self.edits.clone());
        registry.register("mended_elements", "Elements that a full comparison had to change", self.mended.clone());
        registry.register("checks", "Full comparisons with the kernel", self.checks.clone());
        registry.register("change_seconds", "From a change to the rules for it", self.change_seconds.clone());
        registry.register("check_seconds", "How long a full comparison takes", self.check_seconds.clone());
    }
    pub fn refused(&self, services: usize) {
        self.refused.set(i64::try_from(services).unwrap_or(i64::MAX));
    }
    pub fn edited(&self, edits: usize, fronts: usize, took: Duration) {
        self.edits.inc_by(edits as u64);
        self.fronts.set(i64::try_from(fronts).unwrap_or(i64::MAX));
        self.change_seconds.observe(took.as_secs_f64());
    }
    pub fn checked(&self, mended: Mended, fronts: usize, took: Duration) {
        self.checks.inc();
        self.mended.inc_by((mended.added + mended.replaced + mended.removed) as u64);
        self.fronts.set(i64::try_from(fronts).unwrap_or(i64::MAX));
        self.check_seconds.observe(took.as_secs_f64());
    }
}
