//! What is told in events of pods that an owner's controller makes and deletes.

use corten_api::ApiError;
use corten_api::k8s_openapi::api::core::v1::ObjectReference;
use corten_client::{EventType, Recorder};

use crate::children::Sent;
use crate::context::is_terminating_namespace;
use crate::intents::{Answer, Ask};

/// Says what was done. The last failure is returned.
pub fn tell<C>(recorder: &Recorder, owner: &ObjectReference, sent: &[Sent<C>]) -> Result<(), ApiError> {
    let mut failed = None;
    for Sent { ask, answer } in sent {
        let (name, created) = (ask.name(), matches!(ask, Ask::Create { .. }));
        match answer {
            Answer::Done { .. } if created => {
                recorder.event(owner, EventType::Normal, "SuccessfulCreate", format!("Created pod: {name}"));
            }
            Answer::Done { .. } => {
                recorder.event(owner, EventType::Normal, "SuccessfulDelete", format!("Deleted pod: {name}"));
            }
            Answer::Gone => {}
            Answer::Refused(err) | Answer::Doubtful(err) => failed = Some((created, err)),
        }
    }
    let Some((created, err)) = failed else { return Ok(()) };
    if created && !is_terminating_namespace(err) {
        recorder.event(owner, EventType::Warning, "FailedCreate", format!("Error creating: {err}"));
    } else if !created {
        recorder.event(owner, EventType::Warning, "FailedDelete", format!("Error deleting: {err}"));
    }
    Err(err.clone())
}
