//! How a container ended is kept with its object. Then its task can go, and with it the shim, the cgroup and the logger,
//! which writes the last line and ends only when the shim lets go of the log's pipe.
//!
//! In this order, so that a kubelet that is started again anywhere in between reads the same end: first from the task and
//! the cgroup, then from the label.

use std::collections::HashMap;

use containerd_client::services::v1::{Container as Object, UpdateContainerRequest};

use super::record::{EXIT, Record, exit_text};
use super::rpc::{Rpc, gone_is_fine};
use super::{Containerd, RuntimeError};
use crate::runtime::Exit;

/// Tasks that are taken away at a time: a node's containers may all end at once.
pub(super) const SETTLED_AT_ONCE: usize = 16;

impl Containerd {
    /// The end of a container as it was first noted, which is this one if there was none: whoever looks after the task has
    /// gone would find no OOM kill in its cgroup.
    pub(super) fn note_exit(&self, id: &str, exit: Exit) -> Exit {
        match self.inner.known.lock().get_mut(id) {
            Some(known) => known.exit.get_or_insert(exit).clone(),
            None => exit,
        }
    }

    /// Puts an end on record and takes away the task of that pid, beside the caller. What fails is done again when a list
    /// shows the task.
    pub(super) fn settle(&self, id: &str, pid: u32, exit: Exit) {
        let mut is_begun = true;
        self.update_known(id, |known| is_begun = std::mem::replace(&mut known.is_settling, true));
        if is_begun {
            return;
        }
        let (runtime, id) = (self.clone(), id.to_owned());
        tokio::spawn(async move {
            if let Err(why) = runtime.settle_now(&id, pid, &exit).await {
                tracing::warn!(
                    id,
                    why = corten_api::error::with_causes(&why),
                    "could not take away what has ended; trying later"
                );
            }
            runtime.update_known(&id, |known| known.is_settling = false);
        });
    }

    async fn settle_now(&self, id: &str, pid: u32, exit: &Exit) -> Result<(), RuntimeError> {
        // Never closed: there would be nobody to ask.
        let _place = self.inner.settling.acquire().await;
        let Some(turn) = self.turn(id) else { return Ok(()) };
        let _turn = turn.lock().await;
        // Removed or replaced meanwhile: the task of this id is another's.
        if self.inner.known.lock().get(id).is_none_or(|known| known.pid != Some(pid)) {
            return Ok(());
        }
        self.put_on_record(id, exit).await?;
        self.delete_task(id).await
    }

    /// Writes how a container ended, if that is not written yet.
    pub(super) async fn put_on_record(&self, id: &str, exit: &Exit) -> Result<(), RuntimeError> {
        let object = match self.object(id).await {
            Err(RuntimeError::NotFound { .. }) => return Ok(()),
            other => other?,
        };
        if matches!(Record::from_labels(&object.labels), Some(Record::Container(record)) if record.exit.is_some()) {
            return Ok(());
        }
        let labels = HashMap::from([(EXIT.to_owned(), exit_text(exit))]);
        let request = UpdateContainerRequest {
            container: Some(Object { id: id.into(), labels, ..Object::default() }),
            update_mask: Some(prost_types::FieldMask { paths: vec![format!("labels.{EXIT}")] }),
        };
        let mut client = self.rpc().client().containers();
        gone_is_fine(self.rpc().ask("noting the end", id, client.update(Rpc::request(request))).await.map(drop))
    }

    /// Whoever takes a task away holds this: an old one's end must not take the new one of the same id.
    pub(super) fn turn(&self, id: &str) -> Option<std::sync::Arc<tokio::sync::Mutex<()>>> {
        self.inner.known.lock().get(id).map(|known| known.turn.clone())
    }
}
