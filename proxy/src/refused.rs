//! Services that are too large to be served, and who is told of them: their owners once, by an event; operators by a metric.

use std::collections::BTreeSet;

use corten_api::Key;
use corten_client::{EventType, Recorder};
use k8s_openapi::api::core::v1::ObjectReference;
use tracing::warn;

use crate::ruleset::desired::ELEMENTS_PER_SERVICE_MAX;
use crate::view::Service;

/// The event's reason.
const REASON: &str = "ServiceTooLarge";

/// No more than there are Services: one that is gone is forgotten.
#[derive(Debug, Default)]
pub struct Refused {
    known: BTreeSet<Key>,
}

impl Refused {
    /// Whether somebody is to be told: what becomes too large is said once, until it has become smaller or has gone.
    pub fn note(&mut self, service: &Key, is_refused: bool) -> bool {
        if is_refused {
            return self.known.insert(service.clone());
        }
        self.known.remove(service);
        false
    }
    pub fn len(&self) -> usize {
        self.known.len()
    }
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }
}

/// Says that a Service is not served on this node.
pub fn tell(recorder: &Recorder, service: &Service, elements: u64) {
    let key = &service.key;
    warn!(service = %key, elements, "the Service has too many ports and endpoints together: it is not served");
    let about = ObjectReference {
        api_version: Some("v1".into()),
        kind: Some("Service".into()),
        namespace: Some(key.namespace.clone()),
        name: Some(key.name.clone()),
        uid: Some(service.age.uid.clone()),
        ..ObjectReference::default()
    };
    let message = format!(
        "Not served: its ports, addresses and endpoints make {elements} rules on each node, and {ELEMENTS_PER_SERVICE_MAX} \
         are allowed. Spread the ports over several Services"
    );
    recorder.event(&about, EventType::Warning, REASON, message);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_told_of_once_until_it_fits_again() {
        let (mut refused, key) = (Refused::default(), Key::new("shop", "web"));
        assert!(!refused.note(&key, false));
        assert!(refused.note(&key, true));
        assert!(!refused.note(&key, true), "said already");
        assert_eq!(refused.len(), 1);
        assert!(!refused.note(&key, false));
        assert!(refused.is_empty());
        assert!(refused.note(&key, true), "it grew again");
    }
}
