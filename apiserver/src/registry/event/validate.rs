//! What may be said of a happening. Events of both faces are looked at as they are stored, and problems name the fields of that:
//! upstream does the same (`involvedObject` also where the request has `regarding`).

use corten_api::Problems;
use k8s_openapi::api::core::v1::{Event, EventSource};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use serde::Serialize;

use crate::registry::check;
use crate::registry::path::Path;

const WORD_BYTES_MAX: usize = 128;
const MESSAGE_BYTES_MAX: usize = 1024;
const UNSET: &str = "needs to be unset";

/// What holds for events of both faces, each time that they are written. `controller_field`: what this face calls who reports.
pub(super) fn event(event: &Event, controller_field: &str, problems: &mut Problems) {
    let involved = check::text(event.involved_object.namespace.as_ref());
    let own = check::text(event.metadata.namespace.as_ref());
    let agrees = match (&event.event_time, involved) {
        // What has no namespace is told of in "default", and by newer reporters in "kube-system".
        (None, "") => own.is_empty() || own == "default",
        (None, involved) => own == involved,
        (Some(_), "") => own == "default" || own == "kube-system",
        (Some(_), _) => true,
    };
    if !agrees {
        problems.invalid("involvedObject.namespace", involved, "does not match event.namespace");
    }
    if event.event_time.is_some() {
        report(event, controller_field, problems);
    }
}

/// What an event of the newer making must say.
fn report(event: &Event, controller_field: &str, problems: &mut Problems) {
    match check::text(event.reporting_component.as_ref()) {
        "" => problems.required(controller_field, ""),
        name => check::qualified_name(problems, &Path::root(controller_field), name),
    }
    for (field, value) in
        [("reportingInstance", &event.reporting_instance), ("action", &event.action), ("reason", &event.reason)]
    {
        match check::text(value.as_ref()) {
            "" => problems.required(field, ""),
            value if value.len() > WORD_BYTES_MAX => {
                problems.invalid(field, "", &format!("can have at most {WORD_BYTES_MAX} characters"));
            }
            _ => {}
        }
    }
    if check::text(event.message.as_ref()).len() > MESSAGE_BYTES_MAX {
        problems.invalid("message", "", &format!("can have at most {MESSAGE_BYTES_MAX} characters"));
    }
}

/// What is made through events.k8s.io/v1 says nothing in the old fields.
pub(super) fn create_new(event: &Event, problems: &mut Problems) {
    series(event, problems);
    if event.event_time.is_none() {
        problems.required("eventTime", "");
    }
    let kind = check::text(event.type_.as_ref());
    if !matches!(kind, "Normal" | "Warning") {
        problems.invalid("type", "", &format!("has invalid value: {kind}"));
    }
    let none = EventSource::default();
    for (field, is_unset) in [
        ("firstTimestamp", event.first_timestamp.is_none()),
        ("lastTimestamp", event.last_timestamp.is_none()),
        ("count", event.count.unwrap_or(0) == 0),
        ("source", is_same_source(event.source.as_ref().unwrap_or(&none), &none)),
    ] {
        if !is_unset {
            problems.invalid(field, "", UNSET);
        }
    }
}

/// An update through events.k8s.io/v1 says how often it happened since, and nothing else. `old` may be of the older face.
pub(super) fn update_new(new: &Event, old: &Event, problems: &mut Problems) {
    fn same<T: PartialEq + Serialize>(field: &str, new: &T, old: &T, problems: &mut Problems) {
        check::immutable(problems, &Path::root(field), new, old);
    }
    if new.series != old.series {
        series(new, problems);
    }
    let none = EventSource::default();
    let (source, was) = (new.source.as_ref().unwrap_or(&none), old.source.as_ref().unwrap_or(&none));
    same("involvedObject", &new.involved_object, &old.involved_object, problems);
    if !is_same_source(source, was) {
        problems.invalid("source", &new.source, check::IMMUTABLE);
    }
    same("firstTimestamp", &new.first_timestamp, &old.first_timestamp, problems);
    same("lastTimestamp", &new.last_timestamp, &old.last_timestamp, problems);
    same("count", &new.count.unwrap_or(0), &old.count.unwrap_or(0), problems);
    // Who was given a nanosecond and gives back a microsecond has changed nothing.
    let micros = |time: &Option<MicroTime>| time.as_ref().map(|time| time.0.as_microsecond());
    if micros(&new.event_time) != micros(&old.event_time) {
        problems.invalid("eventTime", &new.event_time, check::IMMUTABLE);
    }
    same("related", &new.related, &old.related, problems);
    for (field, new, old) in [
        ("reason", &new.reason, &old.reason),
        ("message", &new.message, &old.message),
        ("type", &new.type_, &old.type_),
        ("action", &new.action, &old.action),
        ("reportingController", &new.reporting_component, &old.reporting_component),
        ("reportingInstance", &new.reporting_instance, &old.reporting_instance),
    ] {
        same(field, &check::text(new.as_ref()), &check::text(old.as_ref()), problems);
    }
}

fn is_same_source(one: &EventSource, other: &EventSource) -> bool {
    let of =
        |source: &EventSource| (source.component.clone().unwrap_or_default(), source.host.clone().unwrap_or_default());
    of(one) == of(other)
}

fn series(event: &Event, problems: &mut Problems) {
    let Some(series) = &event.series else { return };
    if series.count.unwrap_or(0) < 2 {
        problems.invalid("series.count", "", "should be at least 2");
    }
    if series.last_observed_time.is_none() {
        problems.required("series.lastObservedTime", "");
    }
}
