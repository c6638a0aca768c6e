//! Which events are written, which are counted, and which are not worth a write. Pure.
//!
//! As client-go's correlator: an object that is told of again and again is heard now and then, many messages that differ
//! little become one, and the same once more is a count.

use std::collections::HashSet;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::EventType;
use super::recent::Recent;

/// Objects, groups of similar events and events that are remembered, each.
const REMEMBERED_MAX: usize = 4096;
/// Events about one object at once; then one for each [`REFILL_SECS`].
const BURST: f64 = 25.0;
const REFILL_SECS: f64 = 300.0;
/// Messages about one object and reason within [`SIMILAR_WITHIN`] from which on they are written as one event.
const SIMILAR_MAX: usize = 10;
const SIMILAR_WITHIN: SignedDuration = SignedDuration::from_secs(600);
const COMBINED: &str = "(combined from similar events): ";

/// An event as a component says it.
#[derive(Clone, Debug)]
pub(super) struct Said {
    pub(super) source: Arc<EventSource>,
    pub(super) about: ObjectReference,
    pub(super) kind: EventType,
    pub(super) reason: String,
    pub(super) message: String,
    pub(super) at: Timestamp,
}

/// The object, as events of one component know it: what another says of it is another matter.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Object {
    component: String,
    api_version: String,
    kind: String,
    namespace: String,
    name: String,
    uid: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Group {
    object: Object,
    kind: EventType,
    reason: String,
}

/// What one stored event stands for. Without a message: all similar ones.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Identity {
    group: Group,
    field_path: String,
    message: Option<String>,
}

#[derive(Debug)]
struct Bucket {
    left: f64,
    at: Timestamp,
}

#[derive(Debug)]
struct Similar {
    messages: HashSet<String>,
    at: Timestamp,
}

#[derive(Debug)]
struct Known {
    name: String,
    first: Timestamp,
    count: i32,
}

/// What has to be written: the event whole, and whether it should be there already.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Record {
    pub(super) event: Event,
    pub(super) counted: bool,
}

#[derive(Debug)]
pub(super) struct Correlator {
    buckets: Recent<Object, Bucket>,
    similar: Recent<Group, Similar>,
    known: Recent<Identity, Known>,
    /// The time in the last name, in nanoseconds: no two events have the same.
    last_name: i128,
}

impl Correlator {
    pub(super) fn new() -> Self {
        Self {
            buckets: Recent::new(REMEMBERED_MAX),
            similar: Recent::new(REMEMBERED_MAX),
            known: Recent::new(REMEMBERED_MAX),
            last_name: 0,
        }
    }

    /// `None`: there was too much of this object already.
    pub(super) fn observe(&mut self, said: &Said) -> Option<Record> {
        let text = |s: &Option<String>| s.clone().unwrap_or_default();
        let about = &said.about;
        let object = Object {
            component: text(&said.source.component),
            api_version: text(&about.api_version),
            kind: text(&about.kind),
            namespace: text(&about.namespace),
            name: text(&about.name),
            uid: text(&about.uid),
        };
        if !self.may_say(&object, said.at) {
            return None;
        }
        let group = Group { object, kind: said.kind, reason: said.reason.clone() };
        let combined = self.is_one_of_many(&group, said);
        let message = if combined { format!("{COMBINED}{}", said.message) } else { said.message.clone() };
        let identity = Identity {
            group,
            field_path: if combined { String::new() } else { text(&about.field_path) },
            message: (!combined).then(|| said.message.clone()),
        };
        self.last_name = said.at.as_nanosecond().max(self.last_name + 1);
        let new = || Known { name: format!("{}.{:x}", text(&about.name), self.last_name), first: said.at, count: 0 };
        let known = self.known.entry(&identity, new);
        known.count = known.count.saturating_add(1);
        Some(Record { counted: known.count > 1, event: event(said, message, known) })
    }

    /// One token bucket for each object.
    fn may_say(&mut self, object: &Object, now: Timestamp) -> bool {
        let bucket = self.buckets.entry(object, || Bucket { left: BURST, at: now });
        let passed = now.duration_since(bucket.at).as_secs_f64().max(0.0);
        bucket.left = (bucket.left + passed / REFILL_SECS).min(BURST);
        bucket.at = now;
        let may = bucket.left >= 1.0;
        if may {
            bucket.left -= 1.0;
        }
        may
    }

    fn is_one_of_many(&mut self, group: &Group, said: &Said) -> bool {
        let similar = self.similar.entry(group, || Similar { messages: HashSet::new(), at: said.at });
        if said.at.duration_since(similar.at) > SIMILAR_WITHIN {
            similar.messages.clear();
        }
        similar.at = said.at;
        if similar.messages.len() >= SIMILAR_MAX && !similar.messages.contains(&said.message) {
            return true;
        }
        similar.messages.insert(said.message.clone());
        false
    }
}

fn event(said: &Said, message: String, known: &Known) -> Event {
    // Cluster-scoped objects have their events in `default`, as upstream's do.
    let namespace = said.about.namespace.clone().filter(|n| !n.is_empty()).unwrap_or_else(|| "default".into());
    Event {
        metadata: ObjectMeta { name: Some(known.name.clone()), namespace: Some(namespace), ..ObjectMeta::default() },
        involved_object: said.about.clone(),
        type_: Some(said.kind.as_str().into()),
        reason: Some(said.reason.clone()),
        message: Some(message),
        first_timestamp: Some(Time(known.first)),
        last_timestamp: Some(Time(said.at)),
        count: Some(known.count),
        reporting_component: said.source.component.clone(),
        reporting_instance: said.source.host.clone(),
        source: Some(EventSource::clone(&said.source)),
        ..Event::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(name: &str, message: &str, secs: i64) -> Said {
        Said {
            source: Arc::new(EventSource { component: Some("test".into()), host: None }),
            about: ObjectReference { name: Some(name.into()), uid: Some(name.into()), ..ObjectReference::default() },
            kind: EventType::Normal,
            reason: "Pulled".into(),
            message: message.into(),
            at: Timestamp::from_second(1_000_000 + secs).unwrap(),
        }
    }
    fn correlator() -> Correlator {
        Correlator::new()
    }
    /// `message ×count`, with a `+` before what is written for the first time.
    fn told(record: Option<Record>) -> String {
        record.map_or("nothing".into(), |r| {
            let (count, message) = (r.event.count.unwrap(), r.event.message.unwrap());
            format!("{}{message} ×{count}", if r.counted { "" } else { "+" })
        })
    }

    #[test]
    fn the_same_again_is_counted() {
        let mut correlator = correlator();
        let one = correlator.observe(&said("a", "x", 0)).unwrap();
        let two = correlator.observe(&said("a", "x", 5)).unwrap();
        assert_eq!(one.event.metadata.name, two.event.metadata.name);
        assert_eq!(two.event.first_timestamp, one.event.last_timestamp);
        assert_eq!((told(Some(one)), told(Some(two))), ("+x ×1".into(), "x ×2".into()));
        assert_eq!(told(correlator.observe(&said("b", "x", 5))), "+x ×1", "of another object");
        assert_eq!(told(correlator.observe(&said("a", "y", 5))), "+y ×1", "another message");
    }

    #[test]
    fn what_two_components_say_of_one_object_is_counted_for_each() {
        let mut correlator = correlator();
        let other = Arc::new(EventSource { component: Some("other".into()), host: Some("n1".into()) });
        for (source, expected) in [(None, "+x ×1"), (Some(&other), "+x ×1"), (Some(&other), "x ×2"), (None, "x ×2")]
        {
            let mut said = said("a", "x", 0);
            said.source = source.unwrap_or(&said.source).clone();
            let record = correlator.observe(&said).unwrap();
            let event = &record.event;
            assert_eq!(event.source.as_ref(), Some(&*said.source));
            assert_eq!(
                (&event.reporting_component, &event.reporting_instance),
                (&said.source.component, &said.source.host)
            );
            assert_eq!(told(Some(record)), expected);
        }
    }

    #[test]
    fn one_object_is_heard_25_times_and_then_every_5_minutes() {
        let mut correlator = correlator();
        let heard = |correlator: &mut Correlator, secs, count: usize| {
            (0..count).filter(|_| correlator.observe(&said("a", "x", secs)).is_some()).count()
        };
        assert_eq!(heard(&mut correlator, 0, 100), 25);
        assert_eq!(heard(&mut correlator, 299, 10), 0);
        assert_eq!(heard(&mut correlator, 301, 10), 1);
        assert_eq!(heard(&mut correlator, 301 + 7 * 300, 100), 7);
        assert!(correlator.observe(&said("b", "x", 0)).is_some(), "another object is heard");
        assert_eq!(heard(&mut correlator, 1_000_000, 100), 25, "the bucket holds no more");
    }

    #[test]
    fn the_eleventh_similar_message_is_combined() {
        let mut correlator = correlator();
        for n in 0..10 {
            assert_eq!(told(correlator.observe(&said("a", &format!("m{n}"), 0))), format!("+m{n} ×1"));
        }
        assert_eq!(told(correlator.observe(&said("a", "m10", 1))), format!("+{COMBINED}m10 ×1"));
        assert_eq!(told(correlator.observe(&said("a", "m11", 1))), format!("{COMBINED}m11 ×2"));
        assert_eq!(told(correlator.observe(&said("a", "m3", 1))), "m3 ×2", "one that has an event of its own");
        assert_eq!(told(correlator.observe(&said("a", "m12", 700))), "+m12 ×1", "ten minutes later it begins anew");
    }

    #[test]
    fn names_differ_though_the_time_is_the_same() {
        let mut correlator = correlator();
        let name = |c: &mut Correlator, message| c.observe(&said("a", message, 0)).unwrap().event.metadata.name;
        assert_ne!(name(&mut correlator, "x"), name(&mut correlator, "y"));
    }
}
