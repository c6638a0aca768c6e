//! A watch on etcd as a stream of changes: fragments are put together, an end is always an error.

use etcd_client::proto::PbEvent;
use etcd_client::{WatchClient, WatchOptions, WatchStream};
use futures::StreamExt;

use super::{MESSAGE_BYTES_MAX, deadline, failed, key_of, unavailable};
use crate::storage::{Change, ChangeStream, StorageError};

const WHAT: &str = "watching";
/// etcd's number for a deletion.
const EVENT_DELETE: i32 = 1;

pub(super) async fn start(
    client: WatchClient,
    prefix: &str,
    end: Vec<u8>,
    after: i64,
) -> Result<ChangeStream, StorageError> {
    let mut client = client.max_decoding_message_size(MESSAGE_BYTES_MAX);
    let options = WatchOptions::new().with_range(end).with_start_revision(after + 1).with_fragment();
    let watch = async {
        let mut stream = client.watch(prefix, Some(options)).await.map_err(|err| failed(WHAT, after + 1, err))?;
        // The first message says that the watch is made, or why it is not.
        let first = next(&mut stream, after + 1).await?;
        Ok((stream, first))
    };
    let (stream, first) = deadline(WHAT, watch).await??;
    let state = Watching { stream, pending: first.changes, fragment: first.fragment, after };
    Ok(futures::stream::try_unfold(state, |mut state| async move {
        let changes = state.changes().await?;
        Ok(Some((changes, state)))
    })
    .boxed())
}

struct Watching {
    stream: WatchStream,
    pending: Vec<Change>,
    /// Whether `pending` may break off within a revision.
    fragment: bool,
    after: i64,
}

impl Watching {
    /// Changes that end where a revision ends.
    async fn changes(&mut self) -> Result<Vec<Change>, StorageError> {
        while self.pending.is_empty() || self.fragment {
            let message = next(&mut self.stream, self.after + 1).await?;
            self.pending.extend(message.changes);
            self.fragment = message.fragment;
        }
        if let Some(last) = self.pending.last() {
            self.after = last.revision();
        }
        Ok(std::mem::take(&mut self.pending))
    }
}

struct Message {
    changes: Vec<Change>,
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
    let changes = message.events.into_iter().filter_map(change).collect::<Result<_, _>>()?;
    Ok(Message { changes, fragment: message.fragment })
}

fn change(event: PbEvent) -> Option<Result<Change, StorageError>> {
    // Only an event about nothing has no key.
    let kv = event.kv?;
    let (revision, created) = (kv.mod_revision, kv.create_revision == kv.mod_revision);
    Some(key_of(kv.key).map(|key| {
        if event.r#type == EVENT_DELETE {
            Change::Deleted { key, revision }
        } else {
            Change::Put { key, value: kv.value.into(), revision, created }
        }
    }))
}
