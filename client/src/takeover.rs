//! How a term begins: caches that were kept while another led catch up with all that it has written.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::client::Client;

/// Between two questions how far the cluster is, where none was answered.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Takes over at the beginning of each term. Cheap to clone; clones share what they tell.
#[derive(Clone, Debug, Default)]
pub struct TakeOver {
    /// Of a term that has not begun yet: the revision that is waited for, once it is known.
    awaits: Arc<Mutex<Option<Option<i64>>>>,
}

impl TakeOver {
    /// To be called once the lease is ours. Asks how far the cluster is, and returns once `catch_up` has seen that revision.
    /// What the leader before has written is known then: its writes are refused since the lease is ours.
    pub async fn begin<F>(&self, client: &Client, catch_up: impl FnOnce(i64) -> F)
    where
        F: Future<Output = ()>,
    {
        let _ends_with_this_future = Begins::of(self);
        let began = Instant::now();
        let revision = newest(client).await;
        *self.awaits.lock() = Some(Some(revision));
        catch_up(revision).await;
        info!(revision, waited = ?began.elapsed(), "all caches have caught up: the term begins");
    }

    /// For /readyz: `Err` says why a term that is ours has not begun.
    pub fn check(&self) -> Result<(), String> {
        match *self.awaits.lock() {
            None => Ok(()),
            Some(None) => Err("we lead, and no apiserver has told us yet how far the cluster is".into()),
            Some(Some(revision)) => Err(format!("we lead, and have not seen revision {revision} of all kinds yet")),
        }
    }
}

/// Asks until it is answered: a term does not begin on a state that may be old.
async fn newest(client: &Client) -> i64 {
    loop {
        match client.newest_revision().await {
            Ok(revision) => return revision,
            Err(err) => warn!(%err, "cannot ask how far the cluster is: the term does not begin yet"),
        }
        tokio::time::sleep(ASK_AGAIN_AFTER).await;
    }
}

/// A term that begins, or is dropped before.
struct Begins<'a>(&'a TakeOver);

impl<'a> Begins<'a> {
    fn of(takeover: &'a TakeOver) -> Self {
        *takeover.awaits.lock() = Some(None);
        Self(takeover)
    }
}

impl Drop for Begins<'_> {
    fn drop(&mut self) {
        *self.0.awaits.lock() = None;
    }
}
