//! Event, in both its versions: core v1, which is what is stored, and events.k8s.io/v1, which is its newer face.

mod conversion;
mod validate;

use std::sync::Arc;

use corten_api::Problems;
use k8s_openapi::api::core::v1::{Event, EventSource};
use k8s_openapi::api::events::v1::Event as NewEvent;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

use super::{Cell, Column, Kind, LocalConversion, NameRule, SelectableField, cells, check};

/// How long the store keeps an event that nothing repeats.
const KEPT_SECS: u32 = 3600;

const COLUMNS: &[Column] = &[
    cells::text("Last Seen", "Time since it happened last"),
    cells::text("Type", "Normal or Warning"),
    cells::text("Reason", "One word for programs"),
    cells::text("Object", "What it is about"),
    cells::wide("Subobject", "Which part of the object"),
    cells::wide("Source", "Who reports it"),
    cells::text("Message", "A sentence for people"),
    cells::wide("First Seen", "Time since it happened first"),
    cells::wide("Count", "How often it happened"),
    cells::column("Name", "string", "name", "The event's own name", 1),
];

impl Kind for Event {
    const SINGULAR: &'static str = "event";
    const SHORT_NAMES: &'static [&'static str] = &["ev"];
    const STORE_PREFIX: &'static str = "events";
    const FIELDS: &'static [SelectableField] = &[
        SelectableField::new("involvedObject.kind", "involvedObject.kind", ""),
        SelectableField::new("involvedObject.namespace", "involvedObject.namespace", ""),
        SelectableField::new("involvedObject.name", "involvedObject.name", ""),
        SelectableField::new("involvedObject.uid", "involvedObject.uid", ""),
        SelectableField::new("involvedObject.apiVersion", "involvedObject.apiVersion", ""),
        SelectableField::new("involvedObject.resourceVersion", "involvedObject.resourceVersion", ""),
        SelectableField::new("involvedObject.fieldPath", "involvedObject.fieldPath", ""),
        SelectableField::new("reason", "reason", ""),
        SelectableField::new("reportingComponent", "reportingComponent", ""),
        SelectableField::new("source", "source.component|reportingComponent", ""),
        SelectableField::new("type", "type", ""),
    ];
    const TTL_SECS: Option<u32> = Some(KEPT_SECS);
    const CREATE_ON_UPDATE: bool = true;
    const NAME_RULE: NameRule = NameRule::PathSegment;

    strategy!();
    fn validate(&self, problems: &mut Problems) {
        validate::event(self, "reportingComponent", problems);
    }
    fn columns() -> &'static [Column] {
        COLUMNS
    }
    fn row(&self, now_secs: i64) -> Vec<Cell> {
        let micro = |time: Option<&MicroTime>| time.map(|t| t.0.as_second());
        let first = self.first_timestamp.as_ref().map(|t| t.0.as_second()).or(micro(self.event_time.as_ref()));
        let mut last = self.last_timestamp.as_ref().map(|t| t.0.as_second()).or(first);
        let mut count = self.count.filter(|n| *n != 0).unwrap_or(1);
        if let Some(series) = &self.series {
            last = micro(series.last_observed_time.as_ref());
            count = series.count.unwrap_or(0);
        }
        let about = &self.involved_object;
        let mut object = check::text(about.kind.as_ref()).to_lowercase();
        if let Some(name) = about.name.as_ref().filter(|n| !n.is_empty()) {
            object = format!("{object}/{name}");
        }
        vec![
            Cell::text(cells::age_of(last, now_secs)),
            Cell::text_or(self.type_.as_deref(), ""),
            Cell::text_or(self.reason.as_deref(), ""),
            Cell::text(object),
            Cell::text_or(about.field_path.as_deref(), ""),
            Cell::text(source_text(self)),
            Cell::text(check::text(self.message.as_ref()).trim().to_owned()),
            Cell::text(cells::age_of(first, now_secs)),
            Cell::Int(count.into()),
            cells::name(&self.metadata),
        ]
    }
}

fn source_text(event: &Event) -> String {
    let none = EventSource::default();
    let source = event.source.as_ref().unwrap_or(&none);
    let or = |old: Option<&String>, new: Option<&String>| match check::text(old) {
        "" => check::text(new).to_owned(),
        old => old.to_owned(),
    };
    let component = or(source.component.as_ref(), event.reporting_component.as_ref());
    match or(source.host.as_ref(), event.reporting_instance.as_ref()) {
        host if host.is_empty() => component,
        host => format!("{component}, {host}"),
    }
}

impl Kind for NewEvent {
    const SINGULAR: &'static str = "event";
    const SHORT_NAMES: &'static [&'static str] = &["ev"];
    const STORE_PREFIX: &'static str = "events";
    const FIELDS: &'static [SelectableField] = &[
        SelectableField::new("regarding.kind", "involvedObject.kind", ""),
        SelectableField::new("regarding.namespace", "involvedObject.namespace", ""),
        SelectableField::new("regarding.name", "involvedObject.name", ""),
        SelectableField::new("regarding.uid", "involvedObject.uid", ""),
        SelectableField::new("regarding.apiVersion", "involvedObject.apiVersion", ""),
        SelectableField::new("regarding.resourceVersion", "involvedObject.resourceVersion", ""),
        SelectableField::new("regarding.fieldPath", "involvedObject.fieldPath", ""),
        SelectableField::new("reason", "reason", ""),
        SelectableField::new("reportingController", "reportingComponent", ""),
        SelectableField::new("type", "type", ""),
    ];
    const TTL_SECS: Option<u32> = Some(KEPT_SECS);
    const CREATE_ON_UPDATE: bool = true;

    strategy!();
    fn validate(&self, problems: &mut Problems) {
        let event = conversion::to_core(self);
        validate::event(&event, "reportingController", problems);
        if check::is_new(&self.metadata) {
            validate::create_new(&event, problems);
        }
    }
    fn validate_update(&self, old: &Self, problems: &mut Problems) {
        validate::update_new(&conversion::to_core(self), &conversion::to_core(old), problems);
    }
    fn columns() -> &'static [Column] {
        COLUMNS
    }
    fn row(&self, now_secs: i64) -> Vec<Cell> {
        conversion::to_core(self).row(now_secs)
    }
    fn conversion() -> Option<LocalConversion> {
        Some(LocalConversion {
            from_stored: Arc::new(conversion::from_stored),
            to_stored: Arc::new(conversion::to_stored),
        })
    }
}

#[cfg(test)]
mod tests;
