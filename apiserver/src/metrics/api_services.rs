//! Which APIServices are not available, under upstream's names.

use std::collections::{BTreeMap, BTreeSet};

use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Named {
    name: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Because {
    name: String,
    reason: &'static str,
}

/// Of those that other servers answer for. What is gone is counted no more, so that who makes and deletes them without end makes
/// no series without end.
#[derive(Debug, Default)]
pub struct ApiServices {
    unavailable: Family<Named, Gauge>,
    /// How often each became so. No counter: that the format wants of another name than the gauge's.
    became: Family<Because, Gauge>,
    /// With the reasons that have been given of each.
    names: Mutex<BTreeMap<String, BTreeSet<&'static str>>>,
}

impl ApiServices {
    pub(super) fn register(&self, registry: &mut Registry) {
        let name = "aggregator_unavailable_apiservice";
        registry.register(name, "Whether an APIService is not available", self.unavailable.clone());
        let name = "aggregator_unavailable_apiservice_total";
        registry.register(name, "How often an APIService has become unavailable", self.became.clone());
    }

    /// As it was found.
    pub fn is_available(&self, name: &str, is_available: bool) {
        self.names.lock().entry(name.to_owned()).or_default();
        self.unavailable.get_or_create(&Named { name: name.to_owned() }).set(i64::from(!is_available));
    }

    /// This server has said so.
    pub fn became_unavailable(&self, name: &str, reason: &'static str) {
        self.names.lock().entry(name.to_owned()).or_default().insert(reason);
        self.became.get_or_create(&Because { name: name.to_owned(), reason }).inc();
    }

    pub fn forget(&self, is_there: impl Fn(&str) -> bool) {
        self.names.lock().retain(|name, reasons| {
            if is_there(name) {
                return true;
            }
            self.unavailable.remove(&Named { name: name.clone() });
            for reason in std::mem::take(reasons) {
                self.became.remove(&Because { name: name.clone(), reason });
            }
            false
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_gone_is_counted_no_more() {
        let (metrics, mut registry) = (ApiServices::default(), Registry::default());
        metrics.register(&mut registry);
        for name in ["v1.a", "v1.b"] {
            metrics.is_available(name, false);
            metrics.became_unavailable(name, "MissingEndpoints");
            metrics.became_unavailable(name, "MissingEndpoints");
        }
        metrics.is_available("v1.a", true);
        metrics.forget(|name| name == "v1.a");
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        let mut lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        lines.sort_unstable();
        let expected = [
            r#"aggregator_unavailable_apiservice_total{name="v1.a",reason="MissingEndpoints"} 2"#,
            r#"aggregator_unavailable_apiservice{name="v1.a"} 0"#,
        ];
        assert_eq!(lines, expected);
    }
}
