//! core v1 Event ↔ events.k8s.io/v1 Event: the same facts under other names.

use k8s_openapi::api::core::v1::{Event, EventSeries};
use k8s_openapi::api::events::v1::{Event as NewEvent, EventSeries as NewEventSeries};

/// Stored JSON → events.k8s.io/v1 JSON.
pub(super) fn from_stored(json: &[u8]) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(&from_core(serde_json::from_slice(json)?))
}
/// events.k8s.io/v1 JSON → the JSON to store.
pub(super) fn to_stored(json: &[u8]) -> Result<Vec<u8>, serde_json::Error> {
    let new: NewEvent = serde_json::from_slice(json)?;
    serde_json::to_vec(&to_core(&new))
}

fn from_core(event: Event) -> NewEvent {
    NewEvent {
        action: event.action,
        deprecated_count: event.count,
        deprecated_first_timestamp: event.first_timestamp,
        deprecated_last_timestamp: event.last_timestamp,
        deprecated_source: event.source,
        event_time: event.event_time,
        metadata: event.metadata,
        note: event.message,
        reason: event.reason,
        regarding: Some(event.involved_object),
        related: event.related,
        reporting_controller: event.reporting_component,
        reporting_instance: event.reporting_instance,
        series: event.series.and_then(|s| {
            Some(NewEventSeries { count: s.count.unwrap_or(0), last_observed_time: s.last_observed_time? })
        }),
        type_: event.type_,
    }
}

pub(super) fn to_core(event: &NewEvent) -> Event {
    let event = event.clone();
    Event {
        action: event.action,
        count: event.deprecated_count,
        first_timestamp: event.deprecated_first_timestamp,
        last_timestamp: event.deprecated_last_timestamp,
        source: event.deprecated_source,
        event_time: event.event_time,
        metadata: event.metadata,
        message: event.note,
        reason: event.reason,
        involved_object: event.regarding.unwrap_or_default(),
        related: event.related,
        reporting_component: event.reporting_controller,
        reporting_instance: event.reporting_instance,
        series: event
            .series
            .map(|s| EventSeries { count: Some(s.count), last_observed_time: Some(s.last_observed_time) }),
        type_: event.type_,
    }
}
