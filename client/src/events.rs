//! Events about objects, as `kubectl describe` shows them: never in the way, repeated ones counted.

use std::collections::{HashMap, VecDeque};

use corten_api::{ApiError, Key, Reason};
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use tokio::sync::mpsc;
use tracing::warn;

use crate::client::{Client, Patch};

/// Events that wait to be written; when more come, they are dropped and said so in the log.
const QUEUE_MAX: usize = 1024;
/// Events remembered for counting repeats; the oldest are forgotten first.
const REMEMBERED_MAX: usize = 4096;
/// An apiserver may be away for a moment; an event is not worth more tries.
const TRIES: u32 = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventType {
    Normal,
    Warning,
}

impl EventType {
    fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// Records events of one component. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Recorder {
    queue: mpsc::Sender<Said>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Subject {
    kind: EventType,
    api_version: String,
    object_kind: String,
    namespace: String,
    name: String,
    uid: String,
    field_path: String,
    reason: String,
    message: String,
}

#[derive(Debug)]
struct Said {
    subject: Subject,
    about: ObjectReference,
    at: Timestamp,
}

impl Recorder {
    /// `component` is such as `default-scheduler`; `host` the node it runs on, or "".
    pub fn new(client: &Client, component: &str, host: &str) -> Self {
        let (queue, said) = mpsc::channel(QUEUE_MAX);
        let host = (!host.is_empty()).then(|| host.to_owned());
        let writer = Writer {
            client: client.clone(),
            source: EventSource { component: Some(component.into()), host },
            known: HashMap::new(),
            order: VecDeque::new(),
        };
        tokio::spawn(writer.run(said));
        Self { queue }
    }

    /// Returns at once; the event is written in the background, in order.
    pub fn event(&self, about: &ObjectReference, kind: EventType, reason: &str, message: impl Into<String>) {
        let text = |s: &Option<String>| s.clone().unwrap_or_default();
        let subject = Subject {
            kind,
            api_version: text(&about.api_version),
            object_kind: text(&about.kind),
            namespace: text(&about.namespace),
            name: text(&about.name),
            uid: text(&about.uid),
            field_path: text(&about.field_path),
            reason: reason.into(),
            message: message.into(),
        };
        if let Err(err) = self.queue.try_send(Said { subject, about: about.clone(), at: Timestamp::now() }) {
            warn!(%err, reason, "an event is lost: too many wait to be written");
        }
    }
}

struct Known {
    key: Key,
    count: i32,
}

struct Writer {
    client: Client,
    source: EventSource,
    known: HashMap<Subject, Known>,
    order: VecDeque<Subject>,
}

impl Writer {
    async fn run(mut self, mut said: mpsc::Receiver<Said>) {
        while let Some(event) = said.recv().await {
            let mut tries = 1;
            while let Err(err) = self.write(&event).await {
                let retry = err.is(Reason::ServiceUnavailable) && tries < TRIES;
                if !retry {
                    warn!(%err, reason = event.subject.reason, "an event could not be written");
                    break;
                }
                tokio::time::sleep(std::time::Duration::from_millis(200) * tries).await;
                tries += 1;
            }
        }
    }

    async fn write(&mut self, said: &Said) -> Result<(), ApiError> {
        if let Some(known) = self.known.get_mut(&said.subject) {
            let count = known.count + 1;
            let body = serde_json::json!({"count": count, "lastTimestamp": Time(said.at)});
            match self.client.patch::<Event>(&known.key, "", Patch::Merge(body)).await {
                Ok(_) => {
                    known.count = count;
                    return Ok(());
                }
                // The store has forgotten it (events live for an hour): begin anew.
                Err(err) if err.is(Reason::NotFound) => {}
                Err(err) => return Err(err),
            }
        }
        let event = self.first(said);
        let key = Key::new(
            event.metadata.namespace.clone().unwrap_or_default(),
            event.metadata.name.clone().unwrap_or_default(),
        );
        match self.client.create(&event).await {
            // Already there: a try whose answer was lost.
            Err(err) if !err.is(Reason::AlreadyExists) => Err(err),
            _ => {
                self.remember(said.subject.clone(), key);
                Ok(())
            }
        }
    }

    fn first(&self, said: &Said) -> Event {
        let subject = &said.subject;
        // Cluster-scoped objects have their events in `default`, as upstream's do.
        let namespace = if subject.namespace.is_empty() { "default" } else { &subject.namespace };
        Event {
            metadata: ObjectMeta {
                name: Some(format!("{}.{:x}", subject.name, said.at.as_nanosecond())),
                namespace: Some(namespace.into()),
                ..Default::default()
            },
            involved_object: said.about.clone(),
            type_: Some(subject.kind.as_str().into()),
            reason: Some(subject.reason.clone()),
            message: Some(subject.message.clone()),
            first_timestamp: Some(Time(said.at)),
            last_timestamp: Some(Time(said.at)),
            count: Some(1),
            reporting_component: self.source.component.clone(),
            reporting_instance: self.source.host.clone(),
            source: Some(self.source.clone()),
            ..Default::default()
        }
    }

    fn remember(&mut self, subject: Subject, key: Key) {
        if self.known.insert(subject.clone(), Known { key, count: 1 }).is_none() {
            self.order.push_back(subject);
        }
        while self.order.len() > REMEMBERED_MAX {
            if let Some(oldest) = self.order.pop_front() {
                self.known.remove(&oldest);
            }
        }
    }
}
