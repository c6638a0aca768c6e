//! Events about objects, as `kubectl describe` shows them: never in the way of work, and not so many that they hide what
//! they tell.
//!
//! What is said waits in one queue, is judged in order ([`correlate`]), and is then written by several writers; writes of
//! one event go to the same writer, so that a count never comes before the event.

mod correlate;
mod recent;
mod write;

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use k8s_openapi::api::core::v1::{EventSource, ObjectReference};
use k8s_openapi::jiff::Timestamp;
use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::warn;

use crate::client::Client;
use correlate::{Correlator, Said};

/// Events that wait to be written, of half a kilobyte or so each: what 10,000 pods have to say when they start at once.
/// More are dropped.
const QUEUE_MAX: usize = 16_384;
/// How often the log says that events are dropped.
const TOLD_EVERY: Duration = Duration::from_secs(60);

static DROPPED: LazyLock<Counter> = LazyLock::new(Counter::default);

/// Registers the metrics of all recorders of this process.
pub(crate) fn register(registry: &mut Registry) {
    let help = "Events that were dropped because too many waited to be written";
    registry.register("corten_events_dropped", help, DROPPED.clone());
}

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
    source: Arc<EventSource>,
}

impl Recorder {
    /// `component` is such as `default-scheduler`; `host` the node it runs on, or "".
    pub fn new(client: &Client, component: &str, host: &str) -> Self {
        // Events say what was done, by a leader too: they are written though it leads no more.
        Self::to(client.unfenced(), component, host)
    }

    fn to(sink: impl write::Sink, component: &str, host: &str) -> Self {
        let (queue, said) = mpsc::channel(QUEUE_MAX);
        let host = (!host.is_empty()).then(|| host.to_owned());
        tokio::spawn(write::run(sink, Correlator::new(), said));
        Self { queue, source: Arc::new(EventSource { component: Some(component.into()), host }) }
    }

    /// For another component of the same program: what it says waits in the same queue.
    #[must_use]
    pub fn of(&self, component: &str) -> Self {
        let source = EventSource { component: Some(component.into()), host: self.source.host.clone() };
        Self { queue: self.queue.clone(), source: Arc::new(source) }
    }

    /// Returns at once; the event is written in the background.
    pub fn event(&self, about: &ObjectReference, kind: EventType, reason: &str, message: impl Into<String>) {
        let said = Said {
            source: Arc::clone(&self.source),
            about: about.clone(),
            kind,
            reason: reason.into(),
            message: message.into(),
            at: Timestamp::now(),
        };
        if self.queue.try_send(said).is_err() {
            DROPPED.inc();
            tell_of_loss(reason);
        }
    }
}

/// A line for each would be as many lines as there are events.
fn tell_of_loss(reason: &str) {
    static TOLD: Mutex<Option<Instant>> = Mutex::new(None);
    let mut told = TOLD.lock();
    if told.is_none_or(|at| at.elapsed() >= TOLD_EVERY) {
        *told = Some(Instant::now());
        warn!(reason, dropped = DROPPED.get(), "events are dropped: too many wait to be written");
    }
}
