//! A watch on etcd as a stream of changes: fragments are put together, an end is always an error.

use etcd_client::proto::PbEvent;
use etcd_client::{WatchOptions, WatchStream};
use futures::StreamExt;

use super::members::Members;
use super::{deadline, failed, unavailable};
use crate::storage::{Change, ChangeStream, Changes, StorageError};

const WHAT: &str = "watching";
/// etcd's number for a deletion.
const EVENT_DELETE: i32 = 1;

/// Ends when another member is used: the one that it is with may be dead, and would only be silent.
pub(super) async fn start(
    members: Members,
    prefix: &str,
    end: Vec<u8>,
    after: i64,
) -> Result<ChangeStream, StorageError> {
    let view = members.view();
    let mut client = members.watch(view);
    let options = WatchOptions::new().with_range(end).with_start_revision(after + 1).with_fragment();
    let watch = async {
        let mut stream = client.watch(prefix, Some(options)).await.map_err(|err| failed(WHAT, after + 1, err))?;
        // The first message says that the watch is made, or why it is not.
        let first = next(&mut stream, after + 1).await?;
        Ok((stream, first))
    };
    let (stream, first) = tokio::select! {
        made = deadline(WHAT, watch) => made??,
        () = members.overtaken(view) => return Err(gone()),
    };
    let state = Watching { stream, pending: first, after };
    let left = Box::pin(members.left(view));
    Ok(futures::stream::try_unfold((state, left), |(mut state, mut left)| async move {
        tokio::select! {
            changes = state.changes() => Ok(Some((changes?, (state, left)))),
            () = &mut left => Err(gone()),
        }
    })
    .boxed())
}

fn gone() -> StorageError {
    unavailable(WHAT, "the member of etcd is not used any more".into())
}

struct Watching {
    stream: WatchStream,
    pending: Message,
    after: i64,
}

impl Watching {
    /// Changes that end where a revision ends.
    async fn changes(&mut self) -> Result<Changes, StorageError> {
        while self.pending.events.is_empty() || self.pending.fragment {
            let message = next(&mut self.stream, self.after + 1).await?;
            self.pending.events.extend(message.events);
            self.pending.fragment = message.fragment;
        }
        let told = changes_of(std::mem::take(&mut self.pending.events), self.after);
        self.after = told.revision;
        Ok(told)
    }
}

#[derive(Default)]
struct Message {
    events: Vec<PbEvent>,
    /// Whether `events` may break off within a revision.
    fragment: bool,
}

async fn next(stream: &mut WatchStream, wanted: i64) -> Result<Message, StorageError> {
    let message = stream.message().await.map_err(|err| failed(WHAT, wanted, err))?;
    let message = message.ok_or_else(|| unavailable(WHAT, "etcd ended the watch".into()))?.0;
    if message.compact_revision > 0 {
        return Err(StorageError::Compacted { wanted, oldest: message.compact_revision });
    }
    if message.canceled {
        return Err(unavailable(WHAT, message.cancel_reason.into()));
    }
    Ok(Message { events: message.events, fragment: message.fragment })
}

/// The revision counts for keys that are no text, too: it is the store's, and readers wait for it.
fn changes_of(events: Vec<PbEvent>, after: i64) -> Changes {
    let mut told = Changes { changes: Vec::with_capacity(events.len()), revision: after, unreadable_keys: 0 };
    for event in events {
        // Only an event about nothing has no key.
        let Some(kv) = event.kv else { continue };
        let (revision, created) = (kv.mod_revision, kv.create_revision == kv.mod_revision);
        told.revision = told.revision.max(revision);
        match String::from_utf8(kv.key) {
            Ok(key) if event.r#type == EVENT_DELETE => told.changes.push(Change::Deleted { key, revision }),
            Ok(key) => told.changes.push(Change::Put { key, value: kv.value.into(), revision, created }),
            Err(_) => told.unreadable_keys += 1,
        }
    }
    told
}
