//! containerd's event stream, turned into the port's events; it comes back by itself after containerd was away.

use std::sync::Weak;
use std::time::Duration;

use containerd_client::events::{TaskExit, TaskStart};
use containerd_client::services::v1::{PublishRequest, SubscribeRequest};
use containerd_client::tonic::{Status, Streaming};
use containerd_client::types::Envelope;
use prost::Message;

use super::record::Record;
use super::rpc::{NAMESPACE, Rpc, timestamp};
use super::{Containerd, Inner, Known, RuntimeError};
use crate::runtime::{Event, Exit};

/// Between attempts to reach containerd again.
const RETRY_AFTER: Duration = Duration::from_millis(200);
/// Between marker events, until one comes back.
const MARKER_EVERY: Duration = Duration::from_millis(50);
const MARKER_TOPIC: &str = "/corten/subscribed";
const EXIT_TOPIC: &str = "/tasks/exit";

/// Runs until the last [`Containerd`] is dropped.
pub(super) async fn watch(inner: Weak<Inner>) {
    let mut was_told = false;
    loop {
        let Some(runtime) = inner.upgrade().map(|inner| Containerd { inner }) else { return };
        let rpc = runtime.rpc().clone();
        drop(runtime);
        match follow(&rpc, &inner).await {
            Ok(()) => return,
            Err(why) if !was_told => tracing::warn!(why = why.message(), "containerd's events ended; trying again"),
            Err(_) => {}
        }
        was_told = true;
        tokio::time::sleep(RETRY_AFTER).await;
    }
}

/// Ends with `Ok` when nobody wants events any more.
async fn follow(rpc: &Rpc, inner: &Weak<Inner>) -> Result<(), Status> {
    let filters = [EXIT_TOPIC, MARKER_TOPIC].map(|topic| format!("namespace=={NAMESPACE},topic==\"{topic}\"")).to_vec();
    let mut client = rpc.client().events();
    // No answer comes, not even headers, before the first event: so one is sent until it arrives.
    let subscribed =
        async { Ok::<_, Status>(client.subscribe(Rpc::request(SubscribeRequest { filters })).await?.into_inner()) };
    let markers = send_markers(rpc);
    let mut stream: Streaming<Envelope> = tokio::select! {
        subscribed = subscribed => subscribed?,
        failed = markers => return Err(failed),
    };
    tracing::info!("following containerd's events");
    let mut subscribed = false;
    while let Some(envelope) = stream.message().await? {
        let Some(inner) = inner.upgrade() else { return Ok(()) };
        let runtime = Containerd { inner };
        if !subscribed {
            subscribed = true;
            runtime.send(Event::Resync);
        }
        if envelope.topic == EXIT_TOPIC
            && let Some(event) = runtime.exit_event(envelope).await
        {
            runtime.send(event);
        }
    }
    Err(Status::unavailable("the stream ended"))
}

/// Returns only with an error.
async fn send_markers(rpc: &Rpc) -> Status {
    loop {
        // containerd decodes what it is given: an event it knows, about a container there is not.
        let marker = TaskStart { container_id: "corten-marker".into(), pid: 0 };
        let event = prost_types::Any { type_url: "containerd.events.TaskStart".into(), value: marker.encode_to_vec() };
        let request = PublishRequest { topic: MARKER_TOPIC.into(), event: Some(event) };
        if let Err(status) = rpc.client().events().publish(Rpc::request(request)).await {
            return status;
        }
        tokio::time::sleep(MARKER_EVERY).await;
    }
}

impl Containerd {
    pub(super) fn send(&self, event: Event) {
        // Without readers there is nobody to tell; they begin with a list.
        let _ = self.inner.events.send(event);
    }

    /// `None`: the end of an exec, or of something that is not ours.
    async fn exit_event(&self, envelope: Envelope) -> Option<Event> {
        let exit = match TaskExit::decode(envelope.event?.value.as_slice()) {
            Ok(exit) => exit,
            Err(why) => {
                tracing::warn!(%why, "containerd sent an exit that cannot be read");
                return Some(Event::Resync);
            }
        };
        if exit.id != exit.container_id {
            return None;
        }
        let known = self.inner.known.lock().get(&exit.container_id).cloned();
        let known = match known {
            Some(known) => known,
            None => {
                let object = match self.object(&exit.container_id).await {
                    Ok(object) => object,
                    Err(RuntimeError::NotFound { .. }) => return None,
                    // Whose end it was cannot be asked now: whoever lists later finds it.
                    Err(_) => return Some(Event::Resync),
                };
                let created_at = timestamp(object.created_at.as_ref());
                let known = self.know(&exit.container_id, &Record::from_labels(&object.labels)?);
                Known { started_at: known.started_at.or(Some(created_at)), ..known }
            }
        };
        if is_anothers(&known, exit.pid) {
            return None;
        }
        let (exit_code, at) = (exit.exit_status.cast_signed(), timestamp(exit.exited_at.as_ref()));
        if known.is_sandbox {
            return Some(Event::SandboxExited { pod_uid: known.pod_uid, sandbox_id: exit.container_id, at });
        }
        let oom_killed = self.oom_killed(&known, exit_code);
        let started_at = known.started_at.unwrap_or(at);
        let seen = Exit { exit_code, started_at, finished_at: at, oom_killed, unseen: false };
        let (id, pid, exit) = (exit.container_id, exit.pid, seen);
        let exit = self.note_exit(&id, exit);
        self.adopt_pid(&id, pid);
        self.settle(&id, pid, exit.clone());
        Some(Event::ContainerExited { pod_uid: known.pod_uid, container_id: id, exit })
    }
}

/// The end of a process that the present one of the same id has replaced: one that was half made.
fn is_anothers(known: &Known, ended: u32) -> bool {
    known.pid.map_or(known.being_made, |pid| pid != ended)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_what_was_replaced_is_not_the_end_of_what_replaces_it() {
        let known = |pid, being_made| Known { being_made, pid, ..Known::new("u", false, "/c".into()) };
        let cases = [
            ("its own end", known(Some(7), false), false),
            ("of the one before", known(Some(8), false), true),
            ("of the one before, while this one is not there yet", known(None, true), true),
            ("of one from before our time", known(None, false), false),
        ];
        for (why, known, expected) in cases {
            assert_eq!(is_anothers(&known, 7), expected, "{why}");
        }
    }
}
